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

/// How many bytes the memory for an unfinished line grows by.
const PARTIAL_STEP: usize = 256;

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
    /// Gives back the memory of a line that was handed out.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.taken) {
            self.partial = Vec::new();
        }
    }

    /// Whether it has no memory of what it was given: it stands at the beginning of a line.
    pub fn is_idle(&self) -> bool {
        let is_within_line = self.after_cr || self.skipping || self.partial.capacity() > 0;
        self.telnet == Telnet::Data && !is_within_line
    }

    /// How many bytes are held for a line that has begun.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Cuts the next item off the front of `input`; none means that all of `input` was taken in.
    ///
    /// Lines hold at most `line_bytes_max` bytes. Costs memory only while a line is incomplete.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        line_bytes_max: usize,
    ) -> Option<Item<'a>> {
        self.release();
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
        let needed = self.partial.len() + text.len();
        if needed > self.partial.capacity() {
            let wanted = needed.next_multiple_of(PARTIAL_STEP).min(line_bytes_max);
            self.partial.reserve_exact(wanted - self.partial.len());
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

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 8;

    /// All items of a stream that comes in these chunks, as text.
    fn items<'i>(
        splitter: &mut Splitter,
        chunks: impl IntoIterator<Item = &'i [u8]>,
    ) -> Vec<String> {
        let mut items = Vec::new();
        for mut chunk in chunks {
            while let Some(item) = splitter.next(&mut chunk, LIMIT) {
                items.push(match item {
                    Item::Line(line) => format!("<{}>", line.escape_ascii()),
                    Item::TooLong => "too long".into(),
                    Item::Skipped => "skipped".into(),
                    Item::Negotiation([IAC, WONT, option]) => format!("WONT {option}"),
                    Item::Negotiation([IAC, DONT, option]) => format!("DONT {option}"),
                    Item::Negotiation(other) => format!("{other:?}"),
                });
            }
            assert_eq!(chunk, b"", "all is taken in");
        }
        items
    }

    /// What a stream gives, in one piece, split at every place, and byte by byte.
    fn check(stream: &[u8], expected: &[&str]) {
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            let split = items(&mut Splitter::default(), [head, tail]);
            assert_eq!(split, expected, "{} at {at}", stream.escape_ascii());
        }
        let bytes = items(&mut Splitter::default(), stream.chunks(1));
        assert_eq!(bytes, expected, "{} by bytes", stream.escape_ascii());
    }

    #[test]
    fn a_line_ends_in_lf_cr_lf_or_cr_nul_wherever_the_stream_is_cut() {
        check(b"one\ntwo\r\nthree\r\0", &["<one>", "<two>", "<three>"]);
        check(b"\n\r\n\r\0", &["<>", "<>", "<>"]);
        check(b"a\n\nb\r\n\r\n", &["<a>", "<>", "<b>", "<>"]);
        check(b"not yet", &[]);
        check(b"not yet\r", &[]);
    }

    #[test]
    fn a_cr_or_a_nul_that_ends_no_line_is_part_of_it() {
        check(b"a\rb\n", &["<a\\rb>"]);
        check(b"\ra\r\n", &["<\\ra>"]);
        check(b"a\r\r\n", &["<a\\r>"]);
        check(b"\r\r\r\0", &["<\\r\\r>"]);
        check(b"a\0b\n\0\r\n", &["<a\\x00b>", "<\\x00>"]);
        check(b"a\r\0\0\n", &["<a>", "<\\x00>"]);
    }

    #[test]
    fn options_are_refused_and_refusals_are_not_answered() {
        check(&[IAC, WILL, 1], &["DONT 1"]);
        check(&[IAC, DO, 3], &["WONT 3"]);
        check(&[IAC, WONT, 1, IAC, DONT, 3, b'\n'], &["<>"]);
        check(&[b'a', IAC, WILL, b'\n', b'b', b'\n'], &["DONT 10", "<ab>"]);
        check(&[IAC, DO, IAC, IAC, DO, IAC], &["WONT 255", "WONT 255"]);
        check(&[b'a', IAC, 241, b'b', IAC, SE, b'\n'], &["<ab>"]);
    }

    #[test]
    fn a_doubled_iac_is_the_byte_255() {
        check(b"a\xff\xffb\n", &["<a\\xffb>"]);
        check(b"\xff\xff\xff\xff\r\n", &["<\\xff\\xff>"]);
        check(b"\r\xff\xff\n", &["<\\r\\xff>"]);
        check(b"\xff\xff\xff\xfb\x01\n", &["DONT 1", "<\\xff>"]);
    }

    #[test]
    fn a_subnegotiation_is_taken_out_whole() {
        check(b"a\xff\xfa\x1f\0\x50\0\x18\xff\xf0b\n", &["<ab>"]);
        check(b"\xff\xfa\x18\xff\xff\xf0\r\n\xff\xf0a\n", &["<a>"]);
        check(b"\xff\xfa\xff\xfb\x01\xff\xf4\xff\xf0a\n", &["<a>"]);
        check(b"\xff\xfa\x18 never ends\n\n", &[]);
    }

    #[test]
    fn a_telnet_command_between_cr_and_lf_does_not_tear_them_apart() {
        check(b"a\r\xff\xf1\nb\n", &["<a>", "<b>"]);
        check(b"a\r\xff\xfb\x01\0b\n", &["DONT 1", "<a>", "<b>"]);
        check(b"a\r\xff\xfa\n\xff\xf0\n", &["<a>"]);
        check(b"a\r\xff\xf1b\n", &["<a\\rb>"]);
    }

    #[test]
    fn an_interrupt_drops_the_unfinished_line() {
        check(b"abc\xff\xf4d\n", &["<d>"]);
        check(b"a\nbc\r\xff\xf4\nd\n", &["<a>", "<>", "<d>"]);
        check(b"123456789\xff\xf4d\n", &["too long", "<d>"]);
        check(
            b"123456789\r\xff\xf4\xff\xfd\x06d\n",
            &["too long", "WONT 6", "<d>"],
        );
    }

    #[test]
    fn a_line_holds_as_many_bytes_as_the_limit_says_and_no_more() {
        for end in ["\n", "\r\n", "\r\0"] {
            let longest = ["1234567", "12345678", "12345\r78", "\u{7f}2345678"];
            for line in longest {
                let items = [&*format!("<{}>", line.escape_debug()), "<ab>"]
                    .map(|item| item.replace("\\u{7f}", "\\x7f"));
                let stream = format!("{line}{end}ab{end}");
                check(stream.as_bytes(), &items.each_ref().map(|i| &**i));
            }
            for line in ["123456789", "1234567\r9", "12345678\rx", "12345678\r\r"] {
                let stream = format!("{line}{end}ab{end}");
                check(stream.as_bytes(), &["too long", "skipped", "<ab>"]);
            }
        }
        check(b"1234567\xff\xff\n", &["<1234567\\xff>"]);
        check(b"12345678\xff\xff\n", &["too long", "skipped"]);
        check(b"1234567\r\xff\xff\n", &["too long", "skipped"]);
        check(b"1234567\xff\xfb\x018\n", &["DONT 1", "<12345678>"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once() {
        let mut stream = b"x".repeat(100);
        stream.extend(b"\r\r\xff\xff\0x\xff\xfb\x01\r\n\nab\n");
        check(&stream, &["too long", "DONT 1", "skipped", "<>", "<ab>"]);
    }

    #[test]
    fn memory_is_held_only_while_a_line_is_unfinished() {
        let mut splitter = Splitter::default();
        let mut holds = |stream: &[u8]| {
            items(&mut splitter, [stream]);
            splitter.partial.capacity() > 0
        };
        assert!(!holds(b"whole\nlines\r\n"));
        assert!(holds(b"half"));
        assert!(!holds(b"\n"));
        assert!(holds(b"half"));
        assert!(!holds(b" and too long"));
        assert!(!holds(b"\n\n"));
        assert!(holds(b"half"));
        assert!(!holds(b"\xff\xf4"));
    }
}
