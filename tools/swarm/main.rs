//! Puts load on a chinwag server, checks that every session gets everything exactly once and in
//! order, and reports how fast that went and what it took.
//!
//! The server must be told to bear it, for example:
//!
//! ```sh
//! cargo run --release -- -c 1100 -s 1100 -a 1100 --rate 0 &
//! cargo run --release --bin swarm -- --receivers 1000 --window 100 --pid $!
//! ```
//!
//! `--help` says the rest. One thread serves all connections, and should cost less than the server,
//! so as not to be what is measured; its report tells both.

mod conn;
mod ledger;
mod line;
mod measure;
mod members;
mod options;
mod progress;
mod pulls;
mod report;
mod run;
mod senders;
mod token;

use std::process::ExitCode;

use tools::arguments::{self, Action};

/// What is to be done.
enum Task {
    Load(options::Plan),
    Measure(measure::Plan),
}

fn main() -> ExitCode {
    arguments::run("swarm", parse, |task| match task {
        Task::Load(plan) => run::run(&plan),
        Task::Measure(plan) => measure::run(&plan),
    })
}

fn parse(args: &[String]) -> Result<Action<Task>, String> {
    Ok(match args {
        [first, args @ ..] if first == "measure" => measure::parse(args)?.map(Task::Measure),
        args => options::parse(args)?.map(Task::Load),
    })
}
