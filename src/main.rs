//! The program: reads its options, sets up the log, and runs the server.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::process::ExitCode;

use chinwag::options::{self, Action, Options, Verbosity};
use chinwag::server::Server;

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
        Ok(Action::Print(text)) => match stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                complain(format_args!("cannot write to standard output: {error}"));
                ExitCode::FAILURE
            }
        },
        Ok(Action::Run(options)) => run(&options),
    }
}

fn run(options: &Options) -> ExitCode {
    set_up_log(options.verbosity);
    let result = Server::new(options).and_then(|server| {
        server
            .run()
            .map_err(|error| format!("the event loop failed: {error}"))
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(error);
            ExitCode::FAILURE
        }
    }
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
