//! The names that may join, each with the SHA-256 of the key that proves the right to it.
//!
//! This parses the text of a users file; `users` reads and writes the file.

use std::cmp::Ordering;
use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::allocator::array_bytes;
use crate::protocol::{Folded, Name};
use crate::sorted_index::{self, SortedIndex, Target};
use crate::state::{Damage, Fields, IMPOSSIBLE, Tag, Writer, saved};

/// The SHA-256 (FIPS 180-4) of a key.
#[derive(Clone, Copy)]
pub struct KeyHash([u8; 32]);

impl KeyHash {
    /// The hash of a key.
    pub fn of(key: &str) -> KeyHash {
        KeyHash(Sha256::digest(key.as_bytes()).into())
    }

    /// Reads 64 hexadecimal digits.
    pub fn parse(text: &str) -> Option<KeyHash> {
        if text.len() != 64 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        let mut hash = [0; 32];
        for (at, byte) in hash.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
        }
        Some(KeyHash(hash))
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(…)")
    }
}

impl PartialEq for KeyHash {
    /// Takes the same time wherever the first difference lies.
    fn eq(&self, other: &KeyHash) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for KeyHash {}

/// A mistake in a users file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadLine {
    /// The number of its line, from 1.
    pub number: usize,
    /// What is wrong with that line.
    pub reason: &'static str,
}

/// The names that may join, regardless of case, with the hashes of their keys.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    entries: Vec<(Folded, KeyHash)>,
    /// The index of each name's entry.
    by_name: SortedIndex,
}

impl Keys {
    /// Reads lines of `name:sha256-hex`. Skips empty lines, lines that begin with `#`, and white space
    /// at both ends of a line.
    ///
    /// # Errors
    ///
    /// The first line that does not have that form, or whose name has come before.
    pub fn parse(text: &str) -> Result<Keys, BadLine> {
        let mut keys = Keys::default();
        for (index, line) in text.lines().enumerate() {
            let number = index + 1;
            let bad = |reason| BadLine { number, reason };
            let Some((name, hash)) = parse_line(line).map_err(bad)? else {
                continue;
            };
            if keys.get(name).is_some() {
                return Err(bad("a line above has this name already"));
            }
            keys.add(name, hash);
        }
        Ok(keys)
    }

    /// The most memory that the keys of `names` names take while they are read, in bytes.
    pub fn memory_bytes_max(names: usize) -> u64 {
        let names = names as u64;
        array_bytes(names, size_of::<(Folded, KeyHash)>()) + names * SortedIndex::ENTRY_BYTES
    }

    /// How many names there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether nobody may join.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// What the key of a name hashes to.
    pub fn get(&self, name: Name) -> Option<KeyHash> {
        let place = self.by_name.get(&by_name(&self.entries, name))?;
        Some(self.entries[place as usize].1)
    }

    /// Whether a key is that of a name. The time that this takes does not tell whether the name exists.
    pub fn accepts(&self, name: Name, key: &str) -> bool {
        let no_keys_hash = KeyHash([0; 32]);
        let expected = self.get(name);
        let fits = KeyHash::of(key) == expected.unwrap_or(no_keys_hash);
        fits && expected.is_some()
    }
}

/// The target of a search for a name's entry.
fn by_name(entries: &[(Folded, KeyHash)], name: Name) -> Target<impl Fn(u32) -> Ordering> {
    sorted_index::by_name(name, |place| entries[place as usize].0)
}

/// The name and hash on a line of a users file; `None` for an empty line or a comment.
///
/// # Errors
///
/// What is wrong with the line.
pub fn parse_line(line: &str) -> Result<Option<(Name, KeyHash)>, &'static str> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let (name, hash) = line
        .split_once(':')
        .ok_or("a line must be name:hash, but this one has no colon")?;
    let name = Name::parse(name.trim_end()).ok_or(Name::RULE)?;
    let hash = KeyHash::parse(hash.trim_start())
        .ok_or("after the colon must come the 64 hexadecimal digits of the key's SHA-256")?;
    Ok(Some((name, hash)))
}

saved!(struct KeyHash(bytes));

/// The records of keys: each name with its hash.
const KEYS: Tag = *b"KEYS";

impl Keys {
    /// Appends all keys to a state.
    pub fn save(&self, out: &mut Writer<'_>) {
        let entries = self.entries.iter();
        out.list(KEYS, entries.map(|&(name, hash)| (name.to_name(), hash)));
    }

    /// Takes a record of [`save`](Self::save); false if it is another's.
    ///
    /// # Errors
    ///
    /// If a name is there twice.
    pub fn take(&mut self, tag: Tag, fields: &mut Fields<'_>) -> Result<bool, Damage> {
        if tag != KEYS {
            return Ok(false);
        }
        for (name, hash) in fields.list() {
            if self.get(name).is_some() {
                return Err(IMPOSSIBLE);
            }
            self.add(name, hash);
        }
        Ok(true)
    }

    fn add(&mut self, name: Name, hash: KeyHash) {
        let place = self.entries.len() as u32;
        self.entries.push((name.folded(), hash));
        let target = by_name(&self.entries, name);
        self.by_name.insert(place, &target);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FIPS 180-4's example for SHA-256, of "abc".
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    #[test]
    fn a_hash_is_64_hexadecimal_digits_in_either_case() {
        let abc = KeyHash::of("abc");
        assert_eq!(abc.to_string(), ABC);
        assert_eq!(KeyHash::parse(ABC), Some(abc));
        assert_eq!(KeyHash::parse(&ABC.to_uppercase()), Some(abc));
        let signed = format!("+{}", &ABC[1..]);
        let longer = format!("{ABC}0");
        for bad in ["", &ABC[1..], &longer, &signed, &"é".repeat(32)] {
            assert_eq!(KeyHash::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn debug_does_not_show_a_hash() {
        let shown = format!("{:?}", Keys::parse(&format!("ann:{ABC}")).unwrap());
        assert!(shown.contains("KeyHash(…)"), "{shown}");
        assert!(!shown.contains("186"), "{shown}");
    }

    #[test]
    fn the_key_of_a_name_opens_it_in_any_case() {
        let keys = Keys::parse(&format!("Ann:{ABC}")).unwrap();
        for spelling in ["Ann", "ann", "ANN"] {
            assert!(keys.accepts(name(spelling), "abc"));
            assert_eq!(keys.get(name(spelling)), Some(KeyHash::of("abc")));
        }
        for wrong in ["", "ab", "abcd", "ABC", " abc", ABC] {
            assert!(!keys.accepts(name("ann"), wrong), "{wrong:?}");
        }
        assert!(!keys.accepts(name("bob"), "abc"));
        assert_eq!(keys.get(name("bob")), None);
    }

    #[test]
    fn without_names_nobody_may_join() {
        for empty in ["", "\n\n", "# ann:\n   # bob\n\t\r\n"] {
            let keys = Keys::parse(empty).unwrap();
            assert!(
                keys.is_empty() && !keys.accepts(name("ann"), ""),
                "{empty:?}"
            );
        }
    }

    /// For a name that has no key, the hash of the key is compared with zeros. No key is known to hash
    /// to them.
    #[test]
    fn the_hash_that_stands_in_for_a_missing_one_lets_nobody_in() {
        let zeros = "0".repeat(64);
        let keys = Keys::parse(&format!("ann:{zeros}")).unwrap();
        for key in ["", "0", &zeros] {
            assert!(!keys.accepts(name("ann"), key));
            assert!(!keys.accepts(name("bob"), key));
        }
    }

    #[test]
    fn white_space_empty_lines_and_comments_are_skipped() {
        let text = format!("# who may come\n\n  ann : {ABC}\t\r\n#bob:{ABC}\ncat:{ABC}");
        let keys = Keys::parse(&text).unwrap();
        assert_eq!(keys.len(), 2);
        assert!(keys.accepts(name("ann"), "abc") && keys.accepts(name("cat"), "abc"));
        assert!(!keys.accepts(name("bob"), "abc"));
    }

    #[test]
    fn an_error_names_the_number_of_the_first_bad_line() {
        let good = format!("ann:{ABC}\n");
        for (bad, reason) in [
            ("bob".to_string(), "colon"),
            (ABC.to_string(), "colon"),
            (format!(":{ABC}"), "a name is"),
            (format!("_bob:{ABC}"), "a name is"),
            (format!("{}:{ABC}", "b".repeat(25)), "a name is"),
            ("bob:".to_string(), "64 hexadecimal digits"),
            (format!("bob:{ABC}0"), "64 hexadecimal digits"),
            (format!("bob:{ABC} # Bob's"), "64 hexadecimal digits"),
            (format!("ANN:{ABC}"), "already"),
        ] {
            let text = format!("# one\n{good}\n{bad}\nmore\n");
            let error = Keys::parse(&text).unwrap_err();
            assert_eq!(error.number, 4, "{bad:?}");
            assert!(error.reason.contains(reason), "{bad:?}: {}", error.reason);
        }
    }

    #[test]
    fn a_line_that_was_written_is_read_back() {
        let hash = KeyHash::of("secret");
        let read = parse_line(&format!("{}:{hash}", name("Ann"))).unwrap();
        assert_eq!(read, Some((name("Ann"), hash)));
    }
}
