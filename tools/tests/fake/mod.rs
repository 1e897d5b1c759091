//! A server that does wrong on request: one room, and what a load generator says to it.
//!
//! It does not know RESUME: a pull session has to have a connection of its own. People see the same
//! events as programs, apart from their own coming.

pub mod boxes;

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// Something else than the truth: to whom, in place of which message, and what.
#[derive(Clone, Copy)]
struct Wrong {
    to: &'static str,
    number: u64,
    lines: fn(&str) -> String,
}

impl Wrong {
    /// What somebody gets in place of a line about the message of that number.
    fn lines(self, to: &str, number: u64, line: &str) -> String {
        match to.starts_with(self.to) && number == self.number {
            true => (self.lines)(line),
            false => line.into(),
        }
    }
}

struct Room {
    /// All events, and the number of the message for those that are one.
    log: Vec<(String, Option<u64>)>,
    members: Vec<Member>,
    messages: u64,
    wrong: Wrong,
}

/// Somebody who gets what happens.
struct Member {
    name: String,
    stream: TcpStream,
    is_person: bool,
}

/// An event as people see it.
fn shown(line: &str) -> String {
    let words: Vec<_> = line.trim_end().splitn(5, ' ').collect();
    match words[..] {
        ["MSG", _, _, name, text] => format!("17:32 <{name}> {text}\r\n"),
        [_, _, _, name] => format!("17:32 -- {name} came\r\n"),
        _ => panic!("{line}"),
    }
}

/// A server on a port of its own, in threads of its own that end with their connections. It sends
/// what `lines` gives instead of a line, to those whose names begin with `to`, for a message that
/// it counts from 0.
pub fn start(to: &'static str, number: u64, lines: fn(&str) -> String) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let room = Arc::new(Mutex::new(Room {
        log: Vec::new(),
        members: Vec::new(),
        messages: 0,
        wrong: Wrong { to, number, lines },
    }));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let room = room.clone();
            // A client that goes away in the middle is no matter.
            thread::spawn(move || serve(&stream.unwrap(), &room));
        }
    });
    address
}

fn serve(stream: &TcpStream, room: &Mutex<Room>) -> Option<()> {
    let mut out = stream;
    out.write_all(b"HELLO fake/1 protocol=1\r\n").ok()?;
    let mut name = String::new();
    // How many events this session got, if it polls.
    let mut cursor = 0;
    for line in BufReader::new(stream).lines() {
        let line = line.ok()?;
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mut room = room.lock().unwrap();
        match verb {
            "JOIN" => {
                rest.split(' ').next()?.clone_into(&mut name);
                room.join(stream, &name, rest)?;
            }
            "TALK" => {
                rest.split(' ').next()?.clone_into(&mut name);
                room.talk(stream, &name)?;
            }
            "SAY" => room.say(out, &name, rest)?,
            "POLL" => {
                let after = rest.split(' ').find_map(|word| word.strip_prefix("after="));
                cursor = after.map_or(cursor, |seq| seq.parse().unwrap());
                let lines = room.poll(&name, cursor);
                cursor = room.log.len();
                let count = lines.lines().count();
                write!(out, "OK POLL {count} last={cursor} more=0\r\n{lines}").ok()?;
            }
            "LEAVE" => out.write_all(b"OK LEAVE\r\n").ok()?,
            "QUIT" | "/quit" => {
                room.members.retain(|member| member.name != name);
                return out.write_all(b"OK QUIT\r\nBYE quit goodbye\r\n").ok();
            }
            "STATS" => out.write_all(b"OK STATS 0\r\n").ok()?,
            other => panic!("{other} is not known here"),
        }
    }
    None
}

impl Room {
    fn join(&mut self, mut stream: &TcpStream, name: &str, options: &str) -> Option<()> {
        let seq = self.log.len() as u64 + 1;
        let token = "0".repeat(40);
        let reply =
            format!("OK JOIN session={token} name={name} idle=3600 seq={seq} members=1\r\n");
        stream.write_all(reply.as_bytes()).ok()?;
        if options.contains("mode=push") {
            self.add(stream, name, false)?;
        }
        self.came(name, seq)
    }

    fn talk(&mut self, mut stream: &TcpStream, name: &str) -> Option<()> {
        let seq = self.log.len() as u64 + 1;
        let reply = format!("-- you are {name} in den; /help helps\r\n-- nobody else is here\r\n");
        stream.write_all(reply.as_bytes()).ok()?;
        self.came(name, seq)?;
        self.add(stream, name, true)
    }

    fn add(&mut self, stream: &TcpStream, name: &str, is_person: bool) -> Option<()> {
        self.members.push(Member {
            name: name.into(),
            stream: stream.try_clone().ok()?,
            is_person,
        });
        Some(())
    }

    fn came(&mut self, name: &str, seq: u64) -> Option<()> {
        let line = format!("JOINED {seq} 1763800000000 {name}\r\n");
        for member in &mut self.members {
            let shown = if member.is_person {
                shown(&line)
            } else {
                line.clone()
            };
            member.stream.write_all(shown.as_bytes()).ok()?;
        }
        self.log.push((line, None));
        Some(())
    }

    fn say(&mut self, mut out: &TcpStream, name: &str, text: &str) -> Option<()> {
        let (seq, number) = (self.log.len() as u64 + 1, self.messages);
        self.messages += 1;
        let reply = format!("OK SAY {seq} 1763800000000\r\n");
        let reply = self.wrong.lines(name, number, &reply);
        out.write_all(reply.as_bytes()).ok()?;
        let line = format!("MSG {seq} 1763800000000 {name} {text}\r\n");
        for member in &mut self.members {
            let truth = if member.is_person {
                shown(&line)
            } else {
                line.clone()
            };
            let lines = self.wrong.lines(&member.name, number, &truth);
            member.stream.write_all(lines.as_bytes()).ok()?;
        }
        self.log.push((line, Some(number)));
        Some(())
    }

    /// The lines of all events after the first `cursor`.
    fn poll(&self, to: &str, cursor: usize) -> String {
        let events = self.log[cursor..].iter();
        let lines = events.map(|(line, number)| match *number {
            Some(number) => self.wrong.lines(to, number, line),
            None => line.clone(),
        });
        lines.collect()
    }
}
