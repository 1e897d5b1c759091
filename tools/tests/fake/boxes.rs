//! Servers whose one room spans all of them, which do wrong on request.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The names of the boxes.
pub const NAMES: [&str; 2] = ["attic", "cellar"];

/// What the cellar makes of the attic's message of that number: the events that it appends to its log,
/// without their numbers. The last of `said` is what is true.
pub type PassedOn = fn(number: usize, said: &[String]) -> Vec<String>;

/// What is true.
pub fn truth(_number: usize, said: &[String]) -> Vec<String> {
    vec![said.last().unwrap().clone()]
}

/// What becomes of the attic after [`CRASH_AT`] messages.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Nothing.
    Stays,
    /// Its connections break, and its sessions go on.
    HangsUp,
    /// The same, and those that are RESUMEd have said one message less than they have.
    Forgets,
    /// All sessions and the room end; it begins another life.
    Crashes,
    /// The same, without a word of the cellar.
    CrashesInSecret,
}

const CRASH_AT: usize = 7;
const UNIX_MS: u64 = 1_763_800_000_000;

struct Session {
    name: String,
    is_push: bool,
    said: u64,
    /// How many events it got, if it polls.
    cursor: usize,
    stream: Option<TcpStream>,
}

#[derive(Default)]
struct Home {
    lives: u64,
    sessions: Vec<Session>,
    log: Vec<String>,
}

struct Boxes {
    homes: [Home; 2],
    /// The attic's messages.
    said: Vec<String>,
    passed_on: PassedOn,
    fate: Fate,
}

/// Starts them on ports of their own, in threads of their own that end with their connections.
pub fn start(passed_on: PassedOn, fate: Fate) -> [SocketAddr; 2] {
    let boxes = Arc::new(Mutex::new(Boxes {
        homes: Default::default(),
        said: Vec::new(),
        passed_on,
        fate,
    }));
    [0, 1].map(|home| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let boxes = boxes.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let boxes = boxes.clone();
                // A client that goes away in the middle is no matter.
                thread::spawn(move || serve(&stream.unwrap(), home, &boxes));
            }
        });
        address
    })
}

fn serve(stream: &TcpStream, home: usize, boxes: &Mutex<Boxes>) -> Option<()> {
    let mut out = stream;
    let life = boxes.lock().unwrap().homes[home].lives;
    write!(
        out,
        "HELLO fake/1 protocol=1 boot={life:016x} link={}\r\n",
        NAMES[home]
    )
    .ok()?;
    let mut session = 0;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mut boxes = boxes.lock().unwrap();
        if boxes.homes[home].lives != life {
            return None;
        }
        match verb {
            "JOIN" => session = boxes.join(home, stream, rest)?,
            "RESUME" => session = boxes.resume(home, stream, rest)?,
            "SAY" => boxes.say(home, session, out, rest)?,
            "POLL" => boxes.homes[home].poll(session, out, rest)?,
            "ROOMS" => {
                let members: usize = boxes.homes.iter().map(|home| home.sessions.len()).sum();
                let seq = boxes.homes[home].log.len();
                write!(out, "OK ROOMS 1 more=0\r\nROOM Den {members} {seq}\r\n").ok()?;
            }
            "QUIT" => return out.write_all(b"OK QUIT\r\nBYE quit goodbye\r\n").ok(),
            other => panic!("{other} is not known here"),
        }
    }
    None
}

fn option<'a>(words: &'a str, key: &str) -> Option<&'a str> {
    words.split(' ').find_map(|word| word.strip_prefix(key))
}

impl Boxes {
    fn join(&mut self, home: usize, mut stream: &TcpStream, options: &str) -> Option<usize> {
        let name = options.split(' ').next()?.to_owned();
        let at = &mut self.homes[home];
        let (seq, session) = (at.log.len() + 1, at.sessions.len());
        let reply = format!("OK JOIN session={session:040x} name={name} seq={seq} members=1\r\n");
        stream.write_all(reply.as_bytes()).ok()?;
        at.sessions.push(Session {
            name: name.clone(),
            is_push: options.contains("mode=push"),
            said: 0,
            cursor: seq - 1,
            stream: Some(stream.try_clone().ok()?),
        });
        // Each life has its own time.
        let unix_ms = UNIX_MS + self.homes[home].lives;
        self.tell(home, &format!("JOINED {unix_ms} {name}"));
        Some(session)
    }

    fn resume(&mut self, home: usize, mut stream: &TcpStream, words: &str) -> Option<usize> {
        let session = usize::from_str_radix(words.split(' ').next()?, 16).ok()?;
        let forgets = self.fate == Fate::Forgets;
        let Home { sessions, log, .. } = &mut self.homes[home];
        let found = &mut sessions[session];
        found.said -= u64::from(forgets && found.said > 0);
        let mut reply = format!("OK RESUME name={} said={}\r\n", found.name, found.said);
        if found.is_push {
            let after: usize = option(words, "after=")?.parse().ok()?;
            reply.extend(log[after..].iter().map(String::as_str));
        }
        found.stream = Some(stream.try_clone().ok()?);
        stream.write_all(reply.as_bytes()).ok()?;
        Some(session)
    }

    fn say(&mut self, home: usize, session: usize, mut out: &TcpStream, text: &str) -> Option<()> {
        let at = &mut self.homes[home];
        let (seq, name) = (at.log.len() + 1, at.sessions[session].name.clone());
        // What comes after the end of the stream is not said.
        write!(out, "OK SAY {seq} {UNIX_MS}\r\n").ok()?;
        at.sessions[session].said += 1;
        let event = format!("MSG {UNIX_MS} {name} {text}");
        if home == 1 {
            self.tell(home, &event);
            return Some(());
        }
        self.homes[home].append(&event);
        self.said
            .push(event.replacen(&name, &format!("{name}@attic"), 1));
        let number = self.said.len() - 1;
        for event in (self.passed_on)(number, &self.said) {
            self.homes[1].append(&event);
        }
        if self.said.len() == CRASH_AT {
            self.meet_fate();
        }
        Some(())
    }

    /// Tells of an event of a box on all boxes.
    fn tell(&mut self, home: usize, event: &str) {
        self.homes[home].append(event);
        let words: Vec<_> = event.splitn(4, ' ').collect();
        let name = format!("{}@{}", words[2], NAMES[home]);
        let rest = words
            .get(3)
            .map_or(String::new(), |rest| format!(" {rest}"));
        self.homes[1 - home].append(&format!("{} {} {name}{rest}", words[0], words[1]));
    }

    fn meet_fate(&mut self) {
        let attic = &mut self.homes[0];
        let streams = attic.sessions.iter_mut().filter_map(|s| s.stream.take());
        match self.fate {
            Fate::Stays => return,
            // The iterator takes them only when it is asked.
            _ => streams.for_each(|stream| drop(stream.shutdown(Shutdown::Both))),
        }
        if let Fate::HangsUp | Fate::Forgets = self.fate {
            return;
        }
        let members = attic.sessions.len();
        *attic = Home {
            lives: attic.lives + 1,
            ..Home::default()
        };
        if self.fate == Fate::Crashes {
            self.homes[1].append(&format!("SPLIT {UNIX_MS} attic {members}"));
            self.homes[1].append(&format!("HEALED {UNIX_MS} attic 0"));
        }
    }
}

impl Home {
    /// Appends an event to the log, and sends it to those who do not poll.
    fn append(&mut self, event: &str) {
        let (kind, rest) = event.split_once(' ').unwrap();
        let line = format!("{kind} {} {rest}\r\n", self.log.len() + 1);
        for session in self.sessions.iter_mut().filter(|session| session.is_push) {
            if let Some(stream) = &mut session.stream {
                // Whoever has gone asks for it again.
                let _ = stream.write_all(line.as_bytes());
            }
        }
        self.log.push(line);
    }

    fn poll(&mut self, session: usize, mut out: &TcpStream, words: &str) -> Option<()> {
        let after = option(words, "after=").map(|seq| seq.parse().unwrap());
        let session = &mut self.sessions[session];
        let lines = &self.log[after.unwrap_or(session.cursor)..];
        session.cursor = self.log.len();
        let (count, last) = (lines.len(), self.log.len());
        write!(
            out,
            "OK POLL {count} last={last} more=0\r\n{}",
            lines.concat()
        )
        .ok()
    }
}
