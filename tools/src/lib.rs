//! What the load generators have in common: swarm, and the load that compares servers.

pub mod arguments;
pub mod client;
pub mod clock;
pub mod json;
pub mod latency;
pub mod net;
pub mod process;
pub mod server;
