//! What boxes say to each other. Each message is a line without its end, and its first word says what it
//! is. Further words at the end are ignored, so that a newer version may add some.

use std::fmt;

use super::topic::Topic;
use crate::protocol::{LeaveReason, LifeId, Mode, Name, decode, is_visible, split_word};

/// The longest time between two digests, in seconds.
const EVERY_MAX_S: u32 = 3600;
/// The most parts of a list of members.
const PARTS_MAX: u32 = 4096;
/// The year 10000 begins there.
const UNIX_MS_END: u64 = 253_402_300_800_000;
/// What follows the name of a member that fetches its events.
const PULL: &str = "/pull";

/// Which event of a room it is, among those of one box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventId {
    /// Which life of the box's server.
    pub boot: LifeId,
    /// Which log of the room within that life.
    pub log: u64,
    /// Its number among the box's own events in that log: 1 for the first one.
    pub number: u64,
}

impl EventId {
    /// Reads a word as such an id, if it is one.
    pub fn parse(word: &str) -> Option<EventId> {
        let (log, number) = word.rsplit_once('/')?;
        let (boot, log) = parse_log(log)?;
        let number = parse_number(number).filter(|&number| number > 0)?;
        Some(EventId { boot, log, number })
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventId { boot, log, number } = self;
        write!(f, "{boot}/{log}/{number}")
    }
}

/// Something that happened in a room of a box.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened<'a> {
    /// A member said something.
    Msg {
        /// The message.
        text: &'a str,
    },
    /// A session became a member.
    Joined {
        /// How it gets its events.
        mode: Mode,
    },
    /// A member's session ended.
    Left {
        /// Why it ended.
        reason: LeaveReason,
    },
}

/// What a box says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Payload<'a> {
    /// Something happened in a room: `MSG`, `JOINED`, `LEFT`.
    Event {
        /// Which event it is.
        id: EventId,
        /// When it happened, in milliseconds since 1970-01-01 UTC.
        unix_ms: u64,
        /// The member.
        name: Name,
        /// What happened.
        what: Happened<'a>,
    },
    /// A script says something, without a number.
    Say {
        /// Who says it.
        name: Name,
        /// The message.
        text: &'a str,
    },
    /// The state of the box's part of a room.
    Digest {
        /// The event that comes next.
        next: EventId,
        /// The number of the first event that the box can still send; that of `next` if there is none.
        first: u64,
        /// How many members there are.
        members: u64,
        /// The hash of the list of members.
        hash: u64,
        /// The time between two digests, in seconds.
        every_s: u32,
    },
    /// The box has freed the room.
    Freed {
        /// The event that would have come next.
        next: EventId,
    },
    /// A part of the list of members.
    Members {
        /// The list is that before this event.
        next: EventId,
        /// The hash of the whole list.
        hash: u64,
        /// Which part it is, from 1.
        part: u32,
        /// How many parts there are.
        parts: u32,
        /// The members: [`members`] reads them.
        names: &'a str,
    },
    /// The answer to a claim: the name is taken.
    Here {
        /// Which life of the server.
        boot: LifeId,
    },
    /// The box is gone.
    Gone {
        /// Which life of its server.
        boot: LifeId,
    },
    /// Somebody is about to use the name.
    Claim {
        /// Which life of their server.
        boot: LifeId,
    },
    /// Somebody wants events again.
    Want {
        /// The room.
        room: Name,
        /// The first of them.
        from: EventId,
        /// The number after the last of them.
        to: u64,
    },
    /// Somebody wants the list of members.
    List {
        /// The room.
        room: Name,
        /// Which life of the server.
        boot: LifeId,
        /// Which log of the room within that life.
        log: u64,
    },
}

impl Payload<'_> {
    /// Reads what was said on a topic, if that is possible there.
    pub fn read(topic: Topic, payload: &[u8]) -> Option<Payload<'_>> {
        let line = decode(payload).ok()?;
        let mut words = Words(Some(line));
        let first_word = words.word()?;
        Some(match (topic, first_word) {
            (Topic::Events { .. }, "SAY") => Payload::Say {
                name: words.name()?,
                text: words.text()?,
            },
            (Topic::Events { .. }, _) => Payload::Event {
                id: words.id()?,
                unix_ms: words.number().filter(|&ms| ms < UNIX_MS_END)?,
                name: words.name()?,
                what: match first_word {
                    "MSG" => Happened::Msg {
                        text: words.text()?,
                    },
                    "JOINED" => Happened::Joined {
                        mode: words.one_of(Mode::ALL, Mode::as_str)?,
                    },
                    "LEFT" => Happened::Left {
                        reason: words
                            .one_of(LeaveReason::ALL, LeaveReason::as_str)
                            .filter(|&reason| reason != LeaveReason::Crashed)?,
                    },
                    _ => return None,
                },
            },
            (Topic::Digests { .. }, "DIGEST") => {
                let next = words.id()?;
                Payload::Digest {
                    next,
                    first: words.number_in(1, next.number)?,
                    members: words.number()?,
                    hash: words.life()?.number(),
                    every_s: words.count_up_to(EVERY_MAX_S)?,
                }
            }
            (Topic::Digests { .. }, "FREED") => Payload::Freed { next: words.id()? },
            (Topic::Digests { .. }, "MEMBERS") => {
                let (next, hash) = (words.id()?, words.life()?.number());
                let (part, parts) = (words.count_up_to(PARTS_MAX)?, words.count_up_to(PARTS_MAX)?);
                if part > parts {
                    return None;
                }
                Payload::Members {
                    next,
                    hash,
                    part,
                    parts,
                    names: words.0.unwrap_or(""),
                }
            }
            (Topic::Here, "HERE") => Payload::Here {
                boot: words.life()?,
            },
            (Topic::Gone, "GONE") => Payload::Gone {
                boot: words.life()?,
            },
            (Topic::Wants, "CLAIM") => Payload::Claim {
                boot: words.life()?,
            },
            (Topic::Wants, "WANT") => {
                let (room, from) = (words.name()?, words.id()?);
                let to = words.number().filter(|&to| to > from.number)?;
                Payload::Want { room, from, to }
            }
            (Topic::Wants, "LIST") => {
                let (room, (boot, log)) = (words.name()?, parse_log(words.word()?)?);
                Payload::List { room, boot, log }
            }
            _ => return None,
        })
    }
}

impl fmt::Display for Payload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Payload::Event {
                id,
                unix_ms,
                name,
                what,
            } => {
                let (first_word, last) = match what {
                    Happened::Msg { text } => ("MSG", text),
                    Happened::Joined { mode } => ("JOINED", mode.as_str()),
                    Happened::Left { reason } => ("LEFT", reason.as_str()),
                };
                write!(f, "{first_word} {id} {unix_ms} {name} {last}")
            }
            Payload::Say { name, text } => write!(f, "SAY {name} {text}"),
            Payload::Digest {
                next,
                first,
                members,
                hash,
                every_s,
            } => write!(f, "DIGEST {next} {first} {members} {hash:016x} {every_s}"),
            Payload::Freed { next } => write!(f, "FREED {next}"),
            Payload::Members {
                next,
                hash,
                part,
                parts,
                names,
            } => {
                let space = if names.is_empty() { "" } else { " " };
                write!(f, "MEMBERS {next} {hash:016x} {part} {parts}{space}{names}")
            }
            Payload::Here { boot } => write!(f, "HERE {boot}"),
            Payload::Gone { boot } => write!(f, "GONE {boot}"),
            Payload::Claim { boot } => write!(f, "CLAIM {boot}"),
            Payload::Want { room, from, to } => write!(f, "WANT {room} {from} {to}"),
            Payload::List { room, boot, log } => write!(f, "LIST {room} {boot}/{log}"),
        }
    }
}

/// Reads the members in a part of a list; `None` for a word that is no member.
pub fn members(names: &str) -> impl Iterator<Item = Option<(Name, Mode)>> {
    let words = names.split(' ').filter(|word| !word.is_empty());
    words.map(|word| {
        let (name, mode) = match word.strip_suffix(PULL) {
            Some(name) => (name, Mode::Pull),
            None => (word, Mode::Push),
        };
        Some((Name::parse(name)?, mode))
    })
}

/// What is left of a payload behind a word.
struct Words<'a>(Option<&'a str>);

impl<'a> Words<'a> {
    fn word(&mut self) -> Option<&'a str> {
        let (word, rest) = split_word(self.0?);
        self.0 = rest;
        Some(word)
    }

    /// Takes a text, which goes to the end, if something in it is visible.
    fn text(&mut self) -> Option<&'a str> {
        self.0.filter(|text| text.chars().any(is_visible))
    }

    fn id(&mut self) -> Option<EventId> {
        EventId::parse(self.word()?)
    }

    fn life(&mut self) -> Option<LifeId> {
        LifeId::parse(self.word()?)
    }

    fn name(&mut self) -> Option<Name> {
        Name::parse(self.word()?)
    }

    fn number(&mut self) -> Option<u64> {
        parse_number(self.word()?)
    }

    fn number_in(&mut self, min: u64, max: u64) -> Option<u64> {
        self.number().filter(|number| (min..=max).contains(number))
    }

    /// Takes a number from 1 to `max`.
    fn count_up_to(&mut self, max: u32) -> Option<u32> {
        self.number_in(1, max.into())?.try_into().ok()
    }

    fn one_of<T: Copy, const N: usize>(
        &mut self,
        all: [T; N],
        as_str: fn(T) -> &'static str,
    ) -> Option<T> {
        let word = self.word()?;
        all.into_iter().find(|&value| as_str(value) == word)
    }
}

/// Reads which log of which life it is: `<boot>/<log>`.
fn parse_log(word: &str) -> Option<(LifeId, u64)> {
    let (boot, log) = word.split_once('/')?;
    Some((LifeId::parse(boot)?, parse_number(log)?))
}

/// Reads digits as a number, if it fits into 64 bits.
fn parse_number(word: &str) -> Option<u64> {
    // The number's own reader would take a sign.
    let is_number = word.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| word.parse().ok())?
}
