//! Recognizes what a program sends when a web page, a mail or a URL has led it to this server.

use super::verb::find;

/// Whether a line can only belong to HTTP, or to another protocol that a URL can start. That is one
/// of these:
///
/// - a Host field;
/// - a request line: three words, the first of which is not a verb of chinwag, and the last a
///   protocol with its version. Single spaces separate them (RFC 9112, section 3); here any white
///   space does, since programs get that wrong. HTTP/2 begins with such a line as well, for servers
///   that do not speak it (RFC 9113, section 3.4);
/// - the first line that curl sends for a DICT URL (RFC 2229). The URL chooses the line after it.
pub fn is_http(line: &[u8]) -> bool {
    const HOST: &[u8] = b"host:";
    let is_host =
        |line: &[u8]| line.len() >= HOST.len() && line[..HOST.len()].eq_ignore_ascii_case(HOST);
    match line.first() {
        Some(b'H' | b'h') if is_host(line) => return true,
        Some(b'C') if line.starts_with(b"CLIENT libcurl ") => return true,
        _ => {}
    }
    // Most lines do not end in a version, and need no closer look.
    matches!(line.last(), Some(b'0'..=b'9' | b'.' | b' ' | b'\t')) && is_request_line(line)
}

fn is_request_line(line: &[u8]) -> bool {
    let mut words = line.trim_ascii_end().rsplit(u8::is_ascii_whitespace);
    if !words.next().is_some_and(is_version) {
        return false;
    }
    let mut words = words.filter(|word| !word.is_empty());
    let (Some(_target), Some(method), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    !std::str::from_utf8(method).is_ok_and(|word| find(word).is_some())
}

/// Whether a word is a protocol and its version. URLs also lead to the request lines of RTSP (RFC
/// 2326) and SIP (RFC 3261).
fn is_version(word: &[u8]) -> bool {
    let number = [&b"HTTP/"[..], b"RTSP/", b"SIP/"]
        .into_iter()
        .find_map(|name| word.strip_prefix(name));
    number.is_some_and(|number| {
        number.first().is_some_and(u8::is_ascii_digit)
            && number
                .iter()
                .all(|byte| byte.is_ascii_digit() || *byte == b'.')
    })
}

#[cfg(test)]
mod tests {
    use crate::protocol::request::tests::{command, error, read};
    use crate::protocol::{Abuse, Code, Command, Limits, Request};

    #[test]
    fn a_line_that_can_only_be_http_is_recognized() {
        for line in [
            &b"GET / HTTP/1.1"[..],
            b"GET / HTTP/1.0",
            b"POST /say?x=y HTTP/1.1",
            b"OPTIONS * HTTP/1.1",
            b"CONNECT localhost:8255 HTTP/1.1",
            b"GET /\xff\0 HTTP/1.1",
            b"PRI * HTTP/2.0",
            b"GET / HTTP/2",
            b"GET / HTTP/0.9",
            b"GET / HTTP/3",
            b"GET / HTTP/1.1 ",
            b" GET \t/  HTTP/10.12",
            b"OPTIONS rtsp://localhost:8255/ RTSP/1.0",
            b"REGISTER sip:localhost:8255 SIP/2.0",
            b"CLIENT libcurl 7.88.1",
            b"Host: localhost:8255",
            b"host:localhost",
            b"HOST:",
        ] {
            let request = Request::read(line, &Limits::default());
            let http = Request::Abuse(Abuse::Http);
            assert_eq!(request, http, "{}", line.escape_ascii());
        }
        for line in [
            "GET /",
            "GET / HTTP/",
            "GET / HTTP/x",
            "GET / HTTP/1.x",
            "GET / HTTPS/1",
            "meet at room/2",
            "is this HTTP",
            "GET HTTP/1.1",
            "CLIENT libcurl",
            "Host",
            "Hosts: a",
            "Accept: */*",
            "HTTP/1.1",
        ] {
            assert_eq!(error(line.as_bytes()), Code::BadCommand, "{line:?}");
        }
    }

    #[test]
    fn a_line_with_a_verb_is_not_http_whatever_it_says() {
        for (line, text) in [
            ("SAY hello HTTP/1.1", "hello HTTP/1.1"),
            ("say / HTTP/1.0", "/ HTTP/1.0"),
            ("SAY GET / HTTP/1.1", "GET / HTTP/1.1"),
            ("SAY Host: me", "Host: me"),
            ("  SAY HTTP/1.1", "HTTP/1.1"),
            (" SAY HTTP/1.1", "HTTP/1.1"),
        ] {
            assert_eq!(read(line), Request::Command(Command::Say(text)), "{line:?}");
        }
        assert_eq!(command("PING a HTTP/1.0"), Command::Ping("a HTTP/1.0"));
        assert_eq!(error(b"JOIN ann HTTP/1.1"), Code::BadArgument);
    }
}
