//! The table of verbs. The server finds and reads a verb by its row, and HELP shows it.
//!
//! A new verb takes a row here, a value in `command`, a function in `chat::commands`, a reply in
//! `output`, and a section in PROTOCOL.md.

use super::args::{
    Args, bad_argument, choice, count_up_to, full_name, name, number, number_up_to, only, set,
};
use super::command::{Alive, Command, Join, Mode, Parting, Poll, Query, Resume, Since, Talk};
use super::error::{Code, Error};
use super::life_id::LifeId;
use super::limits::{
    IDLE_MIN_S, Limits, PING_BYTES_MAX, POLL_EVENTS_DEFAULT, POLL_EVENTS_MAX, POLL_WAIT_MAX_S,
    TALK_HISTORY_DEFAULT,
};
use super::name::{DEFAULT_ROOM, Name};
use super::quote::quote;
use super::text::is_visible;
use super::token::Token;

/// What a line asks for, or why the server refuses it.
pub(super) type Parsed<'a> = Result<Command<'a>, Error>;

/// A verb of the protocol.
pub struct Verb {
    /// The verb in capital letters.
    pub name: &'static str,
    /// What may follow it, as PROTOCOL.md shows it.
    pub syntax: &'static str,
    /// HELP's lines about it, as the screen shows them: how to write it, and what it does.
    pub help: &'static [&'static str],
    /// Reads what follows it.
    pub(super) parse: for<'a> fn(Args<'a>, &Limits) -> Parsed<'a>,
}

/// What HELP says at its end.
pub(super) static HELP_END: &[&str] = &[
    "After JOIN, what others say comes as MSG; after EXPIRING, press Return to stay.",
    "Capital letters are not needed. PROTOCOL.md explains everything.",
];

/// Every verb, in the order in which HELP shows them: what people need comes first.
pub static VERBS: &[Verb] = &[
    Verb {
        name: "TALK",
        syntax: "<name> [room=<room>] [history=<n>] [idle=<s>] [key=<secret>]",
        help: &["TALK <name> [room=<room>]     chat: what you type is said; /help shows more"],
        parse: talk,
    },
    Verb {
        name: "JOIN",
        syntax: "<name> [room=<room>] [mode=push|pull] [idle=<s>] [alive=ping|tcp] [history=<n>] [after=<seq> log=<id>] [quiet=yes] [key=<secret>]",
        help: &[
            "JOIN <name> [room=<room>]     enter a room as a program does; more options:",
            "     mode=push|pull idle=<s> alive=ping|tcp history=<n> quiet=yes",
            "     after=<seq> log=<id> key=<secret>",
        ],
        parse: join,
    },
    Verb {
        name: "SAY",
        syntax: "<text>",
        help: &["SAY <text>                    say something to everybody in the room"],
        parse: |args, limits| message(args.rest, limits),
    },
    Verb {
        name: "WHO",
        syntax: "[after=<name>]",
        help: &["WHO [after=<name>]            list the members of the room"],
        parse: |args, _| after(args, full_name).map(|after| Command::Query(Query::Who { after })),
    },
    Verb {
        name: "ROOMS",
        syntax: "[after=<room>]",
        help: &["ROOMS [after=<room>]          list the rooms"],
        parse: |args, _| after(args, name).map(|after| Command::Query(Query::Rooms { after })),
    },
    Verb {
        name: "LEAVE",
        syntax: "",
        help: &["LEAVE                         leave the room and end the session"],
        parse: |args, _| alone(args, Command::Parting(Parting::Leave)),
    },
    Verb {
        name: "QUIT",
        syntax: "",
        help: &["QUIT                          leave and close the connection"],
        parse: |args, _| alone(args, Command::Parting(Parting::Quit)),
    },
    Verb {
        name: "HELP",
        syntax: "",
        help: &["HELP                          show this list"],
        parse: |args, _| alone(args, Command::Query(Query::Help)),
    },
    Verb {
        name: "PING",
        syntax: "[text]",
        help: &["PING [text]                   show that you are alive"],
        parse: |args, _| ping(args.rest),
    },
    Verb {
        name: "POLL",
        syntax: "[max=<n>] [after=<seq>] [wait=<s>]",
        help: &["POLL [max=<n>] [wait=<s>]     fetch what happened (mode=pull)"],
        parse: poll,
    },
    Verb {
        name: "DETACH",
        syntax: "",
        help: &["DETACH                        detach the session, to RESUME it later"],
        parse: |args, _| alone(args, Command::Parting(Parting::Detach)),
    },
    Verb {
        name: "RESUME",
        syntax: "<token> [after=<seq>]",
        help: &["RESUME <token> [after=<seq>]  continue your session on this connection"],
        parse: resume,
    },
    Verb {
        name: "STATS",
        syntax: "",
        help: &["STATS                         show the server's counters"],
        parse: |args, _| alone(args, Command::Query(Query::Stats)),
    },
];

pub(super) fn find(word: &str) -> Option<&'static Verb> {
    find_in(VERBS, word)
}

#[inline]
pub(super) fn find_in<'v>(verbs: &'v [Verb], word: &str) -> Option<&'v Verb> {
    verbs.iter().find(|v| v.name.eq_ignore_ascii_case(word))
}

pub(super) fn alone<'a>(args: Args<'a>, command: Command<'a>) -> Parsed<'a> {
    match args.rest.trim_start_matches(' ') {
        "" => Ok(command),
        _ => Err(bad_argument("this command takes no arguments")),
    }
}

pub(super) fn after<T>(
    args: Args<'_>,
    read: fn(&str) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    let mut after = None;
    args.options(|key, value| match key {
        "after" => set(&mut after, key, read(value)?),
        _ => Ok(false),
    })?;
    Ok(after)
}

fn talk<'a>(args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let wishes = wishes(args, true)?;
    Ok(Command::Talk(Talk {
        name: wishes.name,
        room: wishes.room.unwrap_or(DEFAULT_ROOM),
        history: wishes.history.unwrap_or(TALK_HISTORY_DEFAULT),
        idle_s: wishes.idle_s,
        key: wishes.key,
    }))
}

/// Reads an idle time. A number too large for the type becomes the largest; the core grants what it
/// allows.
fn idle_s(key: &str, value: &str) -> Result<u32, Error> {
    match number(key, value)? {
        seconds if seconds < u64::from(IDLE_MIN_S) => Err(bad_argument(format!(
            "idle= takes at least {IDLE_MIN_S}, not {}",
            quote(value)
        ))),
        seconds => Ok(u32::try_from(seconds).unwrap_or(u32::MAX)),
    }
}

fn secret_key(value: &str) -> Result<&str, Error> {
    match value {
        "" => Err(bad_argument("key= is empty")),
        value => Ok(value),
    }
}

fn join<'a>(args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let wishes = wishes(args, false)?;
    let since = match (wishes.after, wishes.log) {
        (None, None) => None,
        (Some(after), Some(log)) => Some(Since { after, log }),
        _ => return Err(bad_argument("after= and log= go together")),
    };
    Ok(Command::Join(Join {
        name: wishes.name,
        room: wishes.room.unwrap_or(DEFAULT_ROOM),
        mode: wishes.mode.unwrap_or_default(),
        idle_s: wishes.idle_s,
        alive: wishes.alive.unwrap_or_default(),
        history: wishes.history.unwrap_or(0),
        key: wishes.key,
        since,
        is_quiet: wishes.quiet.is_some(),
    }))
}

/// What a line says about the session that it asks for.
struct Wishes<'a> {
    name: Name,
    room: Option<Name>,
    mode: Option<Mode>,
    idle_s: Option<u32>,
    alive: Option<Alive>,
    history: Option<u64>,
    after: Option<u64>,
    log: Option<LifeId>,
    quiet: Option<()>,
    key: Option<&'a str>,
}

/// Reads a name and the options of JOIN; those of TALK are some of them.
fn wishes(mut args: Args<'_>, is_talk: bool) -> Result<Wishes<'_>, Error> {
    let mut wishes = Wishes {
        name: name(args.positional(if is_talk {
            "the name, as in TALK ann,"
        } else {
            "the name"
        })?)?,
        room: None,
        mode: None,
        idle_s: None,
        alive: None,
        history: None,
        after: None,
        log: None,
        quiet: None,
        key: None,
    };
    args.options(|key, value| match key {
        "room" => set(&mut wishes.room, key, name(value)?),
        "idle" => set(&mut wishes.idle_s, key, idle_s(key, value)?),
        "history" => set(&mut wishes.history, key, number(key, value)?),
        "key" => set(&mut wishes.key, key, secret_key(value)?),
        _ if is_talk => Ok(false),
        "mode" => {
            let modes = Mode::ALL.map(|m| (m.as_str(), m));
            set(&mut wishes.mode, key, choice(key, value, modes)?)
        }
        "alive" => {
            let ways = Alive::ALL.map(|a| (a.as_str(), a));
            set(&mut wishes.alive, key, choice(key, value, ways)?)
        }
        "after" => set(&mut wishes.after, key, number(key, value)?),
        "log" => {
            let id = LifeId::parse(value);
            let id = id.ok_or_else(|| {
                bad_argument(format!(
                    "log= takes 16 hexadecimal digits, not {}",
                    quote(value)
                ))
            })?;
            set(&mut wishes.log, key, id)
        }
        "quiet" => set(&mut wishes.quiet, key, only("yes", key, value)?),
        _ => Ok(false),
    })?;
    Ok(wishes)
}

fn resume<'a>(mut args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let token = Token::parse(args.positional("the session's token")?);
    let mut after = None;
    args.options(|key, value| match key {
        "after" => set(&mut after, key, number(key, value)?),
        _ => Ok(false),
    })?;
    Ok(Command::Resume(Resume { token, after }))
}

/// Makes the command that says a text.
///
/// # Errors
///
/// If nothing in the text is visible, or it is too long.
pub fn message<'a>(text: &'a str, limits: &Limits) -> Result<Command<'a>, Error> {
    check_message(text, limits)?;
    Ok(Command::Say(text))
}

/// Checks that something in a text is visible, and that it is not too long.
pub(super) fn check_message(text: &str, limits: &Limits) -> Result<(), Error> {
    if !text.chars().any(is_visible) {
        let found = match text.trim_matches(' ') {
            "" => "there is no text",
            _ => "nothing in this text is visible",
        };
        return Err(Error::BadLine(Code::MessageEmpty, found.into()));
    }
    if text.len() > limits.message_bytes_max {
        let (max, len) = (limits.message_bytes_max, text.len());
        let text = format!("a message has at most {max} bytes; this one has {len}");
        return Err(Error::BadLine(Code::MessageTooLong, text.into()));
    }
    Ok(())
}

fn poll<'a>(args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let (mut max, mut after, mut wait) = (None, None, None);
    args.options(|key, value| match key {
        "max" => set(&mut max, key, count_up_to(POLL_EVENTS_MAX, key, value)?),
        "after" => set(&mut after, key, number(key, value)?),
        "wait" => set(&mut wait, key, number_up_to(POLL_WAIT_MAX_S, key, value)?),
        _ => Ok(false),
    })?;
    Ok(Command::Query(Query::Poll(Poll {
        max: max.unwrap_or(POLL_EVENTS_DEFAULT),
        after,
        wait_s: wait.unwrap_or(0),
    })))
}

fn ping(text: &str) -> Parsed<'_> {
    if text.len() > PING_BYTES_MAX {
        let len = text.len();
        return Err(bad_argument(format!(
            "PING takes at most {PING_BYTES_MAX} bytes, not {len}"
        )));
    }
    Ok(Command::Ping(text))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::protocol::FullName;
    use crate::protocol::limits::LINE_BYTES_MAX;
    use crate::protocol::request::Request;
    use crate::protocol::request::tests::{command, error};

    const TOKEN: &str = "0000001f00112233445566778899aabbccddeeff";

    fn named(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    fn plain_join() -> Join<'static> {
        Join {
            name: named("ann"),
            room: DEFAULT_ROOM,
            mode: Mode::Push,
            idle_s: None,
            alive: Alive::Ping,
            history: 0,
            key: None,
            since: None,
            is_quiet: false,
        }
    }

    fn plain_talk() -> Talk<'static> {
        Talk {
            name: named("ann"),
            room: DEFAULT_ROOM,
            history: 20,
            idle_s: None,
            key: None,
        }
    }

    const fn count(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    const PLAIN_POLL: Poll = Poll {
        max: count(100),
        after: None,
        wait_s: 0,
    };

    #[test]
    fn every_verb_is_read_in_any_case() {
        let resume = Resume {
            token: Token::parse(TOKEN),
            after: None,
        };
        let table = [
            ("TALK", "ann", Command::Talk(plain_talk())),
            ("JOIN", "ann", Command::Join(plain_join())),
            ("SAY", "Hi", Command::Say("Hi")),
            ("WHO", "", Command::Query(Query::Who { after: None })),
            ("ROOMS", "", Command::Query(Query::Rooms { after: None })),
            ("LEAVE", "", Command::Parting(Parting::Leave)),
            ("QUIT", "", Command::Parting(Parting::Quit)),
            ("HELP", "", Command::Query(Query::Help)),
            ("PING", "Hi", Command::Ping("Hi")),
            ("POLL", "", Command::Query(Query::Poll(PLAIN_POLL))),
            ("DETACH", "", Command::Parting(Parting::Detach)),
            ("RESUME", TOKEN, Command::Resume(resume)),
            ("STATS", "", Command::Query(Query::Stats)),
        ];
        assert!(table.iter().map(|t| t.0).eq(VERBS.iter().map(|v| v.name)));
        for (verb, args, expected) in table {
            let mixed = verb[..1].to_lowercase() + &verb[1..];
            for verb in [verb, &verb.to_lowercase(), &mixed] {
                let line = format!("{verb} {args}");
                assert_eq!(command(&line), expected, "{line:?}");
                let line = format!("  {line}");
                assert_eq!(command(&line), expected, "{line:?}");
                if args.is_empty() {
                    assert_eq!(command(verb), expected, "{verb:?}");
                    assert_eq!(command(&format!("{verb}   ")), expected, "{verb:?}");
                } else {
                    let code = error(format!("{verb}x {args}").as_bytes());
                    assert_eq!(code, Code::BadCommand);
                }
            }
        }
    }

    #[test]
    fn join_takes_each_option_in_any_order() {
        let join = plain_join();
        let since = Some(Since {
            after: 7,
            log: LifeId::new(255),
        });
        #[rustfmt::skip]
        let table = [
            ("", join),
            ("room=Den-2", Join { room: named("Den-2"), ..join }),
            ("mode=push", join),
            ("mode=PULL", Join { mode: Mode::Pull, ..join }),
            ("idle=1", Join { idle_s: Some(1), ..join }),
            ("idle=4294967295", Join { idle_s: Some(u32::MAX), ..join }),
            ("idle=4294967297", Join { idle_s: Some(u32::MAX), ..join }),
            ("idle=99999999999999999999", Join { idle_s: Some(u32::MAX), ..join }),
            ("alive=ping", join),
            ("alive=tcp", Join { alive: Alive::Tcp, ..join }),
            ("history=0", join),
            ("history=18446744073709551615", Join { history: u64::MAX, ..join }),
            ("history=18446744073709551616", Join { history: u64::MAX, ..join }),
            ("after=7 log=00000000000000FF", Join { since, ..join }),
            ("log=00000000000000ff history=2 after=7", Join { since, history: 2, ..join }),
            ("quiet=yes", Join { is_quiet: true, ..join }),
            ("Quiet=YES", Join { is_quiet: true, ..join }),
            ("key=a=b", Join { key: Some("a=b"), ..join }),
            ("  IDLE=007   Room=b  ", Join { idle_s: Some(7), room: named("b"), ..join }),
        ];
        for (options, expected) in table {
            let line = format!("JOIN   ann {options}");
            assert_eq!(command(&line), Command::Join(expected), "{line:?}");
        }
        let words = [
            "room=b",
            "mode=pull",
            "idle=9",
            "alive=tcp",
            "history=5",
            "after=7",
            "log=00000000000000ff",
            "quiet=yes",
            "key=k",
        ];
        let (mut line, mut reversed) = (String::from("JOIN ann"), String::from("JOIN ann"));
        words.iter().for_each(|word| line += &format!(" {word}"));
        words
            .iter()
            .rev()
            .for_each(|word| reversed += &format!(" {word}"));
        let all = Join {
            name: named("ann"),
            room: named("b"),
            mode: Mode::Pull,
            idle_s: Some(9),
            alive: Alive::Tcp,
            history: 5,
            key: Some("k"),
            since,
            is_quiet: true,
        };
        assert_eq!(command(&line), Command::Join(all));
        assert_eq!(command(&reversed), Command::Join(all));
    }

    #[test]
    fn the_other_verbs_take_their_options() {
        let token = Token::parse(TOKEN);
        let (after, after_member) = (Some(named("Bob")), FullName::parse("Bob@attic"));
        let talk = plain_talk();
        let poll = PLAIN_POLL;
        #[rustfmt::skip]
        let table = [
            ("TALK ann room=b".into(), Command::Talk(Talk { room: named("b"), ..talk })),
            ("TALK ann history=0".into(), Command::Talk(Talk { history: 0, ..talk })),
            ("TALK ann idle=9".into(), Command::Talk(Talk { idle_s: Some(9), ..talk })),
            ("TALK ann key=k history=1".into(), Command::Talk(Talk { key: Some("k"), history: 1, ..talk })),
            (format!("RESUME {TOKEN} after=0"), Command::Resume(Resume { token, after: Some(0) })),
            ("RESUME nonsense".into(), Command::Resume(Resume { token: None, after: None })),
            ("POLL max=1".into(), Command::Query(Query::Poll(Poll { max: count(1), ..poll }))),
            ("POLL max=1000".into(), Command::Query(Query::Poll(Poll { max: count(1000), ..poll }))),
            ("POLL wait=0".into(), Command::Query(Query::Poll(poll))),
            ("POLL wait=60".into(), Command::Query(Query::Poll(Poll { wait_s: 60, ..poll }))),
            ("POLL after=7".into(), Command::Query(Query::Poll(Poll { after: Some(7), ..poll }))),
            ("POLL wait=1 max=2 after=3".into(), Command::Query(Query::Poll(Poll { max: count(2), after: Some(3), wait_s: 1 }))),
            ("WHO after=Bob".into(), Command::Query(Query::Who { after: after.map(FullName::from) })),
            ("WHO after=Bob@attic".into(), Command::Query(Query::Who { after: after_member })),
            ("ROOMS after=Bob".into(), Command::Query(Query::Rooms { after })),
        ];
        for (line, expected) in table {
            assert_eq!(command(&line), expected, "{line:?}");
        }
    }

    #[test]
    fn a_missing_unknown_repeated_or_malformed_argument_is_a_bad_argument() {
        for line in [
            "JOIN",
            "JOIN   ",
            "RESUME",
            "RESUME ",
            "TALK",
            "TALK ann bob",
            "TALK ann mode=push",
            "TALK ann alive=tcp",
            "TALK ann key=",
            "TALK ann idle=0",
            "TALK ann room=a room=a",
            "JOIN ann bob",
            "JOIN ann =",
            "JOIN ann =x",
            "JOIN ann after=1",
            "JOIN ann log=00000000000000ff",
            "JOIN ann after= log=00000000000000ff",
            "JOIN ann after=-1 log=00000000000000ff",
            "JOIN ann after=1 log=",
            "JOIN ann after=1 log=ff",
            "JOIN ann after=1 log=00000000000000fg",
            "JOIN ann after=1 log=000000000000000ff",
            "JOIN ann after=1 log=00000000000000ff after=1",
            "JOIN ann after=1 log=00000000000000ff log=00000000000000ff",
            "JOIN ann rooms=a",
            "JOIN ann room =a",
            "JOIN ann room=a room=b",
            "JOIN ann mode=push mode=push",
            "JOIN ann idle=5 IDLE=6",
            "JOIN ann alive=tcp alive=ping",
            "JOIN ann history=0 history=0",
            "JOIN ann key=a key=a",
            "JOIN ann mode=",
            "JOIN ann mode=pus",
            "JOIN ann alive=yes",
            "JOIN ann alive=",
            "JOIN ann idle=",
            "JOIN ann idle=0",
            "JOIN ann idle=-1",
            "JOIN ann idle=+1",
            "JOIN ann idle=1.5",
            "JOIN ann idle=1s",
            "JOIN ann idle=\u{661}",
            "JOIN ann history=",
            "JOIN ann history=-1",
            "JOIN ann history=all",
            "JOIN ann quiet",
            "JOIN ann quiet=",
            "JOIN ann quiet=no",
            "JOIN ann quiet=1",
            "JOIN ann quiet=yes quiet=yes",
            "JOIN ann key=",
            "RESUME x y",
            "RESUME x mode=pull",
            "RESUME x after=",
            "RESUME x after=x",
            "RESUME x after=1 after=1",
            "POLL 5",
            "POLL idle=5",
            "POLL max=0",
            "POLL max=1001",
            "POLL max=99999999999999999999",
            "POLL max=x",
            "POLL max=5 max=5",
            "POLL wait=61",
            "POLL wait=-1",
            "POLL wait=",
            "POLL wait=1 wait=1",
            "POLL after=-1",
            "POLL after=1 after=1",
            "WHO bob",
            "WHO max=1",
            "WHO after=a after=a",
            "ROOMS den",
            "ROOMS max=1",
            "ROOMS after=a after=a",
            "LEAVE now",
            "DETACH now",
            "STATS all",
            "HELP JOIN",
            "QUIT LEAVE",
        ] {
            assert_eq!(error(line.as_bytes()), Code::BadArgument, "{line:?}");
        }
    }

    #[test]
    fn a_name_has_at_most_24_bytes_wherever_it_stands() {
        let (longest, too_long) = ("n".repeat(24), "n".repeat(25));
        for verb in [
            "TALK ",
            "TALK ann room=",
            "JOIN ",
            "JOIN ann room=",
            "WHO after=",
            "ROOMS after=",
        ] {
            command(&format!("{verb}{longest}"));
            for bad in [&too_long, "_a", "a\tb", "é", "a=b"] {
                let line = format!("{verb}{bad}");
                assert_eq!(error(line.as_bytes()), Code::BadName, "{line:?}");
            }
        }
        for line in ["JOIN ann room=", "WHO after=", "ROOMS after="] {
            assert_eq!(error(line.as_bytes()), Code::BadName, "{line:?}");
        }
    }

    #[test]
    fn a_text_is_everything_after_one_space() {
        for (line, text) in [
            ("SAY a", "a"),
            ("SAY  a  b ", " a  b "),
            ("  say \ta\t", "\ta\t"),
            ("SAY SAY SAY", "SAY SAY"),
            ("SAY a=b é 🦆", "a=b é 🦆"),
        ] {
            assert_eq!(command(line), Command::Say(text), "{line:?}");
            let line = line.replacen("SAY", "PING", 1).replacen("say", "ping", 1);
            assert_eq!(command(&line), Command::Ping(text), "{line:?}");
        }
        for (line, text) in [("PING", ""), ("PING ", ""), ("PING  ", " ")] {
            assert_eq!(command(line), Command::Ping(text), "{line:?}");
        }
        for line in [
            "SAY",
            "SAY ",
            "SAY    ",
            "SAY \t",
            "SAY \u{a0}\u{2003}\u{3000}",
            "SAY \u{200b}",
            "SAY \u{2800} \u{3164}\u{ffa0}\u{115f}\u{1160}",
            "SAY \u{ad}\u{34f}\u{61c}\u{feff}",
            "SAY \u{fe0f}\t\u{e0041}\u{e01ef}",
        ] {
            assert_eq!(error(line.as_bytes()), Code::MessageEmpty, "{line:?}");
        }
    }

    #[test]
    fn a_visible_text_may_contain_invisible_characters() {
        for text in [
            "👩\u{200d}🔧",
            "❤\u{fe0f}",
            "می\u{200c}خواهم",
            "\u{2800}.",
            "\u{200b}x",
            "\u{301}",
        ] {
            assert_eq!(command(&format!("SAY {text}")), Command::Say(text));
        }
    }

    #[test]
    fn a_text_has_at_most_as_many_bytes_as_the_limit_says() {
        for max in [1, 2, 1024, 4096] {
            let limits = Limits {
                message_bytes_max: max,
                ..Limits::default()
            };
            let line = format!("SAY {}", "x".repeat(max));
            let said = Request::Command(Command::Say(&line[4..]));
            assert_eq!(Request::read(line.as_bytes(), &limits), said);
            assert!(line.len() <= limits.line_bytes_max());
            let line = format!("{line}x");
            let refused = Request::read(line.as_bytes(), &limits);
            assert!(
                matches!(&refused, Request::Bad(error) if error.code() == Code::MessageTooLong),
                "{refused:?}"
            );
        }
        assert_eq!(
            error(format!("SAY {}", "é".repeat(513)).as_bytes()),
            Code::MessageTooLong
        );
        let line = format!("PING {}", "x".repeat(PING_BYTES_MAX));
        assert_eq!(line.len(), LINE_BYTES_MAX);
        assert_eq!(command(&line), Command::Ping(&line[5..]));
        assert_eq!(error(format!("{line}x").as_bytes()), Code::BadArgument);
    }

    #[test]
    fn commands_that_wait_for_the_output_stay_the_same() {
        for line in [
            "POLL max=2 after=3 wait=4",
            "WHO after=a",
            "ROOMS after=b",
            "STATS",
            "HELP",
            "LEAVE",
            "DETACH",
            "QUIT",
        ] {
            let deferred = command(line).after_output();
            assert_eq!(deferred.map(Command::from), Some(command(line)));
        }
        for line in ["TALK ann", "JOIN ann", "RESUME x", "SAY a", "PING"] {
            assert_eq!(command(line).after_output(), None, "{line:?}");
        }
    }
}
