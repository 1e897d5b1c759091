//! The table of verbs on the operator's socket.
//!
//! A new one takes a row here, a value in `command`, a function in `chat::operator`, a reply in `output`,
//! and a section in PROTOCOL.md.

use super::args::{Args, bad_argument, full_name, name};
use super::command::{Command, Order, Parting, Query, SessionName};
use super::error::Error;
use super::limits::Limits;
use super::quote::quote;
use super::verb::{Parsed, Verb, after, alone, check_message};

/// What HELP says at its end.
pub(super) static OPERATOR_HELP_END: &[&str] = &[
    "A SESSION has a room, a name, a mode, whether it is attached, the seconds since",
    "its last sign of life, its address, and how many events it has not got yet.",
];

/// Every verb there, in the order in which HELP shows them.
pub static OPERATOR_VERBS: &[Verb] = &[
    Verb {
        name: "STATS",
        syntax: "",
        help: &["STATS                         show the server's counters"],
        parse: |args, _| alone(args, Command::Query(Query::Stats)),
    },
    Verb {
        name: "SESSIONS",
        syntax: "[after=<room>/<name>]",
        help: &[
            "SESSIONS                      list all sessions; if there are more, add",
            "     after=<room>/<name>",
        ],
        parse: |args, _| {
            after(args, session_name).map(|after| Command::Query(Query::Sessions { after }))
        },
    },
    Verb {
        name: "END",
        syntax: "<room> <name>",
        help: &["END <room> <name>             end a session"],
        parse: end,
    },
    Verb {
        name: "TELL-ALL",
        syntax: "<text>",
        help: &["TELL-ALL <text>               tell all push members who are attached"],
        parse: |args, limits| {
            check_message(args.rest, limits)?;
            Ok(Command::Order(Order::TellAll(args.rest)))
        },
    },
    Verb {
        name: "HELP",
        syntax: "",
        help: &["HELP                          show this list"],
        parse: |args, _| alone(args, Command::Query(Query::Help)),
    },
    Verb {
        name: "QUIT",
        syntax: "",
        help: &["QUIT                          close the connection"],
        parse: |args, _| alone(args, Command::Parting(Parting::Quit)),
    },
];

/// Reads a room and a name.
fn session_name(word: &str) -> Result<SessionName, Error> {
    let (room, member) = word.split_once('/').ok_or_else(|| {
        let found = quote(word);
        bad_argument(format!(
            "after= takes a room, a slash and a name, not {found}"
        ))
    })?;
    Ok(SessionName {
        room: name(room)?,
        name: name(member)?,
    })
}

fn end<'a>(mut args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let room = name(args.positional("the room, as in END lobby ann,")?)?;
    let name = full_name(args.positional("the name, as in END lobby ann,")?)?;
    if !args.rest.trim_start_matches(' ').is_empty() {
        return Err(bad_argument(
            "END takes a room and a name, and nothing more",
        ));
    }
    Ok(Command::Order(Order::End { room, name }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::error::Code;
    use crate::protocol::name::{FullName, Name};
    use crate::protocol::request::Request;

    fn read(line: &str) -> Request<'_> {
        Request::read_of_operator(line.as_bytes(), &Limits::default())
    }

    fn named(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    #[test]
    fn every_verb_is_read_in_any_case() {
        let after = Some(SessionName {
            room: named("den"),
            name: named("Ann"),
        });
        let [room, at] = ["den", "attic"].map(named);
        let remote = FullName {
            at: Some(at),
            name: named("Ann"),
        };
        let order = |order| Command::Order(order);
        #[rustfmt::skip]
        let table = [
            ("STATS", Command::Query(Query::Stats)),
            ("SESSIONS", Command::Query(Query::Sessions { after: None })),
            ("SESSIONS after=den/Ann", Command::Query(Query::Sessions { after })),
            ("END den Ann", order(Order::End { room, name: named("Ann").into() })),
            ("END den Ann@attic", order(Order::End { room, name: remote })),
            ("TELL-ALL  We restart", order(Order::TellAll(" We restart"))),
            ("HELP", Command::Query(Query::Help)),
            ("QUIT", Command::Parting(Parting::Quit)),
        ];
        let mut seen = Vec::new();
        for (line, expected) in table {
            assert_eq!(read(line), Request::Command(expected), "{line}");
            let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
            let small = format!("  {} {rest}", verb.to_lowercase());
            assert_eq!(read(&small), Request::Command(expected), "{small}");
            seen.push(verb);
        }
        seen.dedup();
        assert!(
            seen.into_iter()
                .eq(OPERATOR_VERBS.iter().map(|verb| verb.name))
        );
        assert_eq!(read(""), Request::Empty);
    }

    #[test]
    fn a_mistake_is_an_error_that_says_what_there_is() {
        for (line, code, said) in [
            (
                "JOIN ann",
                Code::BadCommand,
                "\"JOIN\" is not a command here",
            ),
            (
                "SAY hello",
                Code::BadCommand,
                "STATS, SESSIONS, END, TELL-ALL, HELP and QUIT",
            ),
            (
                "   ",
                Code::BadCommand,
                "a line of spaces is not a command here",
            ),
            ("GET / HTTP/1.1", Code::BadCommand, "\"GET\""),
            ("END", Code::BadArgument, "END lobby ann"),
            (
                "END den",
                Code::BadArgument,
                "the name, as in END lobby ann, is missing",
            ),
            (
                "END den ann now",
                Code::BadArgument,
                "END takes a room and a name",
            ),
            ("END den _ann", Code::BadName, "begins with"),
            ("SESSIONS den", Code::BadArgument, "key=value"),
            (
                "SESSIONS after=den",
                Code::BadArgument,
                "a room, a slash and a name, not \"den\"",
            ),
            ("SESSIONS after=den/", Code::BadName, "a name is"),
            ("SESSIONS after=a/b after=a/b", Code::BadArgument, "twice"),
            ("STATS all", Code::BadArgument, "this command takes no"),
            ("TELL-ALL", Code::MessageEmpty, "there is no text"),
            ("TELL-ALL  ", Code::MessageEmpty, "there is no text"),
            ("TELL-ALL \u{200b}", Code::MessageEmpty, "visible"),
            ("TELL-ALL a\u{1b}b", Code::BadEncoding, ""),
        ] {
            let Request::Bad(error) = read(line) else {
                panic!("{line:?} is {:?}", read(line));
            };
            let text = error.to_string();
            assert_eq!(error.code(), code, "{line:?}: {text}");
            assert!(text.contains(said), "{line:?}: {text}");
        }
        let longest = format!(
            "TELL-ALL {}",
            "x".repeat(Limits::default().message_bytes_max)
        );
        assert!(matches!(read(&longest), Request::Command(_)));
        let longer = format!("{longest}x");
        assert!(
            matches!(read(&longer), Request::Bad(error) if error.code() == Code::MessageTooLong)
        );
    }
}
