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

/// How a person's time begins a line.
const CLOCK: &[u8] = b"00:00 ";

impl<'a> Line<'a> {
    /// Reads a line as the server shows it to a person, to whom the event of number `next` comes next:
    /// people are shown no numbers.
    pub fn parse_shown(line: &'a [u8], next: u64) -> Option<Line<'a>> {
        if let Some(words) = line.strip_prefix(b"-- ") {
            const LOST: &[u8] = b" events were gone before you could get them";
            let lost = words.strip_suffix(LOST).and_then(number);
            return Some(match lost {
                Some((count, [])) => Line::lost_before(next, count),
                _ if words == b"one event was gone before you could get it" => {
                    Line::lost_before(next, 1)
                }
                _ if words.starts_with(b"goodbye") => Line::Bye(words),
                _ if words.starts_with(b"you are ") => Line::Ok(words),
                _ => Line::Other,
            });
        }
        let event = timed(line)?;
        let Some(said) = event.strip_prefix(b"<") else {
            return event
                .starts_with(b"-- ")
                .then_some(Line::Event { seq: next });
        };
        let (name, text) = word(said);
        Some(Line::Message {
            seq: next,
            name: name.strip_suffix(b">")?,
            text,
        })
    }

    fn lost_before(next: u64, count: u64) -> Line<'a> {
        let next = next.saturating_add(count);
        Line::Lost { count, next }
    }
}

/// The name of the member that has come, if that is what a line shows a person.
pub fn came(line: &[u8]) -> Option<&[u8]> {
    timed(line)?.strip_prefix(b"-- ")?.strip_suffix(b" came")
}

/// What stands behind the time in a line that begins with one.
fn timed(line: &[u8]) -> Option<&[u8]> {
    let (clock, event) = line.split_at_checked(CLOCK.len())?;
    let is_clock = clock.iter().zip(CLOCK).all(|(&byte, &shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        _ => byte == shape,
    });
    is_clock.then_some(event)
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
