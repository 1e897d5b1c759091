//! Reads the words, options and numbers after a verb.

use std::borrow::Cow;
use std::num::NonZeroU32;

use super::error::{Code, Error};
use super::limits::NAME_BYTES_MAX;
use super::name::{FullName, Name};
use super::quote::quote;

/// What is left to read of a line after its verb.
pub struct Args<'a> {
    pub rest: &'a str,
}

impl<'a> Args<'a> {
    /// Splits off the text before the next space, and drops that one space.
    pub fn split_word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// Takes the next word, after any number of spaces.
    pub fn next_word(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches(' ');
        (!self.rest.is_empty()).then(|| self.split_word())
    }

    pub fn positional(&mut self, what: &str) -> Result<&'a str, Error> {
        self.next_word()
            .ok_or_else(|| bad_argument(format!("{what} is missing")))
    }

    /// Passes each `key=value` to `take`, which returns whether it knows the key.
    pub fn options(
        mut self,
        mut take: impl FnMut(&str, &'a str) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        while let Some(word) = self.next_word() {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                // The word may be a key, so it is not shown.
                bad_argument(
                    "a name is one word, and options are written key=value, without spaces around \
                     the =",
                )
            })?;
            if !take(&key.to_ascii_lowercase(), value)? {
                let option = quote(&format!("{key}="));
                return Err(bad_argument(format!(
                    "{option} is not an option of this command; PROTOCOL.md lists them"
                )));
            }
        }
        Ok(())
    }
}

pub fn bad_argument(text: impl Into<Cow<'static, str>>) -> Error {
    Error::BadLine(Code::BadArgument, text.into())
}

/// Stores an option's value; a second value is a mistake.
pub fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<bool, Error> {
    match slot.replace(value) {
        None => Ok(true),
        Some(_) => Err(bad_argument(format!("{key}= appears twice"))),
    }
}

/// Reads a decimal number. One that does not fit into 64 bits counts as the largest that does.
pub fn number(key: &str, value: &str) -> Result<u64, Error> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        let found = quote(value);
        return Err(bad_argument(format!(
            "{key}= takes a whole number, not {found}"
        )));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

/// Reads a number from 0 to `max`.
pub fn number_up_to(max: u32, key: &str, value: &str) -> Result<u32, Error> {
    let number = u32::try_from(number(key, value)?).ok();
    let number = number.filter(|&n| n <= max);
    number.ok_or_else(|| out_of_range(0, max, key, value))
}

/// Reads a number from 1 to `max`.
pub fn count_up_to(max: u32, key: &str, value: &str) -> Result<NonZeroU32, Error> {
    let number = u32::try_from(number(key, value)?).ok();
    let count = number.filter(|&n| n <= max).and_then(NonZeroU32::new);
    count.ok_or_else(|| out_of_range(1, max, key, value))
}

fn out_of_range(min: u32, max: u32, key: &str, value: &str) -> Error {
    bad_argument(format!("{key}= takes {min} to {max}, not {}", quote(value)))
}

pub fn choice<T: Copy>(key: &str, value: &str, choices: [(&str, T); 2]) -> Result<T, Error> {
    choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value))
        .map(|&(_, choice)| choice)
        .ok_or_else(|| {
            let [(one, _), (other, _)] = choices;
            bad_argument(format!(
                "{key}= takes {one} or {other}, not {}",
                quote(value)
            ))
        })
}

/// Reads a value of which there is only one.
pub fn only(word: &str, key: &str, value: &str) -> Result<(), Error> {
    match value.eq_ignore_ascii_case(word) {
        true => Ok(()),
        false => {
            let found = quote(value);
            Err(bad_argument(format!("{key}= takes {word}, not {found}")))
        }
    }
}

pub fn name(word: &str) -> Result<Name, Error> {
    Name::parse(word).ok_or_else(|| bad_name(word))
}

/// Reads a member's name, which may have a box.
pub fn full_name(word: &str) -> Result<FullName, Error> {
    FullName::parse(word).ok_or_else(|| bad_name(word))
}

/// The error about a word that is not a name.
pub fn bad_name(word: &str) -> Error {
    let is_of_names = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let found = match word.chars().find(|&c| !is_of_names(c)) {
        Some(c) => format!("; this one has {}", quote(c.encode_utf8(&mut [0; 4]))),
        None if word.len() > NAME_BYTES_MAX => format!("; this one has {}", word.len()),
        None => String::new(),
    };
    Error::BadLine(Code::BadName, format!("{}{found}", Name::RULE).into())
}
