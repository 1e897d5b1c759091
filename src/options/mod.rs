//! The command line: arguments into [`Options`], and the text of `--help`.
//!
//! A usage error is a text that names the option, the value and the way out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use getopts::{Fail, HasArg, Matches, Occur};

use crate::net::address::Address;
use crate::protocol::{IDLE_MIN_S, Limits, Name};

/// Where the server listens if it is not told.
pub const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8255);
/// The longest idle time that can be configured, in seconds: a year.
const SECONDS_MAX: u64 = 365 * 24 * 3600;
/// The most bytes of events that can be kept per room.
const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// The longest message that can be configured, in bytes.
const MESSAGE_BYTES_MAX: u64 = 1024 * 1024;
/// The most sessions that can be configured: what their keys can tell apart, with room to spare.
const SESSIONS_MAX: u64 = 1 << 30;
/// Bytes that the system keeps for a connection in each direction, if it is not told.
pub const SOCKET_BUFFER: usize = 32 * 1024;
/// Where the explanations stand in the help text, in characters from the left.
const HELP_COLUMN: usize = 30;
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
    /// The priority as `<4>`, and the text: for systemd, syslog and those that add the time.
    Syslog,
}

/// What the server was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where to listen, as far as that was said; see [`Options::addresses`].
    pub listen: Vec<Address>,
    /// Anybody may join who reaches an address of a network.
    pub is_open: bool,
    /// What to allow.
    pub limits: Limits,
    /// Bytes that the system may keep for a connection, in each direction.
    pub socket_buffer: usize,
    /// The permissions of Unix sockets' files; none if the umask says them.
    pub socket_mode: Option<u32>,
    /// The most memory that the settings may ever need, in bytes.
    pub memory_max: Option<usize>,
    /// The file of those who may join; none if anybody may.
    pub users: Option<PathBuf>,
    /// How much to log.
    pub verbosity: Verbosity,
    /// In which form, if that was said.
    pub log: Option<LogForm>,
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

    /// Without a users file anybody who reaches the server may join: that is not to be had by
    /// mistake.
    ///
    /// # Errors
    ///
    /// A text for people, if anybody could who reaches this address of a network.
    pub fn check_open(&self, address: &Address) -> Result<(), String> {
        if !address.is_on_network() || self.users.is_some() || self.is_open {
            return Ok(());
        }
        let text = "anybody who reaches this address could join; give --users, or --open if that \
                    is meant";
        Err(text.to_owned())
    }
}

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// To run the server.
    Run(Options),
    /// To check options and files, say what memory they can need, and exit.
    Check(Options),
    /// To make a key for a name, and put it into a users file.
    NewKey(PathBuf, Name),
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
    let matches = options.parse(args).map_err(|fail| explain(&fail))?;
    if matches.opt_present("help") {
        return Ok(Action::Print(help()));
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
    if let Some(name) = matches.opt_str("new-key") {
        return new_key(&matches, &name);
    }
    let options = Options {
        listen: addresses(&matches)?,
        is_open: matches.opt_present("open"),
        limits: limits(&matches)?,
        socket_buffer: size(&matches, "socket-buffer", 4096, 64 * 1024 * 1024)?
            .unwrap_or(SOCKET_BUFFER),
        socket_mode: mode(&matches, "socket-mode")?,
        memory_max: size(&matches, "memory", 1, isize::MAX as u64)?,
        users: matches.opt_str("users").map(PathBuf::from),
        verbosity: verbosity(&matches)?,
        log: log_form(&matches)?,
    };
    for address in &options.listen {
        let is_open = options.check_open(address);
        is_open.map_err(|error| format!("--listen {address}: {error}"))?;
    }
    match matches.opt_present("check") {
        true => Ok(Action::Check(options)),
        false => Ok(Action::Run(options)),
    }
}

fn new_key(matches: &Matches, name: &str) -> Result<Action, String> {
    if matches.opt_present("check") {
        return Err(format!(
            "--new-key {name}: this changes a file; --check does not"
        ));
    }
    let users = matches
        .opt_str("users")
        .ok_or_else(|| format!("--new-key {name}: say with --users which file to put it into"))?;
    let parsed = Name::parse(name).ok_or_else(|| {
        format!(
            "--new-key {name}: a name is 1 to 24 of A-Z a-z 0-9 _ - and begins with a letter or \
             digit"
        )
    })?;
    Ok(Action::NewKey(users.into(), parsed))
}

/// What is wrong with the form of a command line, and the way out.
pub fn explain(fail: &Fail) -> String {
    let shown = |name: &str| match name.len() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    match fail {
        Fail::ArgumentMissing(name) => format!("{}: its value is missing", shown(name)),
        Fail::UnrecognizedOption(name) => format!("{}: there is no such option", shown(name)),
        Fail::OptionDuplicated(name) => format!("{}: give it once", shown(name)),
        Fail::UnexpectedArgument(name) => format!("{}: it takes no value", shown(name)),
        Fail::OptionMissing(name) => format!("{}: it is missing", shown(name)),
    }
}

/// The options: letter, name, what stands for the value if it takes one, and what it is for.
#[rustfmt::skip]
const OPTIONS: [[&str; 4]; 23] = [
    ["l", "listen", "ADDR", "listen on IP:PORT, [IPv6]:PORT or unix:/path;\n\
                             may be given several times (127.0.0.1:8255)"],
    ["i", "idle", "SECONDS", "idle time of sessions that do not ask for one (60)"],
    ["", "max-idle", "SECONDS", "the longest idle time that is granted (3600)"],
    ["", "handshake", "SECONDS", "time for a connection to JOIN or RESUME (30)"],
    ["c", "max-connections", "N", "how many connections there may be (1024)"],
    ["s", "max-sessions", "N", "how many sessions there may be (4096)"],
    ["r", "max-rooms", "N", "how many rooms there may be (64)"],
    ["a", "max-per-address", "N", "connections, and sessions, from one address (64)"],
    ["", "rate", "N", "lines a second that a client may send;\n0 for no bound (50)"],
    ["b", "log-bytes", "SIZE", "bytes of events kept per room;\nK and M may follow (64K)"],
    ["m", "max-message", "BYTES", "the longest message; K and M may follow (1024)"],
    ["", "socket-buffer", "SIZE", "bytes the system keeps for a connection each way\n(32K)"],
    ["", "socket-mode", "MODE", "permissions of Unix sockets' files, like 0660;\n\
                                 without it, what the umask leaves"],
    ["", "memory", "SIZE", "refuse to start if more memory could be needed"],
    ["u", "users", "FILE", "only those in this file may join, with their keys"],
    ["", "new-key", "NAME", "make a key for NAME, put it into the users file,\nand exit"],
    ["", "open", "", "anybody may join who reaches an address of a\nnetwork"],
    ["", "check", "", "check options and files, show what memory they\ncan need, and exit"],
    ["", "log", "FORM", "how lines begin: plain, with time and level, or\n\
                         syslog, with a priority, as the journal gets it\n\
                         (plain)"],
    ["q", "quiet", "", "log only warnings and errors"],
    ["v", "verbose", "", "log also what happens to sessions"],
    ["h", "help", "", "show this text"],
    ["V", "version", "", "show the version"],
];

fn declare() -> getopts::Options {
    let mut options = getopts::Options::new();
    for [letter, name, value, _] in OPTIONS {
        let (has_value, occurs) = match (name, value) {
            ("listen", _) => (HasArg::Yes, Occur::Multi),
            (_, "") => (HasArg::No, Occur::Optional),
            _ => (HasArg::Yes, Occur::Optional),
        };
        options.opt(letter, name, "", "", has_value, occurs);
    }
    options
}

/// The text of `--help`.
fn help() -> String {
    let mut text = String::from(
        "Usage: chinwag [OPTIONS]\n\n\
         A chat server for very small Linux boxes. To try it: telnet 127.0.0.1 8255,\n\
         and type HELP.\n\n\
         Options:\n",
    );
    for [letter, name, value, what] in OPTIONS {
        let dash = if letter.is_empty() { "  " } else { "-" };
        let comma = if letter.is_empty() { "  " } else { ", " };
        let start = text.len();
        text.extend(["  ", dash, letter, comma, "--", name, " ", value]);
        for (row, what) in what.lines().enumerate() {
            let width = if row == 0 { text.len() - start } else { 0 };
            text.extend(std::iter::repeat_n(' ', HELP_COLUMN - width));
            text.extend([what, "\n"]);
        }
    }
    text.push_str(
        "\nA RUST_LOG in the environment says what is logged, unless -q or -v does.\n\
         SIGTERM and SIGINT say goodbye to everybody and end the server; SIGHUP has it\n\
         read its users file again.\n",
    );
    text
}

fn addresses(matches: &Matches) -> Result<Vec<Address>, String> {
    let mut addresses = Vec::new();
    for text in matches.opt_strs("listen") {
        let address = Address::parse(&text).map_err(|error| format!("--listen {text}: {error}"))?;
        if addresses.contains(&address) {
            return Err(format!("--listen {text}: this address is given twice"));
        }
        addresses.push(address);
    }
    Ok(addresses)
}

fn limits(matches: &Matches) -> Result<Limits, String> {
    let defaults = Limits::default();
    let idle_min = u64::from(IDLE_MIN_S);
    let idle_max_s = match seconds(matches, "max-idle", idle_min, SECONDS_MAX)? {
        Some(seconds) => seconds,
        None => defaults.idle_max_s,
    };
    let idle = seconds(matches, "idle", idle_min, SECONDS_MAX)?;
    if let Some(idle) = idle.filter(|idle| *idle > idle_max_s) {
        return Err(format!(
            "--idle {idle} is above --max-idle, which is {idle_max_s}; raise that too"
        ));
    }
    let message = size(matches, "max-message", 1, MESSAGE_BYTES_MAX)?;
    let mut limits = Limits {
        idle_s: idle.unwrap_or(defaults.idle_s.min(idle_max_s)),
        idle_max_s,
        handshake_s: seconds(matches, "handshake", 1, SECONDS_MAX)?.unwrap_or(defaults.handshake_s),
        message_bytes_max: message.unwrap_or(defaults.message_bytes_max),
        ..defaults
    };
    let log_bytes = size(matches, "log-bytes", 4096, LOG_BYTES_MAX)?;
    limits.log_bytes = log_bytes.unwrap_or(limits.log_bytes);
    for (name, max, limit) in [
        ("max-connections", 1_000_000, &mut limits.connections_max),
        ("max-sessions", SESSIONS_MAX, &mut limits.sessions_max),
        ("max-rooms", SESSIONS_MAX, &mut limits.rooms_max),
        ("max-per-address", SESSIONS_MAX, &mut limits.per_address_max),
    ] {
        if let Some(count) = count(matches, name, 1, max)? {
            *limit = count as usize;
        }
    }
    limits.lines_per_s = count(matches, "rate", 0, 1_000_000)?.unwrap_or(limits.lines_per_s);
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

fn log_form(matches: &Matches) -> Result<Option<LogForm>, String> {
    match matches.opt_str("log").as_deref() {
        None => Ok(None),
        Some("plain") => Ok(Some(LogForm::Plain)),
        Some("syslog") => Ok(Some(LogForm::Syslog)),
        Some(other) => Err(format!("--log {other}: give plain or syslog")),
    }
}

fn seconds(matches: &Matches, name: &str, min: u64, max: u64) -> Result<Option<u32>, String> {
    whole(matches, name, min, max, "whole seconds")
}

fn count(matches: &Matches, name: &str, min: u64, max: u64) -> Result<Option<u32>, String> {
    whole(matches, name, min, max, "a number")
}

fn whole(
    matches: &Matches,
    name: &str,
    min: u64,
    max: u64,
    what: &str,
) -> Result<Option<u32>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let number = number(&text).filter(|n| (min..=max).contains(n));
    match number.and_then(|n| u32::try_from(n).ok()) {
        Some(number) => Ok(Some(number)),
        None => Err(format!("--{name} {text}: give {what} from {min} to {max}")),
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

/// Permissions as chmod(1) takes them in octal.
fn mode(matches: &Matches, name: &str) -> Result<Option<u32>, String> {
    let Some(text) = matches.opt_str(name) else {
        return Ok(None);
    };
    let is_octal = (3..=4).contains(&text.len()) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    let mode = u32::from_str_radix(&text, 8).ok();
    match mode.filter(|mode| is_octal && *mode <= 0o777) {
        Some(mode) => Ok(Some(mode)),
        None => Err(format!(
            "--{name} {text}: give permissions in octal from 0000 to 0777, like 0660"
        )),
    }
}

/// A decimal number of digits alone.
fn number(text: &str) -> Option<u64> {
    let is_number = text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(line: &str) -> Result<Action, String> {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        parse(&words)
    }

    fn options(line: &str) -> Options {
        match action(line) {
            Ok(Action::Run(options)) => options,
            other => panic!("{line:?} gives {other:?}"),
        }
    }

    fn printed(line: &str) -> String {
        match action(line) {
            Ok(Action::Print(text)) => text,
            other => panic!("{line:?} gives {other:?}"),
        }
    }

    fn tcp(address: &str) -> Address {
        Address::Tcp(address.parse().unwrap())
    }

    #[test]
    fn without_arguments_there_are_defaults() {
        let defaults = Options {
            listen: Vec::new(),
            is_open: false,
            limits: Limits::default(),
            socket_buffer: 32 * 1024,
            socket_mode: None,
            memory_max: None,
            users: None,
            verbosity: Verbosity::Normal,
            log: None,
        };
        assert_eq!(options(""), defaults);
        assert_eq!(defaults.addresses(false), [tcp("127.0.0.1:8255")]);
    }

    #[test]
    fn sockets_that_listen_already_replace_the_default_address_alone() {
        assert_eq!(options("").addresses(true), []);
        for has_sockets in [false, true] {
            let given = options("-l [::1]:1");
            assert_eq!(given.addresses(has_sockets), [tcp("[::1]:1")]);
        }
    }

    #[test]
    fn each_option_sets_its_limit() {
        const YEAR: u32 = 365 * 24 * 3600;
        let limits = Limits::default();
        #[rustfmt::skip]
        let table = [
            ("-i 1", Limits { idle_s: 1, ..limits }),
            ("--idle 3600", Limits { idle_s: 3600, ..limits }),
            ("--idle=007", Limits { idle_s: 7, ..limits }),
            ("--max-idle 61", Limits { idle_max_s: 61, ..limits }),
            ("--max-idle 59", Limits { idle_s: 59, idle_max_s: 59, ..limits }),
            ("--max-idle 1", Limits { idle_s: 1, idle_max_s: 1, ..limits }),
            ("--max-idle 31536000", Limits { idle_max_s: YEAR, ..limits }),
            ("-i 31536000 --max-idle 31536000", Limits { idle_s: YEAR, idle_max_s: YEAR, ..limits }),
            ("--handshake 1", Limits { handshake_s: 1, ..limits }),
            ("--handshake 31536000", Limits { handshake_s: YEAR, ..limits }),
            ("-b 4096", Limits { log_bytes: 4096, ..limits }),
            ("-b 4K", Limits { log_bytes: 4096, ..limits }),
            ("-b 5k", Limits { log_bytes: 5 << 10, ..limits }),
            ("--log-bytes 3M", Limits { log_bytes: 3 << 20, ..limits }),
            ("--log-bytes 1024m", Limits { log_bytes: 1 << 30, ..limits }),
            ("-m 1", Limits { message_bytes_max: 1, ..limits }),
            ("--max-message 2K", Limits { message_bytes_max: 2048, ..limits }),
            ("-c 1", Limits { connections_max: 1, ..limits }),
            ("--max-connections 1000000", Limits { connections_max: 1_000_000, ..limits }),
            ("-s 1", Limits { sessions_max: 1, ..limits }),
            ("--max-sessions 1000000", Limits { sessions_max: 1_000_000, ..limits }),
            ("-r 1", Limits { rooms_max: 1, ..limits }),
            ("--max-rooms 9", Limits { rooms_max: 9, ..limits }),
            ("-a 1", Limits { per_address_max: 1, ..limits }),
            ("--max-per-address 9", Limits { per_address_max: 9, ..limits }),
            ("--rate 0", Limits { lines_per_s: 0, ..limits }),
            ("--rate 1000000", Limits { lines_per_s: 1_000_000, ..limits }),
            ("-m 1M -b 3M", Limits { message_bytes_max: 1 << 20, log_bytes: 3 << 20, ..limits }),
        ];
        for (line, expected) in table {
            assert_eq!(options(line).limits, expected, "{line:?}");
        }
    }

    #[test]
    fn a_sockets_mode_is_octal_with_or_without_a_zero() {
        for (line, mode) in [
            ("", None),
            ("--socket-mode 0660", Some(0o660)),
            ("--socket-mode 660", Some(0o660)),
            ("--socket-mode=0777", Some(0o777)),
            ("--socket-mode 000", Some(0)),
        ] {
            assert_eq!(options(line).socket_mode, mode, "{line:?}");
        }
    }

    #[test]
    fn addresses_are_taken_in_order() {
        let given =
            "--open -l 0.0.0.0:0 --listen [::1]:8255 -lunix:/run/chinwag --listen=unix:here";
        let unix = ["/run/chinwag", "here"].map(|path| Address::Unix(path.into()));
        let listen = options(given).listen;
        assert_eq!(listen[..2], [tcp("0.0.0.0:0"), tcp("[::1]:8255")]);
        assert_eq!(listen[2..], unix);
        let shown: Vec<String> = listen.iter().map(Address::to_string).collect();
        assert_eq!(shown[1..3], ["[::1]:8255", "unix:/run/chinwag"]);
    }

    #[test]
    fn a_network_is_open_only_to_those_with_keys_or_if_that_is_said() {
        for network in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[2001:db8::1]:1"] {
            let line = format!("-l unix:/s -l {network}");
            let error = action(&line).unwrap_err();
            assert!(error.contains(&format!("--listen {network}")), "{error}");
            assert!(
                error.contains("--users") && error.contains("--open"),
                "{error}"
            );
            options(&format!("{line} --open"));
            options(&format!("{line} --users file"));
        }
        options("-l 127.0.0.1:1 -l 127.1.2.3:1 -l [::1]:1 -l unix:/s");
    }

    #[test]
    fn a_key_is_made_for_a_name_in_a_file() {
        let name = Name::parse("ann").unwrap();
        let made = action("-u file --new-key ann").unwrap();
        assert_eq!(made, Action::NewKey("file".into(), name));
        for (line, named) in [
            ("--new-key ann", "--users"),
            ("-u file --new-key _", "--new-key _"),
        ] {
            let error = action(line).unwrap_err();
            assert!(error.contains(named), "{error}");
        }
    }

    #[test]
    fn verbosity_is_said_with_one_option() {
        for (line, verbosity) in [
            ("-q", Verbosity::Quiet),
            ("--quiet", Verbosity::Quiet),
            ("-v", Verbosity::Verbose),
            ("--verbose", Verbosity::Verbose),
        ] {
            assert_eq!(options(line).verbosity, verbosity);
        }
    }

    #[test]
    fn an_error_names_the_option_and_the_value() {
        for (line, named) in [
            ("-i 0", ["--idle", "0"]),
            ("-i 31536001", ["--idle", "31536001"]),
            (
                "-i 99999999999999999999",
                ["--idle", "99999999999999999999"],
            ),
            ("-i -1", ["--idle", "-1"]),
            ("-i +5", ["--idle", "+5"]),
            ("-i 1.5", ["--idle", "1.5"]),
            ("-i 1m", ["--idle", "1m"]),
            ("--idle=", ["--idle", "from 1 to"]),
            ("-i 3601", ["--idle 3601", "--max-idle"]),
            (
                "-i 70 --max-idle 69",
                ["--idle 70", "--max-idle, which is 69"],
            ),
            ("--max-idle 0", ["--max-idle", "0"]),
            ("--max-idle 31536001", ["--max-idle", "31536001"]),
            ("--handshake 0", ["--handshake", "0"]),
            ("--handshake 31536001", ["--handshake", "31536001"]),
            ("-b 4095", ["--log-bytes", "4095"]),
            ("-b 3K", ["--log-bytes", "3K"]),
            ("-b 1025M", ["--log-bytes", "1025M"]),
            ("-b 17592186044417M", ["--log-bytes", "17592186044417M"]),
            ("-b K", ["--log-bytes", "K"]),
            ("-b 64KB", ["--log-bytes", "64KB"]),
            ("-b 1G", ["--log-bytes", "1G"]),
            ("-b 9é", ["--log-bytes", "9é"]),
            ("-b +64K", ["--log-bytes", "+64K"]),
            ("-m 0", ["--max-message", "0"]),
            ("-m 1048577", ["--max-message", "1048577"]),
            ("-m 2M", ["--max-message", "2M"]),
            ("-m 64K", ["--log-bytes 65536", "--max-message"]),
            ("-b 4K -m 2000", ["--log-bytes 4096", "2000"]),
            ("--socket-mode 1777", ["--socket-mode 1777", "0777"]),
            ("--socket-mode 0668", ["--socket-mode 0668", "octal"]),
            ("--socket-mode 00660", ["--socket-mode 00660", "octal"]),
            ("--socket-mode 66", ["--socket-mode 66", "octal"]),
            ("--socket-mode +660", ["--socket-mode +660", "octal"]),
            ("--socket-mode ug=rw", ["--socket-mode ug=rw", "0660"]),
            ("-l nowhere", ["--listen", "nowhere"]),
            ("-l localhost:8255", ["--listen", "localhost:8255"]),
            ("-l unix:", ["--listen", "unix:"]),
            ("-l 127.0.0.1:1 -l x", ["--listen", "x"]),
            ("-q -v", ["--quiet", "--verbose"]),
            ("--frob", ["frob", ""]),
            ("-x", ["x", ""]),
            ("--quiet=yes", ["quiet", ""]),
            ("-i", ["-i", "value is missing"]),
            ("-i 5 --idle 5", ["-i", "once"]),
            ("-v -v", ["-v", "once"]),
            ("-l [::1]:1 -l [::1]:1", ["--listen [::1]:1", "twice"]),
            ("-l [::1]:1 -l [0::1]:01", ["--listen [0::1]:01", "twice"]),
            ("stray", ["'stray'", "options"]),
            ("-q 8255", ["'8255'", "options"]),
            ("-- -q", ["'-q'", "options"]),
        ] {
            let error = action(line).expect_err(line);
            let names_it = named.iter().all(|part| error.contains(part));
            assert!(names_it, "{line:?} gives {error:?}");
            assert!(!error.contains('\n'), "{line:?} gives {error:?}");
        }
    }

    #[test]
    fn a_log_holds_two_of_the_longest_messages() {
        let least = Limits {
            message_bytes_max: 10_000,
            ..Limits::default()
        }
        .log_bytes_min();
        assert_eq!(
            options(&format!("-m 10000 -b {least}")).limits.log_bytes,
            least
        );
        let error = action(&format!("-m 10000 -b {}", least - 1)).unwrap_err();
        assert!(error.contains(&least.to_string()), "{error}");
    }

    #[test]
    fn help_fits_into_80_columns_and_shows_every_option_with_its_default() {
        let help = printed("--help");
        assert_eq!(printed("-h -l nowhere"), help);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{line}");
        }
        for option in [
            "-l, --listen ADDR",
            "-i, --idle SECONDS",
            "--max-idle SECONDS",
            "--handshake SECONDS",
            "-b, --log-bytes SIZE",
            "-m, --max-message BYTES",
            "-q, --quiet",
            "-v, --verbose",
            "-h, --help",
            "-V, --version",
        ] {
            assert!(help.contains(option), "{option}");
        }
        let limits = Limits::default();
        for default in [
            DEFAULT_ADDRESS.to_string(),
            limits.idle_s.to_string(),
            limits.idle_max_s.to_string(),
            limits.handshake_s.to_string(),
            format!("{}K", limits.log_bytes / 1024),
            limits.message_bytes_max.to_string(),
        ] {
            assert!(help.contains(&format!("({default})")), "{default}");
        }
        assert!(help.ends_with('\n') && !help.ends_with("\n\n"));
    }

    #[test]
    fn the_version_is_the_packages() {
        let version = format!("chinwag {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(printed("-V"), version);
        assert_eq!(printed("--version"), version);
    }
}
