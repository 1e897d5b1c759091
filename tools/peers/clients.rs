//! Many clients of one server, in one thread and one poll: they come in, receive, and count what they
//! receive.
//!
//! What is said and when is the scenarios' business; clients that are in only count marks.

use std::net::SocketAddr;
use std::time::Duration;

use tools::clock::Clock;
use tools::net::{Conn, Net, Ready};

use crate::adapter::{Adapter, MARK, Opening, contains};

/// How much is remembered of what a client got last.
const TAIL_BYTES: usize = 80;
const READ_BYTES: usize = 256 * 1024;
/// After this much silence, a server has nothing more to send.
const SILENCE: Duration = Duration::from_millis(100);

/// Marks that a client got at once: who, how many it had before, how many these are.
pub struct Arrival {
    pub who: usize,
    pub before: u64,
    pub marks: u64,
}

/// How clients came in.
pub struct Joined {
    pub confirmed: usize,
    pub refused: usize,
    pub unconfirmed: usize,
    pub seconds: f64,
}

/// Clients that are to come in.
#[derive(Clone, Copy)]
pub struct Plan {
    pub count: usize,
    /// How many share a room; the first ones share room 0. Without it, the clients are senders.
    pub rooms_of: Option<usize>,
    /// How many may be on their way in at once.
    pub at_once: usize,
    /// What the system may keep for each of what it does not read; none for the system's default.
    pub receive_buffer: Option<usize>,
    pub deadline: Duration,
}

/// How far in a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Joining,
    In,
    /// It was not let in.
    Refused,
    /// It was in, and the server has closed its connection.
    CutOff,
}

/// One client. What it is for is not known here.
struct Client {
    conn: Conn,
    stage: Stage,
    /// What tells that it is in.
    confirmation: &'static [u8],
    /// The end of what it got before it was in.
    tail: Vec<u8>,
    /// Marks that it got.
    marks: u64,
}

impl Client {
    /// Looks through what it got for the confirmation that it is in; true if that is there.
    fn is_confirmed_by(&mut self, block: &[u8]) -> bool {
        self.tail.extend_from_slice(block);
        if contains(&self.tail, self.confirmation) {
            self.stage = Stage::In;
            self.tail = Vec::new();
            return true;
        }
        let excess = self.tail.len().saturating_sub(TAIL_BYTES);
        self.tail.drain(..excess);
        false
    }
}

/// The clients of one server. They are numbered in the order of their coming.
pub struct Clients {
    pub adapter: Adapter,
    clock: Clock,
    net: Net,
    ready: Vec<Ready>,
    clients: Vec<Client>,
    buffer: Vec<u8>,
    /// The byte that is counted.
    mark: u8,
    pending: usize,
}

impl Clients {
    /// Nobody, yet.
    pub fn new(adapter: Adapter, address: SocketAddr) -> Result<Clients, String> {
        let clock = Clock::start();
        let net = Net::new(address, clock);
        Ok(Clients {
            adapter,
            clock,
            net: net.map_err(|error| format!("cannot set up the poll: {error}"))?,
            ready: Vec::new(),
            clients: Vec::new(),
            buffer: vec![0; READ_BYTES],
            mark: MARK,
            pending: 0,
        })
    }

    /// How many clients there are, whatever became of them.
    pub fn len(&self) -> usize {
        self.clients.len()
    }

    /// Counts another byte than that of messages.
    pub fn count_byte(&mut self, mark: u8) {
        self.mark = mark;
    }

    /// Marks that a client got so far.
    pub fn marks(&self, who: usize) -> u64 {
        self.clients[who].marks
    }

    /// How many were in and then had their connection closed by the server.
    pub fn cut_off(&self) -> usize {
        let stages = self.clients.iter().map(|client| client.stage);
        stages.filter(|&stage| stage == Stage::CutOff).count()
    }

    /// Lets clients in, as fast as the plan allows.
    ///
    /// # Errors
    ///
    /// When the system fails; not when the server refuses somebody.
    pub fn join(&mut self, plan: Plan, mut arrival: impl FnMut(Arrival)) -> Result<Joined, String> {
        let first = self.clients.len();
        let start = Clock::start();
        while self.clients.len() < first + plan.count || self.pending > 0 {
            while self.clients.len() < first + plan.count && self.pending < plan.at_once {
                let who = self.clients.len();
                let opening = match plan.rooms_of {
                    Some(rooms_of) => (self.adapter.join)(who, (who - first) / rooms_of),
                    None => self.adapter.join_sender.clone(),
                };
                self.connect(opening, plan.receive_buffer)?;
                // Those who are connected already do not have to wait for the rest.
                if self.pending % 64 == 0 {
                    self.turn(Duration::ZERO, &mut arrival)?;
                }
            }
            let left = plan.deadline.saturating_sub(start.elapsed());
            if left.is_zero() {
                break;
            }
            if self.pending > 0 {
                self.turn(left, &mut arrival)?;
            }
        }
        let stages = self.clients[first..].iter().map(|client| client.stage);
        let count = |is: fn(Stage) -> bool| stages.clone().filter(|&stage| is(stage)).count();
        let confirmed = count(|stage| matches!(stage, Stage::In | Stage::CutOff));
        let refused = count(|stage| stage == Stage::Refused);
        let joined = Joined {
            confirmed,
            refused,
            unconfirmed: plan.count - confirmed - refused,
            seconds: start.elapsed().as_secs_f64(),
        };
        self.pending = 0;
        Ok(joined)
    }

    /// Lets all of them in, and waits until the server has nothing more to say about it.
    ///
    /// # Errors
    ///
    /// If not all get in.
    pub fn join_all(&mut self, plan: Plan) -> Result<(), String> {
        let joined = self.join(plan, |_| ())?;
        if joined.confirmed == plan.count {
            return self.settle();
        }
        let is_stray = |client: &&Client| matches!(client.stage, Stage::Joining | Stage::Refused);
        let stray = self.clients.iter().find(is_stray);
        let last = stray.map_or(&[][..], |client| &client.tail);
        Err(format!(
            "of {} clients {} were refused, and {} not confirmed within {:.0} s; one was sent \
             \"{}\"; does the server allow that many?",
            plan.count,
            joined.refused,
            joined.unconfirmed,
            joined.seconds,
            last.escape_ascii()
        ))
    }

    /// Lets a client in that will say something, and gives its number.
    pub fn join_sender(&mut self, deadline: Duration) -> Result<usize, String> {
        let sender = Plan {
            count: 1,
            rooms_of: None,
            at_once: 1,
            receive_buffer: None,
            deadline,
        };
        self.join_all(sender)?;
        Ok(self.clients.len() - 1)
    }

    /// Waits until the server has nothing more to send.
    pub fn settle(&mut self) -> Result<(), String> {
        while self.turn(SILENCE, |_| ())? > 0 {}
        Ok(())
    }

    /// Lets time pass; clients that are asked for a sign of life give one.
    pub fn rest(&mut self, duration: Duration) -> Result<(), String> {
        let start = Clock::start();
        loop {
            let left = duration.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Ok(());
            }
            self.turn(left, |_| ())?;
        }
    }

    /// Makes a client never read again. (The poll may still tell of it once.)
    pub fn stop_reading(&mut self, who: usize) -> Result<(), String> {
        self.net.forget(&mut self.clients[who].conn)
    }

    /// Reads what is left for those who did not read, to see who was cut off.
    pub fn read_at_last(&mut self, who: usize) {
        self.read(who, &mut |_| ());
    }

    /// Says messages as one of the clients: now, or as soon as its stream takes them.
    pub fn say(&mut self, who: usize, messages: u64) {
        let conn = &mut self.clients[who].conn;
        for _ in 0..messages {
            conn.out.extend_from_slice(&self.adapter.say);
        }
        conn.flush();
    }

    /// One turn: sleeps until something happens or `timeout` is over, and counts what has come.
    /// Gives how many events there were.
    pub fn turn(
        &mut self,
        timeout: Duration,
        mut arrival: impl FnMut(Arrival),
    ) -> Result<usize, String> {
        let until_us = self.clock.now_us() + timeout.as_micros() as u64;
        self.net.wait(until_us, &mut self.ready)?;
        for at in 0..self.ready.len() {
            let ready = self.ready[at];
            if ready.is_writable {
                self.clients[ready.index].conn.writable();
            }
            if ready.is_readable {
                self.read(ready.index, &mut arrival);
            }
        }
        Ok(self.ready.len())
    }

    fn connect(&mut self, opening: Opening, receive_buffer: Option<usize>) -> Result<(), String> {
        let mut conn = self.net.connect(self.clients.len(), receive_buffer)?;
        conn.out = opening.bytes;
        conn.flush();
        self.pending += 1;
        self.clients.push(Client {
            conn,
            stage: Stage::Joining,
            confirmation: opening.confirmation,
            tail: Vec::new(),
            marks: 0,
        });
        Ok(())
    }

    fn read(&mut self, who: usize, arrival: &mut impl FnMut(Arrival)) {
        loop {
            match self.clients[who].conn.read(&mut self.buffer) {
                Ok(Some(len)) => {
                    self.take(who, len, arrival);
                    // Less than was asked for is all there is.
                    if len < self.buffer.len() {
                        return;
                    }
                }
                Ok(None) => return,
                Err(_) => return self.closed(who),
            }
        }
    }

    fn take(&mut self, who: usize, len: usize, arrival: &mut impl FnMut(Arrival)) {
        let block = &self.buffer[..len];
        let client = &mut self.clients[who];
        let marks = memchr::memchr_iter(self.mark, block).count() as u64;
        if marks > 0 {
            arrival(Arrival {
                who,
                before: client.marks,
                marks,
            });
            client.marks += marks;
        } else if let Some((asked, answer)) = self.adapter.keep_alive {
            // Asked for while messages come it is not seen. That does no harm: all servers are
            // set up to ask not before an hour is over.
            if contains(block, asked) {
                client.conn.out.extend_from_slice(answer);
                client.conn.flush();
            }
        }
        if client.stage == Stage::Joining && client.is_confirmed_by(block) {
            self.pending -= 1;
        }
    }

    fn closed(&mut self, who: usize) {
        let client = &mut self.clients[who];
        client.stage = match client.stage {
            Stage::Joining => {
                self.pending = self.pending.saturating_sub(1);
                Stage::Refused
            }
            Stage::In => Stage::CutOff,
            stage => stage,
        };
    }
}
