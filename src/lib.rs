//! The parts of chinwag, a chat server for very small Linux boxes.
//!
//! `chat` and what it is made of (`room`, `event_log`, `sorted_index`, `wheel`, `keys`, `protocol`) are
//! told the time and know no sockets; `line` turns bytes into lines; `hub` moves bytes between
//! connections and `chat`; `server`, with `socket`, `unix_socket`, `signals` and `service_manager`,
//! alone touches sockets and clocks; `log_sink` writes the log. PROTOCOL.md says what goes over the
//! wire.

mod allocator;
pub mod ceiling;
pub mod chat;
pub mod hub;
pub mod log_sink;
mod net;
pub mod options;
pub mod protocol;
pub mod server;
mod shrink;
mod sorted_index;
pub mod startup;
pub mod time;
pub mod users;
pub mod wheel;
