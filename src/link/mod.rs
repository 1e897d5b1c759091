//! How boxes speak with each other: rooms that span boxes, through an MQTT broker.
//!
//! This knows no sockets, no clock, and nothing of sessions and rooms: `chat/link` joins it to those.
//!
//! | question | file |
//! |---|---|
//! | what the options say | `settings` |
//! | MQTT packets | `mqtt` |
//! | topics, and the payloads under them | `topic`, `payload` |
//! | the connection to the broker | `broker` |
//! | what is known of another box in a room | `remote`; its members: `roster` |
//! | all of them, and how fast they send | `remotes` |
//!
//! PROTOCOL.md describes topics and payloads for people who write scripts.

pub mod broker;
pub mod mqtt;
pub mod payload;
pub mod remote;
pub mod remotes;
pub mod roster;
mod settings;
pub mod topic;

pub use settings::{LinkedRooms, Login, Settings};
pub use topic::Prefix;
