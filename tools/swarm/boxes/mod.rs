//! Load on several servers at once whose rooms are linked: what each passes on from the others is exact.
//!
//! Servers may be stopped, killed, upgraded and started again meanwhile, and what links them may fail:
//! sessions go on where they were, or join again if their server has begun another life. When no more is
//! said, all has to arrive, but for what a server has counted as missed.

mod event;
mod ledger;
mod log;
mod pair;
mod report;
mod session;
mod take;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use tools::arguments::complain;
use tools::client::Client;
use tools::clock::Clock;
use tools::net::{Net, Ready};

use crate::ledger::Checked;
use crate::options::Plan;
use crate::run::{expect_descriptors, resolve};
use crate::senders::write_say;
use ledger::{Ledger, Reader};
use report::Report;
use session::{Ask, Role, Session, Stage, Wave};

/// What is read at once, unless messages are very long.
const BUFFER_BYTES: usize = 256 * 1024;
/// The time between two looks at sessions that have something to do at a time.
const TEND_EVERY_US: u64 = 10_000;
/// The time between two counts of rooms that are not yet as they have to be.
const COUNT_EVERY_US: u64 = 200_000;
/// How soon another connection is tried.
const AGAIN_US: u64 = 50_000;
/// When one connection to a server breaks, all others do within this time.
const BREAKING_US: u64 = 5_000_000;
/// A sender says nothing more while this many bytes wait for its connection to take them.
const OUT_BYTES_MAX: usize = 64 * 1024;

/// What all are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// All join, and the boxes get to know each other's members.
    Gathering,
    Running,
    /// All that are away come back, and boxes that are lost, too.
    Healing,
    /// Each sender has said one message more, and all is to arrive.
    Arriving,
    Leaving,
}

/// A server.
struct Home {
    address: SocketAddr,
    /// Its name on the link.
    name: String,
    /// Which life of the server it is; empty before the first.
    boot: String,
    lives: u64,
    /// How many times it has lost its connections, and when it did last.
    era: u32,
    broke_us: u64,
}

struct Swarm<'a> {
    plan: &'a Plan,
    rooms: Vec<String>,
    /// The first SIGINT or SIGTERM has come. The second ends the program.
    is_interrupted: Arc<AtomicBool>,
    clock: Clock,
    net: Net,
    homes: Vec<Home>,
    sessions: Vec<Session>,
    /// The sessions of the senders.
    senders: Vec<usize>,
    ledger: Ledger,
    buffer: Vec<u8>,
    phase: Phase,
    phase_us: u64,
    /// When sessions are looked at next.
    tend_us: u64,
    /// When rooms are counted next.
    count_us: u64,
    /// What is wrong with the rooms' members, as they were counted last.
    uncounted: Option<String>,
    report: Report,
}

/// Does what the plan says; gives the report.
///
/// # Errors
///
/// What is in the way, or what a server did wrong.
pub fn run(plan: &Plan) -> Result<String, String> {
    expect_descriptors(plan.addresses.len() * plan.connections())?;
    let homes: Vec<_> = plan
        .addresses
        .iter()
        .map(|address| greet(address))
        .collect();
    let homes = homes.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (index, home) in homes.iter().enumerate() {
        if homes[..index].iter().any(|other| other.name == home.name) {
            return Err(format!("two of the servers are linked as {}", home.name));
        }
    }
    let mut swarm = Swarm::new(plan, homes).map_err(|error| format!("cannot start: {error}"))?;
    let done = swarm.work();
    swarm.leave();
    done?;
    let report = swarm.report.object(plan, &mut swarm.ledger);
    Ok(match plan.json {
        true => format!("{report}\n"),
        false => report.lines(),
    })
}

/// Asks a server for its name on the link.
fn greet(address: &str) -> Result<Home, String> {
    let resolved = resolve(address)?;
    let mut client = Client::open(resolved)?;
    let hello = client.line()?.to_owned();
    let name = hello.split(' ').find_map(|word| word.strip_prefix("link="));
    let name = name
        .filter(|_| hello.starts_with("HELLO "))
        .ok_or_else(|| {
            format!("{address}: this server is not linked: {hello:?}; start it with --link")
        })?;
    Ok(Home {
        address: resolved,
        name: name.to_owned(),
        boot: String::new(),
        lives: 0,
        era: 0,
        broke_us: 0,
    })
}

impl<'a> Swarm<'a> {
    fn new(plan: &'a Plan, homes: Vec<Home>) -> std::io::Result<Swarm<'a>> {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&is_interrupted))?;
            flag::register(signal, Arc::clone(&is_interrupted))?;
        }
        let clock = Clock::start();
        let (rooms, names) = (plan.room_names(), homes.iter().map(|h| h.name.clone()));
        let names: Vec<_> = names.collect();
        let (mut sessions, mut senders) = (Vec::new(), Vec::new());
        for home in 0..homes.len() {
            for (letter, count) in [
                ('r', plan.receivers),
                ('p', plan.pulls),
                ('s', plan.senders),
            ] {
                for number in 0..count {
                    let room = number % rooms.len();
                    let role = match letter {
                        's' => Role::Sender(senders.len() as u32),
                        _ => Role::Reader(Reader {
                            home,
                            room,
                            next: 0,
                            is_pull: letter == 'p',
                        }),
                    };
                    let wave = match letter {
                        'r' if number < rooms.len() => Wave::First,
                        's' => Wave::Sender,
                        _ => Wave::Reader,
                    };
                    if letter == 's' {
                        senders.push(sessions.len());
                    }
                    let name = format!("{letter}{number}");
                    sessions.push(Session::new(role, [home, room], name, wave));
                }
            }
        }
        Ok(Swarm {
            plan,
            is_interrupted,
            clock,
            net: Net::new(homes[0].address, clock)?,
            ledger: Ledger::new(names, rooms.len(), plan.senders, plan.size),
            rooms,
            homes,
            sessions,
            senders,
            buffer: vec![0; BUFFER_BYTES.max(4 * plan.size)],
            phase: Phase::Gathering,
            phase_us: 0,
            tend_us: 0,
            count_us: 0,
            uncounted: None,
            report: Report::default(),
        })
    }

    /// Everything up to the moment when all has arrived.
    fn work(&mut self) -> Checked<()> {
        self.go_through(Phase::Gathering)?;
        self.report.join_us = self.clock.now_us();
        self.ledger.expect_all();
        // Whoever lets things break meanwhile waits for that.
        complain("swarm", "all have joined");
        self.go_through(Phase::Running)?;
        let (start_us, end_us) = (self.phase_us, self.clock.now_us());
        self.go_through(Phase::Healing)?;
        self.ledger.expect_all();
        let now_us = self.clock.now_us();
        for sender in 0..self.senders.len() {
            self.say(sender, now_us);
        }
        self.go_through(Phase::Arriving)?;
        let now_us = self.clock.now_us();
        self.report.run_us = end_us - start_us;
        self.report.settle_us = now_us - end_us;
        self.report.lives = self.homes.iter().map(|home| home.lives - 1).sum();
        Ok(())
    }

    /// Works until a phase is over.
    fn go_through(&mut self, phase: Phase) -> Checked<()> {
        let mut ready = Vec::new();
        self.phase = phase;
        self.phase_us = self.clock.now_us();
        (self.tend_us, self.count_us) = (0, 0);
        while !self.is_over()? {
            let now_us = self.clock.now_us();
            if now_us >= self.tend_us {
                self.tend_us = now_us + TEND_EVERY_US;
                self.tend(now_us)?;
            }
            let due_us = match phase {
                Phase::Running => self.pump(now_us),
                _ => u64::MAX,
            };
            self.net.wait(due_us.min(self.tend_us), &mut ready)?;
            for ready in &ready {
                if let Some(net) = self.sessions[ready.index]
                    .net
                    .as_mut()
                    .filter(|_| ready.is_writable)
                {
                    net.writable();
                }
                if ready.is_readable {
                    self.hear(ready)?;
                }
            }
        }
        Ok(())
    }

    fn is_over(&mut self) -> Checked<bool> {
        let now_us = self.clock.now_us();
        let passed_us = now_us - self.phase_us;
        let missing = match self.phase {
            Phase::Running => {
                let is_interrupted = self.is_interrupted.load(Ordering::Relaxed);
                return Ok(is_interrupted || passed_us >= self.plan.run_us);
            }
            Phase::Leaving => {
                let mut sessions = self.sessions.iter();
                let is_late = passed_us > self.plan.patience_us / 4;
                return Ok(is_late || sessions.all(|session| session.net.is_none()));
            }
            _ if self.is_interrupted.load(Ordering::Relaxed) && self.phase < Phase::Running => {
                return Err("interrupted before all had joined; there is nothing to report".into());
            }
            Phase::Gathering => self.absent().or_else(|| self.uncounted(now_us)),
            Phase::Healing => {
                let absent = self.absent().or_else(|| self.ledger.lost_box());
                absent.or_else(|| self.uncounted(now_us))
            }
            Phase::Arriving => self
                .absent()
                .or_else(|| self.unread())
                .or_else(|| self.ledger.open()),
        };
        match missing {
            None => Ok(true),
            Some(_) if passed_us < self.plan.patience_us => Ok(false),
            Some(missing) => Err(format!(
                "after {} s still: {missing}",
                self.plan.patience_us as f64 / 1e6
            )),
        }
    }

    /// Somebody who has not joined.
    fn absent(&self) -> Option<String> {
        let absent = self.sessions.iter().find(|s| s.stage != Stage::Joined)?;
        let stage = absent.stage;
        Some(format!("{} is {stage:?}", self.shown(absent)))
    }

    /// Somebody who has not got all that others in the room have.
    fn unread(&self) -> Option<String> {
        let has_all = |session: &&Session| match &session.role {
            Role::Reader(reader) => session.body.is_none() && self.ledger.has_all(reader),
            Role::Sender(_) => true,
        };
        let found = self.sessions.iter().find(|session| !has_all(session))?;
        Some(format!("{} has not got everything", self.shown(found)))
    }

    /// What is wrong with the rooms' members on some box: those of all boxes have to be listed.
    fn uncounted(&mut self, now_us: u64) -> Option<String> {
        if now_us >= self.count_us {
            self.uncounted = self.count();
            self.count_us = self.clock.now_us() + COUNT_EVERY_US;
        }
        self.uncounted.clone()
    }

    fn count(&self) -> Option<String> {
        for home in &self.homes {
            let counted = match rooms(home.address) {
                Ok(counted) => counted,
                Err(fault) => return Some(format!("ROOMS on {}: {fault}", home.name)),
            };
            for (number, room) in self.rooms.iter().enumerate() {
                let all = self.sessions.iter().filter(|s| s.room == number).count() as u64;
                let found = counted
                    .iter()
                    .find(|(name, _)| name.eq_ignore_ascii_case(room));
                let found = found.map_or(0, |(_, members)| *members);
                if found != all {
                    let name = &home.name;
                    return Some(format!("{room} has {found} of {all} members on {name}"));
                }
            }
        }
        None
    }

    fn shown(&self, session: &Session) -> String {
        let (room, home) = (&self.rooms[session.room], &self.homes[session.home].name);
        format!("{} in {room} on {home}", session.name)
    }

    /// Makes sessions do what they have to do at a time: connect, join, go on, poll.
    fn tend(&mut self, now_us: u64) -> Checked<()> {
        for home in 0..self.homes.len() {
            let era = self.homes[home].era;
            let sessions = self.sessions.iter().filter(|s| s.home == home);
            let lagging = sessions.clone().find(|s| s.net.is_some() && s.era < era);
            let is_breaking = lagging.is_some();
            let broken_us = now_us.saturating_sub(self.homes[home].broke_us);
            if let Some(lagging) = lagging.filter(|_| broken_us > BREAKING_US) {
                let shown = self.shown(lagging);
                return Err(format!(
                    "others there lost their connections, and not {shown}"
                ));
            }
            let is_away = sessions.clone().any(|s| s.stage < Stage::Joined);
            if is_away && era > 0 && broken_us > self.plan.patience_us {
                let name = &self.homes[home].name;
                return Err(format!("{name} does not come back"));
            }
            let wave = sessions.filter(|s| s.token.is_none()).map(|s| s.wave).min();
            for index in 0..self.sessions.len() {
                if self.sessions[index].home == home {
                    self.tend_session(index, is_breaking, wave, now_us)?;
                }
            }
            self.trim(home);
        }
        Ok(())
    }

    fn tend_session(
        &mut self,
        index: usize,
        is_breaking: bool,
        wave: Option<Wave>,
        now_us: u64,
    ) -> Checked<()> {
        let session = &mut self.sessions[index];
        match session.stage {
            Stage::Away if session.due_us <= now_us && !is_breaking => {
                let home = &self.homes[session.home];
                match self.net.connect_to(home.address, index, None) {
                    Ok(net) => {
                        session.net = Some(net);
                        (session.stage, session.era) = (Stage::Connecting, home.era);
                    }
                    Err(error) if home.lives == 0 => return Err(error),
                    Err(_) => session.due_us = now_us + AGAIN_US,
                }
            }
            Stage::Greeted => match session.token.take() {
                Some(token) => {
                    session.resume(&token);
                    session.token = Some(token);
                }
                None if wave.is_some_and(|wave| session.wave <= wave) => {
                    session.join(&self.rooms[session.room]);
                }
                None => {}
            },
            Stage::Joined if session.may_poll() && session.due_us <= now_us => {
                session.poll();
                session.due_us = match self.phase {
                    Phase::Arriving => now_us + COUNT_EVERY_US,
                    _ => now_us + self.plan.poll_every_us,
                };
            }
            _ => {}
        }
        Ok(())
    }

    /// Forgets what everybody on a box has got.
    fn trim(&mut self, home: usize) {
        for room in 0..self.rooms.len() {
            let sessions = self.sessions.iter();
            let next = sessions
                .filter(|s| (s.home, s.room) == (home, room))
                .map(|session| {
                    match &session.role {
                        Role::Reader(reader) if session.token.is_some() => reader.next,
                        // It may have joined, and its first event may be any.
                        Role::Reader(_) if session.stage == Stage::Joining => 0,
                        _ => u64::MAX,
                    }
                });
            match next.min() {
                None | Some(u64::MAX) => {}
                Some(next) => self.ledger.trim(home, room, next),
            }
        }
    }

    /// Says all that is due; gives when something is due next.
    fn pump(&mut self, now_us: u64) -> u64 {
        let mut next_us = u64::MAX;
        for sender in 0..self.senders.len() {
            loop {
                let session = &self.sessions[self.senders[sender]];
                let net = session
                    .net
                    .as_ref()
                    .filter(|_| session.stage == Stage::Joined);
                if net.is_none_or(|net| net.out_len() >= OUT_BYTES_MAX) {
                    break;
                }
                let said = u64::from(self.ledger.said(sender as u32));
                let number = said * self.senders.len() as u64 + sender as u64;
                let rate = u64::from(self.plan.rate());
                let due_us = self.phase_us + number * 1_000_000 / rate;
                if due_us > now_us {
                    next_us = next_us.min(due_us);
                    break;
                }
                // The time when it was to be said, so that a wait for the server counts as one.
                self.say(sender, due_us);
            }
        }
        next_us
    }

    fn say(&mut self, sender: usize, stamp_us: u64) {
        let session = &mut self.sessions[self.senders[sender]];
        if let Some(net) = &mut session.net {
            let message = self.ledger.say(sender as u32);
            write_say(&mut net.out, message, stamp_us, self.plan.size);
            net.flush();
            session.asks.push_back(Ask::Say);
        }
    }

    /// Lets everybody leave. What goes wrong with that does not matter any more.
    fn leave(&mut self) {
        for session in &mut self.sessions {
            session.stage = match &mut session.net {
                None => Stage::Gone,
                Some(net) => {
                    net.out.extend_from_slice(b"QUIT\r\n");
                    net.flush();
                    Stage::Leaving
                }
            };
        }
        let _ = self.go_through(Phase::Leaving);
    }

    /// Reads from a connection all that there is.
    fn hear(&mut self, ready: &Ready) -> Checked<()> {
        loop {
            let session = &mut self.sessions[ready.index];
            let (end, has_more) = match session.read(&mut self.buffer) {
                Ok(Some(read)) => read,
                Ok(None) => return Ok(()),
                Err(_) => {
                    self.broke(ready.index);
                    return Ok(());
                }
            };
            if session.stage < Stage::Leaving {
                let buffer = std::mem::take(&mut self.buffer);
                let taken = self.take(ready.index, &buffer[..end]);
                self.buffer = buffer;
                let session = &mut self.sessions[ready.index];
                let taken = match taken {
                    Ok(taken) => taken,
                    Err(fault) => {
                        let shown = self.shown(&self.sessions[ready.index]);
                        return Err(format!("{shown}: {fault}"));
                    }
                };
                session.rest.extend_from_slice(&self.buffer[taken..end]);
                if session.rest.len() > self.buffer.len() / 2 {
                    let shown = self.shown(&self.sessions[ready.index]);
                    return Err(format!("{shown}: the server sent a line without an end"));
                }
            }
            if !has_more && !ready.is_closed {
                return Ok(());
            }
        }
    }

    /// A connection is at its end.
    fn broke(&mut self, index: usize) {
        let now_us = self.clock.now_us();
        let session = &mut self.sessions[index];
        let home = &mut self.homes[session.home];
        if session.stage >= Stage::Leaving {
            session.break_off(u64::MAX);
            session.stage = Stage::Gone;
            return;
        }
        if session.stage > Stage::Connecting {
            self.report.reconnects += 1;
            if session.era == home.era {
                home.era += 1;
                home.broke_us = now_us;
            }
        }
        session.break_off(now_us + AGAIN_US);
    }

    /// A server has greeted a session.
    fn greeted(&mut self, index: usize, boot: &str, name: &str) -> Checked<()> {
        let at = self.sessions[index].home;
        let home = &mut self.homes[at];
        if home.name != name {
            return Err(format!("the server is now linked as {name}"));
        }
        self.sessions[index].stage = Stage::Greeted;
        if home.boot != boot {
            boot.clone_into(&mut home.boot);
            home.lives += 1;
            self.ledger.begin_life(at);
            for session in self.sessions.iter_mut().filter(|s| s.home == at) {
                session.token = None;
                session.is_unsure = false;
            }
        }
        Ok(())
    }
}

/// The rooms on a server, and how many members each has, wherever they are.
fn rooms(address: SocketAddr) -> Result<Vec<(String, u64)>, String> {
    let mut client = Client::greeted(address)?;
    let mut rooms: Vec<(String, u64)> = Vec::new();
    loop {
        let after = rooms.last().map(|(name, _)| format!(" after={name}"));
        let command = format!("ROOMS{}\n", after.unwrap_or_default());
        let head = client.ask(&command, "OK ROOMS ")?.to_owned();
        let (count, more) = head.split_once(" more=").unwrap_or((&head, "0"));
        for _ in 0..count.parse().unwrap_or(0) {
            let mut words = client.expect("ROOM ")?.split(' ');
            let name = words.next().unwrap_or_default().to_owned();
            let members = words.next().and_then(|count| count.parse().ok());
            rooms.push((name, members.ok_or("a ROOM without members")?));
        }
        if more.split(' ').next() == Some("0") {
            return Ok(rooms);
        }
    }
}
