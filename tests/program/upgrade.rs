//! Upgrade in place: another program takes the server's place in its process.

use std::fs;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{
    Client, Finished, PATIENCE, Process, Server, TempDir, Watch, has, has_success, install, launch,
    raise_descriptors, skip, unix,
};
use crate::steps::{HASH_OF_ABC, flood, inode, run, set_mode, users_file, wait_for_member};

const VERSION: &str = env!("CARGO_PKG_VERSION");
/// The version of a program that is the same otherwise; it has as many bytes.
const OTHER_VERSION: &str = "9.8.7";

/// A program that does nothing, for ever. It makes a file when it begins.
const SLEEPER: &str = r#"
    #include <fcntl.h>
    #include <stdio.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        char name[4096];
        snprintf(name, sizeof name, "%s.begun", argv[0]);
        close(open(name, O_CREAT | O_WRONLY, 0600));
        for (;;) pause();
    }"#;

/// A library with which the program that takes another one's place gets no poll.
const NO_POLL: &str = r#"
    #define _GNU_SOURCE
    #include <dlfcn.h>
    #include <errno.h>
    #include <stdlib.h>
    #include <string.h>
    int epoll_create1(int flags) {
        const char *errand = getenv("CHINWAG_UPGRADE");
        if (errand && strncmp(errand, "resume ", 7) == 0) { errno = ENOMEM; return -1; }
        return ((int (*)(int))dlsym(RTLD_NEXT, "epoll_create1"))(flags);
    }"#;

/// A program that says how ready the system is to end it when memory runs out.
const DISPENSABLE: &str = r#"
    #include <stdio.h>
    int main(void) {
        char score[16] = "";
        FILE *file = fopen("/proc/self/oom_score_adj", "r");
        if (file && fgets(score, sizeof score, file)) printf("score %s", score);
        return 0;
    }"#;

/// A program that needs more memory than a server.
const HUGE: &str = r#"
    char much[1 << 28];
    int main(int argc, char **argv) { return much[argc]; }"#;

/// A folder with a program that the tests replace.
struct Place {
    dir: TempDir,
    program: PathBuf,
}

impl Place {
    /// A folder with the program; `None` if an emulator runs it, which executes no other.
    fn new() -> Option<Place> {
        if launch().len() > 1 {
            skip("an emulator cannot execute the program again");
            return None;
        }
        let dir = TempDir::new();
        let program = dir.join("chinwag");
        let place = Place { dir, program };
        place.put(&good());
        Some(place)
    }

    /// Puts another program in its place, in one step.
    fn put(&self, bytes: &[u8]) {
        install(&self.program, bytes);
    }

    /// A command that starts the program there.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_remove("RUST_LOG");
        command.args(["--listen", "127.0.0.1:0", "--rate", "0"]);
        command.args(["--max-per-address", "100000"]);
        command
    }

    fn start(&self, args: &[&str]) -> Server {
        Server::start_as(self.command().args(args))
    }

    /// Compiles a program or library; `None` if there is no compiler.
    fn compile(&self, source: &str, args: &[&str]) -> Option<PathBuf> {
        if !has("cc", "cc --version") {
            return None;
        }
        let (from, to) = (self.dir.join("source.c"), self.dir.join("compiled"));
        fs::write(&from, source).unwrap();
        let mut command = Command::new("cc");
        let status = command.arg(&from).arg("-o").arg(&to).args(args).status();
        assert!(status.unwrap().success());
        Some(to)
    }
}

/// The program.
fn good() -> Vec<u8> {
    fs::read(&launch()[0]).unwrap()
}

/// The program, but for its version.
fn other() -> Vec<u8> {
    static MADE: OnceLock<Vec<u8>> = OnceLock::new();
    MADE.get_or_init(make_other).clone()
}

fn make_other() -> Vec<u8> {
    let mut bytes = good();
    let (old, new) = (VERSION.as_bytes(), OTHER_VERSION.as_bytes());
    assert_eq!(old.len(), new.len());
    let mut at = 0;
    let mut count = 0;
    while let Some(found) = find(&bytes[at..], old) {
        at += found;
        bytes[at..][..new.len()].copy_from_slice(new);
        count += 1;
    }
    assert!(count > 0);
    bytes
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

/// How many bytes of a program's file the system maps into memory.
fn used_bytes(program: &[u8]) -> usize {
    let has_64_bits = program[4] == 2;
    let number = |at: usize, len: usize| {
        let mut bytes = [0; 8];
        bytes[..len].copy_from_slice(&program[at..][..len]);
        u64::from_le_bytes(bytes) as usize
    };
    let (start, len, count) = match has_64_bits {
        true => (number(32, 8), number(54, 2), number(56, 2)),
        false => (number(28, 4), number(42, 2), number(44, 2)),
    };
    let ends = (0..count).map(|index| start + index * len).map(|at| {
        let (offset, bytes) = match has_64_bits {
            true => (number(at + 8, 8), number(at + 32, 8)),
            false => (number(at + 4, 4), number(at + 16, 4)),
        };
        if number(at, 4) == 1 {
            offset + bytes
        } else {
            0
        }
    });
    ends.max().unwrap()
}

/// Asks a server to upgrade itself.
fn ask(server: &Process) -> Finished {
    run(&["--upgrade", &server.id().to_string()])
}

/// Upgrades a server; returns what was said of it.
#[track_caller]
fn upgrade(server: &mut Process) -> String {
    let finished = ask(server);
    assert_eq!((finished.code, &*finished.err), (Some(0), ""));
    let logged = server.expect_error("upgraded from ");
    assert!(logged.trim_end().ends_with(finished.out.trim_end()));
    finished.out
}

/// Checks that a server refuses to be upgraded, and that it says why.
#[track_caller]
fn expect_refusal(server: &mut Process, reason: &str) {
    ask(server).expect_refusal(1, &["chinwag: ", "upgrade refused: ", reason]);
    let logged = server.expect_error(" ERROR upgrade refused: ");
    assert!(logged.contains(reason), "{logged}");
}

fn await_file(path: &Path) {
    let watch = Watch::start();
    while !path.exists() {
        assert!(!watch.is_over(), "{} does not come", path.display());
        std::thread::yield_now();
    }
    fs::remove_file(path).unwrap();
}

/// G39.
#[test]
fn the_program_changes_and_the_process_stays() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann");
    let boot = server.connect();
    drop(boot);
    let name = server.process.status("Name");
    for (bytes, from, to) in [
        (other(), VERSION, OTHER_VERSION),
        (good(), OTHER_VERSION, VERSION),
    ] {
        place.put(&bytes);
        let said = upgrade(&mut server.process);
        let expected = format!("upgraded from {from} to {to}: ");
        assert!(said.starts_with(&expected), "{said}");
        assert!(said.contains(" 1 session, "), "{said}");
        assert_eq!(server.process.status("Name"), name);
        let hello = Client::connect(server.address()).expect("HELLO ");
        assert!(hello.contains(&format!("chinwag/{to}")), "{hello}");
        ann.expect_service();
    }
    assert_eq!(ann.stat("upgrades"), 2);
    assert_eq!(ann.stat("upgrades-failed"), 0);
    server.process.signal("TERM");
    ann.expect_bye("shutdown");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    // It did not begin again to listen, nor to work out its memory.
    assert_eq!(finished.err.matches("listening on ").count(), 1);
    assert_eq!(finished.err.matches("memory: ").count(), 1);
}

#[test]
fn nothing_is_lost_in_whatever_state_connections_are() {
    let Some(place) = Place::new() else { return };
    let on_unix = unix(&place.dir.join("chat"));
    let mut server = place.start(&["--listen", &on_unix, "--log-bytes", "4M"]);
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut half = server.join("half");
    let mut waiting = server.join("waiting mode=pull");
    let mut local = Client::greeted(&on_unix);
    local.join("local mode=pull");
    let mut ending = server.join("ending mode=pull");
    let gone = server.join("gone mode=pull alive=tcp");
    let mut stuck = Client::narrow(server.address());
    stuck.send("JOIN stuck idle=3600");
    wait_for_member(&mut speaker, " stuck ", true);
    let mut nobody = server.connect();
    let mut typist = Client::greeted(server.address());
    typist.send("TALK typist");
    wait_for_member(&mut speaker, " typist ", true);
    typist.send("/edit");

    flood(&mut speaker, 2048, || {});
    half.send_bytes(b"SAY what is ");
    waiting.ask("POLL after=999999", "ERR ");
    waiting.send("POLL wait=3600");
    ending.send("PING last words");
    server.process.pause();
    ending.end();
    drop(gone);
    speaker.send("PING while it stands still");
    server.process.signal("USR2");
    server.process.go_on();
    server.process.expect_error("upgraded from ");

    speaker.expect("OK PING while it stands still");
    half.send_bytes(b"left unsaid\r\n");
    ending.expect("OK PING last words");
    local.expect_service();
    nobody.expect_service();
    for n in 1.. {
        let line = half.expect("");
        if line.starts_with("OK SAY ") {
            break;
        }
        assert!(
            line.starts_with("MSG ") || line.starts_with("JOINED ") || line.starts_with("LEFT ")
        );
        assert!(n < 10_000);
    }
    // All that was said, in its order, with nothing between.
    let mut last = None;
    loop {
        let line = stuck.expect("");
        let mut words = line.split(' ');
        let kind = words.next().unwrap();
        if !["MSG", "JOINED", "LEFT"].contains(&kind) {
            continue;
        }
        let seq: u64 = words.next().unwrap().parse().unwrap();
        assert!(last.is_none_or(|last| seq == last + 1), "{last:?} {line}");
        last = Some(seq);
        if line.ends_with("half what is left unsaid") {
            break;
        }
    }
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    assert!(!place.dir.join("chat").exists());
}

/// G38.
#[test]
fn a_program_that_is_no_good_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann");
    let before = server.process.descriptors();
    let mut failures = 0;
    let mut refuse = |reason: &str| {
        expect_refusal(&mut server.process, reason);
        ann.expect_service();
        assert_eq!(server.process.descriptors(), before);
        failures += 1;
    };
    fs::remove_file(&place.program).unwrap();
    refuse("No such file");
    fs::create_dir(&place.program).unwrap();
    refuse("this is not a file");
    fs::remove_dir(&place.program).unwrap();
    place.put(b"");
    refuse("cannot execute it: ");
    place.put(&b"no program\n".repeat(1000));
    refuse("cannot execute it: ");
    place.put(b"#!/bin/sh\nexit 0\n");
    refuse("it ended with status ");
    let program = good();
    // Without its last part it could run for a while.
    for bytes in [100, 5_000, used_bytes(&program) - 1] {
        place.put(&program[..bytes]);
        refuse("");
    }
    // e_machine, at byte 18, is 0 for no machine.
    let mut foreign = program.clone();
    foreign[18..20].fill(0);
    place.put(&foreign);
    refuse("cannot execute it: ");
    place.put(&program);
    set_mode(&place.program, 0o644);
    refuse("cannot execute it: ");
    for (name, reason) in [
        ("true", "it has not understood the state"),
        ("false", "it ended with status 1"),
        ("cat", "it ended with status 1; it said: "),
    ] {
        place.put(&fs::read(Path::new("/bin").join(name)).unwrap());
        refuse(reason);
    }
    if let Some(sleeper) = place.compile(SLEEPER, &[]) {
        place.put(&fs::read(sleeper).unwrap());
        refuse("it has not ended in time");
    }
    place.put(&program);
    upgrade(&mut server.process);
    assert_eq!(ann.stat("upgrades-failed"), failures);
    assert_eq!(ann.stat("upgrades"), 1);
}

#[test]
fn a_program_that_fails_in_the_others_place_gives_it_back() {
    let Some(place) = Place::new() else { return };
    let Some(library) = place.compile(NO_POLL, &["-shared", "-fPIC", "-ldl"]) else {
        return;
    };
    let on_unix = unix(&place.dir.join("chat"));
    let mut command = place.command();
    command.args(["--listen", &on_unix]);
    let mut server = Server::start_as(command.env("LD_PRELOAD", library));
    let mut ann = server.join("ann");
    let mut bob = Client::greeted(&on_unix);
    ann.send_bytes(b"PING with");
    let before = server.process.descriptors().len();
    let name = server.process.status("Name");
    place.put(&other());
    for count in 1..=3 {
        expect_refusal(&mut server.process, "cannot set up the event loop");
        bob.expect_service();
        assert_eq!(bob.stat("upgrades-failed"), count);
        assert_eq!(server.process.descriptors().len(), before);
        assert_eq!(server.process.status("Name"), name);
    }
    let hello = Client::connect(server.address()).expect("HELLO ");
    assert!(hello.contains(&format!("chinwag/{VERSION}")), "{hello}");
    ann.send_bytes(b"out loss\r\n");
    ann.expect("OK PING without loss");
    server.process.signal("TERM");
    ann.expect_bye("shutdown");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(!place.dir.join("chat").exists());
}

#[test]
fn signals_in_a_trial_are_not_lost() {
    let Some(place) = Place::new() else { return };
    let Some(sleeper) = place.compile(SLEEPER, &[]) else {
        return;
    };
    let begun = place.dir.join("chinwag.begun");
    let users = users_file(&place.dir, &format!("ann:{HASH_OF_ABC}\n"));
    let mut server = place.start(&["--users", users.to_str().unwrap()]);
    let mut ann = server.join("ann key=abc");
    place.put(&fs::read(sleeper).unwrap());
    server.process.signal("USR2");
    await_file(&begun);
    server.process.signal("USR2");
    server.process.signal("HUP");
    server.process.expect_error("upgrade refused: ");
    server.process.expect_error("users now has 1 name");
    assert_eq!(ann.stat("upgrades-failed"), 1);

    server.process.signal("USR2");
    await_file(&begun);
    let watch = Watch::start();
    server.process.signal("TERM");
    ann.expect_bye("shutdown");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    assert!(watch.elapsed() < PATIENCE / 4);
    assert_eq!(finished.err.matches("upgrade refused: ").count(), 2);
}

/// G39.
#[test]
fn any_number_of_upgrades_leave_nothing_behind() {
    let Some(place) = Place::new() else { return };
    let on_unix = unix(&place.dir.join("chat"));
    let mut server = place.start(&["--listen", &on_unix]);
    let mut clients = [server.join("ann"), Client::greeted(&on_unix)];
    let before = server.process.descriptors().len();
    for _ in 0..20 {
        upgrade(&mut server.process);
        for client in &mut clients {
            client.expect_service();
        }
        assert_eq!(server.process.descriptors().len(), before);
    }
    let environment = server.process.environment();
    assert_eq!(environment.matches("CHINWAG_UPGRADE=").count(), 1);
    for address in &server.addresses {
        Client::greeted(address).expect_service();
    }
    assert_eq!(clients[0].stat("upgrades"), 20);
}

#[test]
fn the_program_is_found_however_it_was_started() {
    let Some(place) = Place::new() else { return };
    let folder = place.program.parent().unwrap();
    for script in [
        r#"exec ./chinwag "$@""#,
        r#"PATH=".:/nowhere:$PWD:$PATH"; exec chinwag "$@""#,
        r#"mkdir below; cd below; exec ../chinwag "$@""#,
    ] {
        let mut command = Command::new("sh");
        command.current_dir(folder).env_remove("RUST_LOG");
        command.args(["-c", script, "sh", "--listen", "127.0.0.1:0"]);
        place.put(&good());
        let mut server = Server::start_as(&mut command);
        place.put(&other());
        upgrade(&mut server.process);
        upgrade(&mut server.process);
        assert_eq!(server.process.status("Name"), "chinwag");
    }
}

#[test]
fn a_link_leads_to_the_program_that_it_leads_to_now() {
    let Some(place) = Place::new() else { return };
    let (one, two) = (place.dir.join("one"), place.dir.join("two"));
    fs::rename(&place.program, &one).unwrap();
    install(&two, other());
    symlink(&one, &place.program).unwrap();
    let mut server = place.start(&[]);
    for (program, version) in [(&two, OTHER_VERSION), (&one, VERSION)] {
        fs::remove_file(&place.program).unwrap();
        symlink(program, &place.program).unwrap();
        let said = upgrade(&mut server.process);
        assert!(said.contains(&format!(" to {version}: ")), "{said}");
        assert_eq!(server.process.status("Name"), "chinwag");
    }
}

#[test]
fn keys_in_force_stay_whatever_has_become_of_the_users_file() {
    let Some(place) = Place::new() else { return };
    let users = place.dir.join("users");
    let shown = users.to_str().unwrap();
    let key = run(&["--users", shown, "--new-key", "ann"]).out;
    let key = key.trim();
    let mut server = place.start(&["--users", shown]);
    let mut ann = server.join(&format!("ann key={key}"));
    fs::write(&users, "broken\n").unwrap();
    upgrade(&mut server.process);
    ann.expect_service();
    let mut again = server.connect();
    again.ask("JOIN bob", "ERR ");
    again.ask(&format!("JOIN ann key={key}"), "OK JOIN ");
    server.process.signal("HUP");
    server
        .process
        .expect_error("the previous keys stay in force");
}

#[test]
fn a_server_that_is_full_has_descriptors_for_an_upgrade() {
    let Some(place) = Place::new() else { return };
    let script = r#"exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-; ulimit -n 40; exec "$@""#;
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh"]).arg(&place.program);
    command
        .args(["--listen", "127.0.0.1:0"])
        .env_remove("RUST_LOG");
    let mut server = Server::start_as(&mut command);
    let (before, _) = server.memory.split_once(" connections").unwrap();
    let most: usize = before.rsplit(' ').next().unwrap().parse().unwrap();
    let mut clients: Vec<_> = (0..most).map(|_| server.connect()).collect();
    upgrade(&mut server.process);
    for client in &mut clients {
        client.expect_service();
    }
}

#[test]
fn a_server_without_descriptors_is_not_upgraded() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann");
    let most = server.process.descriptors_max();
    // Without a single one it cannot even answer.
    server.process.leave_descriptors(0);
    server.process.signal("USR2");
    server.process.expect_error("(os error 24)");
    for spare in 1..5 {
        server.process.leave_descriptors(spare);
        expect_refusal(&mut server.process, "(os error 24)");
        ann.expect_service();
    }
    server.process.limit_descriptors(most);
    upgrade(&mut server.process);
    ann.expect_service();
}

#[test]
fn whoever_asks_for_an_upgrade_learns_why_there_is_none() {
    for (pid, texts) in [
        ("x", &["--upgrade x", "number"][..]),
        ("", &["--upgrade"]),
        ("-1", &["--upgrade"]),
    ] {
        run(&["--upgrade", pid]).expect_refusal(2, texts);
    }
    // It is no rehearsal, and gives the server no options.
    for option in [
        &["--check"][..],
        &["--listen", "127.0.0.1:0"],
        &["-q"],
        &["--new-key", "ann"],
    ] {
        let args = [&["--upgrade", "1"], option].concat();
        run(&args).expect_refusal(2, &["--upgrade goes without --"]);
    }
    for pid in ["0", "4194305", "4294967295"] {
        let texts = [&format!("--upgrade {pid}: "), "no such process"];
        run(&["--upgrade", pid]).expect_refusal(1, &texts);
    }
    // A process that would end if it got the signal.
    let mut other = Process::start(Command::new("sleep").arg("1000"));
    let pid = other.id().to_string();
    run(&["--upgrade", &pid]).expect_refusal(1, &["not a chinwag", "restart it"]);
    assert!(!other.has_ended());
}

/// What is said if nobody can hear the server's answer.
const LOG_SAYS_MORE: &str = "upgraded (its log says more";

/// Anybody can take the name on which the answer is expected, but not keep anybody from upgrading.
#[test]
fn a_stranger_who_listens_for_the_answer_keeps_nobody_from_upgrading() {
    let Some(place) = Place::new() else { return };
    let server = place.start(&[]);
    let mut ann = server.join("ann");
    let name = format!("chinwag-upgrade-{}", server.process.id());
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let _stranger = UnixListener::bind_addr(&address).unwrap();
    for (upgrades, program) in [(1, other()), (2, good())] {
        place.put(&program);
        let finished = ask(&server.process);
        assert_eq!((finished.code, &*finished.err), (Some(0), ""));
        assert!(finished.out.starts_with(LOG_SAYS_MORE), "{finished:?}");
        assert_eq!(ann.stat("upgrades"), upgrades);
    }
}

/// `unshare` with these arguments, if this machine allows that.
fn unshare(what: &str, args: &[&str]) -> Option<Command> {
    // Root may do it; elsewhere others may, if they are root within.
    for more in [&[][..], &["-r"]] {
        let command = || {
            let mut command = Command::new("unshare");
            command.args(more).args(args).env_remove("RUST_LOG");
            command
        };
        if has_success(command().arg("true")) {
            return Some(command());
        }
    }
    skip(&format!("unshare is missing, or may not make {what}"));
    None
}

/// As in a container, or in a jail of OpenWrt.
#[test]
fn a_server_in_another_pid_namespace_can_be_asked() {
    let Some(place) = Place::new() else { return };
    let args = ["-p", "-f", "--mount-proc", "--kill-child"];
    let Some(mut command) = unshare("a PID namespace", &args) else {
        return;
    };
    command
        .arg(&place.program)
        .args(["--listen", "127.0.0.1:0"]);
    let server = Server::start_as(&mut command);
    let mut ann = server.join("ann");
    let parent = server.process.id();
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
    let children = children.unwrap();
    let pid = children.trim();
    let ask = || run(&["--upgrade", pid]);
    place.put(&other());
    let finished = ask();
    assert_eq!((finished.code, &*finished.err), (Some(0), ""));
    let expected = format!("upgraded from {VERSION} to {OTHER_VERSION}: ");
    // In every such namespace there is a process 1, and another run of the tests may ask one just now.
    let is_known = finished.out.starts_with(&expected) || finished.out.contains(LOG_SAYS_MORE);
    assert!(is_known, "{}", finished.out);
    ann.expect_service();
    place.put(b"");
    ask().expect_refusal(1, &["upgrade refused: "]);
    assert_eq!(ann.stat("upgrades-failed"), 1);
}

#[test]
fn a_program_is_found_in_a_folder_that_is_mounted() {
    let Some(place) = Place::new() else { return };
    let Some(mut command) = unshare("a mount namespace", &["-m"]) else {
        return;
    };
    let mounted = place.dir.join("mounted");
    fs::create_dir(&mounted).unwrap();
    let folder = place.dir.join("folder");
    fs::create_dir(&folder).unwrap();
    let program = folder.join("chinwag");
    install(&program, good());
    let script =
        r#"mount --bind "$1" "$2" && program=$2/chinwag && shift 2 && exec "$program" "$@""#;
    command.args(["sh", "-c", script, "sh"]);
    command.arg(&folder).arg(&mounted);
    let mut server = Server::start_as(command.args(["--listen", "127.0.0.1:0"]));
    let mut ann = server.join("ann");
    install(&program, other());
    let said = upgrade(&mut server.process);
    assert!(said.contains(&format!(" to {OTHER_VERSION}: ")), "{said}");
    ann.expect_service();
}

#[test]
fn a_server_whose_starter_ignores_the_ends_of_children_is_upgraded() {
    let Some(place) = Place::new() else { return };
    let mut command = Command::new("env");
    let wanted = place.command();
    command
        .arg("--ignore-signal=CHLD")
        .arg(wanted.get_program());
    command.args(wanted.get_args());
    let mut server = Server::start_as(command.env_remove("RUST_LOG"));
    place.put(&other());
    let said = upgrade(&mut server.process);
    assert!(
        said.starts_with(&format!("upgraded from {VERSION} to {OTHER_VERSION}: ")),
        "{said}"
    );
}

#[test]
fn a_program_on_trial_is_the_first_that_the_system_ends() {
    let Some(place) = Place::new() else { return };
    let Some(program) = place.compile(DISPENSABLE, &[]) else {
        return;
    };
    let mut server = place.start(&[]);
    let own = || fs::read_to_string(format!("/proc/{}/oom_score_adj", server.process.id()));
    let before = own().unwrap();
    place.put(&fs::read(program).unwrap());
    ask(&server.process).expect_refusal(1, &["it said: score 1000"]);
    assert_eq!(own().unwrap(), before);
    server.process.expect_error("it said: score 1000");
}

#[test]
fn a_program_that_memory_is_too_small_for_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann");
    let mapped = server.process.mapped_bytes();
    let unlimited = server.process.limit_memory(Some(mapped + (1 << 20)));
    if let Some(program) = place.compile(HUGE, &[]) {
        place.put(&fs::read(program).unwrap());
        expect_refusal(&mut server.process, "signal ");
        ann.expect_service();
        place.put(&good());
    }
    // It refuses until there is enough for all that comes after the trial.
    let mut refused = 0;
    let limit = loop {
        let limit = mapped + refused * (64 << 10);
        server.process.limit_memory(Some(limit));
        let finished = ask(&server.process);
        ann.expect_service();
        if finished.code == Some(0) {
            break limit;
        }
        finished.expect_refusal(1, &["upgrade refused: "]);
        refused += 1;
        assert!(refused < 128);
    };
    let left = limit - server.process.mapped_bytes();
    assert!(left > 512 << 10, "{left} bytes are left");
    assert!(refused > 0);
    server.process.limit_memory(unlimited);
    assert_eq!(ann.stat("upgrades"), 1);
}

#[test]
fn a_state_that_is_longer_than_files_may_be_changes_nothing() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann mode=pull");
    flood(&mut ann, 64, || {});
    // Files in memory count, too.
    let unlimited = server.process.limit_file_bytes(Some(0));
    for limit in [0, 100, 40_000] {
        server.process.limit_file_bytes(Some(limit));
        expect_refusal(&mut server.process, "state: File too large ");
        ann.expect_service();
    }
    server.process.limit_file_bytes(unlimited);
    upgrade(&mut server.process);
    ann.expect_service();
}

#[test]
fn an_upgrade_keeps_the_lock_on_the_states_file_and_a_stop_writes_it() {
    let Some(place) = Place::new() else { return };
    let file = place.dir.join("state");
    let args = ["--state", file.to_str().unwrap()];
    let mut server = place.start(&args);
    let mut ann = server.connect();
    let token = ann.join("ann idle=3600");
    // The second time it is handed on by a program to which it was handed on.
    upgrade(&mut server.process);
    upgrade(&mut server.process);
    let second = run(&[&args[..], &["--listen", "127.0.0.1:0"]].concat());
    second.expect_refusal(1, &["state", "another server holds the lock"]);
    assert!(!file.exists());
    ann.ask("SAY one", "OK SAY 2 ");
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.err);

    let mut server = place.start(&args);
    let mut ann = server.connect();
    let reply = ann.ask(&format!("RESUME {token} after=1"), "OK RESUME name=ann ");
    assert!(reply.contains(" said=1 "), "{reply}");
    ann.expect_event("MSG", "ann one");
    // What came from the file goes through an upgrade like everything else.
    upgrade(&mut server.process);
    ann.ask("SAY two", "OK SAY 3 ");
    ann.expect_event("MSG", "ann two");
}

#[test]
fn saves_go_on_after_an_upgrade() {
    let Some(place) = Place::new() else { return };
    let file = place.dir.join("state");
    let mut server = place.start(&["--state", file.to_str().unwrap(), "--save", "1"]);
    let mut ann = server.connect();
    let token = ann.join("ann idle=3600");
    upgrade(&mut server.process);
    // Nobody knows what was saved before, so there is a save, and then one for what changes.
    for text in ["one", "two"] {
        ann.ask(&format!("SAY {text}"), "OK SAY ");
        ann.expect("MSG ");
        let event = format!(" ann {text}");
        let is_saved = || String::from_utf8_lossy(&fs::read(&file).unwrap()).contains(&event);
        let watch = Watch::start();
        while !is_saved() {
            assert!(!watch.is_over(), "nothing is saved");
            std::thread::yield_now();
        }
    }
    drop(ann);
    server.process.kill();
    let server = place.start(&["--state", file.to_str().unwrap()]);
    // After a crash the sessions are gone, and the rooms are not.
    let mut bob = server.connect();
    bob.ask(&format!("RESUME {token}"), "ERR ");
    bob.ask("JOIN bob history=9", "OK JOIN ");
    while !bob.expect("").ends_with(" ann two") {}
}

/// Upgrades a server until the save that follows is caught in the middle. Returns the process that saves,
/// which has stopped.
fn catch_save(server: &mut Process, file: &Path) -> Pid {
    let watch = Watch::start();
    loop {
        let before = inode(file);
        upgrade(server);
        if let Some(child) = stop_save(server, file, before) {
            return child;
        }
        assert!(!watch.is_over(), "every save was over too soon");
    }
}

/// Stops the process that saves; `None` if the file, whose number was `before`, is there already.
fn stop_save(server: &Process, file: &Path, before: u64) -> Option<Pid> {
    let new = file.with_extension("new");
    let watch = Watch::start();
    while !new.exists() {
        if inode(file) != before {
            return None;
        }
        assert!(!watch.is_over(), "nothing is saved");
        std::thread::yield_now();
    }
    let child = server.children().pop()?;
    let _ = kill_process(child, Signal::STOP);
    while is_running(child) {
        assert!(!watch.is_over(), "{child:?} does not stop");
        std::thread::yield_now();
    }
    let is_saving = new.exists();
    if !is_saving {
        let _ = kill_process(child, Signal::CONT);
    }
    is_saving.then_some(child)
}

/// Waits until another file is there than the one whose number was `before`.
fn await_other_file(file: &Path, before: u64) {
    let watch = Watch::start();
    while inode(file) == before {
        assert!(!watch.is_over(), "nothing is saved");
        std::thread::yield_now();
    }
}

/// Waits until no process saves, and checks that none has left its half of a file.
fn await_no_save(server: &Process, file: &Path) {
    let watch = Watch::start();
    while !server.children().is_empty() || file.with_extension("new").exists() {
        assert!(!watch.is_over(), "a process or a file is left");
        std::thread::yield_now();
    }
}

/// Whether a process has neither ended nor been stopped.
fn is_running(process: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_pid()));
    let stat = stat.unwrap_or_default();
    // The state stands behind the name, which ends with the last parenthesis.
    let state = stat.rsplit_once(") ").map(|(_, fields)| &fields[..1]);
    !matches!(state, None | Some("T" | "Z"))
}

#[test]
fn an_upgrade_ends_a_save_that_is_in_progress() {
    let Some(place) = Place::new() else { return };
    let file = place.dir.join("state");
    // Only upgrades make it save: an hour is never over.
    let args = ["--state", file.to_str().unwrap(), "--save", "3600"];
    let mut server = place.start(&[&args[..], &["--log-bytes", "8M"]].concat());
    let mut ann = server.join("ann mode=pull idle=3600");
    flood(&mut ann, 2048, || {});

    catch_save(&mut server.process, &file);
    let before = inode(&file);
    place.put(b"no program");
    expect_refusal(&mut server.process, "cannot execute it: ");
    await_other_file(&file, before);
    await_no_save(&server.process, &file);
    ann.expect_service();

    place.put(&other());
    let child = catch_save(&mut server.process, &file);
    let before = inode(&file);
    upgrade(&mut server.process);
    assert!(!server.process.children().contains(&child));
    await_other_file(&file, before);
    await_no_save(&server.process, &file);
    ann.expect_service();
    server.process.signal("TERM");
    let Finished { code, err, .. } = server.process.finish();
    assert_eq!(
        (code, err.matches(" ERROR ").count()),
        (Some(0), 1),
        "{err}"
    );
}

#[test]
fn a_half_typed_line_that_the_server_edits_goes_on() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut ann = server.join("ann");
    let mut typist = Client::greeted(server.address());
    typist.send("TALK typist");
    ann.expect_event("JOINED", "typist");
    typist.send("/edit");
    // DO echo, DO suppress-go-ahead, and a window of 80 columns.
    typist.send_bytes(b"\xff\xfd\x01\xff\xfd\x03\xff\xfb\x1f\xff\xfa\x1f\0\x50\0\x18\xff\xf0");
    // Letters, a key and half of one, its end, half a letter, and half a command of telnet.
    let parts = [
        &b"hell"[..],
        b"\x1b[D\x1b[",
        b"D",
        b"\x05 \xc3",
        b"\xbc\xff",
    ];
    for part in parts {
        typist.send_bytes(part);
        server.process.await_sleep();
        upgrade(&mut server.process);
    }
    typist.send_bytes(b"\xf1!\x01\x1b[CO\r\0");
    ann.expect_event("MSG", "typist hOell \u{fc}!");
}

#[test]
fn urgent_marks_stay_in_their_places() {
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut client = server.connect();
    let mark = |client: &Client, before: &[u8]| {
        (&client.socket).write_all(before).unwrap();
        client.socket.send_out_of_band(b"\xf2").unwrap();
    };
    mark(&client, b"PING a\xff");
    server.process.await_sleep();
    upgrade(&mut server.process);
    client.send_bytes(b"b");
    mark(&client, b"c\xff");
    client.ask("d", "OK PING abcd");
    // One that nobody has read, with something behind it, and one that comes apart.
    server.process.pause();
    mark(&client, b"PING lost\xff\xf4\xff\xfd\x06\xff");
    client.send_bytes(b"PING behind\r\n");
    server.process.signal("USR2");
    server.process.go_on();
    server.process.expect_error("upgraded from ");
    client.expect_bytes(b"\xff\xfc\x06");
    client.expect("OK PING behind");
    server.process.pause();
    mark(&client, b"PING before\r\n\xff");
    client.send_bytes(b"PING behind\r\n");
    server.process.go_on();
    client.expect("OK PING before");
    client.expect("OK PING behind");
    client.send_bytes(b"PING kept\xff");
    server.process.await_sleep();
    upgrade(&mut server.process);
    mark(&client, b"");
    client.ask("", "OK PING kept");
    client.expect_service();
}

#[test]
fn hundreds_of_sessions_go_on() {
    const COUNT: usize = 300;
    raise_descriptors();
    let Some(place) = Place::new() else { return };
    let mut server = place.start(&[]);
    let mut clients: Vec<_> = (0..COUNT)
        .map(|number| server.join(&format!("ann{number}")))
        .collect();
    place.put(&other());
    let said = upgrade(&mut server.process);
    let expected = format!("{COUNT} connections, {COUNT} sessions, ");
    assert!(said.contains(&expected), "{said}");
    clients[0].send("SAY to all");
    for (number, client) in clients.iter_mut().enumerate() {
        // Whoever came later, and what is said, and nothing else.
        for later in number + 1..COUNT {
            client.expect_event("JOINED", &format!("ann{later}"));
        }
        if number == 0 {
            client.expect("OK SAY ");
        }
        client.expect_event("MSG", "ann0 to all");
    }
}
