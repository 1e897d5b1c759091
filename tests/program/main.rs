//! What is tested by starting the program.

mod abuse;
mod clients;
mod dialogues;
mod examples;
mod limits;
mod log;
mod manual_page;
mod memory;
mod openwrt;
#[path = "../process/mod.rs"]
mod process;
#[path = "../script/mod.rs"]
mod script;
mod server;
mod service_manager;
mod terminals;
mod vanish;
