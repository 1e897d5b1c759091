//! Telnet's commands and urgent marks.

use crate::process::{Client, Server};

#[test]
fn telnet_options_are_refused() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // WILL terminal type, DO echo, a WONT and a DONT, which get no answer, and a subnegotiation.
    client.send_bytes(b"PI\xff\xfb\x18NG \xff\xfd\x01a\xff\xfc\x22\xff\xfe\x22");
    client.send_bytes(b"\xff\xfa\x18\x00vt100\n\xff\xf0b\r\n");
    client.expect_bytes(b"\xff\xfe\x18\xff\xfc\x01");
    client.expect("OK PING ab");
}

#[test]
fn telnets_interrupt_drops_the_line_and_its_urgent_mark_is_taken_out() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    // As telnet sends it: IAC IP, IAC DO TIMING-MARK, and a synch, whose DM is urgent.
    client.send_bytes(b"PING lost\xff\xf4\xff\xfd\x06\xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    client.expect_bytes(b"\xff\xfc\x06");
    client.ask("PING kept", "OK PING kept");
}

#[test]
fn what_waits_behind_an_urgent_mark_is_read_without_waiting_for_more() {
    let server = Server::start(&[]);
    let mut client = server.connect();
    server.process.pause();
    client.send_bytes(b"PING before\r\n\xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    client.send_bytes(b"PING behind\r\n");
    server.process.go_on();
    client.expect("OK PING before");
    client.expect("OK PING behind");
}

#[test]
fn an_urgent_mark_that_comes_before_the_connection_is_accepted_is_taken_out() {
    let server = Server::start(&[]);
    server.process.pause();
    let mut client = Client::connect(server.address());
    client.send_bytes(b"PING \xff");
    client.socket.send_out_of_band(b"\xf2").unwrap();
    server.process.go_on();
    client.expect("HELLO ");
    client.send_bytes(b"a\r\n");
    client.expect("OK PING a");
}
