//! Every bound that the server has and every option that sets one, over real sockets: how many
//! there may be, how fast, how much memory, and who.

use std::fs::{self, Permissions};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{
    Client, Finished, Polite, Process, Received, Server, TempDir, Watch, has_ipv6, program,
    program_within, unix,
};

const SECOND: Duration = Duration::from_secs(1);

/// The SHA-256 of "abc", as FIPS 180-2 gives it in appendix B.1.
const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
/// The SHA-256 of no bytes at all.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Runs the program to its end.
fn run(args: &[&str]) -> Finished {
    Process::start(program().args(args)).finish()
}

/// Checks that the server refuses a new connection because there are too many.
fn expect_full(mut client: Client) {
    client.expect("HELLO ");
    client.expect_bye("full");
}

// How many

#[test]
fn one_connection_too_many_is_told_so_and_closed() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start(&["--max-connections", "3", "--listen", &on_unix]);
    let mut ann = server.connect();
    let bob = server.connect();
    let mut eve = Client::greeted(&on_unix);
    for address in &server.addresses {
        expect_full(Client::connect(address));
    }
    assert_eq!(ann.stat("connections"), 3);
    assert_eq!(ann.stat("refused-connections"), 2);
    drop(bob);
    ann.await_stat("connections", 2);
    server.connect().expect_service();
    eve.expect_service();
}

#[test]
fn one_session_too_many_is_refused_until_another_ends() {
    let server = Server::start(&["--max-sessions", "2"]);
    let mut ann = server.connect();
    let token = ann.join("ann mode=pull");
    let mut bob = server.join("bob mode=pull");
    let mut eve = server.connect();
    // A session counts whether it is attached or not.
    ann.ask("DETACH", "OK DETACH");
    eve.ask("JOIN eve", "ERR full ");
    eve.ask("JOIN eve room=other", "ERR full ");
    assert_eq!(eve.stat("sessions"), 2);
    assert_eq!(eve.stat("refused-sessions"), 2);
    // Nothing was taken from those who have one.
    ann.ask(&format!("RESUME {token}"), "OK RESUME ");
    bob.ask("LEAVE", "OK LEAVE");
    eve.join("eve");
    bob.ask("JOIN bob", "ERR full ");
}

#[test]
fn one_room_too_many_is_refused_until_another_is_left() {
    let server = Server::start(&["--max-rooms", "2"]);
    let mut ann = server.join("ann room=one mode=pull");
    let mut bob = server.join("bob room=two");
    let mut eve = server.connect();
    eve.ask("JOIN eve room=three", "ERR full ");
    assert_eq!(eve.stat("refused-rooms"), 1);
    eve.ask("JOIN eve", "ERR full ");
    // Rooms that are there can be entered.
    eve.join("eve room=TWO");
    bob.expect_event("JOINED", "eve");
    ann.ask("QUIT", "OK QUIT");
    server.join("ann room=three").expect_service();
    assert_eq!(bob.stat("rooms"), 2);
}

/// What waits for a server on a Unix socket lies in the client's socket, where the server cannot
/// bound it.
#[test]
fn no_client_of_a_unix_socket_can_keep_more_than_the_server_says() {
    const CONNECTIONS: u64 = 4;
    let dir = TempDir::new();
    let path = dir.join("chat");
    let on_unix = unix(&path);
    let args = ["--max-connections", "4", "--listen", &on_unix];
    let checked = Process::start(program().args(args).arg("--check")).finish();
    let server = Server::start_as(program().args(args));
    let (_, stated) = server
        .memory
        .split_once("clients on Unix sockets ")
        .unwrap();
    let shown = format!("{:>12}  more in the sockets of clients", stated.trim_end());
    assert!(checked.out.contains(&shown), "{checked:?}");
    let (mebibytes, _) = stated.split_once(" MiB").unwrap();
    let stated = (mebibytes.parse::<f64>().unwrap() * 1024.0 * 1024.0) as u64 / CONNECTIONS;

    // It reads nothing meanwhile.
    server.process.pause();
    let mut most = 0;
    for buffer in [None, Some(i32::MAX as usize)] {
        for len in [1, 700, 4096, 65_536, 1024 * 1024] {
            let client = Client::connect(&on_unix);
            if let Some(buffer) = buffer {
                client.socket.set_send_buffer_size(buffer).unwrap();
            }
            client.socket.set_nonblocking(true).unwrap();
            let bytes = vec![b'x'; len];
            while client.socket.send(&bytes).is_ok() {}
            let kept = output_queued(&client);
            assert!(
                kept <= stated,
                "{kept} of {stated}: {buffer:?}, {len} at once"
            );
            most = most.max(kept);
        }
    }
    // One message more, and what is rounded.
    assert!(stated - most < 128 * 1024, "{most} of {stated}");
    server.process.go_on();
}

/// What the system holds of what a client has sent, with its book-keeping: TIOCOUTQ.
#[expect(unsafe_code, reason = "no crate has this call without it")]
fn output_queued(client: &Client) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: The descriptor is open, and the request writes one int.
    let result = unsafe { libc::ioctl(client.socket.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) };
    assert_eq!(result, 0);
    bytes as u64
}

#[test]
fn an_address_has_its_share_of_connections_and_unix_sockets_have_all() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let args = ["--max-per-address", "2", "--listen", &on_unix];
    let server = Server::start_bounded(&args);
    let from = |last| Client::from([127, 0, 0, last], server.address());
    let mut firsts = [from(2), from(2)];
    let mut others = [from(3), from(3)];
    for client in firsts.iter_mut().chain(&mut others) {
        client.expect("HELLO ");
    }
    expect_full(from(2));
    expect_full(from(3));
    let mut locals: Vec<_> = (0..20).map(|_| Client::greeted(&on_unix)).collect();
    assert_eq!(locals[0].stat("refused-connections-address"), 2);
    assert_eq!(locals[0].stat("refused-connections"), 0);
    assert_eq!(locals[0].stat("connections"), 24);
    let [first, mut second] = firsts;
    drop(first);
    locals[0].await_stat("connections", 23);
    let mut third = from(2);
    third.expect("HELLO ");
    expect_full(from(2));
    for client in [&mut second, &mut third].into_iter().chain(&mut others) {
        client.expect_service();
    }
}

#[test]
fn connections_over_ipv6_have_a_share_of_their_own() {
    if !has_ipv6() {
        return;
    }
    let args = ["--max-per-address", "1", "--listen", "[::1]:0"];
    let server = Server::start_bounded(&args);
    let mut clients: Vec<_> = server
        .addresses
        .iter()
        .map(|a| Client::greeted(a))
        .collect();
    for address in &server.addresses {
        expect_full(Client::connect(address));
    }
    for client in &mut clients {
        client.expect_service();
    }
}

#[test]
fn an_address_has_its_share_of_sessions_and_unix_sockets_have_all() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let args = ["--max-per-address", "2", "--listen", &on_unix];
    let server = Server::start_bounded(&args);
    let from = |last| {
        let mut client = Client::from([127, 0, 0, last], server.address());
        client.expect("HELLO ");
        client
    };
    let mut gateway = from(2);
    let mut tokens = Vec::new();
    for name in ["ann", "bob"] {
        tokens.push(gateway.join(&format!("{name} mode=pull")));
        gateway.ask("DETACH", "OK DETACH");
    }
    gateway.ask("JOIN eve", "ERR full ");
    from(3).join("eve");
    let mut local = Client::greeted(&on_unix);
    for n in 0..20 {
        local.join(&format!("local{n} mode=pull"));
        local.ask("DETACH", "OK DETACH");
    }
    assert_eq!(local.stat("refused-sessions-address"), 1);
    // It counts for whom it was made for, whoever holds it by the end.
    local.ask(&format!("RESUME {}", tokens[0]), "OK RESUME name=ann ");
    gateway.ask("JOIN fay", "ERR full ");
    local.ask("LEAVE", "OK LEAVE");
    gateway.join("fay mode=pull");
}

// How fast

#[test]
fn lines_above_the_rate_wait_and_none_is_refused_or_lost() {
    const RATE: usize = 50;
    const LINES: usize = 4 * RATE + 60;
    let server = Server::start_bounded(&[]);
    let polite = Polite::start(server.join("polite mode=pull"));
    let mut hasty = server.connect();
    let watch = Watch::start();
    let lines: String = (0..LINES).map(|n| format!("PING {n}\r\n")).collect();
    hasty.send_bytes(lines.as_bytes());
    let mut times = Vec::new();
    for n in 0..LINES {
        assert_eq!(hasty.expect("OK "), format!("OK PING {n}"));
        times.push(watch.elapsed());
    }
    // 59 intervals of 20 ms lie between what comes at once and the last line.
    assert!(times[LINES - 1] >= Duration::from_millis(1100), "{times:?}");
    assert!(hasty.stat("lines-throttled") > 0);
    println!(
        "one at 5 times the rate: slowest polite reply {:?}",
        polite.end()
    );
}

#[test]
fn one_who_is_held_up_and_sent_away_leaves_no_timer_behind() {
    let server = Server::start_bounded(&["--rate", "1", "--handshake", "4"]);
    let mut ann = server.join("ann mode=pull idle=3600");
    let timers = ann.stat("timers");
    let mut hasty = server.connect();
    let bye = loop {
        // One by one, so that the server hears of each.
        let _ = hasty.socket.send(b"PING\r\n");
        match hasty.receive(Duration::from_millis(10)) {
            Received::Line(line) if line == "OK PING" => {}
            Received::Nothing => {}
            other => break other,
        }
    };
    let is_bye = matches!(&bye, Received::Line(line) if line.starts_with("BYE handshake "));
    assert!(is_bye, "{bye:?}");
    // What would still be due for bob is due by then.
    ann.expect_nothing(3 * SECOND / 2);
    ann.expect_service();
    assert_eq!(ann.stat("timers"), timers);
}

#[test]
fn one_who_is_faster_than_the_rate_cannot_send_any_more() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let server = Server::start_bounded(&["--rate", "1", "--listen", &on_unix]);
    for address in &server.addresses {
        let client = Client::connect(address);
        client.socket.set_send_buffer_size(4096).unwrap();
        let patience = Duration::from_millis(300);
        client.socket.set_write_timeout(Some(patience)).unwrap();
        let line = format!("PING {}\r\n", "x".repeat(1000));
        let mut sent = 0;
        while let Ok(bytes) = client.socket.send(&line.as_bytes()[sent % line.len()..]) {
            sent += bytes;
            // The buffers of both ends are far smaller.
            assert!(sent < 512 * 1024, "{sent} bytes were taken");
        }
    }
}

#[test]
fn without_a_rate_nobody_waits() {
    let server = Server::start_bounded(&["--rate", "0"]);
    let mut hasty = server.connect();
    hasty.send_bytes("PING\r\n".repeat(5000).as_bytes());
    for _ in 0..5000 {
        hasty.expect("OK PING");
    }
    assert_eq!(hasty.stat("lines-throttled"), 0);
}

// Descriptors

/// A script that has none of the descriptors of whoever runs the tests.
fn alone(script: &str) -> String {
    format!(r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; {script}; exec "$@""#)
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_needed() {
    for (args, needed) in [(&[][..], 1024), (&["--max-connections", "2000"], 2000)] {
        let mut command = program_within(&alone("ulimit -Sn 64"));
        let server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]).args(args));
        let max = server.process.descriptors_max();
        assert!((needed..needed + 64).contains(&max), "{max}");
        server.process.signal("TERM");
        let log = server.process.finish().err;
        assert!(!log.contains("WARN"), "{log}");
    }
    // What is enough stays.
    let mut command = program_within(&alone("ulimit -Sn 2048"));
    let server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(server.process.descriptors_max(), 2048);
}

#[test]
fn connections_that_open_files_do_not_allow_are_not_promised() {
    const LIMIT: usize = 40;
    let mut command = program_within(&alone(&format!("ulimit -n {LIMIT}")));
    let server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]));
    let words: Vec<_> = server.memory.split(' ').collect();
    let at = words
        .iter()
        .position(|w| w.starts_with("connections"))
        .unwrap();
    let possible: usize = words[at - 1].parse().unwrap();
    assert!((LIMIT / 2..LIMIT).contains(&possible), "{}", server.memory);

    let mut clients: Vec<_> = (0..possible).map(|_| server.connect()).collect();
    for _ in 0..10 {
        expect_full(Client::connect(server.address()));
    }
    for client in &mut clients {
        client.expect_service();
    }
    drop(clients.pop());
    clients[0].await_stat("connections", possible as u64 - 1);
    clients.push(server.connect());
    for client in &mut clients {
        client.expect_service();
    }
    server.process.signal("TERM");
    let log = server.process.finish().err;
    let is_warning = |line: &&str| line.contains(" WARN ") && line.contains("open files");
    let warnings: Vec<_> = log.lines().filter(is_warning).collect();
    assert_eq!(warnings.len(), 1, "{log}");
    for number in [LIMIT, 1024, possible] {
        assert!(warnings[0].contains(&format!(" {number}")), "{log}");
    }
    assert!(warnings[0].contains("open files"), "{log}");
}

// Memory

#[test]
fn the_default_ceiling_is_20_mib_and_the_log_says_so() {
    let server = Server::start_bounded(&[]);
    let line = &server.memory;
    assert!(server.ceiling() <= 20 * 1024, "{line}");
    for text in ["1024 connections", "4096 sessions", "64 rooms"] {
        assert!(line.contains(text), "{line}");
    }
    let bytes = server.connect().stat("memory-ceiling");
    assert!(bytes.div_ceil(1024) <= server.ceiling() + 1, "{line}");
    println!(
        "resident at the start: {} KiB; {line}",
        server.process.kibibytes()
    );
}

#[test]
fn a_server_that_could_need_more_memory_than_it_may_refuses_to_start() {
    let texts = [
        "--memory",
        "--max-connections",
        "--max-sessions",
        "--max-rooms",
        "--log-bytes",
        "--max-message",
        "MiB",
    ];
    for args in [
        &["--listen", "127.0.0.1:0", "--memory", "10M"][..],
        &["--check", "--memory", "10M"],
        &["--check", "--memory", "20M", "--max-connections", "1100"],
        &["--check", "--memory", "20M", "--max-sessions", "9000"],
        &["--check", "--memory", "20M", "--max-rooms", "80"],
        &["--check", "--memory", "20M", "--log-bytes", "80K"],
        &["--check", "--memory", "20M", "--max-message", "16K"],
    ] {
        run(args).expect_refusal(1, &texts);
    }
    let enough = ["--memory", "20M"];
    Server::start_bounded(&enough).connect().expect_service();
    let small = ["-c", "64", "-s", "128", "-r", "8", "--memory", "5M"];
    Server::start_bounded(&small).connect().expect_service();
    run(&["--memory", "much"]).expect_refusal(2, &["--memory much"]);
}

#[test]
fn a_check_shows_what_memory_each_part_can_need() {
    let dir = TempDir::new();
    let users = users_file(&dir, &format!("ann:{HASH_OF_ABC}\nbob:{HASH_OF_ABC}\n"));
    // Nothing is bound, so that a server may be running.
    let server = Server::start_bounded(&[]);
    let finished = run(&[
        "--check",
        "-l",
        server.address(),
        "-u",
        users.to_str().unwrap(),
    ]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.err, "");
    let parts = [
        "1024 connections",
        "4096 sessions",
        "64 rooms",
        "2 names",
        "in all",
        "sockets",
    ];
    for part in parts {
        let line = finished.out.lines().find(|line| line.contains(part));
        let line = line.unwrap_or_else(|| panic!("no {part}: {}", finished.out));
        assert!(line.contains(" MiB "), "{line}");
    }
    server.connect().expect_service();
}

/// Some editors put one before any text in UTF-8.
#[test]
fn a_byte_order_mark_before_a_users_file_is_passed_over() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("\u{feff}ann:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    server.connect().ask("JOIN ann key=abc", "OK JOIN ");
    // Also when a key is added.
    let key = new_key(&path, "bob");
    let server = server_with(&path);
    server.connect().ask("JOIN ann key=abc", "OK JOIN ");
    server
        .connect()
        .ask(&format!("JOIN bob key={key}"), "OK JOIN ");
    // It is one only at the beginning.
    let path = users_file(&dir, &format!("\n\u{feff}ann:{HASH_OF_ABC}\n"));
    let users = path.to_str().unwrap();
    run(&["--check", "--users", users]).expect_refusal(1, &[users, "line 2"]);
}

#[test]
fn a_users_file_without_names_is_read_again_below_the_ceiling() {
    let dir = TempDir::new();
    let users = users_file(&dir, "# Nobody yet.\n");
    let file = users.to_str().unwrap();
    let small = ["-c", "4", "-s", "4", "-r", "1", "-b", "4K", "-u", file];
    let mut server = Server::start_bounded(&small);
    for text in ["#\n", "# a longer line, which says nothing either\n", "\n"] {
        let text = text.repeat(1024 * 1024 / text.len());
        users_file(&dir, &text);
        server.process.signal("HUP");
        server.process.expect_error("now has 0 names");
        let (peak, ceiling) = (
            server.process.peak_as_released_kibibytes(),
            server.ceiling(),
        );
        assert!(peak < ceiling, "{peak} KiB, with a ceiling of {ceiling}");
    }
}

#[test]
fn a_check_finds_what_a_start_would() {
    let dir = TempDir::new();
    let users = users_file(&dir, "ann\n");
    let users = users.to_str().unwrap();
    run(&["--check", "--users", users]).expect_refusal(1, &[users, "line 1"]);
    let missing = dir.join("missing");
    let missing = missing.to_str().unwrap();
    run(&["--check", "--users", missing]).expect_refusal(1, &[missing]);
    run(&["--check", "--idle", "0"]).expect_refusal(2, &["--idle 0"]);
    run(&["--check", "-l", "0.0.0.0:0"]).expect_refusal(2, &["--open"]);
}

// Keys

/// A users file that only its owner can read.
fn users_file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.join("users");
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    path
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Makes a key with the program, which prints it once.
fn new_key(users: &Path, name: &str) -> String {
    let finished = run(&["--users", users.to_str().unwrap(), "--new-key", name]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.err, "");
    let key = finished.out.strip_suffix('\n').unwrap();
    assert_eq!(key.len(), 32, "128 bits: {key:?}");
    assert!(key.bytes().all(|b| b.is_ascii_hexdigit()), "{key:?}");
    key.to_owned()
}

fn server_with(users: &Path) -> Server {
    Server::start(&["--users", users.to_str().unwrap()])
}

/// Makes the server read its users file again, and waits for what it says about it.
fn reload(server: &mut Server, says: &str) {
    server.process.signal("HUP");
    server.process.expect_error(says);
}

#[test]
fn a_line_that_is_none_is_refused_with_its_file_and_number() {
    let dir = TempDir::new();
    let good = format!("ann:{HASH_OF_ABC}");
    for (text, number) in [
        ("ann".to_owned(), 1),
        (format!("# people\n\n{good}\nbob = x\n"), 4),
        (format!("{good}\r\nbob:{}\r\n", &HASH_OF_ABC[1..]), 2),
        (format!("{good}\nbob:{HASH_OF_ABC}0\n"), 2),
        (format!("{good}\nbob:{}x\n", &HASH_OF_ABC[1..]), 2),
        (format!("{good}\n:{HASH_OF_ABC}\n"), 2),
        (format!("{good}\nbob smith:{HASH_OF_ABC}\n"), 2),
        (format!("{good}\nbob:{HASH_OF_ABC} # comment\n"), 2),
        (format!("{good}\nANN:{HASH_OF_ABC}\n"), 2),
    ] {
        let path = users_file(&dir, &text);
        let path = path.to_str().unwrap();
        let texts = [path, &format!("line {number}:")];
        run(&["-l", "127.0.0.1:0", "-u", path]).expect_refusal(1, &texts);
        // A key is not put into a file that cannot be used.
        run(&["-u", path, "--new-key", "eve"]).expect_refusal(1, &texts);
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn a_users_file_that_others_can_read_or_write_is_refused_with_the_way_out() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let shown = path.to_str().unwrap();
    let way_out = format!("chmod 600 {shown}");
    for bits in [0o644, 0o640, 0o604, 0o620, 0o602, 0o777] {
        set_mode(&path, bits);
        run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[&way_out]);
        run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[&way_out]);
    }
    for bits in [0o600, 0o400] {
        set_mode(&path, bits);
        server_with(&path).connect().expect_service();
    }
}

#[test]
fn a_users_file_that_is_missing_or_none_is_refused() {
    let dir = TempDir::new();
    let path = dir.join("missing");
    let shown = path.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown, "--new-key"]);
    let folder = dir.join("folder");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);
    let shown = folder.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown]);
    run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[shown]);
    let binary = dir.join("binary");
    fs::write(&binary, b"ann:\xFF\n").unwrap();
    set_mode(&binary, 0o600);
    let shown = binary.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown]);
}

#[test]
fn a_users_file_of_more_than_1_mib_is_refused() {
    let dir = TempDir::new();
    let most = "#\n".repeat(512 * 1024);
    let path = users_file(&dir, &most);
    let shown = path.to_str().unwrap();
    let args = ["--check", "-l", "127.0.0.1:0", "-u", shown];
    assert_eq!(run(&args).code, Some(0));
    users_file(&dir, &(most + "\n"));
    run(&args).expect_refusal(1, &[shown, "more than 1048576 bytes"]);
}

/// Opening one waits until somebody writes to it, and that may never be.
#[test]
fn a_users_file_that_is_a_pipe_is_refused_without_waiting_for_anybody() {
    let make_pipe = |path: &Path| {
        let mut command = Command::new("mkfifo");
        assert!(command.arg("-m600").arg(path).status().unwrap().success());
    };
    let dir = TempDir::new();
    let pipe = dir.join("pipe");
    make_pipe(&pipe);
    let shown = pipe.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown, "is not a file"]);
    run(&["--check", "-u", shown]).expect_refusal(1, &[shown, "is not a file"]);
    run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[shown, "is not a file"]);
    // A server that runs goes on with the keys that it has.
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    fs::remove_file(&path).unwrap();
    make_pipe(&path);
    reload(&mut server, "is not a file");
    ann.expect_service();
}

#[test]
fn only_those_with_their_key_may_join_and_look_around() {
    let dir = TempDir::new();
    let text = format!("# people\n\n  ann : {HASH_OF_ABC}  \r\nBob:{HASH_OF_ABC}");
    let path = users_file(&dir, &text);
    let args = ["-v", "-u", path.to_str().unwrap()];
    let server = Server::start(&args);
    let mut client = server.connect();
    for command in ["WHO", "ROOMS", "STATS"] {
        client.ask(command, "ERR no-session ");
    }
    client.expect_service();
    client.ask("HELP", "OK HELP ");
    drop(client);
    for wrong in ["ann", "ann key=abd", "ann key=", "eve key=abc"] {
        let mut client = server.connect();
        client.send(&format!("JOIN {wrong}"));
        let reply = client.expect("ERR ");
        let is_refused =
            reply.starts_with("ERR not-authorized ") || reply.starts_with("ERR bad-argument ");
        assert!(is_refused, "{wrong}: {reply}");
        client.join("ann key=abc mode=pull");
        client.ask("LEAVE", "OK LEAVE");
        client.join("bob key=abc mode=pull");
        client.ask("STATS", "OK STATS ");
    }
    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert!(log.contains("ann joined"), "{log}");
    for secret in ["abc", "abd", HASH_OF_ABC] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn three_wrong_keys_end_a_connection() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    let mut member = server.join("ann key=abc");
    let mut guesser = server.connect();
    for n in 0..3 {
        guesser.ask(&format!("JOIN ann key=guess{n}"), "ERR not-authorized ");
        if n < 2 {
            // Anything else that goes well does not give more guesses.
            guesser.expect_service();
        }
    }
    guesser.expect_bye("abuse");
    assert_eq!(member.stat("refused-keys"), 3);
}

#[test]
fn who_holds_a_key_takes_his_name_back() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\nbob:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    let mut bob = server.join("bob key=abc");
    let mut old = server.connect();
    let token = old.join("ann key=abc");
    bob.expect_event("JOINED", "ann");
    let mut new = server.connect();
    new.ask("JOIN ann key=wrong", "ERR not-authorized ");
    new.join("ann key=abc");
    old.expect_bye("replaced");
    bob.expect_event("LEFT", "ann replaced");
    bob.expect_event("JOINED", "ann");
    let mut late = server.connect();
    late.ask(&format!("RESUME {token}"), "ERR session-ended replaced ");
    new.expect_service();
}

#[test]
fn a_new_key_is_printed_once_and_counts() {
    let dir = TempDir::new();
    let path = dir.join("users");
    let ann = new_key(&path, "ann");
    assert_eq!(mode(&path), 0o600);
    let bob = new_key(&path, "bob");
    assert_ne!(ann, bob);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&ann) && !text.contains(&bob), "{text}");
    let server = server_with(&path);
    server.join(&format!("ann key={ann}"));
    server.join(&format!("bob key={bob} room=two"));
    let mut eve = server.connect();
    eve.ask(&format!("JOIN ann key={bob}"), "ERR not-authorized ");
}

#[test]
fn a_new_key_takes_an_old_ones_place_and_leaves_all_else_as_it_was() {
    let dir = TempDir::new();
    let before = "# people\n\n";
    let after = format!("# the night shift\nbob:{HASH_OF_ABC}\n");
    // The last line has no end.
    let text = format!("{before}Ann:{HASH_OF_ABC}\n{after}fay:{HASH_OF_NOTHING}");
    let path = users_file(&dir, &text);
    set_mode(&path, 0o400);
    let identity = fs::metadata(&path).unwrap().ino();
    let held_open = fs::File::open(&path).unwrap();
    let key = new_key(&path, "ann");
    let new = fs::read_to_string(&path).unwrap();
    let rest = new.strip_prefix(before).unwrap();
    let (line, rest) = rest.split_once('\n').unwrap();
    assert!(
        line.starts_with("ann:") && !line.contains(HASH_OF_ABC),
        "{line}"
    );
    assert_eq!(rest, format!("{after}fay:{HASH_OF_NOTHING}\n"));
    assert_eq!(mode(&path), 0o600);
    // It was replaced in one step: whoever reads the old one reads all of it.
    assert_ne!(fs::metadata(&path).unwrap().ino(), identity);
    assert_eq!(std::io::read_to_string(held_open).unwrap(), text);
    let files = fs::read_dir(dir.join(".")).unwrap().count();
    assert_eq!(files, 1);

    new_key(&path, "eve");
    let newer = fs::read_to_string(&path).unwrap();
    let line = newer.strip_prefix(&new).unwrap();
    assert!(line.starts_with("eve:") && line.ends_with('\n'), "{line}");
    server_with(&path).join(&format!("ann key={key}"));
}

#[test]
fn a_new_key_is_put_into_the_file_that_a_link_leads_to() {
    let dir = TempDir::new();
    let path = users_file(&dir, "# people\n");
    let link = dir.join("link");
    symlink(&path, &link).unwrap();
    new_key(&link, "ann");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# people\nann:"), "{text}");
}

#[test]
fn keys_that_cannot_be_made_change_nothing() {
    let dir = TempDir::new();
    let text = format!("ann:{HASH_OF_ABC}\n");
    let path = users_file(&dir, &text);
    let shown = path.to_str().unwrap();
    run(&["-u", shown, "--new-key", "a b"]).expect_refusal(2, &["--new-key a b"]);
    run(&["-u", shown, "--new-key", ""]).expect_refusal(2, &["--new-key"]);
    run(&["--new-key", "ann"]).expect_refusal(2, &["--users"]);
    let missing = dir.join("missing/users");
    let shown_missing = missing.to_str().unwrap();
    run(&["-u", shown_missing, "--new-key", "ann"]).expect_refusal(1, &[shown_missing]);
    // Another one is at it.
    let beside = dir.join("users.new");
    fs::write(&beside, "").unwrap();
    run(&["-u", shown, "--new-key", "ann"]).expect_refusal(1, &[beside.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_key_that_was_made_counts_after_a_reload() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    let key = new_key(&path, "bob");
    let mut bob = server.connect();
    bob.ask(&format!("JOIN bob key={key}"), "ERR not-authorized ");
    reload(&mut server, " 2 names");
    // What that can need is said again.
    server.process.expect_error("memory: at most ");
    bob.join(&format!("bob key={key}"));
    // Sessions whose key is the same stay.
    ann.expect_event("JOINED", "bob");
    ann.expect_service();
}

#[test]
fn sessions_of_names_that_were_removed_or_have_another_key_end_at_a_reload() {
    let dir = TempDir::new();
    let names = ["ann", "bob", "cem", "dan", "eve"];
    let text: String = names.map(|name| format!("{name}:{HASH_OF_ABC}\n")).concat();
    let path = users_file(&dir, &text);
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    let mut bob = server.connect();
    let token = bob.join("bob key=abc");
    let mut cem = server.join("cem key=abc mode=pull");
    let mut dan = server.join("dan key=abc mode=pull");
    dan.ask("DETACH", "OK DETACH");
    let mut eve = server.join("eve key=abc room=other mode=pull");
    for name in ["bob", "cem", "dan"] {
        ann.expect_event("JOINED", name);
    }
    // The first stays, written otherwise; the second and the fourth go; two have other keys, of
    // which one waits for an event.
    cem.ask("POLL", "OK POLL 2 ");
    cem.expect_event("JOINED", "cem");
    cem.expect_event("JOINED", "dan");
    cem.send("PING");
    cem.send("POLL wait=60");
    cem.expect("OK PING");
    let upper = HASH_OF_ABC.to_uppercase();
    let text = format!("ANN:{upper}\ncem:{HASH_OF_NOTHING}\neve:{HASH_OF_NOTHING}\n");
    fs::write(&path, text).unwrap();
    reload(&mut server, " 3 names");
    let mut left: Vec<String> = (0..3)
        .map(|_| ann.expect("LEFT ").splitn(4, ' ').last().unwrap().into())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["bob replaced", "cem replaced", "dan replaced"]);
    bob.expect("JOINED ");
    bob.expect("JOINED ");
    let goodbye = loop {
        // Others may have gone before.
        let line = bob.expect("");
        if !line.starts_with("LEFT ") {
            break line;
        }
    };
    assert!(goodbye.starts_with("BYE replaced "), "{goodbye}");
    bob.expect_closed();
    while !cem.expect("").starts_with("BYE replaced ") {}
    cem.expect_closed();
    eve.expect_bye("replaced");
    dan.ask(&format!("RESUME {token}"), "ERR session-ended replaced ");
    dan.ask("JOIN dan key=abc", "ERR not-authorized ");
    ann.expect_service();
    assert_eq!(ann.stat("sessions"), 1);
}

#[test]
fn a_reload_of_a_bad_file_is_logged_and_changes_nothing() {
    let dir = TempDir::new();
    let text = format!("ann:{HASH_OF_ABC}\n");
    let path = users_file(&dir, &text);
    let shown = path.to_str().unwrap().to_owned();
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc mode=pull");
    let mut check = |server: &mut Server, text: &str| {
        server.process.signal("HUP");
        let line = server.process.expect_error(" ERROR ");
        assert!(line.contains(&shown) && line.contains(text), "{line}");
        ann.ask("LEAVE", "OK LEAVE");
        ann.join("ann key=abc mode=pull");
    };
    fs::write(&path, "ann\n").unwrap();
    check(&mut server, "line 1");
    fs::write(&path, &text).unwrap();
    set_mode(&path, 0o644);
    check(&mut server, "chmod 600");
    fs::remove_file(&path).unwrap();
    check(&mut server, "no users file");
    users_file(&dir, &format!("ann:{HASH_OF_NOTHING}\n"));
    reload(&mut server, " 1 name");
    ann.expect_bye("replaced");
}

#[test]
fn a_reload_without_a_users_file_does_nothing() {
    let mut server = Server::start(&[]);
    let mut ann = server.join("ann");
    reload(&mut server, "no users file");
    ann.expect_service();
}

#[test]
fn a_network_is_only_served_with_keys_or_if_it_is_said_to_be_open() {
    for network in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8255"] {
        let texts = [&format!("--listen {network}"), "--users", "--open"];
        run(&["--listen", network]).expect_refusal(2, &texts);
    }
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let users = ["--users", path.to_str().unwrap()];
    for (args, join) in [(&["--open"][..], "ann"), (&users, "ann key=abc")] {
        let server = Server::start_as(program().args(["--listen", "0.0.0.0:0"]).args(args));
        let mut client = Client::greeted(&format!("127.0.0.1:{}", server.port()));
        client.join(join);
    }
}
