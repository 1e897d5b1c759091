//! The lines that carriers send.

use std::fmt;
use std::io::Write;

use super::{Pulls, TOKEN_BYTES};
use crate::ledger::Ledger;
use crate::line;

/// A line that was sent and has no reply yet.
#[derive(Clone, Copy, Debug)]
pub enum Ask {
    Join(u32),
    Resume(u32),
    /// It was due at that time.
    Poll(u32, u64),
    Detach,
    Leave(u32),
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ask::Join(session) => write!(f, "JOIN of p{session}"),
            Ask::Resume(session) => write!(f, "RESUME of p{session}"),
            Ask::Poll(session, _) => write!(f, "POLL of p{session}"),
            Ask::Detach => write!(f, "DETACH of a pull session"),
            Ask::Leave(session) => write!(f, "LEAVE of p{session}"),
        }
    }
}

impl Pulls {
    pub(super) fn join(&mut self, session: u32, out: &mut Vec<u8>) {
        let index = self.carrier_of(session);
        self.detach(index, out);
        let room = &self.rooms[self.room(session) as usize];
        let idle = self.idle;
        let line = write!(out, "JOIN p{session} room={room} mode=pull idle={idle}\r\n");
        line.expect("a Vec takes everything");
        self.carriers[index as usize].attached = Some(session);
        self.ask(index, Ask::Join(session));
    }

    pub(super) fn poll(&mut self, session: u32, due_us: u64, ledger: &Ledger, out: &mut Vec<u8>) {
        let index = self.carrier_of(session);
        self.attach(session, out);
        out.extend_from_slice(b"POLL max=1000");
        if self.next[session as usize] == 0 {
            // What happened before all had joined is passed over.
            let end = ledger.opened(self.room(session));
            out.extend_from_slice(b" after=");
            line::push_number(out, end - 1);
            self.next[session as usize] = end as u32;
        }
        out.extend_from_slice(b"\r\n");
        self.ask(index, Ask::Poll(session, due_us));
    }

    pub(super) fn leave(&mut self, session: u32, out: &mut Vec<u8>) {
        if self.tokens[session as usize] == [0; TOKEN_BYTES] {
            return;
        }
        let index = self.carrier_of(session);
        self.attach(session, out);
        out.extend_from_slice(b"LEAVE\r\n");
        self.carriers[index as usize].attached = None;
        self.ask(index, Ask::Leave(session));
    }

    /// Sees that a session is the one that its carrier has.
    fn attach(&mut self, session: u32, out: &mut Vec<u8>) {
        let index = self.carrier_of(session);
        if self.carriers[index as usize].attached == Some(session) {
            return;
        }
        self.detach(index, out);
        out.extend_from_slice(b"RESUME ");
        for byte in self.tokens[session as usize] {
            const DIGITS: &[u8; 16] = b"0123456789abcdef";
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
        out.extend_from_slice(b"\r\n");
        self.carriers[index as usize].attached = Some(session);
        self.ask(index, Ask::Resume(session));
    }

    fn detach(&mut self, index: u32, out: &mut Vec<u8>) {
        if self.carriers[index as usize].attached.take().is_some() {
            out.extend_from_slice(b"DETACH\r\n");
            self.ask(index, Ask::Detach);
        }
    }
}
