//! Which characters a line may contain, and which of them are visible.

use super::error::{Code, Error};

/// Invisible characters other than white space: Default_Ignorable_Code_Point of Unicode 16.0
/// (DerivedCoreProperties.txt; 17.0 has the same), and blanks in scripts and notations: Braille's
/// empty pattern, the filler of Khitan, blanks among hieroglyphs, the musical null note head.
const INVISIBLE: [(char, char); 21] = [
    ('\u{ad}', '\u{ad}'),
    ('\u{34f}', '\u{34f}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{115f}', '\u{1160}'),
    ('\u{17b4}', '\u{17b5}'),
    ('\u{180b}', '\u{180f}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{206f}'),
    ('\u{2800}', '\u{2800}'),
    ('\u{3164}', '\u{3164}'),
    ('\u{fe00}', '\u{fe0f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{ffa0}', '\u{ffa0}'),
    ('\u{fff0}', '\u{fff8}'),
    ('\u{13441}', '\u{13442}'),
    ('\u{16fe4}', '\u{16fe4}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d159}', '\u{1d159}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0000}', '\u{e0fff}'),
];

/// Whether a character is visible.
pub fn is_visible(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_graphic();
    }
    let is_invisible = || INVISIBLE.iter().any(|&(from, to)| from <= c && c <= to);
    !(c.is_whitespace() || c.is_control() || is_invisible())
}

/// Why a line must not contain a character; `None` if it may.
fn harm(c: char) -> Option<&'static str> {
    match c {
        '\t' => None,
        '\0' => Some("is not text; it may only come before a line or after its CR"),
        '\r' => Some("ends a line only if LF follows"),
        c if c.is_control() => Some("is a control character"),
        // Python's splitlines, Java's Scanner and Node's readline end a line there.
        '\u{2028}' | '\u{2029}' => Some("ends a line for some programs"),
        // Embeddings, overrides and isolates, and their ends. One that stays open changes the
        // direction of what a client shows after the text; one end too many closes what the client
        // opened as a guard.
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => {
            Some("changes the direction of the text around it")
        }
        _ => None,
    }
}

/// Whether a line may contain a character.
pub fn is_permitted(c: char) -> bool {
    harm(c).is_none()
}

/// Reads a line as UTF-8. Refuses characters that could control a reader's terminal, end a line in
/// a reader's program, or change the direction of the text around them.
pub fn decode(line: &[u8]) -> Result<&str, Error> {
    let is_c0 = |&b: &u8| b < b' ' && b != b'\t' || b == 0x7f;
    let has_c0 = line.iter().any(is_c0);
    let is_suspect = has_c0 || !line.is_ascii() && may_harm(line);
    match std::str::from_utf8(line) {
        Ok(text) if !is_suspect => Ok(text),
        _ => decode_suspect(line),
    }
}

/// Reads a line that may break these rules. The error names the first byte or character that does.
#[cold]
fn decode_suspect(line: &[u8]) -> Result<&str, Error> {
    match std::str::from_utf8(line) {
        Ok(text) => {
            let harmful = |(at, c)| Some((at, c, harm(c)?));
            match text.char_indices().find_map(harmful) {
                None => Ok(text),
                Some((at, c, why)) => {
                    Err(bad_encoding(format_args!("U+{:04X}", c as u32), at, why))
                }
            }
        }
        Err(error) => {
            let (before, after) = line.split_at(error.valid_up_to());
            decode_suspect(before)?;
            let (at, why) = (before.len(), "is not UTF-8");
            Err(bad_encoding(format_args!("0x{:02X}", after[0]), at, why))
        }
    }
}

/// Whether a line has a pair of bytes that may begin a harmful character: one of U+0080 to U+009F,
/// or of U+2000 to U+207F.
fn may_harm(line: &[u8]) -> bool {
    let is_pair = |pair: &[u8]| match pair[0] {
        0xc2 => pair[1] < 0xa0,
        0xe2 => pair[1] < 0x82,
        _ => false,
    };
    line.windows(2).any(is_pair)
}

fn bad_encoding(what: std::fmt::Arguments<'_>, at: usize, why: &str) -> Error {
    let text = format!("byte {}, {what}, {why}", at + 1);
    Error::BadLine(Code::BadEncoding, text.into())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use regex_syntax::hir::{Class, HirKind};

    use super::*;

    /// All characters with a Unicode property, which another project takes from the same source.
    fn all_of(property: &str) -> BTreeSet<char> {
        let class = regex_syntax::parse(&format!(r"\p{{{property}}}")).unwrap();
        let HirKind::Class(Class::Unicode(class)) = class.kind() else {
            panic!("{property} is {class:?}");
        };
        let ranges = class.ranges().iter();
        ranges
            .flat_map(|range| range.start()..=range.end())
            .collect()
    }

    #[test]
    fn invisible_characters_are_those_of_unicode_and_a_few_blanks() {
        let invisible: BTreeSet<char> = ('\0'..=char::MAX).filter(|&c| !is_visible(c)).collect();
        let mut expected = all_of("Default_Ignorable_Code_Point");
        expected.extend(all_of("White_Space"));
        expected.extend(all_of("Cc"));
        expected.extend([
            '\u{2800}',
            '\u{13441}',
            '\u{13442}',
            '\u{16fe4}',
            '\u{1d159}',
        ]);
        let differ: Vec<_> = invisible.symmetric_difference(&expected).collect();
        assert!(differ.is_empty(), "{differ:?}");
    }

    fn refusal(line: &[u8]) -> String {
        let error = decode(line).unwrap_err();
        assert_eq!(error.code(), Code::BadEncoding);
        error.to_string()
    }

    /// G16.
    #[test]
    fn characters_that_control_terminals_end_lines_or_turn_text_are_refused() {
        for c in '\0'..=char::MAX {
            let turns =
                ('\u{202a}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c);
            let ends = ['\u{2028}', '\u{2029}'].contains(&c);
            let is_harmful = turns || ends || c.is_control() && c != '\t';
            for line in [format!("{c}"), format!("a{c}é")] {
                assert_eq!(decode(line.as_bytes()).is_err(), is_harmful, "{line:?}");
            }
            assert_eq!(is_permitted(c), !is_harmful, "{c:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_it_found_first_and_where() {
        for (line, beginning) in [
            (
                &b"SAY \x1b[2J\xff"[..],
                "byte 5, U+001B, is a control character",
            ),
            (b"SAY \xff\x1b", "byte 5, 0xFF, is not UTF-8"),
            (b"\xe9t\xe9", "byte 1, 0xE9, is not UTF-8"),
            (b"a\xe2\x80", "byte 2, 0xE2, is not UTF-8"),
            ("é\u{85}".as_bytes(), "byte 3, U+0085, is a control"),
            ("é\u{2028}".as_bytes(), "byte 3, U+2028, ends a line"),
            ("\u{202e}".as_bytes(), "byte 1, U+202E, changes"),
            ("\u{2067}".as_bytes(), "byte 1, U+2067, changes"),
            (b"a\0b", "byte 2, U+0000, is not text"),
            (b"a\rb", "byte 2, U+000D, ends a line only"),
        ] {
            let refusal = refusal(line);
            assert!(refusal.starts_with(beginning), "{refusal}");
        }
    }
}
