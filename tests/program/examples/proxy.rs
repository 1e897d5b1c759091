//! A bad network: a proxy in front of the server that breaks or stalls connections at given bytes,
//! in the middle of lines too, and records what it saw.
//!
//! Each connection has a fate. Only bytes towards the client count.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use socket2::SockRef;

use super::later::Later;
use crate::process::Watch;

/// What becomes of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lasts.
    Pass,
    /// It is reset once this many bytes have reached the client.
    Reset(usize),
    /// Its stream ends once this many bytes have reached the client.
    End(usize),
    /// Nothing gets through either way once this many bytes have reached the client.
    Stall(usize),
}

impl Fate {
    fn bytes(self) -> usize {
        match self {
            Fate::Pass => usize::MAX,
            Fate::Reset(bytes) | Fate::End(bytes) | Fate::Stall(bytes) => bytes,
        }
    }
}

#[derive(Default)]
struct State {
    /// Where the server is; without one, connections are reset.
    server: Option<String>,
    /// Whether the server says what only a later version would.
    is_later: bool,
    /// The fates of the next connections; all later ones pass.
    fates: VecDeque<Fate>,
    links: Vec<Link>,
    /// How many connections have met their fates.
    met: usize,
    /// What all clients have sent.
    sent: Vec<u8>,
    /// What the server has sent to all of them, whether it arrived or not.
    received: Vec<u8>,
    is_over: bool,
}

/// One connection, and what has reached its client. The threads that serve it own its streams: a
/// reset is sent only when the last of them drops its stream.
struct Link {
    client: Weak<TcpStream>,
    server: Weak<TcpStream>,
    fate: Fate,
    delivered: Vec<u8>,
    /// The client's stream, once the connection is stalled.
    stalled: Option<Arc<TcpStream>>,
    is_cut: bool,
}

impl Link {
    fn cut(&mut self) {
        if let Some(client) = self.client.upgrade() {
            reset(&client);
        }
        if let Some(server) = self.server.upgrade() {
            let _ = server.shutdown(Shutdown::Both);
        }
        self.is_cut = true;
        self.stalled = None;
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    /// A test that failed may have held the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.lock());
        self.changed.notify_all();
        value
    }
}

/// A running proxy, which resets all connections when it is dropped.
pub struct Proxy {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy in front of a server. The first connections have these fates, all others
    /// pass.
    pub fn start(server: &str, fates: &[Fate]) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared::default());
        shared.change(|state| {
            state.server = Some(server.to_owned());
            state.fates.extend(fates);
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &accepting));
        Proxy { address, shared }
    }

    /// Starts a proxy that makes a server say more than this version does.
    pub fn to_a_later_version(server: &str) -> Proxy {
        let proxy = Proxy::start(server, &[]);
        proxy.shared.change(|state| state.is_later = true);
        proxy
    }

    pub fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Adds a fate for the connection behind those that have one already.
    pub fn push(&self, fate: Fate) {
        self.shared.change(|state| state.fates.push_back(fate));
    }

    /// Sends new connections to another server, or to none; existing ones stay.
    pub fn turn_to(&self, server: Option<&str>) {
        let server = server.map(str::to_owned);
        self.shared.change(|state| state.server = server);
    }

    /// Resets all connections, and lets none through until it is turned to a server again.
    pub fn go_away(&self) {
        self.turn_to(None);
        self.cut();
    }

    /// Lets `bytes` more bytes through to the client of the last connection, and then nothing.
    pub fn stall(&self, bytes: usize) {
        self.shared.change(|state| {
            let link = state.links.last_mut().unwrap();
            link.fate = Fate::Stall(link.delivered.len() + bytes);
        });
    }

    /// Resets all connections.
    pub fn cut(&self) {
        self.shared
            .change(|state| state.links.iter_mut().for_each(Link::cut));
    }

    /// How many connections have met their fates.
    pub fn met(&self) -> usize {
        self.shared.lock().met
    }

    /// What has reached the client over the last connection.
    pub fn delivered(&self) -> String {
        let state = self.shared.lock();
        let bytes = &state.links.last().unwrap().delivered;
        String::from_utf8_lossy(bytes).into_owned()
    }

    /// Waits until `count` connections have been made.
    pub fn await_connections(&self, count: usize) {
        self.wait(|state| state.links.len() >= count, "connections");
    }

    /// Waits until `count` connections have met their fates.
    pub fn await_met(&self, count: usize) {
        self.wait(|state| state.met >= count, "fates that were met");
    }

    /// Waits until clients have sent a line `count` times.
    pub fn await_sent(&self, line: &str, count: usize) {
        let is_it = |sent: &&[u8]| sent.trim_ascii_end() == line.as_bytes();
        let count_in = |state: &State| state.sent.split(|&b| b == b'\n').filter(is_it).count();
        self.wait(|state| count_in(state) >= count, line);
    }

    /// The newest token that the server has issued.
    pub fn token(&self) -> String {
        let state = self.shared.lock();
        let text = String::from_utf8_lossy(&state.received);
        let (_, rest) = text.rsplit_once("OK JOIN session=").unwrap();
        rest.split(' ').next().unwrap().to_owned()
    }

    fn wait(&self, is_so: impl Fn(&State) -> bool, what: &str) {
        let watch = Watch::start();
        let mut state = self.shared.lock();
        while !is_so(&state) {
            assert!(watch.elapsed() < PATIENCE, "too few: {what}");
            let tick = Duration::from_millis(100);
            state = self.shared.changed.wait_timeout(state, tick).unwrap().0;
        }
    }
}

/// How long the clients may take when all of them are busy at once.
pub const PATIENCE: Duration = Duration::from_secs(150);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.change(|state| state.is_over = true);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
        self.cut();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let client = client.unwrap();
        let (server, is_over) = shared.change(|state| (state.server.clone(), state.is_over));
        if is_over {
            return;
        }
        match server.map(TcpStream::connect) {
            Some(Ok(server)) => begin(client, server, shared),
            _ => reset(&client),
        }
    }
}

fn begin(client: TcpStream, server: TcpStream, shared: &Arc<Shared>) {
    for stream in [&client, &server] {
        stream.set_nodelay(true).unwrap();
    }
    let (client, server) = (Arc::new(client), Arc::new(server));
    let number = shared.change(|state| {
        state.links.push(Link {
            client: Arc::downgrade(&client),
            server: Arc::downgrade(&server),
            fate: state.fates.pop_front().unwrap_or(Fate::Pass),
            delivered: Vec::new(),
            stalled: None,
            is_cut: false,
        });
        state.links.len() - 1
    });
    let (from, to, sent) = (client.clone(), server.clone(), Arc::clone(shared));
    thread::spawn(move || send(&from, &to, number, &sent));
    let shared = Arc::clone(shared);
    thread::spawn(move || deliver(&server, client, number, &shared));
}

/// Copies from the client to the server, until either goes.
fn send(mut client: &TcpStream, mut server: &TcpStream, number: usize, shared: &Shared) {
    let mut buffer = [0; 4096];
    while let Ok(len @ 1..) = client.read(&mut buffer) {
        let gets_through = shared.change(|state| {
            let gets_through = state.links[number].stalled.is_none();
            if gets_through {
                state.sent.extend_from_slice(&buffer[..len]);
            }
            gets_through
        });
        if gets_through && server.write_all(&buffer[..len]).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Write);
}

/// Copies from the server to the client, until the connection meets its fate.
fn deliver(mut server: &TcpStream, client: Arc<TcpStream>, number: usize, shared: &Shared) {
    let mut buffer = [0; 4096];
    let mut later = shared.lock().is_later.then(Later::default);
    while let Ok(len @ 1..) = server.read(&mut buffer) {
        let received = &buffer[..len];
        let added = later.as_mut().map(|later| later.add_to(received));
        let whole = added.as_deref().unwrap_or(received);
        let (part, fate) = shared.change(|state| {
            let link = &mut state.links[number];
            let left = link.fate.bytes() - link.delivered.len();
            let part = &whole[..whole.len().min(left)];
            link.delivered.extend_from_slice(part);
            state.received.extend_from_slice(received);
            (part, link.fate)
        });
        if client.as_ref().write_all(part).is_err() {
            break;
        }
        // Some bytes are held back, so the client cannot be at its end.
        if part.len() < whole.len() {
            meet(fate, server, client, number, shared);
            return;
        }
    }
    if !shared.change(|state| state.links[number].is_cut) {
        let _ = client.shutdown(Shutdown::Write);
    }
}

fn meet(fate: Fate, server: &TcpStream, client: Arc<TcpStream>, number: usize, shared: &Shared) {
    // Counted before the client can notice: a test that sees it end may look at the count.
    let stalled = matches!(fate, Fate::Stall(_)).then(|| Arc::clone(&client));
    shared.change(|state| {
        state.links[number].stalled = stalled;
        state.met += 1;
    });
    match fate {
        Fate::Pass => unreachable!("it lasts"),
        Fate::Stall(_) => return,
        Fate::Reset(_) => reset(&client),
        Fate::End(_) => _ = client.shutdown(Shutdown::Write),
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Makes a stream send a reset once nobody holds it any more, and wakes its reader.
fn reset(stream: &TcpStream) {
    SockRef::from(stream)
        .set_linger(Some(Duration::ZERO))
        .unwrap();
    let _ = stream.shutdown(Shutdown::Read);
}
