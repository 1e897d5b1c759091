//! Names of members and rooms.

use std::fmt;

use super::limits::NAME_BYTES_MAX;
use crate::state::{Fields, Part, Writer, load_text, save_text, saved};

/// The name of the room that a JOIN without `room=` enters.
pub const DEFAULT_ROOM: Name = Name::parse("lobby").expect("it is a name");

/// A name as its owner wrote it: 1 to 24 of `A-Z a-z 0-9 _ -`, beginning with a letter or digit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; NAME_BYTES_MAX]);

/// A member's name in a room that may span boxes: `ann`, or `ann@attic` for a member of the box `attic`.
/// A name has no `@`, so no local name looks like one from another box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FullName {
    /// The member's name.
    pub name: Name,
    /// The box that the member is on; `None` for this one.
    pub at: Option<Name>,
}

/// A name without regard to case, for comparing and sorting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folded([u64; NAME_BYTES_MAX / 8]);

impl Name {
    /// What a name is, for the error about a word that is not a name.
    pub const RULE: &str = "a name is 1 to 24 of A-Z a-z 0-9 _ - and begins with a letter or digit";

    /// Reads a word as a name, if it is one.
    pub const fn parse(word: &str) -> Option<Name> {
        let bytes = word.as_bytes();
        if bytes.len() > NAME_BYTES_MAX {
            return None;
        }
        // Names contain no zero bytes, so padding with them keeps the order.
        let mut name = [0; NAME_BYTES_MAX];
        let mut at = 0;
        while at < bytes.len() {
            let is_of_names = matches!(bytes[at], b'_' | b'-') && at > 0;
            if !bytes[at].is_ascii_alphanumeric() && !is_of_names {
                return None;
            }
            name[at] = bytes[at];
            at += 1;
        }
        if at > 0 { Some(Name(name)) } else { None }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0);
        let bytes = &self.0[..len.unwrap_or(NAME_BYTES_MAX)];
        std::str::from_utf8(bytes).expect("a name is ASCII")
    }

    /// The name without regard to case.
    pub fn folded(&self) -> Folded {
        let mut folded = [0; NAME_BYTES_MAX / 8];
        for (folded, word) in folded.iter_mut().zip(self.0.chunks_exact(8)) {
            // The first byte weighs most, as when texts are compared.
            let word = word.try_into().expect("a chunk has eight bytes");
            *folded = to_lowercase(u64::from_be_bytes(word));
        }
        Folded(folded)
    }
}

/// It is saved as text.
impl Part for Name {
    fn save(&self, out: &mut Writer<'_>) {
        save_text(self.as_str(), out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        let name = Name::parse(load_text(from));
        from.damage(name.is_none());
        name.unwrap_or(DEFAULT_ROOM)
    }
}

saved!(struct FullName { name, at });

impl Folded {
    /// The name with its capital letters made small.
    pub fn to_name(self) -> Name {
        let words = self.0.map(u64::to_be_bytes);
        let mut name = [0; NAME_BYTES_MAX];
        name.copy_from_slice(words.as_flattened());
        Name(name)
    }

    /// Its first four bytes, as a number that sorts as they do.
    pub fn head(&self) -> u32 {
        (self.0[0] >> 32) as u32
    }
}

/// Turns eight bytes of ASCII into lower case at once. In each byte, one addition sets the highest
/// bit from `A` on, and another from the character after `Z` on. Where only the first does, the
/// byte is a capital letter, and 0x20 makes it a small one.
fn to_lowercase(ascii: u64) -> u64 {
    const EACH: u64 = 0x0101_0101_0101_0101;
    let from_a = ascii + EACH * (0x80 - b'A' as u64);
    let after_z = ascii + EACH * (0x80 - b'Z' as u64 - 1);
    let is_capital = from_a & !after_z & (EACH * 0x80);
    ascii | (is_capital >> 2)
}

impl FullName {
    /// Reads a word as a name with or without a box, if it is one.
    pub fn parse(word: &str) -> Option<FullName> {
        let (name, at) = match word.split_once('@') {
            Some((name, at)) => (name, Some(Name::parse(at)?)),
            None => (word, None),
        };
        Some(FullName {
            name: Name::parse(name)?,
            at,
        })
    }

    /// Whether it is the name of a member of this box.
    pub fn is_local(&self) -> bool {
        self.at.is_none()
    }
}

impl From<Name> for FullName {
    fn from(name: Name) -> FullName {
        FullName { name, at: None }
    }
}

impl fmt::Display for FullName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name.as_str())?;
        match self.at {
            Some(at) => write!(f, "@{at}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_to_24_letters_digits_underscores_and_hyphens() {
        let longest = "a".repeat(NAME_BYTES_MAX);
        for good in ["a", "Z", "7", "a_-", "7up", "Ann-Marie_2", &longest] {
            assert_eq!(Name::parse(good).map(|n| n.to_string()), Some(good.into()));
        }
        let too_long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "_a", "-a", "a b", "a.b", "é", "a\0", "a=b", &too_long] {
            assert_eq!(Name::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn only_capital_letters_are_folded() {
        for byte in 0..0x80_u8 {
            let expected = u64::from_be_bytes([byte.to_ascii_lowercase(); 8]);
            assert_eq!(to_lowercase(u64::from_be_bytes([byte; 8])), expected);
            let (mixed, small) = (
                [b'z', byte, b'A', 0],
                [b'z', byte.to_ascii_lowercase(), b'a', 0],
            );
            let word = |bytes| u64::from(u32::from_be_bytes(bytes));
            assert_eq!(to_lowercase(word(mixed)), word(small));
        }
    }

    #[test]
    fn names_sort_without_regard_to_case_and_short_before_long() {
        let mut names = ["b", "Bob", "bo", "A", "bob2"].map(|n| Name::parse(n).unwrap().folded());
        names.sort();
        let sorted = ["a", "b", "bo", "bob", "bob2"].map(|n| Name::parse(n).unwrap().folded());
        assert_eq!(names, sorted);
    }
}
