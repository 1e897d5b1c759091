//! Reads a command line with the table of options.
//!
//! A usage error names the option and the value, and says how to mend it.

use std::path::PathBuf;

use getopts::{Fail, HasArg, Matches, Occur};

use super::Options;
use super::help::help;
use super::table::{Kind, OPTIONS};
use crate::protocol::{NAME_BYTES_MAX, Name};

/// What a command line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Run the server.
    Run(Options),
    /// Check options and files, show how much memory the server could need, and exit.
    Check(Options),
    /// Make a key for a name, put it into a users file, and exit.
    NewKey(PathBuf, Name),
    /// Ask the server that is this process to upgrade itself, and exit.
    Upgrade(u32),
    /// Print a text and exit.
    Print(String),
}

/// Reads a command line without the program's name.
///
/// # Errors
///
/// A text for people that says what is wrong with which option.
pub fn parse(args: &[String]) -> Result<Action, String> {
    let matches = declare().parse(args).map_err(|fail| explain(&fail))?;
    if matches.opt_present("help") {
        return Ok(Action::Print(help()));
    }
    if matches.opt_present("version") {
        let version = concat!("chinwag ", env!("CARGO_PKG_VERSION"), "\n");
        return Ok(Action::Print(version.into()));
    }
    if let Some(argument) = matches.free.first() {
        return Err(format!(
            "unexpected argument '{argument}': chinwag takes only options"
        ));
    }
    if let Some(pid) = matches.opt_str("upgrade") {
        let is_other = |name: &&str| *name != "upgrade" && matches.opt_present(name);
        if let Some(other) = OPTIONS.iter().map(|row| row.name).find(is_other) {
            return Err(format!(
                "--upgrade goes without --{other}: the server keeps the options that it has"
            ));
        }
        let parsed = pid.parse().map(Action::Upgrade);
        return parsed.map_err(|_| format!("--upgrade {pid}: give the number of a process"));
    }
    if let Some(name) = matches.opt_str("new-key") {
        return new_key(&matches, &name);
    }
    let options = read(&matches)?;
    match matches.opt_present("check") {
        true => Ok(Action::Check(options)),
        false => Ok(Action::Run(options)),
    }
}

fn declare() -> getopts::Options {
    let mut options = getopts::Options::new();
    for row in OPTIONS {
        let has_value = match row.placeholder() {
            "" => HasArg::No,
            _ => HasArg::Yes,
        };
        let occurs = match row.kind {
            Kind::Text { is_list: true, .. } => Occur::Multi,
            _ => Occur::Optional,
        };
        let letter = row.letter.map(String::from).unwrap_or_default();
        options.opt(&letter, row.name, "", "", has_value, occurs);
    }
    options
}

/// Says what is wrong with the form of a command line.
pub fn explain(fail: &Fail) -> String {
    let shown = |name: &str| match name.len() {
        1 => format!("-{name}"),
        _ => format!("--{name}"),
    };
    match fail {
        Fail::ArgumentMissing(name) => format!("{}: its value is missing", shown(name)),
        Fail::UnrecognizedOption(name) => format!("{}: there is no such option", shown(name)),
        Fail::OptionDuplicated(name) => format!("{}: give it only once", shown(name)),
        Fail::UnexpectedArgument(name) => format!("{}: it takes no value", shown(name)),
        Fail::OptionMissing(name) => format!("{}: it is missing", shown(name)),
    }
}

fn new_key(matches: &Matches, name: &str) -> Result<Action, String> {
    if matches.opt_present("check") {
        return Err(format!(
            "--new-key {name}: this changes a file, which --check never does; give only one of them"
        ));
    }
    let users = matches
        .opt_str("users")
        .ok_or_else(|| format!("--new-key {name}: name the file for it with --users"))?;
    let parsed = Name::parse(name).ok_or_else(|| {
        format!(
            "--new-key {name}: a name is 1 to {NAME_BYTES_MAX} of A-Z a-z 0-9 _ - and begins with a \
             letter or digit"
        )
    })?;
    Ok(Action::NewKey(users.into(), parsed))
}

/// Checks that the options about the link go together.
fn check_link(matches: &Matches, options: &mut Options) -> Result<(), String> {
    let link = &options.link;
    let Some(broker) = &link.broker else {
        let is_about_it = |name: &&str| name.starts_with("link-") && matches.opt_present(name);
        return match OPTIONS.iter().map(|row| row.name).find(is_about_it) {
            Some(name) => Err(format!("--{name}: say with --link where the broker is")),
            None => Ok(()),
        };
    };
    if broker.port() == Some(0) {
        return Err(format!(
            "--link {broker}: give the broker's port, which is mostly 1883"
        ));
    }
    if link.name.is_none() {
        return Err(format!(
            "--link {broker}: give this box a name with --link-name"
        ));
    }
    if link.rooms.is_empty() && !link.has_all_rooms {
        return Err(format!(
            "--link {broker}: name a room with --link-room, or all with --link-room '*'"
        ));
    }
    if !link.rooms.is_empty() && link.has_all_rooms {
        return Err("--link-room *: this means all rooms, so name no other".to_owned());
    }
    let (rooms, rooms_max) = (link.rooms.len(), options.limits.rooms_max);
    if rooms > rooms_max {
        return Err(format!(
            "--link-room: these are {rooms} rooms, and --max-rooms allows {rooms_max}"
        ));
    }
    options.limits.is_linked = true;
    options.limits.rooms_permanent = rooms;
    Ok(())
}

fn read(matches: &Matches) -> Result<Options, String> {
    let mut options = Options::default();
    for row in OPTIONS {
        match row.kind {
            Kind::Switch(turn_on) if matches.opt_present(row.name) => turn_on(&mut options),
            _ => {}
        }
        for value in matches.opt_strs(row.name) {
            let stored = match &row.kind {
                Kind::Number(number) => number.store(&mut options, &value),
                Kind::Text { store, .. } => store(&mut options, &value),
                Kind::Switch(_) | Kind::Action { .. } => Ok(()),
            };
            stored.map_err(|error| format!("--{} {value}: {error}", row.name))?;
        }
    }
    if matches.opt_present("quiet") && matches.opt_present("verbose") {
        return Err("--quiet and --verbose: give only one of them".into());
    }
    check_link(matches, &mut options)?;
    if let (Some(save_s), None) = (options.save_s, &options.state) {
        return Err(format!(
            "--save {save_s}: name the file for it with --state"
        ));
    }
    if let Some(admin) = options
        .admin
        .as_ref()
        .filter(|at| options.listen.contains(at))
    {
        return Err(format!(
            "--admin {admin}: --listen has this address, too; give the operator's socket one of its own"
        ));
    }
    for address in &options.listen {
        let is_open = options.check_open(address);
        is_open.map_err(|error| format!("--listen {address}: {error}"))?;
    }
    fit_idle(&mut options, matches.opt_present("idle"))?;
    check_log(&options)?;
    Ok(options)
}

/// Fits the idle time of new sessions to the longest allowed: lowers the default, but refuses a
/// given time that is too long.
fn fit_idle(options: &mut Options, is_given: bool) -> Result<(), String> {
    let limits = &mut options.limits;
    let (idle, idle_max) = (limits.idle_s, limits.idle_max_s);
    if is_given && idle > idle_max {
        return Err(format!(
            "--idle {idle} is above --max-idle, which is {idle_max}; raise that too"
        ));
    }
    limits.idle_s = idle.min(idle_max);
    Ok(())
}

fn check_log(options: &Options) -> Result<(), String> {
    let limits = &options.limits;
    let needed = limits.log_bytes_min();
    if limits.log_bytes < needed {
        return Err(format!(
            "--log-bytes {} is too small for messages of {} bytes: give at least {needed}, or a \
             smaller --max-message",
            limits.log_bytes, limits.message_bytes_max
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{LogForm, Verbosity};
    use super::*;
    use crate::net::address::Address;
    use crate::protocol::Limits;

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
    fn without_arguments_the_defaults_are_in_force() {
        assert_eq!(options(""), Options::default());
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
            ("--keep-rooms 0", Limits { keep_rooms_s: 0, ..limits }),
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
    fn each_option_sets_its_field() {
        let defaults = Options::default();
        #[rustfmt::skip]
        let table = [
            ("--socket-buffer 8K", Options { socket_buffer_bytes: 8192, ..defaults.clone() }),
            ("--socket-mode 0660", Options { socket_mode: Some(0o660), ..defaults.clone() }),
            ("--memory 8M", Options { memory_bytes_max: Some(8 << 20), ..defaults.clone() }),
            ("-u file", Options { users: Some("file".into()), ..defaults.clone() }),
            ("--users=file", Options { users: Some("file".into()), ..defaults.clone() }),
            ("--state file", Options { state: Some("file".into()), ..defaults.clone() }),
            ("--save 1 --state=/a/b", Options { state: Some("/a/b".into()), save_s: Some(1), ..defaults.clone() }),
            ("--open", Options { is_open: true, ..defaults.clone() }),
            ("--log plain", Options { log: Some(LogForm::Plain), ..defaults.clone() }),
            ("--log=syslog", Options { log: Some(LogForm::Syslog), ..defaults.clone() }),
            ("-q", Options { verbosity: Verbosity::Quiet, ..defaults.clone() }),
            ("--quiet", Options { verbosity: Verbosity::Quiet, ..defaults.clone() }),
            ("-v", Options { verbosity: Verbosity::Verbose, ..defaults.clone() }),
            ("--verbose", Options { verbosity: Verbosity::Verbose, ..defaults.clone() }),
        ];
        for (line, expected) in table {
            assert_eq!(options(line), expected, "{line:?}");
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
    fn listening_on_a_network_needs_keys_or_an_explicit_open() {
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
    fn new_key_needs_a_name_and_a_users_file() {
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
    fn an_error_names_the_option_and_the_value() {
        for (line, named) in [
            ("-i 0", ["--idle", "0"]),
            ("-i 31536001", ["--idle", "31536001"]),
            ("--idle=", ["--idle", "from 1 to"]),
            ("-i 3601", ["--idle 3601", "--max-idle"]),
            (
                "-i 70 --max-idle 69",
                ["--idle 70", "--max-idle, which is 69"],
            ),
            ("--max-idle 0", ["--max-idle", "0"]),
            ("--max-idle 31536001", ["--max-idle", "31536001"]),
            ("--handshake 0", ["--handshake", "0"]),
            ("--save 60", ["--save 60", "--state"]),
            ("--state file --save 0", ["--save 0", "from 1"]),
            ("--state=", ["--state", "path of a file"]),
            ("--state /", ["--state /", "path of a file"]),
            ("--state folder/", ["--state folder/", "path of a file"]),
            ("--state ..", ["--state ..", "path of a file"]),
            ("--handshake 31536001", ["--handshake", "31536001"]),
            ("-b 4095", ["--log-bytes", "4095"]),
            ("-b 3K", ["--log-bytes", "3K"]),
            ("-b 1025M", ["--log-bytes", "1025M"]),
            ("-m 0", ["--max-message", "0"]),
            ("-m 1048577", ["--max-message", "1048577"]),
            ("-m 2M", ["--max-message", "2M"]),
            ("-m 64K", ["--log-bytes 65536", "--max-message"]),
            ("-b 4K -m 2000", ["--log-bytes 4096", "2000"]),
            ("--socket-mode 1777", ["--socket-mode 1777", "0777"]),
            ("--socket-mode ug=rw", ["--socket-mode ug=rw", "0660"]),
            ("-l nowhere", ["--listen", "nowhere"]),
            ("-l localhost:8255", ["--listen", "localhost:8255"]),
            ("-l unix:", ["--listen", "unix:"]),
            ("-l 127.0.0.1:1 -l x", ["--listen", "x"]),
            ("--link 127.0.0.1:0", ["--link 127.0.0.1:0", "1883"]),
            ("--link [fe80::1%lo]:0", ["--link [fe80::1%lo]:0", "port"]),
            ("--rate 1000001", ["--rate", "from 0 to 1000000"]),
            ("-c 0", ["--max-connections", "from 1 to 1000000"]),
            ("-s 1073741825", ["--max-sessions", "from 1 to 1073741824"]),
            (
                "--socket-buffer 65M",
                ["--socket-buffer 65M", "from 4096 to 67108864"],
            ),
            ("--memory 0", ["--memory", "from 1 to"]),
            ("--log json", ["--log json", "plain or syslog"]),
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
    fn a_log_has_space_for_two_of_the_longest_messages() {
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
    fn help_comes_before_anything_else_on_the_command_line() {
        for line in ["--help", "-h -l nowhere", "-V -h stray"] {
            assert_eq!(printed(line), help());
        }
    }

    #[test]
    fn the_version_is_that_of_the_package() {
        let version = format!("chinwag {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(printed("-V"), version);
        assert_eq!(printed("--version"), version);
    }
}
