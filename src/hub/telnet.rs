//! Follows telnet's commands (RFC 854, RFC 855) byte by byte, and says what each asks for.

use crate::state::saved;

pub const IAC: u8 = 255;
pub const DONT: u8 = 254;
pub const DO: u8 = 253;
pub const WONT: u8 = 252;
pub const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const INTERRUPT: u8 = 244;
const NOP: u8 = 241;
const SE: u8 = 240;

/// The option that all eight bits of what is typed arrive as they are (RFC 856).
pub const BINARY: u8 = 0;
/// The option that the server shows what is typed (RFC 857).
pub const ECHO: u8 = 1;
/// The option that nothing says whose turn it is to send (RFC 858). With ECHO it makes a client send
/// each key.
pub const SUPPRESS_GO_AHEAD: u8 = 3;
/// The option that the client says how large its window is (RFC 1073).
pub const WINDOW_SIZE: u8 = 31;
/// The bytes of a subnegotiation of [`WINDOW_SIZE`]: the option, and two numbers of two bytes.
const WINDOW_SIZE_BYTES: usize = 5;

/// Where a stream stands within a telnet command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Telnet {
    /// Within no command.
    #[default]
    Data,
    /// After IAC.
    Command,
    /// After IAC and this verb; the option's number comes next.
    Option(u8),
    /// Within a subnegotiation.
    Subnegotiation(Subnegotiation),
    /// After an IAC within a subnegotiation, which counts as one of its bytes.
    SubnegotiationCommand(Subnegotiation),
}

/// What has come of a subnegotiation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Subnegotiation {
    /// How many bytes, an IAC before one of them included.
    bytes: u8,
    /// How many bytes it says.
    said: u8,
    /// The first of those.
    beginning: [u8; WINDOW_SIZE_BYTES],
}

impl Subnegotiation {
    /// Takes one more byte.
    fn say(&mut self, byte: u8) {
        if let Some(place) = self.beginning.get_mut(usize::from(self.said)) {
            *place = byte;
        }
        self.said = self.said.saturating_add(1);
    }

    /// The client's columns and rows, if it says those.
    fn window_size(self) -> Option<(u16, u16)> {
        match self.beginning {
            [WINDOW_SIZE, a, b, c, d] if usize::from(self.said) == WINDOW_SIZE_BYTES => {
                Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
            }
            _ => None,
        }
    }
}

/// What the next byte of a telnet command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing, or nothing yet.
    Nothing,
    /// To take these bytes as text, since they turned out to be no command.
    Text(&'static [u8]),
    /// To erase the unfinished line.
    EraseLine,
    /// To erase its last character.
    EraseCharacter,
    /// To decide about an option: WILL, WONT, DO or DONT, and its number.
    Option(u8, u8),
    /// To note the size of the client's window, in columns and rows.
    WindowSize(u16, u16),
    /// To note a sign of life.
    SignOfLife,
    /// To tell the client that the server is there.
    AreYouThere,
}

impl Telnet {
    /// Takes the next byte of a command off `input`. A byte that cannot belong to a command stays
    /// there, and what came before it was text.
    pub fn step(&mut self, input: &mut &[u8]) -> Step {
        let byte = input[0];
        let mut is_taken = true;
        let step = match (std::mem::take(self), byte) {
            (Telnet::Data, _) => unreachable!("this byte is text"),
            (Telnet::SubnegotiationCommand(said), SE) => match said.window_size() {
                Some((columns, rows)) => Step::WindowSize(columns, rows),
                None => Step::Nothing,
            },
            (Telnet::Command | Telnet::SubnegotiationCommand(_), SE..=DONT) => self.command(byte),
            (Telnet::Command, _) => {
                // Only a second 255 belongs to the first; any other byte keeps its meaning.
                is_taken = byte == IAC;
                Step::Text(&[IAC])
            }
            // As options these belonged to half-duplex printers (RFC 652, RFC 658). Here such a
            // byte ends a line, whose text is in an encoding other than UTF-8.
            (Telnet::Option(verb), b'\n' | b'\r') => {
                is_taken = false;
                Step::Text(match verb {
                    WILL => &[IAC, WILL],
                    WONT => &[IAC, WONT],
                    DO => &[IAC, DO],
                    _ => &[IAC, DONT],
                })
            }
            (Telnet::Option(verb @ (WILL | DO)), option) => Step::Option(verb, option),
            (Telnet::Option(verb), option @ (ECHO | SUPPRESS_GO_AHEAD | WINDOW_SIZE)) => {
                Step::Option(verb, option)
            }
            // The server has not asked for any other.
            (Telnet::Option(_), _) => Step::Nothing,
            (Telnet::Subnegotiation(so_far), IAC) => {
                self.go_on(so_far, Telnet::SubnegotiationCommand)
            }
            (Telnet::Subnegotiation(mut so_far) | Telnet::SubnegotiationCommand(mut so_far), _) => {
                so_far.say(byte);
                self.go_on(so_far, Telnet::Subnegotiation)
            }
        };
        if is_taken {
            *input = &input[1..];
        }
        if step == Step::SignOfLife {
            // A row of them is one sign of life.
            while let [IAC, NOP, rest @ ..] = *input {
                *input = rest;
            }
        }
        step
    }

    /// Carries out a command of one byte, or begins a longer one.
    fn command(&mut self, byte: u8) -> Step {
        match byte {
            SB => *self = Telnet::Subnegotiation(Subnegotiation::default()),
            WILL | WONT | DO | DONT => *self = Telnet::Option(byte),
            NOP => return Step::SignOfLife,
            ARE_YOU_THERE => return Step::AreYouThere,
            INTERRUPT | ERASE_LINE => return Step::EraseLine,
            ERASE_CHARACTER => return Step::EraseCharacter,
            _ => {}
        }
        Step::Nothing
    }

    /// Counts a byte of a subnegotiation, and goes on in the state `next`. After 255 bytes it is
    /// taken for text.
    fn go_on(&mut self, mut so_far: Subnegotiation, next: fn(Subnegotiation) -> Telnet) -> Step {
        match so_far.bytes.checked_add(1) {
            Some(bytes) => {
                so_far.bytes = bytes;
                *self = next(so_far);
                Step::Nothing
            }
            None => Step::Text(&[IAC]),
        }
    }
}

/// What refuses an option that a client offers or asks for. Its refusals need no answer.
pub fn refusal(verb: u8, option: u8) -> Option<[u8; 3]> {
    match verb {
        WILL => Some([IAC, DONT, option]),
        DO => Some([IAC, WONT, option]),
        _ => None,
    }
}

saved!(enum Telnet {
    0 = Data,
    1 = Command,
    2 = Option(verb),
    3 = Subnegotiation(so_far),
    4 = SubnegotiationCommand(so_far),
});
saved!(struct Subnegotiation { bytes, said, beginning });

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::line::tests::{check, check_later};

    #[test]
    fn nop_and_are_you_there_are_no_part_of_a_line() {
        check(b"\xff\xf1", &["sign"]);
        check(b"a\xff\xf6b\xff\xf1\n", &["are you there", "sign", "<ab>"]);
    }

    #[test]
    fn after_iac_only_240_to_254_are_commands() {
        check(b"SAY \xff\nJOIN\n", &["<SAY \\xff>", "<JOIN>"]);
        check(b"SAY \xff\r\nJOIN\r\n", &["<SAY \\xff>", "<JOIN>"]);
        check(b"a\n\xff\rb\n", &["<a>", "<\\xff\\rb>"]);
        check(b"SAY \xff\rJOIN\r", &["<SAY \\xff>", "<JOIN>"]);
        check(b"\xff\0\n", &["<\\xff\\x00>"]);
        check(b"a\xff\x08b\xff\x15c\n", &["<c>"]);
        for byte in (0..240).filter(|byte| !b"\0\n\r\x08\x15\x7f".contains(byte)) {
            let line = [0xff, byte, b'a'];
            check(
                &[&line[..], b"\nb\n"].concat(),
                &[&format!("<{}>", line.escape_ascii()), "<b>"],
            );
        }
        // A verb before a line end is no offer.
        for verb in [WILL, WONT, DO, DONT] {
            let line = format!("<a\\xff\\x{verb:x}>");
            check(&[b'a', IAC, verb, b'\n', b'b', b'\n'], &[&line, "<b>"]);
            check(
                &[b'a', IAC, verb, b'\r', b'\n', b'b', b'\n'],
                &[&line, "<b>"],
            );
        }
        // Such a byte may be the one that makes a line too long.
        check(b"1234567\xff\n", &["<1234567\\xff>"]);
        check(b"12345678\xff\na\n", &["too long", "skipped", "<a>"]);
    }

    #[test]
    fn a_subnegotiation_ends_with_any_command_or_at_256_bytes() {
        check(b"a\xff\xfa\x18\xff\xf1b\n", &["sign", "<ab>"]);
        check(b"a\xff\xfa\x18\xff\xfb\x01b\n", &["DONT 1", "<ab>"]);
        check(b"a\xff\xfa\x18\xff\xfa\x18\xff\xf0b\n", &["<ab>"]);
        check(b"a\xff\xfa\x18\xff\xf4b\n", &["<b>"]);
        check(b"a\xff\xfa\x18\xff\nb\xff\xf0c\n", &["<ac>"]);
        for (fill, end) in [
            (255, &b"\xff\xf0"[..]),
            (255, b"\n"),
            (254, b"\xff\xff"),
            (254, b"\xff\n"),
        ] {
            let fill = b"\n".repeat(fill);
            let stream = [b"a\xff\xfa", &fill[..], end, b"b\n"].concat();
            // The bytes up to the 256th are dropped, and what follows is text again.
            let expected: &[&str] = match end {
                b"\xff\xf0" => &["<a\\xff\\xf0b>"],
                _ => &["<a\\xffb>"],
            };
            check(&stream, expected);
        }
        let fits = [b"a\xff\xfa", &b"\n".repeat(254)[..], b"\xff\xf0b\n"].concat();
        check(&fits, &["<ab>"]);
    }

    #[test]
    fn options_are_refused_and_refusals_are_not_answered() {
        check(&[IAC, WILL, 1], &["DONT 1"]);
        check(&[IAC, DO, 3], &["WONT 3"]);
        check(&[IAC, WONT, 1, IAC, DONT, 3, b'\n'], &["<>"]);
        check(&[b'a', IAC, WILL, 0, b'b', b'\n'], &["DONT 0", "<ab>"]);
        check(&[IAC, DO, IAC, IAC, DO, IAC], &["WONT 255", "WONT 255"]);
        check(&[b'a', IAC, 243, b'b', IAC, SE, b'\n'], &["<ab>"]);
    }

    #[test]
    fn a_doubled_iac_is_the_byte_255() {
        check_later(b"a\xff\xffb\n", &["<a\\xffb>"]);
        check_later(b"\xff\xff\xff\xff\r\n", &["<\\xff\\xff>"]);
        check_later(b"a\r\xff\xff\n", &["<a\\r\\xff>"]);
        check_later(b"\xff\xff\xff\xfb\x01\n", &["DONT 1", "<\\xff>"]);
    }

    #[test]
    fn a_subnegotiation_is_taken_out_whole() {
        check(b"a\xff\xfa\x17\0\x50\0\x18\xff\xf0b\n", &["<ab>"]);
        check(b"\xff\xfa\x18\xff\xff\xf0\r\n\xff\xf0a\n", &["<a>"]);
        check(b"a\xff\xfa\n\xff\xff\n\xff\x01\n\xff\xf0b\n", &["<ab>"]);
        check(b"\xff\xfa\x18 never ends\n\n", &[]);
    }

    #[test]
    fn a_window_has_columns_and_rows() {
        check(
            b"a\xff\xfa\x1f\0\x50\0\x18\xff\xf0b\n",
            &["80 x 24", "<ab>"],
        );
        check(b"\xff\xfa\x1f\0\xff\xff\x01\0\xff\xf0", &["255 x 256"]);
        check(
            b"\xff\xfa\x1f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xf0",
            &["65535 x 65535"],
        );
        // Something is missing or too much, or the end is another command.
        for bytes in [&b"\x1f\0\x50\0"[..], b"\x1f\0\x50\0\x18\0", b""] {
            check(&[b"\xff\xfa", bytes, b"\xff\xf0a\n"].concat(), &["<a>"]);
        }
        check(b"\xff\xfa\x1f\0\x50\0\x18\xff\xf1a\n", &["sign", "<a>"]);
    }

    #[test]
    fn a_telnet_command_between_cr_and_lf_does_not_separate_them() {
        check_later(b"a\r\xff\xf3\nb\n", &["<a>", "<b>"]);
        check_later(b"a\r\xff\xfb\x01\0b\n", &["DONT 1", "<a>", "<b>"]);
        check_later(b"a\r\xff\xfa\n\xff\xf0\n", &["<a>"]);
        check_later(b"a\r\xff\xf3b\n", &["<a\\rb>"]);
    }

    #[test]
    fn an_interrupt_erases_the_unfinished_line() {
        check_later(b"abc\xff\xf4d\n", &["<d>"]);
        check_later(b"a\nbc\r\xff\xf4\nd\n", &["<a>", "<>", "<d>"]);
        check_later(b"123456789\xff\xf4d\n", &["too long", "<d>"]);
        check_later(
            b"123456789\r\xff\xf4\xff\xfd\x06d\n",
            &["too long", "WONT 6", "<d>"],
        );
    }
}
