//! What is particular to each protocol in which events can be asked for. Both servers' replies are
//! lines, and a reply tells early on how many it has.

use crate::adapter::PAYLOAD;

/// A protocol in which events can be asked for.
pub trait Asking {
    /// What is sent first, and how many lines come of it.
    fn open(&self) -> (&'static str, usize);

    /// Adds event number `index`, from 1 on, with [`PAYLOAD`]; and how many lines come of it.
    fn add(&self, index: usize, out: &mut Vec<u8>) -> usize;

    /// Asks for the events that come next, `round` being how often that was done from the first one
    /// on.
    fn ask(&self, round: usize, out: &mut Vec<u8>);

    /// Asks in the cheapest way, with nothing to be given: the reply is one line.
    fn ask_for_nothing(&self) -> &'static [u8];

    /// If a reply of which so many lines have come, the last of which is `line`, tells how many it
    /// has in all and how many events: these.
    fn announced(&self, lines: usize, line: &[u8]) -> Option<(usize, usize)>;
}

/// How `protocol` does that, if it does.
pub fn asking(protocol: &str) -> Option<Box<dyn Asking>> {
    match protocol {
        "chinwag" => Some(Box::new(Chinwag)),
        "resp" => Some(Box::new(Resp)),
        _ => None,
    }
}

struct Chinwag;

impl Asking for Chinwag {
    fn open(&self) -> (&'static str, usize) {
        // Its own JOINED is taken away, so that a log without events has nothing to give.
        let text = "JOIN puller room=r0 mode=pull idle=3600\r\nPOLL\r\n";
        (text, 1 + 1 + 2)
    }

    fn add(&self, _index: usize, out: &mut Vec<u8>) -> usize {
        out.extend_from_slice(b"SAY ");
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
        1
    }

    fn ask(&self, round: usize, out: &mut Vec<u8>) {
        out.extend_from_slice(match round {
            0 => b"POLL after=1\r\n",
            _ => b"POLL\r\n",
        });
    }

    fn ask_for_nothing(&self) -> &'static [u8] {
        b"POLL\r\n"
    }

    fn announced(&self, _lines: usize, line: &[u8]) -> Option<(usize, usize)> {
        let count = number(line.strip_prefix(b"OK POLL ")?)?;
        Some((1 + count, count))
    }
}

struct Resp;

/// How many entries are asked for at once.
const BATCH: usize = 100;

impl Asking for Resp {
    fn open(&self) -> (&'static str, usize) {
        ("PING\r\n", 1)
    }

    fn add(&self, index: usize, out: &mut Vec<u8>) -> usize {
        let id = format!("{index}-0");
        let head = "*5\r\n$4\r\nXADD\r\n$1\r\ns\r\n";
        let text = format!("{head}${}\r\n{id}\r\n$1\r\nm\r\n$64\r\n", id.len());
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(PAYLOAD);
        out.extend_from_slice(b"\r\n");
        2
    }

    fn ask(&self, round: usize, out: &mut Vec<u8>) {
        let id = format!("{}-0", round * BATCH);
        let head = "*6\r\n$5\r\nXREAD\r\n$5\r\nCOUNT\r\n$3\r\n100\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n";
        out.extend_from_slice(format!("{head}${}\r\n{id}\r\n", id.len()).as_bytes());
    }

    fn ask_for_nothing(&self) -> &'static [u8] {
        b"*1\r\n$4\r\nPING\r\n"
    }

    fn announced(&self, lines: usize, line: &[u8]) -> Option<(usize, usize)> {
        // One stream: its name's length and its name, how many entries; and eight lines for each.
        match lines {
            5 => number(line.strip_prefix(b"*")?).map(|count| (5 + 8 * count, count)),
            _ => None,
        }
    }
}

fn number(text: &[u8]) -> Option<usize> {
    let digits = text.split(|byte| !byte.is_ascii_digit()).next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
