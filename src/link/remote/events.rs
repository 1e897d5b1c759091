//! The events of a box: which one is wanted next, which ones wait for others, and when to ask for more.

use super::{AHEAD_MAX, ASK_AGAIN, Remote, Standing, Verdict};
use crate::link::payload::EventId;
use crate::time::Millis;

/// How long a hole may fill itself before the box is asked for what is missing: brokers may change the
/// order of what they pass on.
const HOLE_GRACE: Millis = Millis(100);
/// The shortest time until a box is asked for events that came too fast.
const PUT_OFF_MIN: Millis = Millis(250);

impl Remote {
    /// Judges an event by its number. The text of an [early](Verdict::Early) one may be held.
    pub fn take_event(&mut self, id: EventId, at: Millis) -> Verdict {
        if id.boot != self.next.boot || id.log != self.next.log || id.number < self.next.number {
            return match id.boot == self.next.boot {
                true => Verdict::Known,
                false => Verdict::Other,
            };
        }
        if id.number - self.next.number > AHEAD_MAX {
            return Verdict::Absurd;
        }
        self.hear(at, self.every);
        self.known = self.known.max(id.number + 1);
        match self.standing == Standing::Linked && id.number == self.next.number {
            true => Verdict::Next,
            false => {
                self.plan(at);
                Verdict::Early
            }
        }
    }

    /// Whether an event is one of those that are still wanted.
    pub fn wants(&self, id: EventId) -> bool {
        let next = self.next;
        (id.boot, id.log) == (next.boot, next.log) && id.number >= next.number
    }

    /// Notes that a wanted event is not taken now, because too many have come.
    pub fn put_off(&mut self, id: EventId, until: Millis, at: Millis) {
        if id.number - self.next.number <= AHEAD_MAX {
            self.hear(at, self.every);
            self.known = self.known.max(id.number + 1);
            self.asked = 0;
            self.ask_events_at = until.max(at + PUT_OFF_MIN);
        }
    }

    /// Moves on behind the wanted event. Returns whether the roster does not reflect it yet.
    pub fn advance(&mut self, at: Millis) -> bool {
        let number = self.next.number;
        self.next.number += 1;
        self.asked = 0;
        self.ask_events_at = match self.next.number {
            next if next >= self.known => Millis::NEVER,
            // All that it was asked for has come.
            next if next >= self.wanted => self.ask_events_at.min(at),
            _ => at + ASK_AGAIN,
        };
        number >= self.as_of
    }

    /// Moves on over events that cannot be had any more, and returns how many.
    pub fn give_up(&mut self, at: Millis) -> u64 {
        let count = self.first.saturating_sub(self.next.number);
        if count > 0 {
            self.next.number = self.first;
            let next = self.next.number;
            self.held.retain(|&(number, _)| number >= next);
            self.asked = 0;
            self.ask_events_at = Millis::NEVER;
            self.plan(at);
        }
        count
    }

    /// Takes the held event that is wanted next.
    pub fn take_held(&mut self) -> Option<Vec<u8>> {
        let &(number, _) = self.held.last()?;
        match number == self.next.number {
            true => self.held.pop().map(|(_, event)| event),
            false => None,
        }
    }

    /// Holds an event that has come too early, unless it is held already.
    pub fn hold(&mut self, number: u64, event: &[u8]) {
        let place = self.held.partition_point(|&(held, _)| held > number);
        if self.held.get(place).is_none_or(|&(held, _)| held != number) {
            self.held.insert(place, (number, event.to_vec()));
        }
    }

    /// Lets the box be asked at once what is new.
    pub fn ask(&mut self, at: Millis) {
        if !matches!(self.standing, Standing::Lost { .. }) {
            (self.asked, self.ask_events_at) = (0, at);
        }
    }

    pub(super) fn plan(&mut self, at: Millis) {
        if self.next.number < self.known && self.ask_events_at == Millis::NEVER {
            self.ask_events_at = at + HOLE_GRACE;
        }
    }
}
