//! Session tokens: where to find a session, and the secret that proves the client's right to it.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::state::saved;

/// 128 random bits from the operating system. Printed only as part of a token.
#[derive(Clone, Copy)]
pub struct Secret([u8; 16]);

impl Secret {
    /// Makes a new secret.
    ///
    /// # Errors
    ///
    /// If the system has no random numbers. Linux always has some once it has started.
    pub fn random() -> Result<Secret, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(Secret(bytes))
    }

    /// The secret as 32 hexadecimal digits.
    pub fn to_hex(self) -> String {
        format!("{:032x}", u128::from_be_bytes(self.0))
    }
}

impl PartialEq for Secret {
    /// Takes the same time wherever the first difference is.
    fn eq(&self, other: &Secret) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What the server keeps of a secret: enough to recognise it, and no help in finding it. So a token is
/// nowhere but with its client.
///
/// It is the first half of the secret's SHA-256 (FIPS 180-4).
#[derive(Clone, Copy)]
pub struct SecretHash([u8; 16]);

saved!(struct SecretHash(bytes));

impl SecretHash {
    /// The hash of a secret.
    pub fn of(secret: Secret) -> SecretHash {
        let hash: [u8; 32] = Sha256::digest(secret.0).into();
        let mut half = [0; 16];
        half.copy_from_slice(&hash[..16]);
        SecretHash(half)
    }

    /// It as two numbers.
    pub fn to_numbers(self) -> [u64; 2] {
        let number = u128::from_le_bytes(self.0);
        [number as u64, (number >> 64) as u64]
    }
}

impl PartialEq for SecretHash {
    /// Takes the same time wherever the first difference is.
    fn eq(&self, other: &SecretHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for SecretHash {}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

/// The name that a client uses for its session: 40 hexadecimal digits.
///
/// The first eight are the slot in which the server keeps the session, so it needs no search. Slots
/// are reused; the secret distinguishes the sessions in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token {
    /// The session's place among the server's sessions.
    pub slot: u32,
    /// What only the server and the client know.
    pub secret: Secret,
}

impl Token {
    const SLOT_DIGITS: usize = 8;
    const DIGITS: usize = Self::SLOT_DIGITS + 32;

    /// Reads a word as a token, if it is one.
    pub fn parse(word: &str) -> Option<Token> {
        if word.len() != Self::DIGITS || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let (slot, secret) = word.split_at(Self::SLOT_DIGITS);
        Some(Token {
            slot: u32::from_str_radix(slot, 16).ok()?,
            secret: Secret(u128::from_str_radix(secret, 16).ok()?.to_be_bytes()),
        })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let secret = u128::from_be_bytes(self.secret.0);
        write!(f, "{:08x}{secret:032x}", self.slot)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_from_its_text_and_other_texts_are_none() {
        let token = Token {
            slot: 0x1f,
            secret: Secret::random().unwrap(),
        };
        let text = token.to_string();
        assert_eq!(text.len(), Token::DIGITS);
        assert_eq!(Token::parse(&text), Some(token));
        assert_eq!(Token::parse(&text.to_uppercase()), Some(token));
        let signed = format!("+{}", &text[1..]);
        for bad in [
            "",
            &text[1..],
            &format!("{text}0"),
            &signed,
            &"é".repeat(20),
        ] {
            assert_eq!(Token::parse(bad), None, "{bad:?}");
        }
    }

    /// G23.
    #[test]
    fn a_secret_is_new_each_time_and_debug_does_not_show_it() {
        let (one, other) = (Secret::random().unwrap(), Secret::random().unwrap());
        assert_ne!(one, other);
        assert_eq!(format!("{one:?}"), "Secret(…)");
    }
}
