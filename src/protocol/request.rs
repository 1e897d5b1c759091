//! Reads a client's line: as a command, a mistake, or something that no chat client sends.

use super::args::Args;
use super::bye::Abuse;
use super::command::Command;
use super::error::{Advice, Error};
use super::http::is_http;
use super::limits::Limits;
use super::nearest::nearest;
use super::operator::OPERATOR_VERBS;
use super::quote::{is_short, quote};
use super::text::decode;
use super::verb::{Parsed, VERBS, Verb, find_in};

/// What the server reads in a line, or in a telnet command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// An empty line: a sign of life that gets no reply.
    Empty,
    /// A command.
    Command(Command<'a>),
    /// A mistake.
    Bad(Error),
    /// A line that is already too long before its end has come.
    TooLong,
    /// Telnet's NOP: a sign of life that is not a line.
    SignOfLife,
    /// Telnet's AYT: a sign of life that asks the server for one.
    AreYouThere,
    /// A person wants the server to edit what they type, or no longer. Only people have a word for it.
    Edit {
        /// Whether they want it.
        on: bool,
    },
    /// Something that no chat client sends.
    Abuse(Abuse),
}

impl<'a> Request<'a> {
    /// Reads a line without its end.
    pub fn read(line: &'a [u8], limits: &Limits) -> Request<'a> {
        if line.is_empty() {
            return Request::Empty;
        }
        if is_http(line) {
            return Request::Abuse(Abuse::Http);
        }
        match parse(line, limits) {
            Ok(command) => Request::Command(command),
            Err(error) => Request::Bad(error),
        }
    }

    /// Reads a line of the operator's without its end.
    pub fn read_of_operator(line: &'a [u8], limits: &Limits) -> Request<'a> {
        if line.is_empty() {
            return Request::Empty;
        }
        match parse_with(line, OPERATOR_VERBS, not_for_operators, limits) {
            Ok(command) => Request::Command(command),
            Err(error) => Request::Bad(error),
        }
    }
}

fn parse<'a>(line: &'a [u8], limits: &Limits) -> Parsed<'a> {
    parse_with(line, VERBS, unknown_verb, limits)
}

#[inline]
fn parse_with<'a>(
    line: &'a [u8],
    verbs: &[Verb],
    unknown: fn(&str) -> Error,
    limits: &Limits,
) -> Parsed<'a> {
    let line = decode(line)?;
    let mut args = Args {
        rest: line.trim_start_matches(' '),
    };
    let word = args.split_word();
    let verb = find_in(verbs, word).ok_or_else(|| unknown(word))?;
    (verb.parse)(args, limits)
}

#[cold]
fn not_for_operators(word: &str) -> Error {
    let found = found(word);
    Error::NotForOperators { found }
}

/// Describes a first word that is not a verb.
fn found(word: &str) -> String {
    match word {
        "" => "a line of spaces".into(),
        word => unknown(word),
    }
}

#[cold]
fn unknown_verb(word: &str) -> Error {
    let found = found(word);
    let nearest = nearest(word, VERBS.iter().map(|verb| verb.name));
    let advice = nearest.map_or(Advice::Begin, Advice::Verb);
    Error::UnknownVerb { found, advice }
}

/// Describes a word that is not a verb. It does not show a word or value that may be a key or
/// a token.
fn unknown(word: &str) -> String {
    let (key, value) = word.split_at(word.find('=').map_or(word.len(), |at| at + 1));
    if !value.is_empty() {
        return format!("{} with a value", quote(key));
    }
    // If something other than a space follows a verb, the verb and that character say what is
    // wrong.
    let glued = |verb: &Verb| {
        let next = word.get(verb.name.len()..)?.chars().next()?;
        let len = verb.name.len() + next.len_utf8();
        let is_it = word[..verb.name.len()].eq_ignore_ascii_case(verb.name);
        (is_it && !next.is_ascii_alphanumeric()).then_some(&word[..len])
    };
    match VERBS.iter().find_map(glued) {
        Some(glued) if !is_short(word) => format!("{} and more", quote(glued)),
        _ => quote(word),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::protocol::error::Code;

    pub fn read(line: &str) -> Request<'_> {
        Request::read(line.as_bytes(), &Limits::default())
    }

    pub fn command(line: &str) -> Command<'_> {
        match read(line) {
            Request::Command(command) => command,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    pub fn error(line: &[u8]) -> Code {
        match Request::read(line, &Limits::default()) {
            Request::Bad(error) => error.code(),
            other => panic!("{} is {other:?}", line.escape_ascii()),
        }
    }

    #[test]
    fn a_word_that_is_not_a_verb_is_a_bad_command() {
        for line in [
            " ",
            "    ",
            "JOI",
            "JOINT ann",
            "SAY\thello",
            "\tSAY hello",
            "=",
            "HELLO",
            "ÄSAY x",
            "\u{a0}SAY x",
        ] {
            assert_eq!(error(line.as_bytes()), Code::BadCommand, "{line:?}");
        }
    }

    #[test]
    fn an_error_quotes_what_it_found() {
        let token = "841b6618b12a52fa44eb0b43086bcd71";
        for (line, quoted) in [
            (
                "SHOUT hi",
                r#""SHOUT" is not a command; type TALK and your name to chat, or HELP"#,
            ),
            ("joi ann", r#""joi" is not a command; did you mean JOIN?"#),
            (
                "\tSAY hi",
                r#""\u{9}SAY" is not a command; did you mean SAY?"#,
            ),
            ("JOIN\u{a0}ann", r#""JOIN\u{a0}ann" is not a command"#),
            (
                "say\u{3000}good-morning-everybody hi",
                r#""say\u{3000}" and more is not a"#,
            ),
            ("\u{200b}JOIN ann", r#""\u{200b}JOIN" is not a command"#),
            ("JOIN\u{a0}", r#""JOIN\u{a0}" is not a command"#),
            ("   ", "a line of spaces is not a command"),
            ("key=open-sesame", r#""key=" with a value is not a command"#),
            (token, "a word of 32 characters is not a command"),
            ("JOIN ann rooms=den", r#""rooms=" is not an option"#),
            ("JOIN ann keyy=open-sesame", r#""keyy=" is not an option"#),
            (
                "JOIN ann \u{ad}key=open-sesame",
                r#""\u{ad}key=" is not an option"#,
            ),
            ("JOIN ann open-sesame", "options are written key=value"),
            (
                "JOIN ann mode=loud",
                r#"mode= takes push or pull, not "loud""#,
            ),
            (
                "JOIN ann idle=1s",
                r#"idle= takes a whole number, not "1s""#,
            ),
            ("POLL max=1001", r#"max= takes 1 to 1000, not "1001""#),
            ("JOIN J\u{fc}rgen", "; this one has \"\u{fc}\""),
            ("JOIN ann room=a\u{200b}b", r#"; this one has "\u{200b}""#),
            ("WHO after=abcdefghijklmnopqrstuvwxyz", "; this one has 26"),
            ("SAY \u{200b}", "nothing in this text is visible"),
            ("SAY", "there is no text"),
        ] {
            let Request::Bad(error) = read(line) else {
                panic!("{line}");
            };
            let text = error.to_string();
            assert!(text.contains(quoted), "{line}: {text}");
            assert!(!text.contains("sesame") && !text.contains(token));
        }
    }

    /// G16.
    #[test]
    fn a_line_is_utf_8_without_control_characters_except_tab() {
        let controls = (0..=0x9f).filter_map(char::from_u32);
        for c in controls.filter(|c| c.is_control()) {
            for line in [
                format!("SAY a{c}b"),
                format!("{c}SAY a"),
                format!("JOIN {c}"),
            ] {
                let request = read(&line);
                let is_encoding = matches!(
                    &request, Request::Bad(error) if error.code() == Code::BadEncoding
                );
                assert_eq!(is_encoding, c != '\t', "{line:?} is {request:?}");
            }
        }
        for line in [
            &b"SAY \xff"[..],
            b"\xffSAY a",
            b"SAY \x80",
            b"SAY \xc3",
            b"SAY \xc0\x8a",
            b"SAY \xed\xa0\x80",
            b"SAY \xf4\x90\x80\x80",
            b"nonsense \xff",
        ] {
            assert_eq!(error(line), Code::BadEncoding, "{}", line.escape_ascii());
        }
        for text in [
            "\u{a0}.",
            "\u{2027}.",
            "\u{202f}.",
            "\u{200f}.",
            "\u{feff}.",
            "\u{10ffff}",
        ] {
            assert_eq!(command(&format!("SAY {text}")), Command::Say(text));
        }
    }

    #[test]
    fn only_a_line_without_bytes_is_empty() {
        assert_eq!(read(""), Request::Empty);
        assert_eq!(error(b" "), Code::BadCommand);
        assert_eq!(error(b"\0"), Code::BadEncoding);
    }
}
