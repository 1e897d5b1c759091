//! What the log is told of clients, in bounds: no client can fill it, whatever it does.
//!
//! Of the refusals of one address one line a minute is logged, of all addresses ten a minute, and
//! then one line that says how many were left out. A limit that is reached is logged when that
//! begins and when it ends. With `-v` (`debug`) more is told, which is bounded by `--rate`; but not
//! for programs of this machine, which may connect to a Unix socket as often as they like.

use super::origin::{Origin, Peer};
use crate::protocol::{Abuse, DENIALS_MAX, ERRORS_MAX, Limits};
use crate::time::{Millis, Now};

/// How many lines of one kind there are at most within any [`PERIOD`].
pub const LINES_MAX: usize = 10;
/// The time in which an address gets one line; and how long a limit has to be out of reach until
/// the log says so.
pub const PERIOD: Millis = Millis(60_000);

/// Lines of one kind: those of the last period, and how many were left out.
#[derive(Debug)]
struct LineLimit {
    lines: [Option<(Origin, Millis)>; LINES_MAX],
    left_out: u64,
    /// When the first of those was left out.
    since: Millis,
}

impl LineLimit {
    const fn new() -> LineLimit {
        LineLimit {
            lines: [None; LINES_MAX],
            left_out: 0,
            since: Millis::NEVER,
        }
    }

    /// Whether a line about an address may be logged; otherwise it counts as left out.
    fn admit(&mut self, origin: Origin, now: Now) -> bool {
        let mut free = None;
        let mut is_known = false;
        for line in &mut self.lines {
            *line = line.filter(|(_, at)| *at + PERIOD > now.past);
            match line {
                Some((known, _)) => is_known |= *known == origin,
                None => free = Some(line),
            }
        }
        match free {
            Some(free) if !is_known => {
                *free = Some((origin, now.at));
                true
            }
            _ => {
                self.left_out += 1;
                self.since = self.since.min(now.at);
                false
            }
        }
    }

    /// When there is a line to be logged about those that were left out.
    fn deadline(&self) -> Option<Millis> {
        (self.left_out > 0).then_some(self.since + PERIOD)
    }

    /// How many lines were left out, once the first of them was a period ago.
    fn take_left_out(&mut self, now: Now) -> u64 {
        if self.deadline().is_none_or(|due| due > now.past) {
            return 0;
        }
        self.since = Millis::NEVER;
        std::mem::take(&mut self.left_out)
    }
}

/// A limit that was reached, and for how long.
#[derive(Debug, Default)]
struct Reached {
    /// When somebody was last refused for it, as long as that is not over.
    last: Option<Millis>,
    refused: u64,
}

/// What there can be too many of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Full {
    Connections,
    ConnectionsOfAddress,
    Sessions,
    SessionsOfAddress,
    Rooms,
}

impl Full {
    fn what(self) -> &'static str {
        match self {
            Full::Connections | Full::ConnectionsOfAddress => "connections",
            Full::Sessions | Full::SessionsOfAddress => "sessions",
            Full::Rooms => "rooms",
        }
    }

    fn option(self) -> &'static str {
        match self {
            Full::Connections => "--max-connections",
            Full::Sessions => "--max-sessions",
            Full::Rooms => "--max-rooms",
            Full::ConnectionsOfAddress | Full::SessionsOfAddress => "--max-per-address",
        }
    }

    fn max(self, limits: &Limits) -> usize {
        match self {
            Full::Connections => limits.connections_max,
            Full::Sessions => limits.sessions_max,
            Full::Rooms => limits.rooms_max,
            Full::ConnectionsOfAddress | Full::SessionsOfAddress => limits.per_address_max,
        }
    }
}

/// The limits that are the server's and not an address's.
const SERVER_WIDE: [Full; 3] = [Full::Connections, Full::Sessions, Full::Rooms];

/// Decides what is logged of what clients do.
#[derive(Debug)]
pub(super) struct Journal {
    refusals: LineLimit,
    slow: LineLimit,
    reached: [Reached; SERVER_WIDE.len()],
}

impl Journal {
    pub fn new() -> Journal {
        Journal {
            refusals: LineLimit::new(),
            slow: LineLimit::new(),
            reached: Default::default(),
        }
    }

    /// Logs that there are too many of something for one more.
    pub fn full(&mut self, full: Full, peer: &Peer, limits: &Limits, now: Now) {
        let (what, max, option) = (full.what(), full.max(limits), full.option());
        if let Some(place) = SERVER_WIDE.iter().position(|&limit| limit == full) {
            let reached = &mut self.reached[place];
            reached.refused += 1;
            if reached.last.replace(now.at).is_none() {
                log::warn!("there are {max} {what}, all that {option} allows: others are refused");
            }
        }
        if self.refusals.admit(peer.origin(), now) {
            let whose = match full {
                Full::ConnectionsOfAddress | Full::SessionsOfAddress => " from there",
                _ => "",
            };
            log::warn!(
                "refused {}: too many {what}{whose} ({option} {max})",
                peer.address()
            );
        }
    }

    /// Logs that a connection is closed for what its client does.
    pub fn abuse(&mut self, abuse: Abuse, peer: &Peer, now: Now) {
        if !self.refusals.admit(peer.origin(), now) {
            return;
        }
        let address = peer.address();
        match abuse {
            Abuse::Denials => log::warn!(
                "refused {address}: wrong key for a name ({DENIALS_MAX} times), connection closed"
            ),
            Abuse::Errors => log::warn!(
                "refused {address}: {ERRORS_MAX} errors without an OK, connection closed"
            ),
            Abuse::Http => log::warn!("refused {address}: it speaks HTTP, connection closed"),
            Abuse::Tls => log::warn!("refused {address}: it speaks TLS, connection closed"),
            Abuse::TooLong => {
                log::warn!("refused {address}: its first line is too long, connection closed")
            }
        }
    }

    /// Logs that a connection is gone which has tried wrong keys, too few of them to be closed.
    pub fn denied(&mut self, times: u32, peer: &Peer, now: Now) {
        if self.refusals.admit(peer.origin(), now) {
            let s = if times == 1 { "" } else { "s" };
            let address = peer.address();
            log::warn!("refused {address}: wrong key for a name ({times} time{s})");
        }
    }

    /// Whether it may be logged that a session of an address is slow.
    pub fn admits_slow(&mut self, origin: Origin, now: Now) -> bool {
        self.slow.admit(origin, now)
    }

    /// When something is to be logged without anybody doing anything.
    pub fn next_deadline(&self) -> Option<Millis> {
        let ends = self.reached.iter().filter_map(|r| Some(r.last? + PERIOD));
        let lines = [self.refusals.deadline(), self.slow.deadline()];
        ends.chain(lines.into_iter().flatten()).min()
    }

    /// Logs what was left out, and which limits are out of reach again.
    pub fn log_summaries(&mut self, now: Now) {
        let left_out = self.refusals.take_left_out(now);
        if left_out > 0 {
            log::warn!("{left_out} more were refused within a minute");
        }
        let left_out = self.slow.take_left_out(now);
        if left_out > 0 {
            log::info!("{left_out} times more within a minute a session was too slow");
        }
        for (reached, full) in self.reached.iter_mut().zip(SERVER_WIDE) {
            if reached.last.is_some_and(|last| last + PERIOD <= now.past) {
                let (what, refused) = (full.what(), reached.refused);
                log::info!("for a minute no {what} were refused any more, after {refused}");
                *reached = Reached::default();
            }
        }
    }
}
