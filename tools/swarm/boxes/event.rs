//! The events of a room that spans boxes, read by hand.

use crate::line::{number, word};

/// An event with its number.
#[derive(Clone, Copy, Debug)]
pub struct Numbered<'a> {
    pub seq: u64,
    pub event: Event<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Event<'a> {
    /// What a member did, who is one of the box of that name, or one of this box.
    Of {
        at: Option<&'a [u8]>,
        deed: Deed<'a>,
    },
    /// What this box says of another.
    About { at: &'a [u8], sign: Sign },
}

/// What a member did, without the event's number and the box's name: the same on all boxes.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a> {
    pub kind: Kind,
    unix_ms: &'a [u8],
    pub name: &'a [u8],
    /// The text of a message, or the reason of a LEFT.
    pub rest: &'a [u8],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Said,
    Joined,
    Left,
}

/// What a box says of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It is lost.
    Split,
    /// It is there.
    Healed,
    /// Events of its own that cannot be had any more.
    Missed(u64),
}

impl<'a> Numbered<'a> {
    /// Whether a line is an event, as its first word says.
    pub fn is_one(line: &[u8]) -> bool {
        let events: [&[u8]; 6] = [b"MSG", b"JOINED", b"LEFT", b"SPLIT", b"HEALED", b"MISSED"];
        events.contains(&word(line).0)
    }

    /// Reads an event, if it is what its first word promises.
    pub fn parse(line: &'a [u8]) -> Option<Numbered<'a>> {
        let (first, rest) = word(line);
        let (seq, rest) = number(rest)?;
        let (unix_ms, rest) = word(rest);
        number(unix_ms)?;
        let (name, rest) = word(rest);
        let kind = match first {
            b"MSG" => Kind::Said,
            b"JOINED" => Kind::Joined,
            b"LEFT" => Kind::Left,
            _ => {
                let (count, _) = number(rest)?;
                let sign = match first {
                    b"SPLIT" => Sign::Split,
                    b"HEALED" => Sign::Healed,
                    b"MISSED" => Sign::Missed(count),
                    _ => return None,
                };
                let event = Event::About { at: name, sign };
                return Some(Numbered { seq, event });
            }
        };
        let (name, at) = match memchr::memchr(b'@', name) {
            Some(place) => (&name[..place], Some(&name[place + 1..])),
            None => (name, None),
        };
        let deed = Deed {
            kind,
            unix_ms,
            name,
            rest,
        };
        let event = Event::Of { at, deed };
        (!name.is_empty()).then_some(Numbered { seq, event })
    }
}

impl Deed<'_> {
    /// All of it, to compare and to show.
    pub fn bytes(&self) -> Box<[u8]> {
        let kind: &[u8] = match self.kind {
            Kind::Said => b"MSG",
            Kind::Joined => b"JOINED",
            Kind::Left => b"LEFT",
        };
        let words = [kind, self.unix_ms, self.name, self.rest];
        let words = &words[..if self.rest.is_empty() { 3 } else { 4 }];
        words.join(&b' ').into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deed_is_the_same_on_all_boxes() {
        for (here, there) in [
            ("MSG 7 17 ann hi all", "MSG 9 17 ann@attic hi all"),
            ("JOINED 1 17 ann", "JOINED 20 17 ann@attic"),
            ("LEFT 3 17 ann quit", "LEFT 2 17 ann@attic quit"),
        ] {
            let [here, there] = [here, there].map(|line| {
                let numbered = Numbered::parse(line.as_bytes()).unwrap();
                assert!(Numbered::is_one(line.as_bytes()));
                match numbered.event {
                    Event::Of { at, deed } => (at, deed.bytes()),
                    Event::About { .. } => panic!("{line}"),
                }
            });
            assert_eq!(here.0, None);
            assert_eq!(there.0, Some(&b"attic"[..]));
            assert_eq!(here.1, there.1);
        }
    }

    #[test]
    fn signs_are_read_and_nothing_else() {
        let parse = |line: &'static str| Numbered::parse(line.as_bytes());
        for (line, sign) in [
            ("SPLIT 4 17 attic 3", Sign::Split),
            ("HEALED 4 17 attic 0", Sign::Healed),
            ("MISSED 4 17 attic 12", Sign::Missed(12)),
        ] {
            match parse(line).unwrap().event {
                Event::About { at, sign: read } => assert_eq!((at, read), (&b"attic"[..], sign)),
                Event::Of { .. } => panic!("{line}"),
            }
        }
        for line in [
            "SPLIT 4 17 attic",
            "SPLIT 4 17 attic x",
            "MSG 4 x ann hi",
            "MSG x 4 ann hi",
            "MSG 4 17 @attic hi",
            "MSG 4",
            "OK SAY 1",
        ] {
            assert!(parse(line).is_none(), "{line}");
        }
        assert!(!Numbered::is_one(b"LOST 1 2"));
    }
}
