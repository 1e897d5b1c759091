//! The load's command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use tools::arguments::{seconds_as_us, within};

use crate::adapter::Protocol;

/// Many clients of one server, and what they cost it in a scenario.
#[derive(Parser)]
#[command(name = "load")]
pub struct Settings {
    pub scenario: Scenario,
    #[arg(long, value_name = "NAME")]
    pub protocol: Protocol,
    /// Where the server listens
    #[arg(long, value_name = "IP:PORT")]
    pub address: SocketAddr,
    /// The server's process
    #[arg(long, value_name = "N")]
    pub pid: u32,
    /// Clients that are sent to
    #[arg(long, value_name = "N", default_value = "1000", value_parser = within(1..=1_000_000_usize))]
    pub receivers: usize,
    /// Messages or requests on their way
    #[arg(long, value_name = "N", default_value = "100", value_parser = within(1..=1_000_000_u64))]
    pub in_flight: u64,
    /// How long to measure
    #[arg(long = "seconds", value_name = "S", default_value = "5", value_parser = seconds)]
    pub duration: Duration,
    /// paced: messages a second
    #[arg(long, value_name = "N", default_value = "100", value_parser = within(1..=1_000_000_u32))]
    pub rate: u32,
    /// Clients that share a room; 0 for all
    #[arg(long, value_name = "N", default_value = "0", value_parser = within(0..=1_000_000_usize))]
    pub rooms_of: usize,
    /// deaf: how many never read
    #[arg(long, value_name = "N", default_value = "100", value_parser = within(1..=1_000_000_usize))]
    pub deaf: usize,
    /// pull: events to be fetched
    #[arg(long, value_name = "N", default_value = "100000")]
    #[arg(value_parser = within(1..=10_000_000_usize))]
    pub events: usize,
    /// For all to come in
    #[arg(long, value_name = "S", default_value = "60", value_parser = seconds)]
    pub deadline: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    Start,
    Idle,
    Flood,
    Paced,
    Deaf,
    Storm,
    Pull,
    Ask,
}

impl Settings {
    /// Checks what several options have to agree on.
    pub fn check(&self) -> Result<(), String> {
        match self.scenario == Scenario::Deaf && self.deaf >= self.receivers {
            true => Err(format!(
                "--deaf {}: it has to be less than --receivers {}",
                self.deaf, self.receivers
            )),
            false => Ok(()),
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    seconds_as_us(text).map(Duration::from_micros)
}
