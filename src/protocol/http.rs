//! What a browser sends that a web page has set on this server.

use super::command::find;

/// Whether a line can only be HTTP's: a request line of three words whose first is none of our
/// verbs, or a Host field. Browsers write these with single spaces and none before (RFC 9112,
/// sections 3 and 5); whatever writes them otherwise is told that it is no command.
pub fn is_http(line: &[u8]) -> bool {
    const HOST: &[u8] = b"host:";
    if line.len() >= HOST.len() && line[..HOST.len()].eq_ignore_ascii_case(HOST) {
        return true;
    }
    let [
        request @ ..,
        b' ',
        b'H',
        b'T',
        b'T',
        b'P',
        b'/',
        b'1',
        b'.',
        b'0'..=b'9',
    ] = line
    else {
        return false;
    };
    let mut words = request.trim_ascii_start().split(|&b| b == b' ');
    let (Some(method), Some(_target), None) = (words.next(), words.next(), words.next()) else {
        return false;
    };
    !std::str::from_utf8(method).is_ok_and(|word| find(word).is_some())
}
