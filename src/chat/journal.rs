//! What the server logs about clients. No client can fill the log, whatever it does.
//!
//! Refusals get one line a minute for each address and ten a minute in all; one more line says how
//! many were left out. A limit gets one line when it is reached and one when nothing has been refused
//! because of it for a minute. What `-v` adds (`debug`) is bounded by `--rate` alone, and so not at all
//! for programs on this machine, which may connect to a Unix socket as often as they like.

use super::origin::{Origin, Peer};
use crate::plural::plural;
use crate::protocol::{Abuse, DENIALS_MAX, ERRORS_MAX, Limits};
use crate::state::saved;
use crate::time::{Millis, Now};

/// The most lines of one kind within any [`PERIOD`].
pub const LINES_MAX: usize = 10;
/// How long an address waits for its next line, and how long a limit must refuse nothing until the log
/// says that it is no longer reached.
pub const PERIOD: Millis = Millis(60_000);

/// Bounds the lines of one kind: remembers those of the last period and counts those left out.
#[derive(Clone, Debug)]
struct LineLimit {
    lines: [Option<(Origin, Millis)>; LINES_MAX],
    left_out: u64,
    /// When the first of them was left out.
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

    /// Whether a line about an address may be logged; if not, counts it as left out.
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
                self.left_out = self.left_out.saturating_add(1);
                self.since = self.since.min(now.at);
                false
            }
        }
    }

    fn is_sound(&self, at: Millis) -> bool {
        let is_past = |when: Millis| when <= at;
        self.lines.iter().flatten().all(|&(_, line)| is_past(line))
            && (is_past(self.since) || self.left_out == 0)
    }

    /// When to log how many lines were left out.
    fn deadline(&self) -> Option<Millis> {
        (self.left_out > 0).then_some(self.since + PERIOD)
    }

    /// Takes the count of lines left out, a period after the first of them; before that, 0.
    fn take_left_out(&mut self, now: Now) -> u64 {
        if self.deadline().is_none_or(|due| due > now.past) {
            return 0;
        }
        self.since = Millis::NEVER;
        std::mem::take(&mut self.left_out)
    }
}

/// Whether a limit is reached, as the log says.
#[derive(Clone, Debug, Default)]
struct Reached {
    /// When the server last refused something because of it; `None` if it is not reached.
    last: Option<Millis>,
    /// How many times it has since the limit was reached.
    refused: u64,
}

/// A limit that allows no more.
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

/// The limits of the whole server, as opposed to those of one address.
const SERVER_WIDE: [Full; 3] = [Full::Connections, Full::Sessions, Full::Rooms];

/// Decides which lines about clients go into the log.
#[derive(Clone, Debug)]
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

    /// Whether it may be like that at a time.
    pub fn is_sound(&self, at: Millis) -> bool {
        let mut limits = [&self.refusals, &self.slow].into_iter();
        let mut reached = self.reached.iter();
        limits.all(|limit| limit.is_sound(at))
            && reached.all(|r| r.last.is_none_or(|last| last <= at))
    }

    /// Logs that the server refuses something because a limit is reached.
    pub fn full(&mut self, full: Full, peer: &Peer, limits: &Limits, now: Now) {
        let (what, max, option) = (full.what(), full.max(limits), full.option());
        if let Some(place) = SERVER_WIDE.iter().position(|&limit| limit == full) {
            let reached = &mut self.reached[place];
            reached.refused = reached.refused.saturating_add(1);
            if reached.last.replace(now.at).is_none() {
                log::warn!("{option} {max} is reached; refusing more {what}");
            }
        }
        if self.refusals.admit(peer.origin(), now) {
            let whose = match full {
                Full::ConnectionsOfAddress | Full::SessionsOfAddress => " from this address",
                _ => "",
            };
            log::warn!(
                "refused {}: too many {what}{whose} ({option} {max})",
                peer.address()
            );
        }
    }

    /// Logs that the server closes a connection because of what its client does.
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

    /// Logs that a client has tried wrong keys and hung up before the server closed its connection.
    pub fn denied(&mut self, times: u8, peer: &Peer, now: Now) {
        if self.refusals.admit(peer.origin(), now) {
            let (address, s) = (peer.address(), plural(times.into()));
            log::warn!("refused {address}: wrong key for a name ({times} time{s})");
        }
    }

    /// Whether a line about a slow session of an address may be logged.
    pub fn admits_slow(&mut self, origin: Origin, now: Now) -> bool {
        self.slow.admit(origin, now)
    }

    /// When to call [`log_summaries`](Self::log_summaries).
    pub fn next_deadline(&self) -> Option<Millis> {
        let ends = self.reached.iter().filter_map(|r| Some(r.last? + PERIOD));
        let lines = [self.refusals.deadline(), self.slow.deadline()];
        ends.chain(lines.into_iter().flatten()).min()
    }

    /// Logs how many lines were left out, and which limits have refused nothing for a minute.
    pub fn log_summaries(&mut self, now: Now) {
        let left_out = self.refusals.take_left_out(now);
        if left_out > 0 {
            let s = plural(left_out);
            log::warn!("{left_out} more refusal{s} in the past minute");
        }
        let left_out = self.slow.take_left_out(now);
        if left_out > 0 {
            let s = plural(left_out);
            log::info!(
                "sessions fell behind or stalled {left_out} more time{s} in the past minute"
            );
        }
        for (reached, full) in self.reached.iter_mut().zip(SERVER_WIDE) {
            if reached.last.is_some_and(|last| last + PERIOD <= now.past) {
                let (what, refused, s) = (full.what(), reached.refused, plural(reached.refused));
                log::info!("no {what} refused for a minute, after {refused} refusal{s}");
                *reached = Reached::default();
            }
        }
    }
}

saved!(struct LineLimit { lines, left_out, since });
saved!(struct Reached { last, refused });
saved!(struct Journal { refusals, slow, reached });
