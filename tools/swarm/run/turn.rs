//! One turn of the loop: waits, and reads what has come.

use std::io;

use super::{CHECK_EVERY_US, Phase, Ready, Swarm};
use crate::conn::{Role, Stage};
use crate::ledger::Checked;

impl Swarm<'_> {
    /// Waits until something happens, and takes that in.
    pub(super) fn turn(&mut self, phase: Phase, ready: &mut Vec<Ready>) -> Checked<()> {
        // The same for many turns, so that the alarm need not be set again in each.
        let mut deadline_us = (self.clock.now_us() / CHECK_EVERY_US + 1) * CHECK_EVERY_US;
        if phase == Phase::Running {
            let members = &self.members;
            let due = [members.senders.deadline_us(), members.pulls.deadline_us()];
            let end_us = self.phase_us + self.plan.run_us;
            deadline_us = due
                .into_iter()
                .flatten()
                .fold(deadline_us.min(end_us), u64::min);
        }
        self.net.wait(deadline_us, ready)?;
        for ready in ready.iter() {
            if ready.is_writable {
                self.conns[ready.index].net.writable();
            }
            if ready.is_readable {
                self.hear(phase, ready.index, ready.is_closed)?;
            }
        }
        Ok(())
    }

    /// Reads from a connection all that there is.
    fn hear(&mut self, phase: Phase, index: usize, is_closed: bool) -> Checked<()> {
        match self.read(index, is_closed) {
            // While all leave, whoever has a problem just goes.
            Err(_) if phase >= Phase::Quitting => {
                self.gone(index);
                Ok(())
            }
            result => result,
        }
    }

    fn read(&mut self, index: usize, is_closed: bool) -> Checked<()> {
        loop {
            let conn = &mut self.conns[index];
            let (end, has_more) = match conn.read(&mut self.buffer) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(_) if conn.stage >= Stage::Leaving => {
                    self.gone(index);
                    return Ok(());
                }
                Err(error) => return Err(self.closed(index, &error)),
            };
            let now_us = self.clock.now_us();
            self.heard_us = now_us;
            if conn.stage < Stage::Leaving {
                let bytes = &self.buffer[..end];
                let taken = self.members.take(index, conn, bytes, now_us);
                conn.rest.extend_from_slice(&self.buffer[taken..end]);
                if conn.rest.len() > self.buffer.len() / 2 {
                    let name = &conn.name;
                    return Err(format!("{name}: the server sent a line without an end"));
                }
                if matches!(conn.role, Role::Dead) && conn.stage == Stage::Joined {
                    return self.net.forget(&mut conn.net);
                }
            }
            if !has_more && !is_closed {
                break;
            }
        }
        if matches!(self.conns[index].role, Role::Carrier(_)) {
            self.pump(index, self.heard_us);
        }
        Ok(())
    }

    /// A connection is at its end, as it was meant to be.
    fn gone(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.stage == Stage::Leaving {
            self.leaving -= 1;
        }
        conn.stage = Stage::Gone;
        let _ = self.net.forget(&mut conn.net);
    }

    /// What to tell about a connection that was not to end.
    fn closed(&self, index: usize, error: &io::Error) -> String {
        let name = &self.conns[index].name;
        let is_new = self.conns[index].stage == Stage::Connecting;
        match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("{name}: the server closed the connection"),
            _ if is_new => format!("{name}: cannot connect to {}: {error}", self.plan.address()),
            _ => format!("{name}: the connection broke: {error}"),
        }
    }
}
