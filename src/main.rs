//! The program: reads its options, sets up the log, and runs the server.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use chinwag::options::{self, Action, Options, Verbosity};
use chinwag::server::Server;
use chinwag::{startup, users};

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
            complain(format_args!("{error}\nTry 'chinwag --help'."));
            ExitCode::from(2)
        }
        Ok(Action::Print(text)) => print(&text),
        Ok(Action::Check(options)) => {
            set_up_log(options.verbosity);
            finish(startup::check(&options).map(|ceiling| ceiling.table()))
        }
        Ok(Action::NewKey(file, name)) => {
            finish(users::new_key(&file, name).map(|key| format!("{key}\n")))
        }
        Ok(Action::Run(options)) => run(&options),
    }
}

fn finish(result: Result<String, String>) -> ExitCode {
    match result {
        Ok(text) => print(&text),
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

fn run(options: &Options) -> ExitCode {
    set_up_log(options.verbosity);
    let result = Server::new(options).and_then(|server| {
        server
            .run()
            .map_err(|error| format!("the event loop failed: {error}"))
    });
    finish(result.map(|()| String::new()))
}

/// Tells people what went wrong. If nobody reads that, it cannot be helped.
fn complain(what: impl Display) {
    let _ = writeln!(stderr(), "chinwag: {what}");
}

/// Logs to stderr. An option counts for more than `RUST_LOG`, and that for more than the default.
fn set_up_log(verbosity: Verbosity) {
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Info);
    match verbosity {
        Verbosity::Quiet => _ = builder.filter_level(log::LevelFilter::Warn),
        Verbosity::Normal => _ = builder.parse_default_env(),
        Verbosity::Verbose => _ = builder.filter_level(log::LevelFilter::Debug),
    }
    builder
        .format(|out, record| {
            let (time, level) = (out.timestamp_seconds(), record.level());
            writeln!(out, "{time} {level} {}", record.args())
        })
        .init();
}
