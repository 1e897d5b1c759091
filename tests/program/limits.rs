//! How many connections, sessions and rooms there may be, in all and from one address.

use crate::process::{Client, Server, TempDir, has_ipv6, unix};
use crate::steps::expect_full;

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
    // A session counts, attached or not.
    ann.ask("DETACH", "OK DETACH");
    eve.ask("JOIN eve", "ERR full ");
    eve.ask("JOIN eve room=other", "ERR full ");
    assert_eq!(eve.stat("sessions"), 2);
    assert_eq!(eve.stat("refused-sessions"), 2);
    // Those that have one keep it.
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
    // Rooms that exist can be entered.
    eve.join("eve room=TWO");
    bob.expect_event("JOINED", "eve");
    ann.ask("QUIT", "OK QUIT");
    server.join("ann room=three").expect_service();
    assert_eq!(bob.stat("rooms"), 2);
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
    // A session counts for the address that created it, whoever holds it at the end.
    local.ask(&format!("RESUME {}", tokens[0]), "OK RESUME name=ann ");
    gateway.ask("JOIN fay", "ERR full ");
    local.ask("LEAVE", "OK LEAVE");
    gateway.join("fay mode=pull");
}
