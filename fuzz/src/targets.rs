//! The fuzz targets: what each does with its bytes.

use std::collections::BTreeSet;

use chinwag::chat::keys::{self, KeyHash, Keys};
use chinwag::chat::{Kind, Origin};
use chinwag::hub::conn::READ_BYTES;
use chinwag::hub::line::Splitter;
use chinwag::link::mqtt::{self, Packet, Read};
use chinwag::link::payload::{self, EventId, Payload};
use chinwag::link::roster::Member;
use chinwag::link::topic::{self, Prefix, Topic, TopicOf};
use chinwag::protocol::{Abuse, Command, Limits, Mode, Name, OPERATORS_MAX, Request, is_permitted};

use super::cuts::{Cut, cut};
use super::eventful::{self, Record, eventful_state, records, state_of, token};
use super::world::{BOOT, Peer, World};

fn cut_fresh<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, line_bytes_max: usize) -> Vec<Cut> {
    cut(&mut Splitter::default(), chunks, line_bytes_max)
}

/// Checks that the line splitter yields the same items however the stream is cut. The first two
/// bytes say how long a line may be and how large the pieces are; the rest is the stream.
pub fn lines(bytes: &[u8]) {
    let [max, size, stream @ ..] = bytes else {
        return;
    };
    let max = 1 + usize::from(*max % 64);
    let cuts = cut_fresh([stream], max);
    assert_eq!(cut_fresh(stream.chunks(1), max), cuts);
    assert_eq!(cut_fresh(stream.chunks(1 + usize::from(*size)), max), cuts);
    let (head, tail) = stream.split_at(stream.len().min(usize::from(*size)));
    assert_eq!(cut_fresh([head, tail], max), cuts);

    let mut is_skipping = false;
    for (at, cut) in cuts.into_iter().enumerate() {
        match cut {
            // An interrupt may have silently ended the skipping.
            Cut::Line(line) => {
                is_skipping = false;
                assert!(line.len() <= max && !line.contains(&b'\n'));
            }
            Cut::TooLong => is_skipping = true,
            Cut::Skipped => assert!(std::mem::replace(&mut is_skipping, false)),
            Cut::Option(verb, option) => match verb {
                251 | 253 => {}
                252 | 254 => assert!([1, 3, 31].contains(&option)),
                _ => panic!("{verb} is none of WILL, WONT, DO and DONT"),
            },
            Cut::SignOfLife | Cut::AreYouThere | Cut::WindowSize(..) => {}
            Cut::Tls => assert!(at == 0 && stream[0] == 22),
        }
    }
}

/// Checks that the command parser makes one request of any line, and that the server gives it one
/// reply.
pub fn commands(line: &[u8]) {
    let limits = Limits::default();
    let mut replies = 1;
    match Request::read(line, &limits) {
        Request::Empty => {
            assert_eq!(line, b"");
            replies = 0;
        }
        Request::Command(command) => {
            // People get no OK.
            replies = usize::from(!matches!(command, Command::Talk(_)));
            let text = std::str::from_utf8(line).unwrap();
            assert!(!text.contains(|c: char| c.is_control() && c != '\t'));
            assert!(!text.contains(['\u{2028}', '\u{2029}']));
        }
        Request::Bad(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains(char::is_control));
        }
        Request::Abuse(abuse) => {
            assert_eq!(abuse, Abuse::Http);
            replies = 0;
        }
        Request::TooLong | Request::SignOfLife | Request::AreYouThere | Request::Edit { .. } => {
            panic!("no line makes this request")
        }
    }
    // The splitter changes some lines, and some only if they come first.
    let is_changed = |b: &u8| b"\r\n\xff\x08\x15\x7f".contains(b);
    let is_first =
        !line.starts_with("\u{feff}".as_bytes()) && !matches!(line.first(), Some(0 | 22));
    if line.len() > limits.line_bytes_max() || line.iter().any(is_changed) || !is_first {
        return;
    }
    let mut world = World::new(limits);
    let peer = world.connect();
    world.send(&peer, &[line, b"\n"].concat());
    let wire = peer.wire.borrow();
    let output = std::str::from_utf8(&wire.output).unwrap();
    let is_reply = |line: &&str| line.starts_with("OK ") || line.starts_with("ERR ");
    assert_eq!(output.lines().filter(is_reply).count(), replies, "{output}");
    world.hub.assert_consistent(world.now());
}

/// Checks that a users file is read without a panic, and that it lets in those whom it names and
/// nobody else. `$0` to `$9` stand for the hashes of the keys `0` to `9`, which fuzzing would
/// hardly find.
pub fn users(bytes: &[u8]) {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    let known: Vec<String> = (0..10).map(|digit| digit.to_string()).collect();
    for key in &known {
        text = text.replace(&format!("${key}"), &KeyHash::of(key).to_string());
    }
    let mut names = BTreeSet::new();
    let mut entries = Vec::new();
    let mut bad = None;
    for (index, line) in text.lines().enumerate() {
        match keys::parse_line(line) {
            Ok(None) => {}
            Ok(Some((name, hash))) if names.insert(name.folded()) => entries.push((name, hash)),
            _ => {
                bad = Some(index + 1);
                break;
            }
        }
    }
    match Keys::parse(&text) {
        Err(error) => {
            assert_eq!(Some(error.number), bad);
            assert!(!error.reason.is_empty());
        }
        Ok(keys) => {
            assert_eq!(bad, None);
            assert_eq!(keys.len(), entries.len());
            assert_eq!(keys.is_empty(), entries.is_empty());
            for (name, hash) in entries {
                assert_eq!(keys.get(name), Some(hash));
                for key in &known {
                    assert_eq!(keys.accepts(name, key), KeyHash::of(key) == hash);
                }
                assert!(!keys.accepts(name, ""));
            }
            let stranger = Name::parse("stranger").unwrap();
            if !names.contains(&stranger.folded()) {
                assert!(!known.iter().any(|key| keys.accepts(stranger, key)));
            }
        }
    }
}

/// Checks that bytes from a broker, and what boxes say, do no harm, and that whatever is read means the
/// same when it is written again. The first byte says how long a packet may be. The rest is the stream,
/// and is also what a box says, and a prefix of topics.
pub fn link(bytes: &[u8]) {
    let [max, stream @ ..] = bytes else {
        return;
    };
    let (bytes_max, prefix) = (usize::from(*max) * 8, Prefix::parse("c").unwrap());
    let mut rest = stream;
    while let Some(bytes) = packet(rest, bytes_max, &prefix) {
        rest = rest.get(bytes..).unwrap_or_default();
    }
    let name = Name::parse("den").unwrap();
    let text = std::str::from_utf8(stream).unwrap_or_default();
    let prefix = Prefix::parse(text);
    for topic in [
        Topic::Events { room: name },
        Topic::Digests { room: name },
        Topic::Here,
        Topic::Gone,
        Topic::Wants,
    ] {
        said(topic, stream);
        if let Ok(prefix) = &prefix {
            let of_box = TopicOf {
                prefix,
                name,
                topic,
            };
            let read = topic::read(prefix, &of_box.to_string());
            assert_eq!(read, Some((name, topic)));
        }
    }
}

/// Checks what a broker's stream begins with, and returns how many bytes that takes; `None` if nothing
/// can be read.
fn packet(stream: &[u8], bytes_max: usize, prefix: &Prefix) -> Option<usize> {
    let found = mqtt::read(stream, bytes_max);
    let (bytes, end) = match found {
        Ok(Read::Packet { bytes, .. }) => (Some(bytes), bytes),
        Ok(Read::Skip { bytes }) => (Some(bytes), bytes.min(stream.len())),
        Ok(Read::Incomplete) | Err(_) => (None, stream.len()),
    };
    // It means the same as soon as it means something.
    let beginnings = (0..end).map(|end| mqtt::read(&stream[..end], bytes_max));
    let mut beginnings = beginnings.skip_while(|read| *read == Ok(Read::Incomplete));
    assert!(beginnings.all(|read| read == found));
    assert_eq!(mqtt::read(&stream[..end], bytes_max), found);
    match found {
        Ok(Read::Packet { packet, bytes }) => {
            assert!(0 < bytes && bytes <= bytes_max);
            if let Packet::Publish { topic, payload } = packet {
                published(topic, payload, prefix);
            }
        }
        Ok(Read::Skip { bytes }) => assert!(bytes > 0),
        Ok(Read::Incomplete) => {}
        Err(malformed) => assert!(!malformed.0.is_empty()),
    }
    bytes
}

/// Checks a message from a broker.
fn published(topic: &str, payload: &[u8], prefix: &Prefix) {
    if let Ok(text) = std::str::from_utf8(payload) {
        let mut packet = Vec::new();
        mqtt::write_publish(format_args!("{topic}"), format_args!("{text}"), &mut packet);
        let bytes = packet.len();
        let packet = mqtt::read(&packet, bytes);
        let message = Packet::Publish { topic, payload };
        let packet_of = |packet| Ok(Read::Packet { packet, bytes });
        assert_eq!(packet, packet_of(message));
    }
    if let Some((name, what)) = topic::read(prefix, topic) {
        let of_box = TopicOf {
            prefix,
            name,
            topic: what,
        };
        assert_eq!(of_box.to_string(), topic);
        said(what, payload);
    }
}

/// Checks what a box says.
fn said(topic: Topic, payload: &[u8]) {
    let id = EventId::of_event(payload);
    let Some(payload) = Payload::read(topic, payload) else {
        return;
    };
    if let Payload::Event { id: found, .. } = payload {
        assert_eq!(id, Some(found));
    }
    let line = payload.to_string();
    assert!(line.chars().all(is_permitted));
    assert_eq!(Payload::read(topic, line.as_bytes()), Some(payload));
    if let Payload::Members { names, .. } = payload {
        for member @ Member { name, mode } in payload::members(names).flatten() {
            let word = match mode {
                Mode::Push => name.to_string(),
                Mode::Pull => format!("{name}/pull"),
            };
            assert!(payload::members(&word).eq([Some(member)]));
        }
    }
}

/// What comes of what a person types.
#[derive(Debug, PartialEq)]
struct Talked {
    /// The lines that the person's client got: the server's own, and those of events, which a reply may
    /// overtake. `None` if the server has offered to edit lines, since what it draws then depends on
    /// how the keys came.
    to_person: Option<(Vec<String>, Vec<String>)>,
    /// What a program in the room got.
    to_program: Vec<u8>,
    is_closed: bool,
}

/// Sends a stream in pieces to a connection in talk form.
fn talk_in<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Talked {
    let mut world = World::new(Limits {
        lines_per_s: 0,
        ..Limits::default()
    });
    let program = world.connect();
    world.send(&program, b"JOIN bot history=0 alive=tcp\n");
    program.wire.borrow_mut().output.clear();
    let person = world.connect();
    world.send(&person, b"TALK ann history=0\n");
    person.wire.borrow_mut().output.clear();
    for piece in pieces {
        world.send(&person, piece);
        world.hub.assert_consistent(world.now());
    }
    let mut wire = person.wire.borrow_mut();
    let is_offered = offers_to_edit(&wire.output);
    let mut to_person = std::mem::take(&mut wire.output);
    let to_program = std::mem::take(&mut program.wire.borrow_mut().output);
    let to_person = (!is_offered).then(|| {
        drop_negotiations(&mut to_person);
        let text = String::from_utf8(to_person).unwrap();
        let lines = text.split_terminator("\r\n").map(str::to_owned);
        lines.partition(|line| line.starts_with("-- "))
    });
    Talked {
        to_person,
        to_program,
        is_closed: wire.is_closed,
    }
}

/// Checks that nothing that a person types does harm, and that it means the same however it is cut.
/// The first byte says how large the pieces are; the rest is what the person types.
pub fn talk(bytes: &[u8]) {
    let [size, stream @ ..] = bytes else {
        return;
    };
    let talked = talk_in([stream].into_iter());
    assert_eq!(talk_in(stream.chunks(1)), talked);
    assert_eq!(talk_in(stream.chunks(1 + usize::from(*size))), talked);

    let events = String::from_utf8(talked.to_program).unwrap();
    let is_event = |line: &str| {
        ["MSG ", "JOINED ", "LEFT "]
            .iter()
            .any(|e| line.starts_with(e))
    };
    assert!(events.split_terminator("\r\n").all(is_event), "{events}");
    if let Some((own, events)) = talked.to_person {
        let is_clean = |line: &String| !line.contains(char::is_control);
        assert!(
            own.iter().chain(&events).all(is_clean),
            "{own:?} {events:?}"
        );
        // A time, or the indent of a row that goes on.
        let digits = |row: &String| row.bytes().take(5).filter(u8::is_ascii_digit).count();
        let is_row = |row: &String| digits(row) == 4 || row.starts_with("      ");
        assert!(events.iter().all(is_row), "{events:?}");
    }
}

/// The most connections that a program of [`core`] has at once.
const PEERS: usize = 8;
/// The end of time.
const MILLIS_MAX: u64 = 1 << 45;
/// The longest time until nothing is left of anybody: as many lines as a connection reads at once,
/// at the slowest rate, and then the longest idle time and the longest time that a room is kept.
const MILLIS_TO_GO: u64 = (READ_BYTES as u64 + 201) * 1000;

/// Makes the core carry out a small program. The first bytes are the limits; then come steps, each
/// a byte and its operands. After each step the core must be consistent, and in the end, when every
/// client has left, nothing may remain.
pub fn core(bytes: &[u8]) {
    let mut program = Program(bytes);
    let mut play = Play {
        world: World::new(limits(&mut program)),
        peers: vec![None; PEERS],
        is_edited: [false; PEERS],
        is_operator: [false; PEERS],
        tokens: Vec::new(),
    };
    while !program.0.is_empty() {
        play.step(&mut program);
        play.world.run();
        play.check_output();
        let now = play.world.now();
        play.world.hub.assert_consistent(now);
    }
    for peer in play.peers.iter().flatten() {
        // The server still answers what it has read, no faster than the rate allows.
        peer.wire.borrow_mut().input.clear();
        play.world.reset(peer);
    }
    play.world.advance(MILLIS_TO_GO);
    let now = play.world.now();
    play.world.hub.assert_consistent(now);
    assert!(play.world.hub.is_empty());
    assert_eq!(play.world.hub.chat().sessions(), 0);
    assert_eq!(play.world.hub.next_deadline(), None);
}

fn limits(program: &mut Program<'_>) -> Limits {
    let (times, counts, sizes) = (program.byte(), program.byte(), program.byte());
    let bits = |of: u8, from: u8, width: u8| usize::from(of >> from & ((1 << width) - 1));
    Limits {
        idle_s: [1, 5, 60, 3600][bits(times, 0, 2)],
        idle_max_s: [1, 3, 20, 100][bits(times, 2, 2)],
        handshake_s: [1, 4, 30, 100][bits(times, 4, 2)],
        lines_per_s: [0, 1, 7, 5000][bits(times, 6, 2)],
        connections_max: 1 + bits(counts, 0, 3),
        operators_max: OPERATORS_MAX,
        sessions_max: 1 + bits(counts, 3, 3),
        rooms_max: 1 + bits(counts, 6, 2),
        is_linked: false,
        rooms_permanent: 0,
        per_address_max: 1 + bits(sizes, 0, 3),
        log_bytes: [4096, 65536][bits(sizes, 3, 1)],
        keep_rooms_s: [0, 1, 30, 100][bits(sizes, 5, 2)],
        message_bytes_max: [1024, 10][bits(sizes, 4, 1)],
    }
}

struct Program<'a>(&'a [u8]);

impl<'a> Program<'a> {
    /// Takes the next byte, or 0 if there is none left.
    fn byte(&mut self) -> u8 {
        let (&byte, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        byte
    }

    /// Takes a string, which follows its length.
    fn text(&mut self) -> &'a [u8] {
        let len = self.0.len().min(self.byte().into()).min(self.0.len());
        let (text, rest) = self.0.split_at(len);
        self.0 = rest;
        text
    }

    /// Takes how many bytes a stream has space for.
    fn space(&mut self) -> usize {
        match self.byte() {
            255 => usize::MAX,
            some => usize::from(some) * 16,
        }
    }

    fn millis(&mut self) -> u64 {
        let (bit, more) = (self.byte() % 32, u64::from(self.byte()));
        (1 << bit) + more
    }
}

struct Play {
    world: World,
    peers: Vec<Option<Peer>>,
    /// Those to which the server has offered to edit lines: what it draws is not made of lines.
    is_edited: [bool; PEERS],
    /// Those that are on the operator's socket.
    is_operator: [bool; PEERS],
    tokens: Vec<String>,
}

impl Play {
    fn step(&mut self, program: &mut Program<'_>) {
        let (what, who) = (program.byte(), program.byte());
        match what % 16 {
            0 => return self.connect(who, program),
            1 => return self.set_keys(who),
            2 => {
                let ms = program.millis();
                if self.world.at + ms < MILLIS_MAX {
                    self.world.advance(ms);
                }
                return;
            }
            3 => {
                let ms = program.millis();
                if self.world.at + ms < MILLIS_MAX {
                    self.world.stop_for(ms);
                }
                return;
            }
            4 if who == 255 => {
                let now = self.world.now();
                self.world.hub.shut_down(now);
                return;
            }
            _ => {}
        }
        let slot = usize::from(who) % PEERS;
        if let Some(peer) = self.peers[slot].clone() {
            match what % 16 {
                13.. if self.is_operator[slot] => {
                    let line = operator_line(program.byte());
                    self.world.send(&peer, line.as_bytes());
                }
                what => self.step_of(&peer, what, program),
            }
        }
    }

    /// Takes a step that concerns one connection.
    fn step_of(&mut self, peer: &Peer, what: u8, program: &mut Program<'_>) {
        match what {
            4 | 5 => {
                let space = program.space();
                self.world.set_space(peer, space);
            }
            6 => self.world.reset(peer),
            7 => self.world.end(peer),
            8 => self.world.send(peer, program.text()),
            9 => self.world.post(peer, program.text()),
            10 => {
                let count = program.byte();
                let text = program.text();
                self.world.send(peer, &text.repeat(count.into()));
            }
            11 => {
                let index = usize::from(program.byte());
                let after = program.byte();
                let Some(token) = self.tokens.get(index % self.tokens.len().max(1)) else {
                    return;
                };
                let after = match after {
                    0 => String::new(),
                    after => format!(" after={after}"),
                };
                let line = format!("RESUME {token}{after}\n");
                self.world.send(peer, line.as_bytes());
            }
            12 | 13 => {
                let line = join(program.byte(), program.byte());
                self.world.send(peer, line.as_bytes());
            }
            14 => {
                let line = line(program.byte());
                self.world.send(peer, line.as_bytes());
            }
            _ => {
                let line = talk_line(program.byte());
                self.world.send(peer, line.as_bytes());
            }
        }
    }

    fn connect(&mut self, who: u8, program: &mut Program<'_>) {
        let slot = &mut self.peers[usize::from(who) % PEERS];
        if slot.is_some() {
            return;
        }
        self.is_edited[usize::from(who) % PEERS] = false;
        self.world.origin = match who >> 3 & 3 {
            0 => Origin::Local,
            1 => Origin::V4([10, 0, 0, who >> 5]),
            2 => Origin::V4([127, 0, 0, 1]),
            _ => Origin::V6([who >> 5; 8]),
        };
        let is_operator = who >> 3 == 0b11100;
        self.is_operator[usize::from(who) % PEERS] = is_operator;
        let space = program.space();
        *slot = Some(match is_operator {
            true => self.world.connect_operator_with_space(space),
            false => self.world.connect_with_space(space),
        });
    }

    /// Gives some names one of two keys each, or lets anybody join.
    fn set_keys(&mut self, which: u8) {
        let names = (0..4_u8).filter(|name| which >> name & 1 == 1);
        let key = |name: u8| KeyHash::of(&format!("k{}", which >> (4 + name % 2) & 1));
        let text: String = names
            .map(|name| format!("n{name}:{}\n", key(name)))
            .collect();
        let keys = (which < 64).then(|| Keys::parse(&text).unwrap());
        let now = self.world.now();
        self.world.hub.set_keys(keys, now);
    }

    /// Checks that every connection receives whole lines of text, and only the last may be
    /// incomplete.
    fn check_output(&mut self) {
        for (slot, is_edited) in self.peers.iter_mut().zip(&mut self.is_edited) {
            let Some(peer) = slot else { continue };
            let mut wire = peer.wire.borrow_mut();
            *is_edited |= offers_to_edit(&wire.output);
            if *is_edited {
                wire.output.clear();
            }
            drop_negotiations(&mut wire.output);
            // The beginning of a line waits for the rest.
            let end = wire.output.iter().rposition(|&b| b == b'\n');
            let rest = wire.output.split_off(end.map_or(0, |end| end + 1));
            let lines = std::mem::replace(&mut wire.output, rest);
            let mut is_over = false;
            for line in std::str::from_utf8(&lines).unwrap().split_terminator('\n') {
                let line = line.strip_suffix('\r').unwrap();
                assert!(
                    !line.contains(|c: char| c.is_control() && c != '\t'),
                    "{line:?}"
                );
                assert!(!is_over, "after BYE came {line:?}");
                is_over = line.starts_with("BYE ");
                let token = line.strip_prefix("OK JOIN session=");
                self.tokens
                    .extend(token.map(|rest| rest.split(' ').next().unwrap().into()));
            }
            assert!(
                !is_over || wire.output.is_empty(),
                "something came after BYE"
            );
            let is_closed = wire.is_closed;
            drop(wire);
            if is_closed {
                *slot = None;
            }
        }
    }
}

/// Whether the server offers to echo what a person types, which it does to edit lines.
fn offers_to_edit(output: &[u8]) -> bool {
    output.windows(3).any(|bytes| bytes == [255, 251, 1])
}

/// Removes the answers to telnet's offers, the only bytes that are not text.
fn drop_negotiations(output: &mut Vec<u8>) {
    while let Some(at) = output.iter().position(|&b| b == 255) {
        if output.len() < at + 3 {
            return;
        }
        output.drain(at..at + 3);
    }
}

/// A JOIN with one of a few names and rooms; the bits choose them and the options.
fn join(who: u8, how: u8) -> String {
    let (name, room, key) = (who & 3, who >> 2 & 3, who >> 4 & 3);
    let mode = ["push", "pull"][usize::from(how & 1)];
    let alive = ["ping", "tcp"][usize::from(how >> 1 & 1)];
    let history = how >> 2 & 3;
    let idle = [1, 2, 10, 1000][usize::from(how >> 4 & 3)];
    let quiet = ["", " quiet=yes"][usize::from(how >> 6 & 1)];
    // One of the first logs, if the bits say so.
    let log = BOOT.nth(u64::from(who >> 6));
    let since = match how >> 7 {
        0 => String::new(),
        _ => format!(" after={history} log={log}"),
    };
    format!(
        "JOIN n{name} room=r{room} key=k{key} mode={mode} alive={alive} history={history} \
         idle={idle}{quiet}{since}\n"
    )
}

/// A TALK with one of the same names, rooms and keys, or what a person types after it.
fn talk_line(which: u8) -> String {
    let (name, room, key) = (which & 3, which >> 2 & 3, which >> 4 & 3);
    match which >> 6 {
        0 => format!("TALK n{name} room=r{room} key=k{key} history={key}\n"),
        1 => format!("TALK n{name} room=r{room} idle={}\n", 1 + key * 5),
        2 => format!("/room r{room}\n"),
        _ => match which & 7 {
            0 => "/who\n".into(),
            1 => "/rooms\n".into(),
            2 => "/again\n".into(),
            3 => format!("/me {}\n", "d".repeat(usize::from(which >> 3 & 7) * 64)),
            4 => format!("{}\n", "t".repeat(usize::from(which >> 3 & 7) * 128)),
            5 => "/help\n/nonsense\n\n".into(),
            6 => "//\n/again 1000000\n".into(),
            _ => "/quit\n".into(),
        },
    }
}

/// What the operator sends, about the same names and rooms.
fn operator_line(which: u8) -> String {
    let (name, room, more) = (which & 3, which >> 2 & 3, which >> 5);
    match which >> 4 & 7 {
        0 => format!("END r{room} n{name}\n"),
        1 => format!("END r{room} n{name}@b\nSESSIONS\n"),
        2 => "SESSIONS\n".into(),
        3 => format!("SESSIONS after=r{room}/n{name}\n"),
        4 => format!(
            "TELL-ALL {}\n",
            "t".repeat(1 + usize::from(which & 15) * 80)
        ),
        5 => format!("TELL-ALL {more}\nTELL-ALL {more}\nSTATS\n"),
        6 => "STATS\nHELP\nJOIN n0\n".into(),
        _ => "QUIT\n".into(),
    }
}

/// One of the other lines, which fuzzing would hardly find by itself.
fn line(which: u8) -> String {
    let more = which >> 4;
    match which & 15 {
        0 => "LEAVE\n".into(),
        1 => "DETACH\n".into(),
        2 => "QUIT\n".into(),
        3 => format!("POLL max={}\n", 1 + more * 7),
        4 => format!("POLL wait={more}\n"),
        5 => format!("POLL wait={more} after={more}\n"),
        6 => "WHO\n".into(),
        7 => "ROOMS\n".into(),
        8 => "STATS\n".into(),
        9 => "HELP\n".into(),
        10 => "\n".into(),
        11 => "nonsense\n".into(),
        12 => format!("PING {}\n", "p".repeat(usize::from(more) * 100)),
        13 => format!("SAY {}\n", "s".repeat(usize::from(more) * 64)),
        14 => format!("SAY {more}\nPOLL\n"),
        _ => "s".repeat(usize::from(more) * 200),
    }
}

/// The last record of a state: how many came before it.
const DONE: [u8; 4] = *b"DONE";
/// The longest time that a session and then a room may stay without a sign of life, and more.
const MILLIS_TO_FORGET: u64 = 1 << 43;
/// A server that begins later comes to an end of time that no server has seen.
const LATEST_START_MS: u64 = 1 << 42;

/// Checks that no bytes do harm if a server begins with them as its state, and that a server that begins
/// goes on as any other. The first byte chooses the kind, and the others are edits of a state that is good
/// but for them, or a whole state.
pub fn states(bytes: &[u8]) {
    let mut program = Program(bytes);
    let how = program.byte();
    let limits = match how >> 2 & 1 {
        0 => eventful::limits(),
        _ => limits(&mut program),
    };
    let state = match how & 3 {
        0 => edited(Kind::Upgrade, &mut program),
        1 => edited(Kind::Stop, &mut program),
        2 => edited(Kind::Running, &mut program),
        _ => program.0.to_vec(),
    };
    let mut world = World::new(limits);
    if world.begin_with(&state).is_err() || world.at > LATEST_START_MS {
        return;
    }
    // Timers that are due have not fired yet.
    if world
        .hub
        .next_deadline()
        .is_none_or(|when| when.0 > world.at)
    {
        world.hub.assert_consistent(world.now());
    }
    live_on(&mut world);
}

/// A good state of a kind, changed as a program says.
fn edited(kind: Kind, program: &mut Program<'_>) -> Vec<u8> {
    thread_local! {
        static GOOD: [Vec<Record>; 3] =
            [Kind::Upgrade, Kind::Stop, Kind::Running].map(|kind| records(&eventful_state(kind)));
    }
    let mut records = GOOD.with(|good| good[kind as usize].clone());
    while !program.0.is_empty() && !records.is_empty() {
        edit(&mut records, program);
    }
    // Most edits are to be found by what they do, and not by the count of records.
    if let Some((Record { tag: DONE, fields }, before)) = records.split_last_mut() {
        fields.splice(.., (before.len() as u64).to_le_bytes());
    }
    state_of(&records)
}

/// Changes records, their order, or bytes in one of them.
fn edit(records: &mut Vec<Record>, program: &mut Program<'_>) {
    let (what, at) = (program.byte(), usize::from(program.byte()) % records.len());
    let fields = &mut records[at].fields;
    let offset = usize::from(program.byte()) | usize::from(program.byte()) << 8;
    let offset = offset % (fields.len() + 1);
    let other = usize::from(program.byte());
    let numbers: [u64; 8] = [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 62, 1 << 44, 1_000_000];
    match what % 12 {
        0 => _ = records.remove(at),
        1 => records.insert(other % records.len(), records[at].clone()),
        2 => {
            let record = records.remove(at);
            records.insert(other % (records.len() + 1), record);
        }
        3 => fields.truncate(offset),
        4 => _ = fields.splice(offset..offset, program.text().iter().copied()),
        5 => _ = fields.drain(offset..(offset + other).min(fields.len())),
        6 => put(fields, offset, &numbers[other % 8].to_le_bytes()),
        7 => put(fields, offset, &(numbers[other % 8] as u32).to_le_bytes()),
        8 => put(fields, offset, program.text()),
        9 => {
            if let Some(byte) = fields.get_mut(offset) {
                *byte = byte.wrapping_add(other as u8);
            }
        }
        10 => {
            // A value of another place, for example another key.
            let from = usize::from(program.byte()) % records.len();
            let from = &records[from].fields;
            let start = other % (from.len() + 1);
            let value = from[start..(start + 8).min(from.len())].to_vec();
            let len = [4, 8][usize::from(what / 12 % 2)];
            let value = &value[..value.len().min(len)];
            put(&mut records[at].fields, offset, value);
        }
        _ => records[at].tag[other % 4] = program.byte(),
    }
}

/// Overwrites bytes from an offset on, as many as there are.
fn put(fields: &mut [u8], offset: usize, bytes: &[u8]) {
    let rest = &mut fields[offset..];
    let len = rest.len().min(bytes.len());
    rest[..len].copy_from_slice(&bytes[..len]);
}

/// Checks that a server that has begun with a state goes on, can be upgraded and stopped at any time, and
/// keeps nothing when everybody has gone.
fn live_on(world: &mut World) {
    world.run();
    settle(world);
    let clients: Vec<Peer> = (0..6).map(|_| world.connect()).collect();
    for (slot, client) in (0..).zip(&clients) {
        let after = ["", " after=1", " after=1000001"][slot as usize % 3];
        let lines = format!("RESUME {}{after}\nSAY back\nPOLL\nWHO\n", token(slot));
        world.send(client, lines.as_bytes());
    }
    world.send(
        &clients[5],
        b"JOIN ann room=attic key=a history=9\nJOIN new room=den history=9\n",
    );
    for wire in world.wires.clone() {
        wire.borrow_mut().space = usize::MAX;
    }
    for client in &clients {
        world.open(client);
    }
    world.run();
    settle(world);
    world.send(
        &clients[4],
        b"ROOMS\nSTATS\nPOLL wait=9\nTALK zoe room=den\n",
    );
    for ms in [1, 1000, 60_000, 3_600_000] {
        world.advance(ms);
        settle(world);
    }
    world.hub.begin_save();
    let _ = world.save(Kind::Running);
    world.hub.end_save(true);
    world.restart();
    world.advance(MILLIS_TO_FORGET);
    let now = world.now();
    world.hub.assert_consistent(now);
    assert!(world.hub.is_empty());
    assert_eq!(world.hub.chat().sessions(), 0);
    assert_eq!(world.hub.next_deadline(), None);
}

/// Checks that the core is consistent, and replaces it by what it saves.
fn settle(world: &mut World) {
    let now = world.now();
    world.hub.assert_consistent(now);
    world.upgrade();
    world.run();
}
