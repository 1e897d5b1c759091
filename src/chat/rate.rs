//! How fast a client may send.
//!
//! A connection has an allowance, and so has a session. A connection that takes a session up goes on
//! with what is left of the smaller one, and a new one begins its first line with what those of its
//! address have left that are gone: nobody gets another allowance by connecting again, or by handing a session
//! from one connection to the next, and an address has as many as it has connections.

use super::{Caller, Chat};
use crate::protocol::{BURST_S, BYTES_PER_LINE};
use crate::time::{Millis, Now};

/// Who sends too fast waits at least so long, so that he is not served line by line.
const THROTTLE_MIN: Millis = Millis(100);

/// Leave to look at what a connection has sent next: [`Chat::answer`] takes it.
#[derive(Debug)]
#[must_use]
pub struct Permit(());

impl Chat {
    /// Gives leave to look at what a connection has sent next. None while its client has sent faster
    /// than it may; the connection is not to be read until something is [due](Chat::due) that
    /// [resumes](super::Due::resumes_reading) that.
    ///
    /// The generic cell rate algorithm, as virtual scheduling (ITU-T I.371, annex A): lines come at
    /// the rate, after as many at once as come in four seconds.
    pub fn admit(&mut self, caller: &mut Caller, now: Now) -> Option<Permit> {
        let Some(interval_us) = self.limits.line_interval_us() else {
            return Some(Permit(()));
        };
        if caller.is_throttled() {
            return None;
        }
        if std::mem::take(&mut caller.is_new) {
            let arrival_us = self.usages.arrival_us(caller.origin);
            caller.arrival_us = caller.arrival_us.max(arrival_us);
        }
        let latest_us = caller.arrival_us + interval_us;
        let allowed_us = now.at.micros() + u64::from(BURST_S) * 1_000_000;
        if latest_us <= allowed_us {
            return Some(Permit(()));
        }
        let wait = Millis((latest_us - allowed_us).div_ceil(1000)).max(THROTTLE_MIN);
        caller.is_throttled = true;
        self.throttles.file(caller.conn, now.at + wait);
        self.stats.lines_throttled += 1;
        None
    }

    /// Counts `bytes` that were taken of what a connection has sent against its rate, and tells how
    /// many lines they count as; they go with the line that has begun, and `ends_line` or not.
    ///
    /// Everything counts, telnet's commands and a line that never ends as well: one line for each
    /// [`BYTES_PER_LINE`] bytes that are begun. It counts against the session too, whatever
    /// connection holds that later.
    pub(super) fn count(
        &mut self,
        _permit: Permit,
        caller: &mut Caller,
        bytes: usize,
        ends_line: bool,
        now: Now,
    ) -> usize {
        let paid = usize::from(caller.paid_bytes);
        let lines = bytes.saturating_sub(paid).div_ceil(BYTES_PER_LINE);
        caller.paid_bytes = match ends_line {
            true => 0,
            false => (paid + lines * BYTES_PER_LINE - bytes) as u8,
        };
        if let Some(interval_us) = self.limits.line_interval_us().filter(|_| lines > 0) {
            let from_us = caller.arrival_us.max(now.at.micros());
            caller.arrival_us = from_us + lines as u64 * interval_us;
            if let Some(key) = caller.session {
                self.sessions[key.index()].arrival_us = caller.arrival_us;
            }
        }
        lines
    }
}
