//! What the load is told on its command line.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use getopts::{Matches, Options};

use crate::adapter;

/// What to do.
pub enum Wish {
    /// Show this text.
    Help(String),
    /// Run a scenario.
    Run(Settings),
}

/// A scenario, the server, and how many of everything.
pub struct Settings {
    pub scenario: String,
    pub protocol: String,
    pub address: SocketAddr,
    pub pid: u32,
    pub receivers: usize,
    pub in_flight: u64,
    pub duration: Duration,
    /// Messages a second.
    pub rate: u32,
    /// How many share a room; 0 for all.
    pub rooms_of: usize,
    /// How many are to read never.
    pub deaf: usize,
    pub events: usize,
    pub deadline: Duration,
}

const SCENARIOS: &str = "start, idle, flood, paced, deaf, storm, pull, ask";

impl Settings {
    /// Reads the command line.
    ///
    /// # Errors
    ///
    /// A text for people that names the argument and what is wrong with it.
    pub fn parse(args: &[String]) -> Result<Wish, String> {
        let options = options();
        let matches = options.parse(args).map_err(|error| error.to_string())?;
        if matches.opt_present("help") {
            let brief = format!("Usage: load SCENARIO [OPTIONS]\n\nScenarios: {SCENARIOS}");
            return Ok(Wish::Help(options.usage(&brief)));
        }
        let scenario = match matches.free.as_slice() {
            [scenario] if SCENARIOS.split(", ").any(|known| known == scenario) => scenario.clone(),
            [] => return Err(format!("no scenario is given; there are {SCENARIOS}")),
            [other] => return Err(format!("{other}: no such scenario; there are {SCENARIOS}")),
            [_, other, ..] => return Err(format!("{other}: one scenario at a time")),
        };
        let protocol = matches
            .opt_str("protocol")
            .ok_or("--protocol is not given")?;
        if adapter::adapter(&protocol).is_none() {
            let names = adapter::NAMES;
            return Err(format!("--protocol {protocol}: there are {names}"));
        }
        let receivers = number(&matches, "receivers", 1000, 1..=1_000_000)?;
        let deaf = number(&matches, "deaf", 100, 1..=1_000_000)?;
        if scenario == "deaf" && deaf >= receivers {
            return Err(format!(
                "--deaf {deaf}: it has to be less than --receivers {receivers}"
            ));
        }
        let seconds = |name, default| number(&matches, name, default, 0.01..=3600.0);
        let deadline = seconds("deadline", 60.0)?;
        let duration = seconds("seconds", 5.0)?;
        Ok(Wish::Run(Settings {
            scenario,
            protocol,
            address: required(&matches, "address")?,
            pid: required(&matches, "pid")?,
            receivers,
            in_flight: number(&matches, "in-flight", 100, 1..=1_000_000)?,
            duration: Duration::from_secs_f64(duration),
            rate: number(&matches, "rate", 100, 1..=1_000_000)?,
            rooms_of: number(&matches, "rooms-of", 0, 0..=1_000_000)?,
            deaf,
            events: number(&matches, "events", 100_000, 1..=10_000_000)?,
            deadline: Duration::from_secs_f64(deadline),
        }))
    }
}

fn options() -> Options {
    let mut options = Options::new();
    options.optopt("", "protocol", adapter::NAMES, "NAME");
    options.optopt("", "address", "where the server listens", "IP:PORT");
    options.optopt("", "pid", "the server's process", "N");
    options.optopt("", "receivers", "clients that are sent to (1000)", "N");
    options.optopt(
        "",
        "in-flight",
        "messages or requests on their way (100)",
        "N",
    );
    options.optopt("", "seconds", "how long to measure (5)", "S");
    options.optopt("", "rate", "paced: messages a second (100)", "N");
    options.optopt(
        "",
        "rooms-of",
        "clients that share a room; 0 for all (0)",
        "N",
    );
    options.optopt("", "deaf", "deaf: how many never read (100)", "N");
    options.optopt("", "events", "pull: events to be fetched (100000)", "N");
    options.optopt("", "deadline", "for all to come in (60)", "S");
    options.optflag("h", "help", "show this text");
    options
}

fn required<T: FromStr<Err: Display>>(matches: &Matches, name: &str) -> Result<T, String> {
    let text = matches
        .opt_str(name)
        .ok_or(format!("--{name} is not given"))?;
    text.parse()
        .map_err(|error| format!("--{name} {text}: {error}"))
}

fn number<T>(
    matches: &Matches,
    name: &str,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String>
where
    T: FromStr + PartialOrd + Display,
{
    let Some(text) = matches.opt_str(name) else {
        return Ok(default);
    };
    match text.parse() {
        Ok(value) if range.contains(&value) => Ok(value),
        _ => Err(format!(
            "--{name} {text}: it has to be a number from {} to {}",
            range.start(),
            range.end()
        )),
    }
}
