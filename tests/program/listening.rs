//! Addresses to listen on, and what happens when accepting fails.

use std::fs;
use std::net::TcpListener;

use crate::process::{self, Client, Process, Server, TempDir, has_ipv6, program, unix};
use crate::steps::{failing, try_to_listen};
use crate::terminals::free_port;

#[test]
fn it_listens_on_all_addresses_and_logs_a_line_for_each() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let mut addresses = vec!["127.0.0.1:0", &on_unix];
    if has_ipv6() {
        addresses.push("[::1]:0");
    }
    let mut command = program();
    for address in &addresses {
        command.args(["--listen", address]);
    }
    let server = Server::start_as(&mut command);

    for ((asked, address), line) in addresses
        .iter()
        .zip(&server.addresses)
        .zip(&server.greetings)
    {
        let host = asked.strip_suffix(":0").unwrap_or(asked);
        assert!(address.starts_with(host), "{address} for {asked}");
        assert!(!address.ends_with(":0"), "{address}");
        let words: Vec<_> = line.trim_end().split(' ').collect();
        assert!(words[0].ends_with('Z'), "a time in UTC: {line}");
        assert_eq!(words[1..], ["INFO", "listening", "on", address]);
        Client::greeted(address).expect_service();
    }

    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert_eq!(log.matches("listening on").count(), addresses.len());
}

#[test]
fn a_port_in_use_is_refused_by_name_and_leaves_no_socket_file_behind() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let port = free_port();
    let address = format!("127.0.0.1:{port}");
    let other = TcpListener::bind(&address).unwrap();
    let mut command = program();
    command.args(["--listen", &unix(&path), "--listen", &address]);
    let finished = Process::start(&mut command).finish();
    finished.expect_refusal(1, &[&address, "choose another port"]);
    assert!(!path.exists());
    // The server itself may have the port already, for another of its addresses.
    drop(other);
    let (all, one) = (format!("0.0.0.0:{port}"), format!("127.0.0.1:{port}"));
    let mut command = program();
    command.args(["--open", "--listen", &all, "--listen", &one]);
    let finished = Process::start(&mut command).finish();
    finished.expect_refusal(1, &[&format!("on {one}: "), "or another --listen"]);
}

#[test]
fn an_address_that_no_interface_has_yet_is_listened_on_with_a_warning() {
    let mut addresses = vec!["203.0.113.1"];
    match has_ipv6() {
        true => addresses.extend(["[2001:db8::1]", "[fe80::1234%lo]"]),
        false => process::skip("without IPv6, which this machine does not have"),
    }
    // RFC 5737 and RFC 3849 reserve these addresses for documents.
    for address in addresses {
        let server =
            Server::start_as(program().args(["--open", "--listen", &format!("{address}:0")]));
        assert!(
            server.address().starts_with(address),
            "{}",
            server.address()
        );
        assert!(!server.address().ends_with(":0"));
        server.process.signal("TERM");
        let log = server.process.finish().err;
        let warning = format!(" WARN no interface of this machine has the address of {address}:0;");
        assert!(log.contains(&warning), "{log}");
    }
    let server = Server::start(&[]);
    server.process.signal("TERM");
    assert!(!server.process.finish().err.contains("WARN"));
}

#[test]
fn an_address_of_a_link_is_listened_on_by_its_interfaces_name_or_number() {
    if !has_ipv6() {
        return process::skip("without IPv6, which this machine does not have");
    }
    let number = fs::read_to_string("/sys/class/net/lo/ifindex").unwrap();
    for interface in ["lo", number.trim_end()] {
        let host = format!("[fe80::1%{interface}]");
        let server = Server::start_as(program().args(["--open", "--listen", &format!("{host}:0")]));
        let address = server.address();
        assert!(address.starts_with(&format!("{host}:")), "{address}");
    }
    let finished = try_to_listen("[fe80::1%no-such0]:8255");
    finished.expect_refusal(1, &["[fe80::1%no-such0]:8255", "no interface no-such0 now"]);
    let finished = try_to_listen("[fe80::1%2147483647]:8255");
    finished.expect_refusal(
        1,
        &["[fe80::1%2147483647]:8255", "no interface with that number"],
    );
}

/// A server for which the system fails some calls of accept(2).
fn start_with_failing_accept(errors: &str) -> Option<Server> {
    let mut command = failing("accept4", errors)?;
    Some(Server::start_as(command.args(["--listen", "127.0.0.1:0"])))
}

#[test]
fn an_error_of_one_connection_keeps_no_other_waiting() {
    let Some(server) = start_with_failing_accept("error=EPROTO:when=1") else {
        return;
    };
    server.connect().expect_service();
    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert!(!log.contains("cannot accept"), "{log}");
}

#[test]
fn a_listener_that_has_nothing_but_errors_is_tried_each_second_and_no_more() {
    for error in ["EPERM", "EFAULT"] {
        // The attempts of the first second fail, the next succeed. (After EINVAL musl would try
        // again.)
        let attempts = if error == "EPERM" { 256 } else { 1 };
        let Some(mut server) =
            start_with_failing_accept(&format!("error={error}:when=1..{attempts}"))
        else {
            return;
        };
        let mut client = Client::connect(server.address());
        server
            .process
            .expect_error("cannot accept connections on 127.0.0.1:");
        client.expect("HELLO ");
        client.expect_service();
        server.process.signal("TERM");
        let log = server.process.finish().err;
        assert_eq!(log.matches("cannot accept").count(), 1, "{log}");
    }
}
