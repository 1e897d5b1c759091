//! Command lines: reading one, and printing what comes of it.

use std::fmt::Display;
use std::io::{Write, stderr, stdout};
use std::ops::RangeInclusive;
use std::process::ExitCode;
use std::str::FromStr;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use getopts::{Fail, Matches, Options};

/// The longest time that can be given, in seconds: a day.
const SECONDS_MAX: f64 = 24.0 * 3600.0;

/// An option: its name, what stands for its value, and what it is for. A switch has no value.
pub type Flag = [&'static str; 3];

/// What the command line asks for.
pub enum Action<T> {
    Print(String),
    Run(T),
}

impl<T> Action<T> {
    pub fn map<U>(self, to: impl FnOnce(T) -> U) -> Action<U> {
        match self {
            Action::Print(text) => Action::Print(text),
            Action::Run(plan) => Action::Run(to(plan)),
        }
    }
}

/// The arguments of a command line.
pub struct Arguments(Matches);

impl Arguments {
    /// Reads the command line, without the program's name.
    ///
    /// # Errors
    ///
    /// A text for people that names the option.
    pub fn read(flags: &[Flag], args: &[String]) -> Result<Arguments, String> {
        let shown = |name: &str| match name.len() {
            1 => format!("-{name}"),
            _ => format!("--{name}"),
        };
        let matches = declare(flags).parse(args).map_err(|fail| match fail {
            Fail::ArgumentMissing(name) => format!("{}: its value is missing", shown(&name)),
            Fail::UnrecognizedOption(name) => format!("{}: there is no such option", shown(&name)),
            Fail::OptionDuplicated(name) => format!("{}: give it once", shown(&name)),
            other => other.to_string(),
        });
        Ok(Arguments(matches?))
    }

    pub fn wants_help(&self) -> bool {
        self.has("help")
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.opt_present(name)
    }

    /// What is no option.
    pub fn words(&self) -> &[String] {
        &self.0.free
    }

    /// Expects nothing but options.
    pub fn expect_no_words(&self) -> Result<(), String> {
        match self.words().first() {
            None => Ok(()),
            Some(word) => Err(format!(
                "unexpected argument '{word}': everything is said with options"
            )),
        }
    }

    pub fn text(&self, name: &str) -> Option<String> {
        self.0.opt_str(name)
    }

    /// The number that an option has, if it was given.
    pub fn given<T>(&self, name: &str, range: RangeInclusive<T>) -> Result<Option<T>, String>
    where
        T: FromStr + PartialOrd + Display,
    {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) if range.contains(&number) => Ok(Some(number)),
            _ => Err(format!(
                "--{name} {text}: give a number from {} to {}",
                range.start(),
                range.end()
            )),
        }
    }

    /// The number that an option has, or its default.
    pub fn number<T>(&self, name: &str, range: RangeInclusive<T>, default: T) -> Result<T, String>
    where
        T: FromStr + PartialOrd + Display,
    {
        Ok(self.given(name, range)?.unwrap_or(default))
    }

    /// Seconds with up to six decimals, as microseconds.
    pub fn seconds_as_us(&self, name: &str, default_s: u64) -> Result<u64, String> {
        let Some(text) = self.text(name) else {
            return Ok(default_s * 1_000_000);
        };
        let seconds = text
            .parse()
            .ok()
            .filter(|s| (1e-6..=SECONDS_MAX).contains(s));
        let us = seconds.map(|seconds: f64| seconds * 1e6);
        match us.filter(|us| (us - us.round()).abs() < 1e-3) {
            Some(us) => Ok(us.round() as u64),
            None => Err(format!(
                "--{name} {text}: give seconds up to {SECONDS_MAX}, like 10 or 0.5"
            )),
        }
    }
}

fn declare(flags: &[Flag]) -> Options {
    let mut options = Options::new();
    for [name, value, what] in flags {
        match *value {
            "" => options.optflag("", name, what),
            value => options.optopt("", name, what, value),
        };
    }
    options.optflag("h", "help", "show this text");
    options
}

/// The text of `--help`, which begins with `brief`.
pub fn help(brief: &str, flags: &[Flag]) -> String {
    declare(flags).usage(brief)
}

/// Reads the command line, does what it asks for, and prints what comes of that.
pub fn run<T>(
    program: &str,
    parse: impl FnOnce(&[String]) -> Result<Action<T>, String>,
    act: impl FnOnce(T) -> Result<String, String>,
) -> ExitCode {
    let args = std::env::args_os().skip(1).map(|arg| arg.into_string());
    let parsed = args
        .collect::<Result<Vec<_>, _>>()
        .map_err(|arg| format!("{}: this is not UTF-8", arg.to_string_lossy()))
        .and_then(|args| parse(&args));
    let done = match parsed {
        Err(error) => {
            complain(program, format_args!("{error}\nTry '{program} --help'."));
            return ExitCode::from(2);
        }
        Ok(Action::Print(text)) => Ok(text),
        Ok(Action::Run(plan)) => act(plan),
    };
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
