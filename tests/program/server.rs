//! The program over real sockets: listening, streams that come in pieces or break off, time,
//! readers that do not read, signals, and what the system runs out of.
//!
//! What the commands do is not tested here, but by the transcripts.

use std::fs;
use std::io::{IoSlice, Write};
use std::mem::MaybeUninit;
use std::net::{Shutdown, TcpListener};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::process::{
    self, Client, Finished, PATIENCE, Process, Received, Server, TempDir, Watch, has_ipv6, program,
    program_within, unix,
};

use rustix::fs::{FlockOperation, flock};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

const SECOND: Duration = Duration::from_secs(1);

/// How many messages are said at once in a flood. They fit into a socket's smallest buffer, so
/// that whoever reads between two batches has room for the next.
const BATCH: usize = 32;

/// Says `messages` messages of 1,000 bytes, and does something after each batch.
fn flood(speaker: &mut Client, messages: usize, mut after_batch: impl FnMut()) {
    let line = format!("SAY {}\r\n", "x".repeat(1000));
    let lines = line.repeat(BATCH);
    for _ in 0..messages / BATCH {
        speaker.send_bytes(lines.as_bytes());
        for _ in 0..BATCH {
            speaker.expect("OK SAY ");
        }
        after_batch();
    }
}

/// Asks who is there until a line of the answer contains `text`, or none does any more.
fn wait_for_member(asker: &mut Client, text: &str, present: bool) {
    let watch = Watch::start();
    loop {
        let head = asker.ask("WHO", "OK WHO ");
        let members = head.split(' ').nth(2).unwrap().parse().unwrap();
        let members: Vec<_> = (0..members).map(|_| asker.expect("MEMBER ")).collect();
        if members.iter().any(|member| member.contains(text)) == present {
            return;
        }
        assert!(!watch.is_over(), "{members:?}");
        asker.expect_nothing(Duration::from_millis(20));
    }
}

fn try_to_listen(address: &str) -> Finished {
    Process::start(program().args(["--open", "--listen", address])).finish()
}

/// Connects to a server that does not say when it listens.
fn connect_once_it_listens(address: &str) -> Client {
    let watch = Watch::start();
    loop {
        match Client::try_connect(address) {
            Ok(mut client) => {
                client.expect("HELLO ");
                return client;
            }
            Err(error) => assert!(!watch.is_over(), "{error}"),
        }
    }
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

// Listening

#[test]
fn it_listens_on_all_addresses_and_logs_a_line_for_each() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let mut addresses = vec!["127.0.0.1:0", &on_unix];
    if has_ipv6() {
        addresses.push("[::1]:0");
    }
    let mut command = program();
    for address in &addresses {
        command.args(["--listen", address]);
    }
    let server = Server::start_as(&mut command);

    for ((asked, address), line) in addresses
        .iter()
        .zip(&server.addresses)
        .zip(&server.greetings)
    {
        let host = asked.strip_suffix(":0").unwrap_or(asked);
        assert!(address.starts_with(host), "{address} for {asked}");
        assert!(!address.ends_with(":0"), "{address}");
        let words: Vec<_> = line.trim_end().split(' ').collect();
        assert!(words[0].ends_with('Z'), "a time in UTC: {line}");
        assert_eq!(words[1..], ["INFO", "listening", "on", address]);
        Client::greeted(address).expect_service();
    }

    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert_eq!(log.matches("listening on").count(), addresses.len());
}

#[test]
fn a_port_in_use_is_refused_by_name_and_leaves_no_socket_file_behind() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let mut command = program();
    command.args(["--listen", &unix(&path), "--listen", &address]);
    let finished = Process::start(&mut command).finish();
    finished.expect_refusal(1, &[&address, "choose another port"]);
    assert!(!path.exists());
    // What has the port may be the server itself, for another of its addresses.
    let port = other.local_addr().unwrap().port();
    drop(other);
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    let mut command = program();
    command.args(["--open", "--listen", &all, "--listen", &one]);
    let finished = Process::start(&mut command).finish();
    finished.expect_refusal(1, &[&format!("on {one}: "), "or another --listen"]);
}

#[test]
fn an_address_that_no_interface_has_yet_is_listened_on_with_a_warning() {
    let mut addresses = vec!["203.0.113.1"];
    match has_ipv6() {
        true => addresses.extend(["[2001:db8::1]", "[fe80::1234%lo]"]),
        false => process::skip("without IPv6, which this machine does not have"),
    }
    // RFC 5737 and RFC 3849 keep these addresses for documents.
    for address in addresses {
        let server =
            Server::start_as(program().args(["--open", "--listen", &format!("{address}:0")]));
        assert!(
            server.address().starts_with(address),
            "{}",
            server.address()
        );
        assert!(!server.address().ends_with(":0"));
        server.process.signal("TERM");
        let log = server.process.finish().err;
        let warning = format!(" WARN no interface of this machine has the address of {address}:0;");
        assert!(log.contains(&warning), "{log}");
    }
    let server = Server::start(&[]);
    server.process.signal("TERM");
    assert!(!server.process.finish().err.contains("WARN"));
}

#[test]
fn an_address_of_a_link_is_listened_on_by_its_interfaces_name_or_number() {
    if !has_ipv6() {
        return process::skip("without IPv6, which this machine does not have");
    }
    let number = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    for interface in ["lo", number.trim_end()] {
        let host = format!("[fe80::1%{interface}]");
        let server = Server::start_as(program().args(["--open", "--listen", &format!("{host}:0")]));
        let address = server.address();
        assert!(address.starts_with(&format!("{host}:")), "{address}");
    }
    let finished = try_to_listen("[fe80::1%no-such0]:8255");
    finished.expect_refusal(1, &["[fe80::1%no-such0]:8255", "no interface no-such0 now"]);
    let finished = try_to_listen("[fe80::1%2147483647]:8255");
    finished.expect_refusal(
        1,
        &["[fe80::1%2147483647]:8255", "no interface with that number"],
    );
}

#[test]
fn the_socket_file_of_a_killed_server_is_replaced() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    server.process.signal("KILL");
    assert_eq!(server.process.finish().code, None);
    assert!(is_socket(&path));
    Server::start_on(&path).connect().expect_service();
}

#[test]
fn the_socket_of_a_live_server_is_refused() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let finished = try_to_listen(&unix(&path));
    finished.expect_refusal(1, &[&unix(&path), "choose another path"]);
    server.connect().expect_service();
}

#[test]
fn the_socket_of_a_server_that_is_stopped_is_refused_without_waiting_for_it() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    server.process.pause();
    let finished = try_to_listen(&unix(&path));
    finished.expect_refusal(1, &[&unix(&path), "choose another path"]);
    server.process.go_on();
    server.connect().expect_service();
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_kept() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    fs::write(&path, "precious").unwrap();
    let finished = try_to_listen(&unix(&path));
    finished.expect_refusal(1, &[&unix(&path), "choose another path"]);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_in_a_missing_folder_is_refused() {
    let dir = TempDir::new();
    let address = unix(&dir.join("missing/chat"));
    let finished = try_to_listen(&address);
    finished.expect_refusal(1, &[&address, "the folder does not exist"]);
}

#[test]
fn the_socket_file_goes_with_the_server() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    assert!(is_socket(&path));
    server.process.signal("TERM");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_file_that_is_another_servers_by_then_is_kept() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let old = Server::start_on(&path);
    fs::remove_file(&path).unwrap();
    let new = Server::start_on(&path);
    old.process.signal("TERM");
    assert_eq!(old.process.finish().code, Some(0));
    new.connect().expect_service();
}

/// Starts several servers on one path at once, and sees that one of them listens and the others
/// say why they do not.
fn expect_one_server_of(count: usize, path: &Path) -> Process {
    let mut processes: Vec<_> = (0..count)
        .map(|_| Process::start(program().args(["--listen", &unix(path)])))
        .collect();
    let has_won = |process: &mut Process| {
        let line = process.expect_error(" unix:");
        line.contains(" listening on unix:")
    };
    let won: Vec<_> = processes.iter_mut().map(has_won).collect();
    let winners = won.iter().filter(|won| **won).count();
    assert_eq!(winners, 1, "{winners} of {count} listen");
    let winner = processes.remove(won.iter().position(|won| *won).unwrap());
    for loser in processes {
        loser
            .finish()
            .expect_refusal(1, &["a server is listening there already"]);
    }
    Client::greeted(&unix(path)).expect_service();
    winner
}

#[test]
fn of_servers_that_start_at_once_one_gets_the_socket() {
    for round in 0..25 {
        let dir = TempDir::new();
        let path = dir.join("chat");
        let mut first = expect_one_server_of(2 + round % 3, &path);
        // Now there is a dead server's file, and all see it.
        first.kill();
        let second = expect_one_server_of(2 + round % 3, &path);
        second.signal("TERM");
        assert_eq!(second.finish().code, Some(0));
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 0, "files are left");
    }
}

/// Holds the lock that servers take while they make or remove the socket of a path.
fn lock_of(path: &Path) -> fs::File {
    let lock = fs::File::create(format!("{}.chinwag-lock", path.display())).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    lock
}

#[test]
fn a_server_that_ends_removes_no_file_while_another_may_be_making_one() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let lock = lock_of(&path);
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    assert!(finished.err.contains("chat stays behind: "), "{finished:?}");
    assert!(is_socket(&path));
    drop(lock);
    Server::start_on(&path).connect().expect_service();
}

#[test]
fn a_server_waits_for_the_lock_on_a_socket_and_not_for_ever() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let lock = lock_of(&path);
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "chat.chinwag-lock; end it"]);
    // Another socket in that folder is another matter.
    Server::start_on(&dir.join("other"))
        .connect()
        .expect_service();
    let mut process = Process::start(program().args(["--listen", &unix(&path)]));
    process.expect_error("memory: ");
    assert!(!path.exists());
    drop(lock);
    process.expect_error(" listening on ");
    assert!(!dir.join("chat.chinwag-lock").exists());
    assert!(!dir.join("other.chinwag-lock").exists());
}

#[test]
fn nobody_who_can_just_read_the_folder_keeps_a_server_from_its_socket() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let folder = fs::File::open(path.parent().unwrap()).unwrap();
    flock(&folder, FlockOperation::LockExclusive).unwrap();
    let server = Server::start_on(&path);
    server.connect().expect_service();
    server.process.signal("TERM");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let dir = TempDir::new();
    let (path, precious) = (dir.join("chat"), dir.join("precious"));
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, dir.join("chat.chinwag-lock")).unwrap();
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "chat.chinwag-lock"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!path.exists());
}

#[test]
fn a_socket_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let dir = TempDir::new();
    for (umask, mode_args, expected) in [
        ("022", &[][..], 0o755),
        ("077", &[], 0o700),
        ("000", &["--socket-mode", "0660"], 0o660),
        ("077", &["--socket-mode", "0660"], 0o660),
        ("077", &["--socket-mode", "666"], 0o666),
        ("022", &["--socket-mode", "0600"], 0o600),
    ] {
        let path = dir.join("chat");
        let mut command = program_within(&format!(r#"umask {umask}; exec "$@""#));
        let server = Server::start_as(command.args(["--listen", &unix(&path)]).args(mode_args));
        assert_eq!(mode(&path), expected, "umask {umask} {mode_args:?}");
        server.connect().expect_service();
    }
}

#[test]
fn the_mode_of_another_file_that_takes_the_sockets_name_is_left_alone() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    // No call that finds the file by its name is needed.
    let Some(mut command) = failing("?chmod,?fchmodat", "error=EPERM") else {
        return;
    };
    let args = ["--listen", &unix(&path), "--socket-mode", "0666"];
    let server = Server::start_as(command.args(args));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o666);
    server.connect().expect_service();
}

#[test]
fn a_link_in_the_place_of_a_socket_is_refused_and_kept() {
    let dir = TempDir::new();
    let (path, other) = (dir.join("chat"), dir.join("other"));
    let server = Server::start_on(&other);
    symlink(&other, &path).unwrap();
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "not a socket"]);
    drop(server);
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "not a socket"]);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}

// The command line and the log

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h"] {
        let finished = Process::start(program().arg(flag)).finish();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.err, "");
        assert!(finished.out.starts_with("Usage: chinwag [OPTIONS]\n"));
        assert!(finished.out.contains("--listen ADDR"));
    }
    for flag in ["--version", "-V"] {
        let finished = Process::start(program().arg(flag)).finish();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.err, "");
        let version = concat!("chinwag ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(finished.out, version);
    }
}

#[test]
fn usage_errors_name_the_option_and_the_value() {
    let table: [(&[&str], &[&str]); 10] = [
        (
            &["--open", "--listen", "[::ffff:10.0.0.1]:1"],
            &["[::ffff:10.0.0.1]:1", "IPv4"],
        ),
        (&["--idle", "soon"], &["--idle soon", "whole seconds"]),
        (&["-i", "0"], &["--idle 0", "from 1"]),
        (&["--idle", "7", "--max-idle", "5"], &["--idle 7", "5"]),
        (&["--listen", "nowhere"], &["--listen nowhere", "IP:PORT"]),
        (&["--listen", "unix:"], &["--listen unix:", "missing"]),
        (&["--log-bytes", "1K"], &["--log-bytes 1K", "4096"]),
        (&["-q", "-v"], &["--quiet", "--verbose"]),
        (&["--frobnicate"], &["frobnicate"]),
        (&["8255"], &["'8255'"]),
    ];
    for (args, texts) in table {
        let finished = Process::start(program().args(args)).finish();
        finished.expect_refusal(2, texts);
    }
    let finished = Process::start(program().arg("--idle")).finish();
    finished.expect_refusal(2, &["idle", "Try 'chinwag --help'."]);
}

#[test]
fn too_few_descriptors_for_a_single_connection_are_an_error_with_a_way_out() {
    let mut command = program_within("ulimit -n 10; exec \"$@\"");
    let finished = Process::start(command.args(["--listen", "127.0.0.1:0"])).finish();
    finished.expect_refusal(1, &["open files is 10", "ulimit -n"]);
}

/// Nobody reads what is wrong: that is not waited for.
#[test]
fn a_system_without_random_numbers_is_an_error_for_a_start_and_a_check() {
    // An emulator wants random numbers for itself.
    if std::env::var_os("CHINWAG_RUNNER").is_some() {
        return;
    }
    for args in [&["--listen", "127.0.0.1:0"][..], &["--check"]] {
        let Some(mut command) = failing("getrandom", "error=EIO") else {
            return;
        };
        let finished = Process::start(command.args(args)).finish();
        finished.expect_refusal(1, &["random numbers"]);
    }
}

#[test]
fn a_server_that_cannot_start_does_not_wait_for_who_reads_why() {
    let script = "mkfifo \"$PIPE\"; exec 3<>\"$PIPE\"; \
                  timeout 1 sh -c 'while :; do echo 0123456789; done' >&3; exec \"$@\" 2>&3";
    let dir = TempDir::new();
    let mut command = program_within(script);
    command.env("PIPE", dir.join("pipe"));
    let args = ["--listen", "127.0.0.1:0", "--users", "/nowhere/users"];
    let finished = Process::start(command.args(args)).finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
}

#[test]
fn a_quiet_server_logs_nothing() {
    let dir = TempDir::new();
    let address = unix(&dir.join("chat"));
    let mut command = program();
    command.args(["-q", "--listen", &address]);
    command.env("RUST_LOG", "debug");
    let process = Process::start(&mut command);
    let mut client = connect_once_it_listens(&address);
    client.join("ann");
    process.signal("TERM");
    client.expect_bye("shutdown");
    assert_eq!(process.finish().err, "");
}

#[test]
fn sessions_are_logged_if_asked_for_and_tokens_never() {
    let log_of = |args: &[&str], level: Option<&str>| {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        let server = Server::start_as(&mut command);
        let mut client = server.connect();
        let own = client.socket.local_addr().unwrap().as_socket().unwrap();
        let token = client.join("ann");
        client.ask("DETACH", "OK DETACH");
        client.ask(&format!("RESUME {token}"), "OK RESUME ");
        client.ask("QUIT", "OK QUIT");
        client.expect_bye("quit");
        server.process.signal("TERM");
        let log = server.process.finish().err;
        assert!(!log.contains(&token), "{log}");
        (log, own)
    };
    for (args, level, shown) in [
        (&[][..], None, false),
        (&["-v"], None, true),
        (&["-v"], Some("info"), true),
        (&[], Some("debug"), true),
        (&[], Some("trace"), true),
    ] {
        let (log, own) = log_of(args, level);
        let joined = format!(" DEBUG ann joined lobby from {own}\n");
        for line in [&joined, " DEBUG ann left lobby: quit\n"] {
            assert_eq!(log.contains(line), shown, "{log}");
        }
    }
}

#[test]
fn who_joined_or_was_refused_is_logged_with_its_whole_ipv6_address() {
    if !has_ipv6() {
        return;
    }
    let mut server = Server::start_as(program().args(["-v", "--listen", "[::1]:0"]));
    let mut client = server.connect();
    let own = client.socket.local_addr().unwrap().as_socket().unwrap();
    client.join("ann");
    server
        .process
        .expect_error(&format!(" DEBUG ann joined lobby from {own}\n"));
    server.connect().send("GET / HTTP/1.1");
    server.process.expect_error(" WARN refused ::1: ");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let dir = TempDir::new();
    let address = unix(&dir.join("chat"));
    let mut command = program_within(r#"exec "$@" 2>/dev/full"#);
    let process = Process::start(command.args(["-v", "--listen", &address]));
    let mut client = connect_once_it_listens(&address);
    client.join("ann");
    client.ask("SAY hello", "OK SAY 2 ");
    process.signal("TERM");
    assert_eq!(process.finish().code, Some(0));
}

// Streams

#[test]
fn members_chat_over_tcp_and_unix_sockets() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    let mut ann = server.join("ann");
    let mut bob = Client::greeted(&on_unix);
    bob.join("bob");
    ann.expect_event("JOINED", "bob");

    ann.ask("SAY over TCP", "OK SAY 3 ");
    assert_eq!(ann.expect_event("MSG", "ann over TCP"), 3);
    assert_eq!(bob.expect_event("MSG", "ann over TCP"), 3);
    bob.ask("SAY over a file", "OK SAY 4 ");
    assert_eq!(ann.expect_event("MSG", "bob over a file"), 4);
    assert_eq!(bob.expect_event("MSG", "bob over a file"), 4);

    bob.ask("QUIT", "OK QUIT");
    bob.expect_bye("quit");
    assert_eq!(ann.expect_event("LEFT", "bob quit"), 5);
}

#[test]
fn small_lines_are_not_held_back() {
    let server = Server::start(&[]);
    let (mut ann, mut bob) = (server.join("ann mode=pull"), server.join("bob"));
    // If they were, each would wait for bob's system to acknowledge the line before it, and that
    // takes 40 ms, since it hopes to do so along with what bob sends; but not at first, when it
    // acknowledges all at once. A slow machine makes most of them late, but never all.
    let rounds = (0..150).map(|_| {
        let watch = Watch::start();
        bob.ask("PING", "OK PING");
        ann.ask("SAY hello", "OK SAY ");
        bob.expect_event("MSG", "ann hello");
        watch.elapsed()
    });
    let fastest = rounds.skip(50).min().unwrap();
    assert!(fastest < Duration::from_millis(35), "{fastest:?}");
}

#[test]
fn a_line_may_come_byte_by_byte() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    for address in &server.addresses {
        let mut client = Client::greeted(address);
        let mut drip = |line: &str| {
            for byte in line.bytes() {
                client.send_bytes(&[byte]);
            }
        };
        drip("JOIN ann mode=pull\r\nSAY schöne Grüße\r\nPOLL\r\n");
        client.expect("OK JOIN ");
        client.expect("OK SAY 2 ");
        client.expect("OK POLL 2 last=2 more=0");
        client.expect_event("JOINED", "ann");
        client.expect_event("MSG", "ann schöne Grüße");
        client.ask("QUIT", "OK QUIT");
    }
}

#[test]
fn many_lines_may_come_at_once_with_any_line_end() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send_bytes(b"PING lf\nPING crlf\r\nPING crnul\r\0\n\r\n\r\0PING last\n");
    for text in ["lf", "crlf", "crnul", "last"] {
        client.expect(&format!("OK PING {text}"));
    }
    let lines: String = (0..5000).map(|n| format!("PING {n}\n")).collect();
    client.send_bytes(lines.as_bytes());
    for n in 0..5000 {
        assert_eq!(client.expect("OK PING "), format!("OK PING {n}"));
    }
}

#[test]
fn all_that_was_sent_before_the_streams_end_is_answered() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    for address in &server.addresses {
        let mut client = Client::connect(address);
        client.send_bytes(b"JOIN ann\nSAY hi\nQUIT\n");
        client.end();
        let lines = client.rest();
        let kinds: Vec<_> = lines
            .iter()
            .map(|line| line.split_once(" chinwag/").map_or(&line[..], |(w, _)| w))
            .map(|line| {
                let words: Vec<_> = line.split(' ').take(2).collect();
                words.join(" ")
            })
            .collect();
        let index = |kind: &str| kinds.iter().position(|k| k == kind);
        for order in [
            ["HELLO", "OK JOIN", "OK SAY", "OK QUIT", "BYE quit"],
            ["OK JOIN", "JOINED 1", "MSG 2", "OK QUIT", "BYE quit"],
        ] {
            let places: Vec<_> = order.iter().map(|kind| index(kind)).collect();
            assert!(places.iter().all(Option::is_some), "{lines:?}");
            assert!(places.is_sorted(), "{lines:?}");
        }
        assert!(index("OK SAY") < index("MSG 2"), "{lines:?}");
        assert_eq!(lines.len(), 7, "{lines:?}");
    }
}

#[test]
fn a_long_stream_is_answered_to_its_end() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    for address in &server.addresses {
        let mut client = Client::greeted(address);
        let mut writer = client.socket.try_clone().unwrap();
        let writing = thread::spawn(move || {
            for n in 0..20_000 {
                writer.write_all(format!("PING {n}\n").as_bytes()).unwrap();
            }
            writer.shutdown(Shutdown::Write).unwrap();
        });
        for n in 0..20_000 {
            assert_eq!(client.expect("OK PING "), format!("OK PING {n}"));
        }
        client.expect_closed();
        writing.join().unwrap();
    }
}

#[test]
fn a_poll_goes_on_waiting_after_the_streams_end() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob mode=pull");

    // Nothing happens, and the time runs out.
    let mut ann = server.join("ann mode=pull room=empty");
    ann.ask("POLL", "OK POLL 1 last=1 more=0");
    ann.expect_event("JOINED", "ann");
    let watch = Watch::start();
    ann.send("POLL wait=1");
    ann.end();
    ann.expect("OK POLL 0 last=1 more=0");
    assert!(watch.elapsed() >= SECOND);
    ann.expect_closed();

    // Something happens.
    let mut eve = server.join("eve mode=pull");
    eve.ask("POLL", "OK POLL 1 last=2 more=0");
    eve.expect_event("JOINED", "eve");
    eve.send("POLL wait=60");
    eve.end();
    wait_for_member(&mut bob, "eve pull attached", true);
    bob.ask("SAY hello", "OK SAY ");
    eve.expect("OK POLL 1 last=3 more=0");
    eve.expect_event("MSG", "bob hello");
    eve.expect_closed();
    wait_for_member(&mut bob, "eve pull detached", true);
}

#[test]
fn an_unfinished_last_line_is_dropped() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut ann = server.join("ann");
    bob.expect_event("JOINED", "ann");
    ann.send_bytes(b"SAY one\r\nSAY two");
    ann.end();
    ann.expect("OK SAY 3 ");
    ann.expect_event("MSG", "ann one");
    ann.expect_closed();
    bob.expect_event("MSG", "ann one");
    bob.expect_service();
}

#[test]
fn a_session_outlives_its_connection_and_is_resumed() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut ann = server.connect();
    let token = ann.join("ann");
    bob.expect_event("JOINED", "ann");
    ann.ask("SAY one", "OK SAY 3 ");
    ann.expect_event("MSG", "ann one");
    bob.expect_event("MSG", "ann one");
    drop(ann);
    wait_for_member(&mut bob, "ann push detached", true);
    bob.ask("SAY two", "OK SAY 4 ");
    bob.expect_event("MSG", "bob two");

    let mut ann = server.connect();
    let reply = ann.ask(&format!("RESUME {token}"), "OK RESUME name=ann room=lobby ");
    assert!(reply.ends_with(" seq=4 members=2 said=1"), "{reply}");
    assert_eq!(ann.expect_event("MSG", "bob two"), 4);
    ann.expect_service();
    bob.expect_service();
}

#[test]
fn a_connection_whose_session_is_resumed_elsewhere_is_closed() {
    let server = Server::start(&[]);
    let mut old = server.connect();
    let token = old.join("ann");
    let mut new = server.connect();
    new.ask(&format!("RESUME {token} after=0"), "OK RESUME name=ann ");
    new.expect_event("JOINED", "ann");
    old.expect_bye("replaced");
    new.ask("SAY mine", "OK SAY 2 ");
    new.expect_event("MSG", "ann mine");
}

#[test]
fn a_poll_that_waits_is_answered_before_its_session_is_resumed_elsewhere() {
    let server = Server::start(&[]);
    let mut old = server.connect();
    let token = old.join("ann mode=pull");
    old.ask("POLL", "OK POLL 1 last=1 more=0");
    old.expect_event("JOINED", "ann");
    old.send("PING");
    old.send("POLL wait=60");
    old.expect("OK PING");
    let mut new = server.connect();
    new.ask(&format!("RESUME {token}"), "OK RESUME name=ann ");
    old.expect("OK POLL 0 last=1 more=0");
    old.expect_bye("replaced");
    new.ask("SAY mine", "OK SAY 2 ");
    new.ask("POLL", "OK POLL 1 last=2 more=0");
    new.expect_event("MSG", "ann mine");
}

#[test]
fn a_line_that_is_too_long_is_refused_once_and_skipped() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // Whoever has got no OK would be sent away.
    client.expect_service();
    for _ in 0..64 {
        client.send_bytes(&[b'x'; 16 * 1024]);
    }
    client.expect("ERR line-too-long ");
    client.send_bytes(b"\n");
    client.expect_service();
}

// Telnet

#[test]
fn telnet_options_are_refused() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // WILL terminal type, DO echo, WONT and DONT, which are not answered, and a subnegotiation.
    client.send_bytes(b"PI\xff\xfb\x18NG \xff\xfd\x01a\xff\xfc\x22\xff\xfe\x22");
    client.send_bytes(b"\xff\xfa\x18\x00vt100\n\xff\xf0b\r\n");
    client.expect_bytes(b"\xff\xfe\x18\xff\xfc\x01");
    client.expect("OK PING ab");
}

#[test]
fn telnets_interrupt_drops_the_line_and_its_urgent_mark_is_taken_out() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // As telnet does it: IAC IP, IAC DO TIMING-MARK, and a synch, whose DM is urgent.
    client.send_bytes(b"PING lost\xff\xf4\xff\xfd\x06\xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    client.expect_bytes(b"\xff\xfc\x06");
    client.ask("PING kept", "OK PING kept");
}

#[test]
fn what_waits_behind_an_urgent_mark_is_read_without_waiting_for_more() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    server.process.pause();
    client.send_bytes(b"PING before\r\n\xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    client.send_bytes(b"PING behind\r\n");
    server.process.go_on();
    client.expect("OK PING before");
    client.expect("OK PING behind");
}

#[test]
fn an_urgent_mark_that_comes_before_the_connection_is_accepted_is_taken_out() {
    let server = Server::start(&[]);
    server.process.pause();
    let mut client = Client::connect(server.address());
    client.send_bytes(b"PING \xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    server.process.go_on();
    client.expect("HELLO ");
    client.send_bytes(b"a\r\n");
    client.expect("OK PING a");
}

// Time

#[test]
fn a_silent_session_is_warned_and_expires() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut ann = server.connect();
    let watch = Watch::start();
    ann.join("ann idle=1");
    ann.expect("EXPIRING ");
    assert!(watch.elapsed() >= SECOND * 2 / 3, "{:?}", watch.elapsed());
    ann.expect_bye("expired");
    assert!(watch.elapsed() >= SECOND, "{:?}", watch.elapsed());
    bob.expect_event("JOINED", "ann");
    bob.expect_event("LEFT", "ann expired");
}

#[test]
fn a_session_that_answers_each_warning_stays() {
    let server = Server::start(&[]);
    // It has three seconds to answer.
    let mut ann = server.join("ann idle=9");
    let watch = Watch::start();
    while watch.elapsed() < 10 * SECOND {
        ann.expect("EXPIRING ");
        ann.expect_service();
    }
}

#[test]
fn a_client_that_vanishes_is_gone_after_its_idle_time() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob mode=pull");
    let mut ann = server.connect();
    let watch = Watch::start();
    let token = ann.join("ann idle=1");
    drop(ann);
    wait_for_member(&mut bob, " ann ", false);
    assert!(watch.elapsed() >= SECOND, "{:?}", watch.elapsed());
    let mut ann = server.connect();
    ann.ask(&format!("RESUME {token}"), "ERR session-ended expired ");
}

#[test]
fn a_connection_without_a_session_has_the_handshake_time() {
    let server = Server::start(&["--handshake", "4"]);
    let watch = Watch::start();
    let mut silent = server.connect();
    let mut talker = server.connect();
    let mut member = server.join("ann");
    talker.expect_service();
    silent.expect_bye("handshake");
    assert!(watch.elapsed() >= 4 * SECOND, "{:?}", watch.elapsed());
    talker.expect_bye("handshake");
    member.expect_service();
    let watch = Watch::start();
    member.ask("DETACH", "OK DETACH");
    member.expect_bye("handshake");
    assert!(watch.elapsed() >= 4 * SECOND, "{:?}", watch.elapsed());
}

#[test]
fn a_server_with_nothing_due_does_not_wake_up() {
    let server = Server::start(&["--handshake", "4"]);
    let mut members: Vec<_> = (0..50)
        .map(|n| server.join(&format!("m{n} room=r{n} idle=3600")))
        .collect();
    for member in &mut members {
        member.expect_service();
    }
    // By now it has nothing left to do from before.
    server.process.await_sleep();
    members[0].expect_nothing(SECOND / 2);
    assert_eq!(server.process.status("Threads"), "1");
    let (sleeps, ticks) = (server.process.sleeps(), server.process.ticks());
    members[0].expect_nothing(4 * SECOND);
    assert_eq!(server.process.sleeps(), sleeps);
    assert_eq!(server.process.ticks(), ticks);
    members[0].expect_service();
}

#[test]
fn signs_of_life_that_waited_for_a_stopped_server_count() {
    let server = Server::start(&["--handshake", "5"]);
    let mut late = server.connect();
    let mut clients = ["ann", "bob", "eve"].map(|name| {
        // They are not warned, so that nothing but the answers is to be expected.
        server.join(&format!("{name} mode=pull idle=5"))
    });
    server.process.pause();
    clients[0].send("PING");
    clients[1].send("PING");
    late.send("JOIN late");
    clients[2].expect_nothing(6 * SECOND);
    server.process.go_on();
    clients[0].expect("OK PING");
    clients[1].expect("OK PING");
    late.expect("OK JOIN ");
    // One that was silent gets no time for the server's being stopped.
    clients[2].expect_bye("expired");
    clients[0].expect_service();
    clients[1].expect_service();
}

#[test]
fn a_resume_that_waited_for_a_stopped_server_counts() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    let token = ann.join("ann idle=5");
    ann.ask("DETACH", "OK DETACH");
    server.process.pause();
    ann.send(&format!("RESUME {token}"));
    ann.expect_nothing(6 * SECOND);
    server.process.go_on();
    ann.expect("OK RESUME name=ann ");
}

#[test]
fn a_resume_on_a_connection_that_a_stopped_server_had_not_accepted_counts() {
    let server = Server::start(&[]);
    let mut ann = server.connect();
    let token = ann.join("ann idle=5");
    drop(ann);
    server.process.pause();
    // Others wait to be accepted, too, and they came first: fewer than older systems let wait.
    let crowd = [(); 100].map(|()| Client::connect(server.address()));
    let mut ann = Client::connect(server.address());
    ann.send(&format!("RESUME {token}"));
    ann.expect_nothing(6 * SECOND);
    server.process.go_on();
    ann.expect("HELLO ");
    ann.expect("OK RESUME name=ann ");
    for mut other in crowd {
        other.expect("HELLO ");
    }
}

// Those who do not read, or read slowly

#[test]
fn one_who_does_not_read_holds_nobody_up_and_goes_as_slow() {
    let server = Server::start(&["--log-bytes", "4K"]);
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut reader = server.join("reader idle=3600");
    let mut stuck = Client::narrow(server.address());
    let watch = Watch::start();
    stuck.send("JOIN stuck alive=tcp idle=3");
    assert_eq!(reader.expect_event("JOINED", "stuck"), 3);

    let text = format!("speaker {}", "x".repeat(1000));
    let mut newest = 3;
    let mut left_at = None;
    flood(&mut speaker, 20_000, || {
        let mut messages = 0;
        while messages < BATCH {
            newest += 1;
            let line = reader.expect("");
            if line.starts_with("LEFT ") {
                left_at = Some(newest);
                assert!(line.ends_with(" stuck slow"), "{line}");
                continue;
            }
            messages += 1;
            let (head, said) = line.split_at(line.len() - text.len());
            assert!(head.starts_with(&format!("MSG {newest} ")), "{line}");
            assert_eq!(said, text);
        }
    });
    let memory = server.process.kibibytes();
    assert!(memory < 30_000, "{memory} KiB");
    if left_at.is_none() {
        assert_eq!(reader.expect_event("LEFT", "stuck slow"), newest + 1);
    }
    assert!(watch.elapsed() >= 3 * SECOND, "{:?}", watch.elapsed());
    wait_for_member(&mut speaker, " stuck ", false);
    reader.expect_service();

    // What had been sent is still there, and after it comes the end.
    let mut stuck_lines = 0;
    let watch = Watch::start();
    while !watch.is_over() {
        match stuck.try_receive(PATIENCE) {
            Ok(Received::Line(_)) => stuck_lines += 1,
            Ok(Received::Nothing) => panic!("no end of the connection"),
            Ok(Received::End) | Err(_) => break,
        }
    }
    assert!(stuck_lines > 0);
}

/// The bytes that the system still finds space for, long after a client has stopped reading, give
/// it no second period.
#[test]
fn those_who_read_nothing_go_after_their_idle_time_and_not_after_twice_that() {
    const IDLE_MS: u64 = 4000;
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--log-bytes", "4K", "--listen", &on_unix]);
    for address in &server.addresses {
        let room = format!("room={}", address.len());
        let mut speaker = server.join(&format!("speaker {room} mode=pull idle=3600"));
        let mut reader = server.join(&format!("reader {room} idle=3600"));
        let stuck: Vec<_> = (0..20)
            .map(|n| {
                let mut client = Client::with_buffer(address, 2048);
                client.send(&format!("JOIN stuck{n} {room} idle=4"));
                reader.expect_event("JOINED", &format!("stuck{n}"));
                client
            })
            .collect();
        let time_of = |line: &str| line.split(' ').nth(2).unwrap().parse::<u64>().unwrap();
        let (mut first, mut left) = (None, Vec::new());
        for stuck in stuck.iter().cycle() {
            if left.len() == 20 {
                break;
            }
            // They are alive, but for not reading.
            let _ = stuck.socket.send(b"\n");
            speaker.ask(&format!("SAY {}", "x".repeat(1000)), "OK SAY ");
            loop {
                let line = reader.expect("");
                if line.starts_with("LEFT ") {
                    assert!(line.ends_with(" slow"), "{line}");
                    left.push(time_of(&line));
                    continue;
                }
                first.get_or_insert(time_of(&line));
                break;
            }
        }
        let first = first.unwrap();
        let (least, most) = (left[0] - first, left[left.len() - 1] - first);
        println!("{address}: the first went after {least} ms, the last after {most} ms");
        assert!(
            least >= IDLE_MS && most < 2 * IDLE_MS - 500,
            "{least} to {most}"
        );
    }
}

/// `--socket-buffer` bounds what the system keeps, and Unix sockets do not inherit it.
#[test]
fn the_system_keeps_little_for_one_who_does_not_read_from_a_unix_socket() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let args = ["--socket-buffer", "4K", "--log-bytes", "4K"];
    let server = Server::start(&[&args[..], &["--listen", &on_unix]].concat());
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut stuck = Client::greeted(&on_unix);
    stuck.join("stuck idle=3600");
    flood(&mut speaker, 1024, || {});
    let mut kept = 0;
    loop {
        let line = stuck.expect("");
        if line.starts_with("LOST ") {
            break;
        }
        kept += line.len();
    }
    // With the log. If it is not told, the system keeps about 208 KiB.
    assert!(kept < 48 * 1024, "{kept} bytes");
}

#[test]
fn one_who_reads_slowly_is_told_exactly_what_was_lost() {
    let server = Server::start(&["--log-bytes", "4K"]);
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut slow = Client::narrow(server.address());
    slow.expect("HELLO ");
    slow.join("slow idle=3600");
    let mut lines = Vec::new();
    flood(&mut speaker, 10_000, || lines.push(slow.expect("")));
    speaker.ask("SAY end", "OK SAY ");
    while !lines
        .last()
        .is_some_and(|line| line.ends_with("speaker end"))
    {
        lines.push(slow.expect(""));
    }

    let (mut next, mut lost) = (3, 0);
    for line in &lines {
        let words: Vec<_> = line.splitn(5, ' ').collect();
        if words[0] == "LOST" {
            let count: u64 = words[1].parse().unwrap();
            assert!(count > 0);
            lost += count;
            next += count;
            assert_eq!(words[2], next.to_string());
        } else {
            assert_eq!(words[..2], ["MSG", &next.to_string()]);
            next += 1;
        }
    }
    let said = (10_000 / BATCH * BATCH) as u64 + 1;
    assert_eq!(next, 3 + said);
    assert!(lost > 0);
    // From here on it keeps up, and nothing is held back.
    for _ in 0..3 {
        speaker.ask("SAY again", "OK SAY ");
        slow.expect_event("MSG", "speaker again");
    }
    slow.expect_service();
}

#[test]
fn those_who_do_not_read_their_replies_hold_nobody_up_and_cost_little() {
    let server = Server::start(&["--handshake", "3600"]);
    let mut ann = server.join("ann");
    let requests = "HELP\r\n".repeat(10_000);
    let mute: Vec<_> = (0..5)
        .map(|_| {
            let client = Client::narrow(server.address());
            let patience = Duration::from_millis(100);
            client.socket.set_write_timeout(Some(patience)).unwrap();
            // Until the server does not take any more.
            let mut sent = 0;
            while client.socket.send(requests.as_bytes()).is_ok() {
                sent += requests.len();
                assert!(sent < 256 * 1024 * 1024);
                ann.expect_service();
            }
            client
        })
        .collect();
    ann.ask("SAY hello", "OK SAY 2 ");
    ann.expect_event("MSG", "ann hello");
    let memory = server.process.kibibytes();
    assert!(memory < 30_000, "{memory} KiB");
    // As soon as it has answered what it took, it has nothing to do.
    let watch = Watch::start();
    loop {
        let ticks = server.process.ticks();
        ann.expect_nothing(SECOND / 2);
        let busy = server.process.ticks() - ticks;
        if busy <= 5 {
            break;
        }
        assert!(!watch.is_over(), "busy for {busy} of 50 ticks");
    }
    drop(mute);
    ann.expect_service();
}

#[test]
fn one_who_stops_reading_and_goes_on_gets_every_reply() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    let line = format!("PING {}\r\n", "x".repeat(1000));
    for address in &server.addresses {
        let mut client = Client::narrow(address);
        client.expect("HELLO ");
        let patience = Duration::from_millis(100);
        client.socket.set_write_timeout(Some(patience)).unwrap();
        let mut sent = 0;
        while let Ok(bytes) = client.socket.send(&line.as_bytes()[sent % line.len()..]) {
            sent += bytes;
        }
        // Where it stopped, a line may have begun.
        client.end();
        for _ in 0..sent / line.len() {
            let reply = client.expect("OK PING ");
            assert_eq!(reply.len(), "OK PING ".len() + 1000);
        }
        client.expect_closed();
    }
}

/// What was sent with a descriptor ends a read of a Unix socket, whatever comes behind it.
#[test]
fn lines_that_come_with_descriptors_are_all_answered() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let mut witness = Client::greeted(&unix(&path));
    witness.join("witness");
    let mut ann = Client::greeted(&unix(&path));
    ann.join("ann mode=pull");
    witness.expect_event("JOINED", "ann");
    let descriptors = server.process.descriptors().len();
    server.process.pause();
    for n in 0..12 {
        let line = format!("SAY {n}\n");
        let descriptors = [ann.socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if n % 3 != 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let slices = [IoSlice::new(line.as_bytes())];
        sendmsg(&ann.socket, &slices, &mut control, SendFlags::empty()).unwrap();
    }
    server.process.go_on();
    // Ann takes none of her replies, which would have the system report her connection again.
    for n in 0..12 {
        witness.expect_event("MSG", &format!("ann {n}"));
    }
    assert_eq!(server.process.descriptors().len(), descriptors);
}

// Connections that break

#[test]
fn what_was_said_before_a_reset_is_heard() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    for round in 0..20 {
        // Before the greeting the connection may not even be accepted.
        let mut ann = match round % 2 {
            0 => Client::connect(server.address()),
            _ => server.connect(),
        };
        ann.send(&format!("JOIN ann{round}"));
        ann.send("SAY last words");
        ann.socket.set_linger(Some(Duration::ZERO)).unwrap();
        drop(ann);
        bob.expect_event("JOINED", &format!("ann{round}"));
        bob.expect_event("MSG", &format!("ann{round} last words"));
    }
    bob.expect_service();
}

#[test]
fn what_was_said_before_a_close_with_something_unread_is_heard() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    for address in &server.addresses {
        let room = format!("room={}", address.len());
        let mut bob = server.join(&format!("bob {room}"));
        let mut ann = Client::connect(address);
        // The greeting has come and stays unread, so that closing resets the connection.
        ann.await_input();
        ann.send(&format!("JOIN ann {room}"));
        ann.send("SAY last words");
        drop(ann);
        bob.expect_event("JOINED", "ann");
        bob.expect_event("MSG", "ann last words");
        wait_for_member(&mut bob, "ann push detached", true);
    }
}

#[test]
fn connections_that_come_and_go_leave_nothing_behind() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--listen", &on_unix]);
    let mut bob = server.join("bob");
    let before = server.process.descriptors().len();
    for address in &server.addresses {
        for _ in 0..200 {
            drop(Client::connect(address));
        }
        for _ in 0..50 {
            let client = Client::connect(address);
            client.socket.shutdown(Shutdown::Both).unwrap();
        }
    }
    // Those were accepted, too, by the time that this one is.
    server.connect().expect_service();
    server.await_descriptors(&mut bob, before);
}

#[test]
fn a_server_without_descriptors_serves_whom_it_has_and_accepts_later() {
    const ROOM: usize = 8;
    let mut server = Server::start(&[]);
    server.process.leave_descriptors(ROOM);
    let mut clients: Vec<_> = (0..ROOM + 3)
        .map(|_| Client::connect(server.address()))
        .collect();
    let mut waiting = clients.split_off(ROOM);
    for client in &mut clients {
        client.expect("HELLO ");
    }
    server.process.expect_error("cannot accept connections");
    clients[0].join("ann");
    clients[1].join("bob");
    clients[0].expect_event("JOINED", "bob");

    let (sleeps, ticks) = (server.process.sleeps(), server.process.ticks());
    waiting[0].expect_nothing(3 * SECOND / 2);
    assert!(server.process.ticks() - ticks <= 5);
    assert!(server.process.sleeps() - sleeps <= 10);
    clients[1].ask("SAY hello", "OK SAY 3 ");
    clients[0].expect_event("MSG", "bob hello");

    for waiting in &mut waiting {
        drop(clients.pop());
        waiting.expect("HELLO ");
        waiting.expect_service();
    }
    // With one to spare it sees that nobody waits any more.
    drop(clients.pop());
    server.process.expect_error("accepting connections again");
    clients[0].expect_service();
}

/// Makes some system calls of a program fail, if there is a program that can do that.
fn failing(calls: &str, errors: &str) -> Option<Command> {
    let mut probe = Command::new("strace");
    let can_trace = probe.args(["-qq", "-o", "/dev/null", "true"]).status();
    if !can_trace.is_ok_and(|status| status.success()) {
        process::skip("strace is not installed, or may not trace");
        return None;
    }
    let traced = format!(
        r#"exec strace -D -qq -o /dev/null -e trace={calls} -e inject={calls}:{errors} "$@""#
    );
    Some(program_within(&traced))
}

/// A server for which the system fails some calls of accept(2).
fn start_with_failing_accept(errors: &str) -> Option<Server> {
    let mut command = failing("accept4", errors)?;
    Some(Server::start_as(command.args(["--listen", "127.0.0.1:0"])))
}

#[test]
fn an_error_of_one_connection_keeps_no_other_waiting() {
    let Some(server) = start_with_failing_accept("error=EPROTO:when=1") else {
        return;
    };
    server.connect().expect_service();
    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert!(!log.contains("cannot accept"), "{log}");
}

#[test]
fn a_listener_that_has_nothing_but_errors_is_tried_each_second_and_no_more() {
    for error in ["EPERM", "EFAULT"] {
        // The first second's attempts fail, and then it works. (After EINVAL musl would try again.)
        let attempts = if error == "EPERM" { 256 } else { 1 };
        let Some(mut server) =
            start_with_failing_accept(&format!("error={error}:when=1..{attempts}"))
        else {
            return;
        };
        let mut client = Client::connect(server.address());
        server
            .process
            .expect_error("cannot accept connections on 127.0.0.1:");
        client.expect("HELLO ");
        client.expect_service();
        server.process.signal("TERM");
        let log = server.process.finish().err;
        assert_eq!(log.matches("cannot accept").count(), 1, "{log}");
    }
}

// Signals

#[test]
fn a_signal_says_goodbye_to_everybody_and_ends_the_server() {
    let mut fastest = Duration::MAX;
    for signal in ["TERM", "INT", "TERM", "INT", "TERM", "INT"] {
        let server = Server::start(&[]);
        let mut ann = server.join("ann");
        let mut bob = server.join("bob mode=pull");
        ann.expect_event("JOINED", "bob");
        let mut nobody = server.connect();
        bob.ask("POLL", "OK POLL 1 last=2 more=0");
        bob.expect_event("JOINED", "bob");
        bob.send("PING");
        bob.send("POLL wait=60");
        bob.expect("OK PING");

        let watch = Watch::start();
        server.process.signal(signal);
        ann.expect_bye("shutdown");
        bob.expect("OK POLL 0 last=2 more=0");
        bob.expect_bye("shutdown");
        nobody.expect_bye("shutdown");
        assert_eq!(server.process.finish().code, Some(0), "SIG{signal}");
        fastest = fastest.min(watch.elapsed());
    }
    // It does not wait for those who have gone.
    assert!(fastest < 3 * SECOND / 2, "{fastest:?}");
}

#[test]
fn one_who_does_not_read_does_not_keep_the_server_from_ending() {
    let server = Server::start(&["--log-bytes", "4K"]);
    let mut speaker = server.join("speaker mode=pull");
    let mut stuck = Client::narrow(server.address());
    stuck.send("JOIN stuck");
    wait_for_member(&mut speaker, " stuck ", true);
    flood(&mut speaker, 8000, || {});
    let watch = Watch::start();
    server.process.signal("TERM");
    speaker.expect_bye("shutdown");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(watch.elapsed() < PATIENCE / 4, "{:?}", watch.elapsed());
}

#[test]
fn a_broken_pipe_is_an_error_and_no_signal() {
    const SIGPIPE: u32 = 13;
    let server = Server::start(&[]);
    let ignored = server.process.status("SigIgn");
    let ignored = u64::from_str_radix(&ignored, 16).unwrap();
    assert_ne!(ignored & (1 << (SIGPIPE - 1)), 0);
}

// Those who are no chat clients

#[test]
fn a_browser_is_sent_away() {
    let server = Server::start(&[]);
    let mut browser = server.connect();
    browser.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    browser.expect_bye("abuse");
    // A form that is posted, whatever its body says.
    let mut browser = server.connect();
    let body = "JOIN eve\r\nSAY hi\r\n".repeat(2000);
    let request = format!("POST / HTTP/1.1\r\nHost: localhost\r\n\r\n{body}");
    browser.send_bytes(request.as_bytes());
    browser.expect_bye("abuse");
}

#[test]
fn too_many_errors_end_a_connection() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    client.send_bytes("NONSENSE\r\n".repeat(99).as_bytes());
    for _ in 0..99 {
        client.expect("ERR bad-command ");
    }
    client.expect_service();
    client.send_bytes("NONSENSE\r\n".repeat(150).as_bytes());
    for _ in 0..100 {
        client.expect("ERR bad-command ");
    }
    client.expect_bye("abuse");
}
