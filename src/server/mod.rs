//! The loop. Each turn polls the sockets, reads the clocks, accepts connections, and leaves the rest
//! to the hub.

pub mod ask_upgrade;
mod child;
mod clock;
pub mod errand;
mod event_source;
mod handover;
mod link;
mod listeners;
pub mod log_sink;
pub mod logging;
mod program;
mod report;
mod restart;
pub mod resume;
mod saves;
mod signals;
mod state_file;
mod trial;
mod turn_times;
mod upgrade;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Poll};

use crate::allocator;
use crate::ceiling::Ceiling;
use crate::chat::keys::Keys;
use crate::hub::Hub;
use crate::hub::conn::Readiness;
use crate::net::service_manager::{ServiceManager, Status};
use crate::net::stream::Stream;
use crate::plural::count;
use crate::startup::{Prepared, Settings, Users};
use crate::time::{Clock, Millis, Now};
use clock::{LOCAL_ZONE, SystemClock, read_zone};
use event_source::EventSource;
use listeners::Listeners;
use log_sink::LogState;
use report::Report;
use restart::Beginning;
use saves::Saves;
use signals::Signals;
use state_file::StateFile;
use turn_times::TurnTimes;

/// How many events the poll returns at once.
const EVENTS_PER_TURN: usize = 1024;
/// How long clients have to take their goodbyes at shutdown.
const SHUTDOWN_MAX: Millis = Millis(2000);

/// The server, listening.
pub struct Server {
    poll: Poll,
    signals: Signals,
    listeners: Listeners,
    hub: Hub<Stream>,
    clock: SystemClock,
    settings: Settings,
    ceiling: Ceiling,
    service_manager: Option<ServiceManager>,
    report: Report,
    turn_times: TurnTimes,
    saves: Option<Saves>,
    /// The path of the program that an upgrade executes, or why nobody knows it.
    program: Result<PathBuf, String>,
}

impl Server {
    /// Binds all addresses, and logs them.
    ///
    /// # Errors
    ///
    /// A text for people: what failed, why, and the way out.
    pub fn new(prepared: Prepared, log: LogState) -> Result<Server, String> {
        let Prepared {
            settings,
            boot,
            users: Users { keys, ceiling },
            passed,
            service_manager,
        } = prepared;
        // Before anybody puts another program there.
        let program = program::path_of_this()
            .map_err(|error| format!("cannot find this program's file: {error}"));
        log::info!("memory: {ceiling}");
        // Before it listens, like all that it reads at the start.
        read_zone();
        let poll = Poll::new().map_err(cannot_set_up)?;
        let signals =
            Signals::new(poll.registry(), EventSource::Signals.into()).map_err(cannot_set_up)?;
        let options = &settings.options;
        let link = settings.link.as_ref();
        let file = options.state.as_deref().map(StateFile::lock).transpose()?;
        let beginning = match &file {
            Some(file) => Beginning::from_file(file, options.limits, link, boot)?,
            None => Beginning::new(options.limits, link, boot),
        };
        let Beginning {
            mut hub,
            clock,
            boot,
        } = beginning;
        let now = clock.now();
        hub.set_keys(keys, now);
        hub.stats().memory_ceiling = ceiling.bytes();
        let listeners = Listeners::open(options, passed, poll.registry())?;
        // Only a start that succeeds uses up the file, and does so before anybody can talk to it.
        let saves = file.map(|file| Saves::begin(file, boot, options.save_s, &mut hub, now));
        let saves = saves.transpose()?;
        Ok(Server {
            poll,
            signals,
            listeners,
            hub,
            clock,
            settings,
            ceiling,
            service_manager,
            report: Report::new(log, now.at),
            turn_times: TurnTimes::default(),
            program,
            saves,
        })
    }

    /// Serves until a signal ends it.
    ///
    /// # Errors
    ///
    /// A text for people: when the poll fails, which does not happen on a working system, or when the
    /// state cannot be saved at the end.
    pub fn run(mut self) -> Result<(), String> {
        let mut events = Events::with_capacity(EVENTS_PER_TURN);
        self.tell_service_manager(self.clock.now());
        let served = self.serve(&mut events);
        let now = self.clock.now();
        let saved = match self.saves {
            Some(saves) => saves.stop(&mut self.hub, now),
            None => Ok(()),
        };
        self.report.log_summary(self.hub.stats(), now);
        served.map_err(|error| format!("the event loop failed: {error}"))?;
        saved
    }

    fn serve(&mut self, events: &mut Events) -> io::Result<()> {
        while !self.signals.is_to_end() {
            self.turn(events)?;
            if self.signals.take_stats() {
                self.log_stats();
            }
            if self.signals.take_upgrade() {
                self.upgrade();
            }
            if self.signals.take_reload() {
                self.reload();
            }
        }
        self.shut_down(events)
    }

    /// One turn of the loop.
    fn turn(&mut self, events: &mut Events) -> io::Result<()> {
        let before = self.clock.now();
        let deadlines = [
            self.hub.next_deadline(),
            self.listeners.next_deadline(before),
            self.service_manager
                .as_ref()
                .and_then(ServiceManager::next_deadline),
            Some(self.report.next_deadline()),
            (self.saves.as_ref()).and_then(|saves| saves.next_deadline(&self.hub)),
        ];
        let deadline = deadlines.into_iter().flatten().min();
        // The poll reports all that has arrived by now, but not surely what arrives later. So after
        // a poll that has slept until a deadline comes one that does not sleep, before the deadline
        // counts as passed.
        let asked = before.past;
        self.wait(events, deadline, before)?;
        let now = self.clock.now();
        let start = now.at;
        let mut count = 0;
        for event in events.iter() {
            self.note(event, now);
            count += 1;
        }
        let now = self.clock.now();
        let registry = self.poll.registry();
        let has_accepted = self.listeners.accept(&mut self.hub, registry, now);
        if let Some(broker) = &self.settings.options.link.broker {
            link::open_broker(&mut self.hub, broker, registry, now);
        }
        let heard_all = count < EVENTS_PER_TURN && !has_accepted;
        self.hub.stats().turn_longest_ms = self.turn_times.longest(now).0;
        self.hub.turn(&self.clock, asked, heard_all);
        if self.hub.take_has_freed_memory() {
            allocator::return_unused();
        }
        if let Some(saves) = &mut self.saves {
            saves.turn(&mut self.hub, self.poll.registry(), self.clock.now());
        }
        let end = self.clock.now();
        let took = end.at.since(start);
        self.turn_times.add(took, end);
        let stats = self.hub.stats();
        stats.turn_longest_ever_ms = stats.turn_longest_ever_ms.max(took.0);
        self.report.turn(stats, end);
        self.tell_service_manager(end);
        Ok(())
    }

    fn tell_service_manager(&mut self, now: Now) {
        if let Some(service_manager) = &mut self.service_manager {
            let status = Status {
                connections: self.hub.chat().connections(),
                sessions: self.hub.chat().sessions(),
            };
            service_manager.turn(status, now);
        }
    }

    /// Sleeps until something happens or `deadline` has come, unless there is work to do.
    fn wait(&mut self, events: &mut Events, deadline: Option<Millis>, now: Now) -> io::Result<()> {
        let connections = self.hub.chat().connections();
        let has_work = self.hub.has_work() || self.listeners.may_accept(connections, now);
        let timeout = match deadline {
            _ if has_work => Some(Duration::ZERO),
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
            EventSource::Signals => self.signals.clear(),
            EventSource::Save => self.note_save(now),
            EventSource::Broker => self.hub.ready_broker(readiness(event)),
            EventSource::Listener(index) => self.listeners.ready(index),
            EventSource::Connection(conn) => self.hub.ready(conn, readiness(event), now),
        }
    }

    /// Notes what a process that saves has sent. Whatever ends the server may end that process too,
    /// which is no failure.
    fn note_save(&mut self, now: Now) {
        match &mut self.saves {
            Some(saves) if !self.signals.is_to_end() => saves.ready(&mut self.hub, now),
            _ => {}
        }
    }

    /// Logs what STATS shows, even if only warnings are logged: somebody has asked for it.
    fn log_stats(&self) {
        for line in self.hub.chat().stats_for_log(self.clock.now()) {
            log::info!(target: logging::ASKED_FOR, "{line}");
        }
    }

    /// Reads the users file again, and the time zone. After an error the keys stay as they are.
    fn reload(&mut self) {
        read_zone();
        self.hub.set_zone(LOCAL_ZONE);
        let Some(users) = &self.settings.options.users else {
            log::info!("there is no users file to read again");
            return;
        };
        match self.settings.read_users() {
            Ok(Users { keys, ceiling }) => {
                let names = keys.as_ref().map_or(0, Keys::len);
                let names = count(names as u64, "name");
                log::info!("{} now has {names}", users.display());
                if ceiling.bytes() != self.ceiling.bytes() {
                    log::info!("memory: {ceiling}");
                }
                self.hub.stats().memory_ceiling = ceiling.bytes();
                self.ceiling = ceiling;
                self.hub.set_keys(keys, self.clock.now());
            }
            Err(error) => log::error!("{error}; the previous keys stay in force"),
        }
    }

    /// Says goodbye to every client, and waits a while until they have taken it.
    fn shut_down(&mut self, events: &mut Events) -> io::Result<()> {
        log::info!("shutting down");
        if let Some(service_manager) = &self.service_manager {
            service_manager.stopping();
        }
        // No connection is accepted any more, and socket files are removed. Clients that connect to
        // a passed socket wait for the next server.
        self.listeners.close();
        let start = self.clock.now();
        self.hub.leave_broker(self.saves.is_some(), start);
        self.hub.shut_down(start);
        let end = start.at + SHUTDOWN_MAX;
        while !self.hub.is_empty() {
            let now = self.clock.now();
            if now.past >= end {
                break;
            }
            self.wait(events, Some(end), now)?;
            let now = self.clock.now();
            for event in events.iter() {
                if let EventSource::Connection(conn) = event.token().into() {
                    self.hub.ready(conn, readiness(event), now);
                }
            }
            self.hub.turn(&self.clock, Millis(0), false);
        }
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
        failed: event.is_error(),
    }
}

fn cannot_set_up(error: io::Error) -> String {
    format!("cannot set up the event loop: {error}")
}
