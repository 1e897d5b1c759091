//! Sockets: listeners, streams, and those of the service manager.

pub mod accept_error;
pub mod address;
pub mod file_lock;
pub mod inherited;
pub mod listener;
pub mod passed;
pub mod service_manager;
pub mod stream;
pub mod unix_socket;
mod variable;
