//! The table of options. Everything about an option is in its row.
//!
//! The parser, `--help` and the errors are made from this table, and tests compare README.md,
//! PROTOCOL.md, the manual page and OpenWrt's files with it. (ripgrep defines its flags in one
//! place in the same way.)

use std::path::PathBuf;

use super::value::{Number, Unit};
use super::{LogForm, Options, Verbosity};
use crate::link::Prefix;
use crate::net::address::Address;
use crate::protocol::{IDLE_MIN_S, Name, OPERATORS_MAX};

/// The longest time that an option can set, in seconds: a year.
const TIME_MAX_S: u64 = 365 * 24 * 3600;
/// The highest limit on sessions, and on anything that comes with them: there are enough session
/// keys for that many, with some to spare.
const SESSIONS_MAX: u64 = 1 << 30;

/// An option.
#[derive(Debug)]
pub struct Row {
    /// The letter of its short form, if it has one.
    pub letter: Option<char>,
    /// Its name, without the dashes.
    pub name: &'static str,
    /// What its value is, and what the option does with it.
    pub kind: Kind,
    /// What it is for.
    pub help: &'static str,
}

/// What an option's value is, and what the option does with it.
#[derive(Debug)]
pub enum Kind {
    /// A number.
    Number(Number),
    /// Something else.
    Text {
        /// The word for the value in `--help`.
        placeholder: &'static str,
        /// Whether the option may be given several times.
        is_list: bool,
        /// Reads and stores a value; the error is a text for people.
        store: fn(&mut Options, &str) -> Result<(), String>,
        /// Shows what is in force with these options.
        show: fn(&Options) -> Option<String>,
    },
    /// The option has no value; giving it does this.
    Switch(fn(&mut Options)),
    /// The option says what to do instead of running the server. [`super::parse()`] does it.
    Action {
        /// The word for the value in `--help`; empty if there is none.
        placeholder: &'static str,
    },
}

impl Row {
    /// The word for the value in `--help`; empty if the option takes none.
    pub fn placeholder(&self) -> &'static str {
        match &self.kind {
            Kind::Number(number) => number.unit.placeholder(),
            Kind::Text { placeholder, .. } | Kind::Action { placeholder } => placeholder,
            Kind::Switch(_) => "",
        }
    }

    /// What is in force without the option, if `--help` is to say so.
    pub fn default(&self) -> Option<String> {
        match &self.kind {
            Kind::Number(number) => number.default(),
            Kind::Text { show, .. } => show(&Options::default()),
            Kind::Switch(_) | Kind::Action { .. } => None,
        }
    }
}

/// All options, in the order of `--help`.
pub const OPTIONS: &[Row] = &[
    Row {
        letter: Some('l'),
        name: "listen",
        kind: Kind::Text {
            placeholder: "ADDR",
            is_list: true,
            store: add_address,
            show: |options| Some(options.addresses(false)[0].to_string()),
        },
        help: "listen on IP:PORT, [IPv6]:PORT or unix:/path; may be given several times",
    },
    Row {
        letter: None,
        name: "admin",
        kind: Kind::Text {
            placeholder: "ADDR",
            is_list: false,
            store: set_admin,
            show: |options| Some(options.admin.as_ref()?.to_string()),
        },
        help: "serve the operator, even when all else is full, on this socket: unix:/path",
    },
    Row {
        letter: Some('i'),
        name: "idle",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: IDLE_MIN_S as u64..=TIME_MAX_S,
            field: |options| &mut options.limits.idle_s,
        }),
        help: "idle time of sessions that do not ask for one",
    },
    Row {
        letter: None,
        name: "max-idle",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: IDLE_MIN_S as u64..=TIME_MAX_S,
            field: |options| &mut options.limits.idle_max_s,
        }),
        help: "the longest idle time that sessions get",
    },
    Row {
        letter: None,
        name: "handshake",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: 1..=TIME_MAX_S,
            field: |options| &mut options.limits.handshake_s,
        }),
        help: "how long a connection may take to TALK, JOIN or RESUME",
    },
    Row {
        letter: Some('c'),
        name: "max-connections",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 1..=1_000_000,
            field: |options| &mut options.limits.connections_max,
        }),
        help: "how many connections there may be",
    },
    Row {
        letter: Some('s'),
        name: "max-sessions",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 1..=SESSIONS_MAX,
            field: |options| &mut options.limits.sessions_max,
        }),
        help: "how many sessions there may be",
    },
    Row {
        letter: Some('r'),
        name: "max-rooms",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 1..=SESSIONS_MAX,
            field: |options| &mut options.limits.rooms_max,
        }),
        help: "how many rooms there may be",
    },
    Row {
        letter: Some('a'),
        name: "max-per-address",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 1..=SESSIONS_MAX,
            field: |options| &mut options.limits.per_address_max,
        }),
        help: "how many connections, and how many sessions, one address may have",
    },
    Row {
        letter: None,
        name: "rate",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 0..=1_000_000,
            field: |options| &mut options.limits.lines_per_s,
        }),
        help: "how many lines a second a client may send; 0 for no limit",
    },
    Row {
        letter: Some('b'),
        name: "log-bytes",
        kind: Kind::Number(Number {
            unit: Unit::Bytes,
            range: 4096..=1 << 30,
            field: |options| &mut options.limits.log_bytes,
        }),
        help: "how many bytes of events each room keeps",
    },
    Row {
        letter: None,
        name: "keep-rooms",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: 0..=TIME_MAX_S,
            field: |options| &mut options.limits.keep_rooms_s,
        }),
        help: "how long to keep a room that nobody is in; 0 frees it at once",
    },
    Row {
        letter: Some('m'),
        name: "max-message",
        kind: Kind::Number(Number {
            unit: Unit::Bytes,
            range: 1..=1024 * 1024,
            field: |options| &mut options.limits.message_bytes_max,
        }),
        help: "the longest message",
    },
    Row {
        letter: None,
        name: "socket-buffer",
        kind: Kind::Number(Number {
            unit: Unit::Bytes,
            range: 4096..=64 * 1024 * 1024,
            field: |options| &mut options.socket_buffer_bytes,
        }),
        help: "how many bytes the system keeps for a connection, each way",
    },
    Row {
        letter: None,
        name: "socket-mode",
        kind: Kind::Number(Number {
            unit: Unit::Mode,
            range: 0..=0o777,
            field: |options| &mut options.socket_mode,
        }),
        help: "permissions of Unix sockets' files, such as 0660, but not of --admin's; without it, the umask decides",
    },
    Row {
        letter: None,
        name: "memory",
        kind: Kind::Number(Number {
            unit: Unit::Bytes,
            range: 1..=isize::MAX as u64,
            field: |options| &mut options.memory_bytes_max,
        }),
        help: "refuse to start if the server could ever need more memory",
    },
    Row {
        letter: Some('u'),
        name: "users",
        kind: Kind::Text {
            placeholder: "FILE",
            is_list: false,
            store: |options, path| {
                options.users = Some(PathBuf::from(path));
                Ok(())
            },
            show: |options| Some(options.users.as_ref()?.display().to_string()),
        },
        help: "let only the names in this file join, with their keys",
    },
    Row {
        letter: None,
        name: "state",
        kind: Kind::Text {
            placeholder: "FILE",
            is_list: false,
            store: set_state,
            show: |options| Some(options.state.as_ref()?.display().to_string()),
        },
        help: "keep sessions and rooms in this file from one stop to the next start",
    },
    Row {
        letter: None,
        name: "save",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: 1..=TIME_MAX_S,
            field: |options| &mut options.save_s,
        }),
        help: "also write that file while the server runs, at most this often, so that rooms survive a \
               crash; without it, never",
    },
    Row {
        letter: None,
        name: "link",
        kind: Kind::Text {
            placeholder: "ADDRESS",
            is_list: false,
            store: |options, text| {
                let address = text.strip_prefix("tcp:").unwrap_or(text);
                options.link.broker = Some(Address::parse(address)?);
                Ok(())
            },
            show: |options| Some(options.link.broker.as_ref()?.to_string()),
        },
        help: "let rooms span boxes, through the MQTT broker there: tcp:IP:PORT or unix:PATH",
    },
    Row {
        letter: None,
        name: "link-name",
        kind: Kind::Text {
            placeholder: "NAME",
            is_list: false,
            store: |options, text| {
                let name = Name::parse(text).ok_or(Name::RULE)?;
                options.link.name = Some(name.folded().to_name());
                Ok(())
            },
            show: |options| Some(options.link.name?.to_string()),
        },
        help: "this box's name, which no other box has",
    },
    Row {
        letter: None,
        name: "link-room",
        kind: Kind::Text {
            placeholder: "ROOM",
            is_list: true,
            store: add_linked_room,
            show: |options| match options.link.has_all_rooms {
                true => Some("*".to_owned()),
                false => Some(options.link.rooms.first()?.to_string()),
            },
        },
        help: "a room that spans boxes, and that is always there; * stands for each room that there is; \
               may appear several times",
    },
    Row {
        letter: None,
        name: "link-login",
        kind: Kind::Text {
            placeholder: "FILE",
            is_list: false,
            store: |options, path| {
                options.link.login = Some(PathBuf::from(path));
                Ok(())
            },
            show: |options| Some(options.link.login.as_ref()?.display().to_string()),
        },
        help: "log in to the broker with the user:password in this file",
    },
    Row {
        letter: None,
        name: "link-prefix",
        kind: Kind::Text {
            placeholder: "PREFIX",
            is_list: false,
            store: |options, text| {
                options.link.prefix = Prefix::parse(text)?;
                Ok(())
            },
            show: |options| Some(options.link.prefix.as_str().to_owned()),
        },
        help: "what the broker's topics begin with",
    },
    Row {
        letter: None,
        name: "link-members",
        kind: Kind::Number(Number {
            unit: Unit::Count,
            range: 1..=1_000_000,
            field: |options| &mut options.link.members_max,
        }),
        help: "how many members of other boxes to list at most, and how many pairs of a room and a box to know",
    },
    Row {
        letter: None,
        name: "link-hold",
        kind: Kind::Number(Number {
            unit: Unit::Seconds,
            range: 0..=TIME_MAX_S,
            field: |options| &mut options.link.hold_s,
        }),
        help: "how long to list the members of a box that is lost",
    },
    Row {
        letter: None,
        name: "new-key",
        kind: Kind::Action {
            placeholder: "NAME",
        },
        help: "make a key for NAME, put it into the users file, and exit",
    },
    Row {
        letter: None,
        name: "open",
        kind: Kind::Switch(|options| options.is_open = true),
        help: "let anyone who can reach a network address join",
    },
    Row {
        letter: None,
        name: "upgrade",
        kind: Kind::Action { placeholder: "PID" },
        help: "make the server with this process ID go on with the program that is installed now, \
               and exit",
    },
    Row {
        letter: None,
        name: "check",
        kind: Kind::Action { placeholder: "" },
        help: "check options and files, show how much memory the server could need, and exit",
    },
    Row {
        letter: None,
        name: "log",
        kind: Kind::Text {
            placeholder: "FORM",
            is_list: false,
            store: |options, word| {
                options.log = Some(LogForm::parse(word)?);
                Ok(())
            },
            show: |options| Some(options.log_form(false).as_str().to_owned()),
        },
        help: "begin log lines with time and level (plain), or with a priority (syslog), as the \
               journal gets them",
    },
    Row {
        letter: Some('q'),
        name: "quiet",
        kind: Kind::Switch(|options| options.verbosity = Verbosity::Quiet),
        help: "log only warnings and errors",
    },
    Row {
        letter: Some('v'),
        name: "verbose",
        kind: Kind::Switch(|options| options.verbosity = Verbosity::Verbose),
        help: "also log what happens to sessions",
    },
    Row {
        letter: Some('h'),
        name: "help",
        kind: Kind::Action { placeholder: "" },
        help: "show this text",
    },
    Row {
        letter: Some('V'),
        name: "version",
        kind: Kind::Action { placeholder: "" },
        help: "show the version",
    },
];

fn add_address(options: &mut Options, text: &str) -> Result<(), String> {
    let address = Address::parse(text)?;
    if options.listen.contains(&address) {
        return Err("this address appears twice".into());
    }
    options.listen.push(address);
    Ok(())
}

fn set_admin(options: &mut Options, text: &str) -> Result<(), String> {
    let address = Address::parse(text)?;
    if !address.is_unix() {
        return Err("the operator's socket is a Unix socket: give unix:/path".into());
    }
    options.admin = Some(address);
    options.limits.operators_max = OPERATORS_MAX;
    Ok(())
}

fn add_linked_room(options: &mut Options, text: &str) -> Result<(), String> {
    if text == "*" {
        options.link.has_all_rooms = true;
        return Ok(());
    }
    let name = Name::parse(text).ok_or(Name::RULE)?;
    let mut rooms = options.link.rooms.iter();
    if rooms.any(|known| known.folded() == name.folded()) {
        return Err("this room appears twice".into());
    }
    options.link.rooms.push(name);
    Ok(())
}

fn set_state(options: &mut Options, text: &str) -> Result<(), String> {
    let path = PathBuf::from(text);
    if path.file_name().is_none() || text.ends_with('/') {
        return Err("give the path of a file".into());
    }
    options.state = Some(path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn numbers() -> impl Iterator<Item = (&'static str, &'static Number)> {
        OPTIONS.iter().filter_map(|row| match &row.kind {
            Kind::Number(number) => Some((row.name, number)),
            _ => None,
        })
    }

    #[test]
    fn every_range_fits_its_field_and_includes_the_default() {
        for (name, number) in numbers() {
            for end in [*number.range.start(), *number.range.end()] {
                let mut options = Options::default();
                let text = number.unit.show(end);
                assert_eq!(number.store(&mut options, &text), Ok(()), "{name} {text}");
                assert_eq!((number.field)(&mut options).get(), Some(end), "{name}");
            }
            let default = (number.field)(&mut Options::default()).get();
            assert!(default.is_none_or(|n| number.range.contains(&n)), "{name}");
        }
    }

    #[test]
    fn no_two_options_share_a_field_a_name_or_a_letter() {
        for (name, number) in numbers() {
            let mut options = Options::default();
            let end = *number.range.end();
            (number.field)(&mut options).set(end);
            let changed = numbers().filter(|(_, other)| {
                let default = (other.field)(&mut Options::default()).get();
                (other.field)(&mut options).get() != default
            });
            let changed: Vec<_> = changed.map(|(name, _)| name).collect();
            assert_eq!(changed, [name]);
        }
        let names: BTreeSet<_> = OPTIONS.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), OPTIONS.len());
        let letters: Vec<_> = OPTIONS.iter().filter_map(|row| row.letter).collect();
        let set: BTreeSet<_> = letters.iter().collect();
        assert_eq!(set.len(), letters.len());
    }
}
