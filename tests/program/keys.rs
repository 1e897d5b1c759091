//! Names with keys: the users file, --new-key, reloads.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;
use std::process::Command;

use crate::process::{Client, Server, TempDir, program};
use crate::steps::{HASH_OF_ABC, run, set_mode, users_file};

/// The SHA-256 of no bytes at all.
const HASH_OF_NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

/// Some editors put a byte order mark before any text in UTF-8.
#[test]
fn a_byte_order_mark_before_a_users_file_is_passed_over() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("\u{feff}ann:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    server.connect().ask("JOIN ann key=abc", "OK JOIN ");
    // And it stays when a key is added.
    let key = new_key(&path, "bob");
    let server = server_with(&path);
    server.connect().ask("JOIN ann key=abc", "OK JOIN ");
    server
        .connect()
        .ask(&format!("JOIN bob key={key}"), "OK JOIN ");
    // Only at the beginning is it one.
    let path = users_file(&dir, &format!("\n\u{feff}ann:{HASH_OF_ABC}\n"));
    let users = path.to_str().unwrap();
    run(&["--check", "--users", users]).expect_refusal(1, &[users, "line 2"]);
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

/// Makes a key with the program, which prints it once.
fn new_key(users: &Path, name: &str) -> String {
    let finished = run(&["--users", users.to_str().unwrap(), "--new-key", name]);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert_eq!(finished.err, "");
    let key = finished.out.strip_suffix('\n').unwrap();
    assert_eq!(key.len(), 32, "128 bits: {key:?}");
    assert!(key.bytes().all(|b| b.is_ascii_hexdigit()), "{key:?}");
    key.to_owned()
}

fn server_with(users: &Path) -> Server {
    Server::start(&["--users", users.to_str().unwrap()])
}

/// Makes the server read its users file again, and waits for what it says about it.
fn reload(server: &mut Server, says: &str) {
    server.process.signal("HUP");
    server.process.expect_error(says);
}

#[test]
fn a_bad_line_is_refused_with_its_file_and_number() {
    let dir = TempDir::new();
    let good = format!("ann:{HASH_OF_ABC}");
    for (text, number) in [
        ("ann".to_owned(), 1),
        (format!("# people\n\n{good}\nbob = x\n"), 4),
        (format!("{good}\r\nbob:{}\r\n", &HASH_OF_ABC[1..]), 2),
        (format!("{good}\nbob:{HASH_OF_ABC}0\n"), 2),
        (format!("{good}\nbob:{}x\n", &HASH_OF_ABC[1..]), 2),
        (format!("{good}\n:{HASH_OF_ABC}\n"), 2),
        (format!("{good}\nbob smith:{HASH_OF_ABC}\n"), 2),
        (format!("{good}\nbob:{HASH_OF_ABC} # comment\n"), 2),
        (format!("{good}\nANN:{HASH_OF_ABC}\n"), 2),
    ] {
        let path = users_file(&dir, &text);
        let path = path.to_str().unwrap();
        let texts = [path, &format!("line {number}:")];
        run(&["-l", "127.0.0.1:0", "-u", path]).expect_refusal(1, &texts);
        // No key is put into a file that cannot be used.
        run(&["-u", path, "--new-key", "eve"]).expect_refusal(1, &texts);
        assert_eq!(fs::read_to_string(path).unwrap(), text);
    }
}

#[test]
fn a_users_file_that_others_can_read_or_write_is_refused_with_the_way_out() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let shown = path.to_str().unwrap();
    let way_out = format!("chmod 600 {shown}");
    for bits in [0o644, 0o640, 0o604, 0o620, 0o602, 0o777] {
        set_mode(&path, bits);
        run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[&way_out]);
        run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[&way_out]);
    }
    for bits in [0o600, 0o400] {
        set_mode(&path, bits);
        server_with(&path).connect().expect_service();
    }
}

#[test]
fn a_users_file_that_is_missing_or_none_is_refused() {
    let dir = TempDir::new();
    let path = dir.join("missing");
    let shown = path.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown, "--new-key"]);
    let folder = dir.join("folder");
    fs::create_dir(&folder).unwrap();
    set_mode(&folder, 0o700);
    let shown = folder.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown]);
    run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[shown]);
    let binary = dir.join("binary");
    fs::write(&binary, b"ann:\xFF\n").unwrap();
    set_mode(&binary, 0o600);
    let shown = binary.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown]);
}

#[test]
fn a_users_file_of_more_than_1_mib_is_refused() {
    let dir = TempDir::new();
    let most = "#\n".repeat(512 * 1024);
    let path = users_file(&dir, &most);
    let shown = path.to_str().unwrap();
    let args = ["--check", "-l", "127.0.0.1:0", "-u", shown];
    assert_eq!(run(&args).code, Some(0));
    users_file(&dir, &(most + "\n"));
    run(&args).expect_refusal(1, &[shown, "more than 1048576 bytes"]);
}

/// Opening a pipe waits until somebody writes to it, which may never happen.
#[test]
fn a_users_file_that_is_a_pipe_is_refused_without_waiting_for_anybody() {
    let make_pipe = |path: &Path| {
        let mut command = Command::new("mkfifo");
        assert!(command.arg("-m600").arg(path).status().unwrap().success());
    };
    let dir = TempDir::new();
    let pipe = dir.join("pipe");
    make_pipe(&pipe);
    let shown = pipe.to_str().unwrap();
    run(&["-l", "127.0.0.1:0", "-u", shown]).expect_refusal(1, &[shown, "is not a file"]);
    run(&["--check", "-u", shown]).expect_refusal(1, &[shown, "is not a file"]);
    run(&["-u", shown, "--new-key", "eve"]).expect_refusal(1, &[shown, "is not a file"]);
    // A running server keeps the keys that it has.
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    fs::remove_file(&path).unwrap();
    make_pipe(&path);
    reload(&mut server, "is not a file");
    ann.expect_service();
}

#[test]
fn only_clients_with_a_key_may_join_and_look_around() {
    let dir = TempDir::new();
    let text = format!("# people\n\n  ann : {HASH_OF_ABC}  \r\nBob:{HASH_OF_ABC}");
    let path = users_file(&dir, &text);
    let args = ["-v", "-u", path.to_str().unwrap()];
    let server = Server::start(&args);
    let mut client = server.connect();
    for command in ["WHO", "ROOMS", "STATS"] {
        client.ask(command, "ERR no-session ");
    }
    client.expect_service();
    client.ask("HELP", "OK HELP ");
    drop(client);
    for wrong in ["ann", "ann key=abd", "ann key=", "eve key=abc"] {
        let mut client = server.connect();
        client.send(&format!("JOIN {wrong}"));
        let reply = client.expect("ERR ");
        let is_refused =
            reply.starts_with("ERR not-authorized ") || reply.starts_with("ERR bad-argument ");
        assert!(is_refused, "{wrong}: {reply}");
        client.join("ann key=abc mode=pull");
        client.ask("LEAVE", "OK LEAVE");
        client.join("bob key=abc mode=pull");
        client.ask("STATS", "OK STATS ");
    }
    server.process.signal("TERM");
    let log = server.process.finish().err;
    assert!(log.contains("ann joined"), "{log}");
    for secret in ["abc", "abd", HASH_OF_ABC] {
        assert!(!log.contains(secret), "{log}");
    }
}

#[test]
fn three_wrong_keys_end_a_connection() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    let mut member = server.join("ann key=abc");
    let mut guesser = server.connect();
    for n in 0..3 {
        guesser.ask(&format!("JOIN ann key=guess{n}"), "ERR not-authorized ");
        if n < 2 {
            // Other commands that succeed do not allow more guesses.
            guesser.expect_service();
        }
    }
    guesser.expect_bye("abuse");
    assert_eq!(member.stat("refused-keys"), 3);
}

#[test]
fn whoever_holds_a_key_takes_the_name_back() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\nbob:{HASH_OF_ABC}\n"));
    let server = server_with(&path);
    let mut bob = server.join("bob key=abc");
    let mut old = server.connect();
    let token = old.join("ann key=abc");
    bob.expect_event("JOINED", "ann");
    let mut new = server.connect();
    new.ask("JOIN ann key=wrong", "ERR not-authorized ");
    new.join("ann key=abc");
    old.expect_bye("replaced");
    bob.expect_event("LEFT", "ann replaced");
    bob.expect_event("JOINED", "ann");
    let mut late = server.connect();
    late.ask(&format!("RESUME {token}"), "ERR session-ended replaced ");
    new.expect_service();
}

#[test]
fn a_new_key_is_printed_once_and_counts() {
    let dir = TempDir::new();
    let path = dir.join("users");
    let ann = new_key(&path, "ann");
    assert_eq!(mode(&path), 0o600);
    let bob = new_key(&path, "bob");
    assert_ne!(ann, bob);
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains(&ann) && !text.contains(&bob), "{text}");
    let server = server_with(&path);
    server.join(&format!("ann key={ann}"));
    server.join(&format!("bob key={bob} room=two"));
    let mut eve = server.connect();
    eve.ask(&format!("JOIN ann key={bob}"), "ERR not-authorized ");
}

#[test]
fn a_new_key_takes_an_old_ones_place_and_leaves_all_else_as_it_was() {
    let dir = TempDir::new();
    let before = "# people\n\n";
    let after = format!("# the night shift\nbob:{HASH_OF_ABC}\n");
    // The last line has no line end.
    let text = format!("{before}Ann:{HASH_OF_ABC}\n{after}fay:{HASH_OF_NOTHING}");
    let path = users_file(&dir, &text);
    set_mode(&path, 0o400);
    let identity = fs::metadata(&path).unwrap().ino();
    let held_open = fs::File::open(&path).unwrap();
    let key = new_key(&path, "ann");
    let new = fs::read_to_string(&path).unwrap();
    let rest = new.strip_prefix(before).unwrap();
    let (line, rest) = rest.split_once('\n').unwrap();
    assert!(
        line.starts_with("ann:") && !line.contains(HASH_OF_ABC),
        "{line}"
    );
    assert_eq!(rest, format!("{after}fay:{HASH_OF_NOTHING}\n"));
    assert_eq!(mode(&path), 0o600);
    // The file was replaced in one step: whoever has the old one open still reads all of it.
    assert_ne!(fs::metadata(&path).unwrap().ino(), identity);
    assert_eq!(std::io::read_to_string(held_open).unwrap(), text);
    let files = fs::read_dir(dir.join(".")).unwrap().count();
    assert_eq!(files, 1);

    new_key(&path, "eve");
    let newer = fs::read_to_string(&path).unwrap();
    let line = newer.strip_prefix(&new).unwrap();
    assert!(line.starts_with("eve:") && line.ends_with('\n'), "{line}");
    server_with(&path).join(&format!("ann key={key}"));
}

#[test]
fn a_new_key_is_put_into_the_file_that_a_link_leads_to() {
    let dir = TempDir::new();
    let path = users_file(&dir, "# people\n");
    let link = dir.join("link");
    symlink(&path, &link).unwrap();
    new_key(&link, "ann");
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# people\nann:"), "{text}");
}

#[test]
fn keys_that_cannot_be_made_change_nothing() {
    let dir = TempDir::new();
    let text = format!("ann:{HASH_OF_ABC}\n");
    let path = users_file(&dir, &text);
    let shown = path.to_str().unwrap();
    run(&["-u", shown, "--new-key", "a b"]).expect_refusal(2, &["--new-key a b"]);
    run(&["-u", shown, "--new-key", ""]).expect_refusal(2, &["--new-key"]);
    run(&["--new-key", "ann"]).expect_refusal(2, &["--users"]);
    let missing = dir.join("missing/users");
    let shown_missing = missing.to_str().unwrap();
    run(&["-u", shown_missing, "--new-key", "ann"]).expect_refusal(1, &[shown_missing]);
    // Another process is writing it.
    let beside = dir.join("users.new");
    fs::write(&beside, "").unwrap();
    run(&["-u", shown, "--new-key", "ann"]).expect_refusal(1, &[beside.to_str().unwrap()]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
}

#[test]
fn a_key_that_was_made_counts_after_a_reload() {
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    let key = new_key(&path, "bob");
    let mut bob = server.connect();
    bob.ask(&format!("JOIN bob key={key}"), "ERR not-authorized ");
    reload(&mut server, " 2 names");
    // The log states again how much memory that can need.
    server.process.expect_error("memory: at most ");
    bob.join(&format!("bob key={key}"));
    // Sessions whose key is the same stay.
    ann.expect_event("JOINED", "bob");
    ann.expect_service();
}

#[test]
fn sessions_of_names_that_were_removed_or_have_another_key_end_at_a_reload() {
    let dir = TempDir::new();
    let names = ["ann", "bob", "cem", "dan", "eve"];
    let text: String = names.map(|name| format!("{name}:{HASH_OF_ABC}\n")).concat();
    let path = users_file(&dir, &text);
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc");
    let mut bob = server.connect();
    let token = bob.join("bob key=abc");
    let mut cem = server.join("cem key=abc mode=pull");
    let mut dan = server.join("dan key=abc mode=pull");
    dan.ask("DETACH", "OK DETACH");
    let mut eve = server.join("eve key=abc room=other mode=pull");
    for name in ["bob", "cem", "dan"] {
        ann.expect_event("JOINED", name);
    }
    // The first stays, written otherwise; the second and the fourth go; two have other keys, of
    // which one waits for an event.
    cem.ask("POLL", "OK POLL 2 ");
    cem.expect_event("JOINED", "cem");
    cem.expect_event("JOINED", "dan");
    cem.send("PING");
    cem.send("POLL wait=60");
    cem.expect("OK PING");
    let upper = HASH_OF_ABC.to_uppercase();
    let text = format!("ANN:{upper}\ncem:{HASH_OF_NOTHING}\neve:{HASH_OF_NOTHING}\n");
    fs::write(&path, text).unwrap();
    reload(&mut server, " 3 names");
    let mut left: Vec<String> = (0..3)
        .map(|_| ann.expect("LEFT ").splitn(4, ' ').last().unwrap().into())
        .collect();
    left.sort_unstable();
    assert_eq!(left, ["bob replaced", "cem replaced", "dan replaced"]);
    bob.expect("JOINED ");
    bob.expect("JOINED ");
    let goodbye = loop {
        // Others may have left before.
        let line = bob.expect("");
        if !line.starts_with("LEFT ") {
            break line;
        }
    };
    assert!(goodbye.starts_with("BYE replaced "), "{goodbye}");
    bob.expect_closed();
    while !cem.expect("").starts_with("BYE replaced ") {}
    cem.expect_closed();
    eve.expect_bye("replaced");
    dan.ask(&format!("RESUME {token}"), "ERR session-ended replaced ");
    dan.ask("JOIN dan key=abc", "ERR not-authorized ");
    ann.expect_service();
    assert_eq!(ann.stat("sessions"), 1);
}

#[test]
fn a_reload_of_a_bad_file_is_logged_and_changes_nothing() {
    let dir = TempDir::new();
    let text = format!("ann:{HASH_OF_ABC}\n");
    let path = users_file(&dir, &text);
    let shown = path.to_str().unwrap().to_owned();
    let mut server = server_with(&path);
    let mut ann = server.join("ann key=abc mode=pull");
    let mut check = |server: &mut Server, text: &str| {
        server.process.signal("HUP");
        let line = server.process.expect_error(" ERROR ");
        assert!(line.contains(&shown) && line.contains(text), "{line}");
        ann.ask("LEAVE", "OK LEAVE");
        ann.join("ann key=abc mode=pull");
    };
    fs::write(&path, "ann\n").unwrap();
    check(&mut server, "line 1");
    fs::write(&path, &text).unwrap();
    set_mode(&path, 0o644);
    check(&mut server, "chmod 600");
    fs::remove_file(&path).unwrap();
    check(&mut server, "no users file");
    users_file(&dir, &format!("ann:{HASH_OF_NOTHING}\n"));
    reload(&mut server, " 1 name");
    ann.expect_bye("replaced");
}

#[test]
fn a_reload_without_a_users_file_does_nothing() {
    let mut server = Server::start(&[]);
    let mut ann = server.join("ann");
    reload(&mut server, "no users file");
    ann.expect_service();
}

#[test]
fn a_network_is_only_served_with_keys_or_if_it_is_said_to_be_open() {
    for network in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8255"] {
        let texts = [&format!("--listen {network}"), "--users", "--open"];
        run(&["--listen", network]).expect_refusal(2, &texts);
    }
    let dir = TempDir::new();
    let path = users_file(&dir, &format!("ann:{HASH_OF_ABC}\n"));
    let users = ["--users", path.to_str().unwrap()];
    for (args, join) in [(&["--open"][..], "ann"), (&users, "ann key=abc")] {
        let server = Server::start_as(program().args(["--listen", "0.0.0.0:0"]).args(args));
        let mut client = Client::greeted(&format!("127.0.0.1:{}", server.port()));
        client.join(join);
    }
}
