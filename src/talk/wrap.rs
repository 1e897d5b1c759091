//! Breaks what a member says into rows, as wide as a person's window.
//!
//! Terminals break rows too, but go on at their left edge, so a member could make a row that looks like
//! a line of the server's. Here every row but the first is indented.

use super::screen::width;
use crate::protocol::is_visible;

/// What a row that goes on begins with: as wide as the time before a line.
pub const INDENT: &[u8] = b"      ";
/// The columns of a window that the client does not tell.
pub const COLUMNS_DEFAULT: u16 = 80;
/// In a narrower window, terminals break the rows.
const COLUMNS_MIN: u16 = 24;
const TAB_COLUMNS: usize = 8;

/// How many bytes breaking a message into rows adds at most for each of its bytes, rounded up.
pub const GROWTH: usize = 1;
const _: () = assert!(
    COLUMNS_MIN as usize - 1 - INDENT.len() > "\r\n".len() + INDENT.len(),
    "each row has more than what a break adds"
);

/// Appends `text` in rows for a window of `columns`, after `used` columns of the first row. Breaks at
/// blanks, and leaves out the blank at which it breaks. A word that is longer than a row stays whole, so
/// that links can be copied.
pub fn wrap(text: &str, used: usize, columns: u16, out: &mut Vec<u8>) {
    // The last column stays free: terminals differ in what they do after it.
    let limit = usize::from(columns) - 1;
    // No character is wider than its bytes, but for TAB.
    let is_short = used + text.len() <= limit && !text.contains('\t');
    if is_short || columns < COLUMNS_MIN {
        return out.extend_from_slice(text.as_bytes());
    }
    let (mut row, mut column) = (0, used);
    // The last blank of the row.
    let mut blank = None;
    for (at, c) in text.char_indices() {
        let is_blank = c == '\t' || width(c) > 0 && !is_visible(c);
        if is_blank {
            blank = Some(at..at + c.len_utf8());
        } else if column + width(c) > limit {
            if let Some(blank) = blank.take() {
                out.extend_from_slice(&text.as_bytes()[row..blank.start]);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(INDENT);
                row = blank.end;
                column = INDENT.len() + text[row..at].chars().map(width).sum::<usize>();
            }
        }
        column += match c {
            '\t' => TAB_COLUMNS - column % TAB_COLUMNS,
            c => width(c),
        };
    }
    out.extend_from_slice(&text.as_bytes()[row..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str, used: usize, columns: u16) -> Vec<String> {
        let mut out = Vec::new();
        wrap(text, used, columns, &mut out);
        let text = String::from_utf8(out).unwrap();
        text.split("\r\n").map(str::to_owned).collect()
    }

    #[test]
    fn rows_break_at_blanks_and_go_on_indented() {
        let fits = "x".repeat(67);
        assert_eq!(rows(&fits, 12, 80), [fits.as_str()]);
        let both = format!("{fits} y");
        assert_eq!(rows(&both, 12, 80), [fits.as_str(), "      y"]);
        let word = "y".repeat(73);
        let three = format!("one {word} {word}");
        let indented = format!("      {word}");
        assert_eq!(rows(&three, 12, 80), ["one", &indented, &indented]);
        // Several blanks are kept but for the one at which it breaks.
        assert_eq!(
            rows(&format!("{fits}   y"), 12, 80),
            [format!("{fits}  "), "      y".into()]
        );
        assert_eq!(rows("a b", 12, 13), ["a b"]);
    }

    #[test]
    fn a_word_longer_than_a_row_stays_whole() {
        let link = format!("https://example.org/{}", "x".repeat(100));
        let text = format!("see {link} there");
        let indented = format!("      {link}");
        assert_eq!(rows(&text, 12, 80), ["see", &indented, "      there"]);
        assert_eq!(rows(&link, 12, 80), [link.as_str()]);
    }

    #[test]
    fn wide_characters_and_tabs_count_as_they_are_shown() {
        let wide = "\u{6f22}".repeat(33);
        assert_eq!(
            rows(&format!("{wide} y"), 12, 80),
            [wide.clone(), "      y".into()]
        );
        assert_eq!(
            rows(&format!("{wide}x y"), 12, 80),
            [format!("{wide}x"), "      y".into()]
        );
        assert_eq!(rows("a\tb\tc\td", 12, 30), ["a\tb\tc", "      d"]);
        let marks = "e\u{301}".repeat(67);
        assert_eq!(
            rows(&format!("{marks} y"), 12, 80),
            [marks.as_str(), "      y"]
        );
    }

    /// A row that goes on never begins like a line of the server's, whatever fills the row before.
    #[test]
    fn no_row_begins_like_a_line_of_the_servers() {
        let forged = "17:32 -- ann left";
        for fill in [
            " ",
            "\u{a0}",
            "\u{3000}",
            "\u{2800}",
            "\t",
            "x",
            "x ",
            "x\u{200b}",
        ] {
            for blank in [" ", "\u{a0}", "\u{2003}", "\u{2800}", "\t"] {
                for count in 1..200 {
                    let text = fill.repeat(count) + &forged.replace(' ', blank);
                    let rows = rows(&text, 12, 80);
                    for row in &rows[1..] {
                        assert!(row.starts_with("      "), "{text:?} is {rows:?}");
                    }
                    // What the terminal itself breaks has no blank after its first row.
                    for row in &rows {
                        let columns: Vec<char> = row.chars().filter(|&c| width(c) > 0).collect();
                        let shown: String = columns.iter().skip(68).collect();
                        let looks = forged.replace(' ', blank);
                        assert!(
                            !shown.trim_start_matches(['x']).starts_with(&looks),
                            "{rows:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn breaking_adds_less_than_was_there() {
        for columns in [24, 25, 40, 80] {
            for word in 1..60 {
                let text = ("x".repeat(word) + " ").repeat(40);
                let mut out = Vec::new();
                wrap(&text, 0, columns, &mut out);
                assert!(out.len() <= text.len() * (1 + GROWTH), "{columns}, {word}");
            }
        }
    }
}
