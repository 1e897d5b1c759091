//! Streams that come in pieces, end or break off; every whole line is answered.

use std::io::Write;
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::process::{Client, Server, TempDir, Watch, unix};
use crate::steps::{SECOND, wait_for_member};

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
    // If they were held back, each line would wait for bob's system to acknowledge the one before.
    // That takes 40 ms, since the system hopes to send the acknowledgement along with data of
    // bob's, except at first, when it acknowledges at once. A slow machine makes most of them late,
    // but never all.
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
    let server = Server::start(&["--listen", &on_unix, "--keep-rooms", "0"]);
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
    let server = Server::start(&["--listen", &on_unix, "--keep-rooms", "0"]);
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
fn a_line_that_is_too_long_is_refused_once_and_skipped() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // Without an OK the connection would be closed.
    client.expect_service();
    for _ in 0..64 {
        client.send_bytes(&[b'x'; 16 * 1024]);
    }
    client.expect("ERR line-too-long ");
    client.send_bytes(b"\n");
    client.expect_service();
}

#[test]
fn what_was_said_before_a_reset_is_heard() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    for round in 0..20 {
        // Before the greeting the connection may not even be accepted yet.
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
        // The greeting has come and stays unread, so closing resets the connection.
        ann.await_input();
        ann.send(&format!("JOIN ann {room}"));
        ann.send("SAY last words");
        drop(ann);
        bob.expect_event("JOINED", "ann");
        bob.expect_event("MSG", "ann last words");
        wait_for_member(&mut bob, "ann push detached", true);
    }
}
