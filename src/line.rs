//! Bytes into lines, with telnet taken out.
//!
//! A line ends in LF, CR LF or CR NUL. Telnet commands (RFC 854, RFC 855) are taken out of the
//! stream before lines are cut, wherever packets happen to break it. What a line says is not this
//! file's business.

use memchr::memchr3;

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const INTERRUPT: u8 = 244;
const SE: u8 = 240;

/// What was cut off the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A complete line, without its end.
    Line(&'a [u8]),
    /// A line has grown over the limit; the rest of it is skipped.
    TooLong,
    /// The end of a line that was too long.
    Skipped,
    /// The answer to a telnet option's negotiation, to be sent back as it is.
    Negotiation([u8; 3]),
}

/// Where the stream stands within a telnet command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Telnet {
    #[default]
    Data,
    Command,
    Option(u8),
    Subnegotiation,
    SubnegotiationCommand,
}

/// Cuts one connection's stream into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    telnet: Telnet,
    /// The last byte was a CR, which may or may not turn out to end the line.
    after_cr: bool,
    /// The line is over the limit and being skipped.
    skipping: bool,
    /// `partial` was handed out as a line and is to be emptied.
    taken: bool,
}

impl Splitter {
    /// Whether a line, or a telnet command, has begun and not ended.
    pub fn is_within_line(&self) -> bool {
        !(self.taken || self.partial.is_empty())
            || self.after_cr
            || self.skipping
            || self.telnet != Telnet::Data
    }

    /// Cuts the next item off the front of `input`; none means that all of `input` was taken in.
    ///
    /// Lines hold at most `line_bytes_max` bytes. Costs memory only while a line is incomplete.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        line_bytes_max: usize,
    ) -> Option<Item<'a>> {
        if self.taken {
            self.taken = false;
            self.partial = Vec::new();
        }
        while let Some(&byte) = input.first() {
            if self.telnet != Telnet::Data {
                *input = &input[1..];
                match self.telnet_byte(byte) {
                    Some(TelnetItem::Answer(answer)) => return Some(Item::Negotiation(answer)),
                    Some(TelnetItem::Byte255) => {
                        let text: &[u8] = if self.after_cr { b"\r\xff" } else { b"\xff" };
                        self.after_cr = false;
                        if !self.push(text, line_bytes_max) {
                            return Some(Item::TooLong);
                        }
                    }
                    None => {}
                }
                continue;
            }
            let run = memchr3(b'\n', b'\r', IAC, input).unwrap_or(input.len());
            if run == 0 || self.after_cr {
                let ends = byte == b'\n' || (self.after_cr && byte == 0);
                if byte == IAC {
                    *input = &input[1..];
                    self.telnet = Telnet::Command;
                } else if ends {
                    *input = &input[1..];
                    return Some(self.end_line());
                } else if self.after_cr {
                    // The CR did not end the line, so it is part of it.
                    self.after_cr = false;
                    if !self.push(b"\r", line_bytes_max) {
                        return Some(Item::TooLong);
                    }
                } else {
                    *input = &input[1..];
                    self.after_cr = true;
                }
                continue;
            }
            let (text, rest) = input.split_at(run);
            // The common case is borrowed: the whole line is here and nothing was before it.
            let end = match rest {
                [b'\n', ..] => 1,
                [b'\r', b'\n' | 0, ..] => 2,
                _ => 0,
            };
            if end > 0 && self.partial.is_empty() && !self.skipping && run <= line_bytes_max {
                *input = &rest[end..];
                return Some(Item::Line(text));
            }
            *input = rest;
            if !self.push(text, line_bytes_max) {
                return Some(Item::TooLong);
            }
        }
        None
    }

    /// Adds to the line that has begun; false when it has just become too long.
    fn push(&mut self, text: &[u8], line_bytes_max: usize) -> bool {
        if self.skipping {
            return true;
        }
        if self.partial.len() + text.len() > line_bytes_max {
            self.skipping = true;
            self.partial = Vec::new();
            return false;
        }
        self.partial.extend_from_slice(text);
        true
    }

    fn end_line(&mut self) -> Item<'_> {
        self.after_cr = false;
        if self.skipping {
            self.skipping = false;
            return Item::Skipped;
        }
        self.taken = true;
        Item::Line(&self.partial)
    }

    /// Takes one byte of a telnet command.
    fn telnet_byte(&mut self, byte: u8) -> Option<TelnetItem> {
        let (state, item) = match (self.telnet, byte) {
            (Telnet::Command, IAC) => (Telnet::Data, Some(TelnetItem::Byte255)),
            (Telnet::Command, SB) => (Telnet::Subnegotiation, None),
            (Telnet::Command, WILL | WONT | DO | DONT) => (Telnet::Option(byte), None),
            (Telnet::Command, INTERRUPT) => {
                self.partial = Vec::new();
                self.after_cr = false;
                self.skipping = false;
                (Telnet::Data, None)
            }
            (Telnet::Command, _) => (Telnet::Data, None),
            (Telnet::Option(WILL), option) => (Telnet::Data, answer(DONT, option)),
            (Telnet::Option(DO), option) => (Telnet::Data, answer(WONT, option)),
            (Telnet::Option(_), _) => (Telnet::Data, None),
            (Telnet::Subnegotiation, IAC) => (Telnet::SubnegotiationCommand, None),
            (Telnet::SubnegotiationCommand, SE) => (Telnet::Data, None),
            (Telnet::Subnegotiation | Telnet::SubnegotiationCommand, _) => {
                (Telnet::Subnegotiation, None)
            }
            (Telnet::Data, _) => (Telnet::Data, None),
        };
        self.telnet = state;
        item
    }
}

enum TelnetItem {
    Answer([u8; 3]),
    Byte255,
}

fn answer(verb: u8, option: u8) -> Option<TelnetItem> {
    Some(TelnetItem::Answer([IAC, verb, option]))
}
