//! One who says something to many: as fast as the window allows, or at a steady pace.
//!
//! The window is over the average of the receivers: the next message goes out once
//! enough have been delivered for all but `in_flight` messages to have reached everybody.

use std::time::Duration;

use tools::clock::Clock;
use tools::latency::Latencies;
use tools::process::Process;

use crate::clients::Clients;
use crate::probe::tcp_memory_bytes;

/// After this much silence, what is on its way will not arrive.
pub const GIVEN_UP: Duration = Duration::from_secs(5);
/// How often the system's memory is looked at.
const LOOK: Duration = Duration::from_millis(50);

/// A client that says something, and those that receive it.
pub struct Talk<'a> {
    pub clients: &'a mut Clients,
    pub process: &'a Process,
    pub sender: usize,
    /// As many of the first clients as are counted; nobody else is.
    pub receivers: usize,
    /// The most memory, in bytes, that TCP was seen to take in runs by the window.
    pub tcp_peak: u64,
}

/// What a run has come to.
pub struct Run {
    pub messages: u64,
    pub receivers: usize,
    pub deliveries: u64,
    pub seconds: f64,
    pub cpu_ns: u64,
    /// How long each delivery took; only of a paced run.
    pub latencies: Latencies,
}

impl Run {
    /// Deliveries that did not come.
    pub fn lost(&self) -> u64 {
        (self.messages * self.receivers as u64).saturating_sub(self.deliveries)
    }

    /// The server's time on the CPU for each message that somebody got.
    pub fn cpu_us_per_delivery(&self) -> f64 {
        self.cpu_ns as f64 / 1e3 / self.deliveries as f64
    }

    /// Deliveries per second.
    pub fn rate(&self) -> f64 {
        self.deliveries as f64 / self.seconds
    }
}

/// When messages are said.
#[derive(Clone, Copy)]
pub enum Pace {
    /// This many are on their way.
    Window(u64),
    /// This many a second.
    Rate(u32),
}

impl Talk<'_> {
    /// Says messages for that long, and waits for the last. Each receiver gets them in order, and
    /// each carries one mark, so the count of its marks tells which message has arrived.
    pub fn run(&mut self, pace: Pace, duration: Duration) -> Result<Run, String> {
        let first = match pace {
            Pace::Window(_) => 0,
            Pace::Rate(_) => self.marks_of_all()?,
        };
        let (clock, cpu_start) = (Clock::start(), self.process.cpu_ns()?);
        let receivers = self.receivers;
        let mut said_at = Vec::new();
        let (mut messages, mut deliveries) = (0, 0);
        let mut latencies = Latencies::default();
        let (mut last, mut looked) = (Duration::ZERO, Duration::ZERO);
        loop {
            let time = clock.elapsed();
            let (due, next) = match pace {
                Pace::Window(_) if time >= duration => (messages, None),
                Pace::Window(in_flight) => {
                    (deliveries / receivers as u64 + in_flight, Some(GIVEN_UP))
                }
                Pace::Rate(rate) => {
                    let by = |time: Duration| (time.as_secs_f64() * f64::from(rate)) as u64;
                    let due = (by(time) + 1).min(by(duration));
                    let next = Duration::from_secs_f64(due as f64 / f64::from(rate));
                    (due, (due < by(duration)).then(|| next.saturating_sub(time)))
                }
            };
            if due > messages {
                self.clients.say(self.sender, due - messages);
                if let Pace::Rate(_) = pace {
                    said_at.resize(due as usize, time);
                }
                messages = due;
            }
            if next.is_none() && deliveries >= messages * receivers as u64 {
                break;
            }
            let timeout = next.unwrap_or(GIVEN_UP);
            let before = deliveries;
            let events = self.clients.turn(timeout, |arrival| {
                if arrival.who < receivers {
                    deliveries += arrival.marks;
                    if let Pace::Rate(_) = pace {
                        let now = clock.elapsed();
                        let from = (arrival.before - first) as usize;
                        for &said_at in &said_at[from..from + arrival.marks as usize] {
                            latencies.record((now - said_at).as_micros() as u64);
                        }
                    }
                }
            })?;
            if deliveries > before {
                last = clock.elapsed();
            } else if events == 0 && timeout == GIVEN_UP {
                break;
            }
            if clock.elapsed() - looked >= LOOK {
                looked = clock.elapsed();
                self.tcp_peak = self.tcp_peak.max(tcp_memory_bytes()?);
            }
        }
        self.clients.settle()?;
        if deliveries > messages * receivers as u64 {
            return Err(format!(
                "{deliveries} marks came of {messages} messages to {receivers}: something else \
                 that the server sends has marks too"
            ));
        }
        Ok(Run {
            messages,
            receivers,
            deliveries,
            seconds: last.as_secs_f64(),
            cpu_ns: self.process.cpu_ns()? - cpu_start,
            latencies,
        })
    }

    /// How many messages each receiver got so far: all of them the same.
    fn marks_of_all(&self) -> Result<u64, String> {
        let marks = self.clients.marks(0);
        match (0..self.receivers).find(|&who| self.clients.marks(who) != marks) {
            None => Ok(marks),
            Some(who) => Err(format!(
                "receiver 0 got {marks} messages and receiver {who} {}: the server has lost some, \
                 so nobody can tell which arrive when",
                self.clients.marks(who)
            )),
        }
    }
}
