//! A server of our own to measure: started on a processor of its own, and what the system tells of
//! it: processor time, resident memory.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use socket2::SockRef;
use tools::client::Client;
use tools::net::raise_descriptors;
use tools::process::Process;
use tools::server;

/// What the system keeps of what is sent on a connection that does not block.
const SEND_BUFFER_BYTES: usize = 16 * 1024;

/// How many connections there are to work on sessions.
const CLIENTS: usize = 4;
/// What a server allows more than it is to have.
const SPARE: usize = 16;

/// A running server.
pub struct Server {
    server: server::Server,
    process: Process,
    /// A connection that asks it things.
    pub control: Client,
    /// Its resident memory, in bytes, when a first member had come and gone.
    pub resident_start: i64,
    /// What an upgrade takes at most besides, in bytes, as it says itself.
    pub upgrade_bytes_max: u64,
}

impl Server {
    /// Starts a server that bounds as little as it can. It and this process have a processor each, if
    /// there are two.
    pub fn start(program: &Path, sizes: [usize; 3], log_bytes: &str) -> Result<Server, String> {
        Server::start_with(program, sizes, log_bytes, &[])
    }

    /// The same with more options.
    pub fn start_with(
        program: &Path,
        [connections, sessions, rooms]: [usize; 3],
        log_bytes: &str,
        more: &[&str],
    ) -> Result<Server, String> {
        pin(CORES[0])?;
        let [connections, sessions, rooms, each] =
            [connections, sessions, rooms, sessions.max(connections)]
                .map(|count| (count + SPARE).to_string());
        let options = [
            ["--rate", "0"],
            ["--handshake", "86400"],
            ["--idle", "86400"],
            ["--max-idle", "86400"],
            ["--log-bytes", log_bytes],
            ["--keep-rooms", "0"],
            ["--max-connections", &connections],
            ["--max-sessions", &sessions],
            ["--max-rooms", &rooms],
            ["--max-per-address", &each],
        ];
        let options = [&options.concat(), more].concat();
        let upgrade_bytes_max = upgrade_bytes_max(program, &options)?;
        let started = server::Server::start(program, &options);
        pin(CORES[CORES.len() - 1])?;
        let server = started?;
        let process = Process::find(server.pid())?;
        let mut control = server.connect()?;
        control.ask("JOIN first\n", "OK JOIN ")?;
        control.expect("JOINED ")?;
        control.ask("LEAVE\n", "OK LEAVE")?;
        control.stat("uptime")?;
        let mut server = Server {
            server,
            process,
            control,
            resident_start: 0,
            upgrade_bytes_max,
        };
        server.resident_start = server.resident()?;
        Ok(server)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.server.pid()
    }

    /// A new connection.
    pub fn connect(&self) -> Result<Client, String> {
        self.server.connect()
    }

    /// Connections to work with.
    pub fn clients(&self) -> Result<Vec<Client>, String> {
        (0..CLIENTS).map(|_| self.connect()).collect()
    }

    /// A new connection that does not block, and whose greeting nobody reads. The system keeps
    /// little for it: many of them would else take all that it has for sockets, and then it drops
    /// what others send.
    pub fn stream(&self) -> Result<TcpStream, String> {
        let connected = TcpStream::connect(self.server.address);
        let prepared = connected.and_then(|stream| {
            SockRef::from(&stream).set_send_buffer_size(SEND_BUFFER_BYTES)?;
            stream.set_nonblocking(true)?;
            // Before a first OK, a line that does not end would end the connection.
            (&stream).write_all(b"PING\n")?;
            Ok(stream)
        });
        prepared.map_err(|error| format!("{}: cannot connect: {error}", self.server.address))
    }

    /// The processor time that it has taken, in nanoseconds, once it rests.
    pub fn cpu_ns(&self) -> Result<u64, String> {
        self.resting()?.cpu_ns()
    }

    /// How long it and this process have waited for others to leave a processor, in nanoseconds,
    /// once it rests.
    pub fn queued_ns(&self) -> Result<u64, String> {
        Ok(self.resting()?.queued_ns()? + Process::own().queued_ns()?)
    }

    /// Its resident memory in bytes, once it rests.
    pub fn resident(&self) -> Result<i64, String> {
        Ok(self.resting()?.resident_kib()? as i64 * 1024)
    }

    /// Its most resident memory in bytes, since the program in it was executed.
    pub fn peak(&self) -> Result<i64, String> {
        Ok(self.process.peak_kib()? as i64 * 1024)
    }

    /// What has come since the start, for each of `count`.
    pub fn growth(&self, count: usize) -> Result<f64, String> {
        Ok((self.resident()? - self.resident_start) as f64 / count as f64)
    }

    fn resting(&self) -> Result<&Process, String> {
        self.process.await_rest()?;
        Ok(&self.process)
    }
}

/// What `--check` says that an upgrade takes, in bytes.
fn upgrade_bytes_max(program: &Path, options: &[&str]) -> Result<u64, String> {
    const ROW: &str = " MiB  more for a moment during an upgrade";
    let shown = program.display();
    let output = Command::new(program).args(options).arg("--check").output();
    let output = output.map_err(|error| format!("{shown}: cannot be started: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mib = text.lines().find_map(|line| Some(line.split_once(ROW)?.0));
    let mib: Option<f64> = mib.and_then(|mib| mib.trim().parse().ok());
    mib.map(|mib| (mib * f64::from(1 << 20)) as u64)
        .ok_or_else(|| format!("{shown}: --check says nothing of an upgrade:\n{text}"))
}

/// The processors that this process might use, before it chose one.
static CORES: LazyLock<Vec<usize>> = LazyLock::new(|| {
    let set = sched_getaffinity(None).expect("a process may ask for its own processors");
    (0..CpuSet::MAX_CPU).filter(|&c| set.is_set(c)).collect()
});

/// How many processors there are for us: with one, the figures for time are the worse.
pub fn core_count() -> usize {
    CORES.len().min(2)
}

fn pin(core: usize) -> Result<(), String> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).map_err(|error| format!("sched_setaffinity({core}): {error}"))
}

/// How many of `wanted` connections the limit on open files allows here and in the server, which
/// inherits it.
pub fn connections_possible(wanted: usize) -> usize {
    const OTHERS: u64 = 64;
    let allowed = raise_descriptors(wanted as u64 + OTHERS);
    wanted.min(allowed.saturating_sub(OTHERS) as usize)
}
