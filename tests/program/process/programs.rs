//! Programs that tests need, and what happens where they are missing.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{self, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use super::TempDir;

/// Says that a test, or a part of one, is skipped, and why; with CI in the environment, it fails
/// instead. Each reason is said once, and on stderr itself, since the harness shows what a test
/// prints only if the test fails.
pub fn skip(reason: &str) {
    static SAID: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    assert!(!in_ci(), "{reason}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.insert(reason.to_owned()) {
        let line = format!("{}: skipped: {reason}\n", program_of_tests());
        io::stderr().write_all(line.as_bytes()).unwrap();
    }
}

/// Whether these tests run where every change is tested.
pub fn in_ci() -> bool {
    std::env::var_os("CI").is_some_and(|ci| !ci.is_empty())
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

/// Makes a program, in one step. Another process writes it: the system executes no file that is open for
/// writing, as it would be in a child that another test starts at the same time.
pub fn install(path: &Path, bytes: impl AsRef<[u8]>) {
    let script = r#"cat >"$1.new" && chmod 755 "$1.new" && mv "$1.new" "$1""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(path);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(bytes.as_ref()).unwrap();
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

pub fn has_netcat() -> bool {
    has("netcat-openbsd", "nc -h 2>&1 | grep -q OpenBSD")
}

/// One of the programs that are called nc. With busybox' nc, all programs that busybox has are
/// busybox', too.
pub struct Netcat {
    pub package: &'static str,
    dir: TempDir,
}

impl Netcat {
    /// Those that are installed.
    pub fn all() -> Vec<Netcat> {
        let programs = [
            ("netcat-openbsd", "nc.openbsd", "echo nc"),
            ("netcat-traditional", "nc.traditional", "echo nc"),
            (
                "busybox",
                "busybox",
                "busybox --list | grep -x nc && busybox --list",
            ),
        ];
        let of = |(package, program, names): (&'static str, &str, &str)| {
            if !has(package, &format!("command -v {program} && {names}")) {
                return None;
            }
            let shell = |script: &str| {
                let output = Command::new("sh").args(["-c", script]).output().unwrap();
                String::from_utf8(output.stdout).unwrap()
            };
            let dir = TempDir::new();
            let target = shell(&format!("command -v {program}"));
            for name in shell(names).lines().collect::<BTreeSet<_>>() {
                symlink(target.trim_end(), dir.join(name)).unwrap();
            }
            Some(Netcat { package, dir })
        };
        programs.into_iter().filter_map(of).collect()
    }

    /// The program, under the name nc.
    pub fn program(&self) -> PathBuf {
        self.dir.join("nc")
    }

    pub fn has_unix_sockets(&self) -> bool {
        self.package == "netcat-openbsd"
    }

    /// The shell, with this nc.
    pub fn shell(&self) -> Command {
        let mut path = OsString::from(self.dir.path());
        path.push(":");
        path.push(std::env::var_os("PATH").unwrap_or_default());
        let shell = match self.dir.join("sh") {
            own if own.exists() => own,
            _ => "sh".into(),
        };
        let mut command = Command::new(shell);
        command.env("PATH", path);
        command
    }
}

pub fn has_ipv6() -> bool {
    let found = TcpListener::bind("[::1]:0");
    if let Err(error) = &found {
        skip(&format!("this machine has no IPv6: {error}"));
    }
    found.is_ok()
}
