//! What this box knows of another one in one room: how far it has that box's events, who is there, and
//! whether it can be reached.

mod events;
mod members;

use super::payload::{Digest, EventId};
use super::roster::Roster;
use crate::protocol::{LifeId, Name};
use crate::state::saved;
use crate::time::Millis;
use members::Incoming;

/// A box is lost when this many of its digests are missing.
pub const DIGESTS_MISSING_MAX: u64 = 3;
/// How long after its will a box is lost, unless it is heard again: a connection that was replaced has
/// left a will, too.
pub const GONE_GRACE: Millis = Millis(3000);
/// After this time a box is asked again, and after twice as long each further time.
const ASK_AGAIN: Millis = Millis(1000);
/// How many times the pause doubles.
const DOUBLINGS_MAX: u32 = 3;
/// After this many questions without an answer, a box is not there: others may say that it is.
const ROSTERS_ASKED_MAX: u32 = 5;
/// The most events that a box is asked for at once: fewer than brokers keep for a client that takes them
/// slowly.
const WANTED_MAX: u64 = 512;
/// How far ahead the next number of a box, or of its log, can be.
pub const AHEAD_MAX: u64 = 1 << 40;

/// Whether a box can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is heard, but this box does not know its members yet. If it was lost before, since when.
    Meeting {
        /// Since when it was lost; `None` if it was never met.
        lost: Option<Millis>,
    },
    /// It is heard, and its events are passed on.
    Linked,
    /// It is not heard any more.
    Lost {
        /// Since when.
        since: Millis,
    },
}

saved!(enum Standing { 0 = Meeting { lost }, 1 = Linked, 2 = Lost { since } });

/// What the room learns about a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// It is lost.
    Split {
        /// How many members it has.
        members: u64,
    },
    /// It is there.
    Healed {
        /// How many members it has.
        members: u64,
    },
    /// Some of its events cannot be had any more.
    Missed {
        /// How many.
        count: u64,
    },
}

/// What becomes of something that a box has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is of no use: known already, or from a former life.
    Known,
    /// It is from another life of a box that is still there.
    Other,
    /// It makes no sense.
    Absurd,
    /// It is the next one, or tells something new.
    Next,
    /// Others have to come first.
    Early,
}

/// Another box in a room.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The number of the room.
    pub room: u32,
    /// The box's name.
    pub name: Name,
    /// Which life of the box it is, and which log of the room in it; the number is that of the event that
    /// is wanted next.
    pub next: EventId,
    /// The number behind the highest that some event is known to have.
    known: u64,
    /// The lowest number that the box can still send, as it has said last.
    first: u64,
    standing: Standing,
    /// When it was last heard.
    heard_at: Millis,
    /// When it is lost, unless it is heard before.
    lose_at: Millis,
    /// The longest time between two digests.
    every: Millis,
    /// Its members.
    pub roster: Roster,
    /// The number of the first event that the roster does not reflect.
    as_of: u64,
    incoming: Incoming,
    /// When to ask for the roster.
    ask_roster_at: Millis,
    rosters_asked: u32,
    /// It has answered: its digests are its own.
    is_proven: bool,
    /// It has not said that it has freed the room.
    has_room: bool,
    /// When to ask for events.
    ask_events_at: Millis,
    /// The number behind the last one that it was asked for.
    wanted: u64,
    asked: u32,
    /// Where another life of the box begins that was heard while this one is not lost, and when.
    successor: Option<(EventId, Millis)>,
    /// The life before this one, and until when it is ignored.
    former: Option<(LifeId, Millis)>,
    /// Events that have come too early, the last one first.
    pub held: Vec<(u64, Vec<u8>)>,
}

saved!(struct Remote {
    room,
    name,
    next,
    known,
    first,
    standing,
    heard_at,
    lose_at,
    every,
    roster,
    as_of,
    incoming,
    ask_roster_at,
    rosters_asked,
    is_proven,
    has_room,
    ask_events_at,
    wanted,
    asked,
    successor,
    former,
    held,
});

impl Remote {
    /// A box that is heard for the first time in a room. What it has said before is not wanted.
    pub fn new(room: u32, name: Name, digest: &Digest, at: Millis) -> Remote {
        let mut remote = Remote {
            room,
            name,
            next: digest.next,
            known: digest.next.number,
            first: digest.first,
            standing: Standing::Meeting { lost: None },
            heard_at: at,
            lose_at: at,
            every: Millis(0),
            roster: Roster::default(),
            as_of: 0,
            incoming: Incoming::default(),
            ask_roster_at: Millis::NEVER,
            rosters_asked: 0,
            is_proven: false,
            has_room: true,
            ask_events_at: Millis::NEVER,
            wanted: 0,
            asked: 0,
            successor: None,
            former: None,
            held: Vec::new(),
        };
        remote.hear(at, Millis::from_secs(digest.every_s));
        remote
    }

    /// Whether it can be reached.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Since when it is lost.
    pub fn lost_since(&self) -> Option<Millis> {
        match self.standing {
            Standing::Lost { since } => Some(since),
            Standing::Meeting { .. } | Standing::Linked => None,
        }
    }

    /// Whether its events are passed on.
    pub fn is_met(&self) -> bool {
        self.standing == Standing::Linked
    }

    /// Whether the wanted event cannot be had any more.
    pub fn is_behind(&self) -> bool {
        self.next.number < self.first
    }

    /// When it was last heard.
    pub fn heard_at(&self) -> Millis {
        self.heard_at
    }

    /// Whether it has members, listed or not.
    pub fn has_members(&self) -> bool {
        self.roster.count() > 0
    }

    fn hear(&mut self, at: Millis, every: Millis) {
        self.heard_at = at;
        self.every = every;
        self.lose_at = at + Millis(DIGESTS_MISSING_MAX * every.0);
    }

    /// Takes the box's will.
    pub fn take_will(&mut self, boot: LifeId, at: Millis) {
        if boot == self.next.boot {
            self.lose_at = self.lose_at.min(at + GONE_GRACE);
        }
        if self.successor.is_some_and(|(start, _)| start.boot == boot) {
            self.successor = None;
        }
    }

    /// Takes a digest. `Next` means that the room may have something to learn: see
    /// [`report`](Self::report).
    pub fn take_digest(&mut self, digest: &Digest, at: Millis) -> (Verdict, Option<Report>) {
        let next = digest.next;
        let mut report = None;
        if next.boot != self.next.boot {
            if self.is_former(next.boot, at) {
                return (Verdict::Known, None);
            }
            if self.standing == Standing::Linked {
                if self.has_room {
                    self.note_successor(next, at);
                    return (Verdict::Other, None);
                }
                // Nothing more is to come from the life that had it.
                self.standing = Standing::Lost { since: at };
                report = Some(Report::Split { members: 0 });
            }
            let start = self.successor.map(|(start, _)| start);
            let start = start.filter(|start| (start.boot, start.log) == (next.boot, next.log));
            self.adopt(start.unwrap_or(next), at);
        }
        let known = match next.log > self.next.log {
            true => 1,
            false => self.next.number,
        };
        if next.log < self.next.log || next.number < known {
            return (Verdict::Known, report);
        }
        if next.number - known > AHEAD_MAX || next.log - self.next.log > AHEAD_MAX {
            return (Verdict::Absurd, report);
        }
        if next.log > self.next.log {
            report = self.begin_log(next, at);
        }
        self.hear(at, Millis::from_secs(digest.every_s));
        self.known = self.known.max(next.number);
        self.first = self.first.max(digest.first);
        self.has_room = true;
        if let Standing::Lost { since } = self.standing {
            self.standing = Standing::Meeting { lost: Some(since) };
        }
        let is_like_ours = self.is_proven
            && next.number == self.next.number
            && self.as_of <= next.number
            && digest.hash == self.roster.hash();
        match self.standing {
            Standing::Linked if next.number != self.next.number || self.as_of > next.number => {}
            _ if is_like_ours => self.settle_roster(),
            _ if digest.members == 0 && self.is_proven => {
                self.roster = Roster::default();
                self.as_of = next.number;
                self.settle_roster();
            }
            _ => self.ask_roster_at = self.ask_roster_at.min(at),
        }
        self.plan(at);
        (Verdict::Next, report)
    }

    /// How long another life of the box is remembered that is not heard again.
    fn patience(&self) -> Millis {
        Millis(DIGESTS_MISSING_MAX * self.every.0)
    }

    /// Remembers where another life of the box begins, unless there is one already that is still heard.
    fn note_successor(&mut self, next: EventId, at: Millis) {
        let patience = self.patience();
        match &mut self.successor {
            Some((start, heard)) if start.boot == next.boot => *heard = at,
            Some((_, heard)) if *heard + patience > at => {}
            successor => *successor = Some((next, at)),
        }
    }

    /// Whether a life of the box is the one before this one, of which something may still be on its way.
    fn is_former(&self, boot: LifeId, at: Millis) -> bool {
        self.former
            .is_some_and(|(former, until)| former == boot && at < until)
    }

    /// Goes on with another life of the box.
    fn adopt(&mut self, start: EventId, at: Millis) {
        self.former = Some((self.next.boot, at + self.patience()));
        self.successor = None;
        self.is_proven = false;
        self.begin_at(start);
    }

    /// Goes on with another log of the room. What the box had in the former one and this box does not
    /// know is lost without a trace.
    fn begin_log(&mut self, next: EventId, at: Millis) -> Option<Report> {
        let members = self.roster.count();
        let is_noticed = self.standing == Standing::Linked && members > 0;
        self.begin_at(EventId { number: 1, ..next });
        if is_noticed {
            self.standing = Standing::Meeting { lost: Some(at) };
            return Some(Report::Split { members });
        }
        None
    }

    fn begin_at(&mut self, start: EventId) {
        self.next = start;
        (self.known, self.first) = (start.number, start.number);
        self.roster = Roster::default();
        self.as_of = 0;
        self.incoming = Incoming::default();
        self.held = Vec::new();
        (self.wanted, self.asked) = (0, 0);
        self.ask_events_at = Millis::NEVER;
    }

    /// Notes that the box has freed the room: nothing can be had from before `next` any more, and the box
    /// says nothing of the room until it has it again.
    pub fn take_end(&mut self, next: EventId, hold: Millis, at: Millis) -> Verdict {
        if (next.boot, next.log) != (self.next.boot, self.next.log)
            || next.number < self.next.number
            || next.number - self.next.number > AHEAD_MAX
        {
            return Verdict::Known;
        }
        self.hear(at, Millis(hold.0 / DIGESTS_MISSING_MAX));
        (self.known, self.first) = (next.number, next.number);
        self.held.retain(|&(number, _)| number < next.number);
        self.roster = Roster::default();
        self.as_of = next.number;
        self.has_room = false;
        self.settle_roster();
        Verdict::Next
    }

    /// The next time at which something is due: see [`due`](Self::due).
    pub fn deadline(&self, hold: Millis) -> Millis {
        match self.standing {
            Standing::Lost { since } if self.has_members() => since + hold,
            Standing::Lost { .. } => Millis::NEVER,
            Standing::Meeting { .. } => self.lose_at.min(self.ask_roster_at),
            Standing::Linked => self.lose_at.min(self.ask_roster_at).min(self.ask_events_at),
        }
    }

    /// Does what is due by `past`, and says what has to follow.
    pub fn due(&mut self, past: Millis, at: Millis, hold: Millis) -> Option<DueRemote> {
        if self.deadline(hold) > past {
            return None;
        }
        if let Standing::Lost { .. } = self.standing {
            self.roster = Roster::default();
            return None;
        }
        if self.lose_at <= past {
            return self.lose(at);
        }
        if self.ask_roster_at <= past {
            if self.rosters_asked >= ROSTERS_ASKED_MAX && !self.is_met() {
                return self.lose(at);
            }
            self.ask_roster_at = at + pause(&mut self.rosters_asked);
            return Some(DueRemote::AskRoster);
        }
        self.ask_events_at = match self.next.number < self.known {
            true => at + pause(&mut self.asked),
            false => Millis::NEVER,
        };
        let to = self.known.min(self.next.number.saturating_add(WANTED_MAX));
        let to = self.held.last().map_or(to, |&(held, _)| held.min(to));
        self.wanted = to;
        Some(DueRemote::AskEvents { to })
    }

    /// Notes that the box is not heard any more.
    fn lose(&mut self, at: Millis) -> Option<DueRemote> {
        let was = self.standing;
        self.held = Vec::new();
        self.settle_roster();
        self.ask_events_at = Millis::NEVER;
        let since = match was {
            Standing::Meeting { lost: None } => return Some(DueRemote::Forget),
            Standing::Meeting { lost: Some(since) } => since,
            Standing::Linked | Standing::Lost { .. } => at,
        };
        let members = self.roster.count();
        self.standing = Standing::Lost { since };
        let successor = self.successor.take();
        let patience = self.patience();
        if let Some((start, heard)) = successor.filter(|(_, heard)| *heard + patience > at) {
            self.adopt(start, at);
            self.standing = Standing::Meeting { lost: Some(since) };
            self.hear(heard, self.every);
            self.ask_roster_at = at;
        }
        match was {
            Standing::Linked => Some(DueRemote::Report(Report::Split { members })),
            _ => None,
        }
    }

    /// Keeps it from being lost before then, since the room cannot hear of that yet.
    pub fn keep_until(&mut self, until: Millis) {
        if self.is_met() {
            self.lose_at = self.lose_at.max(until);
        }
    }

    /// Goes on after a time in which nobody could hear it, at `at`.
    pub fn forgive(&mut self, at: Millis) {
        if !matches!(self.standing, Standing::Lost { .. }) {
            self.hear(at, self.every);
        }
    }

    /// What it takes besides its own place, in bytes.
    pub fn heap_bytes(&self) -> usize {
        let held: usize = self.held.iter().map(|(_, event)| event.capacity()).sum();
        let places = self.held.capacity() * size_of::<(u64, Vec<u8>)>();
        held + places + self.roster.heap_bytes() + self.incoming.roster.heap_bytes()
    }

    /// Whether a box could be like that.
    pub fn is_sound(&self) -> bool {
        let next = self.next.number;
        let is_held = |&(number, ref event): &(u64, Vec<u8>)| number >= next && !event.is_empty();
        next >= 1
            && next <= self.known
            && self.known - next <= AHEAD_MAX + 1
            && self.first <= self.known
            && self.roster.is_sound()
            && self.incoming.roster.is_sound()
            && self.held.iter().all(is_held)
            && self.held.is_sorted_by(|a, b| a.0 > b.0)
    }
}

/// The pause before the next question, which is longer each time.
fn pause(asked: &mut u32) -> Millis {
    let pause = Millis(ASK_AGAIN.0 << (*asked).min(DOUBLINGS_MAX));
    *asked = asked.saturating_add(1);
    pause
}

/// What follows from a deadline of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DueRemote {
    /// The room learns this.
    Report(Report),
    /// The box has to be asked for its roster.
    AskRoster,
    /// The box has to be asked for events from the wanted one up to, not including, this one.
    AskEvents {
        /// The first number that is not wanted.
        to: u64,
    },
    /// The box was never met, and is gone.
    Forget,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::roster::RosterHash;

    /// That of an empty room.
    fn digest(boot: u64, number: u64) -> Digest {
        let next = EventId {
            boot: LifeId::new(boot),
            log: 1,
            number,
        };
        Digest {
            next,
            first: number,
            members: 0,
            hash: RosterHash::default(),
            every_s: 10,
        }
    }

    #[test]
    fn a_late_digest_of_the_life_that_follows_takes_no_split_from_the_room() {
        let (at, first) = (Millis(0), digest(1, 1));
        let mut remote = Remote::new(0, Name::parse("attic").unwrap(), &first, at);
        remote.take_digest(&first, at);
        let (none, places) = (std::iter::empty(), (8, 8));
        let taken = remote.take_members(first.next, first.hash, (1, 1), none, places);
        assert_eq!(taken, Verdict::Next);
        assert_eq!(remote.report(), Some(Report::Healed { members: 0 }));
        let other = (Verdict::Other, None);
        assert_eq!(remote.take_digest(&digest(2, 5), at), other);
        let ended = remote.take_end(first.next, Millis(60_000), at);
        assert_eq!(ended, Verdict::Next);
        // It was on its way longer than the one before.
        let split = Some(Report::Split { members: 0 });
        let late = remote.take_digest(&digest(2, 4), at);
        assert_eq!(late, (Verdict::Known, split));
    }
}
