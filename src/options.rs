//! The command line: arguments into [`Options`], and the text of `--help`.
//!
//! A usage error is a text that names the option, the value and the way out.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use getopts::Matches;

use crate::protocol::{IDLE_MIN, Limits};

/// Where the server listens if it is not told.
pub const DEFAULT_ADDRESS: &str = "127.0.0.1:8255";
/// The longest idle time that can be configured, in seconds: a year.
const SECONDS_MAX: u64 = 365 * 24 * 3600;
/// The most bytes of events that can be kept per room.
const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The longest message that can be configured, in bytes.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;
/// The longest path that fits into a Unix socket's address, in bytes.
const UNIX_PATH_BYTES_MAX: usize = 107;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An IP address and a port; port 0 stands for any free one.
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => address.fmt(f),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

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

/// What the server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen: one address or more.
    pub listen: Vec<Address>,
    /// What to allow.
    pub limits: Limits,
    /// How much to log.
    pub verbosity: Verbosity,
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To run the server.
    Run(Options),
    /// To print a text and exit.
    Print(String),
}

/// Reads the command line, without the program's name.
///
/// # Errors
///
/// A text for people that names what is wrong with which option.
pub fn parse(args: &[String]) -> Result<Action, String> {
    let options = declare();
    let matches = options.parse(args).map_err(|fail| fail.to_string())?;
    if matches.opt_present("help") {
        return Ok(Action::Print(help(&options)));
    }
    if matches.opt_present("version") {
        let version = concat!("chinwag ", env!("CARGO_PKG_VERSION"), "\n");
        return Ok(Action::Print(version.into()));
    }
    if let Some(argument) = matches.free.first() {
        return Err(format!(
            "unexpected argument '{argument}': everything is said with options"
        ));
    }
    Ok(Action::Run(Options {
        listen: addresses(&matches)?,
        limits: limits(&matches)?,
        verbosity: verbosity(&matches)?,
    }))
}

fn declare() -> getopts::Options {
    let mut options = getopts::Options::new();
    options
        .optmulti(
            "l",
            "listen",
            "listen on IP:PORT, [IPv6]:PORT or unix:/path; may be given several times (127.0.0.1:8255)",
            "ADDR",
        )
        .optopt("i", "idle", "idle time of sessions that do not ask for one (60)", "SECONDS")
        .optopt("", "max-idle", "the longest idle time that is granted (3600)", "SECONDS")
        .optopt("", "handshake", "time for a connection to JOIN or RESUME (30)", "SECONDS")
        .optopt("b", "log-bytes", "bytes of events kept per room; K and M may follow (64K)", "SIZE")
        .optopt("m", "max-message", "the longest message; K and M may follow (1024)", "BYTES")
        .optflag("q", "quiet", "log only warnings and errors")
        .optflag("v", "verbose", "log also what happens to sessions")
        .optflag("h", "help", "show this text")
        .optflag("V", "version", "show the version");
    options
}

/// The text of `--help`.
fn help(options: &getopts::Options) -> String {
    let usage = options.usage(
        "Usage: chinwag [OPTIONS]\n\n\
         A chat server for very small Linux boxes. Try: telnet 127.0.0.1 8255, and type HELP.",
    );
    format!(
        "{usage}\nA RUST_LOG in the environment says what is logged, unless -q or -v does.\n\
         SIGTERM and SIGINT say goodbye to everybody and end the server.\n"
    )
}

fn addresses(matches: &Matches) -> Result<Vec<Address>, String> {
    let mut given = matches.opt_strs("listen");
    if given.is_empty() {
        given.push(DEFAULT_ADDRESS.into());
    }
    given.iter().map(|text| address(text)).collect()
}

fn address(text: &str) -> Result<Address, String> {
    let Some(path) = text.strip_prefix("unix:") else {
        return text.parse().map(Address::Tcp).map_err(|_| {
            format!("--listen {text}: this is not IP:PORT, [IPv6]:PORT or unix:/path")
        });
    };
    if path.is_empty() {
        return Err(format!("--listen {text}: the socket's path is missing"));
    }
    if path.len() > UNIX_PATH_BYTES_MAX {
        return Err(format!(
            "--listen {text}: a socket's path has at most {UNIX_PATH_BYTES_MAX} bytes"
        ));
    }
    Ok(Address::Unix(path.into()))
}

fn limits(matches: &Matches) -> Result<Limits, String> {
    let defaults = Limits::default();
    let idle_min = u64::from(IDLE_MIN);
    let idle_max = match seconds(matches, "max-idle", idle_min, SECONDS_MAX)? {
        Some(seconds) => seconds,
        None => defaults.idle_max,
    };
    let idle = seconds(matches, "idle", idle_min, SECONDS_MAX)?;
    if let Some(idle) = idle.filter(|idle| *idle > idle_max) {
        return Err(format!(
            "--idle {idle} is above --max-idle, which is {idle_max}; raise that too"
        ));
    }
    let message = size(matches, "max-message", 1, MESSAGE_BYTES_MAX)?;
    let mut limits = Limits {
        idle: idle.unwrap_or(defaults.idle.min(idle_max)),
        idle_max,
        handshake: seconds(matches, "handshake", 1, SECONDS_MAX)?.unwrap_or(defaults.handshake),
        message_bytes_max: message.unwrap_or(defaults.message_bytes_max),
        ..defaults
    };
    let log_bytes = size(matches, "log-bytes", 4096, LOG_BYTES_MAX)?;
    limits.log_bytes = log_bytes.unwrap_or(limits.log_bytes);
    let needed = limits.log_bytes_min();
    if limits.log_bytes < needed {
        return Err(format!(
            "--log-bytes {} is too small for messages of {} bytes: give at least {needed}, or a \
             smaller --max-message",
            limits.log_bytes, limits.message_bytes_max
        ));
    }
    Ok(limits)
}

fn verbosity(matches: &Matches) -> Result<Verbosity, String> {
    match (matches.opt_present("quiet"), matches.opt_present("verbose")) {
        (true, true) => Err("--quiet and --verbose: give one of them".into()),
        (true, false) => Ok(Verbosity::Quiet),
        (false, true) => Ok(Verbosity::Verbose),
        (false, false) => Ok(Verbosity::Normal),
    }
}

fn seconds(matches: &Matches, name: &str, min: u64, max: u64) -> Result<Option<u32>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let number = number(&text).filter(|n| (min..=max).contains(n));
    match number.and_then(|n| u32::try_from(n).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(format!(
            "--{name} {text}: give whole seconds from {min} to {max}"
        )),
    }
}

fn size(matches: &Matches, name: &str, min: u64, max: u64) -> Result<Option<usize>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 'K' | 'k')) => (&text[..at], 1024),
        Some((at, 'M' | 'm')) => (&text[..at], 1024 * 1024),
        _ => (&text[..], 1),
    };
    let bytes = number(digits).and_then(|n| n.checked_mul(factor));
    match bytes.filter(|n| (min..=max).contains(n)) {
        Some(bytes) => Ok(Some(bytes as usize)),
        None => Err(format!(
            "--{name} {text}: give bytes from {min} to {max}, with K or M behind if you like"
        )),
    }
}

/// A decimal number of digits alone.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}
