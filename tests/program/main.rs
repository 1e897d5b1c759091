//! What is tested by starting the program.

mod abuse;
mod clients;
mod examples;
mod limits;
mod log;
mod memory;
mod openwrt;
#[path = "../process/mod.rs"]
mod process;
mod server;
mod service_manager;
mod terminals;
mod vanish;
