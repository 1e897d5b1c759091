//! The options of the command line, and their defaults.
//!
//! [`table`] has a row for each option. [`parse()`] and `--help` work from these rows.

mod help;
mod parse;
pub mod table;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::link::{LinkedRooms, Login, Prefix, Settings};
use crate::net::address::Address;
use crate::protocol::{Limits, Name};

pub use parse::{Action, explain, parse};
pub use value::{Number, Unit};

/// Where the server listens by default.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8255);
/// How many bytes the system keeps for a connection in each direction, by default.
pub const SOCKET_BUFFER_BYTES: usize = 32 * 1024;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// What `RUST_LOG` asks for; without it, also what happens to the server.
    #[default]
    Normal,
    /// Also what happens to sessions.
    Verbose,
}

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogForm {
    /// Time, level and text.
    Plain,
    /// The priority, such as `<4>`, and the text: for systemd, syslog and others that add the time.
    Syslog,
}

impl LogForm {
    const ALL: [LogForm; 2] = [LogForm::Plain, LogForm::Syslog];

    /// Reads the word that `--log` takes.
    fn parse(word: &str) -> Result<LogForm, &'static str> {
        let mut forms = LogForm::ALL.into_iter();
        let form = forms.find(|form| form.as_str() == word);
        form.ok_or("give plain or syslog")
    }

    /// The word for it.
    fn as_str(self) -> &'static str {
        match self {
            LogForm::Plain => "plain",
            LogForm::Syslog => "syslog",
        }
    }
}

/// What the command line says about rooms that span boxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkOptions {
    /// Where the broker is. Without it, no room spans boxes.
    pub broker: Option<Address>,
    /// This box's name, in small letters.
    pub name: Option<Name>,
    /// The rooms that span boxes.
    pub rooms: Vec<Name>,
    /// Whether all rooms do.
    pub has_all_rooms: bool,
    /// The file with a user's name and password at the broker.
    pub login: Option<PathBuf>,
    /// What all topics begin with.
    pub prefix: Prefix,
    /// The most members of other boxes that are listed, and the most pairs of a room and another box.
    pub members_max: usize,
    /// How long the members of a lost box are still listed, in seconds.
    pub hold_s: u32,
}

impl Default for LinkOptions {
    fn default() -> Self {
        LinkOptions {
            broker: None,
            name: None,
            rooms: Vec::new(),
            has_all_rooms: false,
            login: None,
            prefix: Prefix::default(),
            members_max: 1024,
            hold_s: 3600,
        }
    }
}

impl LinkOptions {
    /// What the link's parts have to know; `None` without a link.
    pub fn settings(&self, login: Option<Login>) -> Option<Settings> {
        Some(Settings {
            broker: self.broker.as_ref()?.to_string(),
            name: self.name?,
            rooms: match self.has_all_rooms {
                true => LinkedRooms::All,
                false => LinkedRooms::Named(self.rooms.clone()),
            },
            prefix: self.prefix.clone(),
            login,
            members_max: self.members_max,
            hold_s: self.hold_s,
        })
    }
}

/// What a command line has set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen; empty if no option says so. See [`Options::addresses`].
    pub listen: Vec<Address>,
    /// Where the operator is served, on a Unix socket.
    pub admin: Option<Address>,
    /// Whether anyone who can reach a network address may join.
    pub is_open: bool,
    /// The limits that the core enforces.
    pub limits: Limits,
    /// How many bytes the system may keep for a connection in each direction.
    pub socket_buffer_bytes: usize,
    /// The permissions of Unix sockets' files. Without them, the umask decides.
    pub socket_mode: Option<u32>,
    /// The most memory that the settings may ever need, in bytes.
    pub memory_bytes_max: Option<usize>,
    /// The file that names everyone who may join. Without one, anyone may.
    pub users: Option<PathBuf>,
    /// The file that keeps the state from a stop to the next start. Without one, it is lost.
    pub state: Option<PathBuf>,
    /// The time between two saves of the state while the server runs, in seconds. Without one, the
    /// server saves only when it stops.
    pub save_s: Option<u32>,
    /// How rooms span boxes.
    pub link: LinkOptions,
    /// How much to log.
    pub verbosity: Verbosity,
    /// The form of the log, if an option says so. See [`Options::log_form`].
    pub log: Option<LogForm>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: Vec::new(),
            admin: None,
            is_open: false,
            limits: Limits::default(),
            socket_buffer_bytes: SOCKET_BUFFER_BYTES,
            socket_mode: None,
            memory_bytes_max: None,
            users: None,
            state: None,
            save_s: None,
            link: LinkOptions::default(),
            verbosity: Verbosity::default(),
            log: None,
        }
    }
}

impl Options {
    /// Where to listen: at the given addresses, or else at the default address, unless the server
    /// already has sockets that listen.
    pub fn addresses(&self, has_sockets: bool) -> &[Address] {
        static DEFAULT: [Address; 1] = [Address::Tcp(DEFAULT_ADDRESS)];
        match self.listen.is_empty() && !has_sockets {
            true => &DEFAULT,
            false => &self.listen,
        }
    }

    /// The addresses whose sockets the server makes itself, each with its option.
    pub fn sockets_of_its_own(&self) -> impl Iterator<Item = (&'static str, &Address)> {
        let listen = self.listen.iter().map(|address| ("--listen", address));
        listen.chain(self.admin.iter().map(|address| ("--admin", address)))
    }

    /// The form of the log: the given one, or else the one that suits its reader.
    pub fn log_form(&self, is_for_journal: bool) -> LogForm {
        let suitable = match is_for_journal {
            true => LogForm::Syslog,
            false => LogForm::Plain,
        };
        self.log.unwrap_or(suitable)
    }

    /// Checks that a server without a users file is not opened to a network by mistake.
    ///
    /// # Errors
    ///
    /// A text for people, if anyone who can reach this address could join and no option allows
    /// that.
    pub fn check_open(&self, address: &Address) -> Result<(), String> {
        if !address.is_on_network() || self.users.is_some() || self.is_open {
            return Ok(());
        }
        let text = "anyone who can reach this address could join; give --users, or --open to \
                    allow that";
        Err(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_that_already_listen_replace_only_the_default_address() {
        let default = Options::default();
        assert_eq!(default.addresses(false), [Address::Tcp(DEFAULT_ADDRESS)]);
        assert_eq!(default.addresses(true), []);
        let listen = vec![Address::Unix("/s".into())];
        let given = Options {
            listen: listen.clone(),
            ..default
        };
        for has_sockets in [false, true] {
            assert_eq!(given.addresses(has_sockets), listen);
        }
    }

    #[test]
    fn the_log_has_the_given_form_or_else_the_one_that_suits_its_reader() {
        let default = Options::default();
        assert_eq!(default.log_form(false), LogForm::Plain);
        assert_eq!(default.log_form(true), LogForm::Syslog);
        for form in LogForm::ALL {
            let given = Options {
                log: Some(form),
                ..Options::default()
            };
            assert_eq!([false, true].map(|is| given.log_form(is)), [form; 2]);
            assert_eq!(LogForm::parse(form.as_str()), Ok(form));
        }
        assert!(LogForm::parse("Plain").is_err());
    }
}
