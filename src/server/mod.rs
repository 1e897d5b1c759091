//! The loop: polls sockets, reads the clocks, and has the hub do the rest.

mod clock;
mod event_source;
mod report;
mod signals;

use std::io;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll, Registry};

use crate::allocator;
use crate::ceiling::Ceiling;
use crate::chat::Peer;
use crate::chat::keys::Keys;
use crate::hub::Hub;
use crate::hub::conn::Readiness;
use crate::log_sink::Dropped;
use crate::net::accept_error::NotAccepted;
use crate::net::address::Address;
use crate::net::listener::Listener;
use crate::net::passed::PassedSocket;
use crate::net::service_manager::{Manager, Status};
use crate::net::stream::Stream;
use crate::options::Options;
use crate::startup::{Members, Prepared, Settings};
use crate::time::{Clock, Millis, Now};
use clock::SystemClock;
use event_source::EventSource;
use report::Report;
use signals::Signals;

/// Events that are fetched from the system at once.
const EVENTS_PER_TURN: usize = 1024;
/// Connections that are accepted from a listener in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// How long accepting rests when the system has no descriptors, unless a connection closes, and how
/// long a listener rests that gives nothing but errors.
const ACCEPT_PAUSE: Millis = Millis(1000);
/// How long the log does not tell again of connections that cannot be had.
const COMPLAINT_PAUSE: Millis = Millis(60_000);
/// How long goodbyes may take at shutdown.
const SHUTDOWN_MAX: Millis = Millis(2000);

/// A listener, and whether it may have connections to accept.
struct Door {
    listener: Listener,
    /// As people write it.
    address: Address,
    is_ready: bool,
    /// It failed for a reason of its own, rests until then, and has accepted nothing since.
    rest: Option<Millis>,
}

impl Door {
    /// The time when it may be tried again, if it rests.
    fn rests_until(&self, now: Now) -> Option<Millis> {
        self.rest.filter(|until| now.past < *until)
    }
}

/// The server, listening.
pub struct Server {
    poll: Poll,
    signals: Signals,
    doors: Vec<Door>,
    hub: Hub<Stream>,
    clock: SystemClock,
    settings: Settings,
    ceiling: Ceiling,
    /// Accepting rests until then, or until there are fewer connections than that.
    pause: Option<(Millis, usize)>,
    /// The log has told that the system is out of descriptors, and nothing was accepted since.
    is_short: bool,
    /// When the log last told of connections that could not be had.
    complained_at: Option<Millis>,
    /// Who is told how the server is, if anybody.
    manager: Option<Manager>,
    report: Report,
}

impl Server {
    /// Binds all addresses, and says so in the log.
    ///
    /// # Errors
    ///
    /// A text for people: what failed, why, and the way out.
    pub fn new(prepared: Prepared, dropped: Dropped) -> Result<Server, String> {
        let Prepared {
            settings,
            members: Members { keys, ceiling },
            passed,
            service_manager,
        } = prepared;
        log::info!("memory: {ceiling}");
        let poll = Poll::new().map_err(system)?;
        let signals = Signals::new(poll.registry(), EventSource::Signals.into()).map_err(system)?;
        let doors = open_doors(&settings.options, passed, poll.registry())?;
        let clock = SystemClock::start();
        let mut hub = Hub::new(settings.options.limits);
        hub.set_keys(keys, clock.now());
        hub.stats().memory_ceiling = ceiling.bytes();
        Ok(Server {
            poll,
            signals,
            doors,
            hub,
            clock,
            settings,
            ceiling,
            pause: None,
            is_short: false,
            complained_at: None,
            manager: service_manager,
            report: Report::new(dropped),
        })
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    ///
    /// When the poll fails, which it does not on a working system.
    pub fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.tell_manager(self.clock.now());
        while !self.signals.is_to_end() {
            self.turn(&mut events)?;
        }
        self.shut_down(&mut events)
    }

    /// One turn of the loop.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let deadline = self.hub.next_deadline();
        let resume = self.pause.map(|(until, _)| until);
        let tell = self.manager.as_ref().and_then(Manager::next_deadline);
        let report = Some(self.report.next_deadline());
        let before = self.clock.now();
        let rests = self
            .doors
            .iter()
            .filter_map(|door| door.rests_until(before));
        let deadlines = [deadline, resume, tell, report];
        let deadline = deadlines.into_iter().flatten().chain(rests).min();
        // Whatever has come by now is reported by the poll; of what comes later that is not sure.
        // So a poll that sleeps until a deadline is followed by one that does not, before the
        // deadline counts as over.
        let asked = before.past;
        self.wait(events, deadline)?;
        let now = self.clock.now();
        let start = now.at;
        let mut count = 0;
        for event in events.iter() {
            self.note(event, now);
            count += 1;
        }
        let has_accepted = self.accept(self.clock.now());
        let heard_all = count < EVENTS_PER_TURN && !has_accepted;
        self.hub.turn(&self.clock, asked, heard_all);
        if self.hub.take_has_freed_memory() {
            allocator::give_back();
        }
        let end = self.clock.now();
        let took = end.at.since(start);
        let stats = self.hub.stats();
        stats.turn_longest_ms = stats.turn_longest_ms.max(took.0);
        self.report.turn(stats, end);
        self.tell_manager(end);
        Ok(())
    }

    fn tell_manager(&mut self, now: Now) {
        if let Some(manager) = &mut self.manager {
            let status = Status {
                connections: self.hub.len(),
                sessions: self.hub.chat().sessions(),
            };
            manager.turn(status, now);
        }
    }

    /// Sleeps until something happens or `deadline` has come, unless there is work to do.
    fn wait(&mut self, events: &mut Events, deadline: Option<Millis>) -> io::Result<()> {
        let is_paused = self.pause.is_some_and(|(_, conns)| self.hub.len() >= conns);
        let may_accept = !is_paused
            && self.doors.iter().any(|door| {
                let rests = door.rest.is_some() && door.rests_until(self.clock.now()).is_some();
                door.is_ready && !rests
            });
        let timeout = match deadline {
            _ if self.hub.has_work() || may_accept => Some(Duration::ZERO),
            Some(deadline) => Some(self.clock.until(deadline)),
            None => None,
        };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            result => result,
        }
    }

    /// Notes what the poll has reported.
    fn note(&mut self, event: &Event, now: Now) {
        match event.token().into() {
            EventSource::Signals => {
                self.signals.clear();
                if self.signals.take_reload() {
                    self.reload();
                }
            }
            EventSource::Listener(index) => self.doors[index].is_ready = true,
            EventSource::Connection(conn) => self.hub.ready(conn, readiness(event), now),
        }
    }

    /// Accepts each listener's share of new connections; true if there were any, which may have
    /// sent something already.
    fn accept(&mut self, now: Now) -> bool {
        if let Some((until, conns)) = self.pause {
            if now.past < until && self.hub.len() >= conns {
                return false;
            }
            self.pause = None;
        }
        let conns = self.hub.len();
        for index in 0..self.doors.len() {
            if self.doors[index].rests_until(now).is_none() {
                self.accept_from(index, now);
            }
        }
        self.hub.len() > conns
    }

    /// Accepts a listener's share of new connections. Errors of single connections keep no others
    /// waiting, unless there was nothing else.
    fn accept_from(&mut self, index: usize, now: Now) {
        let (mut has_accepted, mut last_error) = (false, None);
        for _ in 0..ACCEPTS_PER_TURN {
            let door = &mut self.doors[index];
            if !door.is_ready || self.pause.is_some() {
                return;
            }
            let error = match door.listener.accept() {
                Ok((stream, peer)) => {
                    door.rest = None;
                    has_accepted = true;
                    self.admit(stream, peer, now);
                    continue;
                }
                Err(error) => error,
            };
            match NotAccepted::of(&error) {
                NotAccepted::NobodyWaits => {
                    door.is_ready = false;
                    door.rest = None;
                    if std::mem::take(&mut self.is_short) {
                        log::info!("accepting connections again");
                    }
                    return;
                }
                NotAccepted::OneFailed => last_error = Some(error),
                // The connection waits, and the door stays marked as ready.
                NotAccepted::Shortage => {
                    self.pause = Some((now.at + ACCEPT_PAUSE, self.hub.len()));
                    if !self.is_short && self.may_complain(now) {
                        self.is_short = true;
                        log::warn!(
                            "cannot accept connections: {error}; those that come have to wait"
                        );
                    }
                    return;
                }
                NotAccepted::Unknown => return self.rest(index, &error, now),
            }
        }
        if let Some(error) = last_error.filter(|_| !has_accepted) {
            self.rest(index, &error, now);
        }
    }

    /// Lets a listener rest that would keep the server busy with its errors, and the others go on.
    fn rest(&mut self, index: usize, error: &io::Error, now: Now) {
        let rest = &mut self.doors[index].rest;
        if rest.replace(now.at + ACCEPT_PAUSE).is_none() && self.may_complain(now) {
            log::warn!(
                "cannot accept connections on {}: {error}; it is tried each second",
                self.doors[index].address
            );
        }
    }

    fn admit(&mut self, mut stream: Stream, peer: Peer, now: Now) {
        let vacancy = self.hub.vacancy();
        let token = EventSource::Connection(vacancy.conn()).into();
        match stream.register(self.poll.registry(), token) {
            Ok(()) => _ = vacancy.accept(stream, peer, now),
            Err(error) if self.may_complain(now) => {
                log::warn!("cannot poll a new connection: {error}");
            }
            Err(_) => {}
        }
    }

    /// Whether the log may tell of connections that cannot be had: clients can cause that at any
    /// time, and so it is told once a minute.
    fn may_complain(&mut self, now: Now) -> bool {
        let may = self
            .complained_at
            .is_none_or(|at| at + COMPLAINT_PAUSE <= now.past);
        if may {
            self.complained_at = Some(now.at);
        }
        may
    }

    /// Reads the users file again. If that does not do, the keys stay as they are.
    fn reload(&mut self) {
        let Some(users) = &self.settings.options.users else {
            log::info!("there is no users file to read again");
            return;
        };
        match self.settings.read_users() {
            Ok(Members { keys, ceiling }) => {
                let names = keys.as_ref().map_or(0, Keys::len);
                let s = if names == 1 { "" } else { "s" };
                log::info!("{} now has {names} name{s}", users.display());
                if ceiling.bytes() != self.ceiling.bytes() {
                    log::info!("memory: {ceiling}");
                }
                self.hub.stats().memory_ceiling = ceiling.bytes();
                self.ceiling = ceiling;
                self.hub.set_keys(keys, self.clock.now());
            }
            Err(error) => log::error!("{error}; the keys from before stay in force"),
        }
    }

    /// Says goodbye to everybody, for as long as that may take.
    fn shut_down(mut self, events: &mut Events) -> io::Result<()> {
        log::info!("shutting down");
        if let Some(manager) = &self.manager {
            manager.stopping();
        }
        // Nobody new comes in, and socket files go. Who connects to a socket that was passed waits
        // for the next server.
        self.doors.clear();
        let start = self.clock.now();
        self.hub.shut_down(start);
        let end = start.at + SHUTDOWN_MAX;
        while !self.hub.is_empty() && self.clock.now().past < end {
            self.wait(events, Some(end))?;
            let now = self.clock.now();
            for event in events.iter() {
                if let EventSource::Connection(conn) = event.token().into() {
                    self.hub.ready(conn, readiness(event), now);
                }
            }
            self.hub.turn(&self.clock, Millis(0), false);
        }
        let uptime = self.clock.now().past;
        log::info!("{}", self.hub.stats().summary(uptime));
        Ok(())
    }
}

/// What the poll has reported of a connection.
fn readiness(event: &Event) -> Readiness {
    Readiness {
        readable: event.is_readable(),
        writable: event.is_writable(),
        read_closed: event.is_read_closed(),
        urgent: event.is_priority(),
        broken: event.is_error() || event.is_write_closed(),
    }
}

/// Makes listeners of the sockets that were passed, and binds the other addresses.
fn open_doors(
    options: &Options,
    passed: Vec<PassedSocket>,
    registry: &Registry,
) -> Result<Vec<Door>, String> {
    let mut doors = Vec::new();
    let addresses = options.addresses(!passed.is_empty());
    let passed = passed
        .into_iter()
        .map(|socket| (socket.listen(options.socket_buffer), None));
    let bound = addresses.iter().map(|address| {
        let listener = Listener::bind(address, options.socket_buffer, options.socket_mode);
        (listener, Some(address))
    });
    for (index, (listener, given)) in passed.chain(bound).enumerate() {
        let mut listener = listener?;
        let mut address = listener.address().map_err(system)?;
        if let Some(given) = given {
            address = address.written_like(given);
        }
        listener
            .register(registry, EventSource::Listener(index).into())
            .map_err(system)?;
        doors.push(Door {
            listener,
            address,
            is_ready: false,
            rest: None,
        });
    }
    for door in &doors {
        log::info!("listening on {}", door.address);
    }
    Ok(doors)
}

fn system(error: io::Error) -> String {
    format!("cannot set up the event loop: {error}")
}
