//! Makes the text of `--help` from the table of options.

use super::DEFAULT_ADDRESS;
use super::table::{OPTIONS, Row};

/// The column in which the explanations begin, counted from 0.
const COLUMN: usize = 30;
/// The longest line.
const WIDTH: usize = 80;

/// The text of `--help`.
pub fn help() -> String {
    let (ip, port) = (DEFAULT_ADDRESS.ip(), DEFAULT_ADDRESS.port());
    let mut text = format!(
        "Usage: chinwag [OPTIONS]\n\n\
         A chat server for very small Linux boxes. To try it: telnet {ip} {port},\n\
         and type TALK and your name.\n\n\
         Options:\n"
    );
    for row in OPTIONS {
        append(&mut text, row);
    }
    text.push_str(
        "\nA SIZE is in bytes; K or M may follow it.\n\
         RUST_LOG in the environment says what to log, unless -q or -v does.\n\
         SIGTERM and SIGINT make the server say goodbye to everybody and end; SIGHUP\n\
         makes it read its users file and the system's time zone again; SIGUSR1 makes it\n\
         log its counters; SIGUSR2 makes it go on with the program that is installed now.\n",
    );
    text
}

fn append(text: &mut String, row: &Row) {
    let start = text.len();
    match row.letter {
        Some(letter) => *text += &format!("  -{letter}, "),
        None => pad(text, 6),
    }
    *text += &format!("--{} {}", row.name, row.placeholder());
    let default = row.default().map(|default| format!("(default {default})"));
    let mut column = text.len() - start;
    let words = row.help.split(' ').chain(default.as_deref());
    for (index, word) in words.enumerate() {
        if index == 0 {
            pad(text, COLUMN - column);
            column = COLUMN;
        } else if column + 1 + word.len() > WIDTH {
            text.push('\n');
            pad(text, COLUMN);
            column = COLUMN;
        } else {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += word.len();
    }
    text.push('\n');
}

fn pad(text: &mut String, spaces: usize) {
    text.extend(std::iter::repeat_n(' ', spaces));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_fits_into_80_columns_and_ends_in_one_newline() {
        let help = help();
        for line in help.lines() {
            assert!(line.len() <= WIDTH, "{line}");
            assert_eq!(line.trim_end(), line);
        }
        assert!(help.ends_with('\n') && !help.ends_with("\n\n"));
    }

    #[test]
    fn help_shows_every_option_and_its_default() {
        let help = help();
        let (_, list) = help.split_once("Options:\n").unwrap();
        let list = list.split("\n\n").next().unwrap();
        let mut words = list.split_whitespace();
        for row in OPTIONS {
            let short = row.letter.map(|letter| format!("-{letter},"));
            let long = format!("--{}", row.name);
            let default = row.default().map(|default| format!("(default {default})"));
            let expected = short.iter().map(String::as_str).chain([long.as_str()]);
            let expected = expected.chain([row.placeholder()]).chain([row.help]);
            let expected = expected.chain(default.as_deref());
            for word in expected.flat_map(str::split_whitespace) {
                assert_eq!(words.next(), Some(word), "--{}", row.name);
            }
        }
        assert_eq!(words.next(), None);
    }
}
