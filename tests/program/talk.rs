//! What people see of the machine on which the server runs: its time of day, and who they are there.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use rustix::process::getuid;

use crate::process::{
    Client, Process, Server, TempDir, has, has_netcat, program, program_within, skip, unix,
};

/// The minute of the day that a person sees of what a program says, and the minute of it in UTC.
fn minutes(server: &Server, text: &str) -> (u64, u64) {
    let mut person = Client::greeted(server.address());
    person.send("TALK ann room=den history=0");
    person.expect("-- you are ann");
    person.expect("-- nobody else");
    let mut program = server.join("bot mode=pull quiet=yes room=den");
    program.send(&format!("SAY {text}"));
    let reply = program.expect("OK SAY ");
    let unix_ms: u64 = reply.rsplit_once(' ').unwrap().1.parse().unwrap();
    let shown = person.expect("");
    let (clock, rest) = shown.split_once(' ').unwrap();
    assert_eq!(rest, format!("<bot> {text}"));
    program.ask("LEAVE", "OK LEAVE");
    person.send("/quit");
    person.expect("-- goodbye");
    let (hours, minutes) = clock.split_once(':').unwrap();
    let shown = hours.parse::<u64>().unwrap() * 60 + minutes.parse::<u64>().unwrap();
    (shown, unix_ms / 60_000 % (24 * 60))
}

/// The zones are written as POSIX has them (TZ in environ(7)), so that no machine lacks them.
#[test]
fn people_see_the_time_of_the_servers_zone() {
    const DAY: i64 = 24 * 60;
    for (zone, ahead) in [
        ("UTC0", 0),
        ("<+0545>-5:45", 5 * 60 + 45),
        ("NST3:30", -(3 * 60 + 30)),
        // Daylight saving time all year (RFC 8536, section 3.3.1).
        ("XST-1XDT-2,0/0,J365/25", 120),
    ] {
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0"]).env("TZ", zone);
        let (shown, utc) = minutes(&Server::start_as(&mut command), "tick");
        let expected = (utc as i64 + ahead).rem_euclid(DAY);
        assert_eq!(shown as i64, expected, "{zone}");
    }
}

/// The system's zone is read again on SIGHUP, since somebody may set it after the server has started.
/// The program runs with an /etc of its own.
#[test]
fn a_zone_that_changes_is_read_again_on_sighup() {
    if !has("unshare, for root", "unshare --mount true") {
        return;
    }
    let dir = TempDir::new();
    let file = dir.join("localtime");
    fs::write(&file, zone_file(0)).unwrap();
    let mut command = program_within(
        r#"exec unshare --mount sh -c 'mount --bind "$ETC" /etc && exec "$@"' sh "$@""#,
    );
    command.env_remove("TZ").env("ETC", dir.join("."));
    let mut server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]));
    let (shown, utc) = minutes(&server, "before");
    assert_eq!(shown, utc);
    fs::write(dir.join("other"), zone_file(3600)).unwrap();
    fs::rename(dir.join("other"), &file).unwrap();
    server.process.signal("HUP");
    server.process.expect_error("there is no users file");
    let (shown, utc) = minutes(&server, "behind");
    assert_eq!(shown, (utc + 60) % (24 * 60));
}

/// A time zone file (RFC 8536) of a zone that is always `ahead_s` seconds ahead of UTC.
fn zone_file(ahead_s: i32) -> Vec<u8> {
    // There is one type of local time, whose name has four bytes with its end.
    let counts = [0_u32, 0, 0, 0, 1, 4].map(u32::to_be_bytes).concat();
    let header = [&b"TZif2"[..], &[0; 15], &counts].concat();
    let body = [&ahead_s.to_be_bytes()[..], &[0, 0], b"XST\0"].concat();
    [&header[..], &body, &header, &body, b"\n\n"].concat()
}

#[test]
fn on_a_unix_socket_only_the_same_user_comes_back_without_a_key() {
    if !getuid().is_root() {
        return skip("only root can connect as two users");
    }
    if !has_netcat() {
        return;
    }
    let dir = TempDir::new();
    fs::set_permissions(dir.join("."), Permissions::from_mode(0o755)).unwrap();
    let path = dir.join("chat");
    let mut command = program();
    command.args(["--listen", &unix(&path), "--socket-mode", "0666"]);
    let server = Server::start_as(&mut command);
    let netcat = |user: u32| netcat(&path, user);

    let mut nobody = netcat(65_534);
    nobody.type_in("TALK ann\n");
    nobody.expect("-- you are ann in lobby");
    nobody.kill();
    server.connect().await_stat("sessions-attached", 0);
    let mut other = netcat(0);
    other.type_in("TALK ann\n");
    other.expect("ERR name-taken ann is taken");
    let mut same = netcat(65_534);
    same.type_in("TALK ann\n");
    same.expect("-- welcome back, ann");
}

fn netcat(path: &Path, user: u32) -> Process {
    Process::start(Command::new("nc").arg("-U").arg(path).uid(user))
}
