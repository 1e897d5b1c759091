//! What clients can do to the server, by mistake or on purpose, over real sockets: the others are
//! served, memory stays below the number that the server logs when it starts, and all of it is
//! given back.
//!
//! Figures are printed for people, with `--nocapture`. The slowest reply to a polite client is
//! bounded only by the patience of every test.

use std::io::{ErrorKind, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use fastrand::Rng;

use crate::process::{
    Client, PATIENCE, Polite, Received, Server, TempDir, Watch, raise_descriptors, unix,
};
use crate::steps::SECOND;

/// How many KiB more than at its start a server may have in memory when a load is gone: what the
/// allocator keeps for the next time, and parts of the program that had not run before.
const NEARLY: u64 = 1536;

/// Prints what something has cost the others.
fn tell_slowest(during: &str, polite: Polite) {
    println!("{during}: slowest polite reply {:?}", polite.end());
}

/// A client that asks again and again, in a room of its own.
fn polite(server: &Server) -> Polite {
    Polite::start(server.join("polite room=polite mode=pull"))
}

/// A connection from the `n`th of many addresses.
fn from_nth(server: &Server, n: usize) -> Client {
    let (high, low) = (n / 250, n % 250);
    let source = [127, 1, high as u8, low as u8 + 1];
    Client::from(source, server.address())
}

/// Reads a connection to its end, however that comes; returns the lines.
fn drain(client: &mut Client) -> Vec<String> {
    let watch = Watch::start();
    let mut lines = Vec::new();
    loop {
        assert!(!watch.is_over(), "no end: {lines:?}");
        match client.try_receive(PATIENCE) {
            Ok(Received::Line(line)) => lines.push(line),
            Ok(Received::Nothing) => panic!("no end: {lines:?}"),
            Ok(Received::End) | Err(_) => return lines,
        }
    }
}

/// Sends until the server takes no more for a while; returns how many bytes were sent.
fn stuff(client: &Client, bytes: &[u8], patience: Duration) -> usize {
    client.socket.set_write_timeout(Some(patience)).unwrap();
    let mut sent = 0;
    while let Ok(len) = client.socket.send(&bytes[sent % bytes.len()..]) {
        sent += len;
        assert!(sent < 64 * 1024 * 1024, "{sent} bytes were taken");
    }
    sent
}

/// Closes a connection so that its peer learns at once that everything is lost.
fn reset(client: Client) {
    client.socket.set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
}

// Those who give nothing

#[test]
fn lines_that_drip_in_do_not_hold_a_connection_open() {
    let server = Server::start(&["--handshake", "4"]);
    let mut ann = server.join("ann mode=pull");
    let before = server.process.descriptors().len();
    let polite = Polite::start(server.join("polite room=polite mode=pull"));
    let watch = Watch::start();
    let mut dribblers: Vec<_> = (0..200).map(|_| server.connect()).collect();
    // They go on as long as one of them is there.
    while ann.stat("connections") > 2 {
        assert!(!watch.is_over(), "{} are there", ann.stat("connections"));
        // No line is ever finished; some clients never begin one, and some send only empty lines.
        let byte = [b"x", b" ", b"\n", b"\xFF"];
        for (n, dribbler) in dribblers.iter_mut().enumerate() {
            let _ = dribbler.socket.send(byte[n % 4]);
        }
        ann.expect_nothing(Duration::from_millis(20));
    }
    assert!(watch.elapsed() >= 4 * SECOND, "{:?}", watch.elapsed());
    for dribbler in &mut dribblers {
        let lines = drain(dribbler);
        let last = lines.last().unwrap();
        assert!(last.starts_with("BYE handshake "), "{lines:?}");
    }
    tell_slowest("200 who send byte by byte", polite);
    server.await_descriptors(&mut ann, before);
}

#[test]
fn clients_that_never_read_their_replies_cost_little_and_expire() {
    let server = Server::start(&[]);
    let mut ann = server.join("ann mode=pull");
    let before = server.process.descriptors().len();
    let start = server.process.kibibytes();
    let polite = polite(&server);
    let requests = "HELP\r\nSTATS\r\nPING again\r\nNONSENSE\r\n".repeat(1000);
    let mute: Vec<_> = (0..50)
        .map(|n| {
            let mut client = Client::narrow(server.address());
            client.socket.set_send_buffer_size(4096).unwrap();
            client.send(&format!("JOIN mute{n} mode=pull idle=3"));
            stuff(&client, requests.as_bytes(), Duration::from_millis(2));
            client
        })
        .collect();
    let stuffed = server.process.kibibytes();
    // The server does not read from them, so it sees no sign of life.
    ann.await_stat("sessions", 2);
    ann.await_stat("connections", 2);
    tell_slowest("50 who never read their replies", polite);
    server.await_descriptors(&mut ann, before);
    drop(mute);
    let ceiling = server.expect_below_ceiling();
    server.await_kibibytes(&mut ann, start + NEARLY);
    let end = server.process.kibibytes();
    println!("50 who never read their replies: {start}, {stuffed}, {end} KiB; {ceiling}");
}

/// How many messages a conversation has.
const MESSAGES: usize = 4000;

/// Says something many times and checks that the reader gets all of it, beginning behind event
/// `seq`; returns how long that took.
fn talk(speaker: &mut Client, reader: &mut Client, seq: usize) -> Duration {
    const BATCH: usize = 40;
    let lines = format!("SAY {}\r\n", "x".repeat(500)).repeat(BATCH);
    let watch = Watch::start();
    for first in (0..MESSAGES).step_by(BATCH) {
        speaker.send_bytes(lines.as_bytes());
        for n in 1..=BATCH {
            speaker.expect("OK SAY ");
            reader.expect(&format!("MSG {} ", seq + first + n));
        }
    }
    watch.elapsed()
}

#[test]
fn clients_that_never_read_events_slow_nobody_down() {
    let server = Server::start(&[]);
    let start = server.process.kibibytes();
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut reader = server.join("reader idle=3600");
    let alone = talk(&mut speaker, &mut reader, 2);
    let polite = polite(&server);
    let stuck: Vec<_> = (0..100)
        .map(|n| {
            let mut client = Client::narrow(server.address());
            client.send(&format!("JOIN stuck{n} room=stuck idle=3600"));
            client
        })
        .collect();
    speaker.await_stat("sessions", 103);
    let mut speaker_there = server.join("speaker room=stuck mode=pull idle=3600");
    let mut reader_there = server.join("reader room=stuck idle=3600");
    // After the first of these the connections take no more.
    let there = talk(&mut speaker_there, &mut reader_there, 102);
    let elsewhere = talk(&mut speaker, &mut reader, 2 + MESSAGES);
    assert_eq!(speaker.stat("sessions-slow"), 0);
    tell_slowest("100 who never read events", polite);
    let ceiling = server.expect_below_ceiling();
    println!(
        "{MESSAGES} messages: {alone:?} alone, {there:?} with 100 that do not read, \
         {elsewhere:?} in another room; {ceiling}"
    );
    drop(stuck);
    drop((speaker_there, reader_there));
    speaker.await_stat("connections", 2);
    server.await_kibibytes(&mut speaker, start + NEARLY);
}

// Those who give too much

#[test]
fn a_flooder_slows_nobody_down() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    for args in [&[][..], &["--rate", "0"]] {
        let args = [args, &["--listen", &on_unix]].concat();
        let server = Server::start_bounded(&args);
        let ends = AtomicBool::new(false);
        let polite = polite(&server);
        let mut sent = 0;
        thread::scope(|scope| {
            let flood = |n: usize| {
                let (address, ends) = (&server.addresses[n % 2], &ends);
                move || {
                    // One never reads, one reads now and then, and one speaks.
                    let mut client = Client::connect(address);
                    client.send(&format!("JOIN flood{n} room=flood mode=pull"));
                    let lines = ["HELP\r\n", "PING\r\n", "SAY again and again\r\n"][n].repeat(2000);
                    let patience = Duration::from_millis(20);
                    client.socket.set_write_timeout(Some(patience)).unwrap();
                    let mut sent = 0;
                    while !ends.load(Ordering::Relaxed) {
                        match client.socket.send(&lines.as_bytes()[sent % lines.len()..]) {
                            Ok(len) => sent += len,
                            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
                        }
                        while n > 0 && receives(&mut client) {}
                    }
                    sent
                }
            };
            let floods = [0, 1, 2].map(|n| scope.spawn(flood(n)));
            let watch = Watch::start();
            let mut watcher = server.connect();
            while watch.elapsed() < SECOND * 3 / 2 {
                watcher.expect_nothing(Duration::from_millis(100));
                watcher.expect_service();
            }
            ends.store(true, Ordering::Relaxed);
            sent = floods.map(|flood| flood.join().unwrap()).iter().sum();
        });
        tell_slowest(&format!("3 who flood with {args:?}, {sent} bytes"), polite);
        println!("floods: {}", server.expect_below_ceiling());
    }
}

/// Whether a line has come.
fn receives(client: &mut Client) -> bool {
    let line = client.try_receive(Duration::from_millis(1)).unwrap();
    matches!(line, Received::Line(_))
}

#[test]
fn vanished_pull_sessions_and_a_hundred_thousand_messages_take_bounded_memory() {
    const VANISHED: usize = 1000;
    const MESSAGES: usize = 100_000;
    const BATCH: usize = 500;
    let server = Server::start(&[]);
    let mut ann = server.join("ann mode=pull idle=3600");
    let mut tokens = Vec::new();
    for n in 0..VANISHED {
        let mut gone = server.connect();
        // Most of them expire soon, but not before everything is said.
        let idle = if n < 10 { 3600 } else { 4 };
        tokens.push(gone.join(&format!("gone{n} mode=pull idle={idle}")));
        match n % 2 {
            0 => drop(gone),
            _ => reset(gone),
        }
    }
    ann.await_stat("connections", 1);
    let before = server.process.kibibytes();
    let polite = polite(&server);
    let line = format!("SAY {}\r\n", "x".repeat(20)).repeat(BATCH);
    let watch = Watch::start();
    let mut most = 0;
    for _ in 0..MESSAGES / BATCH {
        ann.send_bytes(line.as_bytes());
        for _ in 0..BATCH {
            ann.expect("OK SAY ");
        }
        most = most.max(server.process.kibibytes());
    }
    let took = watch.elapsed();
    tell_slowest("100,000 messages to 1,000 vanished sessions", polite);
    // One room's log, and what the allocator leaves around it.
    assert!(most < before + 512, "{before} KiB became {most}");
    let ceiling = server.expect_below_ceiling();
    println!("100,000 messages in {took:?}: {before} KiB became {most}; {ceiling}");

    // A client that comes back learns exactly how much it has missed.
    let mut back = server.connect();
    back.ask(&format!("RESUME {}", tokens[0]), "OK RESUME name=gone0 ");
    let (mut seen, mut next) = (0, 0);
    loop {
        let head = back.ask("POLL max=1000", "OK POLL ");
        let words: Vec<_> = head.split(' ').collect();
        for _ in 0..words[2].parse().unwrap() {
            let line = back.expect("");
            let numbers: Vec<u64> = line.split(' ').filter_map(|w| w.parse().ok()).collect();
            if line.starts_with("LOST ") {
                seen += numbers[0];
                next = numbers[1];
                continue;
            }
            assert!(next == 0 || numbers[0] == next, "{line} for {next}");
            next = numbers[0] + 1;
            seen += 1;
        }
        if words[4] == "more=0" {
            break;
        }
    }
    // Its own JOINED was the second event: everything from there on.
    assert_eq!(seen, next - 2);
    assert!(seen >= (MESSAGES + VANISHED) as u64, "{seen}");
    ann.await_stat("sessions-expired", VANISHED as u64 - 10);
    // The ten that are left, and two that were there before.
    ann.await_stat("sessions", 12);
    let end = server.process.kibibytes();
    println!("with 990 of the 1,000 expired: {end} KiB");
}

// Those who are held up, and those who break off

#[test]
fn a_server_that_was_stopped_for_longer_than_the_idle_time_ends_only_the_silent() {
    let server = Server::start(&["--handshake", "12"]);
    let mut members: Vec<_> = (0..300)
        .map(|n| server.join(&format!("member{n} room=room{} mode=pull idle=12", n % 50)))
        .collect();
    for member in &mut members {
        member.expect_service();
    }
    let mut late: Vec<_> = (0..50).map(|_| server.connect()).collect();
    server.process.pause();
    for (n, member) in members.iter_mut().enumerate() {
        match n % 3 {
            0 => member.send("PING in time"),
            1 => member.send_bytes(b"\n"),
            _ => {}
        }
    }
    for (n, late) in late.iter_mut().enumerate() {
        late.send(&format!("JOIN late{n}"));
    }
    members[2].expect_nothing(13 * SECOND);
    server.process.go_on();
    for (n, member) in members.iter_mut().enumerate() {
        match n % 3 {
            0 => _ = member.expect("OK PING in time"),
            1 => {}
            _ => member.expect_bye("expired"),
        }
    }
    for member in members.iter_mut().enumerate().filter(|(n, _)| n % 3 < 2) {
        member.1.expect_service();
    }
    for late in &mut late {
        late.expect("OK JOIN ");
    }
    assert_eq!(late.len(), 50);
    let mut watcher = server.connect();
    assert_eq!(watcher.stat("sessions-expired"), 100);
}

#[test]
fn storms_of_connections_that_are_reset_leave_nothing_behind() {
    const ROUNDS: usize = 40;
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    // Enough for all of them at once, in case the server is slow to close them.
    let server = Server::start(&["--listen", &on_unix, "--max-connections", "4500"]);
    let mut ann = server.join("ann mode=pull");
    let mut storm = |rounds: usize| {
        for round in 0..rounds {
            let address = &server.addresses[usize::from(round % 4 == 3)];
            let mut clients: Vec<_> = (0..100).map(|_| Client::connect(address)).collect();
            for (n, client) in clients.iter_mut().enumerate() {
                // Some of them before they are accepted, some with unread bytes.
                match n % 5 {
                    0 => {}
                    1 => client.send("PING"),
                    2 => client.send_bytes(b"SAY unfini"),
                    3 => client.send_bytes("HELP\n".repeat(50).as_bytes()),
                    _ => client.send(&format!("JOIN n{n} room=r{round} idle=1 alive=ping")),
                }
            }
            clients.into_iter().for_each(reset);
        }
        ann.expect_service();
    };
    let before = server.process.descriptors().len();
    storm(4);
    let start = server.process.kibibytes();
    let polite = polite(&server);
    storm(ROUNDS);
    tell_slowest("4,000 connections that are reset", polite);
    let most = server.process.kibibytes();
    ann.await_stat("connections", 1);
    ann.await_stat("sessions", 2);
    server.await_descriptors(&mut ann, before);
    let ceiling = server.expect_below_ceiling();
    server.await_kibibytes(&mut ann, start + NEARLY);
    println!(
        "4,000 connections that are reset: descriptors {before}, then {}; resident {start}, \
         {most}, {} KiB; {ceiling}",
        server.process.descriptors().len(),
        server.process.kibibytes()
    );
}

#[test]
fn clients_waiting_for_a_server_without_descriptors_slow_nobody_down() {
    let mut server = Server::start(&[]);
    let mut ann = server.join("ann mode=pull");
    let before = server.process.descriptors().len();
    let polite = polite(&server);
    ann.await_stat("connections", 2);
    server.process.leave_descriptors(0);
    let ticks = server.process.ticks();
    let watch = Watch::start();
    // Fewer than older systems let wait.
    let mut waiting: Vec<_> = (0..100)
        .map(|_| Client::connect(server.address()))
        .collect();
    server.process.expect_error("cannot accept connections");
    ann.expect_nothing(SECOND);
    ann.expect_service();
    // The server has not tried all the time.
    let share = (server.process.ticks() - ticks) as f64 / 100.0 / watch.elapsed().as_secs_f64();
    assert!(share < 0.2, "{share} of a processor");
    server.process.limit_descriptors(1024);
    for client in &mut waiting {
        client.expect("HELLO ");
        client.expect_service();
    }
    server.process.expect_error("accepting connections again");
    tell_slowest("100 at the door without descriptors", polite);
    drop(waiting);
    server.await_descriptors(&mut ann, before);
    println!("without descriptors: {before} open before, and after");
}

// Those who are no chat clients

/// What a TLS client sends first (RFC 8446, section 4.1.2), with a list of ciphers.
fn tls_hello(rng: &mut Rng) -> Vec<u8> {
    let mut body = vec![3, 3];
    body.extend((0..32).map(|_| rng.u8(..)));
    body.push(32);
    body.extend((0..32).map(|_| rng.u8(..)));
    body.extend([0, 6, 0x13, 1, 0x13, 2, 0x13, 3, 1, 0, 0, 2, 0, 0x2B]);
    let mut hello = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    hello.extend(body);
    hello
}

#[test]
fn other_protocols_and_random_bytes_harm_nobody() {
    let server = Server::start(&["--handshake", "5"]);
    let mut ann = server.join("ann mode=pull");
    let before = server.process.descriptors().len();
    let start = server.process.kibibytes();
    let polite = polite(&server);
    let mut rng = Rng::with_seed(8255);
    for request in [
        "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "get /chat HTTP/1.0\n\n",
        "POST /x HTTP/1.1\r\nContent-Length: 9\r\n\r\nJOIN eve\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "CONNECT 192.0.2.1:25 HTTP/1.1\r\n\r\n",
        "Host: localhost\r\n",
    ] {
        let mut browser = server.connect();
        browser.send_bytes(request.as_bytes());
        let lines = drain(&mut browser);
        let abuse = lines.iter().any(|line| line.starts_with("BYE abuse "));
        assert!(abuse, "{request:?}: {lines:?}");
    }
    let strangers: Vec<_> = (0..300)
        .map(|n| {
            let mut stranger = server.connect();
            let len = rng.usize(1..8000);
            let bytes = match n % 4 {
                0 => tls_hello(&mut rng),
                // Telnet's commands, begun and never ended among them.
                1 => (0..len)
                    .map(|_| *rng.choice(b"\xFF\xFA\xF0\xFB\xF4\r\n\0x").unwrap())
                    .collect(),
                // Verbs followed by nonsense.
                2 => {
                    let verbs = ["JOIN ", "RESUME ", "POLL ", "SAY ", "WHO ", "idle=", "\n"];
                    let words = (0..len / 8).map(|_| {
                        let verb = rng.choice(verbs).unwrap();
                        format!("{verb}{}", char::from(rng.u8(b' '..127)))
                    });
                    words.collect::<String>().into_bytes()
                }
                _ => (0..len).map(|_| rng.u8(..)).collect(),
            };
            // The server may close the connection before everything is sent.
            let _ = stranger.socket.write_all(&bytes);
            stranger
        })
        .collect();
    ann.expect_service();
    // None of them has got a session, or it has left it like any other.
    ann.expect_nothing(SECOND);
    drop(strangers);
    ann.await_stat("connections", 2);
    tell_slowest("300 who speak other protocols", polite);
    server.await_descriptors(&mut ann, before);
    let ceiling = server.expect_below_ceiling();
    server.await_kibibytes(&mut ann, start + NEARLY);
    let end = server.process.kibibytes();
    println!("300 who speak other protocols: {start}, then {end} KiB; {ceiling}");
}

// All of it at once

#[test]
fn a_thousand_idle_connections_take_little_and_give_it_back() {
    raise_descriptors();
    let server = Server::start_bounded(&[]);
    let mut ann = server.join("ann room=other mode=pull");
    let (start, descriptors) = (
        server.process.kibibytes(),
        server.process.descriptors().len(),
    );
    let mut members: Vec<_> = (0..1000)
        .map(|n| {
            let mut client = from_nth(&server, n / 60);
            client.send(&format!("JOIN member{n} room=room{} idle=3600", n / 50));
            client
        })
        .collect();
    ann.await_stat("sessions-attached", 1001);
    let idle = server.process.kibibytes();
    println!("resident at the start {start} KiB, with 1,000 idle push connections {idle} KiB");
    assert!(idle < start + 1500, "{start} KiB became {idle}");
    for member in &mut members {
        member.send("QUIT");
    }
    drop(members);
    ann.await_stat("sessions", 1);
    server.await_descriptors(&mut ann, descriptors);
    server.await_kibibytes(&mut ann, start + NEARLY);
    println!("with all of them gone {} KiB", server.process.kibibytes());
}

#[test]
fn a_server_at_all_its_limits_stays_below_its_ceiling_and_gives_all_back() {
    const SESSIONS: usize = 4096;
    raise_descriptors();
    // With the default limits, 64 addresses have 64 sessions and 16 connections each. Ann need not
    // join.
    let server = Server::start_bounded(&["--handshake", "3600", "--keep-rooms", "1"]);
    let start = server.process.kibibytes();
    let descriptors = server.process.descriptors().len();
    let mut tokens = Vec::new();
    for n in 0..SESSIONS / 64 {
        let mut gateway = from_nth(&server, n);
        gateway.expect("HELLO ");
        for room in 0..64 {
            let join =
                format!("JOIN member-of-long-name{n:02} room=room{room} mode=pull idle=3600");
            gateway.send(&join);
            gateway.send("DETACH");
        }
        for _ in 0..64 {
            let reply = gateway.expect("OK JOIN ");
            let token = reply.split(' ').find_map(|w| w.strip_prefix("session="));
            tokens.push(token.unwrap().to_owned());
            gateway.expect("OK DETACH");
        }
    }
    let mut ann = from_nth(&server, 100);
    ann.expect("HELLO ");
    ann.await_stat("sessions-detached", SESSIONS as u64);
    ann.await_stat("connections", 1);
    ann.ask("JOIN ann room=room0", "ERR full ");
    let detached = server.process.kibibytes();
    println!("resident at the start {start} KiB, with 4,096 detached pull sessions {detached} KiB");

    // Logs are filled by one connection each, all at once, because of the rate.
    let text = "x".repeat(1000);
    let mut speakers: Vec<_> = tokens
        .iter()
        .take(64)
        .enumerate()
        .map(|(room, token)| {
            let mut speaker = from_nth(&server, 200 + room);
            speaker.send(&format!("RESUME {token}"));
            speaker.send_bytes(format!("SAY {text}\r\n").repeat(70).as_bytes());
            speaker
        })
        .collect();
    for speaker in &mut speakers {
        speaker.expect("HELLO ");
        speaker.expect("OK RESUME ");
        for _ in 0..70 {
            speaker.expect("OK SAY ");
        }
    }
    drop(speakers);
    ann.await_stat("connections", 1);
    assert!(ann.stat("log-bytes") > 64 * 60_000);
    let filled = server.process.kibibytes();

    // And every client asks for more than it reads, and has begun a line.
    let mut takers = Vec::new();
    for n in 0..1023 {
        let mut client = from_nth(&server, n / 16);
        client.socket.set_recv_buffer_size(4096).unwrap();
        let (room, member) = (n % 64, n / 16);
        let mut requests = format!("RESUME {}\r\n", tokens[member * 64 + room]);
        for _ in 0..30 {
            requests.push_str("POLL max=1000 after=0\r\n");
        }
        requests.push_str(&"x".repeat(2040));
        client.send_bytes(requests.as_bytes());
        takers.push(client);
    }
    ann.await_stat("sessions-attached", 1023);
    ann.await_stat("connections", 1024);
    let stuffed = server.process.kibibytes();
    let ceiling = server.expect_below_ceiling();
    println!(
        "with all logs full {filled} KiB, with 1,023 who do not read {stuffed} KiB; {ceiling}"
    );
    let mut refused = from_nth(&server, 101);
    refused.expect("HELLO ");
    refused.expect_bye("full");

    // All connections go, and their sessions expire.
    takers.into_iter().for_each(reset);
    ann.await_stat("connections", 1);
    server.await_descriptors(&mut ann, descriptors + 1);
    let gone = server.process.kibibytes();
    drain_sessions(&server, &tokens);
    ann.await_stat("sessions", 0);
    ann.await_stat("rooms", 0);
    server.await_kibibytes(&mut ann, start + NEARLY);
    let end = server.process.kibibytes();
    println!("with the connections gone {gone} KiB, with the sessions gone {end} KiB");
    println!("all limits: {}", server.expect_below_ceiling());
}

/// Ends those of many sessions that are still there.
fn drain_sessions(server: &Server, tokens: &[String]) {
    for (n, tokens) in tokens.chunks(64).enumerate() {
        let mut gateway = from_nth(server, n);
        gateway.expect("HELLO ");
        for token in tokens {
            gateway.send(&format!("RESUME {token}"));
            gateway.send("LEAVE");
        }
        for _ in tokens {
            let is_there = gateway.expect("").starts_with("OK RESUME ");
            gateway.expect(if is_there { "OK LEAVE" } else { "ERR " });
        }
    }
}

#[test]
fn a_browser_is_sent_away() {
    let server = Server::start(&[]);
    let mut browser = server.connect();
    browser.send_bytes(b"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n");
    browser.expect_bye("abuse");
    // A posted form, whatever its body says.
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
