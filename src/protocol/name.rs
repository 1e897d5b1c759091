//! Names of members and rooms.

use std::fmt;

use super::NAME_BYTES_MAX;

/// A name as its owner wrote it: 1 to 24 of `A-Z a-z 0-9 _ -`, beginning with a letter or digit.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name([u8; NAME_BYTES_MAX]);

/// A name without regard to case: what names are compared and sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Folded([u64; NAME_BYTES_MAX / 8]);

impl Name {
    /// The name that a word spells, if it is one.
    pub fn parse(word: &str) -> Option<Name> {
        let bytes = word.as_bytes();
        let valid = bytes.len() <= NAME_BYTES_MAX
            && bytes.first()?.is_ascii_alphanumeric()
            && bytes
                .iter()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
        // Names hold no zero byte, so padding with them keeps the order.
        let mut name = [0; NAME_BYTES_MAX];
        name.get_mut(..bytes.len())?.copy_from_slice(bytes);
        valid.then_some(Name(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        let len = self.0.iter().position(|&b| b == 0);
        // A name is ASCII, so this never falls back.
        std::str::from_utf8(&self.0[..len.unwrap_or(NAME_BYTES_MAX)]).unwrap_or_default()
    }

    /// The name without regard to case.
    pub fn folded(&self) -> Folded {
        let mut folded = [0; NAME_BYTES_MAX / 8];
        for (folded, word) in folded.iter_mut().zip(self.0.chunks_exact(8)) {
            // The first byte counts most, as it does between texts.
            *folded = word
                .iter()
                .fold(0, |sum, b| sum << 8 | u64::from(b.to_ascii_lowercase()));
        }
        Folded(folded)
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
    fn names_sort_without_regard_to_case_and_short_before_long() {
        let mut names = ["b", "Bob", "bo", "A", "bob2"].map(|n| Name::parse(n).unwrap().folded());
        names.sort();
        let sorted = ["a", "b", "bo", "bob", "bob2"].map(|n| Name::parse(n).unwrap().folded());
        assert_eq!(names, sorted);
    }
}
