//! What an upgrade in place costs: how long clients wait while a server gives way to a program that is
//! the same, and what memory that takes.
//!
//! Times and memory come from upgrades of their own, since whoever looks at a process takes time too.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use rustix::fs::{MemfdFlags, memfd_create};
use tools::client::Client;
use tools::clock::Clock;

use crate::measure::memory::talk;
use crate::measure::server::{Server, connections_possible};
use crate::measure::sessions::{IDLE_S, Sessions, attach};
use crate::measure::table::Section;

/// How many upgrades are timed, and during how many memory is looked at.
const TIMED: usize = 9;
const WATCHED: usize = 5;

/// Connections that have joined, and how long a client is to wait at most, in milliseconds.
const SIZES: [(usize, Option<f64>); 3] = [(100, None), (1_000, Some(15.0)), (10_000, Some(150.0))];
const ROOM_SIZE: usize = 10;
const LOG_BYTES: &str = "4K";

/// A server with all that the default options allow, but for some connections and sessions.
const FULL: [usize; 3] = [1_008, 4_080, 48];
const FULL_ROOM_SIZE: usize = 64;
const FULL_LOG_BYTES: &str = "64K";
const FULL_MS_MAX: f64 = 60.0;
/// How many of its sessions have a connection.
const FULL_ATTACHED: usize = 1_000;

/// The new program finds this in its environment, behind it the descriptor of the state.
const ERRAND: &[u8] = b"CHINWAG_UPGRADE=trial ";
/// How the answer to a good upgrade begins.
const UPGRADED: &str = "upgraded ";
/// A program reads the state this many bytes at once.
const CHUNK_BYTES: usize = 16 * 1024;

pub fn measure(program: &Path, sessions: usize) -> Result<Vec<Section>, String> {
    let columns = ["shortest", "longest", "median"].map(String::from);
    let mut times = Section::new("upgrade, ms".into(), columns.into());
    let columns = ["state", "before", "until exec", "trial", "after"].map(String::from);
    let mut memory = Section::new("upgrade, resident KiB, sampled".into(), columns.into());
    for (size, target) in SIZES {
        let count = connections_possible(size).min(sessions);
        if count < size {
            continue;
        }
        let rooms = count.div_ceil(ROOM_SIZE);
        let server = Server::start(program, [count, count, rooms], LOG_BYTES)?;
        let clients = attach(&server, count, ROOM_SIZE)?;
        let place = Place::new(program, server, clients)?;
        let key = format!("upgrade-{count}");
        let what = format!("{count} connections");
        place.measure([&key, &what], target, [&mut times, &mut memory])?;
    }
    if sessions >= FULL[1] && connections_possible(FULL[0]) == FULL[0] {
        let place = full(program)?;
        let names = ["upgrade-full", "a full server with default limits"];
        place.measure(names, Some(FULL_MS_MAX), [&mut times, &mut memory])?;
    }
    Ok(vec![times, memory])
}

/// A server whose rooms keep as many events as they may.
fn full(program: &Path) -> Result<Place<'_>, String> {
    let server = Server::start(program, FULL, FULL_LOG_BYTES)?;
    let mut clients = server.clients()?;
    let sessions = Sessions::build(&mut clients, FULL[1], FULL_ROOM_SIZE, |_| IDLE_S)?;
    talk(&mut clients, &sessions)?;
    let mut line = Vec::new();
    for token in &sessions.tokens[..FULL_ATTACHED] {
        let mut client = server.connect()?;
        line.clear();
        token.resume(&mut line);
        line.push(b'\n');
        client.send(&line)?;
        client.expect("OK RESUME ")?;
        clients.push(client);
    }
    Place::new(program, server, clients)
}

/// A server in the state in which it is upgraded.
struct Place<'a> {
    program: &'a Path,
    server: Server,
    /// They stay connected.
    _clients: Vec<Client>,
    /// A client that waits for its PINGs.
    pinging: Client,
}

/// What upgrades took, in bytes: the most that was seen by looking again and again.
#[derive(Default)]
struct Seen {
    state: u64,
    /// The server until it executes the new program.
    until_exec: u64,
    /// The program on trial.
    trial: u64,
    /// How much of these two were pages of files, which no bound of the server's counts.
    files: [u64; 2],
}

impl Place<'_> {
    fn new(program: &Path, server: Server, clients: Vec<Client>) -> Result<Place<'_>, String> {
        Ok(Place {
            program,
            pinging: server.connect()?,
            server,
            _clients: clients,
        })
    }

    fn measure(
        mut self,
        [key, what]: [&str; 2],
        target: Option<f64>,
        [times, memory]: [&mut Section; 2],
    ) -> Result<(), String> {
        let before = self.server.resident()?;
        let mut most = Seen::default();
        for _ in 0..WATCHED {
            self.watch(&mut most)?;
        }
        let after = self.server.peak()?;
        let [state, until_exec, trial] = [most.state, most.until_exec, most.trial];
        let [before, after] = [before as u64, after as u64];
        let ceiling = self.server.control.stat("memory-ceiling")?;
        for (what, taken, allowed) in [
            ("the server", until_exec.max(after) - most.files[0], ceiling),
            (
                "the state and the trial",
                state + trial - most.files[1],
                self.server.upgrade_bytes_max,
            ),
        ] {
            if taken > allowed {
                return Err(format!(
                    "{what} took {taken} bytes, and {allowed} are allowed"
                ));
            }
        }
        let kib = [state, before, until_exec, trial, after].map(|bytes| bytes as f64 / 1024.0);
        memory.add_row(key, what, kib.into(), None);

        let mut rows = [const { Vec::new() }; 4];
        for _ in 0..TIMED {
            let (waited, logged) = self.time()?;
            let copied = copy(most.state as usize)?;
            let figures = [waited, logged, copied, waited / copied];
            for (row, figure) in rows.iter_mut().zip(figures) {
                row.push(figure);
            }
        }
        let kinds = [
            ("client", format!("the longest wait for a PING, {what}")),
            ("log", "  as the server's log says".into()),
            (
                "copy",
                "  to write the state's bytes once and read them twice".into(),
            ),
            ("ratio", "  the wait, in times of that".into()),
        ];
        for ((name, what), mut row) in kinds.into_iter().zip(rows) {
            row.sort_by(f64::total_cmp);
            let cells = [row[0], row[row.len() - 1], row[row.len() / 2]];
            let target = target.filter(|_| name == "client");
            times.add_row(&format!("{key}-{name}"), what, cells.into(), target);
        }
        Ok(())
    }

    /// Upgrades the server; gives the longest time that a client waits for a PING, and the time that the
    /// server says, in milliseconds.
    fn time(&mut self) -> Result<(f64, f64), String> {
        let (program, pid) = (self.program, self.server.pid());
        let pinging = &mut self.pinging;
        let mut longest_us = 0;
        let logged = while_upgrading(program, pid, || {
            let clock = Clock::start();
            pinging.ask("PING\n", "OK PING")?;
            longest_us = clock.now_us().max(longest_us);
            Ok(())
        })?;
        Ok((longest_us as f64 / 1e3, logged))
    }

    /// Upgrades the server, and looks at what memory that takes.
    fn watch(&mut self, seen: &mut Seen) -> Result<(), String> {
        let pid = self.server.pid();
        while_upgrading(self.program, pid, || {
            seen.look(pid);
            Ok(())
        })?;
        // It answers before all is done.
        self.pinging.ask("PING\n", "OK PING").map(|_| ())
    }
}

impl Seen {
    /// Looks at the server and at the program that it tries out, if there is one just now.
    fn look(&mut self, server: u32) -> Option<()> {
        let children = fs::read_to_string(format!("/proc/{server}/task/{server}/children")).ok()?;
        let child = children.split_whitespace().next()?;
        // Before it executes the program, it is a copy of the server.
        let environment = fs::read(format!("/proc/{child}/environ")).ok()?;
        let errand = environment.split(|&byte| byte == 0);
        let state = errand.filter_map(|text| text.strip_prefix(ERRAND)).next()?;
        let state = format!("/proc/{child}/fd/{}", std::str::from_utf8(state).ok()?);
        self.state = fs::metadata(state).ok()?.len().max(self.state);
        let peak_and_files = |pid: &str| {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let bytes = |field: &str| {
                let value = status.lines().find_map(|line| line.strip_prefix(field))?;
                let kib: u64 = value.split_whitespace().next()?.parse().ok()?;
                Some(kib * 1024)
            };
            Some((bytes("VmHWM:")?, bytes("RssFile:")?))
        };
        let (until_exec, server_files) = peak_and_files(&server.to_string())?;
        let (trial, trial_files) = peak_and_files(child)?;
        self.until_exec = until_exec.max(self.until_exec);
        self.trial = trial.max(self.trial);
        self.files[0] = server_files.max(self.files[0]);
        self.files[1] = trial_files.max(self.files[1]);
        Some(())
    }
}

/// Asks a server to upgrade itself, and does something again and again meanwhile. Gives the time that
/// the server says it took, in milliseconds.
fn while_upgrading(
    program: &Path,
    pid: u32,
    mut act: impl FnMut() -> Result<(), String>,
) -> Result<f64, String> {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let answer = ask(program, pid);
            is_over.store(true, Ordering::Relaxed);
            answer
        });
        while !is_over.load(Ordering::Relaxed) {
            act()?;
        }
        asking.join().expect("it does not panic")
    })
}

fn ask(program: &Path, pid: u32) -> Result<f64, String> {
    let shown = program.display();
    let mut command = Command::new(program);
    let output = command.args(["--upgrade", &pid.to_string()]).output();
    let output = output.map_err(|error| format!("{shown}: cannot be started: {error}"))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let took = answer.trim_end().strip_suffix(" ms");
    took.filter(|answer| answer.starts_with(UPGRADED))
        .and_then(|answer| answer.rsplit(' ').next()?.parse().ok())
        .ok_or_else(|| {
            let error = String::from_utf8_lossy(&output.stderr);
            format!("the server said '{answer}{error}' in place of '{UPGRADED}…'")
        })
}

/// Writes this many bytes into memory as a server does, reads them as two programs do; gives the time in
/// milliseconds.
fn copy(bytes: usize) -> Result<f64, String> {
    let failed = |error: std::io::Error| format!("cannot copy {bytes} bytes: {error}");
    let mut chunk = [b'x'; CHUNK_BYTES];
    let clock = Clock::start();
    let memory = memfd_create("copy", MemfdFlags::CLOEXEC);
    let mut memory = File::from(memory.map_err(|error| failed(error.into()))?);
    let lens = || {
        (0..bytes)
            .step_by(CHUNK_BYTES)
            .map(|at| (at, CHUNK_BYTES.min(bytes - at)))
    };
    for (_, len) in lens() {
        memory.write_all(&chunk[..len]).map_err(failed)?;
    }
    for (at, len) in lens().chain(lens()) {
        let read = memory.read_exact_at(&mut chunk[..len], at as u64);
        read.map_err(failed)?;
    }
    Ok(clock.elapsed().as_secs_f64() * 1e3)
}
