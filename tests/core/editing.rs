//! Editing lines for people at telnet: what server and client agree on, and what a terminal shows then
//! while others speak.
//!
//! A failure names its seed; `CHINWAG_SEED=<seed> cargo test editing::` plays it again.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use chinwag::hub::edit::EDITORS_MAX;
use chinwag::protocol::Limits;
use fastrand::Rng;

use crate::editor::Terminal;
use crate::members::{limits, lines, member};
use crate::seeds::play_seeds;
use crate::talk::{read, seen};
use crate::world::{Peer, World};

const IAC: u8 = 255;
const DONT: u8 = 254;
const DO: u8 = 253;
const WONT: u8 = 252;
const WILL: u8 = 251;
const SB: u8 = 250;
const ERASE_LINE: u8 = 248;
const ERASE_CHARACTER: u8 = 247;
const ARE_YOU_THERE: u8 = 246;
const INTERRUPT: u8 = 244;
const NOP: u8 = 241;
const SE: u8 = 240;
const TIMING_MARK: u8 = 6;
const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;
const WINDOW_SIZE: u8 = 31;

const ASKS_FOR_BINARY: [u8; 3] = [IAC, DO, BINARY];
/// The offer. What stands before it comes only the first time.
const OFFER: [[u8; 3]; 3] = [
    [IAC, WILL, ECHO],
    [IAC, WILL, SUPPRESS_GO_AHEAD],
    [IAC, DO, WINDOW_SIZE],
];
const WITHDRAWAL: [[u8; 3]; 3] = [
    [IAC, WONT, ECHO],
    [IAC, WONT, SUPPRESS_GO_AHEAD],
    [IAC, DONT, WINDOW_SIZE],
];
/// The options that most clients agree to.
const AGREED: [u8; 4] = [ECHO, SUPPRESS_GO_AHEAD, WINDOW_SIZE, BINARY];
/// What an offer is agreed to with.
const CONSENT: [u8; 6] = [IAC, DO, ECHO, IAC, DO, SUPPRESS_GO_AHEAD];

const LEFT: &[u8] = b"\x1b[D";
const UP: &[u8] = b"\x1b[A";

/// A telnet client with a person and a terminal. It keeps to RFC 854: it answers what changes something,
/// and nothing else.
struct Telnet {
    peer: Peer,
    terminal: Terminal,
    /// The options that it agrees to.
    agrees: Vec<u8>,
    /// Those that are on.
    on: BTreeSet<u8>,
    /// It answers nothing.
    is_mute: bool,
    /// The beginning of a telnet command that has come in part.
    begun: Vec<u8>,
    /// The telnet commands that have come.
    commands: Vec<[u8; 3]>,
    /// How many answers it has given.
    answers: usize,
}

impl Telnet {
    /// Connects, and begins to talk.
    fn talk(world: &mut World, talk: &str) -> Telnet {
        Telnet::talk_at(world, talk, 80, &AGREED)
    }

    fn talk_at(world: &mut World, talk: &str, columns: u16, agrees: &[u8]) -> Telnet {
        let mut telnet = Telnet {
            peer: world.connect(),
            terminal: Terminal::new(columns, 24),
            agrees: agrees.to_vec(),
            on: BTreeSet::new(),
            is_mute: false,
            begun: Vec::new(),
            commands: Vec::new(),
            answers: 0,
        };
        telnet.line(world, talk);
        let rows = telnet.rows();
        assert!(rows.iter().any(|row| row.starts_with("-- ")), "{rows:?}");
        telnet
    }

    /// The same, with the server editing the line.
    fn edited(world: &mut World, talk: &str) -> Telnet {
        let mut telnet = Telnet::talk(world, talk);
        telnet.line(world, "/edit");
        assert!(telnet.is_edited());
        telnet
    }

    fn is_edited(&self) -> bool {
        self.on.contains(&ECHO) && self.on.contains(&SUPPRESS_GO_AHEAD)
    }

    /// Types a line. A client that edits it itself shows it, and sends it whole.
    fn line(&mut self, world: &mut World, line: &str) {
        if self.is_edited() {
            return self.keys(world, format!("{line}\r\0").as_bytes());
        }
        self.receive(world);
        self.terminal.process(format!("{line}\r\n").as_bytes());
        self.keys(world, format!("{line}\r\n").as_bytes());
    }

    /// Sends bytes, and takes what comes until nothing more does.
    fn keys(&mut self, world: &mut World, bytes: &[u8]) {
        world.send(&self.peer, bytes);
        self.receive(world);
    }

    fn receive(&mut self, world: &mut World) {
        for _ in 0..20 {
            let answers = self.take();
            if answers.is_empty() {
                return;
            }
            world.send(&self.peer, &answers);
        }
        panic!("they go on about options for ever");
    }

    /// Takes what has come, shows it, and returns the answers to telnet's commands.
    fn take(&mut self) -> Vec<u8> {
        let output = std::mem::take(&mut self.peer.wire.borrow_mut().output);
        let mut answers = Vec::new();
        for byte in output {
            if self.begun.is_empty() && byte != IAC {
                self.terminal.process(&[byte]);
                continue;
            }
            self.begun.push(byte);
            if let [IAC, verb, option] = self.begun[..] {
                self.begun.clear();
                self.commands.push([IAC, verb, option]);
                answers.extend(self.answer(verb, option));
            }
        }
        answers
    }

    fn answer(&mut self, verb: u8, option: u8) -> Vec<u8> {
        if self.is_mute {
            return Vec::new();
        }
        let (yes, no) = match verb {
            WILL | WONT => (DO, DONT),
            DO | DONT => (WILL, WONT),
            _ => panic!("what is {verb}?"),
        };
        let turns_on = matches!(verb, WILL | DO);
        let said = match (turns_on, self.on.contains(&option)) {
            (true, false) if self.agrees.contains(&option) => {
                self.on.insert(option);
                yes
            }
            (true, false) => no,
            (false, true) => {
                self.on.remove(&option);
                no
            }
            (true, true) | (false, false) => return Vec::new(),
        };
        self.answers += 1;
        let mut answer = vec![IAC, said, option];
        if (said, option) == (WILL, WINDOW_SIZE) {
            answer.extend(self.size());
        }
        answer
    }

    /// What the client says of its window's size.
    fn size(&self) -> Vec<u8> {
        window(self.terminal.columns(), self.terminal.rows())
    }

    /// The rows that have been shown, without the empty ones at the end.
    fn rows(&mut self) -> Vec<String> {
        let mut rows = self.terminal.text(0);
        let len = rows.iter().rposition(|row| !row.is_empty());
        rows.truncate(len.map_or(0, |last| last + 1));
        rows
    }

    fn last_row(&mut self) -> String {
        self.rows().pop().unwrap()
    }

    /// Checks that what is typed of a line is whole and last on the screen, with the cursor before its
    /// character `cursor`. Returns the rows above it. The line has no blanks.
    fn rows_above(&mut self, typed: &str, cursor: usize) -> Vec<String> {
        let columns = usize::from(self.terminal.columns());
        let line = wrapped(typed, columns);
        let mut rows = self.rows();
        let above = rows.len().checked_sub(line.len()).unwrap();
        assert_eq!(rows.split_off(above), line, "{rows:#?}");
        let place = (above + cursor / columns, cursor % columns);
        assert_eq!(self.terminal.cursor(), place, "{typed} {cursor} {rows:#?}");
        rows
    }

    /// Checks that a line is whole and last, with the cursor at its end, below this row.
    fn expect_below(&mut self, row: &str, typed: &str) {
        let above = self.rows_above(typed, typed.len());
        assert_eq!(above.last().unwrap(), row);
    }
}

/// The rows of a line.
fn wrapped(line: &str, columns: usize) -> Vec<String> {
    let chunks = line.as_bytes().chunks(columns);
    chunks
        .map(|row| String::from_utf8(row.to_vec()).unwrap())
        .collect()
}

/// What a client says of its window's size.
fn window(columns: u16, rows: u16) -> Vec<u8> {
    let numbers = [columns.to_be_bytes(), rows.to_be_bytes()].concat();
    let doubled = numbers.iter().flat_map(|&byte| match byte {
        IAC => vec![IAC, IAC],
        byte => vec![byte],
    });
    [IAC, SB, WINDOW_SIZE]
        .into_iter()
        .chain(doubled)
        .chain([IAC, SE])
        .collect()
}

fn say(world: &mut World, peer: &Peer, text: &str) {
    world.send(peer, format!("SAY {text}\n").as_bytes());
}

/// What members have said, as a program gets it.
fn said(recorder: &Peer) -> Vec<String> {
    let messages = lines(recorder).into_iter();
    let messages = messages.filter(|line| line.starts_with("MSG "));
    messages
        .map(|line| line.splitn(4, ' ').last().unwrap().to_owned())
        .collect()
}

/// Whether the server shows what is typed.
fn has_echo(world: &mut World, peer: &Peer) -> bool {
    peer.wire.borrow_mut().output.clear();
    world.send(peer, b"x");
    let has_echo = !peer.wire.borrow().output.is_empty();
    world.send(peer, b"\x15");
    peer.wire.borrow_mut().output.clear();
    has_echo
}

// Agreement and refusal

#[test]
fn a_client_agrees_in_any_order_and_in_any_pieces() {
    let size = [&[IAC, WILL, WINDOW_SIZE][..], &window(20, 255)].concat();
    let [echo, keys] = [ECHO, SUPPRESS_GO_AHEAD].map(|option| vec![IAC, DO, option]);
    let orders = [
        [&echo, &keys, &size],
        [&echo, &size, &keys],
        [&keys, &echo, &size],
        [&keys, &size, &echo],
        [&size, &echo, &keys],
        [&size, &keys, &echo],
    ];
    for order in orders {
        let stream = [
            &order.map(Vec::as_slice).concat()[..],
            b"hullo\x7f\x7f\x7f\x7fello\r\0",
        ]
        .concat();
        for cut in 0..stream.len() {
            let mut world = World::new(limits());
            let recorder = member(&mut world, "JOIN recorder");
            let mut ann = Telnet::talk_at(&mut world, "TALK ann", 20, &[]);
            ann.is_mute = true;
            ann.line(&mut world, "/edit");
            let offered = [&[ASKS_FOR_BINARY][..], &OFFER].concat();
            assert_eq!(std::mem::take(&mut ann.commands), offered);
            let (first, second) = stream.split_at(cut);
            world.send(&ann.peer, first);
            world.send(&ann.peer, second);
            ann.take();
            assert_eq!(said(&recorder), ["ann hello"]);
            assert!(ann.commands.is_empty(), "{cut}");
            assert_eq!(ann.last_row(), "hello");
        }
    }
}

/// Each way to refuse: what the client says no to, and whether it does so only later.
#[test]
fn a_client_that_refuses_goes_on_in_lines() {
    let refusals = [
        &[ECHO][..],
        &[SUPPRESS_GO_AHEAD],
        &[ECHO, SUPPRESS_GO_AHEAD],
    ];
    for refused in refusals {
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder");
        let agrees: Vec<_> = (0..=255)
            .filter(|option| !refused.contains(option))
            .collect();
        let mut ann = Telnet::talk_at(&mut world, "TALK ann", 80, &agrees);
        ann.line(&mut world, "/edit");
        assert_eq!(ann.commands[0], ASKS_FOR_BINARY);
        assert_eq!(ann.commands[1..7], [OFFER, WITHDRAWAL].concat());
        assert_eq!(
            ann.last_row(),
            "-- your client edits the line itself; nothing has changed"
        );
        // It learns that what it had agreed to is off, and nothing more is said about that.
        assert!(!ann.on.contains(&ECHO) && !ann.on.contains(&SUPPRESS_GO_AHEAD));
        ann.line(&mut world, "one");
        assert!(!has_echo(&mut world, &ann.peer));
        ann.line(&mut world, "/edit off");
        assert_eq!(ann.last_row(), "-- it is off already");
        assert_eq!(said(&recorder), ["ann one"]);
        // It may agree later.
        ann.agrees = vec![ECHO, SUPPRESS_GO_AHEAD];
        ann.line(&mut world, "/edit");
        assert!(ann.is_edited() && has_echo(&mut world, &ann.peer));
        // Or refuse from then on.
        ann.line(&mut world, "/edit off");
        ann.agrees = Vec::new();
        ann.line(&mut world, "/edit");
        assert_eq!(
            ann.last_row(),
            "-- your client refuses; to edit again, connect again"
        );
        ann.line(&mut world, "two");
        assert_eq!(said(&recorder), ["ann two"]);
    }
}

#[test]
fn a_client_may_end_it_as_well() {
    for option in [ECHO, SUPPRESS_GO_AHEAD] {
        for (typed, told) in [
            ("", "-- your client edits the line again"),
            (
                "half",
                "-- your client edits the line again, and this one was not sent",
            ),
        ] {
            let mut world = World::new(limits());
            let recorder = member(&mut world, "JOIN recorder");
            let mut ann = Telnet::edited(&mut world, "TALK ann");
            ann.commands.clear();
            ann.keys(&mut world, typed.as_bytes());
            ann.on.remove(&option);
            ann.keys(&mut world, &[IAC, DONT, option]);
            assert_eq!(ann.commands, WITHDRAWAL);
            assert_eq!(ann.on, BTreeSet::from([BINARY]));
            let rows = ann.rows();
            assert_eq!(rows.last().unwrap(), told);
            assert_eq!(rows[rows.len() - 2] == typed, !typed.is_empty());
            ann.line(&mut world, "one");
            assert_eq!(said(&recorder), ["ann one"]);
            assert!(!has_echo(&mut world, &ann.peer));
        }
    }
}

/// What nc shows: the server's bytes of telnet are characters without a meaning, and the server's next
/// line covers them.
#[test]
fn a_client_that_never_answers_stays_in_lines() {
    let mut world = World::new(limits());
    let recorder = member(&mut world, "JOIN recorder");
    let mut ann = Telnet::talk(&mut world, "TALK ann");
    ann.is_mute = true;
    ann.terminal.process(b"/edit\r\n");
    world.send(&ann.peer, b"/edit\n");
    let output = std::mem::take(&mut ann.peer.wire.borrow_mut().output);
    ann.terminal
        .process(String::from_utf8_lossy(&output).as_bytes());
    assert_eq!(
        ann.last_row(),
        "-- asking your client; if nothing happens, it cannot do this"
    );
    ann.line(&mut world, "one");
    ann.line(&mut world, "hullo\x7f\x7f\x7f\x7fello");
    assert_eq!(said(&recorder), ["ann one", "ann hello"]);
    ann.line(&mut world, "/edit");
    assert_eq!(
        ann.last_row(),
        "-- your client has not answered; it cannot do this"
    );
    assert!(ann.commands.is_empty());
    ann.line(&mut world, "/edit off");
    assert_eq!(ann.last_row(), "-- it is off already");
    // An answer that comes only now is refused.
    ann.commands.clear();
    ann.keys(&mut world, &CONSENT);
    assert_eq!(ann.commands, WITHDRAWAL[..2]);
    assert!(!has_echo(&mut world, &ann.peer));
}

#[test]
fn answers_that_come_twice_are_not_answered() {
    let mut world = World::new(limits());
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    ann.commands.clear();
    let size = ann.size();
    for _ in 0..3 {
        ann.keys(&mut world, &CONSENT);
        ann.keys(&mut world, &[IAC, WILL, WINDOW_SIZE]);
        ann.keys(&mut world, &size);
    }
    // A client need not tell its size, and may stop doing so.
    ann.keys(&mut world, &[IAC, WONT, WINDOW_SIZE]);
    assert!(ann.commands.is_empty());
    assert!(has_echo(&mut world, &ann.peer));
    // Whatever else it offers or asks for is refused as ever.
    ann.keys(&mut world, &[IAC, WILL, 24, IAC, DO, 5, IAC, WILL, ECHO]);
    let refused = [[IAC, DONT, 24], [IAC, WONT, 5], [IAC, DONT, ECHO]];
    assert_eq!(ann.commands, refused);
    assert!(has_echo(&mut world, &ann.peer));
}

/// However answers and changes of mind cross each other, in the end both sides are of one mind, and
/// nothing goes on for ever.
#[test]
fn client_and_server_agree_in_the_end() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..500 {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(limits());
        let mut ann = Telnet::talk(&mut world, "TALK ann");
        if rng.u8(..5) == 0 {
            ann.agrees.remove(rng.usize(..AGREED.len()));
        }
        // Answers on their way to the server.
        let mut answers = Vec::new();
        for _ in 0..rng.u8(1..12) {
            match rng.u8(..6) {
                0 | 1 => answers.extend(b"/edit\r\n"),
                2 => answers.extend(b"/edit off\r\n"),
                3 if !ann.on.is_empty() => {
                    let option = *rng.choice(&ann.on).unwrap();
                    ann.on.remove(&option);
                    let is_own = matches!(option, WINDOW_SIZE | BINARY);
                    let verb = if is_own { WONT } else { DONT };
                    answers.extend([IAC, verb, option]);
                }
                3 | 4 => answers.extend(ann.take()),
                _ => {
                    let some = rng.usize(..=answers.len());
                    let rest = answers.split_off(some);
                    world.send(&ann.peer, &std::mem::replace(&mut answers, rest));
                }
            }
        }
        world.send(&ann.peer, &answers);
        ann.receive(&mut world);
        assert_eq!(
            ann.is_edited(),
            has_echo(&mut world, &ann.peer),
            "seed {seed}"
        );
        outcomes.insert(ann.is_edited());
        world.hub.assert_consistent(world.now());
    }
    assert_eq!(outcomes.len(), 2);
}

#[test]
fn the_line_fits_the_window_whenever_its_size_comes() {
    let mut world = World::new(limits());
    let mut ann = Telnet::talk_at(
        &mut world,
        "TALK ann",
        30,
        &[ECHO, SUPPRESS_GO_AHEAD, WINDOW_SIZE],
    );
    // A size before the offer, or without one, says nothing.
    ann.keys(&mut world, &window(5, 5));
    ann.line(&mut world, "/edit");
    let long = "0123456789".repeat(7);
    ann.keys(&mut world, long.as_bytes());
    ann.rows_above(&long, 70);
    ann.keys(&mut world, &LEFT.repeat(45));
    ann.rows_above(&long, 25);
    // The window becomes smaller or larger.
    for columns in [20, 50, 255] {
        ann.terminal.resize(columns, 24);
        let size = ann.size();
        ann.keys(&mut world, &size);
        ann.rows_above(&long, 25);
        ann.keys(&mut world, b"\x05\x01");
        ann.keys(&mut world, &b"\x06".repeat(25));
        ann.rows_above(&long, 25);
    }
    // A client that does not say its size has 80 columns.
    let mut zoe = Telnet::talk_at(&mut world, "TALK zoe", 80, &[ECHO, SUPPRESS_GO_AHEAD]);
    zoe.line(&mut world, "/edit");
    let long = "0123456789".repeat(17);
    zoe.keys(&mut world, long.as_bytes());
    zoe.rows_above(&long, 170);
}

/// In BINARY, Return is a CR or an LF, and what it is elsewhere still works.
#[test]
fn binary_is_asked_for_with_the_offer_and_stays_on() {
    let texts = ["Ü я “x” שלום ❤ 好的", "two"];
    let expected = texts.map(|text| format!("ann {text}"));
    for (agrees, ends) in [
        (&AGREED[..], &["\r\0", "\r\n", "\n", "\r"][..]),
        (&AGREED[..3], &["\r\0", "\r\n", "\n"]),
    ] {
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder alive=tcp");
        let mut ann = Telnet::talk_at(&mut world, "TALK ann", 80, agrees);
        for _ in 0..2 {
            ann.line(&mut world, "/edit");
            assert!(ann.is_edited());
            for end in ["\r\0", "\r\n", "\n", "\r"] {
                ann.keys(
                    &mut world,
                    texts.map(|text| text.to_owned() + end).concat().as_bytes(),
                );
                assert_eq!(said(&recorder), expected, "{end:?}");
            }
            ann.line(&mut world, "/edit off");
            assert_eq!(ann.on.contains(&BINARY), agrees.contains(&BINARY));
            for end in ends {
                let typed = texts.map(|text| text.to_owned() + end).concat();
                ann.keys(&mut world, typed.as_bytes());
                assert_eq!(said(&recorder), expected, "{end:?}");
                for byte in typed.bytes() {
                    ann.keys(&mut world, &[byte]);
                }
                assert_eq!(said(&recorder), expected, "{end:?}");
            }
        }
        let asked = ann.commands.iter().filter(|&&c| c == ASKS_FOR_BINARY);
        assert_eq!(asked.count(), 1);
    }
}

/// Its Ctrl-C shows that a client knows telnet, and so does a part of a letter that it takes for one.
#[test]
fn a_person_whose_client_knows_telnet_is_asked_for_binary_once() {
    let mut world = World::new(limits());
    let recorder = member(&mut world, "JOIN recorder alive=tcp");
    let mut ann = Telnet::talk(&mut world, "TALK ann");
    assert!(ann.commands.is_empty());
    let interrupt = [IAC, INTERRUPT, IAC, DO, TIMING_MARK];
    let no_mark = [IAC, WONT, TIMING_MARK];
    ann.keys(&mut world, &interrupt);
    assert_eq!(ann.commands, [no_mark, ASKS_FOR_BINARY]);
    assert_eq!(ann.on, BTreeSet::from([BINARY]));
    // Whatever it says of it, nothing more comes.
    ann.commands.clear();
    ann.keys(
        &mut world,
        &[IAC, WONT, BINARY, IAC, WILL, BINARY, IAC, WILL, BINARY],
    );
    assert!(ann.commands.is_empty());
    ann.keys(&mut world, &interrupt);
    assert_eq!(std::mem::take(&mut ann.commands), [no_mark]);
    ann.keys(&mut world, "Ü\rя\n".as_bytes());
    assert_eq!(said(&recorder), ["ann Ü", "ann я"]);
    ann.line(&mut world, "/edit");
    assert_eq!(ann.commands, OFFER);
    // A client that refuses goes on as before, and one that offers it by itself is agreed with.
    let mut zoe = Telnet::talk_at(&mut world, "TALK zoe", 80, &[]);
    zoe.keys(&mut world, &interrupt);
    zoe.keys(&mut world, &interrupt);
    assert_eq!(zoe.commands, [no_mark, ASKS_FOR_BINARY, no_mark]);
    zoe.line(&mut world, "one");
    assert_eq!(said(&recorder), ["zoe one"]);
    let mut eve = Telnet::talk(&mut world, "TALK eve");
    eve.is_mute = true;
    eve.keys(&mut world, &[IAC, WILL, BINARY]);
    assert_eq!(eve.commands, [ASKS_FOR_BINARY]);
    // A program is asked for nothing.
    let bob = member(&mut world, "JOIN bob alive=tcp");
    lines(&bob);
    world.send(&bob, &[&interrupt[..], &[IAC, WILL, BINARY]].concat());
    let output = std::mem::take(&mut bob.wire.borrow_mut().output);
    assert_eq!(output, [no_mark, [IAC, DONT, BINARY]].concat());
}

/// Many sizes at once, as while somebody drags the window's edge, draw the line once.
#[test]
fn sizes_that_come_at_once_draw_the_line_once() {
    let mut world = World::new(limits());
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    ann.keys(&mut world, &[b'x'; 500]);
    let sizes: Vec<_> = (20..80).flat_map(|columns| window(columns, 24)).collect();
    world.send(&ann.peer, &sizes);
    let len = ann.peer.wire.borrow().output.len();
    assert!((500..1100).contains(&len), "{len}");
}

#[test]
fn it_can_be_ended_and_begun_again() {
    for end in ["\r\0", "\r\n", "\r", "\n"] {
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder");
        let mut ann = Telnet::edited(&mut world, "TALK ann");
        ann.line(&mut world, "/edit");
        assert_eq!(ann.last_row(), "-- it is on already; /edit off ends it");
        ann.keys(&mut world, format!("one{end}/edit off{end}").as_bytes());
        assert_eq!(ann.last_row(), "-- your client edits the line again");
        assert_eq!(ann.on, BTreeSet::from([BINARY]));
        assert!(!has_echo(&mut world, &ann.peer));
        ann.line(&mut world, "two");
        ann.line(&mut world, "/edit off");
        assert_eq!(ann.last_row(), "-- it is off already");
        ann.line(&mut world, "/edit");
        assert!(ann.is_edited());
        ann.keys(&mut world, format!("three{end}").as_bytes());
        ann.keys(&mut world, UP);
        ann.expect_below("three", "three");
        ann.keys(&mut world, end.as_bytes());
        // What had been typed before is forgotten.
        ann.keys(&mut world, &UP.repeat(5));
        ann.expect_below("three", "three");
        assert_eq!(
            said(&recorder),
            ["ann one", "ann two", "ann three", "ann three"]
        );
    }
}

/// Whatever had been received of a line when editing began or ended stays out of the next one.
#[test]
fn nothing_of_a_line_is_left_over_when_editing_begins_or_ends() {
    for begun in [&b"x".repeat(3000)[..], b"\r", b"\r\r", b"\x15", b"", b"\0"] {
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder");
        let mut ann = Telnet::talk(&mut world, "TALK ann");
        ann.is_mute = true;
        ann.line(&mut world, "/edit");
        ann.keys(&mut world, begun);
        ann.keys(&mut world, &CONSENT);
        ann.keys(&mut world, b"one\r\0/edit off\r\0two\r\n");
        assert_eq!(said(&recorder), ["ann one", "ann two"]);
    }
    // What a client has sent of a line without its end is there to be edited.
    let mut world = World::new(limits());
    let recorder = member(&mut world, "JOIN recorder");
    let mut ann = Telnet::talk(&mut world, "TALK ann");
    ann.is_mute = true;
    ann.line(&mut world, "/edit");
    ann.keys(&mut world, b"hullo");
    ann.keys(&mut world, &CONSENT);
    ann.keys(&mut world, b"\x7f\x7f\x7f\x7fello\r\0");
    assert_eq!(said(&recorder), ["ann hello"]);
    // A telnet command may be cut anywhere.
    ann.keys(&mut world, &[IAC, SB, WINDOW_SIZE, 0]);
    ann.keys(&mut world, &[80, 0, 24, IAC]);
    ann.keys(&mut world, &[SE, b'a', IAC]);
    ann.keys(&mut world, &[DONT, ECHO, b'b', b'\n']);
    assert_eq!(said(&recorder), ["ann b"]);
}

#[test]
fn only_so_many_people_edit_at_once() {
    let mut world = World::new(limits());
    let mut people: Vec<_> = (0..EDITORS_MAX)
        .map(|who| Telnet::edited(&mut world, &format!("TALK ann{who}")))
        .collect();
    let mut bob = Telnet::talk(&mut world, "TALK bob");
    bob.line(&mut world, "/edit");
    let full = "-- too many people edit their lines now; try again later";
    assert_eq!(bob.last_row(), full);
    assert!(bob.commands.is_empty() && !has_echo(&mut world, &bob.peer));
    world.hub.assert_consistent(world.now());
    // Each way to end it makes a place.
    people[0].line(&mut world, "/edit off");
    people[1].keys(&mut world, &[IAC, DONT, ECHO]);
    people[2].line(&mut world, "/quit");
    world.reset(&people[3].peer);
    for name in ["bob2", "bob3", "bob4"] {
        people.push(Telnet::edited(&mut world, &format!("TALK {name}")));
    }
    // Somebody whose client does not answer keeps nobody out.
    let mut mute = Telnet::talk(&mut world, "TALK mute");
    mute.is_mute = true;
    mute.line(&mut world, "/edit");
    bob.line(&mut world, "/edit");
    assert!(bob.is_edited());
    // What the server offered is withdrawn, and the person learns why.
    mute.receive(&mut world);
    let (options, row) = (mute.commands.len(), mute.last_row());
    assert!(
        mute.commands[options - 3..] == WITHDRAWAL && row == full,
        "{row}"
    );
    mute.keys(&mut world, &CONSENT);
    assert!(!has_echo(&mut world, &mute.peer));
    let mut last = Telnet::talk(&mut world, "TALK last");
    last.line(&mut world, "/edit");
    assert_eq!(last.last_row(), full);
    world.hub.assert_consistent(world.now());
}

// What the screen shows

/// What members say in these rows.
fn texts(rows: &[String]) -> Vec<String> {
    let messages = rows.iter().filter_map(|row| row.split_once("> "));
    messages.map(|(_, text)| text.to_owned()).collect()
}

#[test]
fn messages_go_above_the_line_over_a_connection_that_takes_a_few_bytes_at_a_time() {
    for bytes in [1, 2, 3, 7, 40] {
        let mut world = World::new(limits());
        let members: Vec<_> = (0..3)
            .map(|who| member(&mut world, &format!("JOIN bob{who} alive=tcp")))
            .collect();
        let mut ann = Telnet::edited(&mut world, "TALK ann history=0");
        ann.keys(&mut world, b"hello");
        let mut sent = 0;
        for round in 0..40 {
            world.set_space(&ann.peer, bytes);
            ann.receive(&mut world);
            if round < 20 {
                say(&mut world, &members[round % 3], &format!("message {round}"));
                world.send(&ann.peer, format!("{}", round % 10).as_bytes());
                sent += 1;
            }
        }
        world.set_space(&ann.peer, usize::MAX);
        ann.receive(&mut world);
        assert_eq!(sent, 20);
        let above = ann.rows_above("hello01234567890123456789", 25);
        let messages = texts(&above);
        let expected: Vec<_> = (0..20).map(|round| format!("message {round}")).collect();
        assert_eq!(messages, expected, "{bytes}");
    }
}

#[test]
fn the_keys_of_one_read_are_shown_in_one_write() {
    let mut world = World::new(limits());
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    for keys in [
        &b"h"[..],
        b"ello",
        LEFT,
        b"\x01",
        b"\x7f\x7f",
        b"\t",
        &[b'x'; 400],
    ] {
        let before = ann.peer.wire.borrow().writes;
        ann.keys(&mut world, keys);
        assert!(ann.peer.wire.borrow().writes <= before + 1, "{keys:?}");
    }
    // The reply to a line is in the same write.
    let before = ann.peer.wire.borrow().writes;
    ann.keys(&mut world, b"\x15\x05\x15/halp\r\0");
    assert_eq!(ann.peer.wire.borrow().writes, before + 1);
    assert!(ann.last_row().ends_with("did you mean /help?"));
}

#[test]
fn pasted_lines_are_said_in_their_order() {
    let mut world = World::new(Limits::default());
    let recorder = member(&mut world, "JOIN recorder alive=tcp");
    let mut ann = Telnet::edited(&mut world, "TALK ann history=0");
    let pasted: String = (0..120).map(|n| format!("line{n}\r")).collect();
    ann.keys(&mut world, pasted.as_bytes());
    let expected: Vec<_> = (0..120).map(|n| format!("ann line{n}")).collect();
    assert_eq!(said(&recorder), expected);
    let rows = ann.rows();
    let first = rows.iter().position(|row| row == "line0").unwrap();
    let shown: Vec<_> = (0..120).map(|n| format!("line{n}")).collect();
    assert_eq!(rows[first..], shown);
    assert!(!ann.peer.wire.borrow().is_closed);
}

#[test]
fn tab_completes_names_and_commands() {
    let mut world = World::new(limits());
    let recorder = member(&mut world, "JOIN recorder");
    let _others = ["Robert", "roberta"].map(|name| member(&mut world, &format!("JOIN {name}")));
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    ann.keys(&mut world, b"rec\t");
    ann.rows_above("recorder:", 10);
    ann.keys(&mut world, b"hi\r\0ROB\t");
    ann.rows_above("ROBert", 6);
    let before = ann.rows();
    ann.keys(&mut world, b"\t");
    ann.expect_below("-- Robert roberta", "ROBert");
    assert_eq!(ann.rows().len(), before.len() + 1);
    ann.keys(&mut world, b"a\tyes\r\0/wh\t");
    ann.rows_above("/who", 5);
    ann.keys(&mut world, b"\r\0");
    assert_eq!(said(&recorder), ["ann recorder: hi", "ann roberta: yes"]);
    assert!(ann.last_row().starts_with("-- "));
}

#[test]
fn keys_and_telnet_commands_end_and_erase_as_in_a_shell() {
    let mut world = World::new(limits());
    let recorder = member(&mut world, "JOIN recorder");
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    for interrupt in [&b"\x03"[..], &[IAC, INTERRUPT]] {
        ann.keys(&mut world, &[b"never", interrupt].concat());
        ann.keys(&mut world, b"one");
        ann.expect_below("never^C", "one");
        ann.keys(&mut world, b"\r\0");
    }
    ann.keys(&mut world, &[b"twoo", &[IAC, ERASE_CHARACTER][..]].concat());
    ann.rows_above("two", 3);
    ann.keys(&mut world, &[LEFT, &[IAC, ERASE_LINE], b"three"].concat());
    ann.rows_above("three", 5);
    ann.keys(&mut world, &[IAC, NOP]);
    ann.rows_above("three", 5);
    ann.keys(&mut world, &[IAC, ARE_YOU_THERE]);
    ann.expect_below("-- the server is here", "three");
    // Ctrl-D deletes, and on an empty line it ends.
    ann.keys(&mut world, b"\x01\x04\x04");
    ann.rows_above("ree", 0);
    ann.keys(&mut world, b"\r\0");
    assert_eq!(said(&recorder), ["ann one", "ann one", "ann ree"]);
    ann.keys(&mut world, b"\x04");
    assert_eq!(ann.last_row(), "-- goodbye");
    assert!(ann.peer.wire.borrow().is_closed);
}

#[test]
fn long_replies_and_other_rooms_leave_the_line_alone() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob room=kitchen");
    for who in 0..300 {
        member(&mut world, &format!("JOIN member{who}"));
    }
    let mut ann = Telnet::edited(&mut world, "TALK ann history=0");
    ann.keys(&mut world, b"/who\r\0hel");
    let above = ann.rows_above("hel", 3);
    let who = above.iter().position(|row| row == "/who").unwrap();
    assert!(above[who + 1..].iter().all(|row| row.starts_with("-- ")));
    assert!(above.len() > who + 20);
    // The reply waits until the client has taken what came before, and so do the keys behind it.
    world.set_space(&ann.peer, 0);
    ann.keys(&mut world, b"\x15/who\r\0hel");
    world.set_space(&ann.peer, 100);
    ann.receive(&mut world);
    world.set_space(&ann.peer, usize::MAX);
    ann.receive(&mut world);
    ann.rows_above("hel", 3);
    ann.keys(&mut world, b"\x15/room kitchen\r\0lo");
    let above = ann.rows_above("lo", 2);
    assert_eq!(
        above[above.len() - 2..],
        ["-- here: bob", "09:56 -- bob came"]
    );
    lines(&bob);
    ann.keys(&mut world, b"\r\0");
    assert_eq!(said(&bob), ["ann lo"]);
    ann.line(&mut world, "/quit");
    assert_eq!(ann.last_row(), "-- goodbye");
    assert!(ann.peer.wire.borrow().is_closed);
}

#[test]
fn a_goodbye_comes_below_the_line() {
    for typed in ["", "half", &"x".repeat(80), &"x".repeat(200)] {
        let mut world = World::new(limits());
        let mut ann = Telnet::edited(&mut world, "TALK ann key=0123456789abcdef0123456789abcdef");
        ann.keys(&mut world, typed.as_bytes());
        ann.keys(&mut world, &LEFT.repeat(typed.len() / 2));
        let mut zoe = Telnet::edited(&mut world, "TALK zoe");
        zoe.keys(&mut world, typed.as_bytes());
        let again = Telnet::talk(&mut world, "TALK ann key=0123456789abcdef0123456789abcdef");
        world.hub.shut_down(world.now());
        for (telnet, goodbye) in [
            (
                &mut ann,
                "-- goodbye: you are here on another connection now, or your key has changed",
            ),
            (&mut zoe, "-- goodbye: the server is shutting down"),
        ] {
            telnet.receive(&mut world);
            let rows = telnet.rows();
            assert_eq!(rows.last().unwrap(), goodbye);
            let line = wrapped(typed, 80);
            let above = rows.len() - 1 - line.len();
            assert_eq!(rows[above..rows.len() - 1], line);
            assert_eq!(telnet.terminal.cursor(), (rows.len(), 0));
            assert!(telnet.peer.wire.borrow().is_closed);
        }
        drop(again);
    }
}

#[test]
fn the_way_back_begins_in_lines() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let mut ann = Telnet::edited(&mut world, "TALK ann");
    ann.keys(&mut world, b"half");
    world.reset(&ann.peer);
    say(&mut world, &bob, "missed");
    let mut again = Telnet::talk(&mut world, "TALK ann");
    assert!(again.last_row().ends_with("<bob> missed"));
    assert!(!has_echo(&mut world, &again.peer));
    again.line(&mut world, "/edit");
    again.keys(&mut world, UP);
    again.keys(&mut world, b"hi\r\0");
    assert_eq!(said(&bob), ["bob missed", "ann hi"]);
    world.hub.assert_consistent(world.now());
}

/// Messages that were drawn above the line, and that the client's system has not taken, are shown again.
#[test]
fn what_was_drawn_and_not_taken_is_shown_after_the_way_back() {
    for space in 0..100 {
        let mut world = World::new(limits());
        let bob = member(&mut world, "JOIN bob alive=tcp");
        let mut ann = Telnet::edited(&mut world, "TALK ann history=0");
        ann.keys(&mut world, b"half");
        world.set_space(&ann.peer, space);
        let all = ["one", "two", "three"].map(str::to_owned);
        for text in &all {
            say(&mut world, &bob, text);
        }
        world.reset(&ann.peer);
        ann.take();
        let mut again = Telnet::talk(&mut world, "TALK ann");
        let taken = texts(&ann.rows());
        let shown = texts(&again.rows());
        let (before, after) = all.split_at(all.len() - shown.len());
        assert_eq!(shown, after, "{space}");
        assert!(taken.starts_with(before), "{space} {taken:?}");
    }
}

// What it costs

#[test]
fn a_flood_of_keys_counts_against_the_rate() {
    let limits = Limits::default();
    let floods = [
        &b"\t"[..],
        b"\x03",
        b"\r",
        // Each draws the line once more.
        &[b'x', IAC, NOP],
        &[IAC, ERASE_CHARACTER],
        &[IAC, ARE_YOU_THERE],
        // Bytes count if nothing else does.
        &[b'x'; 96],
    ];
    for keys in floods {
        let mut world = World::new(limits);
        let ann = Telnet::edited(&mut world, "TALK ann");
        let flood = keys.repeat(20_000 / keys.len());
        let taken = |world: &mut World| {
            world.run();
            // The hub may keep what one read has given.
            (flood.len() - ann.peer.wire.borrow().input.len()).saturating_sub(2048) / keys.len()
        };
        world.post(&ann.peer, &flood);
        let burst = taken(&mut world);
        assert!(burst <= 4 * 50, "{keys:?} {burst}");
        // All of it is taken in time.
        world.advance(500_000);
        assert!(ann.peer.wire.borrow().input.is_empty());
        assert!(!ann.peer.wire.borrow().is_closed);
    }
}

/// A client that takes nothing, with the longest line, in a window that shows most of it.
#[test]
fn its_memory_is_bounded() {
    let cases = [1024, 50_000].map(|bytes| [(bytes, false), (bytes, true)]);
    for (message_bytes_max, is_sized) in cases.concat() {
        for columns in [1, 2, 80] {
            let limits = Limits {
                message_bytes_max,
                log_bytes: 200_000,
                ..limits()
            };
            let mut world = World::new(limits);
            let bob = member(&mut world, "JOIN bob alive=tcp");
            let ann = Telnet::edited(&mut world, "TALK ann").peer;
            // Its last rows are shown only when it is left.
            let rows = (message_bytes_max / usize::from(columns)).max(2) as u16;
            world.send(&ann, &window(columns, rows));
            for line in 0..30 {
                let line = format!("{line}{}\r", "x".repeat(line * 20));
                world.send(&ann, line.as_bytes());
            }
            world.send(&ann, &vec![b'x'; message_bytes_max * 2]);
            world.set_space(&ann, 0);
            // The line is drawn, and drawn again: for another window, and for each answer.
            let sized = |keys: &[u8], less| [&window(columns, rows - less), keys].concat();
            match is_sized {
                true => world.send(&ann, &sized(b"\x7f\x01y", 1)),
                false => world.send(&ann, &[IAC, ARE_YOU_THERE].repeat(10)),
            }
            for round in 0..100 {
                let keys = [&b"\x7f\x01y"[..], b"/who\r", UP, b"\t", b"\x0c"][round % 5];
                world.send(&ann, &sized(keys, u16::from(round % 2 == 0)));
                say(&mut world, &bob, &"é".repeat(500));
                world.hub.assert_consistent(world.now());
            }
            world.hub.shut_down(world.now());
            world.hub.assert_consistent(world.now());
            assert!(!ann.wire.borrow().is_closed);
        }
    }
}

// Whatever happens

const SEEDS: u64 = 60;
const STEPS: usize = 150;

/// Two people edit their lines, programs come, speak and go, and connections take a few bytes at a time.
/// Whenever a terminal has taken everything, it shows what a program got and what the person typed, each
/// whole, and what is typed of the next line is whole and last.
#[test]
fn the_line_is_whole_and_last_whatever_happens() {
    play_seeds(SEEDS, |seed, _| Evening::new(seed).play());
}

/// A person whose line is edited, and what the test knows of it.
struct Typist {
    telnet: Telnet,
    name: &'static str,
    /// The letters that the person types, and nobody else.
    letters: RangeInclusive<u8>,
    /// What is typed of a line. It has no blanks.
    line: Vec<u8>,
    cursor: usize,
    /// The lines that were typed, since editing began.
    lines: Vec<String>,
    /// What the terminal has shown until then.
    rows_before: usize,
    /// How many events had happened until then.
    events_before: usize,
    /// Whether the connection takes everything.
    is_open: bool,
}

impl Typist {
    fn new(
        world: &mut World,
        (name, letters): (&'static str, RangeInclusive<u8>),
        columns: u16,
    ) -> Typist {
        let talk = format!("TALK {name} history=0");
        let mut telnet = Telnet::talk_at(world, &talk, columns, &AGREED);
        telnet.line(world, "/edit");
        Typist {
            rows_before: telnet.rows().len(),
            telnet,
            name,
            letters,
            line: Vec::new(),
            cursor: 0,
            lines: Vec::new(),
            events_before: 0,
            is_open: true,
        }
    }

    /// Presses keys, and notes what they do.
    fn press(&mut self, rng: &mut Rng) -> Vec<u8> {
        let keys: &[u8] = match rng.u8(..12) {
            0 => {
                self.cursor = self.cursor.saturating_sub(1);
                LEFT
            }
            1 => {
                self.cursor = self.line.len().min(self.cursor + 1);
                b"\x1b[C"
            }
            2 => {
                self.cursor = 0;
                b"\x1b[H"
            }
            3 => {
                self.cursor = self.line.len();
                b"\x05"
            }
            4 if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
                &[IAC, ERASE_CHARACTER]
            }
            5 => {
                self.line.drain(..std::mem::take(&mut self.cursor));
                b"\x15"
            }
            6 => {
                self.line.truncate(self.cursor);
                b"\x0b"
            }
            7 | 8 if !self.line.is_empty() => {
                self.lines
                    .push(String::from_utf8(std::mem::take(&mut self.line)).unwrap());
                self.cursor = 0;
                if rng.bool() { b"\r\n" } else { b"\r\0" }
            }
            9 if self.line.is_empty() => {
                self.lines.push("/who".into());
                b"/who\r\0"
            }
            _ => {
                let count = if rng.u8(..10) == 0 { 150 } else { 4 };
                let text: Vec<_> = (0..rng.usize(1..count))
                    .map(|_| rng.u8(self.letters.clone()))
                    .collect();
                let count = text.len().min(900 - self.line.len().min(900));
                let text = &text[..count];
                self.line
                    .splice(self.cursor..self.cursor, text.iter().copied());
                self.cursor += count;
                return text.to_vec();
            }
        };
        keys.to_vec()
    }

    /// Checks the screen of somebody whose connection has taken everything.
    fn check(&mut self, world: &mut World, events: &[String]) {
        self.telnet.receive(world);
        let line = String::from_utf8(self.line.clone()).unwrap();
        let rows = self.telnet.rows_above(&line, self.cursor);
        let (mut typed, mut happened) = (Vec::new(), Vec::<String>::new());
        for row in &rows[self.rows_before..] {
            match row.as_bytes() {
                [b'-', b'-', b' ', ..] => {}
                [_, _, b':', ..] => happened.push(row.clone()),
                [b'/', ..] => typed.push(row.clone()),
                [letter, ..] if self.letters.contains(letter) => typed.push(row.clone()),
                // What others say may take several rows.
                _ => happened.last_mut().unwrap().push_str(row),
            }
        }
        let columns = usize::from(self.telnet.terminal.columns());
        let lines = self.lines.iter().flat_map(|line| wrapped(line, columns));
        assert_eq!(typed, lines.collect::<Vec<_>>(), "{line} {rows:#?}");
        let own = format!(" {} ", self.name);
        let is_own = |event: &str| {
            event.starts_with("MSG ") && event.split_inclusive(' ').nth(3) == Some(&own[1..])
        };
        let events = events[self.events_before..].iter();
        let expected: Vec<_> = events
            .filter(|event| !is_own(event))
            .map(|event| seen(event))
            .collect();
        let happened: Vec<_> = happened.iter().map(|line| read(line)).collect();
        assert_eq!(happened, expected);
    }
}

struct Evening {
    rng: Rng,
    world: World,
    recorder: Peer,
    events: Vec<String>,
    typists: Vec<Typist>,
    programs: Vec<Peer>,
    guests: u32,
}

impl Evening {
    fn new(seed: u64) -> Evening {
        let mut rng = Rng::with_seed(seed);
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder alive=tcp");
        let programs =
            ["bob", "cy"].map(|name| member(&mut world, &format!("JOIN {name} alive=tcp")));
        let typists = [("ann", b'a'..=b'l'), ("zoe", b'n'..=b'z')].map(|who| {
            let columns = *rng.choice(&[64, 80, 132]).unwrap();
            Typist::new(&mut world, who, columns)
        });
        let mut evening = Evening {
            rng,
            world,
            recorder,
            events: Vec::new(),
            typists: typists.into(),
            programs: programs.into(),
            guests: 0,
        };
        evening.record();
        // Before zoe came, ann's editing had begun.
        let events = evening.events.len();
        evening.typists[0].events_before = events - 1;
        evening.typists[1].events_before = events;
        evening
    }

    fn record(&mut self) {
        self.events
            .extend(lines(&self.recorder).into_iter().filter(|line| {
                ["MSG ", "JOINED ", "LEFT "]
                    .iter()
                    .any(|word| line.starts_with(word))
            }));
    }

    fn play(&mut self) {
        for _ in 0..STEPS {
            let who = self.rng.usize(..2);
            match self.rng.u8(..10) {
                0..4 => {
                    let typist = &mut self.typists[who];
                    let keys = typist.press(&mut self.rng);
                    // One after the other, or together with what comes next.
                    match self.rng.bool() {
                        true => self.world.send(&typist.telnet.peer, &keys),
                        false => self.world.post(&typist.telnet.peer, &keys),
                    }
                }
                4..6 => {
                    let text = "m".repeat(self.rng.usize(1..40));
                    say(&mut self.world, &self.programs[who], &text);
                }
                6 => {
                    self.guests += 1;
                    let guest = member(&mut self.world, &format!("JOIN guest{}", self.guests));
                    self.world.send(&guest, b"QUIT\n");
                }
                7 => {
                    let typist = &mut self.typists[who];
                    typist.is_open = false;
                    self.world
                        .set_space(&typist.telnet.peer, self.rng.usize(..30));
                    typist.telnet.receive(&mut self.world);
                }
                8 => {
                    let typist = &mut self.typists[who];
                    typist.is_open = true;
                    self.world.set_space(&typist.telnet.peer, usize::MAX);
                }
                _ => self.world.advance(self.rng.u64(..300)),
            }
            self.world.run();
            self.world.hub.assert_consistent(self.world.now());
            self.record();
            for typist in self.typists.iter_mut().filter(|typist| typist.is_open) {
                typist.check(&mut self.world, &self.events);
            }
        }
        assert!(
            self.typists
                .iter()
                .all(|typist| !typist.telnet.peer.wire.borrow().is_closed)
        );
    }
}
