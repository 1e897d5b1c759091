//! The topics of the link: `<prefix>/<box>/e/<room>` and others. All names in them are in small letters,
//! since brokers tell capital letters from small ones.

use std::fmt;

use crate::protocol::Name;

/// What every topic of a link begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(String);

impl Prefix {
    /// The longest prefix, in bytes.
    pub const BYTES_MAX: usize = 64;

    /// Reads a word as a prefix.
    ///
    /// # Errors
    ///
    /// If it is none. The text says what one is.
    pub fn parse(word: &str) -> Result<Prefix, &'static str> {
        let is_level = |level: &str| {
            let is_permitted = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            !level.is_empty() && level.bytes().all(is_permitted)
        };
        match word.len() <= Self::BYTES_MAX && word.split('/').all(is_level) {
            true => Ok(Prefix(word.to_owned())),
            false => Err("a prefix is 1 to 64 of A-Z a-z 0-9 _ - with single / in between"),
        }
    }

    /// The prefix as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Prefix {
    fn default() -> Self {
        Prefix("chinwag".to_owned())
    }
}

/// What a box's topic is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Topic {
    /// What happens on the box in a room.
    Events {
        /// The room.
        room: Name,
    },
    /// What the box says about its part of a room.
    Digests {
        /// The room.
        room: Name,
    },
    /// The box says that its name is taken.
    Here,
    /// The box is gone.
    Gone,
    /// What others want from the box.
    Wants,
}

/// The topic without the prefix and the box.
impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Topic::Events { room } => write!(f, "e/{}", small(*room)),
            Topic::Digests { room } => write!(f, "d/{}", small(*room)),
            Topic::Here => f.write_str("here"),
            Topic::Gone => f.write_str("gone"),
            Topic::Wants => f.write_str("w"),
        }
    }
}

/// Reads a topic, and the name of its box.
pub fn read(prefix: &Prefix, topic: &str) -> Option<(Name, Topic)> {
    let rest = topic.strip_prefix(prefix.as_str())?.strip_prefix('/')?;
    let (name, rest) = rest.split_once('/')?;
    let topic = match rest.split_once('/') {
        Some(("e", room)) => Topic::Events {
            room: parse_small(room)?,
        },
        Some(("d", room)) => Topic::Digests {
            room: parse_small(room)?,
        },
        None if rest == "here" => Topic::Here,
        None if rest == "gone" => Topic::Gone,
        None if rest == "w" => Topic::Wants,
        _ => return None,
    };
    Some((parse_small(name)?, topic))
}

/// A topic of a box, as it is written.
#[derive(Clone, Copy, Debug)]
pub struct TopicOf<'a> {
    /// What all topics of the link begin with.
    pub prefix: &'a Prefix,
    /// The name of the box.
    pub name: Name,
    /// What the topic is for.
    pub topic: Topic,
}

impl fmt::Display for TopicOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let TopicOf {
            prefix: Prefix(prefix),
            name,
            topic,
        } = self;
        write!(f, "{prefix}/{}/{topic}", small(*name))
    }
}

/// The filter that the topics of all boxes match.
pub fn filter(prefix: &Prefix, topic: Topic) -> String {
    format!("{}/+/{topic}", prefix.as_str())
}

/// A name in small letters.
fn small(name: Name) -> Name {
    name.folded().to_name()
}

/// Reads a word as a name without capital letters.
fn parse_small(word: &str) -> Option<Name> {
    Name::parse(word).filter(|&name| small(name) == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(word: &str) -> Name {
        Name::parse(word).unwrap()
    }

    #[test]
    fn a_prefix_is_one_to_64_letters_digits_underscores_hyphens_and_single_slashes() {
        let (longest, too_long) = ("a".repeat(64), "a".repeat(65));
        for good in ["chinwag", "a", "Z", "-", "_/9", "a/b/c", &longest] {
            assert_eq!(Prefix::parse(good).map(|p| p.0), Ok(good.to_owned()));
        }
        for bad in [
            "", "/", "a/", "/a", "a//b", "a b", "+", "a/#", "$SYS", "a.b", "é", "a\0", &too_long,
        ] {
            assert!(Prefix::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn topics_are_read_as_they_are_written() {
        let prefix = Prefix::parse("home/chat").unwrap();
        let room = name("kitchen");
        for (topic, expected) in [
            (Topic::Events { room }, "e/kitchen"),
            (Topic::Digests { room }, "d/kitchen"),
            (Topic::Here, "here"),
            (Topic::Gone, "gone"),
            (Topic::Wants, "w"),
        ] {
            let of_attic = TopicOf {
                prefix: &prefix,
                name: name("attic-2"),
                topic,
            };
            let text = of_attic.to_string();
            assert_eq!(text, format!("home/chat/attic-2/{expected}"));
            assert_eq!(read(&prefix, &text), Some((name("attic-2"), topic)));
            assert_eq!(filter(&prefix, topic), format!("home/chat/+/{expected}"));
        }
    }

    #[test]
    fn names_are_written_in_small_letters_and_read_only_so() {
        let prefix = Prefix::parse("C").unwrap();
        let topic = TopicOf {
            prefix: &prefix,
            name: name("Attic"),
            topic: Topic::Events {
                room: name("Kitchen_2"),
            },
        };
        assert_eq!(topic.to_string(), "C/attic/e/kitchen_2");
        let expected = Topic::Events {
            room: name("kitchen_2"),
        };
        assert_eq!(
            read(&prefix, "C/attic/e/kitchen_2"),
            Some((name("attic"), expected))
        );
        for bad in ["C/Attic/w", "C/attic/e/kitcheN_2", "c/attic/w"] {
            assert_eq!(read(&prefix, bad), None, "{bad}");
        }
    }

    #[test]
    fn other_topics_are_not_read() {
        let prefix = Prefix::parse("c").unwrap();
        let long = "a".repeat(25);
        for bad in [
            "",
            "c",
            "c/",
            "c/attic",
            "c/attic/",
            "c//w",
            "cc/attic/w",
            "/c/attic/w",
            "c/attic/w/",
            "c/attic/W",
            "c/attic/e",
            "c/attic/e/",
            "c/attic/e/kitchen/",
            "c/attic/e/kitchen/w",
            "c/attic/x/kitchen",
            "c/attic/e/+",
            "c/+/w",
            "c/_attic/w",
            "c/attic/w\0",
            &format!("c/{long}/w"),
            &format!("c/attic/d/{long}"),
        ] {
            assert_eq!(read(&prefix, bad), None, "{bad:?}");
        }
    }
}
