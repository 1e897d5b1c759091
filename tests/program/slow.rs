//! Clients that read slowly or not at all.

use std::time::Duration;

use crate::process::{Client, PATIENCE, Received, Server, TempDir, Watch, unix};
use crate::steps::{BATCH, SECOND, flood, wait_for_member};

#[test]
fn a_client_that_does_not_read_holds_nobody_up_and_goes_as_slow() {
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

    // What had been sent can still be read, and then comes the end.
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

/// Bytes that the system still takes long after a client has stopped reading give the client no
/// second idle time.
#[test]
fn clients_that_read_nothing_go_after_their_idle_time_and_before_twice_that() {
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
            // They show signs of life, but do not read.
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

#[test]
fn a_slow_reader_is_told_exactly_what_it_lost() {
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
    // From here on it keeps up, and the server holds nothing back.
    for _ in 0..3 {
        speaker.ask("SAY again", "OK SAY ");
        slow.expect_event("MSG", "speaker again");
    }
    slow.expect_service();
}

#[test]
fn clients_that_leave_their_replies_hold_nobody_up_and_cost_little() {
    let server = Server::start(&["--handshake", "3600"]);
    let mut ann = server.join("ann");
    let requests = "HELP\r\n".repeat(10_000);
    let mute: Vec<_> = (0..5)
        .map(|_| {
            let client = Client::narrow(server.address());
            let patience = Duration::from_millis(100);
            client.socket.set_write_timeout(Some(patience)).unwrap();
            // Until the server takes no more.
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
    // Once it has answered what it took in, it has nothing to do.
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
fn a_client_that_stops_reading_and_goes_on_gets_every_reply() {
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
        // It may have stopped in the middle of a line.
        client.end();
        for _ in 0..sent / line.len() {
            let reply = client.expect("OK PING ");
            assert_eq!(reply.len(), "OK PING ".len() + 1000);
        }
        client.expect_closed();
    }
}
