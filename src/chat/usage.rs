//! How many connections and sessions each origin has, how fast its former connections have sent, and
//! how many wrong keys have come from there.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::num::NonZeroU32;

use slab::Slab;

use super::origin::{Origin, Peer};
use crate::allocator::{array_bytes, slab_bytes};
use crate::protocol::{DENIALS_PER_ADDRESS_MAX, Limits};
use crate::sorted_index::{SortedIndex, Target};
use crate::state::{Damage, Fields, IMPOSSIBLE, Tag, Writer, saved};
use crate::time::Now;

/// The key of an origin, for as long as that has connections or sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OriginKey {
    /// A user of this machine, through a Unix socket. No limit applies to it, and nothing is counted.
    Local(u32),
    /// Any other: one more than its place in the slab.
    Counted(NonZeroU32),
}

impl OriginKey {
    /// The key of a place in the slab.
    fn at(index: u32) -> OriginKey {
        OriginKey::Counted(NonZeroU32::MIN.saturating_add(index))
    }

    /// The place in the slab. What is not counted has no place.
    fn index(self) -> Option<usize> {
        match self {
            OriginKey::Local(_) => None,
            OriginKey::Counted(number) => Some(number.get() as usize - 1),
        }
    }
}

/// What one origin has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    pub connections: u32,
    pub sessions: u32,
    /// The latest theoretical arrival time (see `rate`) of its connections that send nothing more, in
    /// sixteenths of a second. New connections begin with it.
    arrival_ticks: u32,
    /// When the minute ends in which its `denials` count, in the same unit.
    denials_end_ticks: u32,
    /// JOINs without the right key in that minute. As soon as there are
    /// [`DENIALS_PER_ADDRESS_MAX`], it is suspect, and the minute starts again.
    denials: u8,
    /// It is in [`Usages::waiting`].
    pub(super) is_waiting: bool,
}

impl Usage {
    pub fn is_empty(&self) -> bool {
        self.connections == 0 && self.sessions == 0
    }

    fn arrival_us(&self) -> u64 {
        u64::from(self.arrival_ticks) * TICK_US
    }

    fn denials_end_us(&self) -> u64 {
        u64::from(self.denials_end_ticks) * TICK_US
    }

    /// Until when the server must not forget it, even if it has nothing.
    fn remembered_until_us(&self) -> u64 {
        self.arrival_us().max(self.denials_end_us())
    }
}

/// A sixteenth of a second: exact enough, and 32 bits last for eight years.
const TICK_US: u64 = 62_500;

/// The time for which wrong keys count, and for which an origin is suspect, in microseconds.
const DENIALS_PERIOD_US: u64 = 60_000_000;

/// A point in time in ticks, rounded up.
fn ticks(us: u64) -> u32 {
    u32::try_from(us.div_ceil(TICK_US)).unwrap_or(u32::MAX)
}

/// The usages of all origins that have connections or sessions, or had some a moment ago.
#[derive(Debug)]
pub(super) struct Usages {
    pub(super) usages: Slab<(Origin, Usage)>,
    by_origin: SortedIndex,
    /// Origins that have nothing left, but whose arrival time is ahead of the clock, or whose wrong keys
    /// still count, so that the server must not forget them yet. The one that has waited longest comes first.
    pub(super) waiting: VecDeque<u32>,
    pub(super) waiting_max: usize,
}

impl Usages {
    /// No usage yet. As many origins may wait to be forgotten as the server may have connections.
    pub fn new(limits: &Limits) -> Usages {
        Usages {
            usages: Slab::new(),
            by_origin: SortedIndex::default(),
            waiting: VecDeque::new(),
            waiting_max: limits.connections_max,
        }
    }

    /// How many connections an origin has.
    pub fn connections(&self, origin: Origin) -> u32 {
        let key = self.by_origin.get(&by_origin(&self.usages, origin));
        key.map_or(0, |key| self.usages[key as usize].1.connections)
    }

    /// Counts one more connection from where a peer is.
    pub fn connect(&mut self, peer: &Peer, now_us: u64) -> OriginKey {
        if let Peer::Local { user } = *peer {
            return OriginKey::Local(user);
        }
        let origin = peer.origin();
        self.forget(now_us);
        let key = self.by_origin.get(&by_origin(&self.usages, origin));
        let key = key.unwrap_or_else(|| {
            let key = self.usages.insert((origin, Usage::default())) as u32;
            self.by_origin.insert(key, &by_origin(&self.usages, origin));
            key
        });
        self.usages[key as usize].1.connections += 1;
        OriginKey::at(key)
    }

    /// The theoretical arrival time with which a new connection of an origin begins, in microseconds.
    pub fn arrival_us(&self, key: OriginKey) -> u64 {
        self.get(key).arrival_us()
    }

    /// Notes the theoretical arrival time of a connection that sends nothing more.
    pub fn note_arrival(&mut self, key: OriginKey, arrival_us: u64) {
        if let Some(index) = key.index() {
            let (_, usage) = &mut self.usages[index];
            usage.arrival_ticks = usage.arrival_ticks.max(ticks(arrival_us));
        }
    }

    /// Counts a JOIN without the right key.
    pub fn deny(&mut self, key: OriginKey, now: Now) {
        let Some(index) = key.index() else { return };
        let (_, usage) = &mut self.usages[index];
        let is_over = usage.denials_end_us() <= now.past.micros();
        usage.denials = match is_over {
            true => 1,
            false => usage.denials.saturating_add(1),
        };
        if is_over || usage.denials == DENIALS_PER_ADDRESS_MAX {
            usage.denials_end_ticks = ticks(now.at.micros() + DENIALS_PERIOD_US);
        }
    }

    /// Whether too many wrong keys have come from an origin, so that the next ones have to wait.
    pub fn is_suspect(&self, key: OriginKey, now: Now) -> bool {
        let usage = self.get(key);
        usage.denials >= DENIALS_PER_ADDRESS_MAX && usage.denials_end_us() > now.past.micros()
    }

    /// Counts one connection of an origin less, and notes its theoretical arrival time.
    pub fn disconnect(&mut self, key: OriginKey, arrival_us: u64, now_us: u64) {
        self.note_arrival(key, arrival_us);
        self.change(key, now_us, |usage| usage.connections -= 1);
    }

    /// Forgets origins that have nothing: those that need not be remembered any more, and if too many
    /// wait, those that have waited longest.
    fn forget(&mut self, now_us: u64) {
        while let Some(&index) = self.waiting.front() {
            let (_, usage) = &self.usages[index as usize];
            let may_stay =
                usage.remembered_until_us() > now_us && self.waiting.len() <= self.waiting_max;
            if usage.is_empty() && may_stay {
                return;
            }
            self.forget_first();
        }
    }

    /// Forgets the origin that has waited longest, if it has nothing.
    fn forget_first(&mut self) {
        let Some(index) = self.waiting.pop_front() else {
            return;
        };
        let (_, usage) = &mut self.usages[index as usize];
        usage.is_waiting = false;
        if usage.is_empty() {
            self.remove(index as usize);
        }
    }

    /// The origin of a key.
    pub fn origin(&self, key: OriginKey) -> Origin {
        key.index()
            .map_or(Origin::Local, |index| self.usages[index].0)
    }

    /// The usage of an origin; nothing of one whose usage is not counted.
    pub fn get(&self, key: OriginKey) -> Usage {
        key.index()
            .map_or(Usage::default(), |index| self.usages[index].1)
    }

    /// Changes an origin's usage. Forgets the origin as soon as it has nothing and need not be
    /// remembered.
    pub fn change(&mut self, key: OriginKey, now_us: u64, change: impl FnOnce(&mut Usage)) {
        let Some(index) = key.index() else { return };
        let (_, usage) = &mut self.usages[index];
        change(usage);
        if !usage.is_empty() || usage.is_waiting {
            return;
        }
        if usage.remembered_until_us() > now_us {
            usage.is_waiting = true;
            self.waiting.push_back(index as u32);
            self.forget(now_us);
        } else {
            self.remove(index);
        }
    }

    fn remove(&mut self, index: usize) {
        let origin = self.usages[index].0;
        self.by_origin.remove(&by_origin(&self.usages, origin));
        self.usages.remove(index);
        if self.by_origin.is_empty() {
            // So none waits either.
            self.usages = Slab::new();
            self.waiting = VecDeque::new();
        }
    }

    /// The most that usages take, in bytes: each connection, each session and each place among those
    /// that wait may have an origin of its own.
    pub fn memory_bytes_max(limits: &Limits) -> u64 {
        let (conns, sessions) = (limits.connections_max as u64, limits.sessions_max as u64);
        let origins = 2 * conns + sessions;
        slab_bytes::<(Origin, Usage)>(origins)
            + origins * SortedIndex::ENTRY_BYTES
            + array_bytes(conns + 1, size_of::<u32>())
    }

    /// Returns the memory after the last usage.
    pub fn shrink(&mut self) {
        self.usages.shrink_to_fit();
    }
}

/// The target of a search for an origin.
fn by_origin(usages: &Slab<(Origin, Usage)>, origin: Origin) -> Target<impl Fn(u32) -> Ordering> {
    let head = match origin {
        Origin::Local => 0,
        Origin::V4(address) => u32::from_be_bytes(address),
        // The networks of one provider differ at the end.
        Origin::V6([.., a, b, c, d]) => u32::from_be_bytes([a, b, c, d]),
    };
    Target {
        head,
        compare: move |key| usages[key as usize].0.cmp(&origin),
    }
}

saved!(enum OriginKey { 0 = Local(user), 1 = Counted(number) });

saved!(struct Usage {
    connections,
    sessions,
    arrival_ticks,
    denials_end_ticks,
    denials,
    is_waiting,
});

/// The records of origins: each with its key, and those that wait to be forgotten, in their order.
const ORIGIN: Tag = *b"ORIG";
const WAITING: Tag = *b"WAIT";

impl Usages {
    /// Whether no origin has more than `most` connections or sessions.
    pub fn are_at_most(&self, most: u32) -> bool {
        let mut usages = self.usages.iter();
        usages.all(|(_, (_, usage))| usage.connections <= most && usage.sessions <= most)
    }

    /// Appends all usages to a state.
    pub fn save(&self, out: &mut Writer<'_>) {
        let usages = self.usages.iter();
        out.list(ORIGIN, usages.map(|(key, &usage)| (key as u32, usage)));
        out.list(WAITING, self.waiting.iter().copied());
    }
}

/// Usages that are being loaded. Origins get other keys.
#[derive(Debug)]
pub(super) struct LoadingUsages {
    usages: Usages,
    /// The former keys of the origins that have come, in order.
    formerly: Vec<u32>,
}

impl LoadingUsages {
    pub fn new(limits: &Limits) -> LoadingUsages {
        LoadingUsages {
            usages: Usages::new(limits),
            formerly: Vec::new(),
        }
    }

    /// Takes a record of [`Usages::save`]; false if it is another's.
    pub fn take(&mut self, tag: Tag, fields: &mut Fields<'_>) -> Result<bool, Damage> {
        match tag {
            ORIGIN => {
                for (key, (origin, usage)) in fields.list::<(u32, (Origin, Usage))>() {
                    self.take_one(key, origin, usage)?;
                }
            }
            WAITING => {
                for key in fields.list() {
                    let key = self.key_now(key)?;
                    let (_, usage) = &mut self.usages.usages[key as usize];
                    if std::mem::replace(&mut usage.is_waiting, true) {
                        return Err(IMPOSSIBLE);
                    }
                    self.usages.waiting.push_back(key);
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn take_one(&mut self, key: u32, origin: Origin, usage: Usage) -> Result<(), Damage> {
        let usages = &mut self.usages;
        let is_known = usages
            .by_origin
            .get(&by_origin(&usages.usages, origin))
            .is_some();
        if is_known || origin == Origin::Local || self.formerly.last().is_some_and(|&l| l >= key) {
            return Err(IMPOSSIBLE);
        }
        let now = usages.usages.insert((
            origin,
            // Those that use it are counted as they come.
            Usage {
                connections: 0,
                sessions: 0,
                is_waiting: false,
                ..usage
            },
        ));
        usages
            .by_origin
            .insert(now as u32, &by_origin(&usages.usages, origin));
        self.formerly.push(key);
        Ok(())
    }

    fn key_now(&self, formerly: u32) -> Result<u32, Damage> {
        let found = self.formerly.binary_search(&formerly);
        found.map(|key| key as u32).map_err(|_| IMPOSSIBLE)
    }

    /// Gives something that uses an origin the key that this has now, and counts it.
    pub fn count(
        &mut self,
        key: &mut OriginKey,
        count: impl FnOnce(&mut Usage),
    ) -> Result<(), Damage> {
        if let Some(index) = key.index() {
            let index = self.key_now(index as u32)?;
            *key = OriginKey::at(index);
            count(&mut self.usages.usages[index as usize].1);
        }
        Ok(())
    }

    /// Changes the usage of an origin, by the key that it has now.
    pub fn change(&mut self, key: OriginKey, change: impl FnOnce(&mut Usage)) {
        if let Some(index) = key.index() {
            change(&mut self.usages.usages[index].1);
        }
    }

    /// The usages, once all that uses them has come. What nothing uses any more is forgotten.
    pub fn finish(self, now_us: u64) -> Usages {
        let mut usages = self.usages;
        for key in 0..self.formerly.len() as u32 {
            if usages.usages.contains(key as usize) {
                usages.change(OriginKey::at(key), now_us, |_| {});
            }
        }
        // The limits may be lower now.
        while usages.waiting.len() > usages.waiting_max {
            usages.forget_first();
        }
        usages
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Millis;

    fn at(address: u8) -> Peer {
        Peer::V4([192, 0, 2, address], 1)
    }

    #[test]
    fn an_origin_without_connections_is_remembered_until_its_arrival_time_has_passed() {
        let mut usages = Usages::new(&Limits::default());
        let here = usages.connect(&at(1), 0);
        usages.disconnect(here, 3 * TICK_US, 0);
        let now_us = 3 * TICK_US - 1;
        let other = usages.connect(&at(2), now_us);
        assert_eq!(usages.usages.len(), 2);
        usages.disconnect(other, 0, now_us);
        assert_eq!(usages.usages.len(), 1);
        usages.connect(&at(3), now_us + 1);
        assert_eq!(usages.usages.len(), 1);
    }

    #[test]
    fn ten_wrong_keys_within_a_minute_make_an_origin_suspect_for_a_minute() {
        let now = |ms| Now::exactly(Millis(ms), 0);
        for (first_ms, tenth_ms, is_suspect) in [(0, 59_999, true), (7, 60_070, false)] {
            let mut usages = Usages::new(&Limits::default());
            for ms in [first_ms; 9].into_iter().chain([tenth_ms]) {
                let here = usages.connect(&at(1), ms * 1000);
                assert!(!usages.is_suspect(here, now(ms)));
                usages.deny(here, now(ms));
                // It cannot make the server forget them.
                usages.disconnect(here, 0, ms * 1000);
            }
            for (ms, is_suspect) in [
                (tenth_ms, is_suspect),
                (tenth_ms + 59_999, is_suspect),
                (tenth_ms + 60_063, false),
            ] {
                let here = usages.connect(&at(1), ms * 1000);
                assert_eq!(usages.is_suspect(here, now(ms)), is_suspect, "{ms}");
                usages.disconnect(here, 0, ms * 1000);
            }
            assert!(usages.usages.is_empty());
        }
    }

    #[test]
    fn the_latest_arrival_time_counts_and_is_rounded_up() {
        let mut usages = Usages::new(&Limits::default());
        for arrival_us in [5 * TICK_US, 8 * TICK_US + 1, 3 * TICK_US] {
            let here = usages.connect(&at(1), 0);
            usages.disconnect(here, arrival_us, 0);
        }
        let here = usages.connect(&at(1), 0);
        assert_eq!(usages.arrival_us(here), 9 * TICK_US);
    }
}
