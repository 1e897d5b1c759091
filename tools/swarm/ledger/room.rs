//! What is known of one room's events that somebody has still to get.

use std::collections::VecDeque;
use std::fmt;

use super::{Checked, Form};

/// How far behind the newest event that is known another may be before that is out of reason.
const LEAP_MAX: u64 = 1 << 24;

/// One message: the how-manieth of which sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    pub sender: u32,
    pub number: u32,
}

/// What an event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// Nobody has got it yet.
    Unknown,
    /// Nothing of ours: JOINED, LEFT.
    Other,
    Said(Message),
}

pub struct Entry {
    pub what: What,
    /// Its sender got an OK with this number.
    pub is_confirmed: bool,
    pub stamp_us: u64,
    /// The line with its end, from when somebody gets it; empty before.
    line: Box<[u8]>,
    /// The same as people see it.
    shown: Box<[u8]>,
    /// Receivers that have still to get it.
    pub awaited: u32,
    /// Pull sessions that have still to get it.
    pub unpolled: u32,
}

#[derive(Default)]
pub struct Room {
    /// The number of the first entry.
    pub base: u64,
    pub entries: VecDeque<Entry>,
    /// The newest event that is the JOINED of one of ours.
    pub joined: u64,
    /// The first event that all are to get.
    pub opened: u64,
    /// Those who are to get each event; none is known while members still join.
    pub receivers: Option<u32>,
    pub pulls: u32,
    /// Entries that were passed over and never learnt.
    pub holes: u64,
}

impl Room {
    /// The number behind the newest event that is known.
    pub fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The place of an event in the entries, which are made as needed.
    pub fn place(&mut self, seq: u64) -> Checked<usize> {
        let place = seq
            .checked_sub(self.base)
            .ok_or_else(|| format!("event {seq} is older than all that anybody still waits for"))?;
        if seq.saturating_sub(self.end()) > LEAP_MAX || seq > u64::from(u32::MAX) {
            return Err(format!(
                "event {seq} comes much too soon after {}",
                self.end() - 1
            ));
        }
        while self.end() <= seq {
            self.holes += 1;
            self.entries.push_back(Entry {
                what: What::Unknown,
                is_confirmed: false,
                stamp_us: 0,
                line: Box::default(),
                shown: Box::default(),
                awaited: self.receivers.unwrap_or(u32::MAX),
                unpolled: self.pulls,
            });
        }
        Ok(place as usize)
    }

    /// Forgets the oldest entries that nobody waits for.
    pub fn trim(&mut self) {
        while let Some(entry) = self.entries.front() {
            let is_unheard = matches!(entry.what, What::Said(_)) && !entry.is_confirmed;
            if entry.awaited > 0 || entry.unpolled > 0 || is_unheard {
                break;
            }
            self.entries.pop_front();
            self.base += 1;
        }
    }
}

impl Entry {
    /// What a session gets that gets events in this form, if that is known; else nothing.
    pub fn text(&self, form: Form) -> &[u8] {
        match form {
            Form::Push | Form::Pull => &self.line,
            Form::Talk => &self.shown,
        }
    }

    pub fn text_mut(&mut self, form: Form) -> &mut Box<[u8]> {
        match form {
            Form::Push | Form::Pull => &mut self.line,
            Form::Talk => &mut self.shown,
        }
    }

    /// Takes one off those who wait for it; true if that completes a message.
    pub fn pass(&mut self, form: Form) -> bool {
        if form == Form::Pull {
            self.unpolled = self.unpolled.saturating_sub(1);
            return false;
        }
        self.awaited = self.awaited.saturating_sub(1);
        self.awaited == 0 && self.is_confirmed
    }
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {} of s{}", self.number, self.sender)
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Unknown => f.write_str("unknown"),
            What::Other => f.write_str("none of the messages"),
            What::Said(message) => message.fmt(f),
        }
    }
}
