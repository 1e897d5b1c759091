//! Whether it makes sense to go on.

use std::sync::atomic::Ordering;

use tools::arguments::complain;

use super::{Phase, Swarm, lines_throttled};
use crate::conn::{Conn, Role, Stage};
use crate::ledger::Checked;

/// When something takes that long, it is worth asking why.
const LONG_US: u64 = 2_000_000;

impl Swarm<'_> {
    /// Checks that it makes sense to go on.
    pub(super) fn check(&mut self, phase: Phase, now_us: u64) -> Checked<()> {
        if self.is_interrupted.load(Ordering::Relaxed) && phase < Phase::Running {
            return Err("interrupted before all had joined; there is nothing to report".into());
        }
        let may_ask = phase != Phase::Running && phase < Phase::Quitting;
        if may_ask && now_us - self.phase_us > LONG_US && !self.has_asked_why {
            self.has_asked_why = true;
            self.tell_throttled();
        }
        let silence_us = match phase {
            Phase::Running => return Ok(()),
            _ if phase >= Phase::Quitting => self.plan.patience_us / 4,
            _ => self.plan.patience_us,
        };
        if now_us - self.heard_us < silence_us {
            return Ok(());
        }
        Err(format!(
            "the server has been silent for {} s: {}",
            silence_us as f64 / 1e6,
            self.awaited(phase)
        ))
    }

    /// What somebody still waits for.
    fn awaited(&self, phase: Phase) -> String {
        let mut conns = self.conns.iter();
        let at = |stage| move |conn: &&Conn| conn.stage == stage;
        let (found, what) = match phase {
            Phase::Connecting => (conns.find(at(Stage::Connecting)), "got no HELLO"),
            Phase::Joining => (conns.find(at(Stage::Joining)), "got no reply to JOIN"),
            Phase::Settling => (
                conns.find(|conn| !self.members.is_settled(conn)),
                "was not told of all who joined",
            ),
            Phase::Arriving => return self.missing(),
            _ => (None, ""),
        };
        match found {
            Some(conn) => format!("{} {what}", conn.name),
            None => self.members.pulls.awaited(),
        }
    }

    /// Which message has not arrived.
    fn missing(&self) -> String {
        for conn in &self.conns {
            let name = &conn.name;
            match conn.role {
                Role::Receiver(reader) => {
                    if let Some(missing) = self.members.ledger.missing(&reader) {
                        return format!("{name} was not given {missing}");
                    }
                }
                Role::Sender(sender) => {
                    let confirmed = self.members.ledger.confirmed(sender);
                    if confirmed < self.members.senders.said(sender) {
                        return format!("{name} got no reply to its message {confirmed}");
                    }
                }
                _ => {}
            }
        }
        self.members.pulls.awaited()
    }

    /// How many times the server has made us wait since the start, if it tells. Says so the first time
    /// that it has.
    pub(super) fn tell_throttled(&mut self) -> Option<u64> {
        let after = lines_throttled(self.address).ok().flatten()?;
        let times = after.checked_sub(self.throttled?)?;
        if times > 0 && !std::mem::replace(&mut self.has_told_throttled, true) {
            let text = "the server makes clients wait that send fast, so this measures its --rate";
            let server = self.plan.server();
            complain(
                "swarm",
                format_args!("{text}; start it like this: {server}"),
            );
        }
        Some(times)
    }
}
