//! A client's line as a value: one table row and one small function a verb.

use super::{
    Code, Error, IDLE_MIN, Limits, Name, PING_BYTES_MAX, POLL_EVENTS_DEFAULT, POLL_EVENTS_MAX,
    POLL_WAIT_MAX, Token,
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
    pub idle: Option<u32>,
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
    pub wait: u32,
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
    /// The command again if the connection lets go of its session with it.
    pub fn parting(&self) -> Option<Command<'static>> {
        match self {
            Command::Leave => Some(Command::Leave),
            Command::Detach => Some(Command::Detach),
            Command::Quit => Some(Command::Quit),
            _ => None,
        }
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
    /// A line without a word: a sign of life that gets no reply.
    Empty,
    /// A command.
    Command(Command<'a>),
    /// A mistake.
    Bad(Error),
    /// A line whose end has not come, and that is too long already.
    TooLong,
    /// A line that a browser sends and no chat client.
    Http,
}

impl<'a> Request<'a> {
    /// Reads one line, without its end.
    pub fn read(line: &'a [u8], limits: &Limits) -> Request<'a> {
        if line.is_empty() {
            return Request::Empty;
        }
        if is_http(line) {
            return Request::Http;
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
        Error::new(
            Code::BadCommand,
            "there is no such command; HELP lists them",
        )
    })?;
    (verb.parse)(args, limits)
}

fn find(word: &str) -> Option<&'static Verb> {
    VERBS.iter().find(|v| v.name.eq_ignore_ascii_case(word))
}

/// UTF-8 without control characters but TAB: no member's terminal can be driven by another's text.
fn decode(line: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(line)
        .ok()
        .filter(|text| !text.chars().any(|c| c.is_control() && c != '\t'))
        .ok_or_else(|| {
            Error::new(
                Code::BadEncoding,
                "a line is UTF-8 text without control characters",
            )
        })
}

/// Whether a line can only be HTTP's: a request line (RFC 9112, section 3) or a Host field.
fn is_http(line: &[u8]) -> bool {
    const HOST: &[u8] = b"host:";
    if line.len() >= HOST.len() && line[..HOST.len()].eq_ignore_ascii_case(HOST) {
        return true;
    }
    let mut words = line.split(|&b| b == b' ');
    let (method, _target, version) = (words.next(), words.next(), words.next());
    let is_version = version.is_some_and(|v| v.len() == 8 && v.starts_with(b"HTTP/1."));
    let is_verb = method.is_some_and(|m| std::str::from_utf8(m).is_ok_and(|m| find(m).is_some()));
    is_version && words.next().is_none() && !is_verb
}

/// What is left of a line behind its verb.
struct Args<'a> {
    rest: &'a str,
}

impl<'a> Args<'a> {
    /// Splits off the text before the next space; behind it exactly one space is dropped.
    fn split_word(&mut self) -> &'a str {
        let (word, rest) = self.rest.split_once(' ').unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    /// The next word, however many spaces stand before it.
    fn next_word(&mut self) -> Option<&'a str> {
        self.rest = self.rest.trim_start_matches(' ');
        (!self.rest.is_empty()).then(|| self.split_word())
    }

    fn positional(&mut self, what: &str) -> Result<&'a str, Error> {
        self.next_word()
            .ok_or_else(|| bad_argument(format!("{what} is missing")))
    }

    /// Hands each `key=value` to `take`, which says whether it knows the key.
    fn options(
        mut self,
        mut take: impl FnMut(&str, &'a str) -> Result<bool, Error>,
    ) -> Result<(), Error> {
        while let Some(word) = self.next_word() {
            let (key, value) = word.split_once('=').ok_or_else(|| {
                bad_argument("options are written key=value, without spaces around the =")
            })?;
            if !take(&key.to_ascii_lowercase(), value)? {
                return Err(bad_argument("there is no such option for this command"));
            }
        }
        Ok(())
    }
}

fn bad_argument(text: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(Code::BadArgument, text)
}

/// Keeps an option's value; an option may be given once.
fn set<T>(slot: &mut Option<T>, key: &str, value: T) -> Result<bool, Error> {
    match slot.replace(value) {
        None => Ok(true),
        Some(_) => Err(bad_argument(format!("{key}= is given twice"))),
    }
}

/// A decimal number; one too large to be held counts as the largest that can be.
fn number(key: &str, value: &str) -> Result<u64, Error> {
    if value.is_empty() || !value.bytes().all(|b| b.is_ascii_digit()) {
        return Err(bad_argument(format!("{key}= takes a whole number")));
    }
    Ok(value.parse().unwrap_or(u64::MAX))
}

fn number_within(key: &str, value: &str, min: u32, max: u32) -> Result<u32, Error> {
    u32::try_from(number(key, value)?)
        .ok()
        .filter(|n| (min..=max).contains(n))
        .ok_or_else(|| bad_argument(format!("{key}= is {min} to {max}")))
}

fn choice<T: Copy>(key: &str, value: &str, choices: [(&str, T); 2]) -> Result<T, Error> {
    choices
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(value))
        .map(|&(_, choice)| choice)
        .ok_or_else(|| bad_argument(format!("{key}= is {} or {}", choices[0].0, choices[1].0)))
}

fn name(word: &str) -> Result<Name, Error> {
    Name::parse(word).ok_or_else(|| {
        Error::new(
            Code::BadName,
            "a name is 1 to 24 of A-Z a-z 0-9 _ - and begins with a letter or digit",
        )
    })
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
            seconds if seconds < u64::from(IDLE_MIN) => {
                Err(bad_argument(format!("idle= is at least {IDLE_MIN}")))
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
        idle,
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
    if text.trim().is_empty() {
        return Err(Error::new(Code::MessageEmpty, "there is nothing to say"));
    }
    if text.len() > limits.message_bytes_max {
        let max = limits.message_bytes_max;
        return Err(Error::new(
            Code::MessageTooLong,
            format!("a message has at most {max} bytes"),
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
        "wait" => set(&mut wait, key, number_within(key, value, 0, POLL_WAIT_MAX)?),
        _ => Ok(false),
    })?;
    Ok(Command::Poll(Poll {
        max: max.unwrap_or(POLL_EVENTS_DEFAULT),
        after,
        wait: wait.unwrap_or(0),
    }))
}

fn ping(text: &str) -> Parsed<'_> {
    if text.len() > PING_BYTES_MAX {
        return Err(bad_argument(format!(
            "PING takes at most {PING_BYTES_MAX} bytes"
        )));
    }
    Ok(Command::Ping(text))
}
