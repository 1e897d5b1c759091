//! What was measured, and the figures that come of that.

use tools::json::Object;

use super::ledger::Ledger;
use crate::options::Plan;

/// What was measured. Times are in microseconds.
#[derive(Default)]
pub struct Report {
    /// Until all had joined and the boxes knew each other's members.
    pub join_us: u64,
    pub run_us: u64,
    /// From then on until all had arrived.
    pub settle_us: u64,
    /// Connections that broke.
    pub reconnects: u64,
    /// Lives that servers began after their first.
    pub lives: u64,
}

impl Report {
    /// All of it; `--help` explains the names.
    pub fn object(&self, plan: &Plan, ledger: &mut Ledger) -> Object {
        let messages = ledger.messages();
        let tally = &mut ledger.tally;
        let run_s = seconds(self.run_us);
        let mut object = Object::default();
        object
            .put("servers", plan.addresses.len())
            .put("receivers", plan.receivers)
            .put("senders", plan.senders)
            .put("pull", plan.pulls)
            .put("rooms", plan.rooms())
            .put("message_bytes", plan.size)
            .put("rate_per_s", plan.rate())
            .put("sessions", plan.addresses.len() * plan.sessions())
            .decimal("join_s", seconds(self.join_us))
            .decimal("run_s", run_s)
            .decimal("settle_s", seconds(self.settle_us))
            .put("messages", messages)
            .decimal("messages_per_s", messages as f64 / run_s)
            .put("deliveries", tally.deliveries)
            .decimal("deliveries_per_s", tally.deliveries as f64 / run_s)
            .put("pull_deliveries", tally.pull_deliveries)
            .put("remote_deliveries", tally.remote_deliveries)
            .put("lost", tally.lost)
            .put("missed", tally.missed)
            .put("splits", tally.splits)
            .put("heals", tally.heals)
            .put("remote_joined", tally.remote_joined)
            .put("remote_left", tally.remote_left)
            .put("reconnects", self.reconnects)
            .put("lives", self.lives)
            .maybe("latency_us", tally.latencies.summary())
            .maybe("remote_latency_us", tally.remote_latencies.summary());
        object
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}
