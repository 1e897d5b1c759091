//! Programs that tests need, and what happens where they are missing.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

/// Says that a test, or a part of one, is skipped, and why; with CI in the environment, it fails
/// instead. Each reason is said once, and on stderr itself, since the harness shows what a test
/// prints only if the test fails.
pub fn skip(reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let in_ci = std::env::var_os("CI").is_some_and(|ci| !ci.is_empty());
    assert!(!in_ci, "{reason}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(reason.to_owned()) {
        let line = format!("{}: skipped: {reason}\n", program_of_tests());
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// The folder that this program's tests are in.
fn program_of_tests() -> String {
    let path = std::env::current_exe().unwrap();
    let stem = path.file_stem().unwrap().to_string_lossy();
    // Cargo adds a hyphen and a hash.
    let name = stem.rsplit_once('-').map_or(&*stem, |(name, _)| name);
    format!("tests/{name}")
}

/// Whether `program` is installed: `check` is a shell command that succeeds only then. Says so if
/// not.
pub fn has(program: &str, check: &str) -> bool {
    let mut command = Command::new("sh");
    command.args(["-c", check]).env("LC_ALL", "C");
    let found = has_success(&mut command);
    if !found {
        skip(&format!("{program} is missing"));
    }
    found
}

/// Whether a command can be run and succeeds.
pub fn has_success(command: &mut Command) -> bool {
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

pub fn has_netcat() -> bool {
    has("netcat-openbsd", "nc -h 2>&1 | grep -q OpenBSD")
}

pub fn has_ipv6() -> bool {
    let found = TcpListener::bind("[::1]:0");
    if let Err(error) = &found {
        skip(&format!("this machine has no IPv6: {error}"));
    }
    found.is_ok()
}
