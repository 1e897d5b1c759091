//! Properties that hold for any input: the timer wheel and the event log against simple models,
//! lines however their stream is cut, and commands from whatever bytes.

use std::collections::BTreeSet;

use chinwag::chat::event_log::EventLog;
use chinwag::hub::line::Splitter;
use chinwag::protocol::{Abuse, Code, Command, Limits, Request, VERBS};
use chinwag::time::Millis;
use chinwag::wheel::Wheel;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use crate::cuts::{Cut, cut};
use crate::members::{limits, text};
use crate::seeds::cases;
use crate::world::{BOOT, World};

/// A length of time, from 0 to the longest there is; mostly one that a server sees.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..200_u64,
        4 => 0..200_000_u64,
        4 => 0..50 * 24 * 3_600_000_u64,
        1 => (0..64_u32, 0..3_u64).prop_map(|(bit, less)| (1_u64 << bit).saturating_sub(less)),
    ]
}

#[derive(Clone, Debug)]
enum WheelStep {
    /// Files timers this long after the present, each a millisecond behind the one before.
    File(u64, u64),
    /// Files a timer at a time of any kind.
    FileAt(u64),
    /// Cancels one timer.
    Cancel(Index),
    /// Files a timer that is filed again, this long from now.
    Refile(Index, u64),
    /// Cancels the earliest timers.
    CancelEarliest(usize),
    /// Lets time pass and pops with an allowance.
    Pop(u64, usize),
    /// Lets time pass and pops all that is due.
    PopAll(u64),
    /// Sleeps until the next deadline and pops all that is due.
    Sleep,
}

fn wheel_step() -> impl Strategy<Value = WheelStep> {
    prop_oneof![
        6 => span().prop_map(|delay| WheelStep::File(delay, 1)),
        2 => (span(), 2..100_u64).prop_map(|(delay, timers)| WheelStep::File(delay, timers)),
        1 => prop_oneof![any::<u64>(), Just(0), Just(u64::MAX)].prop_map(WheelStep::FileAt),
        2 => any::<Index>().prop_map(WheelStep::Cancel),
        2 => (any::<Index>(), span()).prop_map(|(index, delay)| WheelStep::Refile(index, delay)),
        1 => (1..40_usize).prop_map(WheelStep::CancelEarliest),
        2 => (span(), 0..80_usize).prop_map(|(step, work)| WheelStep::Pop(step, work)),
        3 => span().prop_map(WheelStep::PopAll),
        3 => Just(WheelStep::Sleep),
    ]
}

/// A wheel and its model: the same timers, sorted by deadline.
struct Checked {
    wheel: Wheel,
    model: BTreeSet<(Millis, u32)>,
    /// The numbers of timers that are not filed any more, and the next one.
    free: Vec<u32>,
    fresh: u32,
    now: Millis,
    /// Whether the last pop ended because there were no timers, not because there was no work left.
    is_settled: bool,
}

impl Checked {
    fn at(now: u64) -> Self {
        let mut checked = Checked {
            wheel: Wheel::new(),
            model: BTreeSet::new(),
            free: Vec::new(),
            fresh: 0,
            now: Millis(0),
            is_settled: true,
        };
        checked.pop(Millis(now), usize::MAX);
        checked
    }

    fn file(&mut self, when: Millis) {
        let timer = self.free.pop().unwrap_or_else(|| {
            self.fresh += 1;
            self.fresh - 1
        });
        assert_eq!(self.wheel.when(timer), None);
        self.wheel.file(timer, when);
        self.model.insert((when, timer));
    }

    fn cancel(&mut self, index: usize) {
        let key = *self.model.iter().nth(index).unwrap();
        let (when, timer) = key;
        self.model.remove(&key);
        assert_eq!(self.wheel.when(timer), Some(when));
        self.wheel.cancel(timer);
        self.free.push(timer);
    }

    fn refile(&mut self, index: usize, when: Millis) {
        let key = *self.model.iter().nth(index).unwrap();
        self.model.remove(&key);
        self.wheel.file(key.1, when);
        self.model.insert((when, key.1));
    }

    fn pop(&mut self, now: Millis, allowance: usize) {
        self.now = now;
        let mut work = allowance;
        let mut popped = 0;
        while let Some(timer) = self.wheel.pop(now, &mut work) {
            let due = self.model.iter().take_while(|(when, _)| *when <= now);
            let key = due.copied().find(|key| key.1 == timer);
            let key = key.unwrap_or_else(|| panic!("{timer} is early at {now:?}, or comes twice"));
            self.model.remove(&key);
            self.free.push(timer);
            popped += 1;
        }
        assert!(popped <= allowance - work);
        self.is_settled = work > 0;
        if self.is_settled {
            assert!(self.earliest().is_none_or(|when| when > now));
        }
    }

    fn earliest(&self) -> Option<Millis> {
        self.model.first().map(|key| key.0)
    }

    fn sleep(&mut self) {
        if let Some(when) = self.wheel.next_deadline() {
            let left = self.model.len();
            let is_exact = self.is_settled && left <= 64;
            self.pop(self.now.max(when), usize::MAX);
            assert!(!is_exact || self.model.len() < left, "nothing was due");
        }
    }

    fn step(&mut self, step: WheelStep) {
        match step {
            WheelStep::File(delay, timers) => {
                for behind in 0..timers {
                    self.file(self.now + Millis(delay) + Millis(behind));
                }
            }
            WheelStep::FileAt(when) => self.file(Millis(when)),
            WheelStep::Cancel(_) if self.model.is_empty() => {}
            WheelStep::Cancel(index) => self.cancel(index.index(self.model.len())),
            WheelStep::Refile(..) if self.model.is_empty() => {}
            WheelStep::Refile(index, delay) => {
                self.refile(index.index(self.model.len()), self.now + Millis(delay));
            }
            WheelStep::CancelEarliest(timers) => {
                (0..timers.min(self.model.len())).for_each(|_| self.cancel(0));
            }
            WheelStep::Pop(step, work) => self.pop(self.now + Millis(step), work),
            WheelStep::PopAll(step) => self.pop(self.now + Millis(step), usize::MAX),
            WheelStep::Sleep => self.sleep(),
        }
        self.check();
    }

    fn check(&mut self) {
        assert_eq!(self.wheel.len(), self.model.len());
        let deadline = self.wheel.next_deadline();
        match self.earliest() {
            None if self.is_settled => assert_eq!(deadline, None),
            None => assert!(deadline.is_none_or(|when| when <= self.now)),
            Some(earliest) if earliest <= self.now => {
                assert!(deadline.is_some_and(|when| when <= self.now));
            }
            Some(earliest) if !self.is_settled => {
                assert!(deadline.is_some_and(|when| when <= earliest));
            }
            Some(earliest) if self.model.len() <= 64 => assert_eq!(deadline, Some(earliest)),
            Some(earliest) => {
                // A deadline that has passed would keep the server from sleeping.
                assert!(deadline.is_some_and(|when| self.now < when && when <= earliest));
            }
        }
    }
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_timer_is_never_early_never_popped_twice_and_never_lost(
        start in prop_oneof![span(), Just(u64::MAX - 1_000_000), Just(u64::MAX)],
        steps in vec(wheel_step(), 1..80),
    ) {
        let mut checked = Checked::at(start);
        for step in steps {
            checked.step(step);
        }
        let held = checked.wheel.iter().map(|(timer, when)| (when, timer));
        assert!(held.collect::<BTreeSet<_>>() == checked.model);
        checked.pop(Millis(u64::MAX), usize::MAX);
        assert!(checked.wheel.is_empty());
    }
}

/// All lines that were ever appended to a log, and how many it has dropped.
#[derive(Default)]
struct Lines {
    all: Vec<Vec<u8>>,
    dropped: usize,
}

impl Lines {
    fn append(&mut self, line: Vec<u8>, bytes_max: usize) {
        self.all.push(line);
        while self.dropped + 1 < self.all.len()
            && self.from(self.dropped).concat().len() > bytes_max
        {
            self.dropped += 1;
        }
    }

    /// The lines from an index on.
    fn from(&self, index: usize) -> &[Vec<u8>] {
        &self.all[index..]
    }
}

/// A line of `len` bytes that contains its number, so that no two are alike.
fn numbered_line(number: usize, len: usize) -> Vec<u8> {
    number
        .to_string()
        .into_bytes()
        .into_iter()
        .cycle()
        .take(len)
        .collect()
}

fn check_log(log: &EventLog, lines: &Lines, pick: &Index, events_max: u64, bytes: usize) {
    let (first, next) = (lines.dropped as u64 + 1, lines.all.len() as u64 + 1);
    assert_eq!((log.first(), log.next()), (first, next));
    let held = lines.from(lines.dropped);
    assert_eq!(log.len_bytes(), held.concat().len());

    let skipped = pick.index(held.len() + 1);
    let (from, rest) = (first + skipped as u64, &held[skipped..]);
    assert_eq!(log.range(from, next).concat(), rest.concat());
    assert_eq!(log.tail_bytes(from), rest.concat().len());

    let mut fitting = 0;
    while (fitting as u64) < events_max
        && fitting < rest.len()
        && rest[..fitting + 1].concat().len() <= bytes
    {
        fitting += 1;
    }
    let to = from + fitting as u64;
    assert_eq!(log.fit(from, events_max, bytes), to);
    assert_eq!(log.range(from, to).concat(), rest[..fitting].concat());

    let taken = bytes.min(rest.concat().len());
    let mut touched = 0;
    while rest[..touched].concat().len() < taken {
        touched += 1;
    }
    let missing = rest[..touched].concat().len() - taken;
    assert_eq!(log.advance(from, taken), (from + touched as u64, missing));
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn a_log_holds_the_newest_lines_that_fit(
        bytes_max in 1..600_usize,
        steps in vec(
            (1..90_usize, any::<Index>(), prop_oneof![0..9_u64, Just(u64::MAX)], 0..700_usize),
            1..60,
        ),
    ) {
        let mut log = EventLog::new(bytes_max);
        let mut lines = Lines::default();
        for (len, pick, events_max, bytes) in steps {
            let line = numbered_line(lines.all.len() + 1, len);
            log.append(&line);
            lines.append(line, bytes_max);
            assert!(log.len_bytes() <= bytes_max.max(len));
            check_log(&log, &lines, &pick, events_max, bytes);
        }
    }
}

const LINE_BYTES_MAX: usize = 6;

/// Streams made of what matters to lines and to telnet, and of pieces that belong together.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let pieces: [&[u8]; 32] = [
        b"a",
        b"bcd",
        b"123456",
        b"\n",
        b"\r",
        b"\0",
        b"\r\n",
        b"\r\0",
        b"\xff",
        b"\xff\xff",
        b"\xff\xfb",
        b"\xff\xfc",
        b"\xff\xfd\x03",
        b"\xff\xfe",
        b"\xff\xfa",
        b"\xff\xf0",
        b"\xff\xf4",
        b"\xff\xf1",
        b"\xf4",
        b"\xf0",
        b"\xff\xf6",
        b"\xff\xf7",
        b"\xff\xf8",
        b"\xff\n",
        b"\xff\xfb\n",
        b"\x08",
        b"\x15",
        b"\x7f",
        b"\x16",
        "\u{feff}".as_bytes(),
        "é".as_bytes(),
        // Longer than a subnegotiation may be.
        &[b'n'; 254],
    ];
    vec(select(pieces.to_vec()), 0..30).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn lines_are_the_same_however_their_stream_is_cut(
        stream in stream(),
        sizes in vec(0..7_usize, 1..40),
    ) {
        let mut whole = Splitter::default();
        let items = cut(&mut whole, [&stream[..]], LINE_BYTES_MAX);
        let mut bytes = Splitter::default();
        assert_eq!(cut(&mut bytes, stream.chunks(1), LINE_BYTES_MAX), items);

        let mut rest = &stream[..];
        let mut chunks = Vec::new();
        for size in sizes {
            let (chunk, behind) = rest.split_at(size.min(rest.len()));
            chunks.push(chunk);
            rest = behind;
        }
        chunks.push(rest);
        let mut random = Splitter::default();
        assert_eq!(cut(&mut random, chunks, LINE_BYTES_MAX), items);

        for item in items {
            if let Cut::Line(line) = item {
                assert!(line.len() <= LINE_BYTES_MAX && !line.contains(&b'\n'));
            }
        }
    }
}

/// Lines that look like commands, with something wrong now and then.
fn almost_command() -> impl Strategy<Value = Vec<u8>> {
    let verbs = select(VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>());
    let words =
        "( {0,2}(a{0,26}|[a-z]{2,8}=[a-z0-9_-]{0,22}|[0-9a-f]{40}|HTTP/1.1|\\PC|\t|=)){0,5}";
    (verbs, words, vec(any::<u8>(), 0..2))
        .prop_map(|(verb, words, noise)| [verb.as_bytes(), words.as_bytes(), &noise].concat())
}

proptest! {
    #![proptest_config(cases(1000))]

    #[test]
    fn any_bytes_are_a_command_or_get_one_line_of_error(
        line in prop_oneof![almost_command(), vec(any::<u8>(), 0..40)],
    ) {
        match Request::read(&line, &Limits::default()) {
            Request::Empty => assert_eq!(line, b""),
            Request::Command(_) => {
                let text = std::str::from_utf8(&line).unwrap();
                assert!(!text.contains(|c: char| c.is_control() && c != '\t'));
            }
            Request::Bad(error) => {
                let text = error.to_string();
                assert!(!text.is_empty());
                assert!(!text.contains(char::is_control), "{text:?}");
            }
            Request::Abuse(abuse) => {
                assert_eq!(abuse, Abuse::Http);
                let is_host = line.len() >= 5 && line[..5].eq_ignore_ascii_case(b"Host:");
                assert!(is_host || line.windows(5).any(|w| w == b"HTTP/" || w == b"RTSP/" || w == b" SIP/" || w == b"CLIEN"));
            }
            Request::TooLong
            | Request::SignOfLife
            | Request::AreYouThere
            | Request::Edit { .. } => panic!("this is no line"),
        }
    }

    #[test]
    fn what_is_said_is_heard_byte_for_byte(
        spaces in " {0,3}",
        verb in "[Ss][Aa][Yy]",
        text in "[\\PC\t]{1,250}",
    ) {
        let line = format!("{spaces}{verb} {text}");
        let said = Request::Command(Command::Say(&text));
        match Request::read(line.as_bytes(), &Limits::default()) {
            Request::Bad(error) if error.code() == Code::MessageEmpty => {
                assert!(!text.contains(char::is_alphanumeric));
            }
            Request::Bad(error) => {
                assert_eq!(error.code(), Code::BadEncoding);
                assert!(text.contains(|c| ('\u{2028}'..'\u{202f}').contains(&c)
                    || ('\u{2066}'..'\u{206a}').contains(&c)));
            }
            request => assert_eq!(request, said),
        }
    }

    /// G16. What is one line on the wire is one for whatever reads it: these are the ends of lines
    /// of Python's splitlines, Java's Scanner, Node's readline, Perl's \R, and Unicode (UAX 14).
    #[test]
    fn no_text_that_is_taken_ends_a_line_for_anybody(
        before in "\\PC{0,5}",
        end in select(vec!['\n', '\r', '\u{b}', '\u{c}', '\u{1c}', '\u{1d}', '\u{1e}', '\u{85}', '\u{2028}', '\u{2029}']),
        behind in "\\PC{0,5}",
        verb in select(VERBS.iter().map(|verb| verb.name).collect::<Vec<_>>()),
    ) {
        let line = format!("{verb} {before}{end}{behind}");
        let Request::Bad(error) = Request::read(line.as_bytes(), &Limits::default()) else {
            panic!("{line:?}");
        };
        assert_eq!(error.code(), Code::BadEncoding);
    }
}

/// Whoever knows the number of the server's life can tell those of the logs that will begin in it.
#[test]
fn an_event_of_a_log_that_is_still_to_begin_has_been_seen_by_nobody() {
    let mut world = World::new(limits());
    let ann = world.connect();
    let log = BOOT.nth(0);
    world.send(&ann, format!("JOIN ann after=7 log={log}\n").as_bytes());
    let joined = text(&ann);
    assert!(
        joined.contains(&format!(" log={log}\r\nJOINED 1 ")),
        "{joined}"
    );
    world.hub.assert_consistent(world.now());
}
