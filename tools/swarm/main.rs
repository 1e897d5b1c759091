//! Puts load on a chinwag server, checks that everybody is given everything exactly once and in
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
mod crowd;
mod ledger;
mod line;
mod options;
mod progress;
mod pulls;
mod report;
mod run;
mod senders;
mod texts;

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use options::{Action, Plan};

fn main() -> ExitCode {
    let args: Result<Vec<String>, _> = std::env::args_os()
        .skip(1)
        .map(|arg| arg.into_string())
        .collect();
    let action = args
        .map_err(|arg| format!("{}: this is not UTF-8", arg.to_string_lossy()))
        .and_then(|args| options::parse(&args));
    match action {
        Err(error) => {
            complain(format_args!("{error}\nTry 'swarm --help'."));
            ExitCode::from(2)
        }
        Ok(Action::Print(text)) => print(&text),
        Ok(Action::Run(plan)) => run(&plan),
    }
}

fn run(plan: &Plan) -> ExitCode {
    match run::run(plan) {
        Ok(mut report) => {
            let is_throttled = report.lines_throttled.is_some_and(|times| times > 0);
            if is_throttled && !report.has_told_throttled {
                complain(run::throttled(plan));
            }
            match plan.json {
                true => print(&format!("{}\n", report.json(plan))),
                false => print(&report.text(plan)),
            }
        }
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
}

fn print(text: &str) -> ExitCode {
    match stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(format_args!("cannot write to standard output: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Tells people what is wrong. If nobody reads that, it cannot be helped.
fn complain(what: impl Display) {
    let _ = writeln!(stderr(), "swarm: {what}");
}
