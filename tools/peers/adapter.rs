//! What differs between protocols: how a client joins, how the server confirms that, how a client says
//! something or asks for events, and how it gives a sign of life. How much the load sends, and when, is
//! the same for all.
//!
//! A message carries exactly one [`MARK`], and nothing else that a server sends does, so deliveries
//! are counted without knowing the protocol.

use clap::ValueEnum;

/// The byte that only messages have, and each of them once: its last one.
pub const MARK: u8 = b'~';

/// What is said: 64 bytes in all scenarios.
pub const PAYLOAD: &str = "The quick brown fox jumps over the lazy dog, sixty-four bytes.!~";

/// What a client sends when it is connected, and what the answer contains once it is in.
#[derive(Clone)]
pub struct Opening {
    pub bytes: Vec<u8>,
    pub confirmation: &'static [u8],
}

impl Opening {
    fn new(bytes: impl Into<Vec<u8>>, confirmation: &'static [u8]) -> Opening {
        Opening {
            bytes: bytes.into(),
            confirmation,
        }
    }
}

/// One protocol.
pub struct Adapter {
    /// How a receiver of that number comes into a room.
    pub join: fn(usize, usize) -> Opening,
    /// How a client comes in that will say something in room 0.
    pub join_sender: Opening,
    /// Says [`PAYLOAD`] in room 0.
    pub say: Vec<u8>,
    /// How the server asks for a sign of life, and what is answered.
    pub keep_alive: Option<(&'static [u8], &'static [u8])>,
    /// A byte that a client gets once for its own coming, and once for each that comes into its room
    /// from then on, itself included; if the server tells of that.
    pub joined_mark: Option<u8>,
    /// How many may be connecting at once without the server's queue of them, whose length is built
    /// in, being too short.
    pub joins_at_once: usize,
    /// How what was said can be asked for.
    pub asking: Option<Asking>,
}

/// How events are asked for. Replies are lines, and a reply tells early on how many it has.
pub struct Asking {
    /// What is sent first, and how many lines come of it.
    pub open: (&'static str, usize),
    /// Adds the event of that number, from 1 on.
    pub add: fn(usize) -> String,
    /// How many lines come of that.
    pub lines_of_add: usize,
    /// Asks for the events that come next; the number says how many times that was done before.
    pub ask: fn(usize) -> String,
    /// Asks in the cheapest way, when there is nothing to get: the reply is one line.
    pub ask_for_nothing: &'static str,
    /// The size of a reply, if the line of that number tells it.
    pub announced: fn(usize, &[u8]) -> Option<Size>,
}

/// How many lines a reply has, and how many events.
type Size = (usize, usize);

#[derive(Clone, Copy, ValueEnum)]
pub enum Protocol {
    Chinwag,
    Floor,
    Irc,
    Mqtt,
    Nats,
    Resp,
}

/// The adapter of a protocol.
pub fn adapter(protocol: Protocol) -> Adapter {
    match protocol {
        Protocol::Chinwag => chinwag(),
        Protocol::Floor => plain(|_, _| Opening::new("", b"\n"), PAYLOAD),
        Protocol::Irc => Adapter {
            join_sender: irc("sender", 0),
            keep_alive: Some((b"PING :", b"PONG :here\r\n")),
            joins_at_once: 8,
            ..plain(
                |who, room| irc(&format!("n{who}"), room),
                &format!("PRIVMSG #r0 :{PAYLOAD}"),
            )
        },
        Protocol::Mqtt => mqtt(),
        Protocol::Nats => Adapter {
            join_sender: Opening::new("CONNECT {\"verbose\":false}\r\nPING\r\n", b"PONG"),
            keep_alive: Some((b"PING\r\n", b"PONG\r\n")),
            ..plain(
                |_, room| {
                    let hello = "CONNECT {\"verbose\":false}\r\n";
                    Opening::new(format!("{hello}SUB r{room} 1\r\nPING\r\n"), b"PONG")
                },
                &format!("PUB r0 64\r\n{PAYLOAD}"),
            )
        },
        Protocol::Resp => redis(),
    }
}

/// A protocol without anything in particular, in which a line says something. Its sender comes in
/// like everybody.
fn plain(join: fn(usize, usize) -> Opening, say: &str) -> Adapter {
    Adapter {
        join,
        join_sender: join(0, 0),
        say: format!("{say}\r\n").into_bytes(),
        keep_alive: None,
        joined_mark: None,
        joins_at_once: 256,
        asking: None,
    }
}

fn chinwag() -> Adapter {
    let join = |who, room| {
        let bytes = format!("JOIN n{who} room=r{room} idle=3600\r\n");
        Opening::new(bytes, b"OK JOIN")
    };
    Adapter {
        join_sender: Opening::new("JOIN sender room=r0 idle=3600\r\n", b"OK JOIN"),
        keep_alive: Some((b"EXPIRING ", b"PING\r\n")),
        // In `OK JOIN`, in `JOINED`, and nowhere else before somebody speaks.
        joined_mark: Some(b'J'),
        asking: Some(Asking {
            // Its own JOINED is taken away, so that a log without events has nothing to give.
            open: (
                "JOIN puller room=r0 mode=pull idle=3600\r\nPOLL\r\n",
                1 + 1 + 2,
            ),
            add: |_| format!("SAY {PAYLOAD}\r\n"),
            lines_of_add: 1,
            ask: |round| match round {
                0 => "POLL after=1\r\n".into(),
                _ => "POLL\r\n".into(),
            },
            ask_for_nothing: "POLL\r\n",
            announced: |_, line| {
                let count = number(line.strip_prefix(b"OK POLL ")?)?;
                Some((1 + count, count))
            },
        }),
        ..plain(join, &format!("SAY {PAYLOAD}"))
    }
}

fn redis() -> Adapter {
    let join = |_, room| Opening::new(format!("SUBSCRIBE r{room}\r\n"), b"subscribe\r\n");
    Adapter {
        join_sender: Opening::new("PING\r\n", b"+PONG"),
        say: resp(&["PUBLISH", "r0", PAYLOAD]).into(),
        asking: Some(Asking {
            open: ("PING\r\n", 1),
            add: |index| resp(&["XADD", "s", &format!("{index}-0"), "m", PAYLOAD]),
            lines_of_add: 2,
            ask: |round| {
                let after = format!("{}-0", round * 100);
                resp(&["XREAD", "COUNT", "100", "STREAMS", "s", &after])
            },
            ask_for_nothing: "*1\r\n$4\r\nPING\r\n",
            // One stream: its name's length and its name, how many entries; and eight lines for each.
            announced: |lines, line| match lines {
                5 => number(line.strip_prefix(b"*")?).map(|count| (5 + 8 * count, count)),
                _ => None,
            },
        }),
        ..plain(join, "")
    }
}

fn mqtt() -> Adapter {
    let join = |who, room| {
        let topic = mqtt_string(&format!("r{room}"));
        let subscribe = mqtt_packet(0x82, &[&[0, 1], &topic[..], &[0]]);
        let bytes = [mqtt_connect(&format!("n{who}")), subscribe].concat();
        // SUBACK of packet 1, granted with QoS 0.
        Opening::new(bytes, &[0x90, 3, 0, 1, 0])
    };
    Adapter {
        // CONNACK, accepted.
        join_sender: Opening::new(mqtt_connect("sender"), &[0x20, 2, 0, 0]),
        say: mqtt_packet(0x30, &[&mqtt_string("r0"), PAYLOAD.as_bytes()]),
        joins_at_once: 64,
        ..plain(join, "")
    }
}

fn irc(nick: &str, room: usize) -> Opening {
    let bytes = format!("NICK {nick}\r\nUSER {nick} 0 * :{nick}\r\nJOIN #r{room}\r\n");
    // The end of the list of members.
    Opening::new(bytes, b" 366 ")
}

/// CONNECT with a clean session and no keep-alive.
fn mqtt_connect(client: &str) -> Vec<u8> {
    let head = [&mqtt_string("MQTT")[..], &[4, 2, 0, 0]].concat();
    mqtt_packet(0x10, &[&head, &mqtt_string(client)])
}

/// A string with its length before it.
fn mqtt_string(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// A packet, whose length has to fit into seven bits.
fn mqtt_packet(kind: u8, parts: &[&[u8]]) -> Vec<u8> {
    let body = parts.concat();
    assert!(body.len() < 128);
    [&[kind, body.len() as u8], &body[..]].concat()
}

/// A command of redis's.
fn resp(words: &[&str]) -> String {
    let words_of = |word: &&str| format!("${}\r\n{word}\r\n", word.len());
    let words: Vec<String> = words.iter().map(words_of).collect();
    format!("*{}\r\n{}", words.len(), words.concat())
}

fn number(text: &[u8]) -> Option<usize> {
    let digits = text.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether `needle` is somewhere in `block`.
pub fn contains(block: &[u8], needle: &[u8]) -> bool {
    memchr::memmem::find(block, needle).is_some()
}
