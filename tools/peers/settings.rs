//! The load's command line.

use std::fmt::Display;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use tools::arguments::{Action, Arguments, Flag, help};

use crate::adapter;

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
    pub fn parse(args: &[String]) -> Result<Action<Settings>, String> {
        let args = Arguments::read(FLAGS, args)?;
        if args.wants_help() {
            let brief = format!("Usage: load SCENARIO [OPTIONS]\n\nScenarios: {SCENARIOS}");
            return Ok(Action::Print(help(&brief, FLAGS)));
        }
        let scenario = match args.words() {
            [scenario] if SCENARIOS.split(", ").any(|known| known == scenario) => scenario.clone(),
            [] => return Err(format!("name a scenario; there are {SCENARIOS}")),
            [other] => return Err(format!("{other}: no such scenario; there are {SCENARIOS}")),
            [_, other, ..] => return Err(format!("{other}: one scenario at a time")),
        };
        let protocol: String = required(&args, "protocol")?;
        if adapter::adapter(&protocol).is_none() {
            let names = adapter::NAMES;
            return Err(format!("--protocol {protocol}: there are {names}"));
        }
        let receivers = args.number("receivers", 1..=1_000_000, 1000)?;
        let deaf = args.number("deaf", 1..=1_000_000, 100)?;
        if scenario == "deaf" && deaf >= receivers {
            return Err(format!(
                "--deaf {deaf}: it has to be less than --receivers {receivers}"
            ));
        }
        let seconds = |name, default_s| args.seconds_as_us(name, default_s);
        Ok(Action::Run(Settings {
            scenario,
            protocol,
            address: required(&args, "address")?,
            pid: required(&args, "pid")?,
            receivers,
            in_flight: args.number("in-flight", 1..=1_000_000, 100)?,
            duration: Duration::from_micros(seconds("seconds", 5)?),
            rate: args.number("rate", 1..=1_000_000, 100)?,
            rooms_of: args.number("rooms-of", 0..=1_000_000, 0)?,
            deaf,
            events: args.number("events", 1..=10_000_000, 100_000)?,
            deadline: Duration::from_micros(seconds("deadline", 60)?),
        }))
    }
}

#[rustfmt::skip]
const FLAGS: &[Flag] = &[
    ["protocol", "NAME", adapter::NAMES],
    ["address", "IP:PORT", "where the server listens"],
    ["pid", "N", "the server's process"],
    ["receivers", "N", "clients that are sent to (1000)"],
    ["in-flight", "N", "messages or requests on their way (100)"],
    ["seconds", "S", "how long to measure (5)"],
    ["rate", "N", "paced: messages a second (100)"],
    ["rooms-of", "N", "clients that share a room; 0 for all (0)"],
    ["deaf", "N", "deaf: how many never read (100)"],
    ["events", "N", "pull: events to be fetched (100000)"],
    ["deadline", "S", "for all to come in (60)"],
];

fn required<T: FromStr<Err: Display>>(args: &Arguments, name: &str) -> Result<T, String> {
    let text = args.text(name).ok_or(format!("--{name} is not given"))?;
    text.parse()
        .map_err(|error| format!("--{name} {text}: {error}"))
}
