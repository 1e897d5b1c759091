//! What was measured, as a text for people or as one JSON object.

use std::fmt::{self, Write};

use serde_json::{Map, Value, json};

use crate::options::{Pace, Plan};
use tools::latency::Latencies;

/// What was measured. Times are in microseconds.
pub struct Report {
    plan: Plan,
    connect_us: u64,
    join_us: u64,
    pub run_us: u64,
    pub messages: u64,
    pub unsent: u64,
    pub deliveries: u64,
    pub pull_deliveries: u64,
    pub lost: u64,
    pub polls: u64,
    pub latencies: Latencies,
    pub pull_latencies: Latencies,
    pub poll_latencies: Latencies,
    pub server_cpu_ns: Option<u64>,
    pub swarm_cpu_ns: u64,
    pub resident_kib_start: Option<u64>,
    pub resident_kib_joined: Option<u64>,
    pub resident_kib_peak: Option<u64>,
    pub resident_kib_end: Option<u64>,
    pub swarm_resident_kib: u64,
    pub lines_throttled: Option<u64>,
    /// Somebody was told of that already.
    pub has_told_throttled: bool,
}

impl Report {
    pub fn new(plan: &Plan) -> Report {
        Report {
            plan: plan.clone(),
            connect_us: 0,
            join_us: 0,
            run_us: 0,
            messages: 0,
            unsent: 0,
            deliveries: 0,
            pull_deliveries: 0,
            lost: 0,
            polls: 0,
            latencies: Latencies::default(),
            pull_latencies: Latencies::default(),
            poll_latencies: Latencies::default(),
            server_cpu_ns: None,
            swarm_cpu_ns: 0,
            resident_kib_start: None,
            resident_kib_joined: None,
            resident_kib_peak: None,
            resident_kib_end: None,
            swarm_resident_kib: 0,
            lines_throttled: None,
            has_told_throttled: false,
        }
    }

    /// All have joined: so long were connections made, and so long it took in all.
    pub fn joined(&mut self, connect_us: u64, join_us: u64) {
        self.connect_us = connect_us;
        self.join_us = join_us;
    }

    /// The object of `--json`; `--help` has its names.
    pub fn json(&mut self) -> Value {
        let (rate, window) = match self.plan.pace {
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        let plan = json!({
            "receivers": self.plan.receivers,
            "senders": self.plan.senders,
            "pull": self.plan.pulls,
            "dead": self.plan.dead,
            "rooms": self.plan.rooms,
            "message_bytes": self.plan.size,
            "rate_per_s": rate,
            "window": window,
        });
        let traffic = json!({
            "connections": self.plan.connections(),
            "connections_per_s": self.connections_per_s(),
            "sessions": self.plan.sessions(),
            "join_s": seconds(self.join_us),
            "run_s": seconds(self.run_us),
            "messages": self.messages,
            "messages_per_s": self.per_second(self.messages),
            "unsent": self.unsent,
            "deliveries": self.deliveries,
            "deliveries_per_s": self.per_second(self.deliveries),
            "pull_deliveries": self.pull_deliveries,
            "lost": self.lost,
            "latency_us": self.latencies.json(),
            "pull_latency_us": self.pull_latencies.json(),
            "polls": self.polls,
            "polls_per_s": self.per_second(self.polls),
            "poll_us": self.poll_latencies.json(),
        });
        let costs = json!({
            "cpu_us_per_delivery": self.server_cpu_ns.and_then(|ns| self.us_per_delivery(ns)),
            "cpu_percent": self.server_cpu_ns.map(|ns| self.percent(ns)),
            "resident_kib_start": self.resident_kib_start,
            "resident_kib_joined": self.resident_kib_joined,
            "resident_kib_peak": self.resident_kib_peak,
            "resident_kib_end": self.resident_kib_end,
            "bytes_per_session": self.bytes_per_session(),
            "lines_throttled": self.lines_throttled,
            "swarm_cpu_us_per_delivery": self.us_per_delivery(self.swarm_cpu_ns),
            "swarm_resident_kib": self.swarm_resident_kib,
        });
        let parts = [plan, traffic, costs].into_iter();
        let fields = parts.filter_map(|part| match part {
            Value::Object(fields) => Some(fields),
            _ => None,
        });
        Value::Object(fields.flatten().collect::<Map<_, _>>())
    }

    /// The text for people.
    pub fn text(&mut self) -> String {
        let mut out = String::new();
        self.write(&mut out).expect("a String takes everything");
        out
    }

    fn write(&mut self, out: &mut String) -> fmt::Result {
        let plan = &self.plan;
        let pace = match plan.pace {
            Pace::Rate(rate) => format!("{} a second", grouped(rate.into())),
            Pace::Window(window) => format!("{} under way", grouped(window.into())),
        };
        writeln!(
            out,
            "{} receivers, {} senders, {} pull, {} dead; rooms {}; messages of {} bytes, {pace}",
            plan.receivers, plan.senders, plan.pulls, plan.dead, plan.rooms, plan.size
        )?;
        writeln!(
            out,
            "join        {} connections ({}/s), {} sessions after {:.3} s",
            grouped(plan.connections() as u64),
            grouped(self.connections_per_s() as u64),
            grouped(plan.sessions() as u64),
            seconds(self.join_us)
        )?;
        let rate = |count: u64| {
            let per_second = grouped(self.per_second(count) as u64);
            format!(
                "{} in {:.3} s, {per_second}/s",
                grouped(count),
                seconds(self.run_us)
            )
        };
        writeln!(out, "messages    {}", rate(self.messages))?;
        if self.unsent > 0 {
            writeln!(
                out,
                "not sent    {}: the server did not take them in time",
                grouped(self.unsent)
            )?;
        }
        writeln!(out, "deliveries  {}", rate(self.deliveries))?;
        writeln!(out, "lost        {}", grouped(self.lost))?;
        if self.polls > 0 {
            writeln!(out, "polls       {}", rate(self.polls))?;
        }
        for (name, latencies) in [
            ("latency", &mut self.latencies),
            ("pull", &mut self.pull_latencies),
            ("a poll", &mut self.poll_latencies),
        ] {
            let Some(summary) = latencies.summary() else {
                continue;
            };
            let values = summary.map(|(name, us)| format!("{name} {}", grouped(us)));
            writeln!(
                out,
                "{name:<12}{} us",
                values.join("  ").replace("p99_9", "p99.9")
            )?;
        }
        self.write_costs(out)
    }

    fn write_costs(&self, out: &mut String) -> fmt::Result {
        if let Some(ns) = self.server_cpu_ns {
            writeln!(out, "server CPU  {}", self.cpu(ns))?;
        }
        writeln!(out, "swarm CPU   {}", self.cpu(self.swarm_cpu_ns))?;
        let figures = [
            self.resident_kib_start,
            self.resident_kib_joined,
            self.resident_kib_peak,
            self.resident_kib_end,
        ];
        if let [Some(start), Some(joined), Some(peak), Some(end)] = figures {
            let each = self.bytes_per_session().unwrap_or_default();
            writeln!(
                out,
                "memory      {} KiB at the start, {} when all had joined ({} bytes a session), at \
                 most {}, {} at the end",
                grouped(start),
                grouped(joined),
                grouped(each as u64),
                grouped(peak),
                grouped(end)
            )?;
        }
        Ok(())
    }

    fn cpu(&self, ns: u64) -> String {
        let each = match self.us_per_delivery(ns) {
            Some(us) => format!("{us:.3} us a delivery, "),
            None => String::new(),
        };
        format!("{each}{:.1} % of a processor", self.percent(ns))
    }

    fn connections_per_s(&self) -> f64 {
        rounded(self.plan.connections() as f64 / seconds(self.connect_us.max(1)))
    }

    fn per_second(&self, count: u64) -> f64 {
        rounded(count as f64 / seconds(self.run_us.max(1)))
    }

    fn us_per_delivery(&self, ns: u64) -> Option<f64> {
        (self.deliveries > 0).then(|| rounded(ns as f64 / 1000.0 / self.deliveries as f64))
    }

    fn percent(&self, ns: u64) -> f64 {
        rounded(ns as f64 / 10.0 / self.run_us.max(1) as f64)
    }

    /// By how many bytes the server has grown for each session; none if it has not.
    fn bytes_per_session(&self) -> Option<f64> {
        let kib = self
            .resident_kib_joined?
            .checked_sub(self.resident_kib_start?)?;
        Some(rounded(kib as f64 * 1024.0 / self.plan.sessions() as f64))
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

/// With four decimals, which is more than what is measured is worth.
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}

/// A number with commas.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}
