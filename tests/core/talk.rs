//! What people see in talk form: nothing but what happened, all of it, and nobody's text as the
//! server's.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use chinwag::chat::Origin;
use chinwag::chat::SessionKey;
use chinwag::chat::keys::{KeyHash, Keys};
use chinwag::hub::Hub;
use chinwag::protocol::{
    Bye, Command, LeaveReason, Limits, Name, Output, REPLY_BYTES_MAX, Request, is_visible,
};
use chinwag::talk::Form;
use chinwag::time::Zone;
use fastrand::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use unicode_width::UnicodeWidthChar;

use crate::members::{limits, lines, member, text};
use crate::seeds::{cases, play_seeds};
use crate::world::{BOOT, Peer, World};

/// Connects a person, who sends a line of TALK, and leaves what they get unread.
fn person(world: &mut World, talk: &str) -> Peer {
    let peer = world.connect();
    world.send(&peer, format!("{talk}\n").as_bytes());
    assert!(peer.wire.borrow().output.starts_with(b"HELLO "));
    let mut wire = peer.wire.borrow_mut();
    let end = wire.output.iter().position(|&b| b == b'\n').unwrap();
    wire.output.drain(..=end);
    assert!(wire.output.starts_with(b"-- "), "{talk} was refused");
    drop(wire);
    peer
}

/// Puts the rows of each message together, with a space where a row ends.
fn unwrapped(shown: &str) -> String {
    shown.replace("\r\n      ", " ")
}

/// The text with a space for each blank: where a row ends, nobody can tell which blank it was.
fn with_spaces(text: &str) -> String {
    let is_blank = |c: char| c == '\t' || c.width().unwrap_or(0) > 0 && !is_visible(c);
    text.chars()
        .map(|c| if is_blank(c) { ' ' } else { c })
        .collect()
}

/// A line that a person sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// A member says or does something: whether it is done, the name, and the text.
    Member(bool, String, String),
    /// A member came, or left with a reason.
    Moved(String, Option<LeaveReason>),
    /// Only the server begins a line with this.
    Server(String),
}

/// The words with which people learn why somebody has left; `None` stands for coming.
fn moves() -> impl Iterator<Item = (&'static str, Option<LeaveReason>)> {
    let left = |reason| match reason {
        LeaveReason::Left | LeaveReason::Quit => " left",
        LeaveReason::Expired => " timed out",
        LeaveReason::Slow => " left: read nothing for too long",
        LeaveReason::Replaced => " left: the name was taken back",
        LeaveReason::Ended => " left: the operator ended it",
        LeaveReason::Crashed => " left: the server crashed",
    };
    let leaving = LeaveReason::ALL.map(|reason| (left(reason), Some(reason)));
    [(" came", None)].into_iter().chain(leaving)
}

/// Reads a line as a person reads it who knows nothing but the form.
pub fn read(line: &str) -> Shown {
    if let Some(rest) = line.strip_prefix("-- ") {
        return Shown::Server(rest.into());
    }
    let clock = line.get(..6).unwrap_or_else(|| panic!("what is {line:?}?"));
    let shape = clock.replace(|c: char| c.is_ascii_digit(), "0");
    assert_eq!(shape, "00:00 ", "{line:?}");
    let rest = &line[6..];
    let is_name = |name: &str| Name::parse(name).is_some();
    if let Some(moved) = rest.strip_prefix("-- ") {
        let ends_with = |(words, reason): (&str, _)| {
            let name = moved.strip_suffix(words).filter(|name| is_name(name))?;
            Some(Shown::Moved(name.into(), reason))
        };
        return moves()
            .find_map(ends_with)
            .unwrap_or_else(|| panic!("{line:?}"));
    }
    let said = rest.strip_prefix('<').and_then(|r| r.split_once("> "));
    let done = rest.strip_prefix("* ").and_then(|r| r.split_once(' '));
    let (name, text) = said.or(done).unwrap_or_else(|| panic!("{line:?}"));
    assert!(is_name(name), "{line:?}");
    Shown::Member(said.is_none(), name.into(), with_spaces(text))
}

/// How people see an event that a program got as this line.
pub fn seen(event: &str) -> Shown {
    let words: Vec<_> = event.splitn(5, ' ').collect();
    let (name, rest) = (words[3].to_owned(), words.get(4).copied());
    match (words[0], rest) {
        ("MSG", Some(text)) => match text.get(..4) {
            Some(me) if me.eq_ignore_ascii_case("/me ") && !text[4..].trim().is_empty() => {
                Shown::Member(true, name, with_spaces(&text[4..]))
            }
            _ => Shown::Member(false, name, with_spaces(text)),
        },
        ("JOINED", None) => Shown::Moved(name, None),
        ("LEFT", Some(word)) => {
            let reason = LeaveReason::ALL.into_iter().find(|r| r.as_str() == word);
            // People see no difference between these two.
            let reason = reason.map(|reason| match reason {
                LeaveReason::Quit => LeaveReason::Left,
                other => other,
            });
            Shown::Moved(name, Some(reason.unwrap()))
        }
        _ => panic!("no event: {event}"),
    }
}

/// Texts that try to look like something else, and any others.
fn text_to_say() -> impl Strategy<Value = String> {
    let pieces = [
        "-- ",
        "--",
        "17:32 ",
        "09:56 ",
        "<ann> ",
        "* ",
        "ann",
        "/me ",
        "/ME ",
        "/me",
        "\t",
        "  ",
        " ",
        "> ",
        "came",
        "left",
        "goodbye",
        "\u{a0}",
        "\u{3000}",
        "\u{200b}",
        "\u{feff}",
        "e\u{301}",
        "// ",
        "/who",
        "MSG 4 1763800000000 ann ",
        "LOST 4 8",
        "漢字",
        "\u{1f600}",
    ];
    prop_oneof![
        vec(select(pieces.to_vec()), 1..8).prop_map(|pieces| pieces.concat()),
        "[\\PC\t]{1,60}",
    ]
}

proptest! {
    #![proptest_config(cases(500))]

    /// G35: whatever members are called and say, each line that a person sees is of the member that it
    /// names, or of the server, and it says what the member said, but for blanks where rows end.
    #[test]
    fn nobodys_text_looks_like_the_servers(
        names in vec("[A-Za-z0-9][A-Za-z0-9_-]{0,23}", 3),
        texts in vec((0..3_usize, text_to_say()), 1..12),
    ) {
        let mut world = World::new(limits());
        let recorder = member(&mut world, "JOIN recorder");
        let ann = person(&mut world, "TALK ann history=0");
        let mut members = Vec::new();
        for (index, name) in names.iter().enumerate() {
            // Half of them are people themselves; names may be taken.
            let peer = world.connect();
            let verb = ["JOIN", "TALK"][index % 2];
            world.send(&peer, format!("{verb} {name}\n").as_bytes());
            members.push((peer, verb));
        }
        for (who, text) in &texts {
            let (peer, verb) = &members[*who];
            let line = match *verb {
                "JOIN" => format!("SAY {text}"),
                _ => format!("{}{text}", if text.starts_with('/') { "/" } else { "" }),
            };
            world.send(peer, format!("{line}\n").as_bytes());
        }
        // The first of these events is ann's coming.
        let events = lines(&recorder);
        let expected: Vec<_> = events[1..].iter().map(|event| seen(event)).collect();
        let shown = text(&ann);
        // Nothing but CR LF ends a line, wherever it is looked for.
        assert_eq!(shown.lines().count(), shown.matches("\r\n").count());
        assert!(!shown.contains(|c: char| c.is_control() && !"\t\r\n".contains(c)));
        let shown = unwrapped(&shown);
        let shown: Vec<_> = shown.split_terminator("\r\n").skip(2).map(read).collect();
        assert_eq!(shown, expected);
    }

    /// The same for what a person types, which programs get as it was meant.
    #[test]
    fn what_a_person_types_is_a_command_or_said_byte_for_byte(line in text_to_say()) {
        let limits = Limits::default();
        match Form::Talk.read(line.as_bytes(), &limits) {
            Request::Command(Command::Say(said)) => {
                assert_eq!(said, line.strip_prefix('/').filter(|_| line.starts_with("//")).unwrap_or(&line));
                let again = format!("SAY {said}");
                let said = Request::Command(Command::Say(said));
                assert_eq!(Request::read(again.as_bytes(), &limits), said);
            }
            Request::Command(command) => assert!(line.starts_with('/'), "{command:?}"),
            Request::Empty => assert_eq!(line.trim(), ""),
            Request::Edit { .. } => assert!(line.starts_with("/edit")),
            Request::Bad(error) => {
                let text = error.to_string();
                assert!(!text.is_empty() && !text.contains(char::is_control));
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_goodbye_is_one_line_in_words() {
    for bye in Bye::ALL {
        let mut out = Vec::new();
        Form::Talk.write(&Output::Bye(bye), &mut out);
        let line = String::from_utf8(out).unwrap();
        let words = line.strip_suffix("\r\n").unwrap();
        assert!(matches!(read(words), Shown::Server(_)), "{line}");
        assert!(
            words.starts_with("-- goodbye") && !words.contains('\n'),
            "{line}"
        );
    }
    let mut world = World::new(limits());
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    world.hub.shut_down(world.now());
    assert_eq!(text(&ann), "-- goodbye: the server is shutting down\r\n");
    assert!(ann.wire.borrow().is_closed);
}

const SEEDS: u64 = 40;
const STEPS: usize = 250;
const PEOPLE: usize = 4;
const PROGRAMS: usize = 3;
const ROOMS: usize = 3;

/// G34 and G36: people and programs come, speak, go to other rooms, are cut off, and come back, over connections
/// that take a few bytes at a time. What each person is shown has to be what a program in the room
/// got, in the same order and whole, apart from what the person has typed; a line says how many
/// events are gone; and what a client may not have taken before its connection broke is shown again.
#[test]
fn people_see_what_programs_get_whatever_happens() {
    play_seeds(SEEDS, |seed, log| Gathering::new(seed).play(log));
}

/// A person's stay in a room on one connection.
#[derive(Clone, Debug)]
struct Stay {
    room: usize,
    /// The numbers with which what they see may begin.
    begins: RangeInclusive<u64>,
    /// From this number on, their own lines are not shown.
    own_from: u64,
}

#[derive(Debug, Default)]
struct Person {
    name: String,
    peer: Option<Peer>,
    /// The room in which they are, attached or not.
    room: Option<usize>,
    /// The stays that the server has begun and may not have told of yet.
    to_come: VecDeque<Stay>,
    stay: Option<Stay>,
    /// The numbers of the events that may come next.
    next: BTreeSet<u64>,
    /// For each line of the stay, how many bytes had been sent with it, and the highest of these
    /// numbers then.
    next_at: Vec<(usize, u64)>,
    /// How much of what was sent has been looked at.
    read: usize,
    /// With which event it may go on when they come back.
    goes_on: Option<RangeInclusive<u64>>,
}

struct Gathering {
    rng: Rng,
    world: World,
    people: Vec<Person>,
    programs: Vec<Option<Peer>>,
    /// A program in each room that takes everything, and what it has got: all of the room's events.
    recorders: Vec<Peer>,
    rooms: Vec<Vec<String>>,
    messages: u64,
}

impl Gathering {
    fn new(seed: u64) -> Gathering {
        let mut rng = Rng::with_seed(seed);
        let log_bytes = if rng.bool() { 4096 } else { 65536 };
        let mut world = World::new(Limits {
            log_bytes,
            ..limits()
        });
        let recorders = (0..ROOMS).map(|room| {
            let peer = world.connect();
            let join = format!("JOIN recorder room=r{room} alive=tcp\n");
            world.send(&peer, join.as_bytes());
            peer
        });
        let recorders = recorders.collect();
        let people = (0..PEOPLE).map(|who| Person {
            name: format!("ann{who}"),
            ..Person::default()
        });
        Gathering {
            rng,
            world,
            people: people.collect(),
            programs: (0..PROGRAMS).map(|_| None).collect(),
            recorders,
            rooms: vec![Vec::new(); ROOMS],
            messages: 0,
        }
    }

    fn play(&mut self, log: &mut Vec<String>) {
        for _ in 0..STEPS {
            let step = match self.rng.usize(..PEOPLE + PROGRAMS) {
                who if who < PEOPLE => self.step_of_person(who),
                who => self.step_of_program(who - PEOPLE),
            };
            log.push(step);
            self.listen();
            self.world.hub.assert_consistent(self.world.now());
        }
        for who in 0..PEOPLE {
            if let Some(peer) = self.people[who].peer.clone() {
                self.world.set_space(&peer, usize::MAX);
            }
        }
        self.listen();
        // Everybody has seen everything.
        for person in self.people.iter().filter(|person| person.peer.is_some()) {
            assert!(person.to_come.is_empty());
            let room = &self.rooms[person.stay.as_ref().unwrap().room];
            let mut ends = person.next.iter().map(|&at| person.pass_own(at, room));
            assert!(ends.any(|end| end == room.len() as u64 + 1), "{person:?}");
        }
    }

    fn text(&mut self) -> String {
        self.messages += 1;
        let me = ["", "/me "][self.rng.usize(..2)];
        let len = [20, 900][self.rng.usize(..2)];
        let padding = "x".repeat(self.rng.usize(..len));
        format!("{me}m{}{padding}", self.messages)
    }

    fn step_of_program(&mut self, who: usize) -> String {
        let Some(peer) = self.programs[who].clone() else {
            let peer = self.world.connect();
            let room = self.rng.usize(..ROOMS);
            let join = format!("JOIN bot{who} room=r{room} alive=tcp\n");
            self.world.send(&peer, join.as_bytes());
            self.programs[who] = Some(peer);
            return join;
        };
        if self.rng.u8(..20) == 0 {
            self.world.send(&peer, b"QUIT\n");
            self.programs[who] = None;
            return format!("bot{who} quits");
        }
        let said = (0..self.rng.usize(1..8)).map(|_| format!("SAY {}\n", self.text()));
        let said: String = said.collect();
        self.world.send(&peer, said.as_bytes());
        text(&peer);
        format!("bot{who} says {} bytes", said.len())
    }

    fn step_of_person(&mut self, who: usize) -> String {
        let name = self.people[who].name.clone();
        let Some(peer) = self.people[who].peer.clone() else {
            return self.come(who);
        };
        let is_stalled = peer.wire.borrow().space != usize::MAX;
        match self.rng.u8(..20) {
            0..6 => {
                let few = self.rng.usize(1..120);
                let many = self.rng.usize(..5000);
                let space = [0, few, many, usize::MAX][self.rng.usize(..4)];
                self.world.set_space(&peer, space);
                format!("{name} takes {space} bytes")
            }
            6..9 => {
                let mut wire = peer.wire.borrow_mut();
                wire.holds = self.rng.bool();
                wire.untaken = self.rng.u32(..=wire.untaken);
                format!(
                    "{name} has not taken {}; holds {}",
                    wire.untaken, wire.holds
                )
            }
            9 | 10 => {
                let room = self.rng.usize(..ROOMS);
                if self.people[who].room == Some(room) {
                    return "nothing".into();
                }
                self.world
                    .send(&peer, format!("/room r{room}\n").as_bytes());
                self.people[who].room = Some(room);
                self.begin(who, 20);
                format!("{name} goes to r{room}")
            }
            11 if !is_stalled => {
                self.world.send(&peer, b"/who\n/nonsense\n\n");
                format!("{name} looks around")
            }
            12 | 13 => self.go(who, is_stalled),
            _ => {
                let said = (0..self.rng.usize(1..4)).map(|_| format!("{}\r\n", self.text()));
                let said: String = said.collect();
                self.world.send(&peer, said.as_bytes());
                format!("{name} says {} bytes", said.len())
            }
        }
    }

    /// A person, whose coming is the room's newest event, is there with that much history.
    fn begin(&mut self, who: usize, history: u64) {
        self.record();
        let person = &mut self.people[who];
        let room = person.room.unwrap();
        let joined = self.rooms[room].len() as u64;
        person.to_come.push_back(Stay {
            room,
            begins: joined.saturating_sub(history).max(1)..=joined,
            own_from: joined + 1,
        });
    }

    /// A person connects, for the first time or once more.
    fn come(&mut self, who: usize) -> String {
        self.record();
        let space = [usize::MAX, 200, 60][self.rng.usize(..3)];
        let peer = self.world.connect_with_space(space);
        peer.wire.borrow_mut().holds = self.rng.bool();
        let person = &mut self.people[who];
        let goes_on = person.goes_on.take();
        let room = person.room.unwrap_or_else(|| self.rng.usize(..ROOMS));
        let talk = format!("TALK {} room=r{room} history=2\n", person.name);
        *person = Person {
            name: person.name.clone(),
            peer: Some(peer.clone()),
            room: Some(room),
            ..Person::default()
        };
        self.world.send(&peer, talk.as_bytes());
        match goes_on {
            Some(begins) => self.people[who].to_come.push_back(Stay {
                room,
                begins,
                own_from: self.rooms[room].len() as u64 + 1,
            }),
            None => self.begin(who, 2),
        }
        talk
    }

    /// A person's connection ends, or breaks: then what the system has not got rid of is gone.
    fn go(&mut self, who: usize, is_stalled: bool) -> String {
        self.listen();
        let person = &mut self.people[who];
        let peer = person.peer.take().unwrap();
        let (sent, taken) = {
            let wire = peer.wire.borrow();
            (wire.output.len(), wire.output.len() - wire.untaken as usize)
        };
        let is_told = person.to_come.is_empty();
        if let Some(stay) = person.to_come.pop_back() {
            // Nothing of it has come.
            person.next_at = vec![(0, *stay.begins.end())];
            person.next = stay.begins.clone().collect();
            person.stay = Some(stay);
        }
        let room = &self.rooms[person.room.unwrap()];
        let seen = person.next_at.iter().rev().find(|(at, _)| *at <= taken);
        let last = person.pass_own(seen.unwrap().1, room);
        // If the system had got rid of everything, nothing is shown again, unless the connection
        // broke: then the server only knows what the system had got rid of earlier.
        let way = self.rng.usize(..3);
        let is_known = taken == sent && person.read == sent && is_told && way > 0;
        let first = match is_known {
            true => *person.next.first().unwrap(),
            false => 1,
        };
        person.goes_on = Some(first..=last);
        let name = person.name.clone();
        match way {
            0 => self.world.reset(&peer),
            1 if !is_stalled => self.world.end(&peer),
            _ => self.world.close(&peer),
        }
        assert!(peer.wire.borrow().is_closed);
        format!("{name} goes, and goes on with {first} to {last}")
    }

    /// Takes in what the recorders have got.
    fn record(&mut self) {
        for (room, recorder) in self.rooms.iter_mut().zip(&self.recorders) {
            for line in lines(recorder) {
                if line.starts_with("HELLO ") || line.starts_with("OK ") {
                    continue;
                }
                let seq = line.split(' ').nth(1).unwrap();
                assert_eq!(seq.parse(), Ok(room.len() + 1), "{line}");
                room.push(line);
            }
        }
    }

    /// Takes in what everybody has been sent.
    fn listen(&mut self) {
        self.record();
        for person in &mut self.people {
            let Some(peer) = person.peer.clone() else {
                continue;
            };
            let wire = peer.wire.borrow();
            assert!(!wire.is_closed);
            while let Some(len) = wire.output[person.read..].iter().position(|&b| b == b'\n') {
                let line = &wire.output[person.read..][..=len];
                person.read += line.len();
                let line = std::str::from_utf8(line).unwrap();
                let line = line.strip_suffix("\r\n").unwrap();
                if !line.starts_with("HELLO ") {
                    person.hear(read(line), &self.rooms);
                }
            }
        }
    }
}

impl Person {
    fn hear(&mut self, shown: Shown, rooms: &[Vec<String>]) {
        let Shown::Server(words) = &shown else {
            let room = &rooms[self.stay.as_ref().unwrap().room];
            let at = self.next.iter().map(|&at| self.pass_own(at, room));
            let fits = |at: &u64| {
                let event = room.get(*at as usize - 1);
                event.is_some_and(|event| seen(event) == shown)
            };
            self.next = at.filter(fits).map(|at| at + 1).collect();
            return self.note(&shown);
        };
        let first = words.split(' ').next().unwrap();
        if words.starts_with("you are ") {
            let stay = self.to_come.pop_front().unwrap();
            self.next = stay.begins.clone().collect();
            self.begin(stay);
        } else if words.starts_with("welcome back, ") {
            let stay = self.to_come.pop_front().unwrap();
            let begins = stay.begins.clone();
            let own_from = stay.own_from;
            self.begin(stay);
            let missed = words.split_once(": ").map_or("0", |(_, missed)| missed);
            let missed: usize = missed.split(' ').next().unwrap().parse().unwrap();
            let room = &rooms[self.stay.as_ref().unwrap().room];
            let shown = |from: u64| (from..own_from).filter(|&at| !self.is_own(at, room));
            self.next = begins
                .filter(|&from| shown(from).count() == missed)
                .collect();
            assert!(!self.next.is_empty(), "{words} but {:?}", self.stay);
        } else if words.contains(" gone before you could get ") {
            let count: u64 = match first {
                "one" => 1,
                count => count.parse().unwrap(),
            };
            let room = &rooms[self.stay.as_ref().unwrap().room];
            let from = |&at: &u64| at..=self.pass_own(at, room);
            let behind = self.next.iter().flat_map(from).map(|at| at + count);
            self.next = behind.collect();
        } else {
            let known = ["here:", "nobody", "\"/nonsense\"", ""];
            assert!(
                known.contains(&first) || words.contains("member") || words.contains(" shows more"),
                "{words}"
            );
            return;
        }
        self.note(&shown);
    }

    fn begin(&mut self, stay: Stay) {
        self.next_at = vec![(0, *stay.begins.end())];
        self.stay = Some(stay);
    }

    fn note(&mut self, shown: &Shown) {
        let last = self.next.last();
        let last = last.unwrap_or_else(|| panic!("{} should not see {shown:?}", self.name));
        self.next_at.push((self.read, *last));
    }

    /// Whether the person has caused an event on this connection.
    fn is_own(&self, at: u64, room: &[String]) -> bool {
        let own_from = self.stay.as_ref().unwrap().own_from;
        let words: Vec<_> = room[at as usize - 1].split(' ').collect();
        match words[0] {
            "MSG" => at >= own_from && words[3] == self.name,
            "JOINED" => at + 1 >= own_from && words[3] == self.name,
            _ => false,
        }
    }

    /// The number of the first event, from one on, that the person has not caused.
    fn pass_own(&self, mut at: u64, room: &[String]) -> u64 {
        while at <= room.len() as u64 && self.is_own(at, room) {
            at += 1;
        }
        at
    }
}

/// A connection breaks when its client has a part of a line, and the server the rest.
#[test]
fn a_line_that_was_cut_when_the_connection_broke_is_shown_whole_after_the_way_back() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    world.set_space(&ann, 10);
    world.send(&bob, b"SAY can you read all of this?\n");
    assert_eq!(text(&ann), "09:56 <bob");
    assert_eq!(ann.wire.borrow().untaken, 0);
    world.reset(&ann);
    assert!(text(&person(&mut world, "TALK ann")).ends_with(
        "-- welcome back, ann in lobby: 1 event while you were away\r\n\
         -- here: bob\r\n\
         09:56 <bob> can you read all of this?\r\n"
    ));
}

/// The system throws away what it holds for the peer of a Unix socket that fails.
#[test]
fn what_the_system_has_thrown_away_was_not_taken() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    ann.wire.borrow_mut().drops_untaken = true;
    world.send(&bob, b"SAY one\nSAY two\n");
    ann.wire.borrow_mut().untaken = 0;
    world.reset(&ann);
    let ann = person(&mut world, "TALK ann");
    let shown = text(&ann);
    assert!(
        shown.ends_with("09:56 <bob> one\r\n09:56 <bob> two\r\n"),
        "{shown}"
    );
    // If it closes in order, the client has read everything.
    world.send(&bob, b"SAY three\n");
    assert_eq!(text(&ann), "09:56 <bob> three\r\n");
    world.close(&ann);
    let shown = text(&person(&mut world, "TALK ann"));
    assert!(shown.contains("nothing has happened since"), "{shown}");
}

#[test]
fn ones_own_coming_is_neither_shown_nor_counted_after_the_way_back() {
    let mut world = World::new(limits());
    member(&mut world, "JOIN bob");
    let ann = world.connect();
    ann.wire.borrow_mut().holds = true;
    world.send(&ann, b"TALK ann history=0\n");
    world.reset(&ann);
    let ann = person(&mut world, "TALK ann");
    let shown = text(&ann);
    assert!(
        shown.ends_with("in lobby; nothing has happened since\r\n-- here: bob\r\n"),
        "{shown}"
    );
}

#[test]
fn people_see_what_is_for_them_whoever_was_served_before_them() {
    let mut world = World::new(limits());
    // The same numbers mean other events in the other room.
    let rooms = ["attic", "den"].map(|room| {
        let people = ["ann", "bob", "cy"]
            .map(|name| person(&mut world, &format!("TALK {name} room={room} idle=3600")));
        (room, people)
    });
    let everybody = || {
        rooms
            .iter()
            .flat_map(|(room, people)| people.iter().map(move |p| (room, p)))
    };
    everybody().for_each(|(_, person)| _ = text(person));
    let said_by = |world: &mut World, speakers: &[usize]| {
        for (room, people) in &rooms {
            for &who in speakers {
                world.post(&people[who], format!("{who} in the {room}\n").as_bytes());
            }
        }
        world.run();
        everybody()
            .map(|(_, person)| text(person))
            .collect::<Vec<_>>()
    };
    for _ in 0..3 {
        assert_eq!(
            said_by(&mut world, &[0, 2]),
            [
                "09:56 <cy> 2 in the attic\r\n",
                "09:56 <ann> 0 in the attic\r\n09:56 <cy> 2 in the attic\r\n",
                "09:56 <ann> 0 in the attic\r\n",
                "09:56 <cy> 2 in the den\r\n",
                "09:56 <ann> 0 in the den\r\n09:56 <cy> 2 in the den\r\n",
                "09:56 <ann> 0 in the den\r\n",
            ]
        );
    }
    // More than one write takes.
    let long = "x".repeat(60);
    let bot = world.connect();
    world.send(&bot, b"JOIN bot room=den mode=pull\n");
    everybody().for_each(|(_, person)| _ = text(person));
    let many = 0..400;
    let said: String = many.clone().map(|n| format!("SAY {n} {long}\n")).collect();
    world.send(&bot, said.as_bytes());
    let shown: String = many
        .map(|n| format!("09:56 <bot> {n} {long}\r\n"))
        .collect();
    for (room, person) in everybody() {
        let expected = if *room == "den" { &shown[..] } else { "" };
        assert!(text(person) == expected, "in the {room}");
    }
    world.send(&bot, b"QUIT\n");
    // Whoever comes on the next day needs no date.
    world.advance(24 * 3_600_000);
    let dan = person(&mut world, "TALK dan room=den history=0");
    everybody().for_each(|(_, person)| _ = text(person));
    text(&dan);
    world.advance(24 * 3_600_000);
    let eve = person(&mut world, "TALK eve room=den history=0");
    text(&eve);
    let date = "-- Monday 24 November 2025\r\n";
    assert_eq!(text(&dan), format!("{date}09:56 -- eve came\r\n"),);
    world.send(&rooms[1].1[1], b"hello\n");
    let hello = "09:56 <bob> hello\r\n";
    assert_eq!(text(&dan), hello);
    assert_eq!(text(&eve), hello);
    assert_eq!(
        text(&rooms[1].1[0]),
        format!("{date}09:56 -- eve came\r\n{hello}")
    );
    assert_eq!(text(&rooms[1].1[1]), format!("{date}09:56 -- eve came\r\n"));
}

/// Lines of `columns` columns at most, which are all the server's.
fn assert_fits(shown: &str, columns: usize) {
    for line in shown.lines() {
        assert!(line.starts_with("-- ") && line.len() <= columns, "{line:?}");
    }
}

/// How many names a list has, and how many more it counts.
fn listed(list: &str) -> (usize, usize) {
    let list = list.replace("\r\n--  ", "");
    let (names, more) = list.rsplit_once(" and ").unwrap_or((&list, "0 more"));
    let more = more.trim_end().strip_suffix(" more").unwrap();
    (names.split(", ").count(), more.parse().unwrap())
}

#[test]
fn lists_fit_on_a_terminal_and_name_or_count_everybody() {
    for (members, len) in [
        (1, 24),
        (2, 24),
        (3, 23),
        (20, 3),
        (200, 24),
        (200, 5),
        (4096, 24),
    ] {
        let mut world = World::new(limits());
        for number in 0..members {
            let name = format!("n{number:0>width$}", width = len - 1);
            let peer = member(&mut world, &format!("JOIN {name} idle=3600 mode=pull"));
            if number % 3 == 1 {
                world.send(&peer, b"DETACH\n");
            }
            if number % 100 == 0 {
                world.advance(15_000);
            }
        }
        let ann = person(&mut world, "TALK ann history=0");
        let greeting = text(&ann);
        assert_fits(&greeting, 78);
        assert!(greeting.lines().count() <= 3, "{greeting}");
        let (_, here) = greeting.split_once("-- here: ").unwrap();
        let (named, more) = listed(here);
        assert!(named > 0);
        assert_eq!(named + more, members, "{greeting}");

        world.send(&ann, b"/who\n");
        let who = text(&ann);
        assert_fits(&who, 78);
        let (heading, names) = who.split_once("\r\n").unwrap();
        assert_eq!(heading, format!("-- {} members:", members + 1));
        let (named, more) = listed(names);
        assert_eq!(named + more, members + 1, "{who}");
        assert!(
            more == 0 || who.len() > REPLY_BYTES_MAX - 1500,
            "{}",
            who.len()
        );
        assert!(who.len() <= REPLY_BYTES_MAX, "{}", who.len());
    }
}

#[test]
fn lists_of_rooms_fit_on_a_terminal_and_name_or_count_every_room() {
    let mut world = World::new(limits());
    for number in 0..1000 {
        member(&mut world, &format!("JOIN bob room=r{number:0>23}"));
    }
    let ann = person(&mut world, "TALK ann");
    text(&ann);
    world.send(&ann, b"/rooms\n");
    let rooms = text(&ann);
    assert_fits(&rooms, 78);
    let (heading, names) = rooms.split_once("\r\n").unwrap();
    assert_eq!(heading, "-- 1001 rooms:");
    let (named, more) = listed(names);
    assert_eq!(named + more, 1001);
}

#[test]
fn again_shows_as_many_of_the_newest_events_as_fit_into_a_reply() {
    for len in [1, 100, 1000] {
        let mut world = World::new(limits());
        let bob = member(&mut world, "JOIN bob");
        let ann = person(&mut world, "TALK ann history=0");
        for _ in 0..300 {
            world.send(&bob, format!("SAY {}\n", "x".repeat(len)).as_bytes());
            // Every event has its own day.
            world.unix_ms += 24 * 3600 * 1000;
        }
        let seen = text(&ann);
        world.send(&ann, b"/again 1000000000000000000000\n");
        let again = text(&ann);
        assert!(again.len() <= REPLY_BYTES_MAX, "{}", again.len());
        let (head, rest) = again.split_once("\r\n").unwrap();
        assert!(head.starts_with("-- the last "), "{head}");
        assert!(rest.starts_with("-- ") && seen.ends_with(rest), "{again}");
        assert!(
            again.len() + 2 * (len + 60) > REPLY_BYTES_MAX / 2,
            "{}",
            again.len()
        );
        // A number is exact if it fits.
        world.send(&ann, b"/again 3\n");
        assert_eq!(text(&ann).matches(" <bob> ").count(), 3);
    }
}

#[test]
fn again_shows_an_event_that_is_longer_than_a_reply() {
    const LEN: usize = 1024 * 1024;
    let mut world = World::new(Limits {
        message_bytes_max: LEN,
        log_bytes: 4 * LEN,
        ..limits()
    });
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann history=0");
    let long = "x".repeat(LEN);
    world.send(&bob, format!("SAY short\nSAY {long}\n").as_bytes());
    let seen = text(&ann);
    assert!(seen.ends_with(&format!(" <bob> {long}\r\n")));
    for events in ["1", "2", ""] {
        world.send(&ann, format!("/again {events}\n").as_bytes());
        world.hub.assert_consistent(world.now());
        let again = text(&ann);
        let date = "-- Saturday 22 November 2025";
        assert!(again == format!("-- the last event:\r\n{date}\r\n09:56 <bob> {long}\r\n"));
    }
}

/// When a name gets another key, its sessions end within a few turns. Until then nobody comes back to
/// them, not even with the new key.
#[test]
fn a_new_key_begins_a_new_session_even_before_the_old_one_has_ended() {
    for is_attached in [false, true] {
        let mut world = World::new(limits());
        let set_key = |world: &mut World, key| {
            let hash = KeyHash::of(key);
            let keys = Keys::parse(&format!("ann:{hash}\nbob:{hash}\n")).unwrap();
            world.hub.set_keys(Some(keys), world.now());
        };
        set_key(&mut world, "old");
        let old = person(&mut world, "TALK ann key=old");
        let in_den = person(&mut world, "TALK ann room=den key=old");
        if !is_attached {
            world.end(&old);
            world.end(&in_den);
        }
        text(&old);
        text(&in_den);
        let new = world.connect();
        world.post(&new, b"TALK ann key=new history=0\n/room den\n");
        set_key(&mut world, "new");
        world.run();
        world.hub.assert_consistent(world.now());
        let shown = text(&new);
        assert!(
            shown.contains("\n-- you are ann in lobby; /help helps\r\n"),
            "{shown}"
        );
        assert!(
            shown.contains("\n-- you are ann in den; /help helps\r\n"),
            "{shown}"
        );
        assert!(!new.wire.borrow().is_closed);
        for peer in [old, in_den] {
            assert!(peer.wire.borrow().is_closed);
            let goodbye = match is_attached {
                true => {
                    "-- goodbye: you are here on another connection now, or your key has changed\r\n"
                }
                false => "",
            };
            assert_eq!(text(&peer), goodbye);
        }
        assert_eq!(world.hub.chat().sessions(), 1);
    }
}

/// Central European time in autumn 2025: two hours ahead of UTC, one from 26 October, 1:00 UTC, on.
const AUTUMN: Zone = Zone(|unix_s| match unix_s < 1_761_440_400 {
    true => 7200,
    false => 3600,
});

#[test]
fn times_go_back_an_hour_when_summer_time_ends_and_dates_do_not() {
    // Three hours before that, the day begins.
    const MIDNIGHT_MS: u64 = 1_761_429_600_000;
    let mut world = World {
        hub: Hub::new(limits(), BOOT, AUTUMN),
        unix_ms: MIDNIGHT_MS - 60_000,
        ..World::new(limits())
    };
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann history=0");
    text(&ann);
    let mut say_at = |ms: u64, what: &str| {
        world.unix_ms = MIDNIGHT_MS + ms;
        world.send(&bob, format!("SAY {what}\n").as_bytes());
    };
    const MINUTE_MS: u64 = 60_000;
    say_at(0, "midnight");
    say_at(180 * MINUTE_MS - 1, "summer");
    say_at(180 * MINUTE_MS, "winter");
    // The clock is set back, then right again.
    say_at(179 * MINUTE_MS, "again");
    say_at(24 * 60 * MINUTE_MS, "late");
    say_at(25 * 60 * MINUTE_MS, "monday");
    let expected = "\
        -- Sunday 26 October 2025\r\n\
        00:00 <bob> midnight\r\n\
        02:59 <bob> summer\r\n\
        02:00 <bob> winter\r\n\
        02:59 <bob> again\r\n\
        23:00 <bob> late\r\n\
        -- Monday 27 October 2025\r\n\
        00:00 <bob> monday\r\n";
    assert_eq!(text(&ann), expected);
    world.send(&ann, b"/again 6\n");
    assert_eq!(text(&ann), format!("-- the last 6 events:\r\n{expected}"));
    // Somebody who comes on Monday sees Sunday's date first.
    let cid = person(&mut world, "TALK cid history=6");
    let shown = text(&cid);
    assert!(shown.ends_with(&format!("\r\n{expected}")), "{shown}");
}

#[test]
fn a_clock_that_is_wrong_by_years_is_shown_as_it_is() {
    let mut world = World::new(limits());
    let bob = member(&mut world, "JOIN bob");
    let ann = person(&mut world, "TALK ann history=0");
    text(&ann);
    for (unix_ms, shown) in [
        (0, "-- Thursday 1 January 1970\r\n01:30 <bob> hi\r\n"),
        (
            951_782_400_000,
            "-- Tuesday 29 February 2000\r\n01:30 <bob> hi\r\n",
        ),
        (
            4_102_444_799_999,
            "-- Friday 1 January 2100\r\n01:29 <bob> hi\r\n",
        ),
    ] {
        world.unix_ms = unix_ms;
        world.send(&bob, b"SAY hi\n");
        assert_eq!(text(&ann), shown);
    }
    world.unix_ms = u64::MAX;
    world.send(&bob, b"SAY hi\n");
    assert!(text(&ann).ends_with(" <bob> hi\r\n"));
}

#[test]
fn whoever_pastes_a_hundred_lines_stays_whatever_they_are() {
    let too_long = [&[b'x'; 3000][..], b"\r\n"].concat();
    for (line, answer) in [
        (&b"a line of a text\r\n"[..], None),
        (
            &too_long,
            Some("-- a line has at most 2048 bytes; the rest is skipped"),
        ),
        (b"\xfe\xfd\r\n", Some("-- byte 1, 0xFE, is not UTF-8")),
        (b"caf\xe9\r\n", Some("-- byte 4, 0xE9, is not UTF-8")),
        (b"/nonsense\r\n", Some("-- \"/nonsense\" is not a command")),
        (b"/room\r\n", Some("-- say which room")),
    ] {
        for chunk in [100, 1460, usize::MAX] {
            let mut world = World::new(limits());
            let bob = member(&mut world, "JOIN bob");
            let ann = person(&mut world, "TALK ann history=0");
            text(&ann);
            let pasted = line.repeat(120);
            for piece in pasted.chunks(chunk) {
                world.send(&ann, piece);
            }
            let answers = lines(&ann);
            assert_eq!(answers.len(), answer.map_or(0, |_| 120));
            let is_right = |line: &String| line.starts_with(answer.unwrap());
            assert!(answers.iter().all(is_right), "{answers:?}");
            assert!(!ann.wire.borrow().is_closed);
            world.send(&ann, b"\r\nhere I am\r\n");
            assert!(text(&bob).ends_with("ann here I am\r\n"));
        }
    }
}

/// G34: twenty members say 50 messages a second for a minute, with the default log and rate.
#[test]
fn a_person_sees_all_of_a_busy_room() {
    let mut world = World::new(Limits::default());
    let ann = person(&mut world, "TALK ann history=0");
    text(&ann);
    let members: Vec<_> = (0..20)
        .map(|number| person(&mut world, &format!("TALK m{number} history=0")))
        .collect();
    let bot = member(&mut world, "JOIN bot alive=tcp");
    text(&ann);
    let mut shown = Vec::new();
    let mut got = Vec::new();
    for number in 0..3000 {
        let peer = &members[number * 7 % 20];
        world.send(
            peer,
            format!("message {number}, {}\r\n", "x".repeat(number % 500)).as_bytes(),
        );
        world.advance(20);
        shown.push(text(&ann));
        got.extend(lines(&bot));
    }
    let got: Vec<_> = got.iter().map(|event| seen(event)).collect();
    assert_eq!(got.len(), 3000);
    let shown = unwrapped(&shown.concat());
    assert_eq!(shown.lines().map(read).collect::<Vec<_>>(), got);
}

/// Rows are as wide as the window, of which the server learns for /edit, and as 80 columns before.
#[test]
fn messages_are_broken_into_rows_as_wide_as_the_window() {
    let mut world = World::new(limits());
    let ann = person(&mut world, "TALK ann history=0");
    let bot = member(&mut world, "JOIN bot mode=pull");
    let said = "a long message ".repeat(20);
    for (answer, columns) in [
        (&b""[..], 80),
        (
            b"/edit\r\n\xff\xfd\x01\xff\xfd\x03\xff\xfa\x1f\0\x28\0\x18\xff\xf0",
            40,
        ),
        (b"\xff\xfa\x1f\0\x84\0\x18\xff\xf0", 132),
        // A client that does not know.
        (b"\xff\xfa\x1f\0\0\0\0\xff\xf0", 80),
        // It stays when the person goes to another room, and comes back.
        (
            b"\xff\xfa\x1f\0\x32\0\x18\xff\xf0/room den\r/room lobby\r",
            50,
        ),
    ] {
        world.send(&ann, answer);
        ann.wire.borrow_mut().output.clear();
        world.send(&bot, format!("SAY {said}\n").as_bytes());
        let shown = text(&ann);
        let rows: Vec<_> = shown
            .split("\r\n")
            .filter(|row| row.contains("message"))
            .collect();
        let longest = rows.iter().map(|row| row.len()).max().unwrap();
        assert!(
            (columns - 15..columns).contains(&longest),
            "{columns}: {rows:?}"
        );
        assert!(
            rows[1..].iter().all(|row| row.starts_with("      ")),
            "{rows:?}"
        );
        assert!(unwrapped(&shown).contains(&said), "{shown}");
    }
}

#[test]
fn without_a_key_a_person_comes_back_only_from_where_they_came() {
    let home = Origin::V4([192, 0, 2, 1]);
    let network = Origin::V6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1]);
    let elsewhere = [
        Origin::Local,
        Origin::V4([192, 0, 2, 2]),
        Origin::V6([0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 2]),
    ];
    for origin in [home, network] {
        let mut world = World::new(limits());
        world.origin = origin;
        let ann = person(&mut world, "TALK ann");
        let cron = member(&mut world, "JOIN cron");
        world.end(&ann);
        world.end(&cron);
        for other in elsewhere {
            world.origin = other;
            let eve = world.connect();
            world.send(&eve, b"TALK ann\nTALK ann key=guess\n");
            assert_eq!(text(&eve).matches("\nERR name-taken ").count(), 2);
            // The room sees when she comes under her own name, and nothing else.
            let eve = person(&mut world, "TALK eve");
            world.send(&eve, b"/quit\n");
        }
        world.origin = origin;
        let bob = world.connect();
        world.send(&bob, b"TALK cron\n");
        assert!(text(&bob).contains("\nERR name-taken "));
        let shown = text(&person(&mut world, "TALK Ann"));
        assert!(
            shown.starts_with("-- welcome back, ann in lobby: 6 events "),
            "{shown}"
        );
    }
}

/// Whoever comes back need not wait until the lines of the lost connection have been carried out, which
/// the rate puts off; as after RESUME, those that still wait are dropped.
#[test]
fn lines_of_a_lost_connection_do_not_keep_a_person_away() {
    let mut world = World::new(Limits::default());
    world.origin = Origin::V4([192, 0, 2, 1]);
    let bob = person(&mut world, "TALK bob history=0");
    let ann = person(&mut world, "TALK ann history=0");
    world.send(&ann, &b"spam\n".repeat(800));
    world.close(&ann);
    text(&bob);
    let ann = person(&mut world, "TALK ann");
    assert!(text(&ann).starts_with("-- welcome back, ann in lobby"));
    world.advance(60_000);
    assert_eq!(text(&bob), "", "nothing more is said");
    world.hub.assert_consistent(world.now());
}

/// TAB looks only at names that begin with the word, and never at more than it can show.
#[test]
fn completing_a_name_costs_little_in_a_large_room() {
    let mut world = World::new(Limits {
        sessions_max: 5000,
        connections_max: 5000,
        ..limits()
    });
    let ann = person(&mut world, "TALK ann history=0");
    for number in 0..3000 {
        member(
            &mut world,
            &format!("JOIN m{number:04} mode=pull quiet=yes"),
        );
    }
    let session = (0..5000)
        .map(SessionKey)
        .find(|&key| world.hub.chat().conn_of(key) == Some(ann.conn));
    let found = |word: &str| world.hub.chat().completions(session, word, 41);
    assert_eq!(found("m").len(), 41);
    assert_eq!(found("M0000"), ["m0000"]);
    assert_eq!(found("AN"), ["ann"]);
    assert_eq!(found("/ro"), ["/room", "/rooms"]);
    assert_eq!(found("zoe"), [""; 0]);
    assert_eq!(found("?"), [""; 0]);
}
