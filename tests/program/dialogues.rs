//! Every transcript, and every dialogue in a document, in which no time passes, played over TCP.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use crate::process::{PATIENCE, Server, TempDir, is_hint, unix};
use crate::script::sources::{documents, transcripts};
use crate::script::{Op, Script, Stage, is_operator};

/// A server of its own for each script.
struct TcpStage {
    server: Server,
    streams: HashMap<String, (TcpStream, Vec<u8>)>,
    users: PathBuf,
    /// The path of the operator's socket, if there is one.
    admin: PathBuf,
    _folder: TempDir,
}

impl TcpStage {
    fn new(script: &Script) -> Self {
        let folder = TempDir::new();
        let users = folder.join("users");
        let admin = folder.join("admin");
        let own_admin = unix(&admin);
        let mut args: Vec<_> = script.args.iter().map(String::as_str).collect();
        if let Some(at) = args.iter().position(|arg| *arg == "--admin") {
            args[at + 1] = &own_admin;
        }
        if let Some(text) = &script.users {
            write_users(&users, text);
            args.extend(["--users", users.to_str().unwrap()]);
        }
        TcpStage {
            server: Server::start_bounded(&args),
            streams: HashMap::new(),
            users,
            admin,
            _folder: folder,
        }
    }
}

fn write_users(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
}

/// What WHO, SESSIONS or STATS says, as if no second had passed: on a slow machine some do.
fn at_once(line: Vec<u8>) -> Vec<u8> {
    let Some(text) = std::str::from_utf8(&line)
        .ok()
        .and_then(|l| l.strip_suffix("\r\n"))
    else {
        return line;
    };
    let mut words: Vec<_> = text.split(' ').collect();
    let seconds = match words[..] {
        ["MEMBER", _, _, _, _] => 4,
        ["SESSION", _, _, _, _, _, ..] => 5,
        ["STAT", "uptime", _] => 2,
        _ => return line,
    };
    words[seconds] = "0";
    format!("{}\r\n", words.join(" ")).into_bytes()
}

impl Stage for TcpStage {
    fn connect(&mut self, who: &str) {
        let stream = match is_operator(who) {
            true => UnixStream::connect(&self.admin).unwrap().into(),
            false => OwnedFd::from(TcpStream::connect(self.server.address()).unwrap()),
        };
        // A Unix socket can do all that this test does with a stream.
        let stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let _ = stream.set_nodelay(true);
        self.streams.insert(who.into(), (stream, Vec::new()));
    }

    fn is_connected(&self, who: &str) -> bool {
        self.streams.contains_key(who)
    }

    fn send(&mut self, who: &str, bytes: &[u8]) {
        // The server may say goodbye to a client in the middle of what it sends.
        let _ = self.streams.get_mut(who).unwrap().0.write_all(bytes);
    }

    fn receive(&mut self, who: &str, len: Option<usize>) -> Result<Vec<u8>, Vec<u8>> {
        let (stream, received) = self.streams.get_mut(who).unwrap();
        loop {
            let end = received.iter().position(|&b| b == b'\n').map(|at| at + 1);
            if let Some(len) = len.or(end).filter(|&len| len <= received.len()) {
                // No script that plays here waits for it, but it comes if the machine is slow.
                if std::str::from_utf8(&received[..len]).is_ok_and(|line| is_hint(line.trim_end()))
                {
                    received.drain(..len);
                    continue;
                }
                return Ok(at_once(received.drain(..len).collect()));
            }
            let mut buffer = [0; 4096];
            match stream.read(&mut buffer) {
                Ok(len @ 1..) => received.extend(&buffer[..len]),
                // With a deadline, the system does not begin the read again by itself.
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return Err(received.clone()),
            }
        }
    }

    fn end(&mut self, who: &str) {
        self.streams[who].0.shutdown(Shutdown::Write).unwrap();
    }

    fn hang_up(&mut self, who: &str) {
        // Kept, so that the client does not count as one that has not connected yet.
        let _ = self.streams[who].0.shutdown(Shutdown::Both);
    }

    fn is_closed(&mut self, who: &str) -> bool {
        let (stream, received) = self.streams.get_mut(who).unwrap();
        loop {
            return match stream.read(&mut [0]) {
                Ok(len) => len == 0 && received.is_empty(),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => error.kind() == ErrorKind::ConnectionReset && received.is_empty(),
            };
        }
    }

    fn set_users(&mut self, text: &str) {
        write_users(&self.users, text);
        self.server.process.signal("HUP");
        self.server.process.expect_error(" now has ");
    }

    fn world(&mut self, op: &Op) {
        unreachable!("not a step over TCP: {op:?}");
    }

    fn published(&mut self, beginning: &str) -> Option<String> {
        unreachable!("not a step over TCP: {beginning}");
    }

    fn unread(&mut self) -> Vec<(String, Vec<u8>)> {
        // Only in a world with its own time can a test know that nothing more is coming.
        Vec::new()
    }
}

/// Whether the script needs nothing that only the core's world can do.
fn plays_over_tcp(script: &Script) -> bool {
    !script.steps.iter().any(|(_, op)| {
        matches!(
            op,
            Op::Advance(_)
                | Op::Stopped(_)
                | Op::Stalls(..)
                | Op::ReadsOn(_)
                | Op::LinkUp
                | Op::LinkDown
                | Op::Publish(..)
                | Op::Published(..)
        )
    })
}

fn expect_to_play(scripts: &[Script]) {
    let play = |script: &Script| script.play(&mut TcpStage::new(script)).err();
    let mut played = 0;
    let playable = scripts.iter().filter(|script| plays_over_tcp(script));
    let failures: Vec<_> = playable.inspect(|_| played += 1).filter_map(play).collect();
    assert!(failures.is_empty(), "\n{}", failures.join("\n"));
    assert!(played > 0);
}

#[test]
fn every_transcript_without_time_plays() {
    expect_to_play(&transcripts());
}

#[test]
fn every_dialogue_in_a_document_without_time_plays() {
    expect_to_play(&documents());
}
