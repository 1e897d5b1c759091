//! The program: does what the command line asks for.

use std::fmt::Display;
use std::io::{Write, stdout};
use std::process::ExitCode;

use chinwag::options::{self, Action, LogForm};
use chinwag::server::errand::Errand;
use chinwag::server::log_sink::{LogSink, LogState};
use chinwag::server::{Server, ask_upgrade, logging, resume};
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
    match Errand::of_this_program() {
        Ok(None) => start(action),
        Ok(Some(errand)) => run_errand(errand, action),
        Err(error) => finish(Err(error)),
    }
}

fn start(action: Result<Action, String>) -> ExitCode {
    match action {
        Err(error) => {
            complain(format_args!("{error}\nTry 'chinwag --help'."));
            ExitCode::from(2)
        }
        Ok(Action::Print(text)) => print(&text),
        Ok(Action::Check(options)) => {
            if let Err(error) = logging::set_up(&options, LogState::default()) {
                return finish(Err(error));
            }
            finish(Prepared::new(options).map(|prepared| prepared.ceiling().breakdown()))
        }
        Ok(Action::NewKey(file, name)) => {
            finish(users::new_key(&file, name).map(|key| format!("{key}\n")))
        }
        Ok(Action::Upgrade(pid)) => {
            finish(ask_upgrade::ask(pid).map(|answer| format!("{answer}\n")))
        }
        Ok(Action::Run(options)) => {
            let log = LogState::default();
            match logging::set_up(&options, log.clone()) {
                Ok(form) => {
                    let prepared = Prepared::new(options);
                    serve(
                        prepared.and_then(|prepared| Server::new(prepared, log)),
                        form,
                    )
                }
                Err(error) => finish(Err(error)),
            }
        }
    }
}

/// Does what another program has executed this one for.
fn run_errand(errand: Errand, action: Result<Action, String>) -> ExitCode {
    let options = action.and_then(|action| match action {
        Action::Run(options) => Ok(options),
        _ => Err("these options do not start a server".to_owned()),
    });
    let result = match errand {
        Errand::Trial { state } => {
            return finish(options.and_then(|options| resume::try_out(options, &state)));
        }
        Errand::Resume { state, old } => resume::resume(options, state, old),
        Errand::Back { state, reason } => resume::come_back(options, state, &reason),
    };
    match result {
        Ok((server, form)) => serve(Ok(server), form),
        Err(error) => finish(Err(error)),
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

/// Runs a server until a signal ends it.
fn serve(server: Result<Server, String>, form: LogForm) -> ExitCode {
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
    if let Ok(mut sink) = LogSink::stderr(LogState::default()) {
        for line in text.split_inclusive('\n') {
            let _ = sink.write_all(line.as_bytes());
        }
    }
}
