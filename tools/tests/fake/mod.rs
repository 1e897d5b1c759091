//! A server that can be told to do wrong: one room, and what a load generator says to it.
//!
//! It does not know RESUME: a pull session has to have a connection of its own.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// What a member is sent in place of a message.
pub struct Delivery<'a> {
    /// The member's name.
    pub to: &'a str,
    /// Counts the messages, from 0.
    pub number: u64,
    /// The number of the event.
    pub seq: u64,
    /// The line, with its end.
    pub line: String,
}

/// Gives the lines that are sent in place of one.
pub type Wrong = dyn Fn(Delivery) -> Vec<String> + Send + Sync;
/// The number that goes to a sender, in place of the message's own.
pub type Told = dyn Fn(u64, u64) -> u64 + Send + Sync;

/// Sends what there is.
pub fn honest(delivery: Delivery) -> Vec<String> {
    vec![delivery.line]
}

struct Room {
    /// All events, and the number of the message for those that are one.
    log: Vec<(String, Option<u64>)>,
    members: Vec<(String, TcpStream)>,
    messages: u64,
}

/// A server on a port of its own, in threads of its own that end with their connections.
pub fn start(wrong: Box<Wrong>, told: Box<Told>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let room = Arc::new(Mutex::new(Room {
        log: Vec::new(),
        members: Vec::new(),
        messages: 0,
    }));
    let (wrong, told) = (Arc::new(wrong), Arc::new(told));
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (room, wrong, told) = (room.clone(), wrong.clone(), told.clone());
            // A client that goes away in the middle is no matter.
            thread::spawn(move || serve(&stream.unwrap(), &room, &**wrong, &**told));
        }
    });
    address
}

fn serve(stream: &TcpStream, room: &Mutex<Room>, wrong: &Wrong, told: &Told) -> Option<()> {
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
            "SAY" => room.say(out, &name, rest, wrong, told)?,
            "POLL" => {
                let after = rest.split(' ').find_map(|word| word.strip_prefix("after="));
                cursor = after.map_or(cursor, |seq| seq.parse().unwrap());
                let lines = room.poll(&name, cursor, wrong);
                cursor = room.log.len();
                let head = format!("OK POLL {} last={cursor} more=0\r\n", lines.len());
                out.write_all((head + &lines.concat()).as_bytes()).ok()?;
            }
            "LEAVE" => out.write_all(b"OK LEAVE\r\n").ok()?,
            "QUIT" => {
                room.members.retain(|(member, _)| *member != name);
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
            self.members.push((name.into(), stream.try_clone().ok()?));
        }
        let line = format!("JOINED {seq} 1763800000000 {name}\r\n");
        for (_, member) in &mut self.members {
            member.write_all(line.as_bytes()).ok()?;
        }
        self.log.push((line, None));
        Some(())
    }

    fn say(
        &mut self,
        mut out: &TcpStream,
        name: &str,
        text: &str,
        wrong: &Wrong,
        told: &Told,
    ) -> Option<()> {
        let (seq, number) = (self.log.len() as u64 + 1, self.messages);
        self.messages += 1;
        write!(out, "OK SAY {} 1763800000000\r\n", told(number, seq)).ok()?;
        let line = format!("MSG {seq} 1763800000000 {name} {text}\r\n");
        for (to, member) in &mut self.members {
            let line = line.clone();
            let lines = wrong(Delivery {
                to,
                number,
                seq,
                line,
            });
            member.write_all(lines.concat().as_bytes()).ok()?;
        }
        self.log.push((line, Some(number)));
        Some(())
    }

    /// The lines of all events after the first `cursor`.
    fn poll(&self, to: &str, cursor: usize, wrong: &Wrong) -> Vec<String> {
        let events = self.log.iter().enumerate().skip(cursor);
        let lines = events.map(|(index, (line, number))| match *number {
            Some(number) => wrong(Delivery {
                to,
                number,
                seq: index as u64 + 1,
                line: line.clone(),
            }),
            None => vec![line.clone()],
        });
        lines.flatten().collect()
    }
}
