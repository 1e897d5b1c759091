//! Starts programs and talks to the server, for tests with real processes and real sockets.
//!
//! Every wait is for bytes or the end of a stream, with a deadline. Where there is nothing to wait for, it
//! asks again and again.

mod client;
mod programs;

use std::ffi::OsString;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, prlimit, setrlimit};

pub use client::{Client, Polite, Received, is_hint};
pub use programs::{Netcat, has, has_ipv6, has_netcat, has_success, in_ci, install, skip};

/// How long a test waits for something that should happen at once, even on a busy machine. Only a
/// test that fails takes this long.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Arguments for tests that are not about limits: one address may have everything, at any speed.
const UNBOUNDED: [&str; 4] = ["--rate", "0", "--max-per-address", "100000"];

/// Names a build of the program to test in place of the one that came with the tests.
const BINARY: &str = "CHINWAG_BINARY";
/// Names the qemu emulator to run the program with.
const RUNNER: &str = "CHINWAG_RUNNER";

/// Measures the time since it was made.
#[derive(Clone, Copy)]
pub struct Watch(Instant);

impl Watch {
    /// Starts a watch. Only here do tests read the clock.
    #[expect(clippy::disallowed_methods, reason = "tests wait with deadlines")]
    pub fn start() -> Watch {
        Watch(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// What is left of `limit`; `None` once it is over.
    fn left(self, limit: Duration) -> Option<Duration> {
        let left = limit.checked_sub(self.elapsed());
        left.filter(|left| !left.is_zero())
    }

    /// Whether [`PATIENCE`] is over.
    pub fn is_over(self) -> bool {
        self.left(PATIENCE).is_none()
    }
}

/// A folder of the test's own, removed when this is dropped.
pub struct TempDir(PathBuf);

impl TempDir {
    pub fn new() -> TempDir {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("chinwag-test-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        TempDir(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What a program has written to one of its streams, line by line.
struct Output {
    lines: Receiver<String>,
    /// Everything taken out of `lines` so far.
    seen: String,
    patience: Duration,
}

impl Output {
    fn of(stream: impl Read + Send + 'static) -> Output {
        let (sender, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            let mut line = Vec::new();
            while stream.read_until(b'\n', &mut line).is_ok_and(|len| len > 0) {
                let text = String::from_utf8_lossy(&line).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
                line.clear();
            }
        });
        Output {
            lines,
            seen: String::new(),
            patience: PATIENCE,
        }
    }

    /// The next line; `None` at the end of the stream.
    fn next(&mut self, watch: Watch) -> Option<String> {
        let left = watch.left(self.patience).unwrap_or_default();
        match self.lines.recv_timeout(left) {
            Ok(line) => {
                self.seen.push_str(&line);
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => panic!("no end of output in time: {:?}", self.seen),
        }
    }

    fn expect(&mut self, text: &str) -> String {
        let watch = Watch::start();
        while let Some(line) = self.next(watch) {
            if line.contains(text) {
                return line;
            }
        }
        panic!("the output ended without {text:?}: {:?}", self.seen);
    }

    fn rest(&mut self) -> String {
        let watch = Watch::start();
        while self.next(watch).is_some() {}
        std::mem::take(&mut self.seen)
    }
}

/// A running program, killed when this is dropped.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Output,
    err: Output,
}

/// How a program ended, with all of its output from the start.
#[derive(Debug)]
pub struct Finished {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl Finished {
    /// Checks that a program has refused to do its work, and that its reason contains these texts.
    pub fn expect_refusal(&self, code: i32, texts: &[&str]) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert_eq!(self.out, "");
        for text in texts {
            assert!(self.err.contains(text), "no {text:?}: {}", self.err);
        }
    }
}

impl Process {
    pub fn start(command: &mut Command) -> Process {
        Process::spawn(command.stdin(Stdio::piped()).stdout(Stdio::piped()))
    }

    /// Starts a command with the input and output that it already has.
    pub fn spawn(command: &mut Command) -> Process {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let out: Box<dyn Read + Send> = match child.stdout.take() {
            Some(out) => Box::new(out),
            None => Box::new(io::empty()),
        };
        Process {
            stdin: child.stdin.take(),
            out: Output::of(out),
            err: Output::of(child.stderr.take().unwrap()),
            child,
        }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sets how long to wait for its output, in place of [`PATIENCE`].
    pub fn be_patient(&mut self, patience: Duration) {
        self.out.patience = patience;
        self.err.patience = patience;
    }

    /// Kills it, without a chance to clean up.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub fn type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
    }

    /// Types something that may come too late, to a program that is about to end.
    pub fn try_to_type_in(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(text.as_bytes());
    }

    pub fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    pub fn end_input(&mut self) {
        self.stdin = None;
    }

    /// Waits for a line on stdout that contains `text`.
    pub fn expect(&mut self, text: &str) -> String {
        self.out.expect(text)
    }

    /// Waits for a line on stderr that contains `text`.
    pub fn expect_error(&mut self, text: &str) -> String {
        self.err.expect(text)
    }

    /// Waits for the end.
    pub fn finish(mut self) -> Finished {
        let (out, err) = (self.out.rest(), self.err.rest());
        let code = self.child.wait().unwrap().code();
        Finished { code, out, err }
    }

    /// Sends it a signal, by its name without SIG.
    pub fn signal(&self, name: &str) {
        let signal = match name {
            "CONT" => Signal::CONT,
            "HUP" => Signal::HUP,
            "INT" => Signal::INT,
            "KILL" => Signal::KILL,
            "STOP" => Signal::STOP,
            "TERM" => Signal::TERM,
            "USR1" => Signal::USR1,
            "USR2" => Signal::USR2,
            _ => panic!("no signal {name}"),
        };
        let pid = Pid::from_raw(self.id() as i32).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// One of the files in `/proc` about the process.
    fn proc(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.id())).unwrap()
    }

    /// The variables with which its program was executed.
    pub fn environment(&self) -> String {
        self.proc("environ")
    }

    /// The first word of a field in `/proc/PID/status`.
    pub fn status(&self, field: &str) -> String {
        let status = self.proc("status");
        let mut lines = status.lines();
        let value = lines.find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.unwrap().split_whitespace().next().unwrap().to_owned()
    }

    /// How many times the process has gone to sleep.
    pub fn sleeps(&self) -> u64 {
        self.status("voluntary_ctxt_switches").parse().unwrap()
    }

    /// Resident memory that the program took for its data, without the pages of its files, which the
    /// ceiling does not count: the system chooses how many of those are resident, and their number
    /// may grow long after the start, when code runs for the first time. Without an emulator's own.
    pub fn kibibytes(&self) -> u64 {
        match given(RUNNER) {
            None => self.status("RssAnon").parse().unwrap(),
            Some(_) => emulated_kibibytes(&self.proc("smaps"), "Anonymous:"),
        }
    }

    /// The most of it that there ever was: the most of all pages, less those of files now, of which there
    /// may have been fewer then, so it is at least what there is now. Under an emulator nobody records
    /// that, so this is what there is now.
    pub fn peak_kibibytes(&self) -> u64 {
        let now = self.kibibytes();
        if given(RUNNER).is_some() {
            return now;
        }
        let [peak, files] = ["VmHWM", "RssFile"].map(|name| self.status(name));
        let [peak, files] = [peak, files].map(|number| number.parse::<u64>().unwrap());
        now.max(peak.saturating_sub(files))
    }

    /// The soft limit on open files.
    pub fn descriptors_max(&self) -> u64 {
        let limits = self.proc("limits");
        let mut lines = limits.lines();
        let value = lines.find_map(|line| line.strip_prefix("Max open files"));
        value
            .unwrap()
            .split_whitespace()
            .next()
            .unwrap()
            .parse()
            .unwrap()
    }

    /// Lets the process open `more` descriptors besides those that it has.
    pub fn leave_descriptors(&self, more: usize) {
        // A descriptor inherited from whatever runs the tests may be above the others.
        let open = self.descriptors();
        let limit = (0..).filter(|fd| !open.contains(fd)).nth(more);
        self.limit_descriptors(limit.unwrap() as u64);
    }

    /// Changes the soft limit on open files, from outside.
    pub fn limit_descriptors(&self, max: u64) {
        self.limit(Resource::Nofile, Some(max));
    }

    /// How much memory the process has mapped, used or not.
    pub fn mapped_bytes(&self) -> u64 {
        self.status("VmSize").parse::<u64>().unwrap() * 1024
    }

    /// Changes the soft limit on memory that is mapped, from outside; returns the one before.
    pub fn limit_memory(&self, max: Option<u64>) -> Option<u64> {
        self.limit(Resource::As, max)
    }

    /// Changes the soft limit on the bytes of a file that it writes, from outside; returns the one before.
    pub fn limit_file_bytes(&self, max: Option<u64>) -> Option<u64> {
        self.limit(Resource::Fsize, max)
    }

    fn limit(&self, resource: Resource, current: Option<u64>) -> Option<u64> {
        let pid = Pid::from_child(&self.child);
        let maximum = getrlimit(resource).maximum;
        let limit = Rlimit { current, maximum };
        prlimit(Some(pid), resource, limit).unwrap().current
    }

    /// Processor time so far, in ticks of 10 ms.
    pub fn ticks(&self) -> u64 {
        let stat = self.proc("stat");
        // The name, which may hold spaces, ends with the last parenthesis.
        let (_, fields) = stat.rsplit_once(')').unwrap();
        let mut times = fields.split_whitespace().skip(11);
        let mut next = || times.next().unwrap().parse::<u64>().unwrap();
        next() + next()
    }

    /// The descriptors that are open.
    pub fn descriptors(&self) -> Vec<usize> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.id())).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name());
        names
            .map(|n| n.to_str().unwrap().parse().unwrap())
            .collect()
    }

    /// The processes that it has begun and whose end it has not noted.
    pub fn children(&self) -> Vec<Pid> {
        // Each thread has begun some of them.
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).unwrap();
        let lists = threads.map(|thread| {
            let list = thread.unwrap().path().join("children");
            // By now the thread may have ended.
            fs::read_to_string(list).unwrap_or_default()
        });
        let lists: Vec<String> = lists.collect();
        let numbers = lists.iter().flat_map(|list| list.split_whitespace());
        let numbers = numbers.map(|number| number.parse().unwrap());
        numbers.map(|n| Pid::from_raw(n).unwrap()).collect()
    }

    /// Stops the process once it has done all its work and waits, and checks that it has stopped.
    pub fn pause(&self) {
        self.await_state("S");
        self.signal("STOP");
        self.await_state("T");
    }

    /// Waits until the process sleeps.
    pub fn await_sleep(&self) {
        self.await_state("S");
    }

    fn await_state(&self, state: &str) {
        let watch = Watch::start();
        while self.status("State") != state {
            assert!(!watch.is_over(), "the state is {}", self.status("State"));
            thread::yield_now();
        }
    }

    /// Lets the process run again.
    pub fn go_on(&self) {
        self.signal("CONT");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.err.seen.extend(self.err.lines.try_iter());
            eprintln!("stderr of {}:\n{}", self.child.id(), self.err.seen);
        }
    }
}

/// The words that start the program, before its own arguments.
pub fn launch() -> Vec<OsString> {
    let built = || env!("CARGO_BIN_EXE_chinwag").into();
    let binary = given(BINARY).unwrap_or_else(built);
    given(RUNNER).into_iter().chain([binary]).collect()
}

/// A variable of the environment, if it is set and not empty.
fn given(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// One kind of memory of a program under qemu, from `/proc/PID/smaps`: everything below 2^44, where
/// the emulator itself has nothing.
fn emulated_kibibytes(smaps: &str, kind: &str) -> u64 {
    let mut is_emulated = false;
    let mut sum = 0;
    for line in smaps.lines() {
        let (word, rest) = line.split_once(' ').unwrap();
        match (word.split_once('-'), word) {
            (Some((start, _)), _) => is_emulated = start.len() <= 11,
            (None, word) if is_emulated && word == kind => {
                sum += rest.trim_end_matches("kB").trim().parse::<u64>().unwrap();
            }
            _ => {}
        }
    }
    sum
}

/// The program, without arguments.
pub fn program() -> Command {
    let launch = launch();
    let mut command = Command::new(&launch[0]);
    command.args(&launch[1..]).env_remove("RUST_LOG");
    command
}

/// The program, started by a shell script in which `"$@"` stands for it.
pub fn program_within(script: &str) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).args(launch());
    command.env_remove("RUST_LOG");
    command
}

/// A server that listens.
pub struct Server {
    pub process: Process,
    /// Where it listens, according to its log.
    pub addresses: Vec<String>,
    /// The lines of the log that said so.
    pub greetings: Vec<String>,
    /// The line of the log about memory.
    pub memory: String,
}

impl Server {
    /// Starts the server on a port of its own, with more arguments, without a rate and without
    /// limits for an address.
    pub fn start(args: &[&str]) -> Server {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]);
        Server::start_as(command.args(UNBOUNDED).args(args))
    }

    /// Starts the server on a port of its own, with the default limits and more arguments.
    pub fn start_bounded(args: &[&str]) -> Server {
        Server::start_as(program().args(["--listen", "127.0.0.1:0"]).args(args))
    }

    /// Starts the server on a Unix socket alone.
    pub fn start_on(path: &Path) -> Server {
        Server::start_as(program().args(["--listen", &unix(path)]).args(UNBOUNDED))
    }

    /// Starts a command that runs the server with at least one `--listen`.
    pub fn start_as(command: &mut Command) -> Server {
        let addresses = command.get_args().filter(|arg| *arg == "--listen").count();
        let mut process = Process::start(command);
        let memory = process.expect_error("memory: ");
        let greetings: Vec<String> = (0..addresses)
            .map(|_| process.expect_error("listening on "))
            .collect();
        let address = |line: &String| {
            let (_, address) = line.split_once("listening on ").unwrap();
            address.trim_end().to_owned()
        };
        Server {
            process,
            addresses: greetings.iter().map(address).collect(),
            greetings,
            memory,
        }
    }

    /// The first address that it listens on.
    pub fn address(&self) -> &str {
        &self.addresses[0]
    }

    /// The port of that address.
    pub fn port(&self) -> &str {
        let (_, port) = self.address().rsplit_once(':').unwrap();
        port
    }

    /// The most memory that the server says it can ever need, in KiB.
    pub fn ceiling(&self) -> u64 {
        let (_, rest) = self.memory.split_once("memory: at most ").unwrap();
        let (mebibytes, _) = rest.split_once(" MiB for ").unwrap();
        (mebibytes.parse::<f64>().unwrap() * 1024.0) as u64
    }

    /// Checks that the server has never had more memory than it says it can need; returns both, for
    /// people.
    pub fn expect_below_ceiling(&self) -> String {
        let (peak, ceiling) = (self.process.peak_kibibytes(), self.ceiling());
        assert!(peak < ceiling, "{peak} KiB, with a ceiling of {ceiling}");
        format!("at most {peak} KiB resident, with a ceiling of {ceiling} KiB")
    }

    /// Waits until the server has no more than `max` KiB resident. Under an emulator it may have
    /// more: qemu keeps what the program gives back with brk(2).
    pub fn await_kibibytes(&self, asker: &mut Client, max: u64) {
        if given(RUNNER).is_some() {
            return;
        }
        let watch = Watch::start();
        while self.process.kibibytes() > max {
            let now = self.process.kibibytes();
            assert!(!watch.is_over(), "{now} KiB are more than {max}");
            asker.expect_nothing(Duration::from_millis(10));
        }
    }

    /// Waits until the server has `count` descriptors open.
    pub fn await_descriptors(&self, asker: &mut Client, count: usize) {
        let watch = Watch::start();
        while self.process.descriptors().len() != count {
            if watch.is_over() {
                let open = self.process.descriptors();
                let connections = asker.stat("connections");
                let attached = asker.stat("sessions-attached");
                panic!("{open:?} with {connections} connections, {attached} of them attached");
            }
            asker.expect_service();
            asker.expect_nothing(Duration::from_millis(20));
        }
    }

    /// A connection that has been greeted.
    pub fn connect(&self) -> Client {
        Client::greeted(self.address())
    }

    /// A connection that has joined with these arguments, and has got its OK.
    pub fn join(&self, args: &str) -> Client {
        let mut client = self.connect();
        client.join(args);
        client
    }
}

/// The address of a Unix socket, as `--listen` takes it.
pub fn unix(path: &Path) -> String {
    format!("unix:{}", path.display())
}

/// Raises this process's limit on open files to the highest value allowed: tests have many clients.
pub fn raise_descriptors() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
}
