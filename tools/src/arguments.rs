//! Command lines: values of options, and printing what comes of them.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};

/// The longest time that an option takes, in seconds: a day.
const SECONDS_MAX: f64 = 24.0 * 3600.0;

/// Reads the command line, and ends the program if it is wrong or asks for help.
pub fn parse<T: Parser>(check: impl FnOnce(&T) -> Result<(), String>) -> T {
    let arguments = T::parse();
    if let Err(error) = check(&arguments) {
        <T as CommandFactory>::command()
            .error(ErrorKind::ValueValidation, error)
            .exit();
    }
    arguments
}

/// Makes a parser of numbers in this range.
pub fn within<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!(
            "give a number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}

/// Parses seconds with up to six decimals, as microseconds.
pub fn seconds_as_us(text: &str) -> Result<u64, String> {
    let seconds = text.parse().ok();
    let us = seconds
        .filter(|s| (1e-6..=SECONDS_MAX).contains(s))
        .map(|seconds: f64| seconds * 1e6);
    match us.filter(|us| (us - us.round()).abs() < 1e-3) {
        Some(us) => Ok(us.round() as u64),
        None => Err(format!("give seconds up to {SECONDS_MAX}, like 10 or 0.5")),
    }
}

/// What stands for a value on the command line.
pub fn name(value: &impl ValueEnum) -> String {
    let value = value.to_possible_value().expect("no value is hidden");
    value.get_name().into()
}

/// Prints what a program has come to; gives its exit code.
pub fn print(program: &str, done: Result<String, String>) -> ExitCode {
    let printed = done.and_then(|text| {
        let printed = stdout().write_all(text.as_bytes());
        printed.map_err(|error| format!("cannot write to standard output: {error}"))
    });
    match printed {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(program, error);
            ExitCode::FAILURE
        }
    }
}

/// Tells people what is wrong. If nobody reads that, it cannot be helped.
pub fn complain(program: &str, what: impl Display) {
    let _ = writeln!(stderr(), "{program}: {what}");
}
