//! Tests that start the program. The name of each module is a filter: `cargo test slow::`.

mod abuse;
mod clients;
mod descriptors;
mod dialogues;
mod editing;
mod examples;
mod expiry;
mod fail2ban;
mod keys;
mod limits;
mod lines;
mod link;
mod listening;
mod log;
mod log_sink;
mod manual_page;
mod memory;
mod openwrt;
mod options;
mod process;
mod rate;
mod recipes;
#[path = "../script/mod.rs"]
mod script;
mod sessions;
mod signals;
mod slow;
mod state;
mod steps;
mod systemd;
mod talk;
mod telnet;
mod terminals;
mod unix;
mod upgrade;
mod vanish;
