//! A client's line as a value: one table row and one small function a verb.

use super::args::{Args, bad_argument, choice, name, number, number_within, set};
use super::http::is_http;
use super::text::{decode, is_short, quote, shows};
use super::{
    Abuse, Code, Error, IDLE_MIN_S, Limits, Name, PING_BYTES_MAX, POLL_EVENTS_DEFAULT,
    POLL_EVENTS_MAX, POLL_WAIT_MAX_S, Token,
};

/// How a session gets its events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// They are written to its connection as they happen.
    #[default]
    Push,
    /// It fetches them with POLL.
    Pull,
}

impl Mode {
    /// The mode as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Mode::Push => "push",
            Mode::Pull => "pull",
        }
    }
}

/// What counts as a sign of life beside the lines that a client sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alive {
    /// Nothing: the client has to send something now and then.
    #[default]
    Ping,
    /// An open connection whose peer's kernel still answers.
    Tcp,
}

impl Alive {
    /// The choice as it goes over the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Alive::Ping => "ping",
            Alive::Tcp => "tcp",
        }
    }
}

/// What JOIN asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join<'a> {
    /// The member's name.
    pub name: Name,
    /// The room to enter; none for the default room.
    pub room: Option<Name>,
    /// How to get events.
    pub mode: Mode,
    /// The idle time wished for, in seconds.
    pub idle_s: Option<u32>,
    /// What counts as a sign of life.
    pub alive: Alive,
    /// How many events from before the JOIN to give first.
    pub history: u64,
    /// What proves the right to the name, where that takes a proof.
    pub key: Option<&'a str>,
}

/// What RESUME asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The session's token; none if the word cannot be one.
    pub token: Option<Token>,
    /// The number of the last event that the client has seen.
    pub after: Option<u64>,
}

/// What POLL asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Poll {
    /// The most lines to give, 1 to 1,000.
    pub max: u32,
    /// The number of the last event that the client has seen.
    pub after: Option<u64>,
    /// How long to wait if there is nothing to give, 0 to 60 seconds.
    pub wait_s: u32,
}

/// What a client wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table of verbs documents them")]
pub enum Command<'a> {
    Join(Join<'a>),
    Resume(Resume),
    Say(&'a str),
    Poll(Poll),
    Ping(&'a str),
    Leave,
    Detach,
    Who { after: Option<Name> },
    Rooms { after: Option<Name> },
    Stats,
    Help,
    Quit,
}

impl Command<'_> {
    /// The command without a tie to its line, if it is one before which the connection's output
    /// has to be written: one whose reply may be long, or with which the connection lets go of its
    /// session.
    pub fn after_output(&self) -> Option<Command<'static>> {
        match *self {
            Command::Poll(poll) => Some(Command::Poll(poll)),
            Command::Who { after } => Some(Command::Who { after }),
            Command::Rooms { after } => Some(Command::Rooms { after }),
            Command::Stats => Some(Command::Stats),
            Command::Help => Some(Command::Help),
            Command::Leave => Some(Command::Leave),
            Command::Detach => Some(Command::Detach),
            Command::Quit => Some(Command::Quit),
            Command::Join(_) | Command::Resume(_) | Command::Say(_) | Command::Ping(_) => None,
        }
    }

    /// Whether the reply may be long.
    pub fn has_long_reply(&self) -> bool {
        matches!(
            self,
            Command::Poll(_)
                | Command::Who { .. }
                | Command::Rooms { .. }
                | Command::Stats
                | Command::Help
        )
    }
}

type Parsed<'a> = Result<Command<'a>, Error>;

/// A verb of the protocol.
pub struct Verb {
    /// The verb in capital letters.
    pub name: &'static str,
    /// What may stand behind it.
    pub syntax: &'static str,
    /// What it does, in a few words.
    pub summary: &'static str,
    /// Reads what stands behind it.
    parse: for<'a> fn(Args<'a>, &Limits) -> Parsed<'a>,
}

/// Every verb, in the order in which HELP shows them.
pub static VERBS: [Verb; 12] = [
    Verb {
        name: "JOIN",
        syntax: "<name> [room=<room>] [mode=push|pull] [idle=<s>] [alive=ping|tcp] [history=<n>] [key=<secret>]",
        summary: "enter a room; the reply tells your session's token",
        parse: join,
    },
    Verb {
        name: "RESUME",
        syntax: "<token> [after=<seq>]",
        summary: "take your session up again, on this connection",
        parse: resume,
    },
    Verb {
        name: "SAY",
        syntax: "<text>",
        summary: "say something to all in the room",
        parse: |args, limits| say(args.rest, limits),
    },
    Verb {
        name: "POLL",
        syntax: "[max=<n>] [after=<seq>] [wait=<s>]",
        summary: "fetch what happened (mode=pull)",
        parse: poll,
    },
    Verb {
        name: "PING",
        syntax: "[text]",
        summary: "show that you are alive",
        parse: |args, _| ping(args.rest),
    },
    Verb {
        name: "LEAVE",
        syntax: "",
        summary: "leave the room and end the session",
        parse: |args, _| alone(args, Command::Leave),
    },
    Verb {
        name: "DETACH",
        syntax: "",
        summary: "let go of the session, to RESUME it later",
        parse: |args, _| alone(args, Command::Detach),
    },
    Verb {
        name: "WHO",
        syntax: "[after=<name>]",
        summary: "list the members of the room",
        parse: |args, _| after_name(args).map(|after| Command::Who { after }),
    },
    Verb {
        name: "ROOMS",
        syntax: "[after=<room>]",
        summary: "list the rooms",
        parse: |args, _| after_name(args).map(|after| Command::Rooms { after }),
    },
    Verb {
        name: "STATS",
        syntax: "",
        summary: "show the server's counters",
        parse: |args, _| alone(args, Command::Stats),
    },
    Verb {
        name: "HELP",
        syntax: "",
        summary: "show this list",
        parse: |args, _| alone(args, Command::Help),
    },
    Verb {
        name: "QUIT",
        syntax: "",
        summary: "leave and close the connection",
        parse: |args, _| alone(args, Command::Quit),
    },
];

/// What the server makes of one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// An empty line: a sign of life that gets no reply.
    Empty,
    /// A command.
    Command(Command<'a>),
    /// A mistake.
    Bad(Error),
    /// A line whose end has not come, and that is too long already.
    TooLong,
    /// Telnet's NOP: a sign of life that is no line.
    Sign,
    /// Telnet's AYT: likewise, and it asks for one.
    AreYouThere,
    /// What no chat client sends.
    Abuse(Abuse),
}

impl<'a> Request<'a> {
    /// Reads one line, without its end.
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
}

fn parse<'a>(line: &'a [u8], limits: &Limits) -> Parsed<'a> {
    let line = decode(line)?;
    let mut args = Args {
        rest: line.trim_start_matches(' '),
    };
    let word = args.split_word();
    let verb = find(word).ok_or_else(|| {
        let found = match word {
            "" => "a line of spaces".into(),
            word => unknown(word),
        };
        let text = format!("{found} is no command; HELP lists them");
        Error::new(Code::BadCommand, text)
    })?;
    (verb.parse)(args, limits)
}

pub(super) fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|v| v.name.eq_ignore_ascii_case(word))
}

/// A first word that is no verb, as far as it can be shown. It may be a key or a token, or an
/// option with one.
fn unknown(word: &str) -> String {
    let (key, value) = word.split_at(word.find('=').map_or(word.len(), |at| at + 1));
    if !value.is_empty() {
        return format!("{} with a value", quote(key));
    }
    // Of a verb with something else than a space behind it, that much tells what is wrong.
    let glued = |verb: &Verb| {
        let behind = word.get(verb.name.len()..)?.chars().next()?;
        let len = verb.name.len() + behind.len_utf8();
        let is_it = word[..verb.name.len()].eq_ignore_ascii_case(verb.name);
        (is_it && !behind.is_ascii_alphanumeric()).then_some(&word[..len])
    };
    match VERBS.iter().find_map(glued) {
        Some(glued) if !is_short(word) => format!("{} and more", quote(glued)),
        _ => quote(word),
    }
}

fn alone<'a>(args: Args<'a>, command: Command<'a>) -> Parsed<'a> {
    match args.rest.trim_start_matches(' ') {
        "" => Ok(command),
        _ => Err(bad_argument("this command takes no arguments")),
    }
}

fn after_name(args: Args<'_>) -> Result<Option<Name>, Error> {
    let mut after = None;
    args.options(|key, value| match key {
        "after" => set(&mut after, key, name(value)?),
        _ => Ok(false),
    })?;
    Ok(after)
}

fn join<'a>(mut args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let joining = name(args.positional("the name")?)?;
    let (mut room, mut mode, mut idle, mut alive) = (None, None, None, None);
    let (mut history, mut secret) = (None, None);
    args.options(|key, value| match key {
        "room" => set(&mut room, key, name(value)?),
        "mode" => {
            let modes = [Mode::Push, Mode::Pull].map(|m| (m.as_str(), m));
            set(&mut mode, key, choice(key, value, modes)?)
        }
        // A wish for more than there is to have is granted as the most there is.
        "idle" => match number(key, value)? {
            seconds if seconds < u64::from(IDLE_MIN_S) => {
                Err(bad_argument(format!("idle= is at least {IDLE_MIN_S}")))
            }
            seconds => set(&mut idle, key, u32::try_from(seconds).unwrap_or(u32::MAX)),
        },
        "alive" => {
            let ways = [Alive::Ping, Alive::Tcp].map(|a| (a.as_str(), a));
            set(&mut alive, key, choice(key, value, ways)?)
        }
        "history" => set(&mut history, key, number(key, value)?),
        "key" if value.is_empty() => Err(bad_argument("key= is empty")),
        "key" => set(&mut secret, key, value),
        _ => Ok(false),
    })?;
    Ok(Command::Join(Join {
        name: joining,
        room,
        mode: mode.unwrap_or_default(),
        idle_s: idle,
        alive: alive.unwrap_or_default(),
        history: history.unwrap_or(0),
        key: secret,
    }))
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

fn say<'a>(text: &'a str, limits: &Limits) -> Parsed<'a> {
    if !text.chars().any(shows) {
        let found = match text.trim_matches(' ') {
            "" => "there is nothing to say",
            _ => "nothing in this text can be seen",
        };
        return Err(Error::new(Code::MessageEmpty, found));
    }
    if text.len() > limits.message_bytes_max {
        let max = limits.message_bytes_max;
        return Err(Error::new(
            Code::MessageTooLong,
            format!(
                "a message has at most {max} bytes; this one has {}",
                text.len()
            ),
        ));
    }
    Ok(Command::Say(text))
}

fn poll<'a>(args: Args<'a>, _limits: &Limits) -> Parsed<'a> {
    let (mut max, mut after, mut wait) = (None, None, None);
    args.options(|key, value| match key {
        "max" => set(
            &mut max,
            key,
            number_within(key, value, 1, POLL_EVENTS_MAX)?,
        ),
        "after" => set(&mut after, key, number(key, value)?),
        "wait" => set(
            &mut wait,
            key,
            number_within(key, value, 0, POLL_WAIT_MAX_S)?,
        ),
        _ => Ok(false),
    })?;
    Ok(Command::Poll(Poll {
        max: max.unwrap_or(POLL_EVENTS_DEFAULT),
        after,
        wait_s: wait.unwrap_or(0),
    }))
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
    use super::*;
    use crate::protocol::LINE_BYTES_MAX;

    const TOKEN: &str = "0000001f00112233445566778899aabbccddeeff";

    fn read(line: &str) -> Request<'_> {
        Request::read(line.as_bytes(), &Limits::default())
    }

    fn command(line: &str) -> Command<'_> {
        match read(line) {
            Request::Command(command) => command,
            other => panic!("{line:?} is {other:?}"),
        }
    }

    fn error(line: &[u8]) -> Code {
        match Request::read(line, &Limits::default()) {
            Request::Bad(error) => error.code,
            other => panic!("{} is {other:?}", line.escape_ascii()),
        }
    }

    fn named(name: &str) -> Name {
        Name::parse(name).unwrap()
    }

    fn plain_join() -> Join<'static> {
        Join {
            name: named("ann"),
            room: None,
            mode: Mode::Push,
            idle_s: None,
            alive: Alive::Ping,
            history: 0,
            key: None,
        }
    }

    const PLAIN_POLL: Poll = Poll {
        max: 100,
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
            ("JOIN", "ann", Command::Join(plain_join())),
            ("RESUME", TOKEN, Command::Resume(resume)),
            ("SAY", "Hi", Command::Say("Hi")),
            ("POLL", "", Command::Poll(PLAIN_POLL)),
            ("PING", "Hi", Command::Ping("Hi")),
            ("LEAVE", "", Command::Leave),
            ("DETACH", "", Command::Detach),
            ("WHO", "", Command::Who { after: None }),
            ("ROOMS", "", Command::Rooms { after: None }),
            ("STATS", "", Command::Stats),
            ("HELP", "", Command::Help),
            ("QUIT", "", Command::Quit),
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
        #[rustfmt::skip]
        let table = [
            ("", join),
            ("room=Den-2", Join { room: Some(named("Den-2")), ..join }),
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
            ("key=a=b", Join { key: Some("a=b"), ..join }),
            ("  IDLE=007   Room=b  ", Join { idle_s: Some(7), room: Some(named("b")), ..join }),
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
            room: Some(named("b")),
            mode: Mode::Pull,
            idle_s: Some(9),
            alive: Alive::Tcp,
            history: 5,
            key: Some("k"),
        };
        assert_eq!(command(&line), Command::Join(all));
        assert_eq!(command(&reversed), Command::Join(all));
    }

    #[test]
    fn the_other_verbs_take_their_options() {
        let token = Token::parse(TOKEN);
        let after = Some(named("Bob"));
        let poll = PLAIN_POLL;
        #[rustfmt::skip]
        let table = [
            (format!("RESUME {TOKEN} after=0"), Command::Resume(Resume { token, after: Some(0) })),
            ("RESUME nonsense".into(), Command::Resume(Resume { token: None, after: None })),
            ("POLL max=1".into(), Command::Poll(Poll { max: 1, ..poll })),
            ("POLL max=1000".into(), Command::Poll(Poll { max: 1000, ..poll })),
            ("POLL wait=0".into(), Command::Poll(poll)),
            ("POLL wait=60".into(), Command::Poll(Poll { wait_s: 60, ..poll })),
            ("POLL after=7".into(), Command::Poll(Poll { after: Some(7), ..poll })),
            ("POLL wait=1 max=2 after=3".into(), Command::Poll(Poll { max: 2, after: Some(3), wait_s: 1 })),
            ("WHO after=Bob".into(), Command::Who { after }),
            ("ROOMS after=Bob".into(), Command::Rooms { after }),
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
            "JOIN ann bob",
            "JOIN ann =",
            "JOIN ann =x",
            "JOIN ann after=1",
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
    fn a_word_that_is_no_verb_is_a_bad_command() {
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
    fn a_name_has_at_most_24_bytes_wherever_it_stands() {
        let (longest, too_long) = ("n".repeat(24), "n".repeat(25));
        for verb in ["JOIN ", "JOIN ann room=", "WHO after=", "ROOMS after="] {
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
    fn a_text_is_all_behind_the_one_space() {
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
    fn a_text_that_shows_something_may_hold_what_does_not() {
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
    fn an_error_quotes_what_it_found() {
        let token = "841b6618b12a52fa44eb0b43086bcd71";
        for (line, quoted) in [
            ("SHOUT hi", r#""SHOUT" is no command; HELP lists them"#),
            ("JOIN\u{a0}ann", r#""JOIN\u{a0}ann" is no command"#),
            (
                "say\u{3000}good-morning-everybody hi",
                r#""say\u{3000}" and more is no"#,
            ),
            ("\u{200b}JOIN ann", r#""\u{200b}JOIN" is no command"#),
            ("JOIN\u{a0}", r#""JOIN\u{a0}" is no command"#),
            ("   ", "a line of spaces is no command"),
            ("key=open-sesame", r#""key=" with a value is no command"#),
            (token, "a word of 32 characters is no command"),
            ("JOIN ann rooms=den", r#""rooms=" is no option"#),
            ("JOIN ann keyy=open-sesame", r#""keyy=" is no option"#),
            (
                "JOIN ann \u{ad}key=open-sesame",
                r#""\u{ad}key=" is no option"#,
            ),
            ("JOIN ann open-sesame", "options are written key=value"),
            ("JOIN ann mode=loud", r#"mode= is push or pull, not "loud""#),
            (
                "JOIN ann idle=1s",
                r#"idle= takes a whole number, not "1s""#,
            ),
            ("POLL max=1001", r#"max= is 1 to 1000, not "1001""#),
            ("JOIN J\u{fc}rgen", "; this one has \"\u{fc}\""),
            ("JOIN ann room=a\u{200b}b", r#"; this one has "\u{200b}""#),
            ("WHO after=abcdefghijklmnopqrstuvwxyz", "; this one has 26"),
            ("SAY \u{200b}", "nothing in this text can be seen"),
            ("SAY", "there is nothing to say"),
        ] {
            let Request::Bad(error) = read(line) else {
                panic!("{line}");
            };
            assert!(error.text.contains(quoted), "{line}: {}", error.text);
            assert!(!error.text.contains("sesame") && !error.text.contains(token));
        }
    }

    #[test]
    fn a_text_has_a_longest_length_in_bytes() {
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
                matches!(&refused, Request::Bad(error) if error.code == Code::MessageTooLong),
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

    /// G16.
    #[test]
    fn a_line_is_utf_8_without_control_characters_but_tab() {
        let controls = (0..=0x9f).filter_map(char::from_u32);
        for c in controls.filter(|c| c.is_control()) {
            for line in [
                format!("SAY a{c}b"),
                format!("{c}SAY a"),
                format!("JOIN {c}"),
            ] {
                let request = read(&line);
                let is_encoding = matches!(
                    &request, Request::Bad(error) if error.code == Code::BadEncoding
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
    fn only_a_line_without_a_byte_is_empty() {
        assert_eq!(read(""), Request::Empty);
        assert_eq!(error(b" "), Code::BadCommand);
        assert_eq!(error(b"\0"), Code::BadEncoding);
    }

    #[test]
    fn a_line_that_can_only_be_https_is_known() {
        for line in [
            &b"GET / HTTP/1.1"[..],
            b"GET / HTTP/1.0",
            b"POST /say?x=y HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT localhost:8255 HTTP/1.1",
            b"GET /\xff\0 HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"GET / HTTP/2",
            b"GET / HTTP/0.9",
            b"GET / HTTP/3",
            b"GET / HTTP/1.1 ",
            b" GET \t/  HTTP/10.12",
            b"OPTIONS rtsp://localhost:8255/ RTSP/1.0",
            b"REGISTER sip:localhost:8255 SIP/2.0",
            b"CLIENT libcurl 7.88.1",
            b"Host: localhost:8255",
            b"host:localhost",
            b"HOST:",
        ] {
            let request = Request::read(line, &Limits::default());
            let http = Request::Abuse(Abuse::Http);
            assert_eq!(request, http, "{}", line.escape_ascii());
        }
        for line in [
            "GET /",
            "GET / HTTP/",
            "GET / HTTP/x",
            "GET / HTTP/1.x",
            "GET / HTTPS/1",
            "meet at room/2",
            "is this HTTP",
            "GET HTTP/1.1",
            "CLIENT libcurl",
            "Host",
            "Hosts: a",
            "Accept: */*",
            "HTTP/1.1",
        ] {
            assert_eq!(error(line.as_bytes()), Code::BadCommand, "{line:?}");
        }
    }

    #[test]
    fn a_line_with_a_verb_is_not_https_whatever_it_says() {
        for (line, text) in [
            ("SAY hello HTTP/1.1", "hello HTTP/1.1"),
            ("say / HTTP/1.0", "/ HTTP/1.0"),
            ("SAY GET / HTTP/1.1", "GET / HTTP/1.1"),
            ("SAY Host: me", "Host: me"),
            ("  SAY HTTP/1.1", "HTTP/1.1"),
            (" SAY HTTP/1.1", "HTTP/1.1"),
        ] {
            assert_eq!(read(line), Request::Command(Command::Say(text)), "{line:?}");
        }
        assert_eq!(command("PING a HTTP/1.0"), Command::Ping("a HTTP/1.0"));
        assert_eq!(error(b"JOIN ann HTTP/1.1"), Code::BadArgument);
    }

    #[test]
    fn commands_that_wait_for_the_output_stay_what_they_are() {
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
            assert_eq!(command(line).after_output(), Some(command(line)));
        }
        for line in ["JOIN ann", "RESUME x", "SAY a", "PING"] {
            assert_eq!(command(line).after_output(), None, "{line:?}");
        }
    }
}
