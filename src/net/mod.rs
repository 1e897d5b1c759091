//! Sockets: listeners, and the streams that connections come on.

pub mod socket;
pub mod unix_socket;
