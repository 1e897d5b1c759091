//! One connection: its stream, its line in the making, its output, and what is known of both ends.
//!
//! A connection's buffers exist only while they hold something. When to read and write is `hub`'s
//! business.

use std::io::{self, IoSlice, Read, Write};

use crate::chat::Client;
use crate::line::Splitter;

/// With this many bytes of output waiting, a connection is not read from.
pub const OUT_BYTES_ENOUGH: usize = 8192;

/// A stream that does not block: a socket, or what a test puts in its place.
pub trait Link: Read + Write {
    /// Has the system find out within `idle` seconds, and report as an error, that the peer is
    /// gone without a word; none ends that.
    fn watch_peer(&mut self, idle: Option<u32>);
}

/// A connection whose stream is an `L`.
#[derive(Debug)]
pub struct Conn<L> {
    /// The stream.
    pub link: L,
    /// The core's part of it.
    pub client: Client,
    /// Cuts what was received into lines.
    lines: Splitter,
    /// What was received and not yet looked at.
    pub input: Vec<u8>,
    /// Replies, notices, and the rest of an event line that was broken off.
    out: Vec<u8>,
    /// How much of `out` has been written.
    written: usize,
    /// The stream may have something to read.
    pub is_readable: bool,
    /// The stream may take something.
    pub is_writable: bool,
    /// A read that gives less than was asked for need not have given all there is.
    pub is_read_to_the_end: bool,
    /// The end of the stream was read.
    pub has_ended: bool,
    /// Nothing reaches the client any more.
    pub is_broken: bool,
    /// To be closed as soon as `out` is written.
    pub is_closing: bool,
    /// The turn in which it last took nothing.
    pub refused_in: u64,
    /// The client takes nothing of what it is owed.
    pub is_stalled: bool,
    /// Its input is being worked on.
    pub is_in_hand: bool,
    /// It is on the list of those to be read.
    pub is_to_read: bool,
    /// It is on the list of those to be written.
    pub is_to_write: bool,
    /// What the system was last told to watch.
    pub watched: Option<u32>,
}

impl<L: Link> Conn<L> {
    /// A connection that is new.
    pub fn new(link: L, client: Client, greeting: Vec<u8>) -> Self {
        Conn {
            link,
            client,
            lines: Splitter::default(),
            input: Vec::new(),
            out: greeting,
            written: 0,
            is_readable: false,
            is_writable: true,
            is_read_to_the_end: false,
            has_ended: false,
            is_broken: false,
            is_closing: false,
            refused_in: 0,
            is_stalled: false,
            is_in_hand: false,
            is_to_read: false,
            is_to_write: false,
            watched: None,
        }
    }

    /// The buffer to append output to.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// The parts that answering a line takes: what cuts it, who sent it, where the answer goes.
    pub fn parts(&mut self) -> (&mut Splitter, &mut Client, &mut Vec<u8>) {
        (&mut self.lines, &mut self.client, &mut self.out)
    }

    /// How many bytes of output are not yet written.
    pub fn out_len(&self) -> usize {
        self.out.len() - self.written
    }

    /// Whether there may be something to read that the client is entitled to have looked at: one
    /// that does not take its answers is not read from.
    pub fn may_be_read(&self) -> bool {
        let has_input = (self.is_readable && !self.has_ended) || !self.input.is_empty();
        has_input && !self.is_closing && (self.is_broken || self.out_len() < OUT_BYTES_ENOUGH)
    }

    /// Whether the connection is to be closed, given whether its session is still owed something.
    pub fn is_done(&self, is_owed: bool) -> bool {
        if self.is_in_hand {
            return false;
        }
        let has_said_all = self.is_broken || self.out_len() == 0;
        let has_heard_all = self.has_ended && self.input.is_empty();
        has_said_all && (self.is_closing || has_heard_all && (self.is_broken || !is_owed))
    }

    /// Writes the output and what is `owed` behind it, as far as the stream takes them.
    ///
    /// # Errors
    ///
    /// Those of the stream; `WriteZero` if it takes nothing and does not say why.
    pub fn write(&mut self, owed: [&[u8]; 3]) -> io::Result<Written> {
        let out = &self.out[self.written..];
        let bytes = match (out, owed) {
            (only, [[], [], []]) | ([], [[], only, []]) => self.link.write(only)?,
            (out, [a, b, c]) => self
                .link
                .write_vectored(&[out, a, b, c].map(IoSlice::new))?,
        };
        if bytes == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        let of_out = bytes.min(out.len());
        self.written += of_out;
        if self.written == self.out.len() {
            self.drop_out();
        } else if self.written >= OUT_BYTES_ENOUGH {
            self.out.drain(..std::mem::take(&mut self.written));
        }
        Ok(Written {
            bytes,
            of_owed: bytes - of_out,
        })
    }

    /// Holds no more memory for the output than it takes: it may have to wait for long.
    pub fn shrink_out(&mut self) {
        self.out.drain(..std::mem::take(&mut self.written));
        self.out.shrink_to_fit();
    }

    /// How many bytes are held for it.
    pub fn held_bytes(&self) -> usize {
        self.input.len() + self.out.len()
    }

    /// Throws the output away: nobody will read it.
    pub fn drop_out(&mut self) {
        self.out = Vec::new();
        self.written = 0;
    }
}

/// What a poll reports of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There may be something to read.
    pub readable: bool,
    /// It may take something.
    pub writable: bool,
    /// The peer has ended its side; the end comes behind what is still to be read.
    pub read_closed: bool,
    /// There is an urgent byte, which a read stops at.
    pub urgent: bool,
    /// Nothing that is written reaches the peer any more.
    pub broken: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// How many bytes the stream took.
    pub bytes: usize,
    /// How many of them were of what is owed.
    pub of_owed: usize,
}
