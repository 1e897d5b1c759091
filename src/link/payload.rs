//! What boxes say to each other. Each message is a line without its end, and its first word says what it
//! is. Further words at the end are ignored, so that a newer version may add some.

use std::fmt;

use super::roster::{Member, RosterHash};
use super::topic::Topic;
use crate::protocol::{LeaveReason, LifeId, Mode, Name, decode, is_visible, split_word};
use crate::state::saved;

/// The largest number of an event, as in a room's log.
const NUMBER_MAX: u64 = 1 << 62;
/// The longest time between two digests, in seconds.
pub const EVERY_MAX_S: u32 = 600;
/// The most parts of a roster.
pub const PARTS_MAX: u32 = 4096;
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
    /// Its number among the box's own events in that log: 1 for the first one. Another can follow.
    pub number: u64,
}

saved!(struct EventId { boot, log, number });

impl EventId {
    /// Reads a word as such an id, if it is one.
    pub fn parse(word: &str) -> Option<EventId> {
        let (log, number) = word.rsplit_once('/')?;
        let (boot, log) = parse_log(log)?;
        let number = parse_number(number).filter(|number| (1..=NUMBER_MAX).contains(number))?;
        Some(EventId { boot, log, number })
    }

    /// Which event a payload is about that [`Payload::read`] does not read on a topic of events, for
    /// example one that only a newer version knows: it has a number, too, and waiting for it is no use.
    pub fn of_event(payload: &[u8]) -> Option<EventId> {
        let word = payload.split(|&byte| byte == b' ').nth(1)?;
        EventId::parse(std::str::from_utf8(word).ok()?)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let EventId { boot, log, number } = self;
        write!(f, "{boot}/{log}/{number}")
    }
}

/// What a box says of itself in a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digest {
    /// The event that comes next.
    pub next: EventId,
    /// The number of the first event that the box can still send; that of `next` if there is none.
    pub first: u64,
    /// How many members it has there.
    pub members: u64,
    /// What tells its roster from others.
    pub hash: RosterHash,
    /// The longest time until its next digest, in seconds.
    pub every_s: u32,
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
        /// The name under which it speaks.
        name: Name,
        /// The message.
        text: &'a str,
    },
    /// The state of the box's part of a room.
    Digest(Digest),
    /// The box has freed the room.
    Freed {
        /// The event that would have come next.
        next: EventId,
    },
    /// A part of the box's roster.
    Members {
        /// The roster is that before this event.
        next: EventId,
        /// What tells the whole roster from others.
        hash: RosterHash,
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
    /// Somebody wants the roster.
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
        // Some programs that publish add the end of a line.
        let line = match payload.strip_suffix(b"\n") {
            Some(line) => decode(line.strip_suffix(b"\r").unwrap_or(line)).ok()?,
            None => decode(payload).ok()?,
        };
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
                Payload::Digest(Digest {
                    next,
                    first: words.number_in(1, next.number)?,
                    members: words.number()?,
                    hash: words.hash()?,
                    every_s: words.count_up_to(EVERY_MAX_S)?,
                })
            }
            (Topic::Digests { .. }, "FREED") => Payload::Freed { next: words.id()? },
            (Topic::Digests { .. }, "MEMBERS") => {
                let (next, hash) = (words.id()?, words.hash()?);
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
                let to = words.number().filter(|&to| to >= from.number)?;
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
            Payload::Digest(Digest {
                next,
                first,
                members,
                hash,
                every_s,
            }) => write!(f, "DIGEST {next} {first} {members} {hash} {every_s}"),
            Payload::Freed { next } => write!(f, "FREED {next}"),
            Payload::Members {
                next,
                hash,
                part,
                parts,
                names,
            } => {
                let space = if names.is_empty() { "" } else { " " };
                write!(f, "MEMBERS {next} {hash} {part} {parts}{space}{names}")
            }
            Payload::Here { boot } => write!(f, "HERE {boot}"),
            Payload::Gone { boot } => write!(f, "GONE {boot}"),
            Payload::Claim { boot } => write!(f, "CLAIM {boot}"),
            Payload::Want { room, from, to } => write!(f, "WANT {room} {from} {to}"),
            Payload::List { room, boot, log } => write!(f, "LIST {room} {boot}/{log}"),
        }
    }
}

/// Reads the members in a part of a roster; `None` for a word that is no member.
pub fn members(names: &str) -> impl Iterator<Item = Option<Member>> {
    let words = names.split(' ').filter(|word| !word.is_empty());
    words.map(|word| {
        let (name, mode) = match word.strip_suffix(PULL) {
            Some(name) => (name, Mode::Pull),
            None => (word, Mode::Push),
        };
        let name = Name::parse(name)?;
        Some(Member { name, mode })
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

    /// Takes a roster's hash, which is written like a life.
    fn hash(&mut self) -> Option<RosterHash> {
        Some(RosterHash(self.life()?.number()))
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

#[cfg(test)]
mod tests {
    use fastrand::Rng;

    use super::*;

    const BOOT: &str = "5f2ce1a09b34d7c8";

    fn name(word: &str) -> Name {
        Name::parse(word).unwrap()
    }

    fn boot() -> LifeId {
        LifeId::parse(BOOT).unwrap()
    }

    fn id(number: u64) -> EventId {
        EventId {
            boot: boot(),
            log: 1,
            number,
        }
    }

    /// A topic of each kind.
    fn topics() -> [Topic; 5] {
        let room = name("kitchen");
        [
            Topic::Events { room },
            Topic::Digests { room },
            Topic::Here,
            Topic::Gone,
            Topic::Wants,
        ]
    }

    /// Reads a line on the one topic on which it means something, in which `ID` is that of event 17
    /// and `BOOT` its boot.
    fn read(line: &str) -> Option<Payload<'_>> {
        let read = |topic| Payload::read(topic, line.as_bytes());
        let found: Vec<_> = topics().into_iter().filter_map(read).collect();
        assert!(found.len() < 2, "{found:?}");
        found.first().copied()
    }

    /// The line with the ids in place of `ID`, which is that of event 17, and `BOOT`.
    fn filled(line: &str) -> String {
        line.replace("ID", "BOOT/1/17").replace("BOOT", BOOT)
    }

    #[track_caller]
    fn assert_refused(line: &str) {
        assert_eq!(read(&filled(line)), None, "{line:?}");
    }

    #[track_caller]
    fn assert_taken(line: &str) {
        let line = filled(line);
        let payload = read(&line).unwrap_or_else(|| panic!("{line:?} is refused"));
        assert_eq!(payload.to_string(), line);
    }

    /// A line of each kind, the topic that it belongs to, and what it means.
    fn table() -> Vec<(usize, String, Payload<'static>)> {
        let (boot, room, ann) = (boot(), name("kitchen"), name("Ann"));
        let event = |what| Payload::Event {
            id: id(17),
            unix_ms: 1_763_800_000_000,
            name: ann,
            what,
        };
        let members = |names| Payload::Members {
            next: id(17),
            hash: RosterHash(0xab),
            part: 1,
            parts: 2,
            names,
        };
        let digest = Payload::Digest(Digest {
            next: id(17),
            first: 3,
            members: 2,
            hash: RosterHash(0xfedc_ba98_7654_3210),
            every_s: 10,
        });
        let want = Payload::Want {
            room,
            from: id(17),
            to: 20,
        };
        let log = 1;
        #[rustfmt::skip]
        let table = vec![
            (0, "MSG ID 1763800000000 Ann  two  spaces ", event(Happened::Msg { text: " two  spaces " })),
            (0, "JOINED ID 1763800000000 Ann push", event(Happened::Joined { mode: Mode::Push })),
            (0, "JOINED ID 1763800000000 Ann pull", event(Happened::Joined { mode: Mode::Pull })),
            (0, "LEFT ID 1763800000000 Ann left", event(Happened::Left { reason: LeaveReason::Left })),
            (0, "LEFT ID 1763800000000 Ann replaced", event(Happened::Left { reason: LeaveReason::Replaced })),
            (0, "SAY Ann it is 21 \u{b0}C", Payload::Say { name: ann, text: "it is 21 \u{b0}C" }),
            (1, "DIGEST ID 3 2 fedcba9876543210 10", digest),
            (1, "FREED ID", Payload::Freed { next: id(17) }),
            (1, "MEMBERS ID 00000000000000ab 1 2 Ann bob/pull", members("Ann bob/pull")),
            (1, "MEMBERS ID 00000000000000ab 1 2", members("")),
            (2, "HERE BOOT", Payload::Here { boot }),
            (3, "GONE BOOT", Payload::Gone { boot }),
            (4, "CLAIM BOOT", Payload::Claim { boot }),
            (4, "WANT kitchen ID 20", want),
            (4, "LIST kitchen BOOT/1", Payload::List { room, boot, log }),
        ];
        let fill = |(topic, line, payload)| (topic, filled(line), payload);
        table.into_iter().map(fill).collect()
    }

    #[test]
    fn every_line_is_written_as_it_is_read_on_its_topic_alone() {
        for (at, line, payload) in table() {
            for (topic, found) in topics().into_iter().enumerate() {
                let expected = (topic == at).then_some(payload);
                assert_eq!(Payload::read(found, line.as_bytes()), expected, "{line}");
            }
            assert_eq!(payload.to_string(), line);
        }
    }

    /// Whether a text or names go to the end of the line.
    fn is_open(payload: Payload<'_>) -> bool {
        match payload {
            Payload::Event { what, .. } => matches!(what, Happened::Msg { .. }),
            Payload::Say { .. } | Payload::Members { .. } => true,
            _ => false,
        }
    }

    #[test]
    fn further_words_are_ignored_unless_a_text_or_names_are_at_the_end() {
        for (_, line, payload) in table() {
            for more in ["more words", "1", "é", ""] {
                let longer = format!("{line} {more}");
                let found = read(&longer).unwrap();
                match is_open(payload) {
                    true => assert_eq!(found.to_string().trim_end(), longer.trim_end()),
                    false => assert_eq!(found, payload, "{longer}"),
                }
            }
        }
        let line = filled("MEMBERS ID 0000000000000000 1 1 ann/pull new=word");
        let Some(Payload::Members { names, .. }) = read(&line) else {
            panic!("{line} is refused");
        };
        assert_eq!(names, "ann/pull new=word");
    }

    #[test]
    fn a_line_without_its_last_word_is_refused() {
        for (_, line, payload) in table() {
            if !is_open(payload) {
                let (cut, _) = line.rsplit_once(' ').unwrap();
                assert_eq!(read(cut), None, "{cut}");
                assert_eq!(read(&format!("{cut} ")), None, "{cut}");
            }
        }
        assert_refused("MEMBERS ID 0000000000000000 1");
        assert_refused("SAY ann");
        assert_refused("MSG ID 0 ann");
    }

    #[test]
    fn unknown_words_and_cases_are_refused() {
        for line in [
            "",
            " ",
            "MSG",
            "msg ID 0 ann hi",
            " MSG ID 0 ann hi",
            "MSG  ID 0 ann hi",
            "NOTED ID 0 ann hi",
            "JOINED ID 0 ann both",
            "JOINED ID 0 ann Push",
            "LEFT ID 0 ann sulking",
            "LEFT ID 0 ann crashed",
            "MSG ID 0 ann@attic hi",
            "MSG ID 0 _ann hi",
            "SAY ann@attic hi",
            "WANT + ID 20",
            "LIST kitchen BOOT",
            "LIST kitchen ID",
            "GONE ID",
        ] {
            assert_refused(line);
        }
        for reason in LeaveReason::ALL {
            let line = format!("LEFT ID 0 ann {reason}");
            let is_read = read(&filled(&line)).is_some();
            assert_eq!(is_read, reason != LeaveReason::Crashed, "{line}");
        }
    }

    /// PROTOCOL.md's rules for texts.
    #[test]
    fn texts_have_to_be_visible_and_harmless() {
        for beginning in ["SAY ann ", "MSG ID 0 ann "] {
            for good in ["hi", "  hi", "\thi", "é", "/me waves", "MSG"] {
                assert_taken(&format!("{beginning}{good}"));
            }
            for bad in [
                "",
                " ",
                "\t",
                "\u{200b}",
                "\u{a0}",
                "a\x1b[2J",
                "a\r",
                "a\nb",
                "a\n\n",
                "\0",
                "\u{202e}a",
                "\u{2028}a",
                "a\u{85}",
            ] {
                assert_refused(&format!("{beginning}{bad}"));
            }
        }
        let events = topics()[0];
        // Some programs that publish add the end of a line.
        for end in ["", "\n", "\r\n"] {
            let line = format!("SAY ann hi{end}");
            let said = Payload::read(events, line.as_bytes());
            assert!(
                matches!(said, Some(Payload::Say { text: "hi", .. })),
                "{line:?}"
            );
        }
        assert_eq!(Payload::read(events, b"SAY ann \xff"), None);
        assert_eq!(Payload::read(events, b"SAY ann a\xc3"), None);
        // The same holds behind the words that count.
        assert_refused("FREED ID \x1b");
    }

    #[test]
    fn ids_are_a_boot_a_log_and_a_number_from_1() {
        for (log, number) in [(0, 1), (1, 17), (u64::MAX, NUMBER_MAX)] {
            let id = EventId {
                boot: boot(),
                log,
                number,
            };
            assert_eq!(EventId::parse(&id.to_string()), Some(id));
        }
        for bad in [
            "",
            "/",
            "//",
            "BOOT",
            "BOOT/1",
            "BOOT/1/",
            "BOOT//1",
            "/1/1",
            "BOOT/1/0",
            "BOOT/1/1/1",
            "BOOT/1/-1",
            "BOOT/1/+1",
            "BOOT/+1/1",
            "BOOT/1/1x",
            // No other could follow this one.
            "BOOT/1/18446744073709551615",
            "BOOT/1/18446744073709551616",
            "BOOT/18446744073709551616/1",
            "5f2ce1a09b34d7c/1/1",
            "05f2ce1a09b34d7c8/1/1",
        ] {
            assert_eq!(EventId::parse(&filled(bad)), None, "{bad}");
        }
    }

    #[test]
    fn an_event_that_cannot_be_read_still_has_its_id() {
        for line in [
            "NOTED ID",
            "NOTED ID x",
            "LEFT ID 0 ann sulking",
            "MSG ID 0 ann a\x1bb",
        ] {
            let line = filled(line);
            assert_eq!(Payload::read(topics()[0], line.as_bytes()), None);
            assert_eq!(EventId::of_event(line.as_bytes()), Some(id(17)));
        }
        let not_text = [filled("NOTED ID ").as_bytes(), b"\xff"].concat();
        assert_eq!(EventId::of_event(&not_text), Some(id(17)));
        for line in [
            "",
            "NOTED",
            "NOTED ",
            "ID",
            "SAY ann \x1b",
            "NOTED BOOT/1/0",
        ] {
            assert_eq!(EventId::of_event(filled(line).as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn numbers_have_bounds() {
        const MAX: u64 = u64::MAX;
        const LAST: u64 = NUMBER_MAX;
        // The year 9999, and the next one.
        assert_taken("MSG ID 253402300799999 ann hi");
        assert_refused("MSG ID 253402300800000 ann hi");
        assert_taken("MSG ID 0 ann hi");
        assert_refused(&format!("MSG ID {MAX} ann hi"));
        assert_taken("MSG BOOT/1/1 0 ann hi");
        assert_refused("MSG BOOT/1/0 0 ann hi");
        assert_taken(&format!("MSG BOOT/{MAX}/{NUMBER_MAX} 0 ann hi"));
        let above = NUMBER_MAX + 1;
        assert_refused(&format!("MSG BOOT/1/{above} 0 ann hi"));

        for first in [1, 16, 17] {
            assert_taken(&format!("DIGEST ID {first} 0 0000000000000000 10"));
        }
        for first in [0, 18, MAX] {
            assert_refused(&format!("DIGEST ID {first} 0 0000000000000000 10"));
        }
        assert_taken(&format!(
            "DIGEST BOOT/1/{NUMBER_MAX} {NUMBER_MAX} {MAX} ffffffffffffffff 1"
        ));
        for (every_s, is_good) in [
            ("0", false),
            ("1", true),
            ("600", true),
            ("601", false),
            // One more than 32 bits hold, plus 1.
            ("4294967297", false),
        ] {
            let line = format!("DIGEST ID 1 0 0000000000000000 {every_s}");
            assert_eq!(read(&filled(&line)).is_some(), is_good, "{line}");
        }
        for hash in [
            "0",
            "000000000000000",
            "+000000000000000",
            "000000000000000g",
        ] {
            assert_refused(&format!("DIGEST ID 1 0 {hash} 10"));
        }

        for (part, parts, is_good) in [
            (0, 0, false),
            (0, 1, false),
            (1, 1, true),
            (2, 1, false),
            (4096, 4096, true),
            (1, 4097, false),
            (4097, 4097, false),
        ] {
            let line = format!("MEMBERS ID 0000000000000000 {part} {parts} ann");
            assert_eq!(read(&filled(&line)).is_some(), is_good, "{line}");
        }

        for (to, is_good) in [(0, false), (16, false), (17, true), (MAX, true)] {
            let line = format!("WANT kitchen ID {to}");
            assert_eq!(read(&filled(&line)).is_some(), is_good, "{line}");
        }
        assert_taken(&format!("WANT kitchen BOOT/1/{LAST} {MAX}"));
        assert_taken(&format!("WANT kitchen BOOT/1/{LAST} {LAST}"));
        assert_refused(&format!("WANT kitchen BOOT/1/{LAST} {}", LAST - 1));
        assert_refused("WANT kitchen ID 18446744073709551616");
        assert_taken("LIST kitchen BOOT/0");
    }

    #[test]
    fn members_are_names_that_may_have_a_mode() {
        let read = |names| members(names).collect::<Vec<_>>();
        let (ann, bob) = (name("Ann"), name("bob"));
        let member = |name, mode| Some(Member { name, mode });
        assert_eq!(read(""), []);
        assert_eq!(read("  "), []);
        assert_eq!(
            read("Ann bob/pull"),
            [member(ann, Mode::Push), member(bob, Mode::Pull)]
        );
        assert_eq!(
            read(" Ann  bob "),
            [member(ann, Mode::Push), member(bob, Mode::Push)]
        );
        for bad in [
            "ann/push",
            "ann/",
            "/pull",
            "ann/pull/pull",
            "ann@attic",
            "_",
            "é",
        ] {
            assert_eq!(read(bad), [None], "{bad}");
        }
    }

    /// A number of which both ends of its range are likely.
    fn number(rng: &mut Rng, min: u64, max: u64) -> u64 {
        match rng.u8(..4) {
            0 => min,
            1 => max,
            2 => rng.u64(min..=max.min(min.saturating_add(100))),
            _ => rng.u64(min..=max),
        }
    }

    fn any_name(rng: &mut Rng) -> Name {
        const LETTERS: &[u8] = b"AZaz09_-";
        let mut word = String::from(rng.alphanumeric());
        for _ in 1..rng.usize(1..=24) {
            word.push(LETTERS[rng.usize(..LETTERS.len())].into());
        }
        name(&word)
    }

    fn any_id(rng: &mut Rng) -> EventId {
        EventId {
            boot: LifeId::new(number(rng, 0, u64::MAX)),
            log: number(rng, 0, u64::MAX),
            number: number(rng, 1, NUMBER_MAX),
        }
    }

    fn any_payload<'a>(rng: &mut Rng, text: &'a str) -> Payload<'a> {
        let (id, name, boot) = (any_id(rng), any_name(rng), LifeId::new(rng.u64(..)));
        let event = |rng: &mut Rng, what| Payload::Event {
            id,
            unix_ms: number(rng, 0, UNIX_MS_END - 1),
            name,
            what,
        };
        match rng.u8(..12) {
            0 => event(rng, Happened::Msg { text }),
            1 => {
                let mode = *rng.choice(&Mode::ALL).unwrap();
                event(rng, Happened::Joined { mode })
            }
            2 => {
                let reason = LeaveReason::ALL[rng.usize(..LeaveReason::Crashed.index())];
                event(rng, Happened::Left { reason })
            }
            3 => Payload::Say { name, text },
            4 => Payload::Digest(Digest {
                next: id,
                first: number(rng, 1, id.number),
                members: number(rng, 0, u64::MAX),
                hash: RosterHash(number(rng, 0, u64::MAX)),
                every_s: number(rng, 1, EVERY_MAX_S.into()) as u32,
            }),
            5 => Payload::Freed { next: id },
            6 => {
                let parts = number(rng, 1, PARTS_MAX.into());
                Payload::Members {
                    next: id,
                    hash: RosterHash(number(rng, 0, u64::MAX)),
                    part: number(rng, 1, parts) as u32,
                    parts: parts as u32,
                    names: text,
                }
            }
            7 => Payload::Here { boot },
            8 => Payload::Gone { boot },
            9 => Payload::Claim { boot },
            10 => {
                let from = EventId {
                    number: number(rng, 1, NUMBER_MAX),
                    ..id
                };
                Payload::Want {
                    room: name,
                    from,
                    to: number(rng, from.number, u64::MAX),
                }
            }
            _ => Payload::List {
                room: name,
                boot,
                log: id.log,
            },
        }
    }

    #[test]
    fn whatever_is_written_is_read_back() {
        let texts = ["x", " x ", "MSG a b", "ann bob/pull", "\u{1f986}\t\u{feff}"];
        for seed in 0..5000 {
            let mut rng = Rng::with_seed(seed);
            let text = texts[rng.usize(..texts.len())];
            let payload = any_payload(&mut rng, text);
            let line = payload.to_string();
            assert_eq!(read(&line), Some(payload), "seed {seed}: {line}");
        }
    }

    /// Lines that are nearly right are either refused, or mean the same when they are written again.
    #[test]
    fn spoilt_lines_do_no_harm() {
        let pieces: [&[u8]; 10] = [
            b" ",
            b"/",
            b"0",
            b"9",
            b"-",
            b"+",
            b"",
            b"\xff",
            b"\t",
            b"18446744073709551615",
        ];
        let mut refused = 0;
        for seed in 0..20_000 {
            let mut rng = Rng::with_seed(seed);
            let mut line = any_payload(&mut rng, "x y").to_string().into_bytes();
            for _ in 0..rng.usize(1..4) {
                let from = rng.usize(..=line.len());
                let to = (from + rng.usize(..4)).min(line.len());
                let piece = pieces[rng.usize(..pieces.len())];
                line.splice(from..to, piece.iter().copied());
            }
            for topic in topics() {
                match Payload::read(topic, &line) {
                    Some(payload) => {
                        let line = payload.to_string();
                        let again = Payload::read(topic, line.as_bytes());
                        assert_eq!(again, Some(payload), "seed {seed}: {line}");
                    }
                    None => refused += 1,
                }
            }
        }
        assert!(refused > 80_000, "{refused}");
    }
}
