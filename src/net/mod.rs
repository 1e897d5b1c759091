//! Sockets: listeners, and the streams that connections come on.

pub mod accept_error;
pub mod address;
pub mod listener;
mod socket_lock;
pub mod stream;
pub mod unix_socket;
