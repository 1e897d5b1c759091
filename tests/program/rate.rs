//! How fast a client may send.

use std::time::Duration;

use crate::process::{Client, Polite, Received, Server, TempDir, Watch, unix};
use crate::steps::SECOND;

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
    // 59 intervals of 20 ms lie between the burst and the last line.
    assert!(times[LINES - 1] >= Duration::from_millis(1100), "{times:?}");
    assert!(hasty.stat("lines-throttled") > 0);
    println!(
        "one at 5 times the rate: slowest polite reply {:?}",
        polite.end()
    );
}

#[test]
fn a_client_that_is_closed_while_it_waits_leaves_no_timer_behind() {
    let server = Server::start_bounded(&["--rate", "1", "--handshake", "4"]);
    let mut ann = server.join("ann mode=pull idle=3600");
    let timers = ann.stat("timers");
    let mut hasty = server.connect();
    let bye = loop {
        // One at a time, so that the server notices each.
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
fn a_client_above_the_rate_cannot_send_any_more_for_a_while() {
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
