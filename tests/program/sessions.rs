//! Sessions that outlive their connections.

use crate::process::Server;
use crate::steps::wait_for_member;

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
    assert!(reply.contains(" seq=4 members=2 said=1 log="), "{reply}");
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
