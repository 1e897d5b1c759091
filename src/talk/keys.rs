//! Turns the bytes that a terminal sends into keys, wherever reads happen to cut them.
//!
//! The sequences are those that xterm, VTE, PuTTY, rxvt, the Linux console and Windows send. What
//! begins a sequence follows ECMA-48, section 5.4: ESC [, numbers, and a final character.

use crate::state::saved;

const NUL: u8 = 0;
const BACKSPACE: u8 = 8;
const TAB: u8 = 9;
const LF: u8 = 10;
const CR: u8 = 13;
const ESC: u8 = 27;
const DEL: u8 = 127;

/// A key, or what a key stands for in readline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// A character of the line. The editor may refuse it.
    Character(char),
    /// Bytes that are not UTF-8.
    Invalid,
    /// Return or Enter.
    Return,
    /// TAB.
    Complete,
    /// Ctrl-C, and telnet's `IAC IP`.
    Interrupt,
    /// Ctrl-D: deletes like Delete, and on an empty line is the end.
    DeleteOrEnd,
    /// Left, and Ctrl-B.
    Left,
    /// Right, and Ctrl-F.
    Right,
    /// Ctrl-Left, and Alt-B.
    WordLeft,
    /// Ctrl-Right, and Alt-F.
    WordRight,
    /// Home, and Ctrl-A.
    Home,
    /// End, and Ctrl-E.
    End,
    /// Up, and Ctrl-P.
    Older,
    /// Down, and Ctrl-N.
    Newer,
    /// Backspace, and telnet's `IAC EC`.
    Backspace,
    /// Delete.
    Delete,
    /// Ctrl-W, and Alt-Backspace.
    EraseWord,
    /// Ctrl-U: erases what stands before the cursor.
    EraseBefore,
    /// Ctrl-K: erases what stands after the cursor.
    EraseAfter,
    /// Telnet's `IAC EL`; no key sends it.
    EraseLine,
    /// Ctrl-L: clears the screen.
    ClearScreen,
}

/// Where in a sequence of bytes the next one stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside any.
    Ground,
    /// After a CR: an LF or NUL belongs to it.
    Cr,
    /// After an ESC.
    Escape,
    /// After ESC [.
    Csi(Csi),
    /// After ESC O.
    Ss3(Csi),
    /// After ESC [ [, which the Linux console's function keys begin with.
    LinuxFunction,
    /// Within a character of several bytes. After an ESC it is one that was typed with Alt.
    Utf8(Partial),
}

/// The beginning of a character of several bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Partial {
    bytes: [u8; 4],
    len: u8,
    is_alt: bool,
}

/// What a byte has brought about.
enum Step {
    /// It belongs to what came before, and may have ended a key.
    Taken(Option<Key>),
    /// What came before has ended without it, so it is to be looked at again.
    Left(Option<Key>),
}

/// What has come of an escape sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Csi {
    /// The first number.
    first: u8,
    /// The second number: which modifiers are held.
    modifiers: u8,
    /// Whether the first number has ended.
    has_second: bool,
    /// Whether it holds anything but numbers, as no key does that is known here.
    is_other: bool,
}

impl Csi {
    /// With a byte before the final one taken in.
    fn with(mut self, byte: u8) -> Csi {
        let number = match self.has_second {
            false => &mut self.first,
            true => &mut self.modifiers,
        };
        match byte {
            b'0'..=b'9' => *number = number.saturating_mul(10).saturating_add(byte - b'0'),
            b';' if !self.has_second => self.has_second = true,
            _ => self.is_other = true,
        }
        self
    }

    /// Whether rxvt ends such a sequence in `byte`, which elsewhere ends none: ESC [ 7 $ is Home with
    /// Shift.
    fn is_ended_by(self, byte: u8) -> bool {
        byte == b'$' && self.first > 0 && !self.is_other
    }

    /// Whether Ctrl or Alt is held: xterm adds 4 and 2 to 1. In ESC O 5 C the number is the first.
    fn is_ctrl_or_alt(self) -> bool {
        let modifiers = match self.has_second {
            false => self.first,
            true => self.modifiers,
        };
        modifiers.saturating_sub(1) & 6 != 0
    }

    /// The key that `last` ends.
    fn key(self, last: u8) -> Option<Key> {
        let key = match last {
            _ if self.is_other => return None,
            b'A' => Key::Older,
            b'B' => Key::Newer,
            b'C' if self.is_ctrl_or_alt() => Key::WordRight,
            b'D' if self.is_ctrl_or_alt() => Key::WordLeft,
            b'C' => Key::Right,
            b'D' => Key::Left,
            b'H' => Key::Home,
            b'F' => Key::End,
            // With Shift or Ctrl, rxvt ends these in a character of its own.
            b'~' | b'^' | b'$' | b'@' => match self.first {
                1 | 7 => Key::Home,
                4 | 8 => Key::End,
                3 => Key::Delete,
                _ => return None,
            },
            _ => return None,
        };
        Some(key)
    }
}

/// Reads keys out of a stream of bytes. Telnet's commands are out of it already.
#[derive(Debug)]
pub struct Keys {
    state: State,
}

impl Keys {
    /// Begins after the end of a line, so that an LF or NUL that comes first belongs to that end.
    pub fn new() -> Keys {
        Keys { state: State::Cr }
    }

    /// Takes the next key off the front of `input`, or takes in all of `input` and returns `None`.
    pub fn next(&mut self, input: &mut &[u8]) -> Option<Key> {
        while let Some((&byte, rest)) = input.split_first() {
            let key = match self.step(byte) {
                Step::Taken(key) => {
                    *input = rest;
                    key
                }
                Step::Left(key) => key,
            };
            if key.is_some() {
                return key;
            }
        }
        None
    }

    fn step(&mut self, byte: u8) -> Step {
        let state = std::mem::replace(&mut self.state, State::Ground);
        let is_final = matches!(byte, b'@'..=b'~');
        match state {
            State::Ground => self.ground(byte),
            State::Cr if matches!(byte, LF | NUL) => Step::Taken(None),
            State::Cr => Step::Left(None),
            State::Escape => self.escape(byte),
            // The Linux console's F1 to F5: ESC [ [ A.
            State::Csi(csi) if byte == b'[' && csi == Csi::default() => {
                self.go(State::LinuxFunction)
            }
            State::Csi(csi) if is_final || csi.is_ended_by(byte) => Step::Taken(csi.key(byte)),
            State::Ss3(_) if byte == b'M' => Step::Taken(Some(Key::Return)),
            State::Ss3(csi) if is_final => Step::Taken(csi.key(byte).or(rxvt_ctrl(byte))),
            State::Csi(csi) if matches!(byte, b' '..=b'?') => self.go(State::Csi(csi.with(byte))),
            State::Ss3(csi) if matches!(byte, b' '..=b'?') => self.go(State::Ss3(csi.with(byte))),
            State::LinuxFunction if is_final => Step::Taken(None),
            // Nothing else can be part of a sequence.
            State::Csi(_) | State::Ss3(_) | State::LinuxFunction => Step::Left(None),
            State::Utf8(partial) => self.utf8(partial, byte),
        }
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Step::Taken(None)
    }

    /// Takes in a byte that begins something.
    fn ground(&mut self, byte: u8) -> Step {
        let key = match byte {
            CR => {
                self.state = State::Cr;
                Key::Return
            }
            ESC => return self.go(State::Escape),
            b' '..=b'~' => Key::Character(byte.into()),
            0x80.. => return self.utf8(Partial::default(), byte),
            LF => Key::Return,
            BACKSPACE | DEL => Key::Backspace,
            TAB => Key::Complete,
            1 => Key::Home,
            2 => Key::Left,
            3 => Key::Interrupt,
            4 => Key::DeleteOrEnd,
            5 => Key::End,
            6 => Key::Right,
            11 => Key::EraseAfter,
            12 => Key::ClearScreen,
            14 => Key::Newer,
            16 => Key::Older,
            21 => Key::EraseBefore,
            23 => Key::EraseWord,
            _ => return Step::Taken(None),
        };
        Step::Taken(Some(key))
    }

    /// Takes in the byte after an ESC, which Alt puts before a key. Whoever presses Escape and then
    /// Return wants Return.
    fn escape(&mut self, byte: u8) -> Step {
        let key = match byte {
            b'[' => return self.go(State::Csi(Csi::default())),
            b'O' => return self.go(State::Ss3(Csi::default())),
            // With Alt, some terminals put one more before an arrow's sequence.
            ESC => return self.go(State::Escape),
            BACKSPACE | DEL => Key::EraseWord,
            b'b' => Key::WordLeft,
            b'f' => Key::WordRight,
            0..b' ' => return Step::Left(None),
            0x80.. => {
                let partial = Partial {
                    is_alt: true,
                    ..Partial::default()
                };
                return self.utf8(partial, byte);
            }
            _ => return Step::Taken(None),
        };
        Step::Taken(Some(key))
    }

    /// Takes in a byte of a character of several.
    fn utf8(&mut self, mut partial: Partial, byte: u8) -> Step {
        partial.bytes[usize::from(partial.len)] = byte;
        partial.len += 1;
        let error = match std::str::from_utf8(&partial.bytes[..partial.len.into()]) {
            Ok(text) => {
                let key = text.chars().next().map(Key::Character);
                return Step::Taken(key.filter(|_| !partial.is_alt));
            }
            Err(error) => error,
        };
        match error.error_len() {
            None => self.go(State::Utf8(partial)),
            Some(_) if partial.len == 1 => Step::Taken(Some(Key::Invalid)),
            Some(_) => Step::Left(Some(Key::Invalid)),
        }
    }
}

/// What rxvt sends for an arrow with Ctrl: ESC O and a small letter.
fn rxvt_ctrl(last: u8) -> Option<Key> {
    match last {
        b'c' => Some(Key::WordRight),
        b'd' => Some(Key::WordLeft),
        _ => None,
    }
}

saved!(struct Keys { state });
saved!(enum State {
    0 = Ground,
    1 = Cr,
    2 = Escape,
    3 = Csi(csi),
    4 = Ss3(csi),
    5 = LinuxFunction,
    6 = Utf8(partial),
});
saved!(struct Partial { bytes, len, is_alt });
saved!(struct Csi { first, modifiers, has_second, is_other });

#[cfg(test)]
mod tests {
    use super::*;

    /// The keys in a stream that comes in these chunks.
    fn keys<'i>(chunks: impl IntoIterator<Item = &'i [u8]>) -> Vec<Key> {
        let mut keys = Keys::new();
        let mut found = Vec::new();
        for mut chunk in chunks {
            found.extend(std::iter::from_fn(|| keys.next(&mut chunk)));
            assert_eq!(chunk, b"", "all is taken in");
        }
        found
    }

    /// Checks that a stream has these keys in one piece, split at every place, and byte by byte.
    #[track_caller]
    fn check(stream: impl AsRef<[u8]>, expected: &[Key]) {
        let stream = stream.as_ref();
        for at in 0..=stream.len() {
            let (head, tail) = stream.split_at(at);
            let found = keys([head, tail]);
            assert_eq!(found, expected, "{} at {at}", stream.escape_ascii());
        }
        let found = keys(stream.chunks(1));
        assert_eq!(found, expected, "{} by bytes", stream.escape_ascii());
    }

    /// Checks that a sequence stands for one key, and that what follows is a key of its own.
    #[track_caller]
    fn check_sequence(sequence: &str, key: Option<Key>) {
        let expected: Vec<_> = key.into_iter().chain([Key::Character('x')]).collect();
        check(format!("{sequence}x"), &expected);
    }

    #[test]
    fn control_characters_are_the_keys_of_readline() {
        let letters = [
            (b'A', Key::Home),
            (b'B', Key::Left),
            (b'C', Key::Interrupt),
            (b'D', Key::DeleteOrEnd),
            (b'E', Key::End),
            (b'F', Key::Right),
            (b'H', Key::Backspace),
            (b'I', Key::Complete),
            (b'J', Key::Return),
            (b'K', Key::EraseAfter),
            (b'L', Key::ClearScreen),
            (b'M', Key::Return),
            (b'N', Key::Newer),
            (b'P', Key::Older),
            (b'U', Key::EraseBefore),
            (b'W', Key::EraseWord),
        ];
        for byte in (b'A'..=b'Z').chain(b"\\]^_".iter().copied()) {
            let key = letters.iter().find(|(letter, _)| *letter == byte);
            let expected: Vec<_> = key.map(|(_, key)| *key).into_iter().collect();
            check(
                [b'\n', b' ', byte - b'@'],
                &[&[Key::Character(' ')], &expected[..]].concat(),
            );
        }
        check([DEL], &[Key::Backspace]);
        check([b' ', NUL], &[Key::Character(' ')]);
    }

    #[test]
    fn arrows_home_end_and_delete_come_in_many_forms() {
        for (sequences, key) in [
            ("[A OA [1;2A", Some(Key::Older)),
            ("[B OB [1;2B", Some(Key::Newer)),
            ("[C OC [1;2C", Some(Key::Right)),
            ("[D OD [1;2D", Some(Key::Left)),
            ("[1;5C [1;3C [1;6C O5C Oc f", Some(Key::WordRight)),
            ("[1;5D [1;3D [1;6D O5D Od b", Some(Key::WordLeft)),
            ("[H OH [1~ [7~ [1;5H [7^ [7$ [7@", Some(Key::Home)),
            ("[F OF [4~ [8~ [1;5F [8^ [8$ [8@", Some(Key::End)),
            ("[3~ [3;5~ [3^ [3$", Some(Key::Delete)),
            ("OM", Some(Key::Return)),
            ("\x7f \x08", Some(Key::EraseWord)),
        ] {
            for sequence in sequences.split(' ') {
                check_sequence(&format!("\x1b{sequence}"), key);
                // With Alt in some terminals.
                check_sequence(&format!("\x1b\x1b{sequence}"), key);
            }
        }
    }

    #[test]
    fn other_sequences_are_swallowed_whole() {
        for sequence in [
            "[2~",
            "[5~",
            "[6~",
            "[11~",
            "[24;5~",
            "[200~",
            "[201~",
            "[Z",
            "[I",
            "[O",
            "[a",
            "[[A",
            "[[E",
            "OP",
            "OS",
            "Oj",
            "OX",
            "[?1;2c",
            "[>0;276;0c",
            "[<0;1;2M",
            "[1;2;3;4~",
            "[E",
            "[24;80R",
            "[999999999999~",
            "[?3~",
            "[=1A",
            "[ A",
            "q",
            "1",
            "\\",
            "]",
            "P",
            "é",
            "🦆",
            "\u{301}",
        ] {
            check_sequence(&format!("\x1b{sequence}"), None);
        }
    }

    #[test]
    fn what_cannot_be_part_of_a_sequence_ends_it_and_counts() {
        for beginning in ["", "[", "[1", "[1;5", "O", "O5", "[["] {
            check(format!("\x1b{beginning}\r"), &[Key::Return]);
            check(format!("\x1b{beginning}\x03"), &[Key::Interrupt]);
            check(format!("\x1b{beginning}\x1b[D"), &[Key::Left]);
            if !beginning.is_empty() {
                check(format!("\x1b{beginning}é"), &[Key::Character('é')]);
                check(format!("\x1b{beginning}\x7f"), &[Key::Backspace]);
            }
        }
    }

    #[test]
    fn an_lf_or_nul_after_a_cr_belongs_to_it() {
        use Key::{Character, Return};
        for end in ["\r", "\n", "\r\n", "\r\0"] {
            let stream = format!("a{end}b{end}{end}");
            let expected = [Character('a'), Return, Character('b'), Return, Return];
            check(stream, &expected);
        }
        check("\r\n\n", &[Return, Return]);
        check("\r\r\n", &[Return, Return]);
        // That the line before ended in a CR is not known at first.
        check("\na", &[Character('a')]);
        check("\0a", &[Character('a')]);
        check("a\n", &[Character('a'), Return]);
    }

    #[test]
    fn characters_are_read_as_utf_8_and_what_is_not_counts_as_invalid() {
        use Key::{Character, Invalid};
        let text = "aé\u{301}中🦆\u{10ffff}\u{80}";
        check(text, &text.chars().map(Character).collect::<Vec<_>>());
        check(b"\xe9t\xe9", &[Invalid, Character('t')]);
        check(b"\xc3\xc3\xa9", &[Invalid, Character('é')]);
        check(b"\xf0\x9f\xa6\r", &[Invalid, Key::Return]);
        check(b"\xe4\xb8\x1b[D", &[Invalid, Key::Left]);
        check(b"\x80\xff\xc0\xf5", &[Invalid; 4]);
        // Surrogates and what is longer than needed.
        check(b"\xed\xa0\x80", &[Invalid; 3]);
        check(b"\xe0\x80\x80", &[Invalid; 3]);
        check(b"\xf4\x90\x80\x80", &[Invalid; 4]);
        check(b"\x1b\xc3a", &[Invalid, Character('a')]);
    }
}
