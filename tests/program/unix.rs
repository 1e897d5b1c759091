//! The files of Unix sockets, from their making to their end, and what is special about these
//! sockets.

use std::fs;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use rustix::fs::{FlockOperation, flock};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::getuid;

use crate::process::{
    Client, Finished, Netcat, Process, Server, TempDir, has, install, launch, program,
    program_within, skip, unix,
};
use crate::script::sources::{blocks, document};
use crate::steps::{failing, flood, run, try_to_listen};

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

#[test]
fn the_socket_file_of_a_killed_server_is_replaced() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    server.process.signal("KILL");
    assert_eq!(server.process.finish().code, None);
    assert!(is_socket(&path));
    Server::start_on(&path).connect().expect_service();
}

#[test]
fn the_socket_of_a_live_server_is_refused() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let finished = try_to_listen(&unix(&path));
    finished.expect_refusal(1, &[&unix(&path), "choose another path"]);
    server.connect().expect_service();
}

#[test]
fn the_socket_of_a_server_that_is_stopped_is_refused_without_waiting_for_it() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    server.process.pause();
    let finished = try_to_listen(&unix(&path));
    finished.expect_refusal(1, &[&unix(&path), "choose another path"]);
    server.process.go_on();
    server.connect().expect_service();
}

#[test]
fn a_file_that_is_no_socket_is_refused_and_kept() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    fs::write(&path, "precious").unwrap();
    let address = unix(&path);
    let texts = [&*address, "not a socket; choose another path"];
    try_to_listen(&address).expect_refusal(1, &texts);
    run(&["--check", "--listen", &address]).expect_refusal(1, &texts);
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn a_socket_in_a_folder_that_is_missing_or_is_none_is_refused_and_a_check_says_so() {
    let dir = TempDir::new();
    let file = dir.join("file");
    fs::write(&file, "precious").unwrap();
    for (folder, reason) in [
        (dir.join("missing"), "No such file"),
        (file, "Not a directory"),
    ] {
        let address = unix(&folder.join("chat"));
        let texts = [
            &*address,
            folder.to_str().unwrap(),
            reason,
            "make the folder",
        ];
        try_to_listen(&address).expect_refusal(1, &texts);
        run(&["--check", "--listen", &address]).expect_refusal(1, &texts);
    }
}

/// Before it makes or removes any of them.
#[test]
fn no_two_options_may_have_the_same_file() {
    let dir = TempDir::new();
    let (state, name) = (dir.join("state"), dir.path().file_name().unwrap());
    let here = format!("{}/../{}", dir.path().display(), name.to_str().unwrap());
    let state = state.to_str().unwrap();
    for ending in ["", ".new", ".refused", ".chinwag-lock"] {
        let address = format!("unix:{here}/state{ending}");
        for option in ["--listen", "--admin"] {
            for check in [&[][..], &["--check"]] {
                let args = [&["--state", state, option, &address], check].concat();
                let texts = [option, &address, "--state needs that file"];
                run(&args).expect_refusal(1, &texts);
            }
        }
    }
    let one = unix(&dir.join("chat"));
    let other = format!("unix:{here}/chat");
    let args = ["--check", "--listen", &one, "--admin", &other];
    run(&args).expect_refusal(1, &["--admin", &other, "--listen needs that file"]);
}

#[test]
fn the_socket_file_goes_with_the_server() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    assert!(is_socket(&path));
    server.process.signal("TERM");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_socket_file_that_is_another_servers_by_then_is_kept() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let old = Server::start_on(&path);
    fs::remove_file(&path).unwrap();
    let new = Server::start_on(&path);
    old.process.signal("TERM");
    assert_eq!(old.process.finish().code, Some(0));
    new.connect().expect_service();
}

/// Starts several servers on one path at once, and checks that one of them listens and the others
/// say why they do not.
fn expect_one_server_of(count: usize, path: &Path) -> Process {
    let mut processes: Vec<_> = (0..count)
        .map(|_| Process::start(program().args(["--listen", &unix(path)])))
        .collect();
    let has_won = |process: &mut Process| {
        let line = process.expect_error(" unix:");
        line.contains(" listening on unix:")
    };
    let won: Vec<_> = processes.iter_mut().map(has_won).collect();
    let winners = won.iter().filter(|won| **won).count();
    assert_eq!(winners, 1, "{winners} of {count} listen");
    let winner = processes.remove(won.iter().position(|won| *won).unwrap());
    for loser in processes {
        loser
            .finish()
            .expect_refusal(1, &["a server is listening there already"]);
    }
    Client::greeted(&unix(path)).expect_service();
    winner
}

#[test]
fn of_servers_that_start_at_once_one_gets_the_socket() {
    for round in 0..25 {
        let dir = TempDir::new();
        let path = dir.join("chat");
        let mut first = expect_one_server_of(2 + round % 3, &path);
        // Now they all find a dead server's file.
        first.kill();
        let second = expect_one_server_of(2 + round % 3, &path);
        second.signal("TERM");
        assert_eq!(second.finish().code, Some(0));
        let left = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(left, 0, "files are left");
    }
}

/// Holds the lock that servers take while they make or remove the socket of a path.
fn lock_of(path: &Path) -> fs::File {
    let lock = fs::File::create(format!("{}.chinwag-lock", path.display())).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    lock
}

#[test]
fn a_server_that_ends_removes_no_file_while_another_may_be_making_one() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let lock = lock_of(&path);
    server.process.signal("TERM");
    let finished = server.process.finish();
    assert_eq!(finished.code, Some(0));
    assert!(finished.err.contains("chat stays behind: "), "{finished:?}");
    assert!(is_socket(&path));
    drop(lock);
    Server::start_on(&path).connect().expect_service();
}

#[test]
fn a_server_waits_for_the_lock_on_a_socket_and_not_for_ever() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let lock = lock_of(&path);
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "chat.chinwag-lock; end it"]);
    // The lock does not concern other sockets in that folder.
    Server::start_on(&dir.join("other"))
        .connect()
        .expect_service();
    let mut process = Process::start(program().args(["--listen", &unix(&path)]));
    process.expect_error("memory: ");
    assert!(!path.exists());
    drop(lock);
    process.expect_error(" listening on ");
    assert!(!dir.join("chat.chinwag-lock").exists());
    assert!(!dir.join("other.chinwag-lock").exists());
}

#[test]
fn read_access_to_the_folder_cannot_keep_a_server_from_its_socket() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let folder = fs::File::open(path.parent().unwrap()).unwrap();
    flock(&folder, FlockOperation::LockExclusive).unwrap();
    let server = Server::start_on(&path);
    server.connect().expect_service();
    server.process.signal("TERM");
    assert_eq!(server.process.finish().code, Some(0));
    assert!(!path.exists());
}

#[test]
fn a_link_in_the_place_of_the_lock_is_not_followed() {
    let dir = TempDir::new();
    let (path, precious) = (dir.join("chat"), dir.join("precious"));
    fs::write(&precious, "precious").unwrap();
    symlink(&precious, dir.join("chat.chinwag-lock")).unwrap();
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "chat.chinwag-lock"]);
    assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    assert!(!path.exists());
}

#[test]
fn a_socket_file_has_the_mode_that_was_asked_for_whatever_the_umask() {
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    let dir = TempDir::new();
    for (umask, mode_args, expected) in [
        ("022", &[][..], 0o755),
        ("077", &[], 0o700),
        ("000", &["--socket-mode", "0660"], 0o660),
        ("077", &["--socket-mode", "0660"], 0o660),
        ("077", &["--socket-mode", "666"], 0o666),
        ("022", &["--socket-mode", "0600"], 0o600),
    ] {
        let path = dir.join("chat");
        let mut command = program_within(&format!(r#"umask {umask}; exec "$@""#));
        let server = Server::start_as(command.args(["--listen", &unix(&path)]).args(mode_args));
        assert_eq!(mode(&path), expected, "umask {umask} {mode_args:?}");
        server.connect().expect_service();
    }
}

/// README.md's commands, with numbers in place of names.
#[test]
fn a_group_gets_in_as_the_readme_says_and_nobody_else() {
    const OWNER: &str = "4001";
    const GROUP: &str = "4002";
    if !getuid().is_root() {
        return skip("only root can connect as several users");
    }
    if launch().len() > 1 || !has("util-linux", "command -v setpriv") {
        return;
    }
    let script = blocks(&document("README.md"), "sh").into_iter();
    let mut scripts = script.map(|(_, text)| text);
    let script = scripts.find(|text| text.contains("--socket-mode")).unwrap();
    let dir = TempDir::new();
    let others_may = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), others_may).unwrap();
    let program = dir.join("chinwag");
    install(&program, fs::read(&launch()[0]).unwrap());
    let folder = dir.join("chat");
    let with_numbers = script
        .replace("/run/chat", folder.to_str().unwrap())
        .replace("-o chinwag -g chat", &format!("-o {OWNER} -g {GROUP}"));
    let command = |beginning: &str| {
        let mut lines = with_numbers.lines();
        let line = lines.find(|line| line.starts_with(beginning)).unwrap();
        line.split('#').next().unwrap().trim_end().to_owned()
    };
    // A shell of a user, who is in this group as well as in a group of their own.
    let shell_of = |user: &str, group: Option<&str>, command: &str| {
        let groups = match group {
            Some(group) => format!("--groups={group}"),
            None => "--clear-groups".to_owned(),
        };
        let mut shell = Command::new("setpriv");
        shell.args([
            &format!("--reuid={user}"),
            &format!("--regid={user}"),
            &groups,
        ]);
        shell.args(["sh", "-c", &format!("umask 022; exec {command}")]);
        shell
    };

    let made = Command::new("sh")
        .args(["-c", &command("install ")])
        .status();
    assert!(made.unwrap().success());
    let serve = command("chinwag ").replacen("chinwag", program.to_str().unwrap(), 1);
    let mut process = Process::start(&mut shell_of(OWNER, None, &serve));
    process.expect_error("listening on unix:");
    let file = fs::metadata(folder.join("socket")).unwrap();
    assert_eq!(file.mode() & 0o7777, 0o660);
    assert_eq!(
        [file.uid(), file.gid()].map(|id| id.to_string()),
        [OWNER, GROUP]
    );

    let mut clients = Vec::new();
    for netcat in Netcat::all() {
        if netcat.has_unix_sockets() {
            let nc = format!("{} ", netcat.program().display());
            clients.push((command("nc -U ").replacen("nc ", &nc, 1), netcat));
        }
    }
    let mut commands: Vec<_> = clients.iter().map(|(command, _)| command.clone()).collect();
    if has("socat", "command -v socat") {
        let socket = folder.join("socket");
        commands.push(format!("socat - UNIX-CONNECT:{}", socket.display()));
        assert!(
            document("README.md")
                .replace('\n', " ")
                .contains("socat - UNIX-CONNECT:/run/chat/socket")
        );
    }
    for command in commands {
        let visit = |user: &str, group: Option<&str>| -> Finished {
            let mut client = Process::start(&mut shell_of(user, group, &command));
            client.try_to_type_in("PING\nQUIT\n");
            client.end_input();
            client.finish()
        };
        for (user, group) in [("4003", Some(GROUP)), (OWNER, None)] {
            let finished = visit(user, group);
            assert!(finished.out.contains("OK PING"), "{command}: {finished:?}");
        }
        for (user, group) in [("4003", None), ("4004", Some("4003"))] {
            let finished = visit(user, group);
            assert_ne!(finished.code, Some(0), "{command}: {finished:?}");
            assert!(finished.err.contains("Permission denied"), "{finished:?}");
            assert_eq!(finished.out, "");
        }
    }
    // Nor do others see what is in the folder.
    let list = format!("ls {}", folder.display());
    let listed = |user: &str, group| Process::start(&mut shell_of(user, group, &list)).finish();
    assert_eq!(listed("4003", Some(GROUP)).out, "socket\n");
    assert_eq!(listed("4003", None).out, "");
}

#[test]
fn the_mode_of_another_file_that_takes_the_sockets_name_is_left_alone() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    // The server needs no call that finds the file by its name.
    let Some(mut command) = failing("?chmod,?fchmodat", "error=EPERM") else {
        return;
    };
    let args = ["--listen", &unix(&path), "--socket-mode", "0666"];
    let server = Server::start_as(command.args(args));
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o666);
    server.connect().expect_service();
}

#[test]
fn a_link_in_the_place_of_a_socket_is_refused_and_kept() {
    let dir = TempDir::new();
    let (path, other) = (dir.join("chat"), dir.join("other"));
    let server = Server::start_on(&other);
    symlink(&other, &path).unwrap();
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "not a socket"]);
    drop(server);
    try_to_listen(&unix(&path)).expect_refusal(1, &[&unix(&path), "not a socket"]);
    assert!(fs::symlink_metadata(&path).unwrap().is_symlink());
}

/// `--socket-buffer` bounds the system's buffers for Unix sockets too, which do not inherit them
/// from their listener.
#[test]
fn the_system_keeps_little_for_a_client_that_does_not_read() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let args = ["--socket-buffer", "4K", "--log-bytes", "4K"];
    let server = Server::start(&[&args[..], &["--listen", &on_unix]].concat());
    let mut speaker = server.join("speaker mode=pull idle=3600");
    let mut stuck = Client::greeted(&on_unix);
    stuck.join("stuck idle=3600");
    flood(&mut speaker, 1024, || {});
    let mut kept = 0;
    loop {
        let line = stuck.expect("");
        if line.starts_with("LOST ") {
            break;
        }
        kept += line.len();
    }
    // With the room's log. By default the system alone keeps about 208 KiB.
    assert!(kept < 48 * 1024, "{kept} bytes");
}

/// Bytes that come with a descriptor end a read of a Unix socket, whatever follows them.
#[test]
fn lines_that_come_with_descriptors_are_all_answered() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    let mut witness = Client::greeted(&unix(&path));
    witness.join("witness");
    let mut ann = Client::greeted(&unix(&path));
    ann.join("ann mode=pull");
    witness.expect_event("JOINED", "ann");
    let descriptors = server.process.descriptors().len();
    server.process.pause();
    for n in 0..12 {
        let line = format!("SAY {n}\n");
        let descriptors = [ann.socket.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if n % 3 != 0 {
            assert!(control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        }
        let slices = [IoSlice::new(line.as_bytes())];
        sendmsg(&ann.socket, &slices, &mut control, SendFlags::empty()).unwrap();
    }
    server.process.go_on();
    // Ann reads none of her replies; if she did, the system would report her connection again.
    for n in 0..12 {
        witness.expect_event("MSG", &format!("ann {n}"));
    }
    assert_eq!(server.process.descriptors().len(), descriptors);
}
