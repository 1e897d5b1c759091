//! The scenarios: what each does with a server that has just been started, and what it reports.

use std::time::Duration;

use tools::arguments::name;
use tools::clock::Clock;
use tools::json::Object;
use tools::process::Process;

use crate::adapter::{self, MARK, PAYLOAD};
use crate::clients::{Clients, Plan};
use crate::flood::{GIVEN_UP, Pace, Run, Talk};
use crate::probe::{queue_losses, tcp_memory_bytes};
use crate::pull;
use crate::settings::{Scenario, Settings};

/// How long a run is before the one that counts.
const WARM_UP: Duration = Duration::from_millis(500);
/// How long nothing has to have happened before that counts as idle.
const REST: Duration = Duration::from_secs(3);
/// What the system may keep for each of those who never read: little, so that the memory that is
/// seen to grow is the server's side.
const DEAF_BUFFER: usize = 4 * 1024;
const MIB: f64 = 1024.0 * 1024.0;

/// Runs the scenario that the settings name.
pub fn run(settings: &Settings) -> Result<Object, String> {
    let mut stage = Stage::new(settings)?;
    let mut report = Object::default();
    report
        .text("scenario", &name(&settings.scenario))
        .text("protocol", &name(&settings.protocol))
        .put("payload_bytes", PAYLOAD.len());
    match settings.scenario {
        Scenario::Start => stage.start(&mut report)?,
        Scenario::Idle => stage.idle(&mut report)?,
        Scenario::Flood => stage.talk(Pace::Window(settings.in_flight), &mut report)?,
        Scenario::Paced => stage.talk(Pace::Rate(settings.rate), &mut report)?,
        Scenario::Deaf => stage.deaf(&mut report)?,
        Scenario::Storm => stage.storm(&mut report)?,
        Scenario::Pull => pull::pull(settings, &stage.process, &mut report)?,
        Scenario::Ask => pull::ask(settings, &stage.process, &mut report)?,
    }
    Ok(report)
}

struct Stage<'a> {
    settings: &'a Settings,
    process: Process,
    clients: Clients,
}

impl<'a> Stage<'a> {
    fn new(settings: &'a Settings) -> Result<Self, String> {
        let adapter = adapter::adapter(settings.protocol);
        Ok(Stage {
            settings,
            process: Process::find(settings.pid)?,
            clients: Clients::new(adapter, settings.address)?,
        })
    }

    /// A plan for `count` clients in one room, or as the settings say, at a speed that the server can
    /// take.
    fn plan(&self, count: usize) -> Plan {
        Plan {
            count,
            rooms_of: Some(match self.settings.rooms_of {
                0 => count,
                rooms_of => rooms_of,
            }),
            at_once: self.clients.adapter.joins_at_once,
            receive_buffer: None,
            deadline: self.settings.deadline,
        }
    }

    /// Lets the receivers and the sender in, and reports what memory they take.
    fn assemble(&mut self, receivers: usize, report: &mut Object) -> Result<Talk<'_>, String> {
        let start = self.process.resident_kib()?;
        self.clients.join_all(self.plan(receivers))?;
        let joined = self.process.resident_kib()?;
        let growth = joined as f64 - start as f64;
        report
            .put("receivers", receivers)
            .put("resident_kib_start", start)
            .put("resident_kib_joined", joined)
            .decimal("bytes_per_session", growth * 1024.0 / receivers as f64);
        let sender = self.clients.join_sender(self.settings.deadline)?;
        Ok(Talk {
            clients: &mut self.clients,
            process: &self.process,
            sender,
            receivers,
            tcp_peak: 0,
        })
    }

    /// One to many, with a number of messages on their way or a number of them a second.
    fn talk(&mut self, pace: Pace, report: &mut Object) -> Result<(), String> {
        let settings = self.settings;
        let mut talk = self.assemble(settings.receivers, report)?;
        talk.run(pace, WARM_UP)?;
        let mut run = talk.run(pace, settings.duration)?;
        match pace {
            Pace::Window(in_flight) => report.put("in_flight", in_flight),
            Pace::Rate(rate) => report
                .put("messages_per_second", rate)
                .decimal("latency_p50_ms", run.latencies.quantile_ms(0.5))
                .decimal("latency_p99_ms", run.latencies.quantile_ms(0.99)),
        };
        self.report_run(&run, report)
    }

    /// Nobody is there.
    fn start(&mut self, report: &mut Object) -> Result<(), String> {
        self.clients.rest(REST)?;
        report.put("resident_kib_start", self.process.resident_kib()?);
        Ok(())
    }

    /// Many are there and nothing happens.
    fn idle(&mut self, report: &mut Object) -> Result<(), String> {
        let duration = self.settings.duration;
        self.assemble(self.settings.receivers, report)?;
        // What a server does after somebody came is over by then.
        self.clients.rest(REST)?;
        let joined = self.process.resident_kib()?;
        let (wakeups, cpu_ns) = (self.process.wakeups()?, self.process.cpu_ns()?);
        self.clients.rest(duration)?;
        let wakeups = self.process.wakeups()? - wakeups;
        let cpu_ns = self.process.cpu_ns()? - cpu_ns;
        let seconds = duration.as_secs_f64();
        report
            .put("resident_kib_idle", joined)
            .decimal("seconds", seconds)
            .put("wakeups", wakeups)
            .decimal("wakeups_per_second", wakeups as f64 / seconds)
            .decimal("cpu_ms_per_second", cpu_ns as f64 / 1e6 / seconds)
            .put("cut_off", self.clients.cut_off());
        Ok(())
    }

    /// One to many of whom some never read, compared with the same without those.
    fn deaf(&mut self, report: &mut Object) -> Result<(), String> {
        let settings = self.settings;
        let (deaf, duration) = (settings.deaf, settings.duration);
        let plan = Plan {
            receive_buffer: Some(DEAF_BUFFER),
            ..self.plan(deaf)
        };
        let pace = Pace::Window(settings.in_flight);
        let mut talk = self.assemble(settings.receivers - deaf, report)?;
        talk.run(pace, WARM_UP)?;
        let alone = talk.run(pace, duration)?;
        let tcp_alone = std::mem::take(&mut talk.tcp_peak);

        let first = talk.clients.len();
        talk.clients.join_all(plan)?;
        for who in first..first + deaf {
            talk.clients.stop_reading(who)?;
        }
        talk.process.reset_peak()?;
        let resident = talk.process.peak_kib()?;
        let tcp = tcp_memory_bytes()?;
        let beside = talk.run(pace, duration)?;
        // What is there after everybody else has read everything is there for those who do not.
        let tcp_held = tcp_memory_bytes()?;
        let tcp_beside = talk.tcp_peak;
        let growth = |to: u64| (to as f64 - tcp as f64) / MIB;
        report
            .decimal("tcp_memory_held_growth_mib", growth(tcp_held))
            .decimal("tcp_memory_peak_growth_mib", growth(tcp_beside))
            .decimal("tcp_memory_peak_growth_alone_mib", growth(tcp_alone));

        for who in first..first + deaf {
            self.clients.read_at_last(who);
        }
        let growth = self.process.peak_kib()? - resident;
        report
            .put("deaf", deaf)
            .put("deaf_receive_buffer_bytes", DEAF_BUFFER)
            .put("in_flight", settings.in_flight)
            .put("resident_peak_growth_kib", growth)
            .decimal("deliveries_per_second_alone", alone.rate())
            .decimal("cpu_us_per_delivery_alone", alone.cpu_us_per_delivery())
            .decimal("rate_kept", beside.rate() / alone.rate());
        self.report_run(&beside, report)
    }

    /// All clients join at once: how long that takes, how many the server refuses, and whether it tells
    /// each of all that join later, if it does that at all.
    fn storm(&mut self, report: &mut Object) -> Result<(), String> {
        let count = self.settings.receivers;
        let plan = Plan {
            at_once: count,
            ..self.plan(count)
        };
        let clients = &mut self.clients;
        let mark = clients.adapter.joined_mark;
        clients.count_byte(mark.unwrap_or(MARK));
        let (losses, cpu_ns) = (queue_losses()?, self.process.cpu_ns()?);
        let start = Clock::start();
        let mut marks = 0;
        let joined = clients.join(plan, |arrival| marks += arrival.marks)?;
        let rooms_of = plan.rooms_of.unwrap_or(count);
        let expected = arrivals(count, rooms_of);
        let mut seconds = joined.seconds;
        // Each has one mark more, for its own coming.
        while mark.is_some() && marks < expected + joined.confirmed as u64 {
            let before = marks;
            clients.turn(GIVEN_UP, |arrival| marks += arrival.marks)?;
            if marks == before {
                break;
            }
            seconds = start.elapsed().as_secs_f64();
        }
        let after = queue_losses()?;
        clients.settle()?;
        let cpu_ns = self.process.cpu_ns()? - cpu_ns;
        report
            .put("receivers", count)
            .put("rooms_of", rooms_of)
            .put("confirmed", joined.confirmed)
            .put("refused", joined.refused)
            .put("unconfirmed", joined.unconfirmed)
            .decimal("seconds_confirmed", joined.seconds)
            .put("listen_overflows", after[0] - losses[0])
            .put("listen_drops", after[1] - losses[1])
            .put("syn_queue_drops", after[2] - losses[2])
            .decimal("cpu_ms", cpu_ns as f64 / 1e6);
        if mark.is_some() {
            let delivered = marks.saturating_sub(joined.confirmed as u64);
            report
                .put("joined_expected", expected)
                .put("joined_delivered", delivered)
                .decimal("seconds_delivered", seconds);
        }
        report.put("cut_off", clients.cut_off());
        Ok(())
    }

    fn report_run(&self, run: &Run, report: &mut Object) -> Result<(), String> {
        report
            .decimal("seconds", run.seconds)
            .put("messages", run.messages)
            .put("deliveries", run.deliveries)
            .put("lost", run.lost())
            .put("cut_off", self.clients.cut_off())
            .decimal("deliveries_per_second", run.rate())
            .decimal("cpu_us_per_delivery", run.cpu_us_per_delivery())
            .decimal("cpu_percent", run.cpu_ns as f64 / 1e7 / run.seconds)
            .put("resident_kib_end", self.process.resident_kib()?);
        Ok(())
    }
}

/// How often a server that tells each client of itself, and of all that join its room later, tells
/// somebody of somebody.
fn arrivals(count: usize, rooms_of: usize) -> u64 {
    let in_room = |size: usize| (size * (size + 1) / 2) as u64;
    (count / rooms_of) as u64 * in_room(rooms_of) + in_room(count % rooms_of)
}
