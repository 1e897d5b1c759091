//! The loop: connects everybody, has them join, talk and leave, and measures that.

use std::io;
use std::net::SocketAddr;

use mio::{Events, Interest, Poll, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use crate::clock::{Alarm, Clock};
use crate::conn::{Conn, Role, Stage};
use crate::crowd::Crowd;
use crate::dial::{Dialer, raise_descriptors, resolve};
use crate::ledger::Checked;
use crate::options::Plan;
use crate::process::Process;
use crate::progress::Progress;
use crate::pulls::Work;
use crate::report::Report;
use crate::stats::lines_throttled;

/// Events that are fetched from the system at once.
const EVENTS_PER_TURN: usize = 1024;
/// Connections that wait for their HELLO at once: fewer than a server lets wait to be accepted.
const CONNECTING_MAX: usize = 512;
/// Sessions that wait for the reply to their JOIN at once.
const JOINING_MAX: usize = 1024;
/// What is read at once, unless messages are very long.
const BUFFER_BYTES: usize = 256 * 1024;
/// How long the server may be silent when something has to come.
const SILENCE_MAX_US: u64 = 10_000_000;
/// How often progress is shown.
const PROGRESS_EVERY_US: u64 = 200_000;
/// When joining takes that long, it is worth asking why.
const JOINING_LONG_US: u64 = 2_000_000;

const SIGNALS: Token = Token(usize::MAX - 1);
const ALARM: Token = Token(usize::MAX - 2);

/// What all are doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Connecting,
    JoiningPulls,
    Joining,
    /// All have joined and are still being told so.
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
    poll: Poll,
    signals: Signals,
    alarm: Alarm,
    clock: Clock,
    dialer: Dialer,
    progress: Progress,
    crowd: Crowd<'a>,
    conns: Vec<Conn>,
    /// How many connections there are to be now.
    connect_to: usize,
    /// How many of all connections were asked to join.
    asked: usize,
    buffer: Vec<u8>,
    /// When something was last read.
    heard_us: u64,
    shown_us: u64,
    phase_us: u64,
    /// How many connections wait for their end.
    leaving: usize,
    interrupts: u32,
    /// How often the server had throttled clients before, if it tells.
    throttled: Option<u64>,
    has_asked_why: bool,
    report: Report,
}

/// Does what the plan says.
///
/// # Errors
///
/// What is in the way, or what the server did wrong.
pub fn run(plan: &Plan) -> Result<Report, String> {
    let address = resolve(&plan.address)?;
    raise_descriptors(plan.connections())?;
    let throttled = lines_throttled(address).map_err(|error| with_hint(error, plan))?;
    let server = plan.pid.map(Process::find).transpose()?;
    let own = Process::own()?;
    let mut swarm = Swarm::new(plan, address).map_err(|error| format!("cannot start: {error}"))?;
    swarm.throttled = throttled;
    if let Some(server) = &server {
        swarm.report.resident_kib_start = Some(server.memory()?.resident_kib);
    }
    let measured = swarm.measure(server.as_ref(), &own);
    swarm.leave();
    measured?;
    let mut report = swarm.finish();
    if let (Some(before), Ok(Some(after))) = (throttled, lines_throttled(address)) {
        report.lines_throttled = Some(after - before);
    }
    if let Some(server) = &server {
        let memory = server.memory()?;
        report.resident_kib_end = Some(memory.resident_kib);
        report.resident_kib_peak = Some(memory.peak_kib);
    }
    report.swarm_resident_kib = own.memory()?.peak_kib;
    Ok(report)
}

impl<'a> Swarm<'a> {
    fn new(plan: &'a Plan, address: SocketAddr) -> io::Result<Swarm<'a>> {
        let poll = Poll::new()?;
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        let registry = poll.registry();
        registry.register(&mut signals, SIGNALS, Interest::READABLE)?;
        let alarm = Alarm::new(registry, ALARM)?;
        let mut id = [0; 4];
        getrandom::fill(&mut id).map_err(|error| io::Error::other(error.to_string()))?;
        let id = u32::from_ne_bytes(id);
        // No two runs meet in a room.
        let room = format!("swarm-{id:08x}");
        Ok(Swarm {
            plan,
            address,
            poll,
            signals,
            alarm,
            clock: Clock::start(),
            dialer: Dialer::new(address, id),
            progress: Progress::new(plan.json),
            crowd: Crowd::new(plan, &room),
            conns: Vec::with_capacity(plan.connections()),
            connect_to: 0,
            asked: 0,
            buffer: vec![0; BUFFER_BYTES.max(4 * plan.size)],
            heard_us: 0,
            shown_us: 0,
            phase_us: 0,
            leaving: 0,
            interrupts: 0,
            throttled: None,
            has_asked_why: false,
            report: Report::new(plan),
        })
    }

    /// Everything up to the moment when all has arrived.
    fn measure(&mut self, server: Option<&Process>, own: &Process) -> Checked<()> {
        // Pull sessions come first, so that nobody has to be told of a million of them.
        let mut connect_us = 0;
        for (connect_to, joining) in [
            (self.plan.carriers, Phase::JoiningPulls),
            (self.plan.connections(), Phase::Joining),
        ] {
            self.connect_to = connect_to;
            self.work(Phase::Connecting)?;
            connect_us += self.clock.now_us() - self.phase_us;
            if joining == Phase::Joining {
                self.crowd.ledger.start();
            }
            self.work(joining)?;
        }
        self.report.joined(connect_us, self.clock.now_us());
        self.work(Phase::Settling)?;
        self.crowd.open();
        if let Some(server) = server {
            self.report.resident_kib_joined = Some(server.memory()?.resident_kib);
        }
        let cpu_ns = || Ok::<_, String>((server.map(Process::cpu_ns).transpose()?, own.cpu_ns()?));
        let before = cpu_ns()?;
        self.work(Phase::Running)?;
        let start_us = self.phase_us;
        self.report.unsent = self.crowd.senders.unsent(self.clock.now_us());
        self.work(Phase::Arriving)?;
        self.work(Phase::Fetching)?;
        let after = cpu_ns()?;
        self.report.server_cpu_ns = after.0.zip(before.0).map(|(after, before)| after - before);
        self.report.swarm_cpu_ns = after.1 - before.1;
        self.report.run_us = self.clock.now_us() - start_us;
        match self.crowd.ledger.leftover() {
            Some(fault) => Err(fault),
            None => Ok(()),
        }
    }

    /// Has all leave, so that the server is free of them at once. What goes wrong with that has
    /// been told or does not matter.
    fn leave(&mut self) {
        self.crowd.pulls.is_lenient = true;
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
            let interest = Interest::READABLE | Interest::WRITABLE;
            let registry = self.poll.registry();
            let _ = registry.register(&mut conn.stream, Token(index), interest);
        }
        conn.out.extend_from_slice(b"QUIT\r\n");
        conn.stage = Stage::Leaving;
        self.leaving += 1;
        conn.flush();
    }

    fn finish(mut self) -> Report {
        self.progress.end();
        let crowd = &mut self.crowd;
        self.report.messages = crowd.senders.messages;
        self.report.deliveries = crowd.ledger.deliveries + crowd.ledger.pull_deliveries;
        self.report.pull_deliveries = crowd.ledger.pull_deliveries;
        self.report.lost = crowd.ledger.lost;
        self.report.polls = crowd.pulls.polls;
        std::mem::swap(&mut self.report.latencies, &mut crowd.ledger.latencies);
        std::mem::swap(
            &mut self.report.pull_latencies,
            &mut crowd.ledger.pull_latencies,
        );
        std::mem::swap(
            &mut self.report.poll_latencies,
            &mut crowd.pulls.poll_latencies,
        );
        self.report
    }

    /// Does what belongs to a phase until it is over.
    fn work(&mut self, phase: Phase) -> Checked<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.phase_us = self.clock.now_us();
        self.heard_us = self.phase_us;
        self.begin(phase);
        while !self.is_over(phase) {
            let now_us = self.clock.now_us();
            self.check(phase, now_us)?;
            self.act(phase, now_us)?;
            self.show(phase, now_us);
            self.turn(phase, &mut events)?;
        }
        Ok(())
    }

    fn begin(&mut self, phase: Phase) {
        let work = match phase {
            Phase::JoiningPulls => Work::Join,
            Phase::Running => {
                self.crowd.senders.start(self.phase_us);
                Work::Poll
            }
            Phase::Arriving | Phase::Ending => Work::Nothing,
            Phase::Fetching => Work::Finish,
            Phase::Leaving => Work::Leave,
            _ => return,
        };
        self.crowd.pulls.begin(work, self.phase_us);
        for index in 0..self.plan.carriers.min(self.conns.len()) {
            self.pump(index, self.phase_us);
        }
    }

    fn is_over(&self, phase: Phase) -> bool {
        let (crowd, plan) = (&self.crowd, self.plan);
        match phase {
            Phase::Connecting => crowd.greeted == self.connect_to,
            Phase::JoiningPulls => crowd.pulls.is_done(),
            Phase::Joining => crowd.joined == plan.connections() - plan.carriers,
            Phase::Settling => self.conns.iter().all(|conn| self.is_settled(conn)),
            Phase::Running => {
                self.interrupts > 0 || self.clock.now_us() >= self.phase_us + plan.run_us
            }
            Phase::Arriving => crowd.ledger.in_flight == 0 && crowd.pulls.is_done(),
            Phase::Fetching => crowd.pulls.is_done(),
            Phase::Ending | Phase::Leaving => {
                let mut carriers = self.conns.iter().take(plan.carriers);
                crowd.pulls.is_done() || carriers.all(|conn| conn.stage == Stage::Gone)
            }
            Phase::Quitting => self.leaving == 0,
        }
    }

    /// Whether a receiver was told of all who have joined.
    fn is_settled(&self, conn: &Conn) -> bool {
        match conn.role {
            Role::Receiver(reader) => reader.next == self.crowd.ledger.end(reader.room),
            _ => true,
        }
    }

    /// Does what is to be done without having heard anything.
    fn act(&mut self, phase: Phase, now_us: u64) -> Checked<()> {
        match phase {
            Phase::Connecting => {
                let waiting = self.conns.len() - self.crowd.greeted;
                let room = CONNECTING_MAX.saturating_sub(waiting);
                for _ in 0..room.min(self.connect_to - self.conns.len()) {
                    self.connect()?;
                }
            }
            Phase::Joining => {
                let left = self.conns.len() - self.plan.carriers - self.asked;
                let room = JOINING_MAX.saturating_sub(self.asked - self.crowd.joined);
                for _ in 0..room.min(left) {
                    let index = self.plan.carriers + self.asked;
                    self.asked += 1;
                    self.crowd.join(index, &mut self.conns[index]);
                    self.conns[index].flush();
                }
            }
            Phase::Running => {
                let first = self.conns.len() - self.plan.senders;
                let (crowd, conns) = (&mut self.crowd, &mut self.conns[first..]);
                let in_flight = &mut crowd.ledger.in_flight;
                crowd.senders.pump(conns, in_flight, now_us);
                for sender in crowd.senders.spoke.drain(..) {
                    let conn = &mut conns[sender as usize];
                    conn.is_listed = false;
                    conn.flush();
                }
                while let Some(carrier) = self.crowd.pulls.next_due(now_us) {
                    self.pump(carrier as usize, now_us);
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn connect(&mut self) -> Checked<()> {
        let index = self.conns.len();
        let mut stream = self.dialer.dial()?;
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registered = self
            .poll
            .registry()
            .register(&mut stream, Token(index), interest);
        registered.map_err(|error| format!("cannot poll connection {}: {error}", index + 1))?;
        self.conns.push(Conn::new(stream, self.crowd.role(index)));
        Ok(())
    }

    /// Has a carrier do what it can do now.
    fn pump(&mut self, index: usize, now_us: u64) {
        let (crowd, conn) = (&mut self.crowd, &mut self.conns[index]);
        let out = &mut conn.out;
        crowd.pulls.pump(index as u32, &crowd.ledger, out, now_us);
        conn.flush();
    }

    /// Waits until something happens, and takes that in.
    fn turn(&mut self, phase: Phase, events: &mut Events) -> Checked<()> {
        let mut deadline_us = self.shown_us + PROGRESS_EVERY_US;
        if phase == Phase::Running {
            let crowd = &self.crowd;
            let due = [crowd.senders.deadline_us(), crowd.pulls.deadline_us()];
            let end_us = self.phase_us + self.plan.run_us;
            deadline_us = due
                .into_iter()
                .flatten()
                .fold(deadline_us.min(end_us), u64::min);
        }
        let failed = |error: io::Error| format!("cannot wait for events: {error}");
        let timeout = self.alarm.set(self.clock, deadline_us).map_err(failed)?;
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            result => result.map_err(failed)?,
        }
        for event in events.iter() {
            match event.token() {
                ALARM => self.alarm.rung(),
                SIGNALS => self.interrupt(),
                Token(index) => {
                    if event.is_writable() {
                        self.conns[index].is_writable = true;
                        self.conns[index].flush();
                    }
                    if event.is_readable() || event.is_error() {
                        self.hear(phase, index, event.is_read_closed())?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Ends the run early; at the second time, ends everything.
    fn interrupt(&mut self) {
        self.interrupts += self.signals.pending().count() as u32;
        if self.interrupts > 1 {
            self.progress.end();
            std::process::exit(130);
        }
    }

    /// Reads from a connection all that there is.
    fn hear(&mut self, phase: Phase, index: usize, is_closed: bool) -> Checked<()> {
        match self.read(index, is_closed) {
            // While all leave, whoever has a problem just goes.
            Err(_) if phase >= Phase::Quitting => {
                self.gone(index);
                Ok(())
            }
            result => result,
        }
    }

    fn read(&mut self, index: usize, is_closed: bool) -> Checked<()> {
        loop {
            let conn = &mut self.conns[index];
            let (end, has_more) = match conn.read(&mut self.buffer) {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(_) if conn.stage >= Stage::Leaving => {
                    self.gone(index);
                    return Ok(());
                }
                Err(error) => return Err(self.closed(index, &error)),
            };
            let now_us = self.clock.now_us();
            self.heard_us = now_us;
            if conn.stage < Stage::Leaving {
                let bytes = &self.buffer[..end];
                let taken = self.crowd.take(index, conn, bytes, now_us)?;
                conn.rest.extend_from_slice(&self.buffer[taken..end]);
                if conn.rest.len() > self.buffer.len() / 2 {
                    let name = self.crowd.name(index);
                    return Err(format!("{name}: the server sent a line without an end"));
                }
                if matches!(conn.role, Role::Dead) && conn.stage == Stage::Joined {
                    let gone = self.poll.registry().deregister(&mut conn.stream);
                    return gone.map_err(|error| format!("cannot stop reading: {error}"));
                }
            }
            if !has_more && !is_closed {
                break;
            }
        }
        if matches!(self.conns[index].role, Role::Carrier(_)) {
            self.pump(index, self.heard_us);
        }
        Ok(())
    }

    /// A connection is at its end, as it was meant to be.
    fn gone(&mut self, index: usize) {
        let conn = &mut self.conns[index];
        if conn.stage == Stage::Leaving {
            self.leaving -= 1;
        }
        conn.stage = Stage::Gone;
        let _ = self.poll.registry().deregister(&mut conn.stream);
    }

    /// What to tell about a connection that was not to end.
    fn closed(&self, index: usize, error: &io::Error) -> String {
        let name = self.crowd.name(index);
        match self.conns[index].stage {
            Stage::Connecting => {
                format!("{name}: cannot connect to {}: {error}", self.plan.address)
            }
            _ => format!("{name}: the server closed the connection: {error}"),
        }
    }

    /// Sees that it makes sense to go on.
    fn check(&mut self, phase: Phase, now_us: u64) -> Checked<()> {
        if self.interrupts > 0 && phase < Phase::Running {
            return Err("interrupted before all had joined; there is nothing to report".into());
        }
        if phase <= Phase::Joining && now_us - self.phase_us > JOINING_LONG_US {
            self.ask_why();
        }
        let silence_us = match phase {
            Phase::Running => return Ok(()),
            _ if phase >= Phase::Quitting => SILENCE_MAX_US / 4,
            _ => SILENCE_MAX_US,
        };
        if now_us - self.heard_us < silence_us {
            return Ok(());
        }
        Err(format!(
            "the server has been silent for {} s: {}",
            silence_us / 1_000_000,
            self.awaited(phase)
        ))
    }

    /// What somebody still waits for.
    fn awaited(&self, phase: Phase) -> String {
        let mut indices = 0..self.conns.len();
        let at = |stage| move |&index: &usize| self.conns[index].stage == stage;
        let (found, what) = match phase {
            Phase::Connecting => (indices.find(at(Stage::Connecting)), "got no HELLO".into()),
            Phase::Joining => (
                indices.find(at(Stage::Joining)),
                "got no reply to JOIN".into(),
            ),
            Phase::Settling => {
                let found = indices.find(|&index| !self.is_settled(&self.conns[index]));
                (found, "was not told of all who joined".into())
            }
            Phase::Arriving => return self.missing(),
            _ => (None, String::new()),
        };
        match found {
            Some(index) => format!("{} {what}", self.crowd.name(index)),
            None => self.crowd.pulls.awaited(),
        }
    }

    /// Which message has not arrived.
    fn missing(&self) -> String {
        for (index, conn) in self.conns.iter().enumerate() {
            let name = self.crowd.name(index);
            match conn.role {
                Role::Receiver(reader) => {
                    if let Some(missing) = self.crowd.ledger.missing(&reader) {
                        return format!("{name} was not given {missing}");
                    }
                }
                Role::Sender(sender) => {
                    let confirmed = self.crowd.ledger.confirmed(sender);
                    if confirmed < self.crowd.senders.said(sender) {
                        return format!("{name} got no reply to its message {confirmed}");
                    }
                }
                _ => {}
            }
        }
        self.crowd.pulls.awaited()
    }

    /// Warns, once, if the server makes us wait.
    fn ask_why(&mut self) {
        if std::mem::replace(&mut self.has_asked_why, true) {
            return;
        }
        let before = self.throttled;
        if let (Some(before), Ok(Some(after))) = (before, lines_throttled(self.address)) {
            if after > before {
                self.progress.tell(&throttled(self.plan));
            }
        }
    }

    fn show(&mut self, phase: Phase, now_us: u64) {
        if now_us < self.shown_us + PROGRESS_EVERY_US {
            return;
        }
        self.shown_us = now_us;
        let (crowd, plan) = (&self.crowd, self.plan);
        let delivered = crowd.ledger.deliveries + crowd.ledger.pull_deliveries;
        let (what, done, of) = match phase {
            Phase::Connecting => ("connected", crowd.greeted, plan.connections()),
            Phase::JoiningPulls | Phase::Joining | Phase::Settling => {
                ("joined", crowd.pulls.joined + crowd.joined, plan.sessions())
            }
            Phase::Running => {
                let elapsed_us = (now_us - self.phase_us).min(plan.run_us);
                (
                    "ms",
                    elapsed_us as usize / 1000,
                    plan.run_us as usize / 1000,
                )
            }
            Phase::Arriving | Phase::Fetching => {
                let messages = crowd.senders.messages;
                let under_way = crowd.ledger.in_flight.min(messages);
                (
                    "messages arrived",
                    (messages - under_way) as usize,
                    messages as usize,
                )
            }
            _ => ("gone", self.conns.len() - self.leaving, self.conns.len()),
        };
        self.progress.show(what, done, of, delivered);
    }
}

/// What to tell when the server has made us wait.
pub fn throttled(plan: &Plan) -> String {
    format!(
        "the server makes clients wait that send fast, so this measures its --rate; start it like \
         this: {}",
        plan.server()
    )
}

/// What is wrong with a server that accepts a connection and does not answer is likely its limits.
fn with_hint(error: String, plan: &Plan) -> String {
    match error.contains("BYE full") {
        true => format!("{error}; start the server like this: {}", plan.server()),
        false => error,
    }
}
