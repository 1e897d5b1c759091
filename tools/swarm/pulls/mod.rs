//! Pull sessions, each served by one of a few connections in its turn.
//!
//! A session is no more than its token and the number of its next event. A carrier is a connection
//! that RESUMEs one of its sessions, POLLs for it, and DETACHes when it is another's turn; one that
//! has a single session keeps it. It does not wait for replies before it goes on.

mod asks;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use crate::ledger::{Checked, Ledger, Reader};
use crate::line::{self, Line};
use crate::options::Plan;
use asks::Ask;
use tools::latency::Latencies;

/// A carrier sends nothing more while so many of its lines have no reply.
const ASKS_MAX: usize = 48;
/// The length of a token in bytes, of which each is two digits.
const TOKEN_BYTES: usize = 20;

/// What the carriers do for all their sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    Join,
    /// Poll, each at its time.
    Poll,
    /// Poll at once whoever has not got everything.
    Finish,
    Leave,
    Nothing,
}

/// The rest of a reply to POLL.
struct Body {
    lines: u32,
    session: u32,
    reader: Reader,
    last: u64,
    has_more: bool,
    due_us: u64,
}

#[derive(Default)]
struct Carrier {
    asks: VecDeque<Ask>,
    body: Option<Body>,
    /// Sessions that got a part of what there is, and when their polls were due.
    again: VecDeque<(u32, u64)>,
    /// The session that it will have when all its lines are carried out.
    attached: Option<u32>,
    /// How many sessions it has seen to, in this work.
    walked: u64,
    /// It waits for its time to poll.
    is_filed: bool,
}

/// All pull sessions. Session `i` is carried by `i % carriers`.
pub struct Pulls {
    work: Work,
    /// All zero if the session has not joined.
    tokens: Vec<[u8; TOKEN_BYTES]>,
    /// 0 until it polls for the first time.
    next: Vec<u32>,
    rooms: Vec<String>,
    carriers: Vec<Carrier>,
    /// When carriers have to poll next.
    schedule: BinaryHeap<Reverse<(u64, u32)>>,
    idle: u64,
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
            tokens: vec![[0; TOKEN_BYTES]; plan.pulls],
            next: vec![0; plan.pulls],
            rooms,
            carriers: (0..plan.carriers).map(|_| Carrier::default()).collect(),
            schedule: BinaryHeap::new(),
            idle: plan.pull_idle(),
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
        for index in 0..self.carriers.len() as u32 {
            let carrier = &mut self.carriers[index as usize];
            carrier.walked = 0;
            carrier.again.clear();
            carrier.is_filed = false;
            if work == Work::Poll {
                self.file(index);
            }
        }
    }

    /// Whether all work is done that has an end.
    pub fn is_done(&self) -> bool {
        let mut carriers = self.carriers.iter().enumerate();
        carriers.all(|(index, carrier)| {
            carrier.asks.is_empty()
                && carrier.body.is_none()
                && carrier.again.is_empty()
                && (self.work == Work::Nothing || carrier.walked == self.share(index as u32))
        })
    }

    /// When there is something to do next though nothing has happened; none if that is never.
    pub fn deadline_us(&self) -> Option<u64> {
        self.schedule.peek().map(|Reverse((due_us, _))| *due_us)
    }

    /// The next carrier whose time to poll has come.
    pub fn next_due(&mut self, now_us: u64) -> Option<u32> {
        let Reverse((due_us, index)) = *self.schedule.peek()?;
        if due_us > now_us {
            return None;
        }
        self.schedule.pop();
        self.carriers[index as usize].is_filed = false;
        Some(index)
    }

    /// Has a carrier send what is to be sent now.
    pub fn pump(&mut self, index: u32, ledger: &Ledger, out: &mut Vec<u8>, now_us: u64) {
        while self.carriers[index as usize].asks.len() < ASKS_MAX {
            if let Some((session, due_us)) = self.carriers[index as usize].again.pop_front() {
                self.poll(session, due_us, ledger, out);
                continue;
            }
            let walked = self.carriers[index as usize].walked;
            let share = self.share(index);
            let session = self.session(index, walked % share);
            match self.work {
                Work::Nothing => return,
                Work::Poll if self.due_us(index, walked) > now_us => break,
                Work::Poll => self.poll(session, self.due_us(index, walked), ledger, out),
                _ if walked == share => return,
                Work::Join => self.join(session, out),
                Work::Finish => {
                    let end = ledger.end(self.room(session));
                    if u64::from(self.next[session as usize]) < end {
                        self.poll(session, now_us, ledger, out);
                    }
                }
                Work::Leave => self.leave(session, out),
            }
            self.carriers[index as usize].walked += 1;
        }
        if self.work == Work::Poll {
            self.file(index);
        }
    }

    /// Takes what the beginning of a carrier's `bytes` holds that others were given already; gives
    /// its length.
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
            let name = body.session;
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
                .map_err(|fault| format!("p{name}: {fault}"))
                .and(ended);
        }
        let (Line::Ok(_) | Line::Err(_)) = line else {
            // A notice, or something new.
            return Ok(());
        };
        let ask = carrier.asks.pop_front();
        let ask = ask.ok_or("a reply came to nothing that was asked")?;
        match *line {
            Line::Ok(words) => self.reply(index, ask, words, ledger, now_us),
            Line::Err(_) if self.is_lenient => Ok(()),
            _ => Err(format!("{ask}: {}", line::shown(whole))),
        }
    }

    /// What some carrier still waits for.
    pub fn awaited(&self) -> String {
        let mut asks = self.carriers.iter().filter_map(|c| c.asks.front());
        match asks.next() {
            Some(ask) => format!("there is no reply to the {ask}"),
            None => "pull sessions have not got everything".into(),
        }
    }

    fn reply(
        &mut self,
        index: u32,
        ask: Ask,
        words: &[u8],
        ledger: &mut Ledger,
        now_us: u64,
    ) -> Checked<()> {
        let (verb, rest) = line::word(words);
        let unclear = || format!("{ask}: this is no reply to it: OK {}", line::shown(words));
        match (ask, verb) {
            (Ask::Join(session), b"JOIN") => {
                let joined = self.has_joined(session, rest, ledger);
                joined.ok_or_else(unclear)?
            }
            (Ask::Resume(_), b"RESUME") | (Ask::Detach, b"DETACH") | (Ask::Leave(_), b"LEAVE") => {
                Ok(())
            }
            (Ask::Poll(session, due_us), b"POLL") => {
                let head = || {
                    let (lines, rest) = line::number(rest)?;
                    let last = line::field_number(rest, b"last=")?;
                    Some((u32::try_from(lines).ok()?, last, rest))
                };
                let (lines, last, rest) = head().ok_or_else(unclear)?;
                let reader = Reader {
                    room: self.room(session),
                    next: self.next[session as usize].into(),
                    is_pull: true,
                };
                self.carriers[index as usize].body = Some(Body {
                    lines,
                    session,
                    reader,
                    last,
                    has_more: line::field_number(rest, b"more=").unwrap_or(0) > 0,
                    due_us,
                });
                self.end_body(index, now_us)
            }
            _ => Err(unclear()),
        }
    }

    /// Takes the reply to a JOIN; none if it is not one.
    fn has_joined(
        &mut self,
        session: u32,
        words: &[u8],
        ledger: &mut Ledger,
    ) -> Option<Checked<()>> {
        let token = line::field(words, b"session=")?;
        let seq = line::field_number(words, b"seq=")?;
        let idle = line::field_number(words, b"idle=")?;
        let kept = &mut self.tokens[session as usize];
        if token.len() != 2 * TOKEN_BYTES {
            return None;
        }
        for (byte, digits) in kept.iter_mut().zip(token.chunks(2)) {
            let digit = |digit: u8| (digit as char).to_digit(16);
            *byte = (digit(digits[0])? << 4 | digit(digits[1])?) as u8;
        }
        let room = self.room(session);
        ledger.joined(room, seq);
        self.joined += 1;
        if idle < self.idle {
            return Some(Err(format!(
                "p{session} would expire between two polls: it needs an idle time of {} s and got \
                 {idle}; poll more often, or start the server with --max-idle {}",
                self.idle, self.idle
            )));
        }
        Some(Ok(()))
    }

    /// Ends a reply to POLL when all its lines were taken.
    fn end_body(&mut self, index: u32, now_us: u64) -> Checked<()> {
        let carrier = &mut self.carriers[index as usize];
        let Some(body) = carrier.body.take_if(|body| body.lines == 0) else {
            return Ok(());
        };
        if body.reader.next != body.last + 1 {
            return Err(format!(
                "p{}: the reply to POLL ended with event {}, and said last={}",
                body.session,
                body.reader.next - 1,
                body.last
            ));
        }
        self.next[body.session as usize] = body.reader.next as u32;
        self.polls += 1;
        self.poll_latencies
            .record(now_us.saturating_sub(body.due_us));
        if body.has_more {
            carrier.again.push_back((body.session, body.due_us));
        }
        Ok(())
    }

    fn room(&self, session: u32) -> u32 {
        session % self.rooms.len() as u32
    }

    /// How many sessions a carrier has.
    fn share(&self, index: u32) -> u64 {
        (self.tokens.len() - index as usize).div_ceil(self.carriers.len()) as u64
    }

    /// The number of the `nth` session of a carrier.
    fn session(&self, index: u32, nth: u64) -> u32 {
        index + nth as u32 * self.carriers.len() as u32
    }

    /// When the `nth` poll of a carrier is due: all polls are spread evenly.
    fn due_us(&self, index: u32, nth: u64) -> u64 {
        let offset_us = self.poll_every_us * u64::from(index) / self.carriers.len() as u64;
        self.start_us + (nth * self.poll_every_us + offset_us) / self.share(index)
    }

    fn file(&mut self, index: u32) {
        let carrier = &mut self.carriers[index as usize];
        if carrier.is_filed || carrier.asks.len() >= ASKS_MAX {
            return;
        }
        carrier.is_filed = true;
        let walked = carrier.walked;
        let due_us = self.due_us(index, walked);
        self.schedule.push(Reverse((due_us, index)));
    }

    fn ask(&mut self, index: u32, ask: Ask) {
        self.carriers[index as usize].asks.push_back(ask);
    }

    fn carrier_of(&self, session: u32) -> u32 {
        session % self.carriers.len() as u32
    }
}
