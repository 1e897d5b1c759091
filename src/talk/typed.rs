//! What a line means that a person types in talk form.

use crate::protocol::{
    Code, Command, Error, Limits, Name, Parting, Query, Request, TALK_HISTORY_DEFAULT, bad_name,
    decode, message, nearest, quote,
};

/// A command that a person types after `/`.
struct Word {
    name: &'static str,
    /// What people type who know other chat systems.
    others: &'static [&'static str],
    /// Reads what follows it.
    read: for<'a> fn(&'a str) -> Result<Request<'a>, Error>,
}

/// All of them but `/me`, which says something.
const WORDS: [Word; 7] = [
    Word {
        name: "who",
        others: &["names"],
        read: |rest| alone(rest, Query::Who { after: None }),
    },
    Word {
        name: "rooms",
        others: &["list"],
        read: |rest| alone(rest, Query::Rooms { after: None }),
    },
    Word {
        name: "room",
        others: &["join"],
        read: room,
    },
    Word {
        name: "again",
        others: &[],
        read: again,
    },
    Word {
        name: "edit",
        others: &[],
        read: edit,
    },
    Word {
        name: "help",
        others: &["h", "?"],
        read: |_| Ok(Request::Command(Command::Query(Query::Help))),
    },
    Word {
        name: "quit",
        others: &["leave", "exit", "part", "bye"],
        read: |_| Ok(QUIT),
    },
];

/// The commands as they are typed.
pub const COMMANDS: [&str; 9] = [
    "/again", "/edit", "/help", "/leave", "/me", "/quit", "/room", "/rooms", "/who",
];

const QUIT: Request<'static> = Request::Command(Command::Parting(Parting::Quit));

/// Reads a line without its end. A line of blanks does nothing.
pub(super) fn read<'a>(line: &'a [u8], limits: &Limits) -> Request<'a> {
    let text = decode(line).map_err(|error| why_not_said(line, error));
    let read = text.and_then(|text| match text.strip_prefix('/') {
        _ if text.trim().is_empty() => Ok(Request::Empty),
        None if has_key(text) => Err(bad(
            "that has a key, so it was not said; you are here already, and /room changes rooms",
        )),
        None => message(text, limits).map(Request::Command),
        // `//x` says `/x`.
        Some(said) if said.starts_with('/') => message(said, limits).map(Request::Command),
        Some(command) => read_command(text, command, limits),
    });
    read.unwrap_or_else(Request::Bad)
}

/// Whether a line is TALK or JOIN with a key, typed once more.
fn has_key(text: &str) -> bool {
    let mut words = text.split_whitespace();
    let is_verb = |word: &str| {
        ["TALK", "JOIN"]
            .iter()
            .any(|v| v.eq_ignore_ascii_case(word))
    };
    let is_key = |word: &str| {
        word.get(..4)
            .is_some_and(|k| k.eq_ignore_ascii_case("key="))
    };
    words.next().is_some_and(is_verb) && words.any(is_key)
}

/// Why a line cannot be said, in the words of somebody who has pressed a key that lines do not have.
fn why_not_said(line: &[u8], error: Error) -> Error {
    const CTRL_D: u8 = 4;
    const ESC: u8 = 27;
    let text = match line {
        line if line.contains(&ESC) => {
            "that was not said: arrow keys work with telnet after /edit, or with rlwrap nc"
        }
        line if line.contains(&CTRL_D) => {
            "that was not said: Ctrl-D works after /edit; /quit leaves"
        }
        _ => return error,
    };
    Error::BadLine(Code::BadEncoding, text.into())
}

fn read_command<'a>(
    text: &'a str,
    command: &'a str,
    limits: &Limits,
) -> Result<Request<'a>, Error> {
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    let rest = rest.trim();
    if name.eq_ignore_ascii_case("me") {
        return match rest {
            "" => Err(bad("say what you do, like /me waves")),
            _ => message(text, limits).map(Request::Command),
        };
    }
    let is_it = |other: &str| other.eq_ignore_ascii_case(name);
    match WORDS
        .iter()
        .find(|word| is_it(word.name) || word.others.iter().any(|&o| is_it(o)))
    {
        Some(word) => (word.read)(rest),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
    match name {
        "nick" => return bad("to take another name, /quit and TALK again"),
        "msg" | "query" | "tell" => return bad("there are no private messages here"),
        _ => {}
    }
    let typed = format!("/{name}");
    let quoted = quote(&typed);
    bad(match nearest(&typed, COMMANDS.into_iter()) {
        Some(command) => format!("{quoted} is not a command; did you mean {command}?"),
        None => format!("{quoted} is not a command; /help lists them, and one more / says it"),
    })
}

fn alone<'a>(rest: &str, query: Query) -> Result<Request<'a>, Error> {
    match rest {
        "" => Ok(Request::Command(Command::Query(query))),
        _ => Err(bad("this command takes nothing more")),
    }
}

fn room(rest: &str) -> Result<Request<'_>, Error> {
    if rest.is_empty() {
        return Err(bad("say which room, like /room kitchen; /rooms lists them"));
    }
    let rest = rest.strip_prefix('#').unwrap_or(rest);
    let room = Name::parse(rest).ok_or_else(|| bad_name(rest))?;
    Ok(Request::Command(Command::Parting(Parting::Enter { room })))
}

fn again(rest: &str) -> Result<Request<'_>, Error> {
    let events = match rest {
        "" => TALK_HISTORY_DEFAULT,
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().unwrap_or(u64::MAX),
        _ => return Err(bad("say how many, like /again 50")),
    };
    Ok(Request::Command(Command::Query(Query::Again { events })))
}

fn edit(rest: &str) -> Result<Request<'_>, Error> {
    match rest {
        "" | "on" => Ok(Request::Edit { on: true }),
        "off" => Ok(Request::Edit { on: false }),
        _ => Err(bad("type /edit, or /edit off")),
    }
}

fn bad(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::BadLine(Code::BadCommand, text.into())
}
