//! The scenarios: what each does with a server that has just been started, and what it reports.

use std::time::Duration;

use crate::adapter::{self, PAYLOAD};
use crate::crowd::{Crowd, Plan};
use crate::flood::{Run, Talk};
use crate::probe::Process;
use crate::report::Report;
use crate::settings::Settings;

/// How long a run is before the one that counts.
const WARM_UP: Duration = Duration::from_millis(500);

/// Runs the scenario that the settings name.
pub fn run(settings: &Settings) -> Result<Report, String> {
    let mut stage = Stage::new(settings)?;
    let mut report = Report::default();
    report
        .text("scenario", &settings.scenario)
        .text("protocol", &settings.protocol)
        .count("payload_bytes", PAYLOAD.len() as u64);
    match settings.scenario.as_str() {
        "flood" => stage.flood(&mut report)?,
        "paced" => stage.paced(&mut report)?,
        other => unreachable!("settings know {other} and scenarios do not"),
    }
    Ok(report)
}

struct Stage<'a> {
    settings: &'a Settings,
    process: Process,
    crowd: Crowd,
}

impl<'a> Stage<'a> {
    fn new(settings: &'a Settings) -> Result<Self, String> {
        let adapter = adapter::adapter(&settings.protocol).expect("settings know all protocols");
        Ok(Stage {
            settings,
            process: Process::new(settings.pid)?,
            crowd: Crowd::new(adapter, settings.address)?,
        })
    }

    /// A plan for so many in one room, or as the settings say, at a speed that the server can take.
    fn plan(&self, count: usize) -> Plan {
        Plan {
            count,
            rooms_of: match self.settings.rooms_of {
                0 => count,
                rooms_of => rooms_of,
            },
            at_once: self.crowd.adapter.joins_at_once(),
            receive_buffer: None,
            deadline: self.settings.deadline,
        }
    }

    /// Lets the receivers and the sender in, and reports what memory they take.
    fn assemble(&mut self, receivers: usize, report: &mut Report) -> Result<Talk<'_>, String> {
        let start = self.process.resident_kib()?;
        self.crowd.join_all(self.plan(receivers))?;
        let joined = self.process.resident_kib()?;
        let growth = joined as f64 - start as f64;
        report
            .count("receivers", receivers as u64)
            .count("resident_kib_start", start)
            .count("resident_kib_joined", joined)
            .decimal("bytes_per_session", growth * 1024.0 / receivers as f64);
        let sender = self.crowd.join_sender(self.settings.deadline)?;
        Ok(Talk {
            crowd: &mut self.crowd,
            process: &self.process,
            sender,
            receivers,
        })
    }

    /// One to many, with so many messages on their way.
    fn flood(&mut self, report: &mut Report) -> Result<(), String> {
        let Settings {
            receivers,
            in_flight,
            duration,
            ..
        } = *self.settings;
        let mut talk = self.assemble(receivers, report)?;
        talk.windowed(in_flight, WARM_UP)?;
        let run = talk.windowed(in_flight, duration)?;
        report.count("in_flight", in_flight);
        self.report_run(&run, report)
    }

    /// One to many, at a steady pace.
    fn paced(&mut self, report: &mut Report) -> Result<(), String> {
        let Settings {
            receivers,
            rate,
            duration,
            ..
        } = *self.settings;
        let distance = Duration::from_secs(1) / rate;
        let messages = |duration: Duration| (duration.as_secs_f64() * f64::from(rate)) as u64;
        let mut talk = self.assemble(receivers, report)?;
        talk.paced(messages(WARM_UP), distance)?;
        let run = talk.paced(messages(duration), distance)?;
        report
            .count("messages_per_second", rate.into())
            .decimal("latency_p50_ms", run.latency_ms(50))
            .decimal("latency_p99_ms", run.latency_ms(99));
        self.report_run(&run, report)
    }

    fn report_run(&self, run: &Run, report: &mut Report) -> Result<(), String> {
        let receivers = self.settings.receivers;
        report
            .decimal("seconds", run.seconds)
            .count("messages", run.messages)
            .count("deliveries", run.deliveries)
            .count("lost", run.lost(receivers))
            .count("cut_off", self.crowd.cut_off() as u64)
            .decimal("deliveries_per_second", run.rate())
            .decimal("cpu_us_per_delivery", run.cpu_us_per_delivery())
            .decimal("cpu_percent", run.cpu_ns as f64 / 1e7 / run.seconds)
            .count("resident_kib_end", self.process.resident_kib()?);
        Ok(())
    }
}
