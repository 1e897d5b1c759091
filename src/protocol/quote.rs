//! Quotes the word that an error is about.

use std::fmt::Write;

use super::text::is_visible;

/// The longest word that an error quotes, in characters: longer than any verb, option or mode, and
/// shorter than a key or token that this server makes.
pub const QUOTE_CHARS_MAX: usize = 15;

/// Whether a word is too short to be a secret that this server made.
pub fn is_short(word: &str) -> bool {
    word.chars().count() <= QUOTE_CHARS_MAX
}

/// Puts a word in quotes, with its invisible characters escaped. A long word may be a key or a
/// token, which must not get into logs, so this shows only its length.
pub fn quote(word: &str) -> String {
    if !is_short(word) {
        return format!("a word of {} characters", word.chars().count());
    }
    let mut quoted = String::from("\"");
    for c in word.chars() {
        // Writing to memory does not fail.
        let _ = match is_visible(c) || c == ' ' {
            true => quoted.write_char(c),
            false => write!(quoted, "{}", c.escape_unicode()),
        };
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_word_is_quoted_with_all_its_characters_visible() {
        for (word, quoted) in [
            ("", r#""""#),
            ("SHOUT", r#""SHOUT""#),
            ("JOIN\u{a0}ann", r#""JOIN\u{a0}ann""#),
            ("SAY\thi", r#""SAY\u{9}hi""#),
            ("\u{feff}PING", r#""\u{feff}PING""#),
            ("привет🦆", r#""привет🦆""#),
            ("fifteen letters", r#""fifteen letters""#),
            ("sixteen  letters", "a word of 16 characters"),
            (
                "00000000d5c3f8e1a09b7264be41f0976dac5832",
                "a word of 40 characters",
            ),
        ] {
            assert_eq!(quote(word), quoted);
        }
        let longest = quote(&"\u{e0fff}".repeat(QUOTE_CHARS_MAX));
        assert!(longest.len() < 200, "{longest}");
    }
}
