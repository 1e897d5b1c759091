//! One room's events: whole lines of text, oldest first, bounded in bytes.
//!
//! The log numbers its events from 1 without gaps and drops the oldest to make room for the
//! newest. Who reads it keeps a cursor: the number of the event to be given next. The log knows
//! neither its readers nor what the lines say.

use std::collections::VecDeque;

/// Bytes that a log takes from the allocator at first; it grows as it fills.
const INITIAL_BYTES: usize = 256;

/// A bounded log of event lines, numbered from 1.
#[derive(Debug)]
pub struct EventLog {
    /// The lines of all events held, end to end.
    bytes: VecDeque<u8>,
    /// Where each event held starts, on a count of bytes that wraps around.
    starts: VecDeque<u32>,
    /// Where the next event will start, on the same count.
    end: u32,
    /// The number of the oldest event held, or of the next one if none is.
    first: u64,
    bytes_max: usize,
}

impl EventLog {
    /// An empty log that will hold at most `bytes_max` bytes of lines, below 4 GiB.
    pub fn new(bytes_max: usize) -> Self {
        EventLog {
            bytes: VecDeque::new(),
            starts: VecDeque::new(),
            end: 0,
            first: 1,
            bytes_max,
        }
    }

    /// The number of the oldest event held; of the next one if none is.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// The number that the next event will get.
    pub fn next(&self) -> u64 {
        self.first + self.starts.len() as u64
    }

    /// How many bytes of lines are held.
    pub fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Appends a line with its end, dropping the oldest ones as far as room is needed.
    ///
    /// A line that is longer than the whole log is kept alone.
    pub fn append(&mut self, line: &[u8]) {
        while !self.starts.is_empty() && self.bytes.len() + line.len() > self.bytes_max {
            self.drop_first();
        }
        let needed = self.bytes.len() + line.len();
        if needed > self.bytes.capacity() {
            // Double, but not past the bound, as `VecDeque` would.
            let doubled = (self.bytes.capacity() * 2).max(INITIAL_BYTES);
            let wanted = doubled.min(self.bytes_max).max(needed);
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend(line);
        self.starts.push_back(self.end);
        self.end = self.end.wrapping_add(line.len() as u32);
    }

    /// The bytes of all events from number `from` on: two slices, since the log is a ring.
    ///
    /// Empty for an event that is not held.
    pub fn tail(&self, from: u64) -> [&[u8]; 2] {
        self.range(from, self.next())
    }

    /// The bytes of the events from number `from` up to, not including, number `to`.
    pub fn range(&self, from: u64, to: u64) -> [&[u8]; 2] {
        let (start, end) = (self.offset(from), self.offset(to));
        let (head, tail) = self.bytes.as_slices();
        let part = |slice: &'_ [u8], skipped: usize| {
            let bound = |at: usize| at.saturating_sub(skipped).min(slice.len());
            bound(start)..bound(end)
        };
        [&head[part(head, 0)], &tail[part(tail, head.len())]]
    }

    /// How many bytes the events from number `from` on take.
    pub fn tail_bytes(&self, from: u64) -> usize {
        self.bytes.len() - self.offset(from)
    }

    /// The end of the longest run of events from number `from` on that has at most `events_max`
    /// events and `bytes_max` bytes: the number behind its last event.
    pub fn fit(&self, from: u64, events_max: u64, bytes_max: usize) -> u64 {
        let start = self.offset(from);
        let mut to = from.saturating_add(events_max).min(self.next());
        if self.offset(to) - start > bytes_max {
            to = self.event_at(start + bytes_max);
        }
        to
    }

    /// Where a reader stands who took `bytes` bytes from the start of event `from` on: the number
    /// of the first event he has taken nothing of, and how many bytes of the one before he lacks.
    pub fn advance(&self, from: u64, bytes: usize) -> (u64, usize) {
        let at = self.offset(from) + bytes;
        if at >= self.bytes.len() {
            return (self.next(), 0);
        }
        let within = self.event_at(at);
        let missing = match at - self.offset(within) {
            0 => return (within, 0),
            _ => self.offset(within + 1) - at,
        };
        (within + 1, missing)
    }

    /// The number of the event that the byte at an offset belongs to.
    fn event_at(&self, offset: usize) -> u64 {
        let behind = self
            .starts
            .partition_point(|&start| self.distance(start) <= offset);
        self.first + behind as u64 - 1
    }

    /// Where an event starts in `bytes`; the nearer end of them for one that is not held.
    fn offset(&self, number: u64) -> usize {
        let index = number.saturating_sub(self.first) as usize;
        match self.starts.get(index) {
            Some(&start) => self.distance(start),
            None => self.bytes.len(),
        }
    }

    fn distance(&self, start: u32) -> usize {
        let base = self.starts.front().copied().unwrap_or(self.end);
        start.wrapping_sub(base) as usize
    }

    fn drop_first(&mut self) {
        let len = self.offset(self.first + 1);
        self.bytes.drain(..len);
        self.starts.pop_front();
        self.first += 1;
    }
}
