//! What the server can be told on its command line: [`Options`], with their defaults.
//!
//! [`table`] has a row for each option, from which [`parse()`] and `--help` are made.

mod help;
mod parse;
pub mod table;
mod value;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::net::address::Address;
use crate::protocol::Limits;

pub use parse::{Action, explain, parse};
pub use value::{Number, Unit};

/// Where the server listens if it is not told.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8255);
/// Bytes that the system keeps for a connection in each direction, if it is not told.
pub const SOCKET_BUFFER: usize = 32 * 1024;

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verbosity {
    /// Warnings and errors.
    Quiet,
    /// What `RUST_LOG` says, or else also what happens to the server.
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
    /// The priority as `<4>`, and the text: for systemd, syslog and others that add the time.
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

/// What the server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen, if that was said; see [`Options::addresses`].
    pub listen: Vec<Address>,
    /// Whether anyone who can reach a network address may join.
    pub is_open: bool,
    /// What to allow.
    pub limits: Limits,
    /// Bytes that the system may keep for a connection, in each direction.
    pub socket_buffer: usize,
    /// The permissions of Unix sockets' files; if there are none, the umask decides.
    pub socket_mode: Option<u32>,
    /// The most memory that the settings may ever need, in bytes.
    pub memory_max: Option<usize>,
    /// The file of those who may join; without one, anyone may.
    pub users: Option<PathBuf>,
    /// How much to log.
    pub verbosity: Verbosity,
    /// In which form, if that was said; see [`Options::log_form`].
    pub log: Option<LogForm>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            listen: Vec::new(),
            is_open: false,
            limits: Limits::default(),
            socket_buffer: SOCKET_BUFFER,
            socket_mode: None,
            memory_max: None,
            users: None,
            verbosity: Verbosity::default(),
            log: None,
        }
    }
}

impl Options {
    /// Where to listen: where it was said, or else at the default address, unless the server has
    /// sockets that listen already.
    pub fn addresses(&self, has_sockets: bool) -> &[Address] {
        static DEFAULT: [Address; 1] = [Address::Tcp(DEFAULT_ADDRESS)];
        match self.listen.is_empty() && !has_sockets {
            true => &DEFAULT,
            false => &self.listen,
        }
    }

    /// The form of the log: the one that was said, or else the one that suits whoever reads it.
    pub fn log_form(&self, is_for_journal: bool) -> LogForm {
        let suitable = match is_for_journal {
            true => LogForm::Syslog,
            false => LogForm::Plain,
        };
        self.log.unwrap_or(suitable)
    }

    /// Checks that nobody opens a server without a users file to a network by mistake.
    ///
    /// # Errors
    ///
    /// A text for people, if anyone who can reach this address could join.
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
    fn sockets_that_listen_already_replace_the_default_address_alone() {
        let default = Options::default();
        assert_eq!(default.addresses(false), [Address::Tcp(DEFAULT_ADDRESS)]);
        assert_eq!(default.addresses(true), []);
        let listen = vec![Address::Unix("/s".into())];
        let told = Options {
            listen: listen.clone(),
            ..default
        };
        for has_sockets in [false, true] {
            assert_eq!(told.addresses(has_sockets), listen);
        }
    }

    #[test]
    fn the_log_has_the_form_that_was_said_or_else_the_one_that_suits_its_reader() {
        let default = Options::default();
        assert_eq!(default.log_form(false), LogForm::Plain);
        assert_eq!(default.log_form(true), LogForm::Syslog);
        for form in LogForm::ALL {
            let told = Options {
                log: Some(form),
                ..Options::default()
            };
            assert_eq!([false, true].map(|is| told.log_form(is)), [form; 2]);
            assert_eq!(LogForm::parse(form.as_str()), Ok(form));
        }
        assert!(LogForm::parse("Plain").is_err());
    }
}
