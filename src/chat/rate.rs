//! How fast a client may send.
//!
//! This is the generic cell rate algorithm, as virtual scheduling (ITU-T I.371, annex A). Each line puts
//! off the *theoretical arrival time* of the next by the interval of the rate, counted from now at the
//! earliest. A client sends too fast if that would put it more than four seconds ahead of the clock. So
//! lines may come at the rate, after as many at once as come in four seconds.
//!
//! Each connection has such a time, and so does each session. A connection that gets a session goes on
//! with the later of the two. A new connection begins with the latest of its address's connections that
//! send nothing more. So nobody gets a new allowance by connecting again or by handing a session from
//! one connection to the next, and an address has as many allowances as it has connections.
//!
//! Somebody who guesses keys waits, too. For a minute after its tenth wrong key within a minute, an
//! address is *suspect*: a connection from there that has no session pauses for a second before the
//! server looks at what it has sent, and again after each JOIN with a key.

use super::{Caller, Chat};
use crate::protocol::{BURST_S, BYTES_PER_LINE};
use crate::time::{Millis, Now};

/// The shortest time for which a client that sends too fast has to wait, so that the server does not
/// wake up for each of its lines.
const THROTTLE_MIN: Millis = Millis(100);
/// How long the operator's next line waits while a notice is on its way to everybody, before the server
/// looks again.
const TELL_PAUSE: Millis = Millis(20);
/// How long a connection from a suspect address waits before each JOIN with a key.
const KEY_PAUSE: Millis = Millis(1000);
const _: () = assert!(
    BYTES_PER_LINE <= u8::MAX as usize,
    "Caller::paid_bytes holds less than a line"
);

/// Permission to look at what a connection has sent next, for [`Chat::answer`].
#[derive(Debug)]
#[must_use]
pub struct Permit(());

impl Chat {
    /// Permits the hub to look at what a connection has sent next. Returns `None` if the client sends
    /// faster than it may, tries keys from a suspect address, or is the operator whose notice is still on
    /// its way: the hub must not read the connection
    /// until something that is [due](Chat::due) [resumes](super::Due::resumes_reading) that.
    pub fn admit(&mut self, caller: &mut Caller, now: Now) -> Option<Permit> {
        if caller.is_throttled() {
            return None;
        }
        if caller.is_operator() {
            return self.admit_operator(caller, now);
        }
        if caller.session.is_none() && !caller.has_paused {
            caller.has_paused = self.usages.is_suspect(caller.origin, now);
            if caller.has_paused {
                return self.throttle(caller, KEY_PAUSE, now);
            }
        }
        let Some(interval_us) = self.limits.line_interval_us() else {
            return Some(Permit(()));
        };
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
        self.stats.lines_throttled += 1;
        self.throttle(caller, wait, now)
    }

    /// Permits the same of the operator, whose rate nobody limits. While a notice is on its way to
    /// everybody, their next line waits.
    fn admit_operator(&mut self, caller: &mut Caller, now: Now) -> Option<Permit> {
        match self.is_telling() {
            false => Some(Permit(())),
            true => self.throttle(caller, TELL_PAUSE, now),
        }
    }

    fn throttle(&mut self, caller: &mut Caller, wait: Millis, now: Now) -> Option<Permit> {
        caller.is_throttled = true;
        self.throttles.file(caller.conn, now.at + wait);
        None
    }

    /// Counts `bytes` of a connection's current line against its rate, and returns how many lines they
    /// count as. `ends_line` says whether the line ends with them.
    ///
    /// Everything counts, even telnet commands and a line that never ends: every [`BYTES_PER_LINE`]
    /// bytes begun count as a line. They count against the session too, and stay with it when it gets
    /// another connection.
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
            // Less than a line's worth of bytes.
            false => (paid + lines * BYTES_PER_LINE - bytes) as u8,
        };
        let is_counted = lines > 0 && !caller.is_operator();
        if let Some(interval_us) = self.limits.line_interval_us().filter(|_| is_counted) {
            let from_us = caller.arrival_us.max(now.at.micros());
            caller.arrival_us = from_us + lines as u64 * interval_us;
            if let Some(key) = caller.session {
                self.sessions[key.index()].arrival_us = caller.arrival_us;
            }
        }
        lines
    }
}
