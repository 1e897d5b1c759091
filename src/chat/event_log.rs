//! One room's events: whole lines of text, oldest first, bounded in bytes.
//!
//! The log numbers its events from 1 without gaps, and drops the oldest when it needs space for new
//! ones. It knows neither who reads it nor what the lines say: each reader has a cursor of its own, the
//! number of the next event that it gets.
//!
//! After a crash of the server, numbers go on behind all that it can have used, and so there is a *gap* in
//! them. Gaps divide the events into *runs*.

use std::collections::VecDeque;
use std::mem;

use crate::allocator::block_bytes;
use crate::protocol::LOG_BYTES_PER_EVENT;
use crate::state::{CHUNK_BYTES, Damage, IMPOSSIBLE, saved};

/// What a log takes at first. A room in which little happens costs little.
const FIRST_BYTES: usize = 512;

/// What an allocator may leave unused between blocks, per log. Tests that search for the most memory
/// have found less.
const UNUSED_BYTES: usize = 1024;

/// A log of up to this size then takes all its memory at once, so that what one log frees fits any
/// other. Pages that are not used yet cost no memory.
///
/// A larger log grows by half: a small machine might not promise it everything. Allocators take blocks
/// of this size from the system one by one, so they move without a copy: mremap(2).
const AT_ONCE_BYTES: usize = 1024 * 1024;

/// A bounded log of event lines, numbered from 1.
#[derive(Debug)]
pub struct EventLog {
    /// The lines of all events held, end to end.
    bytes: VecDeque<u8>,
    /// Where each event held starts, on a count of bytes that wraps around.
    starts: VecDeque<u32>,
    /// Where the next event will start, on the same count.
    end: u32,
    /// The number of the oldest event held, or of the next one if the log is empty.
    first: u64,
    /// The number that the next event will get.
    next: u64,
    /// The gaps, in order. There are events before each.
    gaps: Vec<Gap>,
    bytes_max: usize,
}

/// Numbers that no event has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gap {
    /// The first of them.
    from: u64,
    /// The number behind the last.
    to: u64,
}

impl Gap {
    fn len(self) -> u64 {
        self.to - self.from
    }
}

/// The most gaps that a log has. For one more it drops the events before the oldest.
pub const GAPS_MAX: usize = 16;

impl EventLog {
    /// An empty log that holds at most `bytes_max` bytes of lines, below 4 GiB.
    pub fn new(bytes_max: usize) -> Self {
        EventLog {
            bytes: VecDeque::new(),
            starts: VecDeque::new(),
            end: 0,
            first: 1,
            next: 1,
            gaps: Vec::new(),
            bytes_max,
        }
    }

    /// The number of the oldest event held, or of the next one if the log is empty.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next event will get.
    #[inline(always)]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// The first number from `number` on whose event is held or still to come. What lies before it was
    /// dropped, or is in a gap.
    #[inline(always)]
    pub fn next_held(&self, number: u64) -> u64 {
        self.gap_at(number)
            .map_or(number.max(self.first), |gap| gap.to)
    }

    /// Whether a number is in a gap.
    pub fn is_in_gap(&self, number: u64) -> bool {
        self.gap_at(number).is_some()
    }

    #[inline(always)]
    fn gap_at(&self, number: u64) -> Option<&Gap> {
        self.gaps
            .iter()
            .find(|gap| (gap.from..gap.to).contains(&number))
    }

    /// The end of the run to which event `number` belongs: the number after its last event.
    #[inline(always)]
    pub fn run_end(&self, number: u64) -> u64 {
        match self.gaps.iter().find(|gap| number < gap.to) {
            Some(gap) => gap.from,
            None => self.next(),
        }
    }

    /// How many events are held from number `from` up to, not including, number `to`.
    pub fn count(&self, from: u64, to: u64) -> u64 {
        let held = |number| self.index(number).min(self.starts.len());
        held(to).saturating_sub(held(from)) as u64
    }

    /// The number of the event that comes `count` events before number `to`, or of the oldest one held.
    pub fn before(&self, to: u64, count: u64) -> u64 {
        let index = self.index(to) as u64;
        self.number_at(index.saturating_sub(count) as usize).min(to)
    }

    /// Lets the next event have the number `next`, if that is not given yet. A gap behind which no event
    /// has come grows.
    pub fn skip_to(&mut self, next: u64) {
        if next <= self.next {
            return;
        }
        let from = mem::replace(&mut self.next, next);
        match self.gaps.last_mut() {
            Some(gap) if gap.to == from => gap.to = next,
            _ => {
                while self.gaps.len() >= GAPS_MAX {
                    self.drop_first();
                }
                self.gaps.push(Gap { from, to: next });
                self.close_gap();
            }
        }
    }

    /// How many bytes of lines it holds.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a line with its end, and drops the oldest lines if it needs their space.
    ///
    /// A line that is longer than the whole log stays there alone.
    pub fn append(&mut self, line: &[u8]) {
        let events_max = Self::events_max(self.bytes_max);
        while !self.starts.is_empty()
            && (self.bytes.len() + line.len() > self.bytes_max || self.starts.len() >= events_max)
        {
            self.drop_first();
        }
        grow(&mut self.bytes, line.len(), FIRST_BYTES, self.bytes_max);
        self.bytes.extend(line);
        let first_events = FIRST_BYTES / LOG_BYTES_PER_EVENT;
        grow(&mut self.starts, 1, first_events, events_max);
        self.starts.push_back(self.end);
        self.end = self.end.wrapping_add(line.len() as u32);
        // While a log is loaded, there may be gaps in front.
        self.next = self.next_held(self.next + 1);
    }

    /// The bytes of the events from number `from` up to, not including, number `to`, as two slices, since the
    /// log is a ring.
    ///
    /// If the log has dropped the first of them, they begin with the oldest one held.
    pub fn range(&self, from: u64, to: u64) -> [&[u8]; 2] {
        let end = match to == self.next() {
            true => self.bytes.len(),
            false => self.offset(to),
        };
        let start = self.offset(from);
        let (head, tail) = self.bytes.as_slices();
        let within = |slice: &'_ [u8], skipped: usize| {
            let bound = |at: usize| at.saturating_sub(skipped).min(slice.len());
            bound(start)..bound(end)
        };
        [&head[within(head, 0)], &tail[within(tail, head.len())]]
    }

    /// How many bytes the events from number `from` on take.
    pub fn tail_bytes(&self, from: u64) -> usize {
        self.bytes.len() - self.offset(from)
    }

    /// The end of as many events from number `from` on as there are in its run, at most `events_max` and of
    /// at most `bytes_max` bytes: the number after the last of them.
    pub fn fit(&self, from: u64, events_max: u64, bytes_max: usize) -> u64 {
        let start = self.offset(from);
        let mut to = from.saturating_add(events_max).min(self.run_end(from));
        if self.offset(to) - start > bytes_max {
            to = self.event_at(start + bytes_max);
        }
        to
    }

    /// The beginning of as many events as possible, between numbers `from` and `to`, that end
    /// before `to` and have at most `bytes_max` bytes: the number of the first of them.
    pub fn fit_back(&self, from: u64, to: u64, bytes_max: usize) -> u64 {
        let end = self.offset(to);
        let start = end.saturating_sub(bytes_max);
        let before = (self.starts).partition_point(|&begins| self.distance(begins) < start);
        self.number_at(before).max(from).min(to)
    }

    /// Where a reader is after `bytes` bytes from the start of event `from` on: the number of the first
    /// event of which it has nothing, and how many bytes it lacks of the one before.
    pub fn advance(&self, from: u64, bytes: usize) -> (u64, usize) {
        let at = self.offset(from) + bytes;
        let end = self.run_end(from);
        let run_bytes = match end == self.next() {
            true => self.bytes.len(),
            false => self.offset(end),
        };
        if at >= run_bytes {
            return (end, 0);
        }
        let within = self.event_at(at);
        let missing = match at - self.offset(within) {
            0 => return (within, 0),
            _ => self.offset(within + 1) - at,
        };
        (within + 1, missing)
    }

    /// The number of the event to which the byte at an offset belongs.
    fn event_at(&self, offset: usize) -> u64 {
        let after = self
            .starts
            .partition_point(|&start| self.distance(start) <= offset);
        self.number_at(after - 1)
    }

    /// Where an event is among those held. A number of a gap stands for the event behind it.
    #[inline(always)]
    fn index(&self, number: u64) -> usize {
        let mut index = number.saturating_sub(self.first);
        for gap in self.gaps.iter().take_while(|gap| gap.from <= number) {
            index -= number.min(gap.to) - gap.from;
        }
        usize::try_from(index).unwrap_or(usize::MAX)
    }

    /// The number of the event at an index.
    #[inline(always)]
    fn number_at(&self, index: usize) -> u64 {
        let number = self.first + index as u64;
        (self.gaps.iter()).fold(number, |number, gap| match number < gap.from {
            true => number,
            false => number + gap.len(),
        })
    }

    /// Where an event starts in `bytes`. For an event that is not held, the nearer end of `bytes`.
    fn offset(&self, number: u64) -> usize {
        match self.starts.get(self.index(number)) {
            Some(&start) => self.distance(start),
            None => self.bytes.len(),
        }
    }

    /// The most memory that a log of `bytes_max` bytes takes, in bytes. This includes what it took at
    /// first, since nothing else may fit there.
    pub fn memory_bytes_max(bytes_max: usize) -> usize {
        let block = |bytes: usize| block_bytes(bytes as u64) as usize;
        let rings = |bytes, events| block(bytes) + block(events * size_of::<u32>());
        rings(FIRST_BYTES, FIRST_BYTES / LOG_BYTES_PER_EVENT)
            + rings(bytes_max, Self::events_max(bytes_max))
            + block(GAPS_MAX * size_of::<Gap>())
            + UNUSED_BYTES
    }

    /// The most events that a log of `bytes_max` bytes holds, however short they are: one for every
    /// [`LOG_BYTES_PER_EVENT`] bytes, and eight more, even in the smallest log.
    pub fn events_max(bytes_max: usize) -> usize {
        bytes_max / LOG_BYTES_PER_EVENT + 8
    }

    /// How many bytes lie between the first byte held and a start.
    fn distance(&self, start: u32) -> usize {
        let base = self.starts.front().copied().unwrap_or(self.end);
        start.wrapping_sub(base) as usize
    }

    fn drop_first(&mut self) {
        let second = self.starts.get(1);
        let len = second.map_or(self.bytes.len(), |&start| self.distance(start));
        self.bytes.drain(..len);
        self.starts.pop_front();
        self.first += 1;
        if !self.gaps.is_empty() {
            self.close_gap();
        }
    }

    /// Forgets the first gap if no event is held before it.
    #[cold]
    fn close_gap(&mut self) {
        if let Some(gap) = self.gaps.first().filter(|gap| gap.from == self.first) {
            self.first = gap.to;
            self.gaps.remove(0);
            if self.gaps.is_empty() {
                self.gaps = Vec::new();
            }
        }
    }
}

/// Makes space for `more` items: `first` at first, and then up to `bound` at once, unless that is too
/// much.
fn grow<T>(ring: &mut VecDeque<T>, more: usize, first: usize, bound: usize) {
    let needed = ring.len() + more;
    if needed > ring.capacity() {
        let grown = match needed <= first {
            true => first,
            false => (ring.capacity() * 3 / 2).max(AT_ONCE_BYTES / size_of::<T>()),
        };
        let wanted = grown.min(bound).max(needed);
        ring.reserve_exact(wanted - ring.len());
    }
}

/// The largest number that an event can have. No server comes near it, but a state may say so.
pub const NUMBER_MAX: u64 = 1 << 62;

saved!(struct Gap { from, to });

/// What a log of a state is besides its lines.
#[derive(Debug)]
pub struct LogHead {
    first: u64,
    gaps: Vec<Gap>,
    next: u64,
}

saved!(struct LogHead { first, gaps, next });

impl LogHead {
    /// The number that the next event gets.
    pub fn next(&self) -> u64 {
        self.next
    }
}

impl EventLog {
    /// What it is besides its lines.
    pub fn head(&self) -> LogHead {
        LogHead {
            first: self.first,
            gaps: self.gaps.clone(),
            next: self.next(),
        }
    }

    /// Its lines in pieces that a record holds.
    pub fn pieces(&self) -> impl Iterator<Item = [&[u8]; 2]> {
        let mut from = self.first;
        std::iter::from_fn(move || {
            from = self.next_held(from);
            let start = from;
            let fits = self.fit(from, u64::MAX, CHUNK_BYTES);
            from = fits.max((start + 1).min(self.run_end(start)));
            (start < from).then(|| self.range(start, from))
        })
    }

    /// An empty log of at most `bytes_max` bytes, in place of one that had this head.
    ///
    /// # Errors
    ///
    /// If no log has such a head.
    pub fn with_head(head: LogHead, bytes_max: usize) -> Result<EventLog, Damage> {
        let LogHead { first, gaps, next } = head;
        let mut end = first;
        for gap in &gaps {
            if gap.from <= end || gap.to <= gap.from {
                return Err(IMPOSSIBLE);
            }
            end = gap.to;
        }
        if first == 0 || end > next || next > NUMBER_MAX + 1 || gaps.len() > GAPS_MAX {
            return Err(IMPOSSIBLE);
        }
        Ok(EventLog {
            first,
            next: first,
            gaps,
            ..EventLog::new(bytes_max)
        })
    }

    /// Drops everything, and goes on behind event `number`, the next that it would get.
    pub fn drop_up_to(&mut self, number: u64) {
        while !self.starts.is_empty() {
            self.drop_first();
        }
        self.first = number + 1;
        self.close_gap();
        self.next = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl EventLog {
        /// The bytes of all events from number `from` on up to the end of its run, as two slices.
        fn tail(&self, from: u64) -> [&[u8]; 2] {
            self.range(from, self.run_end(from))
        }
    }

    fn log_of(bytes_max: usize, lines: &[&str]) -> EventLog {
        let mut log = EventLog::new(bytes_max);
        lines.iter().for_each(|line| log.append(line.as_bytes()));
        log
    }

    fn text(slices: [&[u8]; 2]) -> String {
        String::from_utf8(slices.concat()).unwrap()
    }

    #[test]
    fn the_first_event_is_number_1() {
        let log = log_of(100, &[]);
        assert_eq!((log.first(), log.next(), log.len_bytes()), (1, 1, 0));
        assert_eq!((text(log.tail(1)), log.tail_bytes(1)), (String::new(), 0));
        assert_eq!((log.fit(1, 9, 9), log.advance(1, 0)), (1, (1, 0)));
        let log = log_of(100, &["one\n"]);
        assert_eq!((log.first(), log.next(), log.len_bytes()), (1, 2, 4));
        assert_eq!(text(log.tail(1)), "one\n");
    }

    #[test]
    fn the_oldest_events_make_space_for_the_newest() {
        let mut log = log_of(12, &["one\n", "two\n", "six\n"]);
        assert_eq!((log.first(), log.next(), log.len_bytes()), (1, 4, 12));
        log.append(b"ten\n");
        assert_eq!((log.first(), log.next()), (2, 5));
        log.append(b"eleven\n");
        assert_eq!((log.first(), log.next()), (4, 6));
        assert_eq!(text(log.tail(4)), "ten\neleven\n");
    }

    #[test]
    fn a_line_longer_than_the_log_stays_there_alone() {
        let mut log = log_of(8, &["one\n", "two\n", "much too long\n"]);
        assert_eq!((log.first(), log.next()), (3, 4));
        assert_eq!(text(log.tail(3)), "much too long\n");
        log.append(b"three\n");
        assert_eq!((log.first(), log.next(), log.len_bytes()), (4, 5, 6));
    }

    #[test]
    fn a_tail_that_goes_around_the_ring_comes_in_two_slices() {
        let mut log = log_of(17, &[]);
        let mut split = 0;
        for _ in 0..100 {
            log.append(b"seven\n");
            let [head, tail] = log.tail(log.next() - 1);
            assert_eq!([head, tail].concat(), b"seven\n");
            split += usize::from(!head.is_empty() && !tail.is_empty());
        }
        assert!(split > 10, "{split}");
    }

    #[test]
    fn a_log_takes_no_more_memory_than_its_bound_while_lines_fit_into_it() {
        for bytes_max in [10, 255, 256, 257, 1000, 5000] {
            let mut log = EventLog::new(bytes_max);
            assert_eq!(log.bytes.capacity(), 0);
            for len in (1..=bytes_max.min(600)).chain([10; 600]) {
                log.append(&vec![b'x'; len]);
                assert!(log.len_bytes() <= bytes_max);
                assert!(log.bytes.capacity() <= bytes_max, "{bytes_max}");
            }
        }
    }

    #[test]
    fn a_log_takes_little_at_first_and_then_everything_unless_it_is_large() {
        for bytes_max in [4096, 5000, 64 * 1024, AT_ONCE_BYTES] {
            let mut log = EventLog::new(bytes_max);
            log.append(b"one\n");
            let first = (FIRST_BYTES, FIRST_BYTES / LOG_BYTES_PER_EVENT);
            assert_eq!((log.bytes.capacity(), log.starts.capacity()), first);
            (0..20).for_each(|_| log.append(&[b'x'; 30]));
            let taken = (log.bytes.capacity(), log.starts.capacity());
            assert_eq!(taken, (bytes_max, EventLog::events_max(bytes_max)));
            (0..2 * bytes_max / 30).for_each(|_| log.append(&[b'x'; 30]));
            assert_eq!((log.bytes.capacity(), log.starts.capacity()), taken);
        }
        let mut log = EventLog::new(1 << 30);
        log.append(&[b'x'; 1000]);
        assert_eq!(log.bytes.capacity(), AT_ONCE_BYTES);
        let mut grown = 0;
        for _ in 0..3000 {
            let before = log.bytes.capacity();
            log.append(&[b'x'; 1000]);
            grown += usize::from(log.bytes.capacity() > before);
        }
        assert!(log.bytes.capacity() < 2 * log.len_bytes());
        assert!(grown < 5, "{grown} times");
    }

    #[test]
    fn the_count_of_bytes_wraps_around_unnoticed() {
        for before in 0..20 {
            let mut log = EventLog::new(16);
            log.end = u32::MAX - before;
            log.append(b"three\n");
            for _ in 0..8 {
                log.append(b"one\n");
                log.append(b"three\n");
                let first = log.first();
                assert_eq!(log.next() - first, 3);
                assert_eq!(text(log.range(first + 1, first + 2)), "one\n");
                assert_eq!(log.tail_bytes(first + 1), 10);
                assert_eq!(log.advance(first, 7), (first + 2, 3));
                assert_eq!(log.fit(first, 9, 10), first + 2);
            }
        }
    }

    #[test]
    fn the_tail_begins_with_the_oldest_event_held_and_ends_with_the_newest() {
        let log = log_of(8, &["one\n", "two\n", "six\n"]);
        for (from, tail) in [(0, "two\nsix\n"), (1, "two\nsix\n"), (3, "six\n")] {
            assert_eq!(text(log.tail(from)), tail, "{from}");
        }
        for to_come in [4, 5, u64::MAX] {
            assert_eq!(text(log.tail(to_come)), "", "{to_come}");
        }
    }

    #[test]
    fn a_batch_ends_at_the_bound_that_comes_first() {
        let log = log_of(100, &["one\n", "two\n", "three\n", "four\n"]);
        for (from, events_max, bytes_max, to) in [
            (1, 9, 100, 5),
            (1, u64::MAX, 19, 5),
            (1, 9, 18, 4),
            (1, 9, 8, 3),
            (1, 9, 7, 2),
            (1, 1, 100, 2),
            (1, 0, 100, 1),
            (1, 9, 3, 1),
            (1, 9, 0, 1),
            (3, 9, 6, 4),
            (3, 9, 5, 3),
            (5, 9, 100, 5),
        ] {
            let fit = log.fit(from, events_max, bytes_max);
            assert_eq!(
                fit, to,
                "{events_max} events, {bytes_max} bytes from {from}"
            );
        }
    }

    #[test]
    fn a_batch_of_the_newest_begins_where_its_bytes_allow() {
        let log = log_of(100, &["one\n", "two\n", "three\n", "four\n"]);
        for (from, to, bytes_max, first) in [
            (1, 5, 100, 1),
            (1, 5, 19, 1),
            (1, 5, 18, 2),
            (1, 5, 11, 3),
            (1, 5, 5, 4),
            (1, 5, 4, 5),
            (1, 4, 6, 3),
            (2, 5, 100, 2),
            (5, 5, 100, 5),
        ] {
            assert_eq!(
                log.fit_back(from, to, bytes_max),
                first,
                "{from}..{to}, {bytes_max}"
            );
        }
    }

    #[test]
    fn a_reader_that_stops_within_a_line_learns_how_much_of_it_is_missing() {
        let log = log_of(100, &["one\n", "two\n", "three\n"]);
        for (from, bytes, reached) in [
            (1, 0, (1, 0)),
            (1, 1, (2, 3)),
            (1, 3, (2, 1)),
            (1, 4, (2, 0)),
            (1, 5, (3, 3)),
            (2, 4, (3, 0)),
            (2, 9, (4, 1)),
            (2, 10, (4, 0)),
            (4, 0, (4, 0)),
        ] {
            assert_eq!(log.advance(from, bytes), reached, "{bytes} from {from}");
        }
    }

    /// What a log has to be like: each event held with its number and its line.
    struct Model {
        held: Vec<(u64, String)>,
        next: u64,
        /// Their first numbers, and the first ones behind them.
        gaps: Vec<(u64, u64)>,
        bytes_max: usize,
    }

    impl Model {
        fn first(&self) -> u64 {
            self.held.first().map_or(self.next, |&(number, _)| number)
        }

        fn drop_first(&mut self) {
            self.held.remove(0);
            self.close_gaps();
        }

        fn close_gaps(&mut self) {
            let first = self.first();
            self.gaps.retain(|&(from, _)| first < from);
        }

        fn append(&mut self, line: &str) {
            let is_full = |held: &[(u64, String)]| {
                let bytes: usize = held.iter().map(|(_, line)| line.len()).sum();
                let events_max = EventLog::events_max(self.bytes_max);
                bytes + line.len() > self.bytes_max || held.len() >= events_max
            };
            while !self.held.is_empty() && is_full(&self.held) {
                self.held.remove(0);
            }
            self.held.push((self.next, line.to_owned()));
            self.next += 1;
            self.close_gaps();
        }

        fn skip_to(&mut self, next: u64) {
            if next <= self.next {
                return;
            }
            match self.gaps.last_mut() {
                Some((_, to)) if *to == self.next => *to = next,
                _ => {
                    while self.gaps.len() >= GAPS_MAX {
                        self.drop_first();
                    }
                    self.gaps.push((self.next, next));
                }
            }
            self.next = next;
            self.close_gaps();
        }

        fn drop_up_to(&mut self, number: u64) {
            self.held.clear();
            // Nothing is held before a gap any more.
            (self.next, self.gaps) = (number + 1, Vec::new());
        }

        /// The events from one number up to, not including, another.
        fn between(&self, from: u64, to: u64) -> Vec<&(u64, String)> {
            let is_there = |event: &&(u64, String)| (from..to).contains(&event.0);
            self.held.iter().filter(is_there).collect()
        }

        fn text(&self, from: u64, to: u64) -> String {
            let lines = self.between(from, to).into_iter();
            lines.map(|(_, line)| line.as_str()).collect()
        }

        fn run_end(&self, number: u64) -> u64 {
            let gap = self.gaps.iter().find(|&&(_, to)| number < to);
            gap.map_or(self.next, |&(from, _)| from)
        }

        fn is_in_gap(&self, number: u64) -> bool {
            let mut gaps = self.gaps.iter();
            gaps.any(|&(from, to)| from <= number && number < to)
        }

        fn next_held(&self, number: u64) -> u64 {
            let next = self.between(number, u64::MAX);
            let next = next.first().map_or(self.next, |event| event.0);
            next.max(number)
        }

        fn before(&self, to: u64, count: usize) -> u64 {
            let earlier = self.between(0, to);
            match count {
                0 => to,
                _ => (earlier.get(earlier.len().saturating_sub(count))).map_or(to, |event| event.0),
            }
        }

        fn fit(&self, from: u64, events_max: u64, bytes_max: usize) -> u64 {
            let end = from.saturating_add(events_max).min(self.run_end(from));
            let fits = |&to: &u64| self.text(from, to).len() <= bytes_max;
            (from..=end).take_while(fits).last().unwrap()
        }

        fn fit_back(&self, from: u64, to: u64, bytes_max: usize) -> u64 {
            let fits = |&start: &u64| self.text(start, to).len() <= bytes_max;
            (from..=to).find(fits).unwrap()
        }

        fn advance(&self, from: u64, bytes: usize) -> (u64, usize) {
            let end = self.run_end(from);
            let len = |to: u64| self.text(from, to).len();
            let to = (from..=end).find(|&to| len(to) >= bytes).unwrap_or(end);
            (to, len(to).saturating_sub(bytes))
        }

        fn assert_like(&self, log: &EventLog, rng: &mut fastrand::Rng) {
            assert_eq!((log.first(), log.next()), (self.first(), self.next));
            let bytes = self.text(0, u64::MAX).len();
            assert_eq!(log.len_bytes(), bytes);
            let (oldest, next) = (self.first().saturating_sub(3), self.next);
            let number = |rng: &mut fastrand::Rng| match rng.u8(..3) {
                0 => (rng.choice(&self.gaps)).map_or(next, |&(from, to)| rng.u64(from - 1..=to)),
                1 => rng.u64(oldest..=next),
                _ => rng.choice(&self.held).map_or(next, |event| event.0),
            };
            for _ in 0..6 {
                let (a, b) = (number(rng), number(rng));
                let (from, to) = (a.min(b), a.max(b));
                let what = format!("{from} to {to}, gaps {:?}", self.gaps);
                assert_eq!(log.next_held(a), self.next_held(a), "{a}: {what}");
                assert_eq!(log.run_end(a), self.run_end(a), "{a}: {what}");
                assert_eq!(log.is_in_gap(a), self.is_in_gap(a), "{a}: {what}");
                let between = self.between(from, to).len() as u64;
                assert_eq!(log.count(from, to), between, "{what}");
                assert_eq!(text(log.range(from, to)), self.text(from, to), "{what}");
                assert_eq!(log.tail_bytes(a), self.text(a, u64::MAX).len(), "{what}");
                let count = rng.usize(..6);
                let before = self.before(a, count);
                assert_eq!(log.before(a, count as u64), before, "{count} before {a}");

                let (from, bytes) = (self.next_held(a), rng.usize(..40));
                let events_max = rng.u64(..6);
                let end = self.run_end(from);
                assert_eq!(text(log.tail(from)), self.text(from, end), "{what}");
                let fit = self.fit(from, events_max, bytes);
                assert_eq!(log.fit(from, events_max, bytes), fit, "{what}");
                assert_eq!(log.advance(from, bytes), self.advance(from, bytes));
                let to = self.next_held(b).max(from);
                let back = self.next_held(self.fit_back(from, to, bytes));
                assert_eq!(log.fit_back(from, to, bytes), back, "{from} to {to}");
            }
        }
    }

    fn saved_and_loaded(log: &EventLog) -> EventLog {
        let mut loaded = EventLog::with_head(log.head(), log.bytes_max).unwrap();
        for piece in log.pieces() {
            for line in text(piece).split_inclusive('\n') {
                loaded.append(line.as_bytes());
            }
        }
        assert_eq!(log.head().next(), loaded.next());
        loaded
    }

    #[test]
    fn a_log_with_gaps_is_like_its_model() {
        for seed in 0..30 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let bytes_max = [20, 60, 200][rng.usize(..3)];
            let mut log = EventLog::new(bytes_max);
            let mut model = Model {
                held: Vec::new(),
                next: 1,
                gaps: Vec::new(),
                bytes_max,
            };
            for _ in 0..120 {
                match rng.u8(..24) {
                    0 => {
                        let next = model.next + rng.u64(..9);
                        log.skip_to(next);
                        model.skip_to(next);
                    }
                    1 => log = saved_and_loaded(&log),
                    2 if rng.u8(..4) == 0 => {
                        let next = model.next;
                        log.drop_up_to(next);
                        model.drop_up_to(next);
                    }
                    _ => {
                        let line = "x".repeat(rng.usize(..12)) + "\n";
                        log.append(line.as_bytes());
                        model.append(&line);
                    }
                }
                model.assert_like(&log, &mut rng);
            }
        }
    }

    #[test]
    fn a_gap_grows_while_nothing_comes_behind_it() {
        let mut log = log_of(100, &["one\n", "two\n"]);
        log.skip_to(10);
        log.skip_to(20);
        log.skip_to(15);
        assert_eq!((log.first(), log.next(), log.len_bytes()), (1, 20, 8));
        assert_eq!(
            (log.next_held(3), log.run_end(1), log.count(1, 20)),
            (20, 3, 2)
        );
        log.append(b"three\n");
        log.skip_to(30);
        assert_eq!((log.before(20, 1), log.before(30, 2)), (2, 2));
        assert_eq!((log.next_held(3), log.run_end(3)), (20, 3));
        assert_eq!((log.next_held(21), log.run_end(20)), (30, 21));
    }

    #[test]
    fn a_log_has_a_bounded_number_of_gaps() {
        let mut log = EventLog::new(1000);
        for number in 0..=GAPS_MAX as u64 {
            assert_eq!((log.first(), log.next()), (1, 10 * number + 1));
            log.append(b"one\n");
            log.append(b"two\n");
            log.skip_to(10 * number + 11);
        }
        // The events before the first gap made way for one more.
        assert_eq!((log.first(), log.len_bytes()), (11, 2 * 4 * GAPS_MAX));
    }

    /// As when a state is loaded with other limits.
    #[test]
    fn a_log_whose_line_is_dropped_while_it_is_loaded_keeps_its_gap() {
        let mut log = log_of(100, &["one\n", "two\n", "three\n"]);
        log.skip_to(10);
        for (dropped, next) in [(1, 2), (3, 10)] {
            let mut loaded = EventLog::with_head(log.head(), 100).unwrap();
            for line in &["one\n", "two\n", "three\n"][..dropped - 1] {
                loaded.append(line.as_bytes());
            }
            loaded.drop_up_to(dropped as u64);
            assert_eq!(
                (loaded.first(), loaded.next(), loaded.len_bytes()),
                (next, next, 0)
            );
        }
    }

    #[test]
    fn an_impossible_head_is_refused() {
        let good = |first, gaps: &[(u64, u64)], next| {
            let gaps = gaps.iter().map(|&(from, to)| Gap { from, to }).collect();
            EventLog::with_head(LogHead { first, gaps, next }, 100).is_ok()
        };
        assert!(good(1, &[], 1) && good(5, &[], NUMBER_MAX + 1));
        assert!(good(1, &[(2, 3)], 3) && good(7, &[(9, 20), (21, 30)], 31));
        assert!(!good(0, &[], 1) && !good(5, &[], 4) && !good(1, &[], NUMBER_MAX + 2));
        assert!(!good(2, &[(2, 3)], 3) && !good(1, &[(3, 3)], 3) && !good(1, &[(2, 4)], 3));
        assert!(!good(1, &[(3, 5), (5, 7)], 9) && !good(1, &[(3, 5), (4, 7)], 9));
        let many: Vec<_> = (1..=GAPS_MAX as u64 + 1)
            .map(|n| (3 * n, 3 * n + 1))
            .collect();
        assert!(good(1, &many[1..], 100) && !good(1, &many, 100));
    }
}
