//! Everybody who takes part: what their connections say first, and what the server's lines mean
//! to each.

use std::io::Write;

use memchr::memchr;

use crate::conn::{Conn, Role, Stage};
use crate::ledger::{Checked, Form, Ledger, Reader};
use crate::line::{self, Line};
use crate::options::Plan;
use crate::pulls::Pulls;
use crate::senders::Senders;

pub struct Members<'a> {
    plan: &'a Plan,
    rooms: Vec<String>,
    pub ledger: Ledger,
    pub pulls: Pulls,
    pub senders: Senders,
    /// Connections that got their HELLO.
    pub greeted: usize,
    /// Receivers, dead ones and senders that have joined.
    pub joined: usize,
    /// Messages may be said.
    is_open: bool,
    /// What went wrong.
    pub failure: Option<String>,
}

impl<'a> Members<'a> {
    /// The members of a plan.
    pub fn new(plan: &'a Plan) -> Members<'a> {
        let rooms = plan.room_names();
        Members {
            plan,
            ledger: Ledger::new(rooms.len(), plan.senders, plan.size),
            pulls: Pulls::new(plan, rooms.clone()),
            rooms,
            senders: Senders::new(plan),
            greeted: 0,
            joined: 0,
            is_open: false,
            failure: None,
        }
    }

    /// What the connection of that number is for, with the name and the room of its own session:
    /// the carriers come first, then receivers, dead ones, and senders.
    pub fn member(&self, index: usize) -> (Role, String, usize) {
        let plan = self.plan;
        let counts = [plan.carriers(), plan.receivers, plan.dead, plan.senders];
        let (mut kind, mut number) = (0, index);
        while number >= counts[kind] {
            number -= counts[kind];
            kind += 1;
        }
        let room = number % plan.rooms();
        let role = match kind {
            0 => Role::Carrier(number as u32),
            1 => Role::Receiver(Reader {
                room: room as u32,
                next: 0,
                form: match plan.talk {
                    true => Form::Talk,
                    false => Form::Push,
                },
            }),
            2 => Role::Dead,
            _ => Role::Sender(number as u32),
        };
        (
            role,
            format!("{}{number}", ['c', 'r', 'd', 's'][kind]),
            room,
        )
    }

    /// Makes a connection join for its own session.
    pub fn join(&self, conn: &mut Conn) {
        let (is_person, name, room) = (conn.is_person(), &conn.name, &self.rooms[conn.room]);
        let out = &mut conn.net.out;
        // An open connection is enough to stay alive: no traffic but what is to be measured.
        let line = match conn.role {
            Role::Carrier(_) => return,
            Role::Receiver(_) if is_person => write!(out, "TALK {name} room={room} history=0\r\n"),
            Role::Receiver(_) | Role::Dead => {
                write!(out, "JOIN {name} room={room} mode=push alive=tcp\r\n")
            }
            Role::Sender(_) => write!(out, "JOIN {name} room={room} mode=pull alive=tcp\r\n"),
        };
        line.expect("a Vec takes everything");
        conn.stage = Stage::Joining;
    }

    /// From now on messages may be said.
    pub fn open(&mut self, conns: &mut [Conn]) {
        for room in 0..self.rooms.len() {
            let receivers = self.share(self.plan.receivers, room) as u32;
            let pulls = self.share(self.plan.pulls, room) as u32;
            self.ledger.open(room as u32, receivers, pulls);
        }
        for conn in conns {
            if let Role::Receiver(reader) = &mut conn.role {
                reader.next = self.ledger.opened(reader.room);
            }
        }
        self.is_open = true;
    }

    /// How many connections may be asked to join by now, carriers apart. People learn no numbers of
    /// events: they know that they have seen everybody come once they have seen the senders, so those
    /// come last.
    pub fn may_join(&self) -> usize {
        let all = self.plan.connections() - self.plan.carriers();
        let others = all - self.plan.senders;
        match self.plan.talk && self.joined < others {
            true => others,
            false => all,
        }
    }

    /// Whether a receiver knows of all who have joined.
    pub fn is_settled(&self, conn: &Conn) -> bool {
        match conn.role {
            Role::Receiver(_) if conn.is_person() => {
                conn.senders_seen == self.share(self.plan.senders, conn.room)
            }
            Role::Receiver(reader) => reader.next == self.ledger.end(reader.room),
            _ => true,
        }
    }

    /// How many of those are in a room that are spread evenly over all rooms.
    fn share(&self, count: usize, room: usize) -> usize {
        (count + self.rooms.len() - 1 - room) / self.rooms.len()
    }

    /// Takes the whole lines of what a connection has received; gives their length. What is wrong
    /// with one of them, which ends all this, is kept with the name of the session
    /// that got it. The others are taken all the same, because there are replies to wait for until all
    /// have left.
    pub fn take(&mut self, index: usize, conn: &mut Conn, bytes: &[u8], now_us: u64) -> usize {
        let mut at = 0;
        loop {
            match self.take_known(conn, &bytes[at..], now_us) {
                Ok(len) => at += len,
                Err(fault) => self.fail(fault),
            }
            let Some(len) = memchr(b'\n', &bytes[at..]) else {
                return at;
            };
            let whole = &bytes[at..=at + len];
            at += whole.len();
            match (self.take_line(index, conn, whole, now_us), &conn.role) {
                (Ok(()), _) => {}
                // A session of many has its name in it.
                (Err(fault), Role::Carrier(_)) => self.fail(fault),
                (Err(fault), _) => {
                    let fault = format!("{}: {fault}", conn.name);
                    self.fail(fault);
                }
            }
        }
    }

    /// The first thing that goes wrong is the one to tell.
    fn fail(&mut self, fault: String) {
        self.failure.get_or_insert(fault);
    }

    /// Takes from the beginning what others got before, which is nearly everything.
    fn take_known(&mut self, conn: &mut Conn, bytes: &[u8], now_us: u64) -> Checked<usize> {
        match &mut conn.role {
            Role::Receiver(reader) if conn.stage == Stage::Joined => {
                let (len, _) = self.ledger.take_known(reader, bytes, u32::MAX, now_us);
                Ok(len)
            }
            Role::Carrier(carrier) => {
                let ledger = &mut self.ledger;
                self.pulls.take_known(*carrier, ledger, bytes, now_us)
            }
            _ => Ok(0),
        }
    }

    fn take_line(
        &mut self,
        index: usize,
        conn: &mut Conn,
        whole: &[u8],
        now_us: u64,
    ) -> Checked<()> {
        let strange = || format!("this is no line of the protocol: {:?}", line::shown(whole));
        let bare = whole.strip_suffix(b"\r\n").ok_or_else(strange)?;
        let line = match &conn.role {
            Role::Receiver(reader) if conn.is_person() && conn.stage == Stage::Joined => {
                if !self.is_open && line::came(bare).is_some_and(|name| name.starts_with(b"s")) {
                    conn.senders_seen += 1;
                }
                Line::parse_shown(bare, reader.next)
            }
            // A refusal comes as a program gets it.
            Role::Receiver(_) if conn.is_person() && conn.stage == Stage::Joining => {
                Line::parse_shown(bare, 0).or_else(|| Line::parse(bare))
            }
            _ => Line::parse(bare),
        }
        .ok_or_else(strange)?;
        if let Line::Bye(words) = line {
            return Err(self.bye(words, index));
        }
        if conn.stage == Stage::Connecting {
            let Line::Hello = line else {
                return Err(strange());
            };
            conn.stage = Stage::Greeted;
            self.greeted += 1;
            return Ok(());
        }
        let is_joining = conn.stage == Stage::Joining;
        match &mut conn.role {
            Role::Carrier(carrier) => {
                let (carrier, ledger) = (*carrier, &mut self.ledger);
                let taken = self.pulls.take(carrier, ledger, whole, &line, now_us);
                taken.map_err(|fault| match line {
                    Line::Err(words) => fault + &self.hint(words),
                    _ => fault,
                })
            }
            _ if is_joining => self.joined(conn, &line, whole),
            // People see how others come.
            Role::Receiver(reader) if reader.form == Form::Talk && !self.is_open => Ok(()),
            Role::Receiver(reader) => match line {
                Line::Message { .. } | Line::Event { .. } => {
                    self.ledger.take_event(reader, whole, &line, now_us)
                }
                Line::Lost { count, next } => self.ledger.take_lost(reader, count, next),
                Line::Ok(_) | Line::Err(_) => Err(format!(
                    "it asked nothing, and was sent {:?}",
                    line::shown(whole)
                )),
                _ => Ok(()),
            },
            Role::Sender(sender) => {
                let sender = *sender;
                self.said(sender, &line, whole)
            }
            Role::Dead => Ok(()),
        }
    }

    /// Takes the reply to a JOIN or TALK.
    fn joined(&mut self, conn: &mut Conn, line: &Line, whole: &[u8]) -> Checked<()> {
        let words = match *line {
            Line::Ok(words) => words,
            Line::Err(words) => {
                let verb = if conn.is_person() { "TALK" } else { "JOIN" };
                let hint = self.hint(words);
                return Err(format!("{verb}: {}{hint}", line::shown(whole)));
            }
            _ => return Ok(()),
        };
        conn.stage = Stage::Joined;
        self.joined += 1;
        if conn.is_person() {
            return Ok(());
        }
        let seq = line::field_number(words, b"seq=");
        let seq = seq.ok_or_else(|| format!("JOIN got no number: {:?}", line::shown(whole)))?;
        self.ledger.joined(conn.room as u32, seq);
        if let Role::Receiver(reader) = &mut conn.role {
            reader.next = seq;
        }
        Ok(())
    }

    /// Takes the reply to a SAY.
    fn said(&mut self, sender: u32, line: &Line, whole: &[u8]) -> Checked<()> {
        let words = match *line {
            Line::Ok(words) => words,
            Line::Err(words) => {
                return Err(format!("SAY: {}{}", line::shown(whole), self.hint(words)));
            }
            _ => return Ok(()),
        };
        let seq = words.strip_prefix(b"SAY ").and_then(line::number);
        match seq {
            Some((seq, _)) if self.ledger.confirmed(sender) < self.senders.said(sender) => {
                self.ledger.confirm(sender, seq)
            }
            _ => Err(format!(
                "this is no reply to what it said: {:?}",
                line::shown(whole)
            )),
        }
    }

    /// What to tell about a goodbye that nobody asked for.
    fn bye(&self, words: &[u8], index: usize) -> String {
        let (reason, _) = line::word(words);
        let said = format!("the server said BYE {}", line::shown(words));
        match reason {
            b"full" => format!(
                "connection {} of {} was refused: {said}; start the server like this: {}",
                index + 1,
                self.plan.connections(),
                self.plan.server()
            ),
            _ => said,
        }
    }

    /// The way out of an error, with its code before it.
    fn hint(&self, words: &[u8]) -> String {
        let (code, _) = line::word(words);
        match code {
            b"full" | b"message-too-long" | b"line-too-long" => {
                format!("; start the server like this: {}", self.plan.server())
            }
            b"not-authorized" => "; swarm has no keys: use a server without --users".into(),
            b"session-ended" => "; see the server's --max-idle, or poll more \
                                 often (--poll-every)"
                .into(),
            _ => String::new(),
        }
    }
}
