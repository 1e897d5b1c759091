//! The listeners: accepting connections, and resting when that fails.

use std::io;
use std::mem::ManuallyDrop;

use mio::Registry;
use socket2::{Domain, Socket, Type};

use super::event_source::EventSource;
use crate::chat::Peer;
use crate::hub::{Hub, Vacancy};
use crate::net::accept_error::NotAccepted;
use crate::net::address::Address;
use crate::net::inherited;
use crate::net::listener::{Listener, SavedListener};
use crate::net::passed::PassedSocket;
use crate::net::stream::Stream;
use crate::options::Options;
use crate::startup::operators_descriptors;
use crate::state::{Damage, Fields, Part, Writer};
use crate::time::{Millis, Now};

/// How many connections are accepted from a listener in one turn.
const ACCEPTS_PER_TURN: usize = 256;
/// How long all listeners rest when the system is out of descriptors, unless a connection closes
/// before; and how long a single one rests that returns nothing but errors.
const REST: Millis = Millis(1000);
/// The permissions of the operator's socket, whatever else is set: the user that runs the server alone.
const ADMIN_MODE: u32 = 0o600;
/// The shortest time between two warnings about connections that were not accepted.
const WARNING_PAUSE: Millis = Millis(60_000);

/// All listeners.
#[derive(Default)]
pub struct Listeners {
    entries: Vec<Entry>,
    shortage: Option<Shortage>,
    /// The log has warned of the shortage, and has not yet said that it is over.
    is_shortage_logged: bool,
    /// When the log last warned about connections that were not accepted.
    warned_at: Option<Millis>,
    /// Descriptors for the operator's connections when the system has no others: `reserve_max`, less one for
    /// each connection that the operator has.
    reserve: Vec<Socket>,
    reserve_max: usize,
}

/// A listener, and whether it may have connections to accept.
struct Entry {
    listener: Listener,
    /// As people write it.
    address: Address,
    /// As the option gives it; `None` if the service manager has passed the socket.
    given: Option<Address>,
    is_ready: bool,
    /// It is the operator's.
    is_operators: bool,
    /// It failed on its own account, rests until this time, and has accepted nothing since.
    rest_end: Option<Millis>,
}

/// The system is out of descriptors or memory. All listeners rest until `end`, or until there are
/// fewer connections than `connections`.
struct Shortage {
    end: Millis,
    connections: usize,
}

impl Entry {
    /// An entry for a listener with its address; `given` is that as the option gives it.
    fn new(
        listener: Listener,
        address: Address,
        given: Option<&Address>,
        options: &Options,
    ) -> Entry {
        Entry {
            listener,
            address: match given {
                Some(given) => address.written_like(given),
                None => address,
            },
            is_operators: given.is_some() && given == options.admin.as_ref(),
            given: given.cloned(),
            is_ready: false,
            rest_end: None,
        }
    }

    fn rests(&self, now: Now) -> bool {
        self.rest_end.is_some_and(|end| now.past < end)
    }
}

impl Shortage {
    fn is_over(&self, connections: usize, now: Now) -> bool {
        now.past >= self.end || connections < self.connections
    }
}

/// What one program tells the next of its listeners.
pub struct SavedListeners {
    is_shortage_logged: bool,
    warned_at: Option<Millis>,
    /// Each with the address that the option gives, or that the socket has if it was passed; and whether
    /// it was.
    entries: Vec<(Address, bool, SavedListener)>,
}

impl SavedListeners {
    /// Reads what [`Listeners::save`] has written.
    ///
    /// # Errors
    ///
    /// If it is damaged.
    pub fn load(from: &mut Fields<'_>) -> Result<SavedListeners, Damage> {
        let (is_shortage_logged, warned_at) = Part::load(from);
        let mut entries = Vec::new();
        for _ in 0..usize::load(from) {
            let address = Address::parse(&String::load(from));
            let address = address.map_err(|_| Damage("an address makes no sense"))?;
            entries.push((address, Part::load(from), Part::load(from)));
        }
        Ok(SavedListeners {
            is_shortage_logged,
            warned_at,
            entries,
        })
    }

    /// The addresses of those that the service manager has passed.
    pub fn passed(&self) -> Vec<Address> {
        let passed = self.entries.iter().filter(|(_, is_passed, _)| *is_passed);
        passed.map(|(address, ..)| address.clone()).collect()
    }

    /// Checks that these are the addresses that the options give.
    ///
    /// # Errors
    ///
    /// A text for people that names an address with which that is not so.
    pub fn check(&self, options: &Options) -> Result<(), String> {
        let given = self.entries.iter().filter(|(_, is_passed, _)| !is_passed);
        let given: Vec<_> = given.map(|(address, ..)| address).collect();
        let admin = options.admin.as_ref();
        let for_all = options.addresses(given.len() < self.entries.len());
        let wanted: Vec<_> = for_all.iter().chain(admin).collect();
        let missing = wanted.iter().find(|address| !given.contains(address));
        let unwanted = given.iter().find(|address| !wanted.contains(address));
        match missing.or(unwanted) {
            Some(address) => Err(format!(
                "the server listens on {address} either before or after, and not both"
            )),
            None => Ok(()),
        }
    }
}

impl Listeners {
    /// Takes over the sockets that were passed, binds the other addresses, registers all of them
    /// with the poll, and logs them.
    ///
    /// # Errors
    ///
    /// A text for people that says which address failed, why, and the way out.
    pub fn open(
        options: &Options,
        passed: Vec<PassedSocket>,
        registry: &Registry,
    ) -> Result<Listeners, String> {
        let mut listeners = Listeners::default();
        let addresses = options.addresses(!passed.is_empty());
        for socket in passed {
            let listener = socket.listen(options.socket_buffer_bytes)?;
            let address = listener.address().map_err(cannot_set_up)?;
            listeners.add(Entry::new(listener, address, None, options), registry)?;
        }
        let for_all = addresses.iter().map(|given| (given, options.socket_mode));
        let admin = options.admin.iter().map(|given| (given, Some(ADMIN_MODE)));
        for (given, mode) in for_all.chain(admin) {
            let listener = Listener::bind(given, options.socket_buffer_bytes, mode)?;
            let address = listener.address().map_err(cannot_set_up)?;
            listeners.add(
                Entry::new(listener, address, Some(given), options),
                registry,
            )?;
        }
        for entry in &listeners.entries {
            match entry.is_operators {
                true => log::info!("serving the operator on {}", entry.address),
                false => log::info!("listening on {}", entry.address),
            }
        }
        listeners.fill_reserve(options, 0);
        Ok(listeners)
    }

    /// Goes on with the listeners of the program in whose place this one runs, and registers them with
    /// the poll. The operator has this many connections.
    ///
    /// # Errors
    ///
    /// A text for people, if the system refuses. The sockets then stay open.
    pub fn go_on(
        options: &Options,
        saved: SavedListeners,
        operators: usize,
        registry: &Registry,
    ) -> Result<Listeners, String> {
        // As long as the other program may have to go on, nothing is closed.
        let mut listeners = ManuallyDrop::new(Listeners {
            is_shortage_logged: saved.is_shortage_logged,
            warned_at: saved.warned_at,
            ..Listeners::default()
        });
        for (given, is_passed, listener) in saved.entries {
            let given = (!is_passed).then_some(&given);
            let listener = Listener::go_on(listener, is_passed, options.socket_buffer_bytes);
            let listener = ManuallyDrop::new(listener.map_err(cannot_set_up)?);
            let address = listener.address().map_err(cannot_set_up)?;
            let listener = ManuallyDrop::into_inner(listener);
            listeners.add(Entry::new(listener, address, given, options), registry)?;
        }
        let mut listeners = ManuallyDrop::into_inner(listeners);
        listeners.fill_reserve(options, operators);
        Ok(listeners)
    }

    /// Begins to reserve descriptors for the operator, who has this many connections.
    fn fill_reserve(&mut self, options: &Options, operators: usize) {
        self.reserve_max = operators_descriptors(options);
        self.reserve.reserve_exact(self.reserve_max);
        self.refill(operators);
    }

    /// Reserves a descriptor for each connection that the operator may still open, and one to say goodbye on.
    fn refill(&mut self, operators: usize) {
        self.reserve
            .truncate(self.reserve_max.saturating_sub(operators));
        while self.reserve.len() + operators < self.reserve_max {
            // A socket of no kind needs no file, no memory worth mentioning, and no permission.
            let Ok(socket) = Socket::new(Domain::UNIX, Type::STREAM, None) else {
                return;
            };
            self.reserve.push(socket);
        }
    }

    /// Adds one, and registers it with the poll.
    fn add(&mut self, mut entry: Entry, registry: &Registry) -> Result<(), String> {
        let token = EventSource::Listener(self.entries.len()).into();
        let registered = entry.listener.register(registry, token);
        self.entries.push(entry);
        registered.map_err(cannot_set_up)
    }

    /// Appends what the program that takes this one's place needs to go on with them.
    pub fn save(&self, out: &mut Writer<'_>) {
        self.is_shortage_logged.save(out);
        self.warned_at.save(out);
        self.entries.len().save(out);
        for entry in &self.entries {
            let address = entry.given.as_ref().unwrap_or(&entry.address);
            address.to_string().save(out);
            entry.given.is_none().save(out);
            entry.listener.to_saved().save(out);
        }
    }

    /// Chooses whether a program that is executed inherits them.
    pub fn pass_on(&self, is_inherited: bool) {
        for entry in &self.entries {
            inherited::pass_on(&entry.listener, is_inherited);
        }
    }

    /// Closes them all.
    pub fn close(&mut self) {
        self.entries.clear();
    }

    /// Notes that new connections wait on a listener.
    pub fn ready(&mut self, index: usize) {
        self.entries[index].is_ready = true;
    }

    /// When a rest ends next.
    pub fn next_deadline(&self, now: Now) -> Option<Millis> {
        let rests = self.entries.iter().filter(|entry| entry.rests(now));
        let shortage = self.shortage.iter().map(|shortage| shortage.end);
        rests
            .filter_map(|entry| entry.rest_end)
            .chain(shortage)
            .min()
    }

    /// Whether there may be something to accept at once, while there are `connections`.
    pub fn may_accept(&self, connections: usize, now: Now) -> bool {
        let shortage = self.shortage.as_ref();
        let has_descriptors = shortage.is_none_or(|shortage| shortage.is_over(connections, now));
        let mut entries = self.entries.iter();
        entries.any(|entry| {
            entry.is_ready && !entry.rests(now) && (has_descriptors || entry.is_operators)
        })
    }

    /// Accepts new connections, from each listener as many as a turn allows. Returns whether there
    /// were any; they may have sent something already.
    pub fn accept(&mut self, hub: &mut Hub<Stream>, registry: &Registry, now: Now) -> bool {
        let connections = hub.chat().connections();
        self.shortage
            .take_if(|shortage| shortage.is_over(connections, now));
        // No client gets a descriptor that is the operator's.
        self.refill(hub.chat().operators());
        let mut has_accepted = false;
        for is_operators in [true, false] {
            for index in 0..self.entries.len() {
                let entry = &self.entries[index];
                let is_next = entry.is_operators == is_operators && entry.is_ready;
                let may_accept = is_operators || self.shortage.is_none();
                if is_next && may_accept && !entry.rests(now) {
                    has_accepted |= self.accept_from(index, hub, registry, now);
                }
            }
            self.refill(hub.chat().operators());
        }
        has_accepted
    }

    /// Accepts connections from one listener, and returns whether there were any. The error of a single
    /// connection delays no other; a listener that returns nothing but such errors rests.
    fn accept_from(
        &mut self,
        index: usize,
        hub: &mut Hub<Stream>,
        registry: &Registry,
        now: Now,
    ) -> bool {
        let (mut has_accepted, mut last_error) = (false, None);
        // Each of the operator's may cost a look at those that they have.
        let most = match self.entries[index].is_operators {
            true => self.reserve_max,
            false => ACCEPTS_PER_TURN,
        };
        for _ in 0..most {
            let entry = &mut self.entries[index];
            let error = match entry.listener.accept() {
                Ok((stream, peer)) => {
                    entry.rest_end = None;
                    has_accepted = true;
                    let vacancy = match entry.is_operators {
                        true => hub.operators_vacancy(now),
                        false => hub.vacancy(),
                    };
                    self.admit(vacancy, stream, peer, registry, now);
                    continue;
                }
                Err(error) => error,
            };
            match NotAccepted::of(&error) {
                NotAccepted::NoneWaits => {
                    entry.is_ready = false;
                    entry.rest_end = None;
                    let is_for_all = !entry.is_operators;
                    if is_for_all && std::mem::take(&mut self.is_shortage_logged) {
                        log::info!("accepting connections again");
                    }
                    return has_accepted;
                }
                NotAccepted::OneFailed => last_error = Some(error),
                NotAccepted::Shortage if entry.is_operators => {
                    if self.reserve.pop().is_none() {
                        self.rest(index, &error, now);
                        return has_accepted;
                    }
                }
                NotAccepted::Shortage => {
                    self.rest_all(&error, hub.chat().connections(), now);
                    return has_accepted;
                }
                NotAccepted::Unknown => {
                    self.rest(index, &error, now);
                    return has_accepted;
                }
            }
        }
        if let Some(error) = last_error.filter(|_| !has_accepted) {
            self.rest(index, &error, now);
        }
        has_accepted
    }

    /// Takes a new connection on.
    fn admit(
        &mut self,
        vacancy: Vacancy<'_, Stream>,
        mut stream: Stream,
        peer: Peer,
        registry: &Registry,
        now: Now,
    ) {
        let source = EventSource::Connection(vacancy.conn());
        match stream.register(registry, source.into()) {
            Ok(()) => _ = vacancy.accept(stream, peer, now),
            Err(error) if self.may_warn(now) => {
                log::warn!("cannot poll a new connection: {error}");
            }
            Err(_) => {}
        }
    }

    /// Lets all listeners rest. Connections go on waiting, so each listener stays ready.
    fn rest_all(&mut self, error: &io::Error, connections: usize, now: Now) {
        self.shortage = Some(Shortage {
            end: now.at + REST,
            connections,
        });
        if !self.is_shortage_logged && self.may_warn(now) {
            self.is_shortage_logged = true;
            log::warn!("cannot accept connections: {error}; new ones have to wait");
        }
    }

    /// Lets a single listener rest, which would otherwise keep the server busy with its errors.
    fn rest(&mut self, index: usize, error: &io::Error, now: Now) {
        let rest_end = &mut self.entries[index].rest_end;
        if rest_end.replace(now.at + REST).is_none() && self.may_warn(now) {
            log::warn!(
                "cannot accept connections on {}: {error}; trying again each second",
                self.entries[index].address
            );
        }
    }

    /// Whether the log may warn about connections that were not accepted. Clients can cause that at
    /// any time, so it warns at most once a minute.
    fn may_warn(&mut self, now: Now) -> bool {
        let may = self
            .warned_at
            .is_none_or(|at| at + WARNING_PAUSE <= now.past);
        if may {
            self.warned_at = Some(now.at);
        }
        may
    }
}

fn cannot_set_up(error: io::Error) -> String {
    format!("cannot set up a listener: {error}")
}
