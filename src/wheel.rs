//! A hierarchical timer wheel: every deadline of the server, to the millisecond.
//!
//! Eleven levels of 64 slots cover all of [`Millis`]. The highest group of six bits in which a timer's
//! deadline differs from the wheel's present chooses its level, and the value of that group its slot:
//! scheme 7 of Varghese and Lauck, "Hashed and Hierarchical Timing Wheels" (SOSP 1987). Filing and
//! cancelling are O(1); a timer moves down at most once per level.
//!
//! The timers of a slot are a doubly linked list in a bucket. When the present reaches a slot, the wheel
//! sets its bucket aside as a whole, whatever its size. [`Wheel::pop`] then works it off timer by timer
//! within the work it may do, so that not even many timers at once delay a turn.

use std::collections::VecDeque;

use slab::Slab;

use crate::time::Millis;

const SLOT_BITS: u32 = 6;
const SLOTS: usize = 1 << SLOT_BITS;
const LEVELS: usize = u64::BITS.div_ceil(SLOT_BITS) as usize;

/// A bucket of up to this many timers always knows its earliest deadline exactly.
const SCAN_LEN: u32 = 64;
/// A larger bucket searches for it again once one timer in this many has been removed.
const SCAN_RATIO: u32 = 8;

const NONE: u32 = u32::MAX;

#[derive(Clone, Debug)]
struct Node {
    when: Millis,
    next: u32,
    prev: u32,
    /// The bucket in whose list it is; [`NONE`] while the timer is not filed.
    bucket: u32,
}

impl Node {
    const UNFILED: Node = Node {
        when: Millis(0),
        next: NONE,
        prev: NONE,
        bucket: NONE,
    };
}

/// The timers of one slot.
#[derive(Debug)]
struct Bucket {
    /// Its level and slot; `None` once the present has reached that.
    slot: Option<(u8, u8)>,
    head: u32,
    len: u32,
    /// No timer of this bucket is due earlier.
    earliest: Millis,
    /// Whether the timer that set `earliest` has gone.
    stale: bool,
    /// How many timers were removed since the last search for `earliest`.
    removed: u32,
}

/// Timers, each with a number that its owner chooses. The owner should choose small numbers and reuse
/// them: the wheel keeps a place for every number up to the largest.
#[derive(Debug)]
pub struct Wheel {
    present: Millis,
    nodes: Vec<Node>,
    len: usize,
    buckets: Slab<Bucket>,
    slots: [[u32; SLOTS]; LEVELS],
    occupied: [u64; LEVELS],
    /// Buckets that the present has reached, the earliest first.
    reached: VecDeque<u32>,
}

impl Default for Wheel {
    fn default() -> Self {
        Self::new()
    }
}

impl Wheel {
    /// How much memory a timer takes, in bytes.
    pub const TIMER_BYTES: usize = size_of::<Node>();

    /// An empty wheel whose present is 0.
    pub fn new() -> Self {
        Wheel {
            present: Millis(0),
            nodes: Vec::new(),
            len: 0,
            buckets: Slab::with_capacity(2 * SLOTS),
            slots: [[NONE; SLOTS]; LEVELS],
            occupied: [0; LEVELS],
            reached: VecDeque::with_capacity(SLOTS),
        }
    }

    /// An empty wheel with another present.
    pub fn at(present: Millis) -> Self {
        let mut wheel = Wheel::new();
        wheel.advance(present);
        wheel
    }

    /// All filed timers with their deadlines. Filed in this order in a wheel with the same present, they
    /// fire in the order in which they would fire here.
    pub fn in_filing_order(&self) -> Vec<(u32, Millis)> {
        let slots = self.slots.as_flattened().iter().rev();
        let buckets = slots.filter(|&&bucket| bucket != NONE);
        let mut last_first = Vec::new();
        for &bucket in self.reached.iter().chain(buckets) {
            let mut id = self.buckets[bucket as usize].head;
            while let Some(node) = self.nodes.get(id as usize) {
                last_first.push((id, node.when));
                id = node.next;
            }
        }
        last_first.reverse();
        last_first
    }

    /// Up to which time timers have fired.
    pub fn present(&self) -> Millis {
        self.present
    }

    /// How many timers are filed.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no timer is filed.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// All filed timers with their deadlines, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Millis)> {
        let filed = self.nodes.iter().zip(0..).filter(|(n, _)| n.bucket != NONE);
        filed.map(|(node, timer)| (timer, node.when))
    }

    /// Files a timer to fire at `when`, or at the next [`pop`](Self::pop) if that has passed. If it was
    /// filed before, this replaces its deadline.
    pub fn file(&mut self, timer: u32, when: Millis) {
        self.cancel(timer);
        let index = timer as usize;
        if index >= self.nodes.len() {
            self.nodes.resize(index + 1, Node::UNFILED);
        }
        self.nodes[index].when = when;
        self.len += 1;
        self.link(timer);
    }

    /// Removes a timer, if it is filed.
    pub fn cancel(&mut self, timer: u32) {
        if self.when(timer).is_some() {
            self.unlink(timer);
            self.len -= 1;
        }
    }

    /// The deadline of a timer, if it is filed.
    pub fn when(&self, timer: u32) -> Option<Millis> {
        let node = self.nodes.get(timer as usize)?;
        (node.bucket != NONE).then_some(node.when)
    }

    /// Removes a timer whose deadline is not after `now`, and returns its number.
    ///
    /// Each timer looked at takes one off `work`. At 0 the rest waits for the next call, and
    /// [`next_deadline`](Self::next_deadline) is not after `now` until they are done. `now` must never
    /// go back.
    pub fn pop(&mut self, now: Millis, work: &mut usize) -> Option<u32> {
        self.advance(now);
        while let Some(&bucket) = self.reached.front() {
            let id = self.buckets[bucket as usize].head;
            if id == NONE {
                self.reached.pop_front();
                self.buckets.remove(bucket as usize);
                continue;
            }
            *work = work.checked_sub(1)?;
            self.unlink(id);
            if self.nodes[id as usize].when <= self.present {
                self.len -= 1;
                return Some(id);
            }
            self.link(id);
        }
        None
    }

    /// When the next timer fires. This is exact unless more than 64 timers share the next slot and the
    /// earliest of them was cancelled: then it may be the cancelled one's deadline.
    pub fn next_deadline(&mut self) -> Option<Millis> {
        if self
            .reached
            .iter()
            .any(|&b| self.buckets[b as usize].len > 0)
        {
            return Some(self.present);
        }
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let slot = self.occupied[level].trailing_zeros() as usize;
        let bucket = &mut self.buckets[self.slots[level][slot] as usize];
        let is_worth_it = bucket.len <= SCAN_LEN || bucket.len / SCAN_RATIO <= bucket.removed;
        if bucket.stale && is_worth_it {
            bucket.earliest = Millis(u64::MAX);
            let mut id = bucket.head;
            while let Some(node) = self.nodes.get(id as usize) {
                bucket.earliest = bucket.earliest.min(node.when);
                id = node.next;
            }
            bucket.stale = false;
            bucket.removed = 0;
        }
        Some(bucket.earliest)
    }

    /// Returns the memory of the places after the last timer that is filed.
    pub fn shrink(&mut self) {
        let last = self.nodes.iter().rposition(|node| node.bucket != NONE);
        self.nodes.truncate(last.map_or(0, |last| last + 1));
        self.nodes.shrink_to_fit();
    }

    /// Moves the present to `now` and sets aside the buckets of all slots that begin by then.
    fn advance(&mut self, now: Millis) {
        if now <= self.present {
            return;
        }
        for level in 0..LEVELS {
            let shift = SLOT_BITS * level as u32;
            let (was, is) = (self.present.0 >> shift, now.0 >> shift);
            if was == is {
                break;
            }
            let wrapped = was >> SLOT_BITS != is >> SLOT_BITS;
            let slots = if wrapped {
                u64::MAX
            } else {
                u64::MAX >> (SLOTS - 1 - digit(now, level))
            };
            let mut due = self.occupied[level] & slots;
            self.occupied[level] &= !slots;
            while due != 0 {
                let slot = due.trailing_zeros() as usize;
                due &= due - 1;
                let bucket = std::mem::replace(&mut self.slots[level][slot], NONE);
                self.buckets[bucket as usize].slot = None;
                self.reached.push_back(bucket);
            }
        }
        self.present = now;
    }

    /// Puts a node into the bucket of its deadline.
    fn link(&mut self, id: u32) {
        let when = self.nodes[id as usize].when;
        let bucket_id = self.bucket_for(when);
        let bucket = &mut self.buckets[bucket_id as usize];
        let next = std::mem::replace(&mut bucket.head, id);
        bucket.len += 1;
        if when <= bucket.earliest {
            bucket.earliest = when;
            bucket.stale = false;
        }
        let node = &mut self.nodes[id as usize];
        node.prev = NONE;
        node.next = next;
        node.bucket = bucket_id;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = id;
        }
    }

    /// Takes a node out of its bucket.
    fn unlink(&mut self, id: u32) {
        let Node {
            when,
            next,
            prev,
            bucket: bucket_id,
        } = std::mem::replace(&mut self.nodes[id as usize], Node::UNFILED);
        self.nodes[id as usize].when = when;
        if let Some(next) = self.nodes.get_mut(next as usize) {
            next.prev = prev;
        }
        let bucket = &mut self.buckets[bucket_id as usize];
        match self.nodes.get_mut(prev as usize) {
            Some(prev) => prev.next = next,
            None => bucket.head = next,
        }
        bucket.len -= 1;
        bucket.removed += 1;
        bucket.stale |= when == bucket.earliest;
        if bucket.len > 0 {
            return;
        }
        // Once the present has reached a bucket, `pop` removes it.
        if let Some((level, slot)) = bucket.slot {
            self.occupied[usize::from(level)] &= !(1 << slot);
            self.slots[usize::from(level)][usize::from(slot)] = NONE;
            self.buckets.remove(bucket_id as usize);
        }
    }

    /// The bucket for a deadline. Creates one if its slot has none.
    fn bucket_for(&mut self, when: Millis) -> u32 {
        if when <= self.present {
            if self.reached.is_empty() {
                let bucket = self.add_bucket(None);
                self.reached.push_back(bucket);
            }
            return self.reached[self.reached.len() - 1];
        }
        let level = ((when.0 ^ self.present.0).ilog2() / SLOT_BITS) as usize;
        let slot = digit(when, level);
        if self.slots[level][slot] == NONE {
            self.slots[level][slot] = self.add_bucket(Some((level as u8, slot as u8)));
            self.occupied[level] |= 1 << slot;
        }
        self.slots[level][slot]
    }

    fn add_bucket(&mut self, slot: Option<(u8, u8)>) -> u32 {
        self.buckets.insert(Bucket {
            slot,
            head: NONE,
            len: 0,
            earliest: Millis(u64::MAX),
            stale: false,
            removed: 0,
        }) as u32
    }
}

/// The six bits of a time that choose its slot on a level.
fn digit(time: Millis, level: usize) -> usize {
    (time.0 >> (SLOT_BITS * level as u32)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const SECOND: u64 = 1000;
    const HOUR: u64 = 3600 * SECOND;
    const DAY: u64 = 24 * HOUR;
    const YEAR: u64 = 365 * DAY;

    /// Times within slots of every level and at their edges.
    const TIMES: [u64; 14] = [
        1,
        SECOND,
        4095,
        4096,
        59_999,
        60 * SECOND,
        HOUR,
        DAY - 1,
        DAY,
        DAY + 1,
        366 * DAY,
        10 * YEAR,
        1 << 48,
        u64::MAX,
    ];

    /// A wheel with timers numbered from 0 that have these deadlines.
    fn wheel_at(present: u64, deadlines: &[u64]) -> Wheel {
        let mut wheel = Wheel::new();
        assert_eq!(pop_all(&mut wheel, present), []);
        for (timer, &when) in (0..).zip(deadlines) {
            wheel.file(timer, Millis(when));
        }
        wheel
    }

    fn pop_all(wheel: &mut Wheel, now: u64) -> Vec<u32> {
        let mut work = usize::MAX;
        std::iter::from_fn(|| wheel.pop(Millis(now), &mut work)).collect()
    }

    fn next(wheel: &mut Wheel) -> Option<u64> {
        wheel.next_deadline().map(|when| when.0)
    }

    #[test]
    fn an_empty_wheel_has_no_deadline() {
        let mut wheel = wheel_at(HOUR, &[DAY]);
        assert_eq!((wheel.len(), next(&mut wheel)), (1, Some(DAY)));
        assert_eq!((wheel.when(0), wheel.when(1)), (Some(Millis(DAY)), None));
        assert!(wheel.iter().eq([(0, Millis(DAY))]));
        wheel.cancel(0);
        wheel.cancel(0);
        wheel.cancel(7);
        assert!(wheel.is_empty());
        assert_eq!((wheel.when(0), wheel.iter().next()), (None, None));
        assert_eq!(next(&mut wheel), None);
        assert_eq!(pop_all(&mut wheel, u64::MAX), []);
    }

    #[test]
    fn a_timer_is_never_early() {
        for present in [0, 1, 4095, DAY - 1, YEAR] {
            for when in TIMES.into_iter().filter(|&when| when > present) {
                let mut wheel = wheel_at(present, &[when]);
                assert_eq!(pop_all(&mut wheel, when - 1), [], "{when} from {present}");
                assert_eq!(pop_all(&mut wheel, when), [0], "{when} from {present}");
            }
        }
    }

    #[test]
    fn sleeping_until_the_next_deadline_meets_each_at_its_millisecond_and_never_wakes_in_vain() {
        for present in [0, 63, 4095, 123_456_789, (1 << 36) - 1, YEAR + 7] {
            let mut deadlines: Vec<u64> = TIMES
                .into_iter()
                .map(|time| time.saturating_add(present))
                .flat_map(|time| [time, time, time.saturating_add(1)])
                .collect();
            let mut wheel = wheel_at(present, &deadlines);
            let mut fired = Vec::new();
            let mut wakes = 0;
            while let Some(now) = next(&mut wheel) {
                let due = pop_all(&mut wheel, now);
                let due: Vec<u64> = due.iter().map(|&t| deadlines[t as usize]).collect();
                assert!(due.iter().all(|&when| when == now), "{due:?} at {now}");
                fired.extend(due);
                wakes += 1;
            }
            deadlines.sort();
            assert_eq!(fired, deadlines, "from {present}");
            deadlines.dedup();
            assert_eq!(wakes, deadlines.len(), "from {present}");
        }
    }

    #[test]
    fn a_timer_filed_again_and_again_does_not_drift() {
        for (period, span) in [(SECOND, DAY / 2), (HOUR, 400 * DAY), (DAY, 20 * YEAR)] {
            let mut wheel = Wheel::new();
            wheel.file(3, Millis(period));
            for round in 1..=span / period {
                assert_eq!(next(&mut wheel), Some(round * period));
                assert_eq!(pop_all(&mut wheel, round * period), [3]);
                wheel.file(3, Millis((round + 1) * period));
            }
        }
    }

    #[test]
    fn a_deadline_in_the_past_fires_at_the_next_pop() {
        for past in [0, 1, HOUR - 1, HOUR] {
            let mut wheel = wheel_at(HOUR, &[past, DAY]);
            assert!(next(&mut wheel) <= Some(HOUR));
            assert_eq!(pop_all(&mut wheel, HOUR), [0]);
            assert_eq!(next(&mut wheel), Some(DAY));
        }
    }

    #[test]
    fn after_the_earliest_timer_is_cancelled_the_next_one_sets_the_deadline() {
        let mut wheel = wheel_at(0, &TIMES);
        for (timer, when) in (0..).zip(TIMES) {
            assert_eq!(next(&mut wheel), Some(when));
            wheel.cancel(timer);
        }
        assert_eq!(next(&mut wheel), None);
    }

    #[test]
    fn after_the_earliest_of_many_timers_is_cancelled_the_deadline_is_never_late() {
        // All within one slot of the fourth level.
        let deadlines: Vec<u64> = (0..1000).map(|i| (1 << 18) + 200 * i).collect();
        let mut wheel = wheel_at(0, &deadlines);
        let mut exact = 0;
        for (timer, when) in (0..).zip(deadlines) {
            let deadline = next(&mut wheel).unwrap();
            assert!((1 << 18) <= deadline && deadline <= when);
            exact += usize::from(deadline == when);
            wheel.cancel(timer);
        }
        assert!(exact > SCAN_LEN as usize, "{exact}");
    }

    #[test]
    fn many_timers_at_one_deadline_are_worked_off_in_slices() {
        const TIMERS: u32 = 100_000;
        const SLICE: usize = 256;
        let mut wheel = Wheel::new();
        let mut left: HashSet<u32> = (0..TIMERS).collect();
        for timer in 0..TIMERS {
            wheel.file(timer, Millis(DAY));
        }
        // A millisecond before the deadline all of them only move down; then all fire.
        for now in [DAY - 1, DAY] {
            for slice in 0..=TIMERS as usize / SLICE {
                assert!(next(&mut wheel) <= Some(now) || slice == 0, "{slice}");
                let (mut work, len) = (SLICE, wheel.len());
                while let Some(timer) = wheel.pop(Millis(now), &mut work) {
                    assert!(left.remove(&timer));
                }
                let looked_at = SLICE - work;
                assert_eq!(looked_at, SLICE.min(TIMERS as usize - slice * SLICE));
                assert_eq!(len - wheel.len(), if now == DAY { looked_at } else { 0 });
            }
            let deadline = (now < DAY).then_some(DAY);
            assert_eq!(next(&mut wheel), deadline);
        }
        assert!(left.is_empty());
    }

    #[test]
    fn a_wheel_that_may_do_no_work_loses_no_timer() {
        const TIMERS: u32 = 70_000;
        let mut wheel = Wheel::new();
        for timer in 0..TIMERS {
            let when = Millis(u64::from(timer) + 1);
            wheel.file(timer, when);
            assert_eq!(wheel.pop(when, &mut 0), None);
        }
        let mut fired = pop_all(&mut wheel, u64::from(TIMERS));
        fired.sort();
        assert!(fired.into_iter().eq(0..TIMERS));
    }

    #[test]
    fn a_timer_filed_again_fires_only_at_its_new_deadline() {
        for (old, new) in [(SECOND, HOUR), (HOUR, SECOND), (HOUR, HOUR)] {
            let mut wheel = wheel_at(0, &[old, DAY]);
            wheel.file(0, Millis(new));
            assert_eq!((wheel.len(), wheel.when(0)), (2, Some(Millis(new))));
            assert_eq!(pop_all(&mut wheel, new - 1), []);
            assert_eq!(pop_all(&mut wheel, HOUR), [0]);
            assert_eq!(pop_all(&mut wheel, DAY), [1]);
        }
    }

    #[test]
    fn shrinking_returns_the_places_after_the_last_timer() {
        let mut wheel = wheel_at(0, &[DAY; 1000]);
        // A timer's number alone decides its place, whenever it was filed.
        (1..1000).for_each(|timer| wheel.cancel(timer));
        wheel.file(0, Millis(HOUR));
        wheel.shrink();
        assert_eq!((wheel.nodes.len(), wheel.nodes.capacity()), (1, 1));
        assert_eq!(pop_all(&mut wheel, DAY), [0]);
        wheel.shrink();
        assert_eq!(wheel.nodes.capacity(), 0);
    }
}
