//! Sessions' tokens, in the size that the memory for a million of them allows.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Each byte is two digits. All zero before the session has joined.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct Token([u8; 20]);

impl Token {
    /// Reads the digits, which have to be as many as a token has.
    pub fn parse(digits: &[u8]) -> Option<Token> {
        let mut token = Token::default();
        if digits.len() != 2 * token.0.len() {
            return None;
        }
        let digit = |digit: u8| (digit as char).to_digit(16);
        for (byte, pair) in token.0.iter_mut().zip(digits.chunks(2)) {
            *byte = (digit(pair[0])? << 4 | digit(pair[1])?) as u8;
        }
        Some(token)
    }

    /// Appends RESUME with this token, without the line's end.
    pub fn resume(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"RESUME ");
        for byte in self.0 {
            out.push(DIGITS[usize::from(byte >> 4)]);
            out.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}
