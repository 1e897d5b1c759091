//! The file that keeps sessions and rooms from a stop to the next start, and rooms over a crash.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;
use std::process::Command;
use std::thread;

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{
    Client, Finished, Process, Server, TempDir, Watch, program, program_within, unix,
};
use crate::steps::{HASH_OF_ABC, SECOND, failing, inode, run, users_file};

/// A folder with a state's file, and the servers that use it one after the other.
struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            dir: TempDir::new(),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// The arguments of a server that uses it.
    fn args(&self, more: &[&str]) -> Vec<String> {
        let file = self.file();
        let own = ["--state", file.to_str().unwrap()];
        own.iter()
            .chain(more)
            .map(|&arg| arg.to_owned())
            .collect::<Vec<_>>()
    }

    fn start(&self, more: &[&str]) -> Server {
        let args = self.args(more);
        Server::start(&args.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Starts a server by another command.
    fn start_as(&self, mut command: Command, more: &[&str]) -> Process {
        command.args(["--listen", "127.0.0.1:0"]);
        Process::start(command.args(self.args(more)))
    }

    fn try_to_start(&self, more: &[&str]) -> Finished {
        self.start_as(program(), more).finish()
    }

    /// What is in the folder besides the lock.
    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir.join(".")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.ends_with("-lock")).collect();
        names.sort();
        names
    }

    /// Waits until the file is another one than that with this number.
    fn await_save(&self, before: u64) -> u64 {
        let watch = Watch::start();
        loop {
            let number = inode(&self.file());
            if number != before {
                return number;
            }
            assert!(!watch.is_over(), "nothing was saved: {:?}", self.names());
            thread::yield_now();
        }
    }
}

/// Ends a server properly; returns its log.
fn stop(server: Server) -> String {
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0), "{}", finished.err);
    finished.err
}

/// Ends a server as a power cut does.
fn crash(mut server: Server) {
    server.process.kill();
}

/// The value of a word `key=value` in a line.
fn word<'a>(line: &'a str, key: &str) -> &'a str {
    let mut words = line.split(' ');
    let value = words.find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key}= in {line}"))
}

/// Connects, and returns which life of the server this is.
fn connect(server: &Server) -> (Client, String) {
    let mut client = Client::connect(server.address());
    let hello = client.expect("HELLO ");
    let boot = word(&hello, "boot").to_owned();
    (client, boot)
}

/// G40 and G42.
#[test]
fn a_stop_and_a_start_keep_sessions_and_rooms() {
    let place = Place::new();
    let server = place.start(&[]);
    let (mut ann, boot) = connect(&server);
    let token = ann.join("ann idle=3600");
    let mut bob = server.join("bob mode=pull room=den");
    ann.ask("SAY one", "OK SAY 2 ");
    ann.expect_event("MSG", "ann one");
    bob.ask("SAY alone", "OK SAY 2 ");
    assert_eq!(place.names(), [""; 0]);
    stop(server);
    assert_eq!(place.names(), ["state"]);
    let mode = fs::metadata(place.file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o600);

    let server = place.start(&[]);
    let (mut ann, boot_now) = connect(&server);
    assert_eq!(boot_now, boot);
    // It is used once.
    assert_eq!(place.names(), [""; 0]);
    let reply = ann.ask(&format!("RESUME {token} after=1"), "OK RESUME name=ann ");
    assert_eq!(word(&reply, "said"), "1");
    assert_eq!(word(&reply, "seq"), "2");
    assert_eq!(ann.expect_event("MSG", "ann one"), 2);
    ann.ask("SAY two", "OK SAY 3 ");
    ann.expect_event("MSG", "ann two");
    assert_eq!(ann.stat("sessions"), 2);
    let log = stop(server);
    assert!(
        log.contains(" INFO 2 sessions and 2 rooms back, saved "),
        "{log}"
    );

    // Not even a start that fails uses it up.
    let taken = Server::start(&[]);
    let second = ["--listen", taken.address()];
    let finished = place.try_to_start(&second);
    finished.expect_refusal(1, &["choose another port"]);
    assert_eq!(place.names(), ["state"]);

    let server = place.start(&[]);
    let (mut ann, _) = connect(&server);
    let reply = ann.ask(&format!("RESUME {token}"), "OK RESUME name=ann ");
    assert_eq!(word(&reply, "said"), "2");
    crash(server);
    let server = place.start(&[]);
    let (mut ann, boot_now) = connect(&server);
    assert_ne!(boot_now, boot);
    ann.ask(&format!("RESUME {token}"), "ERR ");
    assert_eq!(ann.stat("sessions"), 0);
}

#[test]
fn what_was_left_of_the_idle_time_is_at_least_a_minute() {
    let place = Place::new();
    let server = place.start(&[]);
    let token = server.connect().join("ann idle=3");
    stop(server);
    let server = place.start(&[]);
    let mut ann = server.connect();
    ann.expect_nothing(7 * SECOND / 2);
    ann.ask(&format!("RESUME {token}"), "OK RESUME name=ann ");
}

/// G42.
#[test]
fn a_damaged_file_is_put_aside_and_the_server_starts() {
    let place = Place::new();
    for bytes in [&b""[..], b"precious"] {
        fs::write(place.file(), bytes).unwrap();
        let server = place.start(&[]);
        server.connect().expect_service();
        assert_eq!(place.names(), ["state.refused"]);
        assert_eq!(fs::read(place.dir.join("state.refused")).unwrap(), bytes);
        server.process.signal("TERM");
        let log = server.process.finish().err;
        let is_error = |line: &&str| line.contains(" ERROR ") && line.contains("state.refused");
        assert_eq!(log.lines().filter(is_error).count(), 1, "{log}");
        fs::remove_file(place.file()).unwrap();
    }
}

#[test]
fn a_second_server_with_the_same_file_is_refused() {
    let place = Place::new();
    let server = place.start(&[]);
    let finished = place.try_to_start(&[]);
    finished.expect_refusal(1, &["state", "another server holds the lock"]);
    server.connect().expect_service();
    // A check disturbs nobody.
    assert_eq!(place.try_to_start(&["--check"]).code, Some(0));
    stop(server);
    assert_eq!(place.names(), ["state"]);
}

#[test]
fn a_start_and_a_check_refuse_a_folder_or_file_that_cannot_be_used() {
    let place = Place::new();
    let missing = place.dir.join("missing/state");
    let no_folder = place.dir.join("file/state");
    fs::write(place.dir.join("file"), "").unwrap();
    for check in [&[][..], &["--check"]] {
        for path in [&missing, &no_folder] {
            let path = path.to_str().unwrap();
            let args = ["--state", path, "--listen", "127.0.0.1:0"];
            run(&[&args, check].concat()).expect_refusal(1, &["--state", path, "the folder"]);
        }
        fs::create_dir(place.file()).unwrap();
        let finished = place.try_to_start(check);
        finished.expect_refusal(1, &["state: this is not an ordinary file"]);
        fs::remove_dir(place.file()).unwrap();
        if let Some(command) = failing("/access", "error=EROFS") {
            let finished = place.start_as(command, check).finish();
            finished.expect_refusal(1, &["cannot write to the folder", "Read-only"]);
        }
    }
    // A file that would be used again is worse than none.
    fs::write(place.file(), "").unwrap();
    if let Some(command) = failing("rename", "error=EIO") {
        let finished = place.start_as(command, &[]).finish();
        finished.expect_refusal(1, &["state.refused", "remove it"]);
    }
}

#[test]
fn a_state_that_cannot_be_saved_is_an_error_for_a_start_and_at_the_stop() {
    let place = Place::new();
    let new = place.dir.join("state.new");
    let server = place.start(&[]);
    server.connect().join("ann");
    fs::create_dir(&new).unwrap();
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.err.contains("cannot write the state to"));
    assert_eq!(place.names(), ["state.new"]);
    let finished = place.try_to_start(&["--save", "60"]);
    finished.expect_refusal(1, &["cannot write the state to"]);
    fs::remove_dir(&new).unwrap();

    for (calls, error) in [("fsync", "error=EIO"), ("rename", "error=ENOSPC")] {
        let Some(mut command) = failing(calls, error) else {
            return;
        };
        command.args(["--listen", "127.0.0.1:0"]);
        let mut finished = Vec::new();
        if calls == "rename" {
            let server = Server::start_as(command.args(place.args(&[])));
            server.connect().join("ann");
            server.process.signal("TERM");
            finished.push(server.process.finish());
        } else {
            finished.push(Process::start(command.args(place.args(&["--save", "60"]))).finish());
        }
        for finished in finished {
            assert_eq!(finished.code, Some(1), "{finished:?}");
            assert!(finished.err.contains("cannot write the state to"));
        }
        assert_eq!(place.names(), [""; 0], "{calls}");
    }
}

#[test]
fn a_state_that_is_longer_than_files_may_be_is_an_error_and_not_the_end() {
    const ERROR: &str = "cannot write the state to ";
    let place = Place::new();
    let command = program_within(r#"ulimit -f 0 && exec "$@""#);
    let finished = place.start_as(command, &["--save", "60"]).finish();
    finished.expect_refusal(1, &[ERROR, "File too large"]);
    assert_eq!(place.names(), [""; 0]);

    let mut server = place.start(&["--save", "1"]);
    let mut ann = server.connect();
    let first = inode(&place.file());
    ann.join("ann mode=pull");
    place.await_save(first);
    // A part of it can be written.
    let half = fs::metadata(place.file()).unwrap().len() / 2;
    let unlimited = server.process.limit_file_bytes(Some(half));
    ann.ask("SAY one", "OK SAY 2 ");
    let expected = format!(" ERROR {ERROR}{}: File too large ", place.file().display());
    let logged = server.process.expect_error(ERROR);
    assert!(logged.contains(&expected), "{logged}");
    ann.expect_service();
    server.process.limit_file_bytes(unlimited);
    server.process.expect_error("INFO the state is saved again");
    assert_eq!(place.names(), ["state"]);
    let saved = fs::read(place.file()).unwrap();

    server.process.limit_file_bytes(Some(half));
    ann.ask("SAY two", "OK SAY 3 ");
    server.process.expect_error(&expected);
    ann.expect_service();
    server.process.signal("TERM");
    ann.expect_bye("shutdown");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    let last = finished.err.lines().last().unwrap();
    let expected = expected.replace(" ERROR ", "chinwag: ");
    assert!(last.starts_with(&expected), "{}", finished.err);
    // The file from before is still there, and nothing else.
    assert_eq!(place.names(), ["state"]);
    assert_eq!(fs::read(place.file()).unwrap(), saved);
}

#[test]
fn a_key_that_has_changed_meanwhile_ends_the_session() {
    let place = Place::new();
    let both = format!("ann:{HASH_OF_ABC}\nbob:{HASH_OF_ABC}\n");
    let users = users_file(&place.dir, &both);
    let args = ["--users", users.to_str().unwrap()];
    let server = place.start(&args);
    let ann = server.connect().join("ann key=abc");
    let bob = server.connect().join("bob key=abc");
    stop(server);
    let other = HASH_OF_ABC.replace('b', "c");
    users_file(&place.dir, &format!("ann:{other}\nbob:{HASH_OF_ABC}\n"));
    let server = place.start(&args);
    let resume = |token| format!("RESUME {token}");
    (server.connect()).ask(&resume(ann), "ERR session-ended replaced ");
    let mut client = server.connect();
    client.ask(&resume(bob), "OK RESUME name=bob ");
}

#[test]
fn sessions_that_lower_limits_do_not_allow_end_and_the_log_says_how_many() {
    let place = Place::new();
    let server = place.start(&[]);
    let tokens = ["ann", "bob", "cid"].map(|name| server.connect().join(name));
    stop(server);
    let server = place.start(&["--max-sessions", "1"]);
    let [resumed, ended] = ["OK RESUME ", "ERR session-ended expired "].map(|beginning| {
        let answers = tokens.iter().map(|token| {
            let mut client = server.connect();
            client.send(&format!("RESUME {token}"));
            client.expect("").starts_with(beginning)
        });
        answers.filter(|is| *is).count()
    });
    assert_eq!([resumed, ended], [1, 2]);
    let log = stop(server);
    assert!(log.contains(" WARN 2 sessions ended: "), "{log}");
}

/// G43.
#[test]
fn nothing_is_written_while_the_server_runs() {
    let place = Place::new();
    let server = place.start(&[]);
    let mut ann = server.join("ann");
    let folder = fs::metadata(place.dir.path()).unwrap();
    for number in 2..300 {
        ann.ask(&format!("SAY {number}"), "OK SAY ");
        ann.expect("MSG ");
    }
    let now = fs::metadata(place.dir.path()).unwrap();
    let changed = |folder: &fs::Metadata| (folder.mtime(), folder.mtime_nsec());
    assert_eq!(changed(&now), changed(&folder));
    assert_eq!(place.names(), [""; 0]);
    let lock = fs::metadata(place.dir.join("state.chinwag-lock")).unwrap();
    assert_eq!(lock.len(), 0);
}

#[test]
fn after_a_crash_sessions_have_ended_and_rooms_go_on_behind_a_gap() {
    let place = Place::new();
    let args = ["--save", "1"];
    let server = place.start(&args);
    let (mut ann, boot) = connect(&server);
    let first = inode(&place.file());
    let reply = ann.ask("JOIN ann", "OK JOIN ");
    ann.expect_event("JOINED", "ann");
    let (token, log) = (word(&reply, "session"), word(&reply, "log"));
    place.await_save(first);
    for number in 2..=5 {
        ann.ask("SAY unsaved", &format!("OK SAY {number} "));
        ann.expect_event("MSG", "ann unsaved");
    }
    // So that nothing of this is saved.
    let saved = fs::read(place.file()).unwrap();
    crash(server);
    fs::write(place.file(), saved).unwrap();

    let server = place.start(&args);
    let (mut ann, boot_now) = connect(&server);
    assert_ne!(boot_now, boot);
    ann.ask(&format!("RESUME {token}"), "ERR session-ended crashed ");
    let reply = ann.ask(&format!("JOIN ann after=5 log={log}"), "OK JOIN ");
    assert_eq!(word(&reply, "log"), log);
    let lost = ann.expect("LOST ");
    let lost: Vec<u64> = lost
        .split(' ')
        .skip(1)
        .map(|n| n.parse().unwrap())
        .collect();
    let [count, next] = lost[..] else {
        panic!("{lost:?}")
    };
    assert_eq!(ann.expect_event("JOINED", "ann"), next);
    assert_eq!(count, next - 6);
    let log = stop(server);
    assert!(log.contains("did not stop properly: 1 room back"), "{log}");
}

/// Kills servers at any moment. What a number stood for once it stands for always.
#[test]
fn no_number_is_given_twice_whenever_the_server_crashes() {
    let place = Place::new();
    let mut seen: BTreeMap<(String, u64), String> = BTreeMap::new();
    let mut last = None;
    for round in 0..8 {
        let server = place.start(&["--save", "1"]);
        let mut client = server.connect();
        let first = inode(&place.file());
        let after = match &last {
            Some((log, seq)) => format!(" after={seq} log={log}"),
            None => String::new(),
        };
        let reply = client.ask(&format!("JOIN c{round} room=den{after}"), "OK JOIN ");
        let log = word(&reply, "log").to_owned();
        if round % 2 == 0 {
            place.await_save(first);
        }
        let mut note = |line: &str| {
            let words: Vec<_> = line.split(' ').collect();
            if ["JOINED", "MSG", "LEFT"].contains(&words[0]) {
                let seq: u64 = words[1].parse().unwrap();
                let known = seen.entry((log.clone(), seq)).or_insert(line.to_owned());
                assert_eq!(known, line, "in round {round}");
                last = Some((log.clone(), seq));
            }
        };
        // More each time, so that some are saved and some are not.
        for number in 0..200 * round {
            client.send(&format!("SAY {round} {number}"));
        }
        client.send("PING");
        loop {
            let line = client.expect("");
            note(&line);
            if line == "OK PING" {
                break;
            }
        }
        crash(server);
    }
    let logs: Vec<_> = seen.keys().map(|(log, _)| log).collect();
    assert!(logs.iter().all(|log| *log == logs[0]));
    assert!(seen.len() > 1000);
}

#[test]
fn saving_leaves_no_process_and_no_descriptor_and_stops_when_nothing_changes() {
    let place = Place::new();
    let server = place.start(&["--save", "1"]);
    let mut ann = server.join("ann idle=3600");
    let mut number = place.await_save(inode(&place.file()));
    await_no_child(&server);
    ann.expect_service();
    let before = server.process.descriptors().len();
    for _ in 0..2 {
        ann.ask("SAY something", "OK SAY ");
        ann.expect("MSG ");
        number = place.await_save(number);
    }
    await_no_child(&server);
    server.await_descriptors(&mut ann, before);
    server.process.await_sleep();
    let sleeps = server.process.sleeps();
    ann.expect_nothing(5 * SECOND / 2);
    assert_eq!(inode(&place.file()), number);
    assert_eq!(server.process.sleeps(), sleeps);
    assert_eq!(place.names(), ["state"]);
    let log = stop(server);
    assert!(!log.contains("ERROR"), "{log}");
}

/// What makes the first fsync of each process take some seconds.
fn on_a_slow_disk() -> Option<Command> {
    let mut command = failing("fsync", "delay_enter=3000000:when=1")?;
    // The first argument is the script.
    let args: Vec<_> = command.get_args().map(|arg| arg.to_owned()).collect();
    let script = args[1].to_str().unwrap().replace("strace ", "strace -f ");
    command = Command::new("sh");
    command.arg("-c").arg(script).args(&args[2..]);
    command.env_remove("RUST_LOG");
    Some(command)
}

fn await_no_child(server: &Server) {
    let watch = Watch::start();
    while !server.process.children().is_empty() {
        assert!(!watch.is_over(), "a process is left");
        thread::yield_now();
    }
}

fn await_child(server: &Server) -> Pid {
    let watch = Watch::start();
    loop {
        if let [child] = server.process.children()[..] {
            return child;
        }
        assert!(!watch.is_over(), "no process saves");
        thread::yield_now();
    }
}

/// Waits for a process that saves, and lets it hang for as long as it takes.
fn hold_child(server: &Server, client: &mut Client) -> Pid {
    let child = await_child(server);
    // The server answers again once the child has begun to save.
    client.expect_service();
    kill_process(child, Signal::STOP).unwrap();
    child
}

#[test]
fn a_disk_that_hangs_delays_nobody() {
    let Some(mut command) = on_a_slow_disk() else {
        return;
    };
    let place = Place::new();
    command.args(["--listen", "127.0.0.1:0"]);
    let mut server = Server::start_as(command.args(place.args(&["--save", "1"])));
    let mut ann = server.join("ann idle=3600");
    let mut bob = server.join("bob");
    ann.expect_event("JOINED", "bob");
    let first = inode(&place.file());
    let child = hold_child(&server, &mut ann);
    for _ in 0..20 {
        ann.expect_service();
    }
    // The system ends it first when memory runs out.
    let score = fs::read_to_string(format!("/proc/{}/oom_score_adj", child.as_raw_pid()));
    assert_eq!(score.unwrap(), "1000\n");
    // The process that saves keeps no connection open.
    bob.ask("QUIT", "OK QUIT");
    bob.expect_bye("quit");
    let mut cid = server.connect();
    cid.expect_service();
    // All that while the process hangs.
    assert_eq!(server.process.children(), [child]);
    assert_eq!(inode(&place.file()), first);

    // Whoever kills it does no more harm than that.
    kill_process(child, Signal::KILL).unwrap();
    server
        .process
        .expect_error("ERROR the process that saved the state was killed");
    ann.expect_event("LEFT", "bob quit");
    server.process.expect_error("INFO the state is saved again");
    assert_ne!(inode(&place.file()), first);

    // A stop does not wait for it.
    ann.ask("SAY something", "OK SAY ");
    ann.expect("MSG ");
    hold_child(&server, &mut ann);
    stop(server);
    assert_eq!(place.names(), ["state"]);
    let server = place.start(&[]);
    server.connect().expect_service();
    let log = stop(server);
    assert!(log.contains(" INFO 1 session and 1 room back, "), "{log}");
}

/// Starts a server that is killed before the `step`th system call of a kind that concerns the file or its
/// folder, and tells it to end. Returns whether it came to its end.
fn cut_power(place: &Place, args: &[&str], call: &str, step: usize) -> Option<bool> {
    const SCRIPT: &str = r#"exec strace -D -qq -o /dev/null -P "$FILE" -P "$FILE.new" -P "$FOLDER" \
        -e inject="/^$CALL:signal=KILL:when=$STEP" "$@" 2>"$LOG""#;
    failing("fsync", "when=1000000")?;
    let mut command = program_within(SCRIPT);
    command
        .env("CALL", call)
        .env("STEP", step.to_string())
        .env("FILE", place.file());
    let chat = TempDir::new();
    command
        .env("LOG", chat.join("log"))
        .env("FOLDER", place.dir.path());
    let address = unix(&chat.join("chat"));
    command.args(["--listen", &address]);
    let mut process = Process::start(command.args(place.args(args)));
    let watch = Watch::start();
    while !process.has_ended() {
        assert!(!watch.is_over(), "it neither listens nor ends");
        if Client::try_connect(&address).is_ok() {
            process.signal("TERM");
            break;
        }
        thread::yield_now();
    }
    let code = process.finish().code;
    assert!([None, Some(0)].contains(&code), "{code:?}");
    Some(code == Some(0))
}

/// Checks that a start finds no half file and uses what there is, and cleans up.
fn expect_whole(place: &Place, is_saved: bool, token: &str, call: &str) {
    let is_there = place.file().exists();
    let server = place.start(&[]);
    let mut client = server.connect();
    client.send(&format!("RESUME {token}"));
    let answer = client.expect("");
    let is_back = answer.starts_with("OK RESUME name=ann ");
    let has_ended = answer.starts_with("ERR session-ended crashed ");
    assert!(is_there || !is_saved, "{call}");
    assert_eq!(
        is_back || (is_saved && has_ended),
        is_there,
        "{call}: {answer}"
    );
    assert_eq!(place.names(), [""; 0], "{call}");
    crash(server);
}

/// Kills servers before each system call that concerns the file or its folder, from the start to the
/// end. Whatever the next start finds is whole.
#[test]
fn a_power_cut_between_any_two_steps_leaves_the_old_file_or_the_new_one() {
    // An emulator has steps of its own.
    if std::env::var_os("CHINWAG_RUNNER").is_some() {
        return;
    }
    let place = Place::new();
    let before = place.start(&[]);
    let token = before.connect().join("ann idle=3600");
    stop(before);
    let old = fs::read(place.file()).unwrap();
    let mut steps = 0;
    for args in [&[][..], &["--save", "3600"]] {
        for call in ["open", "unlink", "write", "fsync", "rename"] {
            for step in 1.. {
                fs::write(place.file(), &old).unwrap();
                let Some(is_over) = cut_power(&place, args, call, step) else {
                    return;
                };
                expect_whole(&place, !args.is_empty(), &token, call);
                if is_over {
                    break;
                }
                steps += 1;
            }
        }
    }
    assert!(steps > 25, "{steps}");
}
