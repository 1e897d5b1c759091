//! Cuts bytes into lines, without telnet's commands and with erase keys carried out.
//!
//! A line ends in LF, CR LF or CR NUL; on a connection whose Return key sends CR, it ends in CR
//! alone. Telnet commands are taken out first, and keys that erase something are carried out. All
//! this works wherever packets happen to break the stream. What a line says is decided elsewhere.

use memchr::{memchr, memchr3};

use crate::hub::telnet::{IAC, Step, Telnet};
use crate::state::saved;
use crate::talk::editor::Key;

const LF: u8 = b'\n';
const CR: u8 = b'\r';
const NUL: u8 = 0;
const BACKSPACE: u8 = 8;
const CTRL_U: u8 = 21;
const DEL: u8 = 127;
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
/// The first byte of a TLS connection: its first record has the type *handshake* (RFC 8446,
/// section 5.1).
const TLS_HANDSHAKE: u8 = 22;

/// The memory for an unfinished line grows by this many bytes.
const PARTIAL_STEP: usize = 256;

/// What the splitter cuts off the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// A complete line, without its end.
    Line(&'a [u8]),
    /// A line has exceeded the limit; the rest of it is skipped.
    TooLong,
    /// The end of a line that was too long.
    Skipped,
    /// A telnet option: WILL, WONT, DO or DONT, and its number. Those that end with WONT or DONT come
    /// only for the options that the server may ask for.
    Option(u8, u8),
    /// The size of the client's window, in columns and rows.
    WindowSize(u16, u16),
    /// Telnet's NOP: a sign of life.
    SignOfLife,
    /// Telnet's AYT, which asks whether the server is there.
    AreYouThere,
    /// The stream begins as TLS does, so it contains no lines.
    Tls,
}

/// What the splitter cuts off the stream of a client that sends each key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyItem<'i> {
    /// Bytes that keys have sent.
    Keys(&'i [u8]),
    /// A key that a telnet command stands for.
    Key(Key),
    /// Something else; never a line.
    Other(Item<'static>),
}

/// What is known about how a connection's lines end. This lasts as long as the connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ends {
    /// Nothing has come yet.
    #[default]
    Start,
    /// The first line that is not empty has not ended. A CR ends it at once.
    First,
    /// The first line has ended in a CR. The next byte of text shows which kind of CR that was.
    FirstCr,
    /// A CR ends a line only before LF or NUL.
    Lf,
    /// A CR ends a line: it is what the Return key sends.
    Cr,
    /// A CR ends a line, and the last byte was one. An LF or NUL right after it belongs to it.
    CrEnded,
}

/// Cuts one connection's stream into lines.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a line whose end has not come yet.
    partial: Vec<u8>,
    ends: Ends,
    telnet: Telnet,
    /// How many CRs came last. They may yet turn out to end the line.
    crs: u16,
    /// Whether the line has exceeded the limit and is being skipped.
    is_skipping: bool,
    /// Whether `partial` was handed out as a line and is to be emptied.
    is_handed_out: bool,
}

impl Splitter {
    /// Continues a connection at the beginning of a line, with what another splitter knew about its
    /// line ends.
    pub fn set_ends(&mut self, ends: Ends) {
        self.ends = ends;
    }

    /// What is known about how the connection's lines end.
    pub fn ends(&self) -> Ends {
        self.ends
    }

    /// Lets a CR end a line at once from now on, as well as an LF, since the client agreed to BINARY:
    /// there, Return is either.
    pub fn end_lines_at_cr(&mut self) {
        self.ends = match self.ends {
            Ends::FirstCr | Ends::CrEnded => Ends::CrEnded,
            Ends::Start | Ends::First | Ends::Lf | Ends::Cr => Ends::Cr,
        };
    }

    /// Frees the memory of a line that was handed out.
    pub fn release(&mut self) {
        if std::mem::take(&mut self.is_handed_out) {
            self.partial = Vec::new();
        }
    }

    /// Whether it is at the beginning of a line, and all that it knows is [`Splitter::ends`].
    pub fn is_idle(&self) -> bool {
        let is_within_line = self.crs > 0 || self.is_skipping || self.partial.capacity() > 0;
        self.telnet == Telnet::Data && !is_within_line
    }

    /// Whether it could have got there with lines of at most `line_bytes_max` bytes.
    pub fn is_sound(&self, line_bytes_max: usize) -> bool {
        self.partial.len() <= line_bytes_max
    }

    /// How many bytes of an unfinished line have come.
    pub fn partial_len(&self) -> usize {
        self.partial.len()
    }

    /// How many bytes it holds for an unfinished line.
    pub fn held_bytes(&self) -> usize {
        self.partial.capacity()
    }

    /// Cuts the next item off the front of `input`, or takes in all of `input` and returns `None`.
    ///
    /// Lines have at most `line_bytes_max` bytes. Only an unfinished line costs memory.
    pub fn next<'a, 'i: 'a>(
        &'a mut self,
        input: &mut &'i [u8],
        line_bytes_max: usize,
    ) -> Option<Item<'a>> {
        self.release();
        if let Some(line) = self.whole_line(input, line_bytes_max) {
            return Some(Item::Line(line));
        }
        while let Some(&byte) = input.first() {
            if self.ends == Ends::Start {
                self.ends = Ends::First;
                if byte == TLS_HANDSHAKE {
                    *input = &input[1..];
                    return Some(Item::Tls);
                }
            }
            if self.telnet != Telnet::Data {
                match self.telnet_byte(input, line_bytes_max) {
                    Some(item) => return Some(item),
                    None => continue,
                }
            }
            if byte == NUL && self.skip_nuls(input) {
                continue;
            }
            let run = memchr3(LF, CR, IAC, input).unwrap_or(input.len());
            if run == 0 {
                *input = &input[1..];
                let has_ended = match byte {
                    LF => self.ends_at_lf(),
                    CR => self.ends_at_cr(),
                    _ => {
                        self.telnet = Telnet::Command;
                        false
                    }
                };
                if has_ended {
                    return Some(self.end_line(byte));
                }
                continue;
            }
            if self.crs > 0 && byte == NUL {
                *input = &input[1..];
                return Some(self.end_line(byte));
            }
            if !self.begin_text(line_bytes_max) {
                return Some(Item::TooLong);
            }
            let text = &input[..run];
            let (len, fits) = self.type_in(text, line_bytes_max);
            *input = &input[len..];
            if !fits {
                return Some(Item::TooLong);
            }
        }
        None
    }

    /// Takes what has been kept of an unfinished line, for an editor that goes on with it. The next line
    /// begins without it.
    pub fn take_line_begun(&mut self) -> Vec<u8> {
        let begun = std::mem::take(&mut self.partial);
        self.erase_line();
        begun
    }

    /// Cuts the next item off the front of `input` for a client that sends each key, or returns `None`
    /// if there is none. Only telnet commands are looked for.
    pub fn next_keys<'i>(&mut self, input: &mut &'i [u8]) -> Option<KeyItem<'i>> {
        while let Some(&byte) = input.first() {
            if self.telnet == Telnet::Data {
                if byte == IAC {
                    *input = &input[1..];
                    self.telnet = Telnet::Command;
                    continue;
                }
                let run = memchr(IAC, input).unwrap_or(input.len());
                let keys;
                (keys, *input) = input.split_at(run);
                return Some(KeyItem::Keys(keys));
            }
            return Some(match self.telnet.step(input) {
                Step::Nothing => continue,
                Step::Text(text) => KeyItem::Keys(text),
                Step::EraseLine => KeyItem::Key(Key::Interrupt),
                Step::EraseCharacter => KeyItem::Key(Key::Backspace),
                Step::Option(verb, option) => KeyItem::Other(Item::Option(verb, option)),
                Step::WindowSize(columns, rows) => KeyItem::Other(Item::WindowSize(columns, rows)),
                Step::SignOfLife => KeyItem::Other(Item::SignOfLife),
                Step::AreYouThere => KeyItem::Other(Item::AreYouThere),
            });
        }
        None
    }

    /// Cuts off a line in the common case, without copying it: `input` contains all of it, and no
    /// erase key or telnet command in it.
    fn whole_line<'i>(&self, input: &mut &'i [u8], line_bytes_max: usize) -> Option<&'i [u8]> {
        let is_plain = self.ends == Ends::Lf && self.telnet == Telnet::Data && self.crs == 0;
        if !is_plain || !self.is_at_line_start() {
            return None;
        }
        let run = memchr3(LF, CR, IAC, input)?;
        let (text, rest) = input.split_at(run);
        let end = match rest {
            [LF, ..] => 1,
            [CR, LF | NUL, ..] => 2,
            _ => return None,
        };
        let is_key = |byte: &u8| matches!(*byte, BACKSPACE | DEL | CTRL_U);
        // On a short line a loop is faster than setting up a search.
        let has_key = match text.len() {
            0..16 => text.iter().any(is_key),
            _ => memchr3(BACKSPACE, DEL, CTRL_U, text).is_some(),
        };
        if *text.first()? == NUL || has_key || run > line_bytes_max {
            return None;
        }
        *input = &rest[end..];
        Some(text)
    }

    /// Whether no line has begun.
    fn is_at_line_start(&self) -> bool {
        self.partial.is_empty() && !self.is_skipping
    }

    /// Skips NULs that belong to no line; false if they end one or are part of it.
    fn skip_nuls(&mut self, input: &mut &[u8]) -> bool {
        self.ends = match self.ends {
            Ends::FirstCr => Ends::Lf,
            Ends::CrEnded => Ends::Cr,
            ends if self.crs == 0 && self.is_at_line_start() => ends,
            _ => return false,
        };
        *input = &input[count_nuls(input)..];
        true
    }

    /// Takes an LF; false if the line that it would end has ended in a CR already.
    fn ends_at_lf(&mut self) -> bool {
        match self.ends {
            Ends::FirstCr => self.ends = Ends::Lf,
            Ends::CrEnded => self.ends = Ends::Cr,
            Ends::Start | Ends::First | Ends::Lf | Ends::Cr => return true,
        }
        false
    }

    /// Takes a CR; false if it does not end a line, or not yet.
    fn ends_at_cr(&mut self) -> bool {
        match self.ends {
            Ends::Cr | Ends::CrEnded => return true,
            Ends::First if !self.is_at_line_start() => return true,
            // The first line has ended already; this CR is part of its end, or nothing.
            Ends::FirstCr => {}
            Ends::Start | Ends::First | Ends::Lf => self.crs = self.crs.saturating_add(1),
        }
        false
    }

    /// Decides what the CRs that came last were, since text comes now. False if the line has just
    /// become too long.
    fn begin_text(&mut self, line_bytes_max: usize) -> bool {
        if let Ends::FirstCr | Ends::CrEnded = self.ends {
            self.ends = Ends::Cr;
        }
        let crs = std::mem::take(&mut self.crs);
        // CRs that ended no line are part of this one if it has begun.
        self.is_at_line_start() || (0..crs).all(|_| self.push(b"\r", line_bytes_max))
    }

    /// Adds `text` to the line and carries out the erase keys in it. Returns how much of `text`
    /// that took, and false if the line has just become too long.
    fn type_in(&mut self, text: &[u8], line_bytes_max: usize) -> (usize, bool) {
        let mut taken = 0;
        loop {
            let rest = &text[taken..];
            let run = memchr3(BACKSPACE, DEL, CTRL_U, rest).unwrap_or(rest.len());
            taken += run;
            if !self.push(&rest[..run], line_bytes_max) {
                return (taken, false);
            }
            match rest.get(run) {
                None => return (taken, true),
                Some(&CTRL_U) => self.erase_line(),
                Some(_) => self.erase_character(),
            }
            taken += 1;
            if self.is_at_line_start() {
                taken += count_nuls(&text[taken..]);
            }
        }
    }

    /// Adds `text` to the line; false if the line has just become too long.
    fn push(&mut self, text: &[u8], line_bytes_max: usize) -> bool {
        if self.is_skipping {
            return true;
        }
        let needed = self.partial.len() + text.len();
        if needed > line_bytes_max {
            self.is_skipping = true;
            self.partial = Vec::new();
            return false;
        }
        if needed > self.partial.capacity() {
            let wanted = needed.next_multiple_of(PARTIAL_STEP).min(line_bytes_max);
            self.partial.reserve_exact(wanted - self.partial.len());
        }
        self.partial.extend_from_slice(text);
        true
    }

    /// Erases the last character of the line, or its last byte where it is not UTF-8.
    fn erase_character(&mut self) {
        let len = self.partial.len();
        let is_character = |&count: &usize| {
            let bytes = len.checked_sub(count).map(|from| &self.partial[from..]);
            let text = bytes.and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.is_some_and(|text| text.chars().count() == 1)
        };
        let count = (1..=4).find(is_character).unwrap_or(1);
        self.partial.truncate(len.saturating_sub(count));
    }

    /// Erases the unfinished line, even one that was too long.
    fn erase_line(&mut self) {
        self.partial = Vec::new();
        self.crs = 0;
        self.is_skipping = false;
    }

    fn end_line(&mut self, end: u8) -> Item<'_> {
        self.crs = 0;
        let is_first = self.ends == Ends::First && !self.is_at_line_start();
        self.ends = match self.ends {
            _ if is_first && end == CR => Ends::FirstCr,
            _ if is_first => Ends::Lf,
            Ends::Cr | Ends::CrEnded if end == CR => Ends::CrEnded,
            ends => ends,
        };
        if std::mem::take(&mut self.is_skipping) {
            return Item::Skipped;
        }
        self.is_handed_out = true;
        match is_first {
            true => Item::Line(without_mark(&self.partial)),
            false => Item::Line(&self.partial),
        }
    }

    /// Carries out what the next byte of a telnet command asks for.
    fn telnet_byte(&mut self, input: &mut &[u8], line_bytes_max: usize) -> Option<Item<'static>> {
        match self.telnet.step(input) {
            Step::Nothing => {}
            Step::Text(text) => {
                if !(self.begin_text(line_bytes_max) && self.push(text, line_bytes_max)) {
                    return Some(Item::TooLong);
                }
            }
            Step::EraseLine => self.erase_line(),
            // On an empty line there is nothing to erase.
            Step::EraseCharacter if self.is_at_line_start() => {}
            Step::EraseCharacter => {
                if !self.begin_text(line_bytes_max) {
                    return Some(Item::TooLong);
                }
                self.erase_character();
            }
            Step::Option(verb, option) => return Some(Item::Option(verb, option)),
            Step::WindowSize(columns, rows) => return Some(Item::WindowSize(columns, rows)),
            Step::SignOfLife => return Some(Item::SignOfLife),
            Step::AreYouThere => return Some(Item::AreYouThere),
        }
        None
    }
}

/// How many NULs `input` begins with.
fn count_nuls(input: &[u8]) -> usize {
    input.iter().take_while(|&&byte| byte == NUL).count()
}

/// Cuts off the mark that some programs put before any text in UTF-8.
fn without_mark(line: &[u8]) -> &[u8] {
    line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::hub::telnet::{DONT, WONT, refusal};

    const LIMIT: usize = 8;

    /// Cuts a stream that comes in these chunks, and returns its items as text.
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
                    Item::Option(verb, option) => match refusal(verb, option) {
                        Some([_, WONT, _]) => format!("WONT {option}"),
                        Some([_, DONT, _]) => format!("DONT {option}"),
                        _ => continue,
                    },
                    Item::WindowSize(columns, rows) => format!("{columns} x {rows}"),
                    Item::SignOfLife => "sign".into(),
                    Item::AreYouThere => "are you there".into(),
                    Item::Tls => "TLS".into(),
                });
            }
            assert_eq!(chunk, b"", "all is taken in");
        }
        items
    }

    /// Checks that a stream yields these items in one piece, split at every place, and byte by
    /// byte.
    pub fn check(stream: &[u8], expected: &[&str]) {
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            let split = items(&mut Splitter::default(), [head, tail]);
            assert_eq!(split, expected, "{} at {at}", stream.escape_ascii());
        }
        let bytes = items(&mut Splitter::default(), stream.chunks(1));
        assert_eq!(bytes, expected, "{} by bytes", stream.escape_ascii());
    }

    /// Checks what a stream yields after a first line that ended in LF.
    pub fn check_later(stream: &[u8], expected: &[&str]) {
        check(&[b"x\n", stream].concat(), &[&["<x>"], expected].concat());
    }

    #[test]
    fn a_line_ends_in_lf_cr_lf_or_cr_nul_wherever_the_stream_is_cut() {
        check(b"one\ntwo\r\nthree\r\0", &["<one>", "<two>", "<three>"]);
        check(b"\n\r\n\r\0", &["<>", "<>", "<>"]);
        check(b"a\n\nb\r\n\r\n", &["<a>", "<>", "<b>", "<>"]);
        check(b"not yet", &[]);
        check(b"a\nnot yet\r", &["<a>"]);
    }

    #[test]
    fn line_ends_and_nuls_before_a_line_do_not_belong_to_it() {
        let ends = [
            "\n", "\r\n", "\r\0", "\n\r", "\r\r\n", "\r\r\r\0", "\n\0", "\r\n\0", "\r\0\0\0",
            "\r\n\0\0",
        ];
        for end in ends {
            let stream = ["one", "two", "three", "four"].map(|line| format!("{line}{end}"));
            check(
                stream.concat().as_bytes(),
                &["<one>", "<two>", "<three>", "<four>"],
            );
            // Before the first line an LF may be an empty line.
            let stream = format!("{end}one{end}two{end}");
            let empty = end.contains('\n') || end.starts_with("\r\0") || end.starts_with("\r\r");
            let expected: &[&str] = match empty {
                true => &["<>", "<one>", "<two>"],
                false => &["<one>", "<two>"],
            };
            check(stream.as_bytes(), expected);
        }
        check(b"\0\0\0a\n\0\0\0b\n", &["<a>", "<b>"]);
        check(b"\n\0\0\n", &["<>", "<>"]);
        check(b"\r\rone\n\rtwo\n", &["<one>", "<two>"]);
        // A client that ends its lines in LF CR sends an empty line this way.
        check(b"one\n\r\n\rtwo\n\r", &["<one>", "<>", "<two>"]);
    }

    #[test]
    fn a_first_line_that_ends_in_cr_alone_makes_cr_the_end_of_lines() {
        check(b"one\r", &["<one>"]);
        check(
            b"one\rtwo\rthree\nfour\r",
            &["<one>", "<two>", "<three>", "<four>"],
        );
        check(b"\r\none\rtwo\r", &["<>", "<one>", "<two>"]);
        // The Return key on an empty line, at the start and later.
        check(
            b"\rone\rtwo\r\r\rthree\r",
            &["<one>", "<two>", "<>", "<>", "<three>"],
        );
        check(b"one\r\r\rtwo\r", &["<one>", "<two>"]);
        // An LF or NUL after such a CR is not an empty line, which would end a POLL's wait.
        check(
            b"one\rtwo\r\nthree\r\0four\r",
            &["<one>", "<two>", "<three>", "<four>"],
        );
        check(b"one\rtwo\r\n\n", &["<one>", "<two>", "<>"]);
        check(b"one\r\xff\xf1two\r", &["<one>", "sign", "<two>"]);
        check(
            b"one\r\xff\xfb\x01\r\xff\xfa\x18\0\xff\xf0two\r",
            &["<one>", "DONT 1", "<two>"],
        );
        check(
            b"one\r\xff\xfftwo\rthree\r",
            &["<one>", "<\\xfftwo>", "<three>"],
        );
        check(b"one\r\x08two\rthree\r", &["<one>", "<two>", "<three>"]);
        check(b"123456789\rtwo\r", &["too long", "skipped", "<two>"]);
        check(
            b"one\r123456789\rtwo\r",
            &["<one>", "too long", "skipped", "<two>"],
        );
    }

    #[test]
    fn after_a_first_line_that_ends_otherwise_a_cr_ends_no_line() {
        for end in ["\n", "\r\n", "\r\0", "\r\r\n", "\n\r"] {
            check(format!("one{end}a\rb\n").as_bytes(), &["<one>", "<a\\rb>"]);
        }
        check(b"one\r\xff\xf1\na\rb\n", &["<one>", "sign", "<a\\rb>"]);
        check(
            b"\xff\xfb\x01\xff\xfb\x03one\r\ntwo\rx\n",
            &["DONT 1", "DONT 3", "<one>", "<two\\rx>"],
        );
        // If the first line is erased, the next one decides.
        check(b"ab\xff\xf4one\rtwo\r", &["<one>", "<two>"]);
    }

    #[test]
    fn a_byte_order_mark_before_the_first_line_is_dropped() {
        for end in ["\n", "\r\n", "\r\0"] {
            check(
                format!("\u{feff}one{end}two{end}").as_bytes(),
                &["<one>", "<two>"],
            );
        }
        check("\u{feff}one\rtwo\r".as_bytes(), &["<one>", "<two>"]);
        check("\u{feff}\none\n".as_bytes(), &["<>", "<one>"]);
        check(b"a\n\xef\xbb\xbfb\n", &["<a>", "<\\xef\\xbb\\xbfb>"]);
        check(b"\xef\xbbone\n", &["<\\xef\\xbbone>"]);
    }

    #[test]
    fn a_stream_that_begins_as_tls_does_contains_no_line() {
        check(b"\x16", &["TLS"]);
        for before in [&b"\n"[..], b"a\n", b"\xff\xf1"] {
            let found = items(
                &mut Splitter::default(),
                [&[before, b"\x16\n"].concat()[..]],
            );
            assert_eq!(found.last().unwrap(), "<\\x16>");
        }
    }

    #[test]
    fn keys_erase_what_they_would_in_a_terminal() {
        for key in [&b"\x08"[..], b"\x7f", b"\xff\xf7"] {
            let typed = |pieces: [&[u8]; 3]| {
                [pieces[0], &key.repeat(2), pieces[1], key, pieces[2]].concat()
            };
            check(&typed([b"abcd", b"e", b"f\n"]), &["<abf>"]);
            check(&typed([b"a", b"bc", b"\r\n"]), &["<b>"]);
            check(&typed(["aé🦆".as_bytes(), b"", b"b\n"]), &["<b>"]);
            // Outside UTF-8, a byte counts as a character.
            check(&typed([b"a\xe9\xc3", b"\x80\x80", b"\n"]), &["<a\\x80>"]);
            check(&typed([b"a\n", b"b", b"c\n"]), &["<a>", "<c>"]);
            check(
                &typed([b"a\n12345678", b"78", b"8\n"]),
                &["<a>", "<12345678>"],
            );
        }
        for key in [&b"\x15"[..], b"\xff\xf8", b"\xff\xf4"] {
            let typed = |pieces: [&[u8]; 2]| [pieces[0], key, pieces[1]].concat();
            check(&typed([b"abc", b"d\n"]), &["<d>"]);
            check(&typed([b"abc", b"\nd\n"]), &["<>", "<d>"]);
            check(&typed([b"", b"d\r\n"]), &["<d>"]);
            check(&typed([b"a\nb\r", b"\nc\n"]), &["<a>", "<>", "<c>"]);
        }
        check(b"ab\x08\x15\x08cd\x7f\n", &["<c>"]);
        check(b"a\x08\0b\x15\0\0c\n", &["<c>"]);
        check(b"a\nb\r\x08c\n", &["<a>", "<bc>"]);
        check(b"a\nb\r\xff\xf7c\n", &["<a>", "<bc>"]);
    }

    #[test]
    fn erased_characters_do_not_count_towards_the_length() {
        check(b"12345678\x089\n", &["<12345679>"]);
        check(b"12345678\x0890\n", &["too long", "skipped"]);
        let mut long = b"x\x08".repeat(100);
        long.extend(b"12345678\n");
        check(&long, &["<12345678>"]);
        // A line that is too long can only be erased as a whole.
        check(b"123456789\x08\x08\x08a\n", &["too long", "skipped"]);
        check(b"123456789\xff\xf7a\nb\n", &["too long", "skipped", "<b>"]);
        check(b"123456789\x15a\n", &["too long", "<a>"]);
        check(b"123456789\xff\xf8a\n", &["too long", "<a>"]);
        check(
            b"123456789\x15123456789\x15a\n",
            &["too long", "too long", "<a>"],
        );
    }

    #[test]
    fn a_cr_or_nul_that_ends_no_line_is_part_of_it() {
        check_later(b"a\rb\n", &["<a\\rb>"]);
        check_later(b"a\r\rb\r\n", &["<a\\r\\rb>"]);
        check_later(b"a\0b\n", &["<a\\x00b>"]);
        check_later(b"a\0\n", &["<a\\x00>"]);
    }

    #[test]
    fn a_line_has_at_most_as_many_bytes_as_the_limit_says() {
        for end in ["\n", "\r\n", "\r\0"] {
            let longest = ["1234567", "12345678", "12345\r78", "\u{1b}2345678"];
            for line in longest {
                let items = [&*format!("<{}>", line.escape_debug()), "<ab>"]
                    .map(|item| item.replace("\\u{1b}", "\\x1b"));
                let stream = format!("{line}{end}ab{end}");
                check_later(stream.as_bytes(), &items.each_ref().map(|i| &**i));
            }
            for line in ["123456789", "1234567\r9", "12345678\rx"] {
                let stream = format!("{line}{end}ab{end}");
                check_later(stream.as_bytes(), &["too long", "skipped", "<ab>"]);
            }
        }
        check_later(b"1234567\xff\xff\n", &["<1234567\\xff>"]);
        check_later(b"12345678\xff\xff\n", &["too long", "skipped"]);
        check_later(b"1234567\r\xff\xff\n", &["too long", "skipped"]);
        check_later(b"1234567\xff\xfb\x018\n", &["DONT 1", "<12345678>"]);
    }

    #[test]
    fn a_line_that_is_too_long_is_reported_once() {
        let mut stream = b"x".repeat(100);
        stream.extend(b"\r\r\xff\xff\0x\xff\xfb\x01\r\n\nab\n");
        check_later(&stream, &["too long", "DONT 1", "skipped", "<>", "<ab>"]);
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

saved!(enum Ends { 0 = Start, 1 = First, 2 = FirstCr, 3 = Lf, 4 = Cr, 5 = CrEnded });
saved!(struct Splitter { partial, ends, telnet, crs, is_skipping, is_handed_out });
