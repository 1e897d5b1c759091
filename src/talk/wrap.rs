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
pub const COLUMNS_MIN: u16 = 40;

/// The most bytes that `bytes` of a message or its line take as people see them. Two rows after each
/// other have more columns than one of them has space for, and so at least that many bytes; breaking
/// them adds twice a line end and an indent, less a blank.
pub const fn shown_bytes_max(bytes: usize) -> usize {
    bytes * 3 / 2
}
const _: () = assert!(
    COLUMNS_MIN as usize - 1 - INDENT.len() > 2 * 2 * ("\r\n".len() + INDENT.len() - 1),
    "breaking adds at most half of what is there"
);

/// Appends `text` in rows for a window of `columns`, after `used` columns of the first row. Breaks at
/// blanks, and leaves out the blank at which it breaks. A word that is longer than a row stays whole, so
/// that links can be copied. A TAB is shown as a space, since it may stand anywhere in a row.
pub fn wrap(text: &str, used: usize, columns: u16, out: &mut Vec<u8>) {
    let beginning = out.len();
    // The last column stays free: terminals differ in what they do after it.
    let limit = usize::from(columns) - 1;
    // No character is wider than its bytes.
    if used + text.len() <= limit || columns < COLUMNS_MIN {
        out.extend_from_slice(text.as_bytes());
    } else {
        break_rows(text, used, limit, out);
    }
    for byte in &mut out[beginning..] {
        if *byte == b'\t' {
            *byte = b' ';
        }
    }
}

fn break_rows(text: &str, used: usize, limit: usize, out: &mut Vec<u8>) {
    let columns_of = |c| if c == '\t' { 1 } else { width(c) };
    let (mut row, mut column) = (0, used);
    // The last blank of the row.
    let mut blank = None;
    for (at, c) in text.char_indices() {
        let columns = columns_of(c);
        if columns > 0 && !is_visible(c) {
            blank = Some(at..at + c.len_utf8());
        } else if column + columns > limit {
            if let Some(blank) = blank.take() {
                out.extend_from_slice(&text.as_bytes()[row..blank.start]);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(INDENT);
                row = blank.end;
                let so_far = text[row..at].chars().map(columns_of).sum::<usize>();
                column = INDENT.len() + so_far;
            }
        }
        column += columns;
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
        assert_eq!(rows(&both, 12, 39), [both.as_str()]);
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
        assert_eq!(rows("a\tb", 12, 80), ["a b"]);
        let tabs = "\t".repeat(33);
        assert_eq!(
            rows(&format!("{tabs}{tabs}x y"), 12, 80),
            [" ".repeat(66) + "x", "      y".into()]
        );
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
    fn breaking_adds_at_most_half() {
        for columns in [40, 41, 60, 80] {
            for word in (1..80).flat_map(|len| ["x", "\u{6f22}"].map(|c| c.repeat(len))) {
                for blank in [" ", "\t", "  ", "\u{3000}"] {
                    let text = (word.clone() + blank).repeat(40);
                    let mut out = Vec::new();
                    wrap(&text, 0, columns, &mut out);
                    let max = shown_bytes_max(text.len());
                    assert!(
                        out.len() <= max,
                        "{columns}, {word:?}: {} of {max}",
                        out.len()
                    );
                }
            }
        }
    }
}
