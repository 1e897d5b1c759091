//! fail2ban's filter and jail in `dist/`, with logs that the server itself has written.
//!
//! Without fail2ban these tests are skipped, with a line that names it; with CI in the environment
//! they fail.

use std::fs;
use std::process::Command;

use crate::process::{Client, Finished, Process, TempDir, has, has_ipv6, program};
use crate::script::sources::{blocks, document};

fn has_fail2ban() -> bool {
    has("fail2ban", "command -v fail2ban-regex")
}

/// fail2ban's own configuration, with the files from `dist/` installed as README.md says.
fn configuration() -> TempDir {
    let dir = TempDir::new();
    let folder = dir.join("etc");
    let mut copy = Command::new("cp");
    let copy = copy.arg("-r").arg("/etc/fail2ban").arg(&folder);
    assert!(copy.status().unwrap().success());
    let mut scripts = blocks(&document("README.md"), "sh").into_iter();
    let (_, script) = scripts.find(|(_, text)| text.contains("fail2ban")).unwrap();
    let script = script.replace("/etc/fail2ban", folder.to_str().unwrap());
    let script = script.replace("fail2ban-client reload", "");
    let mut install = Command::new("sh");
    let install = install.args(["-euc", &script]);
    run(install.current_dir(env!("CARGO_MANIFEST_DIR")));
    dir
}

fn run(command: &mut Command) -> Finished {
    let finished = Process::start(command).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    finished
}

/// The address of each line that the filter finds in a log: a file's path, or the journal's.
fn found_in(config: &TempDir, log: &str) -> Vec<String> {
    let mut command = Command::new("fail2ban-regex");
    command.arg("-c").arg(config.join("etc"));
    let finished = run(command.args(["-o", "ip", log, "chinwag"]));
    let mut addresses: Vec<_> = finished.out.lines().map(str::to_owned).collect();
    addresses.sort_unstable();
    addresses
}

/// The same for the text of a log.
fn found(log: &str) -> Vec<String> {
    let config = configuration();
    let file = config.join("log");
    fs::write(&file, log).unwrap();
    found_in(&config, file.to_str().unwrap())
}

/// What a client does that is refused, and whether the filter finds that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    WrongKeys,
    WrongKeyOnce,
    Errors,
    Http,
    Tls,
    TooLong,
    ConnectionsOfAddress,
    SessionsOfAddress,
    Connections,
    Sessions,
    Rooms,
}

impl Refusal {
    const ALL: [Refusal; 11] = [
        Refusal::WrongKeys,
        Refusal::WrongKeyOnce,
        Refusal::Errors,
        Refusal::Http,
        Refusal::Tls,
        Refusal::TooLong,
        Refusal::ConnectionsOfAddress,
        Refusal::SessionsOfAddress,
        Refusal::Connections,
        Refusal::Sessions,
        Refusal::Rooms,
    ];

    /// A limit refuses whoever comes next.
    fn bans(self) -> bool {
        matches!(
            self,
            Refusal::WrongKeys
                | Refusal::WrongKeyOnce
                | Refusal::Errors
                | Refusal::Http
                | Refusal::Tls
                | Refusal::TooLong
        )
    }

    /// The options that it takes.
    fn options(self) -> &'static [&'static str] {
        match self {
            Refusal::ConnectionsOfAddress => &["--max-per-address", "1"],
            Refusal::SessionsOfAddress => &["--max-per-address", "2"],
            Refusal::Connections => &["--max-connections", "1"],
            Refusal::Sessions => &["--max-sessions", "1"],
            Refusal::Rooms => &["--max-rooms", "1"],
            _ => &[],
        }
    }

    /// What the client sends on its last connection, and the connections before that.
    fn act(self, mut connect: impl FnMut() -> Client) {
        let mut send = |bytes: &[u8]| {
            let mut client = connect();
            client.expect("HELLO ");
            client.send_bytes(bytes);
            client.end();
            client.rest();
        };
        match self {
            Refusal::WrongKeys => send(&b"JOIN ann key=x\r\n".repeat(3)),
            Refusal::WrongKeyOnce => send(b"JOIN ann key=x\r\n"),
            Refusal::Errors => send(&b"nonsense\r\n".repeat(100)),
            Refusal::Http => send(b"GET / HTTP/1.1\r\n"),
            Refusal::Tls => send(b"\x16\x03\x01\x02\x00"),
            Refusal::TooLong => send(&b"x".repeat(3000)),
            Refusal::SessionsOfAddress | Refusal::Sessions | Refusal::Rooms => {
                for name in ["ann", "bob", "cem"] {
                    let join = format!("JOIN {name} room={name} mode=pull\r\nDETACH\r\n");
                    send(join.as_bytes());
                }
            }
            Refusal::ConnectionsOfAddress | Refusal::Connections => {
                let mut first = connect();
                first.expect("HELLO ");
                let mut second = connect();
                second.expect("HELLO ");
                second.expect_bye("full");
            }
        }
    }
}

/// The log of a server that refuses this, from IPv4 addresses or from the one of IPv6.
fn log_of(refusal: Refusal, options: &[&str], is_v6: bool) -> String {
    let dir = TempDir::new();
    let users = dir.join("users");
    let mut command = program();
    let listen = if is_v6 { "[::1]:0" } else { "127.0.0.1:0" };
    command.args(["--listen", listen]).args(options);
    command.args(refusal.options());
    if matches!(refusal, Refusal::WrongKeys | Refusal::WrongKeyOnce) {
        let users = users.to_str().unwrap();
        let make_key = ["--users", users, "--new-key", "ann"];
        run(program().args(make_key));
        command.args(["--users", users]);
    }
    let mut process = Process::start(&mut command);
    let line = process.expect_error("listening on ");
    let address = line.split_once("listening on ").unwrap().1.trim_end();
    let number = Refusal::ALL.iter().position(|&other| other == refusal);
    let source = [127, 0, 2, number.unwrap() as u8 + 1];
    refusal.act(|| match is_v6 {
        true => Client::connect(address),
        false => Client::from(source, address),
    });
    process.signal("TERM");
    let finished = process.finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let refused: Vec<_> = finished.err.split("refused ").skip(1).collect();
    let from = if is_v6 { "::1: " } else { "127.0.2." };
    let is_there = refused.iter().any(|line| line.starts_with(from));
    assert!(is_there, "{refusal:?}: {}", finished.err);
    finished.err
}

/// The logs of all refusals together, and the addresses that the filter should find.
fn log_of_all(options: &[&str]) -> (String, Vec<String>) {
    let logs = Refusal::ALL.map(|refusal| log_of(refusal, options, false));
    let banned = (1..)
        .zip(Refusal::ALL)
        .filter(|(_, refusal)| refusal.bans());
    let addresses = banned.map(|(number, _)| format!("127.0.2.{number}"));
    (logs.concat(), addresses.collect())
}

#[test]
fn whoever_guesses_keys_or_speaks_something_else_is_found_and_nobody_who_meets_a_limit() {
    if !has_fail2ban() {
        return;
    }
    let (log, banned) = log_of_all(&["-v"]);
    assert_eq!(found(&log), banned, "{log}");
    // With priorities: as logger gets it, and as it gives it to syslog.
    let (log, banned) = log_of_all(&["--log", "syslog"]);
    assert!(log.contains("\n<4>refused 127.0.2."), "{log}");
    assert_eq!(found(&log), banned, "{log}");
    let as_syslog = |line: &str| {
        let (_, text) = line.split_once('>').unwrap();
        format!("Nov 28 01:24:27 box chinwag[12]: {text}\n")
    };
    let in_syslog: String = log.lines().map(as_syslog).collect();
    assert_eq!(found(&in_syslog), banned, "{in_syslog}");
    // What another program logs there is not chinwag's.
    let other = in_syslog.replace(" chinwag[", " other[");
    assert_eq!(found(&other), [""; 0], "{other}");
}

#[test]
fn ipv6_addresses_are_found_too() {
    if !has_fail2ban() || !has_ipv6() {
        return;
    }
    let (banning, others): (Vec<_>, Vec<_>) = Refusal::ALL.into_iter().partition(|r| r.bans());
    for options in [&["-v"][..], &["--log", "syslog"]] {
        for (refusals, lines) in [(&banning, banning.len()), (&others, 0)] {
            let logs = refusals
                .iter()
                .map(|&refusal| log_of(refusal, options, true));
            let log: String = logs.collect();
            assert_eq!(found(&log), vec!["::1"; lines], "{log}");
        }
    }
}

/// fail2ban reads the journal itself.
#[test]
fn addresses_are_found_in_the_journal() {
    let writer = "/lib/systemd/systemd-journal-remote";
    if !has_fail2ban()
        || !has("systemd-journal-remote", &format!("test -x {writer}"))
        || !has("python3-systemd", "/usr/bin/python3 -c 'import systemd'")
    {
        return;
    }
    let (log, banned) = log_of_all(&["--log", "syslog"]);
    let config = configuration();
    // What systemd makes of the lines that come from a service; see "Journal Export Format".
    let mut entries = String::new();
    for (number, line) in log.lines().enumerate() {
        let (priority, message) = line.split_at(3);
        let priority = &priority[1..2];
        entries += &format!(
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={}\n_MACHINE_ID={}\n\
             _HOSTNAME=box\nSYSLOG_IDENTIFIER=chinwag\n_PID=12\n_SYSTEMD_UNIT=chinwag.service\n\
             PRIORITY={priority}\nMESSAGE={message}\n\n",
            1_763_800_000_000_000 + number,
            1 + number,
            "2".repeat(32),
            "1".repeat(32),
        );
    }
    let (export, journal) = (config.join("export"), config.join("chinwag.journal"));
    fs::write(&export, entries).unwrap();
    run(Command::new(writer).arg("-o").arg(&journal).arg(&export));
    let log = format!("systemd-journal[journalfiles={}]", journal.display());
    assert_eq!(found_in(&config, &log), banned);
}

/// Names and texts in which another address is said to be refused, for a log of everything.
#[test]
fn no_client_gets_another_address_banned() {
    const CLAIM: &str = "refused 192.0.2.1: it speaks TLS, connection closed";
    if !has_fail2ban() {
        return;
    }
    for form in ["plain", "syslog"] {
        let mut command = program();
        command.env("RUST_LOG", "trace");
        let listen = ["--listen", "127.0.0.1:0"];
        let mut process = Process::start(command.args(listen).args(["--log", form]));
        let line = process.expect_error("listening on ");
        let address = line.split_once("listening on ").unwrap().1.trim_end();
        let mut number = 0;
        let mut connect = || {
            number += 1;
            let mut client = Client::from([127, 0, 3, number], address);
            client.expect("HELLO ");
            client
        };
        let mut member = connect();
        member.join("refused room=WARN mode=pull");
        member.ask(&format!("SAY {CLAIM}"), "OK SAY ");
        member.ask(&format!("SAY \u{1b}[2K<4>{CLAIM}"), "ERR ");
        member.ask("LEAVE", "OK LEAVE");
        for line in [
            format!("JOIN {CLAIM}"),
            format!("JOIN ann room={CLAIM}"),
            format!("JOIN ann key=192.0.2.1:{CLAIM}"),
            format!("RESUME {CLAIM}"),
            format!("TALK {CLAIM}"),
            CLAIM.to_owned(),
            format!("\r\r\n<4>{CLAIM}"),
            format!("\0<4>{CLAIM}"),
        ] {
            let mut client = connect();
            client.send(&line);
            client.send("QUIT");
            client.end();
            client.rest();
        }
        // These are refused themselves.
        for line in [
            format!("Host: {CLAIM}"),
            format!("{CLAIM} {}", "x".repeat(3000)),
            format!("{CLAIM}\r\n").repeat(100),
        ] {
            let mut client = connect();
            client.send(&line);
            client.rest();
        }
        process.signal("TERM");
        let log = process.finish().err;
        let own: Vec<_> = (10..=12).map(|last| format!("127.0.3.{last}")).collect();
        assert_eq!(found(&log), own, "{log}");
        assert!(!log.contains("192.0.2.1"), "{log}");
    }
}

#[test]
fn the_jail_is_understood() {
    if !has_fail2ban() {
        return;
    }
    let config = configuration();
    let mut command = Command::new("fail2ban-client");
    let finished = run(command.arg("-c").arg(config.join("etc")).arg("-d"));
    for setting in [
        "['add', 'chinwag', 'systemd']",
        "['set', 'chinwag', 'addjournalmatch', '_SYSTEMD_UNIT=chinwag.service']",
        "['set', 'chinwag', 'maxretry', 3]",
        "['start', 'chinwag']",
    ] {
        let is_there = finished.out.lines().any(|line| line == setting);
        assert!(is_there, "no {setting}: {finished:?}");
    }
}
