//! What a line means that a person types in talk form.

use crate::protocol::{
    Code, Command, Error, Limits, Name, Parting, Query, Request, TALK_HISTORY_DEFAULT, bad_name,
    decode, message, nearest, quote,
};

/// A word that a person types after `/`.
struct Word {
    name: &'static str,
    /// Reads what follows it.
    read: for<'a> fn(&'a str) -> Result<Request<'a>, Error>,
}

/// All of them but `/me`, which says something.
const WORDS: [Word; 9] = [
    Word {
        name: "who",
        read: |rest| alone(rest, Query::Who { after: None }),
    },
    Word {
        name: "rooms",
        read: |rest| alone(rest, Query::Rooms { after: None }),
    },
    Word {
        name: "room",
        read: room,
    },
    Word {
        name: "again",
        read: again,
    },
    Word {
        name: "edit",
        read: edit,
    },
    Word {
        name: "help",
        read: |_| Ok(Request::Command(Command::Query(Query::Help))),
    },
    Word {
        name: "quit",
        read: |_| Ok(QUIT),
    },
    Word {
        name: "leave",
        read: |_| Ok(QUIT),
    },
    Word {
        name: "exit",
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
    let read = decode(line).and_then(|text| match text.strip_prefix('/') {
        _ if text.trim().is_empty() => Ok(Request::Empty),
        None => message(text, limits).map(Request::Command),
        // `//x` says `/x`.
        Some(said) if said.starts_with('/') => message(said, limits).map(Request::Command),
        Some(command) => read_command(text, command, limits),
    });
    read.unwrap_or_else(Request::Bad)
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
    match WORDS
        .iter()
        .find(|word| word.name.eq_ignore_ascii_case(name))
    {
        Some(word) => (word.read)(rest),
        None => Err(unknown(name)),
    }
}

fn unknown(name: &str) -> Error {
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
