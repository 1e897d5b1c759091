//! One who asks for what has been said: what a server spends on each event that it is asked for,
//! and on a request for which there is nothing to give.
//!
//! One connection, with a number of requests on their way.

use tools::client::Client;
use tools::clock::Clock;
use tools::json::Object;
use tools::process::Process;

use crate::adapter::{Asking, adapter};
use crate::settings::Settings;

/// How many events are written before their replies are read.
const FILL_AT_ONCE: usize = 200;

/// One asks for everything that was said.
pub fn pull(settings: &Settings, process: &Process, report: &mut Object) -> Result<(), String> {
    let mut puller = Puller::new(settings)?;
    puller.fill(settings.events)?;
    let asked = puller.pull(settings, process)?;
    report
        .put("events_held", settings.events as u64)
        .put("events", asked.events)
        .decimal(
            "events_per_request",
            asked.events as f64 / asked.requests as f64,
        )
        .decimal("cpu_us_per_event", asked.cpu_us() / asked.events as f64);
    asked.report(settings, report);
    Ok(())
}

/// One asks for what is not there.
pub fn ask(settings: &Settings, process: &Process, report: &mut Object) -> Result<(), String> {
    let asked = Puller::new(settings)?.ask_for_nothing(settings, process)?;
    asked.report(settings, report);
    Ok(())
}

/// What asking has come to.
#[derive(Default)]
struct Asked {
    requests: u64,
    events: u64,
    seconds: f64,
    cpu_ns: u64,
}

impl Asked {
    fn cpu_us(&self) -> f64 {
        self.cpu_ns as f64 / 1e3
    }

    fn report(&self, settings: &Settings, report: &mut Object) {
        let requests = self.requests as f64;
        report
            .put("in_flight", settings.in_flight)
            .put("requests", self.requests)
            .decimal("seconds", self.seconds)
            .decimal("requests_per_second", requests / self.seconds)
            .decimal("cpu_us_per_request", self.cpu_us() / requests);
    }
}

/// The connection of the one who asks.
struct Puller {
    protocol: Asking,
    client: Client,
}

impl Puller {
    fn new(settings: &Settings) -> Result<Puller, String> {
        let protocol = adapter(settings.protocol).asking;
        let protocol = protocol.ok_or("there is nothing to ask for; chinwag and resp have that")?;
        let mut client = Client::open(settings.address)?;
        let (text, lines) = protocol.open;
        client.send(text.as_bytes())?;
        skip(&mut client, lines)?;
        Ok(Puller { protocol, client })
    }

    /// Adds events to what can be asked for.
    fn fill(&mut self, events: usize) -> Result<(), String> {
        let mut out = Vec::new();
        let mut lines = 0;
        for index in 1..=events {
            out.extend_from_slice((self.protocol.add)(index).as_bytes());
            lines += self.protocol.lines_of_add;
            if index % FILL_AT_ONCE == 0 || index == events {
                self.client.send(&out)?;
                skip(&mut self.client, lines)?;
                out.clear();
                lines = 0;
            }
        }
        Ok(())
    }

    /// Asks for all events again and again, for that long, and for all once at least.
    fn pull(&mut self, settings: &Settings, process: &Process) -> Result<Asked, String> {
        // One at a time, to see how many requests that takes.
        let (mut requests, mut given) = (0, 0);
        while given < settings.events as u64 {
            let got = self.rounds(requests, 1, 1)?;
            if got == 0 {
                return Err(format!("only {given} of {} events came", settings.events));
            }
            given += got;
            requests += 1;
        }
        let asked = repeat(settings, process, requests, || {
            self.rounds(0, requests, settings.in_flight as usize)
        })?;
        match asked.events == asked.requests / requests as u64 * given {
            true => Ok(asked),
            false => Err("not every round gave the same events".into()),
        }
    }

    /// Asks for nothing again and again, for that long.
    fn ask_for_nothing(&mut self, settings: &Settings, process: &Process) -> Result<Asked, String> {
        let in_flight = settings.in_flight as usize;
        let request = self.protocol.ask_for_nothing.repeat(in_flight);
        repeat(settings, process, in_flight, || {
            self.client.send(request.as_bytes())?;
            skip(&mut self.client, in_flight).map(|()| 0)
        })
    }

    /// Asks `count` times from round `first` on, with `in_flight` requests on their way as long as
    /// there are more to come, and gives how many events came.
    fn rounds(&mut self, first: usize, count: usize, in_flight: usize) -> Result<u64, String> {
        let (mut asked, mut answered, mut events) = (0, 0, 0);
        // Of the reply that is coming in: lines that have come, and how many there will be.
        let (mut lines, mut announced) = (0, None);
        let mut out = Vec::new();
        while answered < count {
            if !self.client.has_line() {
                out.clear();
                while asked < count && asked - answered < in_flight {
                    out.extend_from_slice((self.protocol.ask)(first + asked).as_bytes());
                    asked += 1;
                }
                self.client.send(&out)?;
            }
            let line = self.client.line_bytes()?;
            lines += 1;
            if announced.is_none() {
                if let Some((all, count)) = (self.protocol.announced)(lines, line) {
                    announced = Some(all);
                    events += count as u64;
                }
            }
            if announced == Some(lines) {
                (lines, announced) = (0, None);
                answered += 1;
            }
        }
        Ok(events)
    }
}

/// Asks again and again, for as long as the settings say, and once at least. Each time sends
/// `requests` requests and gives the number of events that came.
fn repeat(
    settings: &Settings,
    process: &Process,
    requests: usize,
    mut ask: impl FnMut() -> Result<u64, String>,
) -> Result<Asked, String> {
    let (start, cpu_start) = (Clock::start(), process.cpu_ns()?);
    let mut asked = Asked::default();
    while asked.requests == 0 || start.elapsed() < settings.duration {
        asked.events += ask()?;
        asked.requests += requests as u64;
    }
    asked.seconds = start.elapsed().as_secs_f64();
    asked.cpu_ns = process.cpu_ns()? - cpu_start;
    Ok(asked)
}

fn skip(client: &mut Client, lines: usize) -> Result<(), String> {
    (0..lines).try_for_each(|_| client.line_bytes().map(|_| ()))
}
