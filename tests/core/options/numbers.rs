//! The numbers that README.md and PROTOCOL.md have in their sentences and tables are those of the
//! code.
//!
//! Sentences may be put in other words as long as each section keeps its numbers. A number in
//! PROTOCOL.md, or a promise of README.md, that is not listed here is a mistake as well: either it
//! follows from the code, and the list says how, or the list says that it does not.

use std::collections::BTreeMap;

use chinwag::ceiling::{Ceiling, Mib};
use chinwag::chat::{
    CARRIED_MAX, GAPS_MAX, GOODBYE_MAX_S, LOG_LINES_MAX, LOG_PERIOD, PROMISED_AHEAD,
    STALL_CHECKS_PER_IDLE_TIME,
};
use chinwag::hub::conn::buffers_bytes_max;
use chinwag::hub::edit::{COMMAND_BYTES, EDITED_BYTES_MAX, EDITORS_MAX};
use chinwag::link::Prefix;
use chinwag::link::broker::{CLAIM_WAIT, KEEP_ALIVE_S, PAUSE_MAX_MS, QUIET_MAX, SILENCE_MAX};
use chinwag::link::payload::{EVERY_MAX_S, PARTS_MAX};
use chinwag::link::remote::{AHEAD_MAX, DIGESTS_MISSING_MAX, GONE_GRACE};
use chinwag::link::remotes::{BOX_BURST_S, HELD_BYTES_MAX, LINES_PER_S};
use chinwag::options::{DEFAULT_ADDRESS, Options, SOCKET_BUFFER_BYTES};
use chinwag::protocol::{
    BURST_S, BYTES_PER_LINE, DENIALS_MAX, DENIALS_PER_ADDRESS_MAX, ENDED_MAX, ERRORS_MAX,
    HINT_AFTER_S, IDLE_MIN_S, IDLE_TCP_MIN_S, LINE_BYTES_MAX, Limits, NAME_BYTES_MAX,
    OPERATOR_SILENCE_S, OPERATORS_MAX, PING_BYTES_MAX, POLL_EVENTS_DEFAULT, POLL_EVENTS_MAX,
    POLL_WAIT_MAX_S, QUOTE_CHARS_MAX, REPLY_BYTES_MAX, TALK_HISTORY_DEFAULT,
};
use chinwag::talk::{COLUMNS_DEFAULT, COLUMNS_MIN, HISTORY_LINES_MAX};

use super::{between, document, settings};

/// Smaller numbers also number sections and count words, so only those that are expected are looked
/// for.
const TELLING: u64 = 13;

/// A number, or a word for one, that a section has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Figure {
    Number(u64),
    Word(&'static str),
}

impl From<u32> for Figure {
    fn from(number: u32) -> Figure {
        Figure::Number(number.into())
    }
}

impl From<usize> for Figure {
    fn from(number: usize) -> Figure {
        Figure::Number(number as u64)
    }
}

/// A number as a word.
fn word(number: impl Into<u64>) -> Figure {
    let words = [
        "no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    ];
    Figure::Word(words[number.into() as usize])
}

/// A number's ordinal or fraction as a word.
fn ordinal(number: impl Into<u64>) -> Figure {
    let words = [
        "", "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth",
        "tenth",
    ];
    Figure::Word(words[number.into() as usize])
}

/// The sections of a document by their titles, without its examples.
fn sections(text: &str) -> BTreeMap<String, String> {
    let mut sections = BTreeMap::new();
    let mut title = String::new();
    let mut block = None;
    for line in text.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some(kind),
            (Some(_), Some("")) => block = None,
            (None | Some("abnf"), None) if line.starts_with("    ") => {}
            (None, None) if line.starts_with('#') => {
                title = line.trim_start_matches('#').trim().to_owned();
            }
            (None | Some("abnf"), None) => {
                let body: &mut String = sections.entry(title.clone()).or_default();
                *body += line;
                body.push('\n');
            }
            _ => {}
        }
    }
    sections
}

/// The whole numbers in a text. Those with a point, and parts of words, of addresses and of links
/// are none.
fn numbers(text: &str) -> Vec<u64> {
    let mut numbers = Vec::new();
    let mut before = ' ';
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_digit() {
            before = first;
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let is_part = |c: char| c.is_ascii_digit() || matches!(c, ',' | '.');
        let end = rest.find(|c| !is_part(c)).unwrap_or(rest.len());
        let number = rest[..end].trim_end_matches([',', '.']);
        let is_alone = !(before.is_alphanumeric() || "+-_/\\#%:.".contains(before));
        if is_alone && !number.contains('.') {
            numbers.extend(number.replace(',', "").parse::<u64>());
        }
        before = rest[..end].chars().last().unwrap();
        rest = &rest[end..];
    }
    numbers
}

/// What is wrong with the figures of a section.
fn mistakes(title: &str, text: &str, expected: &[Figure]) -> Vec<String> {
    let count = |all: &[u64], number| all.iter().filter(|&&n| n == number).count();
    let found = numbers(text);
    let wanted = expected.iter().filter_map(|figure| match figure {
        Figure::Number(number) => Some(*number),
        Figure::Word(_) => None,
    });
    let wanted: Vec<_> = wanted.collect();
    let mut mistakes = Vec::new();
    let mut all: Vec<_> = found.iter().chain(&wanted).copied().collect();
    all.sort_unstable();
    all.dedup();
    for number in all {
        let (has, wants) = (count(&found, number), count(&wanted, number));
        if (number >= TELLING && has != wants) || has < wants {
            mistakes.push(format!("{title}: {number} {has} times instead of {wants}"));
        }
    }
    let words = text.split(|c: char| !c.is_alphabetic());
    let words: Vec<_> = words.map(str::to_lowercase).collect();
    for figure in expected {
        match figure {
            Figure::Word(word) if !words.iter().any(|w| w == word) => {
                mistakes.push(format!("{title}: no \"{word}\""));
            }
            _ => {}
        }
    }
    mistakes
}

macro_rules! figures {
    ($($figure:expr),* $(,)?) => { vec![$(Figure::from($figure)),*] };
}

/// What the sections of PROTOCOL.md have, but for the tables of limits, which have their own tests.
/// What is a plain number here does not follow from the code.
fn figures_of_protocol() -> Vec<(&'static str, Vec<Figure>)> {
    let limits = Limits::default();
    let burst = limits.lines_per_s * BURST_S;
    let huge = Limits {
        message_bytes_max: 1 << 20,
        ..limits
    };
    let linked = Limits {
        is_linked: true,
        ..huge
    };
    let line_overhead = huge.line_bytes_max() - huge.message_bytes_max;
    let log_overhead = huge.log_bytes_min() - 2 * huge.message_bytes_max;
    let linked_log_overhead = linked.log_bytes_min() - 2 * linked.message_bytes_max;
    vec![
        // The other numbers are sections'.
        (
            "The chinwag protocol, version 1",
            figures![limits.idle_s, 13_u32, 14_u32],
        ),
        // The digits of a token.
        ("Words", figures![40_u32]),
        // 1970, a reply with a time, and the digits of that.
        (
            "Notation",
            figures![
                1970_u32,
                13_u32,
                16_u32,
                17_u32,
                Figure::Number(1_763_800_000_000)
            ],
        ),
        // RFCs.
        ("2 Grammar", figures![5234_u32, 7405_u32]),
        ("Basics", figures![NAME_BYTES_MAX - 1, 40_u32, 16_u32]),
        // The other number is an example.
        (
            "TALK",
            figures![
                u32::from(COLUMNS_DEFAULT),
                u32::from(COLUMNS_MIN),
                TALK_HISTORY_DEFAULT as u32,
                TALK_HISTORY_DEFAULT as u32,
                50_u32
            ],
        ),
        // Four RFCs, and a terminal's columns and lines.
        (
            "Editing lines",
            figures![
                856_u32,
                857_u32,
                858_u32,
                1073_u32,
                HISTORY_LINES_MAX,
                u32::from(COLUMNS_DEFAULT),
                24_u32,
                EDITORS_MAX,
                COMMAND_BYTES,
                EDITED_BYTES_MAX,
            ],
        ),
        ("What a client sends", figures![LINE_BYTES_MAX]),
        (
            "3 Lines",
            figures![
                LINE_BYTES_MAX,
                line_overhead,
                LINE_BYTES_MAX,
                "OK PING ".len() + PING_BYTES_MAX,
                // Without the line's end.
                limits.event_bytes_max() - limits.message_bytes_max - 2,
                linked.event_bytes_max() - linked.message_bytes_max - 2,
                REPLY_BYTES_MAX,
                limits.lines_per_s,
                burst,
                word(BURST_S),
                BYTES_PER_LINE,
                BYTES_PER_LINE,
                BYTES_PER_LINE + 1,
                // Telnet's RFC, and its bytes.
                854_u32,
                255_u32,
                240_u32,
                254_u32,
                255_u32,
                255_u32,
                256_u32,
            ],
        ),
        (
            "JOIN",
            figures![
                NAME_BYTES_MAX,
                IDLE_MIN_S,
                limits.idle_max_s,
                limits.idle_s,
                IDLE_TCP_MIN_S
            ],
        ),
        (
            "Keys",
            figures![
                ordinal(DENIALS_MAX),
                word(DENIALS_PER_ADDRESS_MAX),
                word(DENIALS_PER_ADDRESS_MAX)
            ],
        ),
        ("RESUME", figures![ENDED_MAX]),
        ("SAY", figures![limits.message_bytes_max]),
        (
            "POLL",
            figures![
                POLL_EVENTS_MAX,
                POLL_EVENTS_DEFAULT.get(),
                REPLY_BYTES_MAX,
                POLL_WAIT_MAX_S
            ],
        ),
        ("PING", figures![PING_BYTES_MAX]),
        ("LEAVE", figures![limits.handshake_s]),
        ("DETACH", figures![limits.handshake_s]),
        // A terminal's columns and lines.
        ("HELP", figures![80_u32, 24_u32]),
        (
            "BYE",
            figures![limits.handshake_s, ERRORS_MAX, word(DENIALS_MAX)],
        ),
        ("EXPIRING", figures![HINT_AFTER_S, HINT_AFTER_S]),
        ("Signs of life", figures![IDLE_MIN_S, IDLE_TCP_MIN_S]),
        (
            "A connection without a session",
            figures![limits.handshake_s, GOODBYE_MAX_S],
        ),
        (
            "A client that does not read",
            figures![REPLY_BYTES_MAX, ordinal(STALL_CHECKS_PER_IDLE_TIME)],
        ),
        // What is left of an idle time at least, in seconds, how many restarts a session may go
        // through, how many numbers a save promises, and the bits of a number.
        (
            "When the server changes",
            figures![
                60_u32,
                u32::from(CARRIED_MAX),
                ENDED_MAX,
                PROMISED_AHEAD as u32,
                64_u32
            ],
        ),
        (
            "8 Errors",
            figures![
                LINE_BYTES_MAX,
                NAME_BYTES_MAX,
                limits.message_bytes_max,
                QUOTE_CHARS_MAX,
                ERRORS_MAX,
                ordinal(DENIALS_MAX),
                ordinal(DENIALS_PER_ADDRESS_MAX)
            ],
        ),
        ("Replies", figures![REPLY_BYTES_MAX]),
        // What the tests of timeouts allow, in milliseconds.
        ("Time", figures![250_u32]),
        // The bits of a secret, and the KiB of buffers.
        (
            "Sessions",
            figures![
                128_u32,
                ENDED_MAX,
                buffers_bytes_max(&limits).div_ceil(1024),
                REPLY_BYTES_MAX
            ],
        ),
        ("Limits and keys", figures![BYTES_PER_LINE]),
        (
            "People",
            figures![u32::from(COLUMNS_DEFAULT), u32::from(COLUMNS_MIN)],
        ),
        // The same as above.
        (
            "Upgrades, restarts, crashes",
            figures![60_u32, u32::from(CARRIED_MAX), ENDED_MAX, GAPS_MAX],
        ),
        (
            "10 Limits",
            figures![
                limits.idle_s,
                // Linux's buffer of a Unix socket, in bytes.
                212_992_u32,
                LINE_BYTES_MAX,
                line_overhead,
                log_overhead,
                linked_log_overhead,
                // The bits of an IPv6 network.
                64_u32,
            ],
        ),
        ("Pull", figures![POLL_WAIT_MAX_S]),
        // A mode, in octal, and the bits of a key.
        ("12 Security", figures![660_u32, 128_u32]),
        ("SSH", figures![u32::from(DEFAULT_ADDRESS.port())]),
        // The first byte of TLS.
        ("Browsers and URLs", figures![22_u32]),
        // The time of day in examples.
        (
            "13 Rooms that span boxes",
            figures![17_u32, 17_u32, 17_u32, 17_u32],
        ),
        // The digits and bits of a hash, how many freed rooms are remembered, and an example.
        (
            "Topics and payloads",
            figures![
                Prefix::BYTES_MAX,
                16_u32,
                EVERY_MAX_S,
                PARTS_MAX,
                64_u32,
                64_u32,
                64_u32,
                17_u32,
                Figure::Number(1_763_800_000_000),
                42_u32
            ],
        ),
        // How many rooms have a digest every ten seconds, the most seconds between two digests, the last
        // year that a time may be in, and the bytes of a packet.
        (
            "What goes from box to box",
            figures![
                u32::from(KEEP_ALIVE_S),
                PAUSE_MAX_MS as u32 / 1000,
                5_u32,
                QUIET_MAX.secs() as u32,
                SILENCE_MAX.secs() as u32,
                word(CLAIM_WAIT.secs()),
                16_u32,
                600_u32,
                word(DIGESTS_MISSING_MAX),
                GONE_GRACE.secs() as u32,
                256_u32,
                512_u32,
                9999_u32,
                AHEAD_MAX.ilog2(),
                8192_u32,
                512_u32,
                LINES_PER_S as u32,
                (LINES_PER_S * BOX_BURST_S) as u32,
                (LINES_PER_S * (BOX_BURST_S + 1)) as u32,
                HELD_BYTES_MAX / 1024,
            ],
        ),
        ("Events of other boxes", figures![64_u32]),
        ("What the broker has to check", figures![LINES_PER_S as u32]),
        // A mode, in octal.
        (
            "14 The operator's socket",
            figures![
                600_u32,
                word(OPERATORS_MAX as u64),
                OPERATOR_SILENCE_S,
                ERRORS_MAX
            ],
        ),
        // An address.
        ("SESSIONS", figures![2001_u32]),
    ]
}

#[test]
fn the_protocol_document_has_the_numbers_of_the_code() {
    let mut sections = sections(&document("PROTOCOL.md"));
    let limits = sections.get_mut("10 Limits").unwrap();
    let sentences = limits.lines().filter(|line| !line.starts_with('|'));
    *limits = sentences.collect::<Vec<_>>().join("\n");
    let mut wrong = Vec::new();
    for (title, expected) in figures_of_protocol() {
        let text = sections.remove(title).expect(title);
        wrong.extend(mistakes(title, &text, &expected));
    }
    for (title, text) in sections {
        wrong.extend(mistakes(&title, &text, &[]));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_promises_of_the_readme_have_the_numbers_of_the_code() {
    let limits = Limits::default();
    let burst = limits.lines_per_s * BURST_S;
    let replies_bytes = buffers_bytes_max(&limits);
    let expected = figures![
        limits.connections_max,
        limits.sessions_max,
        limits.rooms_max,
        limits.per_address_max,
        limits.per_address_max,
        burst,
        limits.lines_per_s,
        BYTES_PER_LINE,
        ordinal(STALL_CHECKS_PER_IDLE_TIME),
        replies_bytes.div_ceil(1024),
        limits.log_bytes / 1024,
        limits.handshake_s,
        u32::from(COLUMNS_DEFAULT),
        u32::from(COLUMNS_MIN),
        // The bits of a secret.
        128_u32,
        word(DENIALS_MAX),
        word(DENIALS_PER_ADDRESS_MAX),
        word(LOG_LINES_MAX as u64),
        2 * limits.handshake_s,
    ];
    let sections = sections(&document("README.md"));
    let wrong = mistakes("Security", &sections["Security"], &expected);
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(LOG_PERIOD.0, 60_000, "README.md says \"a minute\"");
}

/// The longest message that counts as one line fills the log fastest.
#[test]
fn one_clients_burst_fills_less_than_half_of_a_rooms_log() {
    let limits = Limits::default();
    let text_bytes = BYTES_PER_LINE - "SAY \n".len();
    let longest_time = u64::MAX.to_string().len();
    let time = 1_763_800_000_000_u64.to_string().len();
    let overhead = limits.event_bytes_max() - limits.message_bytes_max;
    let event_bytes = overhead - (longest_time - time) + text_bytes;
    let burst = (limits.lines_per_s * BURST_S) as usize;
    assert!(2 * burst * event_bytes < limits.log_bytes);
}

#[test]
fn the_other_sections_of_the_readme_have_the_numbers_of_the_code() {
    let limits = Limits::default();
    let sections = sections(&document("README.md"));
    let options = figures![word(LOG_LINES_MAX as u64)];
    let how_it_works = figures![limits.log_bytes / 1024, 128_u32];
    let mut wrong = mistakes("How it works", &sections["How it works"], &how_it_works);
    let words = mistakes("Options", &sections["Options"], &options);
    wrong.extend(words.into_iter().filter(|mistake| mistake.contains('"')));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_has_the_numbers_of_the_units() {
    let seconds = |setting: &str| -> u32 {
        let values = settings("dist/chinwag.service", setting);
        let seconds = values[0].strip_suffix('s').unwrap();
        seconds.parse().unwrap()
    };
    let memory = settings("dist/chinwag.service", "MemoryMax");
    let memory: u32 = memory[0].strip_suffix('M').unwrap().parse().unwrap();
    let sections = sections(&document("README.md"));
    // Systemd's version.
    let systemd = figures![252_u32, memory, seconds("WatchdogSec") / 2];
    let addresses = figures![seconds("RestartSec")];
    let mut wrong = mistakes("systemd", &sections["systemd"], &systemd);
    let text = &sections["Addresses"];
    wrong.extend(mistakes("Addresses", text, &addresses));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_readme_says_what_unix_sockets_take_with_other_settings() {
    let options = Options::default();
    let ceiling = Ceiling::of(&options.limits, None, SOCKET_BUFFER_BYTES);
    let readme = document("README.md");
    let wmem_max: u64 = between(&readme, "; with ", ",").parse().unwrap();
    // Twice what the system allows, and a message more.
    let ceiling = ceiling.with_unix_clients(2 * wmem_max + 64 * 1024, true);
    let shown = Mib(ceiling.client_bytes.unwrap()).to_string();
    assert!(readme.contains(&shown), "{shown}");
}

#[test]
fn every_number_of_a_text_is_found() {
    let text = "1,024 connections, 64, and 20.0 MiB (8): `wait=60`, U+2028, 100th, 127.0.0.1 8255, \
                127.0.0.1:1, [3 Lines](#3-lines), HTTP/1.1, \\x80, 7.";
    assert_eq!(numbers(text), [1024, 64, 8, 60, 100, 8255, 3, 7]);
    let expected = figures![64_u32, 1024_u32, 60_u32, 100_u32, 8255_u32];
    assert_eq!(mistakes("", text, &expected), [""; 0]);
    let expected = figures![
        64_u32,
        64_u32,
        1024_u32,
        60_u32,
        101_u32,
        8255_u32,
        5_u32,
        word(2_u64)
    ];
    let found = mistakes("t", text, &expected);
    assert_eq!(
        found,
        [
            "t: 5 0 times instead of 1",
            "t: 64 1 times instead of 2",
            "t: 100 1 times instead of 0",
            "t: 101 0 times instead of 1",
            "t: no \"two\"",
        ]
    );
}
