//! The members of a box, whose list comes in parts.

use super::{AHEAD_MAX, Remote, Report, Standing, Verdict};
use crate::link::payload::EventId;
use crate::link::roster::{Member, Roster, RosterHash};
use crate::state::saved;
use crate::time::Millis;

/// A roster of which parts are still to come.
#[derive(Clone, Debug, Default)]
pub(super) struct Incoming {
    /// The number of the first event that it does not reflect.
    number: u64,
    hash: RosterHash,
    /// How many parts have come.
    parts: u32,
    pub(super) roster: Roster,
}

saved!(struct Incoming { number, hash, parts, roster });

impl Remote {
    /// Notes that the roster is as the box's own, or as good as it gets.
    pub(super) fn settle_roster(&mut self) {
        self.ask_roster_at = Millis::NEVER;
        self.rosters_asked = 0;
        self.incoming = Incoming::default();
    }

    /// How many members are in a roster of which parts are still to come.
    pub fn coming(&self) -> usize {
        self.incoming.roster.members().len()
    }

    /// Takes a part of the roster, which has come whole if this returns `Next`. At most `places`
    /// members more than now can be listed, and `coming_places` more in rosters of which parts are still to
    /// come.
    pub fn take_members(
        &mut self,
        next: EventId,
        hash: RosterHash,
        (part, parts): (u32, u32),
        members: impl Iterator<Item = Option<Member>>,
        (places, coming_places): (usize, usize),
    ) -> Verdict {
        let coming_places = coming_places + self.coming();
        let is_current = (next.boot, next.log) == (self.next.boot, self.next.log)
            && next.number >= self.next.number;
        if is_current && next.number - self.next.number > AHEAD_MAX {
            return Verdict::Absurd;
        }
        if self.ask_roster_at == Millis::NEVER || !is_current {
            return Verdict::Known;
        }
        if part == 1 {
            self.incoming = Incoming {
                number: next.number,
                hash,
                ..Incoming::default()
            };
        }
        let incoming = &mut self.incoming;
        if (incoming.number, incoming.hash, incoming.parts + 1) != (next.number, hash, part) {
            return Verdict::Known;
        }
        incoming.parts = part;
        let places = (places + self.roster.members().len()).min(coming_places);
        for member in members {
            let Some(member) = member else {
                return Verdict::Absurd;
            };
            let has_place = incoming.roster.members().len() < places;
            incoming.roster.add(member, has_place);
        }
        if part < parts {
            return Verdict::Early;
        }
        let Incoming { number, roster, .. } = std::mem::take(&mut self.incoming);
        if roster.hash() != hash {
            return Verdict::Absurd;
        }
        self.is_proven = true;
        self.roster = roster;
        self.as_of = number;
        self.known = self.known.max(number);
        self.settle_roster();
        Verdict::Next
    }

    /// What the room learns now that the roster is known.
    pub fn report(&mut self) -> Option<Report> {
        let is_known = self.ask_roster_at == Millis::NEVER;
        match self.standing {
            Standing::Meeting { .. } if is_known => {
                self.standing = Standing::Linked;
                Some(Report::Healed {
                    members: self.roster.count(),
                })
            }
            _ => None,
        }
    }
}
