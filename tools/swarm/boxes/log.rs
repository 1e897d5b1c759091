//! A room's log on one box, as the box's own members get it: all the same lines in the same order.

use std::collections::{BTreeMap, VecDeque};

use super::pair::{Counts, Deed, Life};
use crate::ledger::{Checked, Message};

/// How far behind the newest event that is known another may be before that is out of reason.
const LEAP_MAX: u64 = 1 << 24;

/// An event that somebody has still to get.
#[derive(Default)]
pub struct Entry {
    /// The line with its end; empty as long as nobody has got it.
    pub line: Box<[u8]>,
    /// When it was said, and whether on another box, if it is a message.
    pub said: Option<(u64, bool)>,
}

#[derive(Default)]
pub struct Log {
    /// The number of the first entry; 0 before the first member has joined.
    base: u64,
    entries: VecDeque<Entry>,
    /// Somebody has got each event below this number.
    whole: u64,
    /// The box's own events, life by life; the present one is the last.
    pub lives: Vec<Life>,
    /// The numbers of the events of the present life that are messages, and those that were confirmed.
    said: BTreeMap<u64, Message>,
    confirmed: BTreeMap<u64, Message>,
}

impl Log {
    /// The number behind the newest event that is known.
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// Begins another life of the box. In the former one its senders have said this much.
    pub fn begin_life(&mut self, said: &Counts) {
        if let Some(former) = self.lives.last_mut() {
            former.end = Some(said.clone());
        }
        let lives = std::mem::take(&mut self.lives);
        *self = Log {
            lives,
            ..Log::default()
        };
        self.lives.push(Life::default());
    }

    /// The first member has joined with this event.
    pub fn begin(&mut self, seq: u64) {
        if self.base == 0 {
            (self.base, self.whole) = (seq, seq);
        }
    }

    /// The entry of an event, if somebody has got it.
    pub fn entry(&self, seq: u64) -> Option<&Entry> {
        let entry = self.entries.get(seq.checked_sub(self.base)? as usize);
        entry.filter(|entry| !entry.line.is_empty())
    }

    /// Adds an event that nobody has got before.
    pub fn add(&mut self, seq: u64, entry: Entry) -> Checked<()> {
        let place = seq
            .checked_sub(self.base)
            .ok_or_else(|| format!("event {seq} is older than all that anybody still waits for"))?;
        if seq.saturating_sub(self.end()) > LEAP_MAX {
            let newest = self.end() - 1;
            return Err(format!("event {seq} comes much too soon after {newest}"));
        }
        while self.end() <= seq {
            self.entries.push_back(Entry::default());
        }
        self.entries[place as usize] = entry;
        Ok(())
    }

    /// The line of the next event, in order, if somebody has got it by now.
    pub fn next_line(&mut self) -> Option<Box<[u8]>> {
        let line = self.entry(self.whole)?.line.clone();
        self.whole += 1;
        Some(line)
    }

    /// An event that nobody has got, though others behind it are known.
    pub fn hole(&self) -> Option<u64> {
        (self.whole < self.end()).then_some(self.whole)
    }

    /// Learns that an event is the box's own.
    pub fn tell(&mut self, seq: u64, deed: Deed) -> Checked<()> {
        if let Some(message) = deed.message {
            self.said.insert(seq, message);
            self.compare(seq)?;
        }
        let life = self.lives.last_mut().expect("somebody has joined");
        life.events.push(deed);
        Ok(())
    }

    /// A sender's OK says that its message is this event.
    pub fn confirm(&mut self, seq: u64, message: Message) -> Checked<()> {
        self.confirmed.insert(seq, message);
        self.compare(seq)
    }

    /// Compares what an event is with what its sender's OK says.
    fn compare(&mut self, seq: u64) -> Checked<()> {
        let Some(confirmed) = self.confirmed.get(&seq) else {
            return Ok(());
        };
        match self.said.get(&seq) {
            Some(said) if said == confirmed => {
                self.confirmed.remove(&seq);
                self.said.remove(&seq);
                Ok(())
            }
            None if seq >= self.whole => Ok(()),
            said => Err(format!(
                "event {seq} is {confirmed}, says its sender's OK, and {} to members",
                said.map_or("none".into(), Message::to_string)
            )),
        }
    }

    /// A message that was confirmed and that no member has got.
    pub fn unheard(&self) -> Option<(u64, Message)> {
        let (seq, message) = self.confirmed.first_key_value()?;
        Some((*seq, *message))
    }

    /// Forgets what everybody has got who is to get it: events below this number.
    pub fn trim(&mut self, next: u64) {
        while self.base < next.min(self.whole) && self.entries.pop_front().is_some() {
            self.base += 1;
        }
    }
}
