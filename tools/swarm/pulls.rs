//! Pull sessions, each served by one of a few connections in its turn.
//!
//! A session is no more than its token and the number of its next event. A carrier is a connection
//! that has a share of the sessions: it RESUMEs one, POLLs for it and DETACHes it, and goes on to the
//! next without waiting for the replies. A carrier that has a single session keeps it.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::io::Write;

use tools::latency::Latencies;

use crate::ledger::{Checked, Form, Ledger, Reader};
use crate::line::{self, Line};
use crate::options::Plan;
use crate::token::Token;

/// A carrier sends nothing more while this many of its lines have no reply.
const ASKS_MAX: usize = 48;

/// What the carriers do for all their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Join,
    /// Poll, each at its time.
    Poll,
    /// Poll at once for each session that has not got everything.
    Finish,
    Leave,
    Nothing,
}

/// A verb that was sent and has no reply yet.
#[derive(Clone, Copy)]
struct Ask {
    verb: &'static str,
    session: u32,
    /// When it was to be sent.
    due_us: u64,
}

/// The rest of a reply to POLL.
struct Body {
    poll: Ask,
    lines: u32,
    reader: Reader,
    last: u64,
    has_more: bool,
}

#[derive(Default)]
struct Carrier {
    asks: VecDeque<Ask>,
    body: Option<Body>,
    /// Polls that got a part of what there is.
    behind: VecDeque<Ask>,
    /// For how many sessions something was sent, in this work.
    walked: u64,
}

/// All pull sessions. Session `i` is carried by `i % carriers`.
pub struct Pulls {
    work: Work,
    /// Of those that have joined; the default before.
    tokens: Vec<Token>,
    /// 0 until it polls for the first time.
    next: Vec<u32>,
    rooms: Vec<String>,
    carriers: Vec<Carrier>,
    /// When carriers have to poll next.
    schedule: BTreeSet<(u64, u32)>,
    idle_s: u64,
    poll_every_us: u64,
    start_us: u64,
    /// An ERR does not matter any more.
    pub is_lenient: bool,
    pub joined: usize,
    pub polls: u64,
    pub poll_latencies: Latencies,
}

impl Pulls {
    pub fn new(plan: &Plan, rooms: Vec<String>) -> Pulls {
        Pulls {
            work: Work::Nothing,
            tokens: vec![Token::default(); plan.pulls],
            next: vec![0; plan.pulls],
            rooms,
            carriers: (0..plan.carriers()).map(|_| Carrier::default()).collect(),
            schedule: BTreeSet::new(),
            idle_s: plan.pull_idle(),
            poll_every_us: plan.poll_every_us,
            start_us: 0,
            is_lenient: false,
            joined: 0,
            polls: 0,
            poll_latencies: Latencies::default(),
        }
    }

    /// Begins another work. What is under way is ended first.
    pub fn begin(&mut self, work: Work, now_us: u64) {
        self.work = work;
        self.start_us = now_us;
        self.schedule.clear();
        for carrier in &mut self.carriers {
            carrier.walked = 0;
            carrier.behind.clear();
        }
    }

    /// Whether all work is done that has an end.
    pub fn is_done(&self) -> bool {
        let mut carriers = self.carriers.iter().zip(0..);
        carriers.all(|(carrier, index)| {
            let is_through = self.work == Work::Nothing || carrier.walked == self.share(index);
            let is_idle = carrier.asks.is_empty() && carrier.body.is_none();
            is_through && is_idle && carrier.behind.is_empty()
        })
    }

    /// When there is something to do next even if nothing happens.
    pub fn deadline_us(&self) -> Option<u64> {
        self.schedule.first().map(|&(due_us, _)| due_us)
    }

    /// The next carrier whose time to poll has come.
    pub fn next_due(&mut self, now_us: u64) -> Option<u32> {
        let next = *self
            .schedule
            .first()
            .filter(|(due_us, _)| *due_us <= now_us)?;
        self.schedule.remove(&next);
        Some(next.1)
    }

    /// Lets a carrier send what is to be sent now.
    pub fn pump(&mut self, index: u32, ledger: &Ledger, out: &mut Vec<u8>, now_us: u64) {
        let share = self.share(index);
        while self.carriers[index as usize].asks.len() < ASKS_MAX {
            let carrier = &mut self.carriers[index as usize];
            if let Some(poll) = carrier.behind.pop_front() {
                self.send(index, poll, ledger, out);
                continue;
            }
            let walked = carrier.walked;
            let session = index + (walked % share) as u32 * self.carriers.len() as u32;
            let (verb, due_us) = match self.work {
                Work::Nothing => return,
                Work::Poll => ("POLL", self.due_us(index, walked)),
                _ if walked == share => return,
                Work::Join => ("JOIN", now_us),
                Work::Finish => ("POLL", now_us),
                Work::Leave => ("LEAVE", now_us),
            };
            if due_us > now_us {
                self.schedule.insert((due_us, index));
                return;
            }
            let place = session as usize;
            let is_idle = match self.work {
                Work::Finish => u64::from(self.next[place]) >= ledger.end(self.room(session)),
                Work::Leave => self.tokens[place] == Token::default(),
                _ => false,
            };
            if !is_idle {
                let ask = Ask {
                    verb,
                    session,
                    due_us,
                };
                self.send(index, ask, ledger, out);
            }
            self.carriers[index as usize].walked += 1;
        }
    }

    /// Sends a verb, with the session attached.
    fn send(&mut self, index: u32, ask: Ask, ledger: &Ledger, out: &mut Vec<u8>) {
        let Ask { verb, session, .. } = ask;
        let (room, keeps) = (self.room(session), self.share(index) == 1);
        let (carrier, place) = (&mut self.carriers[index as usize], session as usize);
        let mut push = |verb| carrier.asks.push_back(Ask { verb, ..ask });
        if !keeps && verb != "JOIN" {
            self.tokens[place].resume(out);
            out.extend_from_slice(b"\r\n");
            push("RESUME");
        }
        out.extend_from_slice(verb.as_bytes());
        let written = match verb {
            "JOIN" => {
                let (room, idle_s) = (&self.rooms[room as usize], self.idle_s);
                write!(out, " p{session} room={room} mode=pull idle={idle_s}")
            }
            "POLL" if self.next[place] == 0 => {
                // What happened before all had joined is passed over.
                let end = ledger.opened(room);
                self.next[place] = end as u32;
                write!(out, " max=1000 after={}", end - 1)
            }
            "POLL" => write!(out, " max=1000"),
            _ => Ok(()),
        };
        written.expect("a Vec takes everything");
        out.extend_from_slice(b"\r\n");
        push(verb);
        if !keeps && verb != "LEAVE" {
            out.extend_from_slice(b"DETACH\r\n");
            push("DETACH");
        }
    }

    /// Takes what the beginning of a carrier's `bytes` holds that others got before; gives its length.
    pub fn take_known(
        &mut self,
        index: u32,
        ledger: &mut Ledger,
        bytes: &[u8],
        now_us: u64,
    ) -> Checked<usize> {
        let Some(body) = &mut self.carriers[index as usize].body else {
            return Ok(0);
        };
        let (len, lines) = ledger.take_known(&mut body.reader, bytes, body.lines, now_us);
        body.lines -= lines;
        self.end_body(index, now_us)?;
        Ok(len)
    }

    /// Takes a line that a carrier was sent; `whole` is the same with its end.
    pub fn take(
        &mut self,
        index: u32,
        ledger: &mut Ledger,
        whole: &[u8],
        line: &Line,
        now_us: u64,
    ) -> Checked<()> {
        let carrier = &mut self.carriers[index as usize];
        if let Some(body) = &mut carrier.body {
            let session = body.poll.session;
            let taken = match *line {
                Line::Message { .. } | Line::Event { .. } => {
                    ledger.take_event(&mut body.reader, whole, line, now_us)
                }
                Line::Lost { count, next } => ledger.take_lost(&mut body.reader, count, next),
                _ => Err(format!(
                    "this does not belong there: {}",
                    line::shown(whole)
                )),
            };
            // It is one of the lines of the reply, whatever is wrong with it.
            body.lines -= 1;
            let ended = self.end_body(index, now_us);
            return taken
                .map_err(|fault| format!("p{session}: {fault}"))
                .and(ended);
        }
        if !matches!(line, Line::Ok(_) | Line::Err(_)) {
            // A notice, or something new.
            return Ok(());
        }
        let ask = carrier.asks.pop_front();
        let ask = ask.ok_or("a reply came to nothing that was asked")?;
        match *line {
            Line::Ok(words) => self.reply(index, ask, words, ledger, now_us),
            _ if self.is_lenient => Some(Ok(())),
            _ => None,
        }
        .unwrap_or_else(|| Err(format!("{ask}: {}", line::shown(whole))))
    }

    /// What some carrier still waits for.
    pub fn awaited(&self) -> String {
        let mut asks = self.carriers.iter().filter_map(|c| c.asks.front());
        match asks.next() {
            Some(ask) => format!("there is no reply to the {ask}"),
            None => "pull sessions have not got everything".into(),
        }
    }

    /// Takes an OK, if it is the reply to that verb.
    fn reply(
        &mut self,
        index: u32,
        ask: Ask,
        words: &[u8],
        ledger: &mut Ledger,
        now_us: u64,
    ) -> Option<Checked<()>> {
        let (verb, rest) = line::word(words);
        if verb != ask.verb.as_bytes() {
            return None;
        }
        let session = ask.session;
        match ask.verb {
            "JOIN" => self.has_joined(session, rest, ledger),
            "POLL" => {
                let (lines, rest) = line::number(rest)?;
                self.carriers[index as usize].body = Some(Body {
                    poll: ask,
                    lines: u32::try_from(lines).ok()?,
                    reader: Reader {
                        room: self.room(session),
                        next: self.next[session as usize].into(),
                        form: Form::Pull,
                    },
                    last: line::field_number(rest, b"last=")?,
                    has_more: line::field_number(rest, b"more=").unwrap_or(0) > 0,
                });
                Some(self.end_body(index, now_us))
            }
            _ => Some(Ok(())),
        }
    }

    /// Takes the reply to a JOIN, if it is one.
    fn has_joined(
        &mut self,
        session: u32,
        words: &[u8],
        ledger: &mut Ledger,
    ) -> Option<Checked<()>> {
        let token = line::field(words, b"session=")?;
        let seq = line::field_number(words, b"seq=")?;
        let idle_s = line::field_number(words, b"idle=")?;
        self.tokens[session as usize] = Token::parse(token)?;
        ledger.joined(self.room(session), seq);
        self.joined += 1;
        let needed_s = self.idle_s;
        Some(match idle_s < needed_s {
            false => Ok(()),
            true => Err(format!(
                "p{session} would expire between two polls: it needs an idle time of {needed_s} s \
                 and got {idle_s}; poll more often, or start the server with --max-idle {needed_s}"
            )),
        })
    }

    /// Ends a reply to POLL when all its lines were taken.
    fn end_body(&mut self, index: u32, now_us: u64) -> Checked<()> {
        let carrier = &mut self.carriers[index as usize];
        let Some(body) = carrier.body.take_if(|body| body.lines == 0) else {
            return Ok(());
        };
        let Ask {
            session, due_us, ..
        } = body.poll;
        if body.reader.next != body.last + 1 {
            return Err(format!(
                "p{session}: the reply to POLL ended with event {}, and said last={}",
                body.reader.next - 1,
                body.last
            ));
        }
        if body.has_more {
            carrier.behind.push_back(body.poll);
        }
        self.next[session as usize] = body.reader.next as u32;
        self.polls += 1;
        self.poll_latencies.record(now_us.saturating_sub(due_us));
        Ok(())
    }

    fn room(&self, session: u32) -> u32 {
        session % self.rooms.len() as u32
    }

    /// How many sessions a carrier has.
    fn share(&self, index: u32) -> u64 {
        (self.tokens.len() - index as usize).div_ceil(self.carriers.len()) as u64
    }

    /// When the `nth` poll of a carrier is due: all polls are spread evenly.
    fn due_us(&self, index: u32, nth: u64) -> u64 {
        let offset_us = self.poll_every_us * u64::from(index) / self.carriers.len() as u64;
        self.start_us + (nth * self.poll_every_us + offset_us) / self.share(index)
    }
}

impl fmt::Display for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of p{}", self.verb, self.session)
    }
}
