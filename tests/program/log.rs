//! What the log says, and what it never says.

use crate::process::{
    Client, Process, Server, TempDir, Watch, has_ipv6, program, program_within, unix,
};

/// Connects to a server whose log does not say when it listens.
fn connect_once_it_listens(address: &str) -> Client {
    let watch = Watch::start();
    loop {
        match Client::try_connect(address) {
            Ok(mut client) => {
                client.expect("HELLO ");
                return client;
            }
            Err(error) => assert!(!watch.is_over(), "{error}"),
        }
    }
}

#[test]
fn a_quiet_server_logs_nothing() {
    let dir = TempDir::new();
    let address = unix(&dir.join("chat"));
    let mut command = program();
    command.args(["-q", "--listen", &address]);
    command.env("RUST_LOG", "debug");
    let process = Process::start(&mut command);
    let mut client = connect_once_it_listens(&address);
    client.join("ann");
    process.signal("TERM");
    client.expect_bye("shutdown");
    assert_eq!(process.finish().err, "");
}

#[test]
fn sessions_are_logged_if_asked_for_and_tokens_never() {
    let log_of = |args: &[&str], level: Option<&str>| {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]).args(args);
        if let Some(level) = level {
            command.env("RUST_LOG", level);
        }
        let server = Server::start_as(&mut command);
        let mut client = server.connect();
        let own = client.socket.local_addr().unwrap().as_socket().unwrap();
        let token = client.join("ann");
        client.ask("DETACH", "OK DETACH");
        client.ask(&format!("RESUME {token}"), "OK RESUME ");
        client.ask("QUIT", "OK QUIT");
        client.expect_bye("quit");
        server.process.signal("TERM");
        let log = server.process.finish().err;
        assert!(!log.contains(&token), "{log}");
        (log, own)
    };
    for (args, level, shown) in [
        (&[][..], None, false),
        (&["-v"], None, true),
        (&["-v"], Some("info"), true),
        (&[], Some("debug"), true),
        (&[], Some("trace"), true),
    ] {
        let (log, own) = log_of(args, level);
        let joined = format!(" DEBUG ann joined lobby from {own}\n");
        for line in [&joined, " DEBUG ann left lobby: quit\n"] {
            assert_eq!(log.contains(line), shown, "{log}");
        }
    }
}

#[test]
fn joins_and_refusals_are_logged_with_the_whole_ipv6_address() {
    if !has_ipv6() {
        return;
    }
    let mut server = Server::start_as(program().args(["-v", "--listen", "[::1]:0"]));
    let mut client = server.connect();
    let own = client.socket.local_addr().unwrap().as_socket().unwrap();
    client.join("ann");
    server
        .process
        .expect_error(&format!(" DEBUG ann joined lobby from {own}\n"));
    server.connect().send("GET / HTTP/1.1");
    server.process.expect_error(" WARN refused ::1: ");
}

#[test]
fn a_log_that_cannot_be_written_stops_nothing() {
    let dir = TempDir::new();
    let address = unix(&dir.join("chat"));
    let mut command = program_within(r#"exec "$@" 2>/dev/full"#);
    let process = Process::start(command.args(["-v", "--listen", &address]));
    let mut client = connect_once_it_listens(&address);
    client.join("ann");
    client.ask("SAY hello", "OK SAY 2 ");
    process.signal("TERM");
    assert_eq!(process.finish().code, Some(0));
}
