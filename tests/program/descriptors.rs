//! How many files the server may open, and what it does without one.

use std::net::Shutdown;

use crate::process::{Client, Process, Server, TempDir, program_within, unix};
use crate::steps::{SECOND, expect_full};

#[test]
fn too_few_descriptors_for_a_single_connection_are_an_error_with_a_way_out() {
    let mut command = program_within("ulimit -n 10; exec \"$@\"");
    let finished = Process::start(command.args(["--listen", "127.0.0.1:0"])).finish();
    finished.expect_refusal(1, &["open files is 10", "ulimit -n"]);
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
    // By the time that this one is accepted, all others were.
    server.connect().expect_service();
    server.await_descriptors(&mut bob, before);
}

#[test]
fn a_server_without_descriptors_serves_whom_it_has_and_accepts_later() {
    const SPARE: usize = 8;
    let mut server = Server::start(&[]);
    server.process.leave_descriptors(SPARE);
    let mut clients: Vec<_> = (0..SPARE + 3)
        .map(|_| Client::connect(server.address()))
        .collect();
    let mut waiting = clients.split_off(SPARE);
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
    // With a descriptor to spare it notices that nobody waits any more.
    drop(clients.pop());
    server.process.expect_error("accepting connections again");
    clients[0].expect_service();
}

/// A script that inherits no descriptors from whatever runs the tests.
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
    // A limit that is high enough stays.
    let mut command = program_within(&alone("ulimit -Sn 2048"));
    let server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]));
    assert_eq!(server.process.descriptors_max(), 2048);
}

#[test]
fn connections_that_open_files_do_not_allow_are_not_promised() {
    const LIMIT: usize = 42;
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
