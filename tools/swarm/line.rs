//! The server's lines, read by hand: what is not looked at is not read.

/// A line, without its end.
#[derive(Debug)]
pub enum Line<'a> {
    /// `MSG <seq> <unix-ms> <name> <text>`
    Message {
        seq: u64,
        name: &'a [u8],
        text: &'a [u8],
    },
    /// `JOINED <seq> ...` or `LEFT <seq> ...`
    Event { seq: u64 },
    /// `LOST <count> <next>`
    Lost { count: u64, next: u64 },
    /// `OK <verb> ...`; all behind the OK.
    Ok(&'a [u8]),
    /// `ERR <code> <text>`; all behind the ERR.
    Err(&'a [u8]),
    /// `BYE <reason> <text>`; all behind the BYE.
    Bye(&'a [u8]),
    /// `HELLO ...`
    Hello,
    /// A word that is not known here, which the protocol says to pass over.
    Other,
}

impl<'a> Line<'a> {
    /// Reads a line, if it is what its first word promises.
    pub fn parse(line: &'a [u8]) -> Option<Line<'a>> {
        let (first, rest) = word(line);
        Some(match first {
            b"MSG" => {
                let (seq, rest) = number(rest)?;
                let (_unix_ms, rest) = word(rest);
                let (name, text) = word(rest);
                Line::Message { seq, name, text }
            }
            b"JOINED" | b"LEFT" => Line::Event {
                seq: number(rest)?.0,
            },
            b"LOST" => {
                let (count, rest) = number(rest)?;
                let (next, _) = number(rest)?;
                Line::Lost { count, next }
            }
            b"OK" => Line::Ok(rest),
            b"ERR" => Line::Err(rest),
            b"BYE" => Line::Bye(rest),
            b"HELLO" => Line::Hello,
            _ => Line::Other,
        })
    }
}

/// The bytes up to the next space, and those behind it.
pub fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b' ', bytes) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

/// The number up to the next space, and what is behind that.
pub fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (digits, rest) = word(bytes);
    // A sign is none of the digits.
    digits.first().filter(|byte| byte.is_ascii_digit())?;
    let number = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some((number, rest))
}

/// The value behind `key`, an equals sign included, among words.
pub fn field<'a>(words: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    words
        .split(|&b| b == b' ')
        .find_map(|word| word.strip_prefix(key))
}

/// The number behind `key`.
pub fn field_number(words: &[u8], key: &[u8]) -> Option<u64> {
    number(field(words, key)?).map(|(number, _)| number)
}

/// Bytes for people.
pub fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
