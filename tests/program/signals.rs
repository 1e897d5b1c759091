//! Signals.

use std::time::Duration;

use crate::process::{Client, PATIENCE, Process, Server, TempDir, Watch, program, unix};
use crate::steps::{SECOND, flood, wait_for_member};

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
    // It does not wait for clients that have gone.
    assert!(fastest < 3 * SECOND / 2, "{fastest:?}");
}

#[test]
fn a_client_that_does_not_read_cannot_keep_the_server_from_ending() {
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

/// A server whose log may say nothing, and a connection to it.
fn start_quietly(args: &[&str]) -> (Process, Client) {
    let folder = TempDir::new();
    let address = unix(&folder.join("chat"));
    let process = Process::start(program().args(["--listen", &address]).args(args));
    let watch = Watch::start();
    loop {
        if let Ok(mut client) = Client::try_connect(&address) {
            client.expect("HELLO ");
            return (process, client);
        }
        assert!(!watch.is_over(), "it does not listen");
        std::thread::yield_now();
    }
}

#[test]
fn usr1_logs_the_counters_whatever_else_is_logged_and_changes_nothing() {
    for args in [
        &[][..],
        &["--quiet"],
        &["--verbose"],
        &["--log", "syslog", "--quiet"],
    ] {
        let (mut process, mut ann) = start_quietly(args);
        ann.join("ann");
        ann.ask("SAY hello", "OK SAY 2 ");
        ann.expect_event("MSG", "ann hello");
        process.signal("USR1");
        let mut lines: Vec<String> = Vec::new();
        while !lines.concat().contains("memory-ceiling ") {
            lines.push(process.expect_error("stats: "));
        }
        let text = lines.concat();
        for row in [
            "uptime ",
            "connections 1,",
            "messages 1",
            "turn-longest-ever ",
        ] {
            assert!(text.contains(row), "{args:?}: no {row} in {text}");
        }
        assert!(lines.len() < 10, "{text}");
        if args.contains(&"syslog") {
            assert!(
                lines.iter().all(|line| line.starts_with("<6>stats: ")),
                "{text}"
            );
        }
        ann.expect_service();
        process.signal("TERM");
        ann.expect_bye("shutdown");
        assert_eq!(process.finish().code, Some(0));
    }
}
