//! The operator's socket: served when nothing else is.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::PathBuf;

use crate::process::{Client, Server, TempDir, program, program_within, unix};
use crate::steps::{BATCH, SECOND, expect_full, flood, run, try_to_listen};

/// A server with an operator's socket.
struct Admin {
    server: Server,
    path: PathBuf,
    _folder: TempDir,
}

impl Admin {
    fn start(args: &[&str]) -> Admin {
        let folder = TempDir::new();
        let path = folder.join("admin");
        let mut command = program();
        command.args(["--listen", "127.0.0.1:0", "--admin", &unix(&path)]);
        let server = Server::start_as(command.args(args));
        server_is_greeted(server, path, folder)
    }

    fn operator(&self) -> Client {
        let mut client = Client::connect(&unix(&self.path));
        let hello = client.expect("HELLO chinwag/");
        assert!(hello.ends_with(" socket=admin"), "{hello}");
        client
    }
}

fn server_is_greeted(mut server: Server, path: PathBuf, folder: TempDir) -> Admin {
    let line = server.process.expect_error("serving the operator on ");
    assert!(line.contains(&unix(&path)), "{line}");
    Admin {
        server,
        path,
        _folder: folder,
    }
}

/// Checks that the operator is served, with nothing before that.
fn expect_help(operator: &mut Client) {
    let head = operator.ask("HELP", "OK HELP ");
    let lines: usize = head.split(' ').nth(2).unwrap().parse().unwrap();
    for _ in 0..lines {
        operator.expect("");
    }
}

fn mode(path: &PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn its_file_lets_in_the_servers_user_alone_whatever_else_is_set() {
    for script in [
        "umask 0; exec \"$@\" --socket-mode 0666",
        "umask 077; exec \"$@\"",
        "umask 0777; exec \"$@\" --socket-mode 0000",
    ] {
        let folder = TempDir::new();
        let path = folder.join("admin");
        let mut command = program_within(script);
        command.args(["--listen", "127.0.0.1:0", "--admin", &unix(&path)]);
        let started = server_is_greeted(Server::start_as(&mut command), path, folder);
        assert!(fs::metadata(&started.path).unwrap().file_type().is_socket());
        assert_eq!(mode(&started.path), 0o600, "{script}");
        expect_help(&mut started.operator());
        started.server.process.signal("TERM");
        assert_eq!(started.server.process.finish().code, Some(0));
        assert!(!started.path.exists(), "{script}");
    }
}

#[test]
fn it_is_a_unix_socket_of_its_own() {
    for (args, texts) in [
        (
            &["--admin", "127.0.0.1:0"][..],
            &["--admin 127.0.0.1:0", "unix:/path"][..],
        ),
        (&["--admin", "unix:"], &["--admin unix:", "missing"]),
        (
            &["--admin", "unix:/a", "--admin", "unix:/b"],
            &["--admin", "only once"],
        ),
        (
            &["--listen", "unix:/a", "--admin", "unix:/a"],
            &["--admin unix:/a", "--listen"],
        ),
    ] {
        run(args).expect_refusal(2, texts);
    }
    let long = format!("unix:/{}", "p".repeat(107));
    run(&["--admin", &long]).expect_refusal(2, &["at most 107 bytes"]);
    let nowhere = "unix:/nowhere/admin";
    let listen = ["--listen", "127.0.0.1:0", "--admin"];
    for check in [&[][..], &["--check"]] {
        let refusal = run(&[&listen[..], &[nowhere], check].concat());
        refusal.expect_refusal(1, &[nowhere, "the folder /nowhere", "make the folder"]);
    }
    let folder = TempDir::new();
    let file = folder.join("file");
    fs::write(&file, "precious").unwrap();
    let refusal = run(&[&listen[..], &[&unix(&file)]].concat());
    refusal.expect_refusal(1, &["file", "is not a socket"]);
    let started = Admin::start(&[]);
    let taken = unix(&started.path);
    let refusal = run(&[&listen[..], &[&taken]].concat());
    refusal.expect_refusal(1, &[&taken, "a server is listening there already"]);
    try_to_listen(&taken).expect_refusal(1, &[&taken, "already"]);
    expect_help(&mut started.operator());
}

/// The file of a server that was killed is in nobody's way.
#[test]
fn the_socket_of_a_dead_server_is_replaced() {
    let folder = TempDir::new();
    let path = folder.join("admin");
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0", "--admin", &unix(&path)]);
    let mut server = Server::start_as(&mut command);
    server.process.expect_error("serving the operator on ");
    server.process.kill();
    drop(server);
    assert!(path.exists());
    let started = server_is_greeted(Server::start_as(&mut command), path, folder);
    expect_help(&mut started.operator());
}

/// G56.
#[test]
fn a_full_server_serves_the_operator_and_a_third_connection_is_refused() {
    let started = Admin::start(&[
        "--max-connections",
        "2",
        "--max-sessions",
        "1",
        "--rate",
        "1",
    ]);
    let mut ann = started.server.join("ann");
    let _nobody = started.server.connect();
    expect_full(Client::connect(started.server.address()));
    let mut operators = [started.operator(), started.operator()];
    for operator in &mut operators {
        (0..50).for_each(|_| expect_help(operator));
    }
    let mut third = started.operator();
    third.expect_bye("full");
    let [one, other] = &mut operators;
    assert_eq!(one.stat("connections"), 2);
    assert_eq!(one.stat("refused-connections"), 1);
    other.ask("SESSIONS", "OK SESSIONS 1 more=0");
    other.expect("SESSION lobby ann push attached ");
    one.ask("TELL-ALL Back at noon", "OK TELL-ALL 1");
    ann.expect("NOTICE Back at noon");
    other.ask("END lobby ann", "OK END");
    ann.expect_bye("ended");
    one.send("QUIT");
    one.expect("OK QUIT");
    one.expect_bye("quit");
    expect_help(&mut started.operator());
}

/// Even an accepted connection needs a descriptor; those of the operator are reserved.
/// G56.
#[test]
fn a_server_without_descriptors_serves_the_operator() {
    const SPARE: usize = 5;
    let mut started = Admin::start(&["--max-per-address", "1000"]);
    // Now it has opened all that it needs.
    let _first = started.server.connect();
    started.server.process.leave_descriptors(SPARE);
    let mut clients: Vec<_> = (0..SPARE + 3)
        .map(|_| Client::connect(started.server.address()))
        .collect();
    let mut waiting = clients.split_off(SPARE);
    for client in &mut clients {
        client.expect("HELLO ");
    }
    started
        .server
        .process
        .expect_error("cannot accept connections");
    for _ in 0..3 {
        let mut operators = [started.operator(), started.operator()];
        let mut third = started.operator();
        third.expect_bye("full");
        for operator in &mut operators {
            expect_help(operator);
            operator.send("QUIT");
            operator.expect("OK QUIT");
            operator.expect_bye("quit");
        }
        // What the operator has given back goes to no client.
        waiting[0].expect_nothing(SECOND / 5);
    }
    let mut operator = started.operator();
    assert_eq!(operator.stat("connections"), 1 + SPARE as u64);
    drop(clients.pop());
    waiting[0].expect("HELLO ");
    expect_help(&mut operator);
    expect_help(&mut started.operator());
}

/// G56.
#[test]
fn a_flooded_server_serves_the_operator() {
    let started = Admin::start(&["--rate", "0", "--max-per-address", "1000"]);
    let mut speaker = started.server.join("speaker mode=pull");
    let readers: Vec<_> = (0..20)
        .map(|reader| {
            let mut client = Client::connect(started.server.address());
            client.send(&format!("JOIN r{reader} quiet=yes"));
            client
        })
        .collect();
    let mut operator = started.operator();
    flood(&mut speaker, 5000, || expect_help(&mut operator));
    let said = operator.stat("messages");
    assert_eq!(said, (5000 / BATCH * BATCH) as u64);
    let first = operator.ask("SESSIONS", "OK SESSIONS 21 more=0");
    assert!(first.ends_with("more=0"));
    drop(readers);
}

#[test]
fn the_operator_and_the_socket_survive_an_upgrade() {
    let mut started = Admin::start(&[]);
    let inode = fs::metadata(&started.path).unwrap().ino();
    let mut operator = started.operator();
    operator.send_bytes(b"HEL");
    let mut ann = started.server.join("ann");
    for _ in 0..2 {
        started.server.process.signal("USR2");
        started.server.process.expect_error("upgraded from ");
    }
    operator.send_bytes(b"P\n");
    let head = operator.expect("OK HELP ");
    let lines: usize = head.split(' ').nth(2).unwrap().parse().unwrap();
    (0..lines).for_each(|_| _ = operator.expect(""));
    assert_eq!(operator.stat("upgrades"), 2);
    operator.ask("TELL-ALL still here", "OK TELL-ALL 1");
    ann.expect("NOTICE still here");
    let file = fs::metadata(&started.path).unwrap();
    assert_eq!((file.ino(), mode(&started.path)), (inode, 0o600));
    let mut other = started.operator();
    started.operator().expect_bye("full");
    expect_help(&mut other);
    started.server.process.signal("TERM");
    operator.expect_bye("shutdown");
    other.expect_bye("shutdown");
    started.server.process.finish();
    assert!(!started.path.exists());
}

/// Sessions come back, and the operator sees them, while no client has come back yet.
#[test]
fn after_a_restart_with_state_the_operator_sees_the_sessions() {
    let folder = TempDir::new();
    let state = folder.join("state");
    let args = ["--state", state.to_str().unwrap()];
    let started = Admin::start(&args);
    let _ann = started.server.join("ann");
    started.server.process.signal("TERM");
    started.server.process.finish();
    let again = Admin::start(&args);
    let mut operator = again.operator();
    operator.ask("SESSIONS", "OK SESSIONS 1 more=0");
    operator.expect("SESSION lobby ann push detached ");
    operator.ask("END lobby ann", "OK END");
    assert_eq!(operator.stat("sessions-ended"), 1);
}
