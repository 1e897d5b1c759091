//! The program: does what the command line asks for.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::process::ExitCode;

use chinwag::options::{self, Action, LogForm, Options};
use chinwag::server::log_sink::LogSink;
use chinwag::server::{Server, logging};
use chinwag::startup::Prepared;
use chinwag::users;

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
            if let Err(error) = logging::set_up(&options) {
                return finish(Err(error));
            }
            finish(Prepared::new(options).map(|prepared| prepared.ceiling().breakdown()))
        }
        Ok(Action::NewKey(file, name)) => {
            finish(users::new_key(&file, name).map(|key| format!("{key}\n")))
        }
        Ok(Action::Run(options)) => run(options),
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

fn run(options: Options) -> ExitCode {
    let (dropped, form) = match logging::set_up(&options) {
        Ok(log) => log,
        Err(error) => return finish(Err(error)),
    };
    let server = Prepared::new(options).and_then(|prepared| Server::new(prepared, dropped));
    match server.and_then(Server::run) {
        // Logged, so that a program that reads priorities sees an error.
        Err(error) if form == LogForm::Syslog => {
            log::error!("{error}");
            ExitCode::FAILURE
        }
        result => finish(result.map(|()| String::new())),
    }
}

/// Writes what went wrong to standard error, without waiting for anybody to read it.
fn complain(what: impl Display) {
    let text = format!("chinwag: {what}\n");
    if let Ok(mut sink) = LogSink::stderr() {
        for line in text.split_inclusive('\n') {
            let _ = sink.write_all(line.as_bytes());
        }
    }
}
