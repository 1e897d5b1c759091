//! A later version of the server: what it could say that this one does not.
//!
//! It adds to the lines of a real server, at every place where PROTOCOL.md lets a later version
//! add: words `key=value`, words at the end of HELLO, whole lines, and unknown events within the
//! lines of a POLL.

/// Words that a client may know by another name. Each line gets each of them once at most.
const WORDS: [&str; 8] = [
    "x-session=none",
    "x-seq=0",
    "last-x=0",
    "x-last=0",
    "x-more=9",
    "idle-x=0",
    "x-log=none",
    "colour=a=b",
];

/// Lines whose first word most clients do not know, though it or the second may look like a known one.
const LINES: [&str; 12] = [
    "NOTICE hello",
    "SPLIT 4 1763800000000 attic 2",
    "X-FUTURE",
    "NOTICE session-ended means nothing here",
    "NOTICE full moon tonight",
    "LOST-AND-FOUND 3 9",
    "OKAY JOIN x-session=none",
    "MSGS 1 2 3",
    "NOTICE shutdown at noon",
    "ERRATA 5 replaced",
    "BYE-LAWS abuse",
    "HEALED 5 1763800000000 attic",
];

/// What the server says to a connection that has said nothing for a while.
const HINT: &str = "EXPIRING 57 type TALK and your name to chat, or HELP";

/// One connection of that server.
#[derive(Default)]
pub struct Later {
    /// The beginning of a line whose end has not arrived yet.
    rest: Vec<u8>,
    /// How many lines of a body are still to come.
    body: usize,
    /// How many words and lines it has added, so that each place gets other ones.
    added: usize,
}

impl Later {
    /// Adds to what the server sends; keeps back a line without an end.
    pub fn add_to(&mut self, bytes: &[u8]) -> Vec<u8> {
        self.rest.extend_from_slice(bytes);
        let mut out = String::new();
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<_> = self.rest.drain(..=end).collect();
            let line = String::from_utf8(line).expect("the server sends UTF-8");
            self.add_line(line.trim_end_matches("\r\n"), &mut out);
        }
        out.into_bytes()
    }

    fn add_line(&mut self, line: &str, out: &mut String) {
        let words: Vec<_> = line.split(' ').collect();
        let mut push = |line: &str| *out += &format!("{line}\r\n");
        match words[..] {
            _ if self.body > 0 => {
                self.body -= 1;
                // It has been counted in the first line of the reply.
                push(self.line());
                push(line);
            }
            ["HELLO", ..] => {
                push(&format!("{line} colour=blue and more"));
                push(HINT);
            }
            ["OK", "POLL", count, ..] => {
                self.body = count.parse().unwrap();
                let twice = (2 * self.body).max(1).to_string();
                let line = line.replacen(count, &twice, 1);
                push(self.line());
                push(&self.with_words(&line));
                if self.body == 0 {
                    push(self.line());
                }
            }
            ["OK", ..] => {
                push(self.line());
                push(&self.with_words(line));
            }
            _ => {
                push(self.line());
                push(line);
            }
        }
    }

    fn line(&mut self) -> &'static str {
        self.added += 1;
        LINES[self.added % LINES.len()]
    }

    /// A line with others between all its words `key=value`, and around them, if it has such words.
    fn with_words(&mut self, line: &str) -> String {
        self.added += 1;
        let mut words = (0..)
            .map(|n| WORDS[(self.added + n) % WORDS.len()])
            .take(WORDS.len());
        let (before, after): (Vec<_>, Vec<_>) =
            line.split(' ').partition(|word| !word.contains('='));
        let mut with = before;
        if after.is_empty() {
            return line.to_owned();
        }
        for word in after {
            with.extend(words.next());
            with.push(word);
        }
        with.extend(words);
        with.join(" ")
    }
}
