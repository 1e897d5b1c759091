//! Puts load on a chinwag server, checks that every session gets everything exactly once and in
//! order, and reports how fast that went and what it took.
//!
//! The server needs options with which it bears that, for example:
//!
//! ```sh
//! cargo run --release -- -c 1100 -s 1100 -a 1100 --rate 0 &
//! cargo run --release --bin swarm -- --receivers 1000 --window 100 --pid $!
//! ```
//!
//! `--help` says the rest. One thread serves all connections, and should cost less than the server,
//! so as not to be what is measured; its report tells both.

mod boxes;
mod conn;
mod ledger;
mod line;
mod measure;
mod members;
mod options;
mod pulls;
mod report;
mod run;
mod senders;
mod token;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tools::arguments;

#[derive(Parser)]
#[command(
    name = "swarm",
    args_conflicts_with_subcommands = true,
    disable_help_subcommand = true
)]
struct Arguments {
    #[command(flatten)]
    load: options::Plan,
    #[command(subcommand)]
    other: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    Measure(measure::Plan),
}

fn main() -> ExitCode {
    let arguments = arguments::parse(|arguments: &Arguments| arguments.load.check());
    let done = match arguments.other {
        Some(Task::Measure(plan)) => measure::run(&plan),
        None if arguments.load.is_linked() => boxes::run(&arguments.load),
        None => run::run(&arguments.load),
    };
    arguments::print("swarm", done)
}
