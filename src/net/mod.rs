//! Sockets: listeners, and the streams that connections come on.

pub mod address;
pub mod socket;
pub mod unix_socket;
