//! When which message is said, and its text.

use std::collections::BTreeSet;
use std::io::Write;

use crate::conn::Conn;
use crate::ledger::{Message, PADDING};
use crate::options::{Pace, Plan};

/// A sender says nothing more while this many bytes wait for its connection to take them.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// All senders. Message `n` of sender `i` is number `n * senders + i` of all, which with a rate
/// says when it is due.
pub struct Senders {
    pace: Pace,
    size: usize,
    /// How many messages each has said.
    said: Vec<u32>,
    start_us: u64,
    run_us: u64,
    /// With a rate: how many messages are due. With a window: whose turn it is.
    cursor: u64,
    /// Those who are behind, because their connections did not take what was due.
    behind: BTreeSet<u32>,
    /// Those who have something to be written, as often as they said something.
    pub spoke: Vec<u32>,
    pub messages: u64,
}

impl Senders {
    pub fn new(plan: &Plan) -> Senders {
        Senders {
            pace: plan.pace(),
            size: plan.size,
            said: vec![0; plan.senders],
            start_us: 0,
            run_us: plan.run_us,
            cursor: 0,
            behind: BTreeSet::new(),
            spoke: Vec::new(),
            messages: 0,
        }
    }

    /// Saying begins.
    pub fn start(&mut self, now_us: u64) {
        self.start_us = now_us;
    }

    /// How many messages a sender has said.
    pub fn said(&self, sender: u32) -> u32 {
        self.said[sender as usize]
    }

    /// How many messages were to be said until now.
    fn due(&self, now_us: u64, rate: u32) -> u64 {
        // What is due at the very start is the first message.
        let elapsed_us = now_us.saturating_sub(self.start_us).min(self.run_us - 1);
        elapsed_us * u64::from(rate) / 1_000_000 + 1
    }

    /// How many messages were to be said until now and were not.
    pub fn unsent(&self, now_us: u64) -> u64 {
        match self.pace {
            Pace::Rate(rate) if !self.said.is_empty() => self.due(now_us, rate) - self.messages,
            _ => 0,
        }
    }

    /// When there is something to do next even if nothing happens.
    pub fn deadline_us(&self) -> Option<u64> {
        match self.pace {
            Pace::Rate(rate) if !self.said.is_empty() => {
                Some(self.start_us + (self.cursor * 1_000_000).div_ceil(rate.into()))
            }
            _ => None,
        }
    }

    /// Says what is to be said now; `conns` are the senders' connections, and `in_flight` is how
    /// many messages are under way.
    pub fn pump(&mut self, conns: &mut [Conn], in_flight: &mut u64, now_us: u64) {
        if conns.is_empty() {
            return;
        }
        let messages = self.messages;
        match self.pace {
            Pace::Rate(rate) => self.pump_rate(conns, rate, now_us),
            Pace::Window(window) => {
                let left = u64::from(window).saturating_sub(*in_flight);
                self.pump_window(conns, left, now_us);
            }
        }
        *in_flight += self.messages - messages;
    }

    fn pump_window(&mut self, conns: &mut [Conn], mut left: u64, now_us: u64) {
        let mut blocked = 0;
        while left > 0 && blocked < conns.len() {
            let sender = self.cursor as usize % conns.len();
            self.cursor += 1;
            if conns[sender].net.out_len() >= OUT_BYTES_MAX {
                blocked += 1;
                continue;
            }
            self.say(sender as u32, &mut conns[sender], now_us);
            left -= 1;
        }
    }

    fn pump_rate(&mut self, conns: &mut [Conn], rate: u32, now_us: u64) {
        for sender in std::mem::take(&mut self.behind) {
            self.catch_up(sender, conns, rate);
        }
        let due = self.due(now_us, rate);
        while self.cursor < due {
            let sender = (self.cursor % conns.len() as u64) as u32;
            self.cursor += 1;
            self.catch_up(sender, conns, rate);
        }
    }

    /// Lets a sender say all that is due of its own, or what its connection takes of that.
    fn catch_up(&mut self, sender: u32, conns: &mut [Conn], rate: u32) {
        let conn = &mut conns[sender as usize];
        loop {
            let number = u64::from(self.said(sender)) * self.said.len() as u64 + u64::from(sender);
            if number >= self.cursor {
                return;
            }
            if conn.net.out_len() >= OUT_BYTES_MAX {
                self.behind.insert(sender);
                return;
            }
            // The time when it was to be said, so that a wait for the server counts as one.
            let stamp_us = self.start_us + number * 1_000_000 / u64::from(rate);
            self.say(sender, conn, stamp_us);
        }
    }

    fn say(&mut self, sender: u32, conn: &mut Conn, stamp_us: u64) {
        let number = self.said[sender as usize];
        write_say(
            &mut conn.net.out,
            Message { sender, number },
            stamp_us,
            self.size,
        );
        self.said[sender as usize] += 1;
        self.messages += 1;
        self.spoke.push(sender);
    }
}

/// Appends a SAY of a message, which is said at this time and has this length.
pub fn write_say(out: &mut Vec<u8>, message: Message, stamp_us: u64, size: usize) {
    let Message { sender, number } = message;
    let start = out.len() + "SAY ".len();
    let said = write!(out, "SAY {sender} {number} {stamp_us}");
    said.expect("a Vec takes everything");
    // There is a byte left for the space, or none is needed.
    if out.len() < start + size {
        out.push(b' ');
    }
    out.resize(start + size, PADDING);
    out.extend_from_slice(b"\r\n");
}
