//! The part of a program that another one executes: it looks at a state and says what it understands, or
//! it goes on with the server.
//!
//! Until nothing can fail any more, all that it has inherited stays open and stays inheritable. So the
//! program that has saved the state can always be executed again, and go on with the same state.

use std::fs::File;
use std::hint::black_box;
use std::mem::ManuallyDrop;
use std::os::fd::RawFd;

use mio::Poll;

use super::clock::{LOCAL_ZONE, SystemClock, read_zone};
use super::event_source::EventSource;
use super::handover::{Handover, SavedState};
use super::listeners::Listeners;
use super::saves::Saves;
use super::signals::Signals;
use super::state_file::StateFile;
use super::trial::printable;
use super::turn_times::TurnTimes;
use super::upgrade::answer;
use super::{Server, ask_upgrade, cannot_set_up, errand, logging, program, signals};
use crate::allocator;
use crate::ceiling::Ceiling;
use crate::chat::{Head, Peer};
use crate::hub::Hub;
use crate::net::inherited;
use crate::net::service_manager::ServiceManager;
use crate::net::stream::Stream;
use crate::options::{LogForm, Options};
use crate::plural::count;
use crate::startup::Settings;
use crate::state::{Damage, Reader};
use crate::time::Clock;

/// How much memory must be left after a trial, in bytes: whoever takes another program's place needs more
/// than one on trial, and ends if it does not get that.
const SPARE_BYTES: usize = 1 << 20;

/// Looks at a state, and returns what to say of it. Touches nothing else.
///
/// # Errors
///
/// Why a server with these options cannot go on with it.
pub fn try_out(options: Options, state: &File) -> Result<String, String> {
    if !program::is_whole() {
        return Err("the program's file is cut short".to_owned());
    }
    let begun = Begun::read(options, state, true)?;
    let mut spare = Vec::<u8>::new();
    let reserved = spare.try_reserve_exact(SPARE_BYTES);
    reserved.map_err(|_| "this process may not have enough memory".to_owned())?;
    // Memory that nobody sees would not be asked for.
    black_box(&spare);
    Ok(format!("{}\n", answer(&begun.hub.summary())))
}

/// Takes the place of the program `old`. If this one cannot, the old one goes on.
///
/// # Errors
///
/// Why neither can.
pub fn resume(
    options: Result<Options, String>,
    state: File,
    old: File,
) -> Result<(Server, LogForm), String> {
    let begun = options.and_then(|options| go_on(options, &state));
    let error = match begun {
        Ok((mut server, form, head)) => {
            server.hub.stats().upgrades += 1;
            let hub = &server.hub;
            let text = format!(
                "upgraded from {} to {}: {}, {}, {} ms",
                head.version,
                env!("CARGO_PKG_VERSION"),
                count(hub.len() as u64, "connection"),
                count(hub.chat().sessions() as u64, "session"),
                server.clock.now().at.since(head.at).0
            );
            log::info!("{text}");
            ask_upgrade::answer(&text);
            return Ok((server, form));
        }
        Err(error) => error,
    };
    inherited::pass_on(&old, false);
    let failure = program::execute(&old, &errand::back(&state, &printable(&error)), false);
    Err(format!(
        "{error}; the program before the upgrade cannot go on either: {failure}"
    ))
}

/// Goes on after another program could not, for this reason.
///
/// # Errors
///
/// Why this one cannot either.
pub fn come_back(
    options: Result<Options, String>,
    state: File,
    reason: &str,
) -> Result<(Server, LogForm), String> {
    let (mut server, form, _) = options.and_then(|options| go_on(options, &state))?;
    let path = match &server.program {
        Ok(path) => path.display().to_string(),
        Err(error) => error.clone(),
    };
    server.note_refusal(&format!("{path}: {reason}"));
    Ok((server, form))
}

/// What was read of a state.
struct Begun {
    head: Head,
    handover: Handover,
    settings: Settings,
    /// Not to be dropped as long as another program may have to go on with the connections.
    hub: ManuallyDrop<Hub<Stream>>,
    ceiling: Ceiling,
    log_form: LogForm,
}

impl Begun {
    /// Reads a state, on trial without touching a stream, and without a log.
    fn read(options: Options, state: &File, is_trial: bool) -> Result<Begun, String> {
        let refused = |damage: Damage| format!("cannot read the state: {damage}");
        let mut source = SavedState::of(state);
        let mut reader = Reader::new(&mut source).map_err(refused)?;
        let head = Head::read(&mut reader).map_err(refused)?;
        let handover = Handover::read(&mut reader).map_err(refused)?;
        let log_form = match is_trial {
            true => LogForm::Plain,
            false => logging::set_up(&options, handover.report.log().clone())?,
        };
        handover.listeners.check(&options)?;
        let settings = Settings::new(options, &handover.listeners.passed())?;
        let mut is_missing = false;
        let stream_of = |number, peer: &Peer| {
            let stream = match is_trial {
                true => None,
                false => Stream::go_on(number, peer),
            };
            is_missing |= stream.is_none();
            stream.unwrap_or(Stream::Absent(number))
        };
        let limits = settings.options.limits;
        let link = settings.link.clone();
        let hub = Hub::load(&mut reader, &head, limits, LOCAL_ZONE, link, stream_of);
        let hub = ManuallyDrop::new(hub.map_err(refused)?.hub);
        if is_missing && !is_trial {
            return Err("a connection of the state is not there".to_owned());
        }
        let ceiling = settings.ceiling(hub.chat().names())?;
        Ok(Begun {
            head,
            handover,
            settings,
            hub,
            ceiling,
            log_form,
        })
    }
}

/// Goes on with a server, in the middle of what it was doing.
fn go_on(options: Options, state: &File) -> Result<(Server, LogForm, Head), String> {
    allocator::set_up();
    // Events that people see are stamped with the local time.
    read_zone();
    let Begun {
        head,
        handover,
        settings,
        mut hub,
        ceiling,
        log_form,
    } = Begun::read(options, state, false)?;
    let lock = match handover.lock {
        None => None,
        Some(number) => {
            let lock = inherited::take(number as RawFd).map(ManuallyDrop::new);
            Some(lock.ok_or("the lock on the state's file is not there")?)
        }
    };
    // It learns once more that the server is ready: the other program may not have reached it.
    let service_manager = ServiceManager::from_env()?;
    let poll = Poll::new().map_err(cannot_set_up)?;
    let signals = Signals::new(poll.registry(), EventSource::Signals.into());
    let signals = signals.map_err(cannot_set_up)?;
    for (conn, stream) in hub.streams() {
        let registered = stream.register(poll.registry(), EventSource::Connection(conn).into());
        registered.map_err(cannot_set_up)?;
    }
    if let Some(broker) = hub.broker() {
        let registered = broker.register(poll.registry(), EventSource::Broker.into());
        registered.map_err(cannot_set_up)?;
    }
    let clock = SystemClock::going_on_from(head.clock_start_ns);
    let operators = hub.chat().operators();
    let saved = handover.listeners;
    let listeners = Listeners::go_on(&settings.options, saved, operators, poll.registry())?;
    let now = clock.now();
    let saves = (settings.options.state.as_deref())
        .zip(lock)
        .map(|(path, lock)| {
            let file = StateFile::adopt(path, ManuallyDrop::into_inner(lock));
            Saves::go_on(file, head.boot, settings.options.save_s, now)
        });
    // Nothing can fail any more.
    let mut server = Server {
        poll,
        signals,
        listeners,
        hub: ManuallyDrop::into_inner(hub),
        clock,
        settings,
        ceiling,
        service_manager,
        report: handover.report,
        turn_times: TurnTimes::default(),
        program: Ok(handover.program),
        saves,
    };
    server.take_over();
    Ok((server, log_form, head))
}

impl Server {
    /// Makes everything that the process has the server's own.
    fn take_over(&mut self) {
        self.pass_on(&[], false);
        if let Ok(path) = &self.program {
            program::name_process(path);
        }
        let bytes = self.ceiling.bytes();
        let before = std::mem::replace(&mut self.hub.stats().memory_ceiling, bytes);
        if bytes != before {
            log::info!("memory: {}", self.ceiling);
        }
        signals::unblock();
        // Whoever asked again meanwhile had the same wish.
        self.signals.take_upgrade();
    }
}
