//! Follows telnet's commands (RFC 854, RFC 855) byte by byte, and says what each asks for.

pub const IAC: u8 = 255;
pub const DONT: u8 = 254;
const DO: u8 = 253;
pub const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const INTERRUPT: u8 = 244;
const NOP: u8 = 241;
const SE: u8 = 240;

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
    /// Within a subnegotiation, after this many of its bytes.
    Subnegotiation(u8),
    /// After an IAC within a subnegotiation, which has this many bytes with it.
    SubnegotiationCommand(u8),
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
    /// To answer the offer of an option with these bytes.
    Negotiation([u8; 3]),
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
            (Telnet::Option(WILL), option) => Step::Negotiation([IAC, DONT, option]),
            (Telnet::Option(DO), option) => Step::Negotiation([IAC, WONT, option]),
            (Telnet::Option(_), _) => Step::Nothing,
            (Telnet::Subnegotiation(count), IAC) => {
                self.count_subnegotiation(count, Telnet::SubnegotiationCommand)
            }
            (Telnet::Subnegotiation(count) | Telnet::SubnegotiationCommand(count), _) => {
                self.count_subnegotiation(count, Telnet::Subnegotiation)
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
            SB => *self = Telnet::Subnegotiation(0),
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
    fn count_subnegotiation(&mut self, count: u8, next: fn(u8) -> Telnet) -> Step {
        match count.checked_add(1) {
            Some(count) => {
                *self = next(count);
                Step::Nothing
            }
            None => Step::Text(&[IAC]),
        }
    }
}

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
        check(b"a\xff\xfa\x1f\0\x50\0\x18\xff\xf0b\n", &["<ab>"]);
        check(b"\xff\xfa\x18\xff\xff\xf0\r\n\xff\xf0a\n", &["<a>"]);
        check(b"a\xff\xfa\n\xff\xff\n\xff\x01\n\xff\xf0b\n", &["<ab>"]);
        check(b"\xff\xfa\x18 never ends\n\n", &[]);
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
