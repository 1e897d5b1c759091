//! Setting up the log: what is logged, and how a line begins.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use env_logger::Target;
use log::Level;

use super::clock::since_1970;
use super::log_sink::{LogSink, LogState};
use crate::options::{LogForm, Options, Verbosity};
use crate::time::Utc;

/// The target of lines that somebody has asked for, which are logged whatever the verbosity.
pub const ASKED_FOR: &str = "chinwag::asked_for";

/// Sets up the log on standard error, which goes on with `state`. Returns its form. Options take
/// precedence over `RUST_LOG`, and that over the default.
///
/// # Errors
///
/// A text for people, when the system is out of descriptors.
pub fn set_up(options: &Options, state: LogState) -> Result<LogForm, String> {
    let sink = LogSink::stderr(state).map_err(|error| format!("cannot set up the log: {error}"))?;
    let mut builder = env_logger::Builder::new();
    builder.filter_level(log::LevelFilter::Info);
    match options.verbosity {
        Verbosity::Quiet => _ = builder.filter_level(log::LevelFilter::Warn),
        Verbosity::Normal => _ = builder.parse_default_env(),
        Verbosity::Verbose => _ = builder.filter_level(log::LevelFilter::Debug),
    }
    builder.filter_module(ASKED_FOR, log::LevelFilter::Info);
    let form = options.log_form(is_journal());
    builder.format(move |out, record| {
        let (time, level) = (Utc(since_1970().as_secs()), record.level());
        // An error may have several lines.
        let text = record.args().to_string();
        text.lines().try_for_each(|line| match form {
            LogForm::Plain => writeln!(out, "{time} {level} {line}"),
            LogForm::Syslog => writeln!(out, "<{}>{line}", priority(level)),
        })
    });
    builder.target(Target::Pipe(Box::new(sink))).init();
    Ok(form)
}

/// The priority of a level in syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether standard error leads to systemd's journal, which reads priorities and adds the time: see
/// JOURNAL_STREAM in systemd.exec(5).
fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let identity = || {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let found = file.metadata()?;
        io::Result::Ok(format!("{}:{}", found.dev(), found.ino()))
    };
    identity().is_ok_and(|found| stream.to_str() == Some(&found))
}
