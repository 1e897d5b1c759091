//! Steps that tests of several kinds take.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{self, Client, Finished, Process, TempDir, Watch, program, program_within};

pub const SECOND: Duration = Duration::from_secs(1);

/// How many messages are said at once in a flood. They fit into the smallest socket buffer, so that
/// a client that reads between two batches has space for the next.
pub const BATCH: usize = 32;

/// The SHA-256 of "abc", from appendix B.1 of FIPS 180-2.
pub const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

/// Says `messages` messages of 1,000 bytes, and does something after each batch.
pub fn flood(speaker: &mut Client, messages: usize, mut after_batch: impl FnMut()) {
    let line = format!("SAY {}\r\n", "x".repeat(1000));
    let lines = line.repeat(BATCH);
    for _ in 0..messages / BATCH {
        speaker.send_bytes(lines.as_bytes());
        for _ in 0..BATCH {
            speaker.expect("OK SAY ");
        }
        after_batch();
    }
}

/// Asks who is there until a line of the answer contains `text`, or until none does if `present` is
/// false.
pub fn wait_for_member(asker: &mut Client, text: &str, present: bool) {
    let watch = Watch::start();
    loop {
        let head = asker.ask("WHO", "OK WHO ");
        let members = head.split(' ').nth(2).unwrap().parse().unwrap();
        let members: Vec<_> = (0..members).map(|_| asker.expect("MEMBER ")).collect();
        if members.iter().any(|member| member.contains(text)) == present {
            return;
        }
        assert!(!watch.is_over(), "{members:?}");
        asker.expect_nothing(Duration::from_millis(20));
    }
}

pub fn try_to_listen(address: &str) -> Finished {
    Process::start(program().args(["--open", "--listen", address])).finish()
}

/// Makes some system calls of a program fail, if there is a program that can do that.
pub fn failing(calls: &str, errors: &str) -> Option<Command> {
    let mut probe = Command::new("strace");
    let can_trace = probe.args(["-qq", "-o", "/dev/null", "true"]).status();
    if !can_trace.is_ok_and(|status| status.success()) {
        process::skip("strace is not installed, or may not trace");
        return None;
    }
    let traced = format!(
        r#"exec strace -D -qq -o /dev/null -e trace={calls} -e inject={calls}:{errors} "$@""#
    );
    Some(program_within(&traced))
}

/// Runs the program to its end.
pub fn run(args: &[&str]) -> Finished {
    Process::start(program().args(args)).finish()
}

/// Checks that the server refuses a new connection because there are too many.
pub fn expect_full(mut client: Client) {
    client.expect("HELLO ");
    client.expect_bye("full");
}

/// A users file that only its owner can read.
pub fn users_file(dir: &TempDir, text: &str) -> PathBuf {
    let path = dir.join("users");
    fs::write(&path, text).unwrap();
    set_mode(&path, 0o600);
    path
}

/// The number of a file, which another one in its place does not have.
pub fn inode(file: &Path) -> u64 {
    fs::metadata(file).unwrap().ino()
}

pub fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}
