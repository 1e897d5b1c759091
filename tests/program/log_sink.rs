//! The program's log over real pipes, terminals and sockets: whether anybody reads it or not, the
//! server goes on working.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::process::{Client, Process, TempDir, Watch, program, program_within, unix};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Action, tcflow};

/// A server whose log goes where the test wants, killed when this is dropped.
struct Logging {
    child: Child,
    path: PathBuf,
    _dir: TempDir,
}

impl Logging {
    fn start(
        args: &[&str],
        stderr: impl Into<Stdio>,
        prepare: impl FnOnce(&mut Command),
    ) -> Logging {
        let dir = TempDir::new();
        let path = dir.join("chat");
        let mut command = program();
        command
            .args(["--listen", &unix(&path), "--rate", "0"])
            .args(args);
        prepare(command.stderr(stderr));
        let child = command.spawn().unwrap();
        Logging {
            child,
            path,
            _dir: dir,
        }
    }

    fn connect(&self) -> Client {
        let watch = Watch::start();
        while UnixStream::connect(&self.path).is_err() {
            assert!(!watch.is_over(), "it does not listen");
            thread::yield_now();
        }
        Client::greeted(&unix(&self.path))
    }

    /// Makes it log far more than a pipe or a terminal holds.
    fn flood(&self) -> Client {
        let mut client = self.connect();
        for _ in 0..40 {
            client.send_bytes(b"JOIN somebody mode=pull\nLEAVE\n".repeat(50).as_slice());
            for _ in 0..50 {
                client.expect("OK JOIN ");
                client.expect("OK LEAVE");
            }
        }
        client
    }

    fn expect_end(mut self) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", "TERM", &pid]).status();
        assert!(status.unwrap().success());
        let watch = Watch::start();
        while self.child.try_wait().unwrap().is_none() {
            assert!(!watch.is_over(), "SIGTERM does not end it");
            thread::yield_now();
        }
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Logging {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads a stream until a line contains `text`, or to its end; returns all that was read.
fn read_until(mut stream: impl Read, text: &str) -> String {
    let mut seen = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let so_far = String::from_utf8_lossy(&seen).into_owned();
        let has_all = so_far.lines().any(|line| line.contains(text)) && so_far.ends_with('\n');
        if has_all {
            return so_far;
        }
        match stream.read(&mut chunk) {
            Ok(len) if len > 0 => seen.extend_from_slice(&chunk[..len]),
            end => panic!("{end:?} without {text:?}: {so_far}"),
        }
    }
}

#[test]
fn a_pipe_that_nobody_reads_stops_nothing_and_gets_the_count_of_what_it_missed() {
    let mut server = Logging::start(&["-v"], Stdio::piped(), |_| {});
    let mut pipe = server.child.stderr.take().unwrap();
    let mut client = server.flood();
    assert!(client.stat("log-lines-dropped") > 0);
    // Once somebody reads again, the count comes by itself, and all lines are whole.
    let log = read_until(
        &mut pipe,
        " lines of the log were dropped: nobody read them",
    );
    for line in log.lines() {
        let level = line.split(' ').nth(1).unwrap();
        assert!(["INFO", "WARN", "DEBUG"].contains(&level), "{line}");
    }
    client.ask("JOIN ann", "OK JOIN ");
    read_until(&mut pipe, "ann joined lobby from a Unix socket");
    server.flood();
    server.expect_end();
}

#[test]
fn a_pipe_whose_reader_has_gone_stops_nothing() {
    let mut server = Logging::start(&["-v"], Stdio::piped(), |_| {});
    drop(server.child.stderr.take());
    server.flood().expect_service();
    server.expect_end();
}

#[test]
fn a_terminal_that_is_stopped_stops_nothing() {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap();
    let slave = File::options()
        .read(true)
        .write(true)
        .open(Path::new(name.to_str().unwrap()))
        .unwrap();
    let stderr: OwnedFd = slave.try_clone().unwrap().into();
    let server = Logging::start(&["-v"], stderr, |_| {});
    server.connect().expect_service();
    // As Ctrl-S does.
    tcflow(slave.as_fd(), Action::OOff).unwrap();
    let mut client = server.flood();
    assert!(client.stat("log-lines-dropped") > 0);
    tcflow(slave.as_fd(), Action::OOn).unwrap();
    read_until(File::from(master), " lines of the log were dropped");
    server.expect_end();
}

#[test]
fn the_journal_gets_priorities_and_no_times_and_stops_nothing() {
    for (args, is_named, has_priorities) in [
        (&["-v"][..], true, true),
        (&["-v"], false, false),
        (&["-v", "--log", "syslog"], false, true),
        (&["-v", "--log", "plain"], true, false),
    ] {
        let (reader, stderr) = UnixStream::pair().unwrap();
        let found = File::from(OwnedFd::from(stderr.try_clone().unwrap()));
        let found = found.metadata().unwrap();
        let inode = found.ino() + u64::from(!is_named);
        let name = format!("{}:{inode}", found.dev());
        let server = Logging::start(args, OwnedFd::from(stderr), |command| {
            command.env("JOURNAL_STREAM", name);
        });
        let mut client = server.flood();
        assert!(client.stat("log-lines-dropped") > 0);
        let log = read_until(&reader, " lines of the log were dropped");
        let begins = |start: &str| log.lines().any(|line| line.starts_with(start));
        assert_eq!(begins("<6>listening on unix:"), has_priorities, "{log}");
        assert_eq!(begins("<7>somebody joined lobby"), has_priorities, "{log}");
        assert_eq!(
            log.lines().any(|l| l.contains(" INFO listening ")),
            !has_priorities
        );
        drop(reader);
        client.expect_service();
        server.expect_end();
    }
}

#[test]
fn a_start_that_fails_is_one_whole_error_in_the_journal_too() {
    let memory = ["--listen", "127.0.0.1:0", "--memory", "1"];
    let finished = Process::start(program().args(memory)).finish();
    finished.expect_refusal(1, &["chinwag: --memory 1: "]);
    let lines = finished.err.lines().count();
    assert!(lines > 5, "{}", finished.err);
    let finished = Process::start(program().args(memory).args(["--log", "syslog"])).finish();
    finished.expect_refusal(1, &["<3>--memory 1: "]);
    assert!(finished.err.lines().all(|line| line.starts_with("<3>")));
    assert_eq!(finished.err.lines().count(), lines, "{}", finished.err);
}

#[test]
fn a_server_without_standard_error_serves_and_ends() {
    let dir = TempDir::new();
    let address = unix(&dir.join("chat"));
    let mut command = program_within(r#"exec "$@" 2>&-"#);
    let process = Process::start(command.args(["-v", "--listen", &address]));
    let watch = Watch::start();
    while UnixStream::connect(dir.join("chat")).is_err() {
        assert!(!watch.is_over(), "it does not listen");
        thread::yield_now();
    }
    let mut client = Client::greeted(&address);
    client.join("ann");
    client.ask("SAY hello", "OK SAY 2 ");
    // Log lines do not go to the file that got the number of standard error.
    client.expect_event("MSG", "ann hello");
    process.signal("TERM");
    client.expect_bye("shutdown");
    assert_eq!(process.finish().code, Some(0));
}

#[test]
fn the_last_line_says_what_there_was() {
    let mut server = Logging::start(&[], Stdio::piped(), |_| {});
    let pipe = server.child.stderr.take().unwrap();
    let mut client = server.connect();
    client.join("ann");
    client.ask("SAY hi", "OK SAY ");
    server.expect_end();
    let log = read_until(pipe, " INFO up 0 h 0 min: ");
    let last = log.lines().last().unwrap();
    assert!(
        last.contains(" connections, 1 sessions, 2 events; refused: 0 "),
        "{last}"
    );
}
