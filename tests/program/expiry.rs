//! Time as it passes: warnings, idle times, and a server that was stopped.

use crate::process::{Client, Server, Watch};
use crate::steps::{SECOND, wait_for_member};

#[test]
fn a_silent_session_is_warned_and_expires() {
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut ann = server.connect();
    let watch = Watch::start();
    // A server that wakes up two seconds late says only goodbye.
    ann.join("ann idle=6");
    ann.expect("EXPIRING ");
    assert!(watch.elapsed() >= 4 * SECOND, "{:?}", watch.elapsed());
    ann.expect_bye("expired");
    assert!(watch.elapsed() >= 6 * SECOND, "{:?}", watch.elapsed());
    bob.expect_event("JOINED", "ann");
    bob.expect_event("LEFT", "ann expired");
}

#[test]
fn a_session_that_answers_each_warning_stays() {
    let server = Server::start(&[]);
    // The client has three seconds to answer.
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
fn a_client_that_sends_nothing_gets_a_hint_and_keeps_its_time() {
    let server = Server::start(&["--handshake", "5"]);
    let watch = Watch::start();
    let mut silent = server.connect();
    // The server may be late, and then less is left.
    assert!(silent.expect_hint() <= 2);
    assert!(watch.elapsed() >= 3 * SECOND, "{:?}", watch.elapsed());
    silent.expect_bye("handshake");
    assert!(watch.elapsed() >= 5 * SECOND, "{:?}", watch.elapsed());
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
    // By now the server has nothing left to do.
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
        // Pull sessions are not warned, so nothing but the answers comes.
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
    // A silent session gets no extra time because the server was stopped.
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
    // Others that came first wait to be accepted as well, fewer than older systems let wait.
    let others = [(); 100].map(|()| Client::connect(server.address()));
    let mut ann = Client::connect(server.address());
    ann.send(&format!("RESUME {token}"));
    ann.expect_nothing(6 * SECOND);
    server.process.go_on();
    ann.expect("HELLO ");
    ann.expect("OK RESUME name=ann ");
    for mut other in others {
        other.expect("HELLO ");
    }
}
