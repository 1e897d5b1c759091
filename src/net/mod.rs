//! Sockets: listeners, streams, and those of the service manager.

pub mod accept_error;
pub mod address;
pub mod listener;
pub mod passed;
pub mod service_manager;
mod socket_lock;
pub mod stream;
pub mod unix_socket;
mod variable;
