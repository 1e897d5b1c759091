//! What was measured, and the figures that come of that.

use tools::json::Object;
use tools::latency::Latencies;

use crate::options::{Pace, Plan};

/// What was measured. Times are in microseconds.
#[derive(Default)]
pub struct Report {
    /// While connections were made.
    pub connect_us: u64,
    /// Until all had joined.
    pub join_us: u64,
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
}

impl Report {
    /// All of it; `--help` explains the names.
    pub fn object(&mut self, plan: &Plan) -> Object {
        let (rate, window) = match plan.pace() {
            Pace::Rate(rate) => (Some(rate), None),
            Pace::Window(window) => (None, Some(window)),
        };
        let mut object = Object::default();
        object
            .put("receivers", plan.receivers)
            .put("talk", plan.talk)
            .put("senders", plan.senders)
            .put("pull", plan.pulls)
            .put("dead", plan.dead)
            .put("rooms", plan.rooms())
            .put("message_bytes", plan.size)
            .maybe("rate_per_s", rate)
            .maybe("window", window)
            .put("connections", plan.connections())
            .decimal("connections_per_s", self.connections_per_s(plan))
            .put("sessions", plan.sessions())
            .decimal("join_s", seconds(self.join_us))
            .decimal("run_s", seconds(self.run_us))
            .put("messages", self.messages)
            .decimal("messages_per_s", self.per_second(self.messages))
            .put("unsent", self.unsent)
            .put("deliveries", self.deliveries)
            .decimal("deliveries_per_s", self.per_second(self.deliveries))
            .put("pull_deliveries", self.pull_deliveries)
            .put("lost", self.lost)
            .maybe("latency_us", self.latencies.summary())
            .maybe("pull_latency_us", self.pull_latencies.summary())
            .put("polls", self.polls)
            .decimal("polls_per_s", self.per_second(self.polls))
            .maybe("poll_us", self.poll_latencies.summary())
            .decimal(
                "cpu_us_per_delivery",
                self.us_per_delivery(self.server_cpu_ns),
            )
            .decimal("cpu_percent", self.percent(self.server_cpu_ns))
            .maybe("resident_kib_start", self.resident_kib_start)
            .maybe("resident_kib_joined", self.resident_kib_joined)
            .maybe("resident_kib_peak", self.resident_kib_peak)
            .maybe("resident_kib_end", self.resident_kib_end)
            .decimal("bytes_per_session", self.bytes_per_session(plan))
            .maybe("lines_throttled", self.lines_throttled)
            .decimal(
                "swarm_cpu_us_per_delivery",
                self.us_per_delivery(Some(self.swarm_cpu_ns)),
            )
            .put("swarm_resident_kib", self.swarm_resident_kib);
        object
    }

    fn connections_per_s(&self, plan: &Plan) -> f64 {
        plan.connections() as f64 / seconds(self.connect_us.max(1))
    }

    fn per_second(&self, count: u64) -> f64 {
        count as f64 / seconds(self.run_us.max(1))
    }

    /// Not a number if nothing was delivered, or it is not known.
    fn us_per_delivery(&self, ns: Option<u64>) -> f64 {
        match ns {
            Some(ns) if self.deliveries > 0 => ns as f64 / 1000.0 / self.deliveries as f64,
            _ => f64::NAN,
        }
    }

    fn percent(&self, ns: Option<u64>) -> f64 {
        ns.map_or(f64::NAN, |ns| ns as f64 / 10.0 / self.run_us.max(1) as f64)
    }

    /// By how many bytes the server has grown for each session; not a number if it has not.
    fn bytes_per_session(&self, plan: &Plan) -> f64 {
        let growth = self.resident_kib_joined.zip(self.resident_kib_start);
        let kib = growth.and_then(|(joined, start)| joined.checked_sub(start));
        kib.map_or(f64::NAN, |kib| kib as f64 * 1024.0 / plan.sessions() as f64)
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
