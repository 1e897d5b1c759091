//! The loop: connects everybody, has them join, talk and leave, and measures that.

mod turn;
mod watch;

use std::io;
use std::mem::take;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

use crate::conn::{Conn, Role, Stage};
use crate::ledger::Checked;
use crate::members::Members;
use crate::options::{Pace, Plan};
use crate::pulls::Work;
use crate::report::Report;
use tools::client::Client;
use tools::clock::Clock;
use tools::net::{Net, Ready, raise_descriptors};
use tools::process::Process;

/// Descriptors besides those of connections.
const DESCRIPTORS_BESIDES: usize = 32;
/// Connections that wait for their HELLO at once: fewer than a server lets wait to be accepted.
const CONNECTING_MAX: usize = 512;
/// Sessions that wait for the reply to their JOIN at once.
const JOINING_MAX: usize = 1024;
/// What is read at once, unless messages are very long.
const BUFFER_BYTES: usize = 256 * 1024;
/// How often it is checked whether it makes sense to go on.
const CHECK_EVERY_US: u64 = 200_000;

/// What all are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connecting,
    JoiningPulls,
    Joining,
    /// All have joined, and what tells them so is still on its way.
    Settling,
    Running,
    /// Nothing more is said, and what was said has still to arrive.
    Arriving,
    /// Pull sessions fetch what they have not got.
    Fetching,
    /// Those with a connection of their own go.
    Quitting,
    /// Pull sessions get the replies they wait for, ...
    Ending,
    /// ... and go.
    Leaving,
}

pub struct Swarm<'a> {
    plan: &'a Plan,
    address: SocketAddr,
    /// The first SIGINT or SIGTERM has come. The second ends the program.
    is_interrupted: Arc<AtomicBool>,
    clock: Clock,
    net: Net,
    members: Members<'a>,
    conns: Vec<Conn>,
    /// How many connections there are to be now.
    connect_to: usize,
    /// How many of all connections were asked to join.
    asked: usize,
    buffer: Vec<u8>,
    /// When something was last read.
    heard_us: u64,
    phase_us: u64,
    /// How many connections wait for their end.
    leaving: usize,
    /// How many times the server had throttled clients before, if it tells.
    throttled: Option<u64>,
    has_asked_why: bool,
    has_told_throttled: bool,
    report: Report,
}

/// Does what the plan says; gives the report.
///
/// # Errors
///
/// What is in the way, or what the server did wrong.
pub fn run(plan: &Plan) -> Result<String, String> {
    let address = resolve(plan.address())?;
    expect_descriptors(plan.connections())?;
    let throttled = lines_throttled(address).map_err(|error| with_hint(error, plan))?;
    let server = plan.pid.map(Process::find).transpose()?;
    let own = Process::own();
    let mut swarm = Swarm::new(plan, address).map_err(|error| format!("cannot start: {error}"))?;
    swarm.throttled = throttled;
    if let Some(server) = &server {
        swarm.report.resident_kib_start = Some(server.resident_kib()?);
    }
    let measured = swarm.measure(server.as_ref(), &own);
    swarm.leave();
    measured?;
    let throttled = swarm.tell_throttled();
    let mut report = swarm.finish();
    report.lines_throttled = throttled;
    if let Some(server) = &server {
        report.resident_kib_end = Some(server.resident_kib()?);
        // The system counts the peak less exactly than what is resident.
        report.resident_kib_peak = report.resident_kib_joined.max(Some(server.peak_kib()?));
    }
    report.swarm_resident_kib = own.peak_kib()?;
    let report = report.object(plan);
    Ok(match plan.json {
        true => format!("{report}\n"),
        false => report.lines(),
    })
}

impl<'a> Swarm<'a> {
    fn new(plan: &'a Plan, address: SocketAddr) -> io::Result<Swarm<'a>> {
        let is_interrupted = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 130, Arc::clone(&is_interrupted))?;
            flag::register(signal, Arc::clone(&is_interrupted))?;
        }
        let clock = Clock::start();
        Ok(Swarm {
            plan,
            address,
            is_interrupted,
            clock,
            net: Net::new(address, clock)?,
            members: Members::new(plan),
            conns: Vec::with_capacity(plan.connections()),
            connect_to: 0,
            asked: 0,
            buffer: vec![0; BUFFER_BYTES.max(4 * plan.size)],
            heard_us: 0,
            phase_us: 0,
            leaving: 0,
            throttled: None,
            has_asked_why: false,
            has_told_throttled: false,
            report: Report::default(),
        })
    }

    /// Everything up to the moment when all has arrived.
    fn measure(&mut self, server: Option<&Process>, own: &Process) -> Checked<()> {
        // Pull sessions come first, so that the server need tell nobody of a million of them.
        let mut connect_us = 0;
        for (connect_to, joining) in [
            (self.plan.carriers(), Phase::JoiningPulls),
            (self.plan.connections(), Phase::Joining),
        ] {
            self.connect_to = connect_to;
            self.work(Phase::Connecting)?;
            connect_us += self.clock.now_us() - self.phase_us;
            if joining == Phase::Joining {
                self.members.ledger.start();
            }
            self.work(joining)?;
        }
        self.report.connect_us = connect_us;
        self.report.join_us = self.clock.now_us();
        self.work(Phase::Settling)?;
        self.members.open(&mut self.conns);
        if let Some(server) = server {
            self.report.resident_kib_joined = Some(server.resident_kib()?);
        }
        let cpu_ns = || Ok::<_, String>((server.map(Process::cpu_ns).transpose()?, own.cpu_ns()?));
        let before = cpu_ns()?;
        self.work(Phase::Running)?;
        let (start_us, end_us) = (self.phase_us, self.clock.now_us());
        if let Pace::Rate(_) = self.plan.pace() {
            // What was due by the end is said, if only this program was late.
            self.act(Phase::Running, end_us)?;
        }
        self.report.unsent = self.members.senders.unsent(end_us);
        self.work(Phase::Arriving)?;
        self.work(Phase::Fetching)?;
        let after = cpu_ns()?;
        self.report.server_cpu_ns = after.0.zip(before.0).map(|(after, before)| after - before);
        self.report.swarm_cpu_ns = after.1 - before.1;
        self.report.run_us = self.clock.now_us() - start_us;
        match self.members.ledger.leftover() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// Lets everybody leave, so that the server is free of them at once. What goes wrong with that does
    /// not matter any more.
    fn leave(&mut self) {
        self.members.pulls.is_lenient = true;
        for index in 0..self.conns.len() {
            match self.conns[index].role {
                Role::Carrier(_) => {}
                _ => self.quit(index),
            }
        }
        for phase in [Phase::Quitting, Phase::Ending, Phase::Leaving] {
            if self.work(phase).is_err() {
                return;
            }
        }
        for index in 0..self.conns.len() {
            self.quit(index);
        }
        let _ = self.work(Phase::Quitting);
    }

    fn quit(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.stage >= Stage::Leaving {
            return;
        }
        if matches!(conn.role, Role::Dead) && conn.stage == Stage::Joined {
            // It reads again, but only to see the end.
            self.net.remember(index, &mut conn.net);
        }
        if conn.is_person() && conn.stage >= Stage::Joining {
            conn.net.out.extend_from_slice(b"/quit\r\n");
        }
        // If TALK was refused, it is no person's.
        conn.net.out.extend_from_slice(b"QUIT\r\n");
        conn.stage = Stage::Leaving;
        self.leaving += 1;
        conn.net.flush();
    }

    fn finish(mut self) -> Report {
        let members = &mut self.members;
        self.report.messages = members.senders.messages;
        self.report.deliveries = members.ledger.deliveries + members.ledger.pull_deliveries;
        self.report.pull_deliveries = members.ledger.pull_deliveries;
        self.report.lost = members.ledger.lost;
        self.report.polls = members.pulls.polls;
        self.report.latencies = take(&mut members.ledger.latencies);
        self.report.pull_latencies = take(&mut members.ledger.pull_latencies);
        self.report.poll_latencies = take(&mut members.pulls.poll_latencies);
        self.report
    }

    /// Does what belongs to a phase until it is over.
    fn work(&mut self, phase: Phase) -> Checked<()> {
        let mut ready = Vec::new();
        self.phase_us = self.clock.now_us();
        self.heard_us = self.phase_us;
        self.begin(phase);
        while !self.is_over(phase) {
            let now_us = self.clock.now_us();
            self.check(phase, now_us)?;
            self.act(phase, now_us)?;
            let turned = self.turn(phase, &mut ready);
            // What the server said tells more than that it closed the connection then.
            match self.members.failure.take() {
                Some(failure) if phase < Phase::Quitting => return Err(failure),
                _ => turned?,
            }
        }
        Ok(())
    }

    fn begin(&mut self, phase: Phase) {
        let work = match phase {
            Phase::JoiningPulls => Work::Join,
            Phase::Running => {
                self.members.senders.start(self.phase_us);
                Work::Poll
            }
            Phase::Arriving | Phase::Ending => Work::Nothing,
            Phase::Fetching => Work::Finish,
            Phase::Leaving => Work::Leave,
            _ => return,
        };
        self.members.pulls.begin(work, self.phase_us);
        for index in 0..self.plan.carriers().min(self.conns.len()) {
            self.pump(index, self.phase_us);
        }
    }

    fn is_over(&self, phase: Phase) -> bool {
        let (members, plan) = (&self.members, self.plan);
        match phase {
            Phase::Connecting => members.greeted == self.connect_to,
            Phase::JoiningPulls => members.pulls.is_done(),
            Phase::Joining => members.joined == plan.connections() - plan.carriers(),
            Phase::Settling => self.conns.iter().all(|conn| members.is_settled(conn)),
            Phase::Running => {
                self.is_interrupted.load(Ordering::Relaxed)
                    || self.clock.now_us() >= self.phase_us + plan.run_us
            }
            Phase::Arriving => members.ledger.in_flight == 0 && members.pulls.is_done(),
            Phase::Fetching => members.pulls.is_done(),
            Phase::Ending | Phase::Leaving => {
                let mut carriers = self.conns.iter().take(plan.carriers());
                members.pulls.is_done() || carriers.all(|conn| conn.stage == Stage::Gone)
            }
            Phase::Quitting => self.leaving == 0,
        }
    }

    /// Does what is to be done without having heard anything.
    fn act(&mut self, phase: Phase, now_us: u64) -> Checked<()> {
        match phase {
            Phase::Connecting => {
                let waiting = self.conns.len() - self.members.greeted;
                let space = CONNECTING_MAX.saturating_sub(waiting);
                for _ in 0..space.min(self.connect_to - self.conns.len()) {
                    self.connect()?;
                }
            }
            Phase::Joining => {
                let left = self.members.may_join() - self.asked;
                let space = JOINING_MAX.saturating_sub(self.asked - self.members.joined);
                for _ in 0..space.min(left) {
                    let index = self.plan.carriers() + self.asked;
                    self.asked += 1;
                    self.members.join(&mut self.conns[index]);
                    self.conns[index].net.flush();
                }
            }
            Phase::Running => {
                let first = self.conns.len() - self.plan.senders;
                let (members, conns) = (&mut self.members, &mut self.conns[first..]);
                let in_flight = &mut members.ledger.in_flight;
                members.senders.pump(conns, in_flight, now_us);
                for sender in members.senders.spoke.drain(..) {
                    conns[sender as usize].net.flush();
                }
                while let Some(carrier) = self.members.pulls.next_due(now_us) {
                    self.pump(carrier as usize, now_us);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self) -> Checked<()> {
        let index = self.conns.len();
        let net = self.net.connect(index, None)?;
        self.conns.push(Conn::new(net, self.members.member(index)));
        Ok(())
    }

    /// Makes a carrier do what it can do now.
    fn pump(&mut self, index: usize, now_us: u64) {
        let (members, conn) = (&mut self.members, &mut self.conns[index]);
        let out = &mut conn.net.out;
        members
            .pulls
            .pump(index as u32, &members.ledger, out, now_us);
        conn.net.flush();
    }
}

/// The address of a host and a port.
pub fn resolve(address: &str) -> Result<SocketAddr, String> {
    let found = address.to_socket_addrs().map(|mut found| found.next());
    match found {
        Ok(Some(found)) => Ok(found),
        Ok(None) => Err(format!("--addr {address}: there is no such host")),
        Err(error) => Err(format!("--addr {address}: {error}")),
    }
}

/// Makes sure that this many connections can be open.
pub fn expect_descriptors(connections: usize) -> Result<(), String> {
    let needed = (connections + DESCRIPTORS_BESIDES) as u64;
    let allowed = raise_descriptors(needed);
    match allowed >= needed {
        true => Ok(()),
        false => Err(format!(
            "{connections} connections take {needed} open files, and the system allows {allowed}; \
             raise that as root with: ulimit -Hn {needed}; or give fewer connections"
        )),
    }
}

/// How many times the server has made clients wait because they sent too fast. A server with keys
/// does not tell strangers.
fn lines_throttled(address: SocketAddr) -> Result<Option<u64>, String> {
    Ok(Client::greeted(address)?.stat("lines-throttled").ok())
}

/// What is wrong with a server that accepts a connection and does not answer is likely its limits.
fn with_hint(error: String, plan: &Plan) -> String {
    match error.contains("BYE full") {
        true => format!("{error}; start the server like this: {}", plan.server()),
        false => error,
    }
}
