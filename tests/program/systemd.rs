//! The program under a service manager, which the test plays: what the program tells it over its
//! socket, and how one server after another serves the sockets that it passes.

use std::io::ErrorKind;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::process::{
    Client, Finished, PATIENCE, Process, TempDir, Watch, has_ipv6, launch, program, program_within,
    skip, unix,
};
use crate::steps::SECOND;
use socket2::SockRef;

/// Starts the program with one socket passed to it.
const WITH_ONE: &str = r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$@""#;
/// Starts the program with two.
const WITH_TWO: &str =
    r#"exec 3<&0 4<&1 </dev/null >/dev/null; LISTEN_PID=$$ LISTEN_FDS=2 exec "$@""#;

/// The socket of a service manager.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn at(path: &Path) -> Manager {
        let name = path.to_str().unwrap().to_owned();
        Manager::of(UnixDatagram::bind(path), name)
    }

    /// A service manager whose socket is not a file.
    fn abstract_of(test: &str) -> Manager {
        let name = format!("chinwag-test-{}-{test}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        Manager::of(UnixDatagram::bind_addr(&address), format!("@{name}"))
    }

    fn of(socket: std::io::Result<UnixDatagram>, name: String) -> Manager {
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Manager { socket, name }
    }

    /// Starts a command that runs the server, and waits until it is ready.
    fn start(&self, command: &mut Command) -> Process {
        let process = Process::spawn(command.env("NOTIFY_SOCKET", &self.name));
        let mut message = self.next();
        assert_eq!(message.remove(0), "READY=1");
        assert_eq!(message.remove(0), "STATUS=0 connections, 0 sessions");
        process
    }

    /// The lines of the next message.
    #[track_caller]
    fn next(&self) -> Vec<String> {
        let mut buffer = [0; 4096];
        let len = loop {
            match self.socket.recv(&mut buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => break result.expect("no message in time"),
            }
        };
        let text = std::str::from_utf8(&buffer[..len]).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for a message with this line.
    #[track_caller]
    fn await_line(&self, line: &str) {
        let watch = Watch::start();
        while self.next().iter().all(|other| other != line) {
            assert!(!watch.is_over(), "no {line:?} in time");
        }
    }

    /// Checks that there is no message yet.
    fn expect_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert!(self.socket.recv(&mut [0; 1]).is_err());
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Ends a server, and checks that it says so.
    fn stop(&self, process: Process) -> Finished {
        process.signal("TERM");
        self.await_line("STOPPING=1");
        let finished = process.finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        finished
    }
}

/// The program on a port of its own, without a socket passed to it.
fn alone() -> Command {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// A command, with a socket to be passed as its input.
fn passing(script: &str, socket: impl Into<OwnedFd>) -> Command {
    let mut command = program_within(script);
    command.stdin(socket.into()).stdout(Stdio::null());
    command
}

fn tcp() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

/// A socket that takes IPv4 addresses too, which listens there, and its port.
fn for_both_kinds(address: &str) -> (socket2::Socket, u16) {
    let socket = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::STREAM, None).unwrap();
    socket.set_only_v6(false).unwrap();
    let address = address.parse::<std::net::SocketAddr>().unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(16).unwrap();
    let port = socket.local_addr().unwrap().as_socket().unwrap().port();
    (socket, port)
}

/// The lines in which a server said where it listens.
fn greetings(finished: &Finished) -> Vec<&str> {
    let lines = finished.err.lines();
    let greetings = lines.filter_map(|line| line.split_once("listening on "));
    greetings.map(|(_, address)| address).collect()
}

// What the program tells the service manager

#[test]
fn the_manager_is_told_of_the_beginning_and_the_end() {
    let dir = TempDir::new();
    for manager in [
        Manager::at(&dir.join("notify")),
        Manager::abstract_of("begin"),
    ] {
        let mut process = manager.start(&mut alone());
        let greeting = process.expect_error("listening on ");
        let (_, address) = greeting.trim_end().split_once("listening on ").unwrap();
        let mut ann = Client::greeted(address);
        ann.expect_service();
        process.signal("TERM");
        manager.await_line("STOPPING=1");
        ann.expect_bye("shutdown");
        assert_eq!(process.finish().code, Some(0));
        manager.expect_nothing();
    }
}

#[test]
fn the_manager_is_told_how_many_there_are_when_that_has_changed() {
    let manager = Manager::abstract_of("status");
    let (listener, address) = tcp();
    let process = manager.start(&mut passing(WITH_ONE, listener));
    let mut ann = Client::greeted(&address);
    ann.join("ann");
    manager.await_line("STATUS=1 connection, 1 session");
    let others = [(); 20].map(|()| Client::greeted(&address));
    manager.await_line("STATUS=21 connections, 1 session");
    drop(others);
    manager.await_line("STATUS=1 connection, 1 session");
    ann.ask("QUIT", "OK QUIT");
    manager.await_line("STATUS=0 connections, 0 sessions");
    manager.expect_nothing();
    manager.stop(process);
}

#[test]
fn a_server_that_has_told_its_manager_all_does_not_wake_up() {
    let manager = Manager::abstract_of("idle");
    let (listener, address) = tcp();
    let process = manager.start(&mut passing(WITH_ONE, listener));
    let mut ann = Client::greeted(&address);
    ann.join("ann idle=3600");
    let mut bob = Client::greeted(&address);
    bob.join("bob mode=pull idle=3600");
    manager.await_line("STATUS=2 connections, 2 sessions");
    // By now the server has nothing left to do.
    ann.expect_event("JOINED", "bob");
    process.await_sleep();
    ann.expect_nothing(SECOND / 2);
    let (sleeps, ticks) = (process.sleeps(), process.ticks());
    ann.expect_nothing(2 * SECOND);
    assert_eq!(process.sleeps(), sleeps);
    assert_eq!(process.ticks(), ticks);
    manager.expect_nothing();
    ann.expect_service();
    manager.stop(process);
}

#[test]
fn a_watchdog_is_shown_that_the_loop_turns() {
    let manager = Manager::abstract_of("watchdog");
    let (listener, address) = tcp();
    let script = WITH_ONE.replace(
        "LISTEN_PID",
        "WATCHDOG_USEC=100000 WATCHDOG_PID=$$ LISTEN_PID",
    );
    let mut command = passing(&script, listener);
    let process = Process::spawn(command.env("NOTIFY_SOCKET", &manager.name));
    let all = ["READY=1", "STATUS=0 connections, 0 sessions", "WATCHDOG=1"];
    assert_eq!(manager.next(), all);
    for _ in 0..5 {
        assert_eq!(manager.next(), all[1..]);
    }
    // A stopped server shows nothing, and goes on where it was.
    process.pause();
    manager.socket.set_nonblocking(true).unwrap();
    while manager.socket.recv(&mut [0; 1]).is_ok() {}
    manager.socket.set_nonblocking(false).unwrap();
    let mut ann = Client::connect(&address);
    ann.expect_nothing(SECOND / 2);
    manager.expect_nothing();
    process.go_on();
    manager.await_line("WATCHDOG=1");
    ann.expect("HELLO ");
    manager.stop(process);
}

#[test]
fn a_watchdog_of_another_process_is_shown_nothing() {
    let manager = Manager::abstract_of("another");
    let mut command = alone();
    command.env("WATCHDOG_USEC", "100000");
    command.env("WATCHDOG_PID", std::process::id().to_string());
    command.env("NOTIFY_SOCKET", &manager.name);
    let process = Process::spawn(&mut command);
    assert_eq!(
        manager.next().last().unwrap(),
        "STATUS=0 connections, 0 sessions"
    );
    manager.stop(process);
}

#[test]
fn a_server_whose_manager_cannot_be_told_serves_and_says_so() {
    let dir = TempDir::new();
    let missing = dir.join("missing").to_str().unwrap().to_owned();
    for (name, complaint) in [
        (missing.as_str(), "cannot reach the service manager"),
        ("nonsense", "NOTIFY_SOCKET=nonsense"),
    ] {
        let mut command = alone();
        command.env("NOTIFY_SOCKET", name);
        command.env("WATCHDOG_USEC", "100000");
        let mut process = Process::spawn(&mut command);
        process.expect_error("listening on ");
        process.signal("TERM");
        let finished = process.finish();
        assert_eq!(finished.code, Some(0));
        let complaints = finished.err.lines().filter(|line| line.contains(complaint));
        assert_eq!(complaints.count(), 1, "{}", finished.err);
    }
}

// Sockets that are passed

#[test]
fn passed_sockets_are_served_in_place_of_the_default_address() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let manager = Manager::abstract_of("passed");
    let (listener, address) = tcp();
    let mut command = passing(WITH_TWO, listener.try_clone().unwrap());
    command.stdout(OwnedFd::from(UnixListener::bind(&path).unwrap()));
    let process = manager.start(&mut command);
    let mut ann = Client::greeted(&address);
    ann.join("ann");
    let mut bob = Client::greeted(&unix(&path));
    bob.join("bob");
    ann.expect_event("JOINED", "bob");
    // The system buffers no more for these connections than for others.
    let size = SockRef::from(&listener).recv_buffer_size().unwrap();
    assert_eq!(size, 2 * 32 * 1024);
    let finished = manager.stop(process);
    assert_eq!(greetings(&finished), [address, unix(&path)]);
    assert!(path.exists(), "the file is the service manager's");
}

/// A service manager may pass one socket for both kinds of addresses. On it IPv4 addresses appear
/// as IPv6 addresses that all begin alike.
#[test]
fn each_ipv4_address_has_a_share_of_its_own_on_a_socket_for_both_kinds() {
    if !has_ipv6() {
        return;
    }
    let (socket, port) = for_both_kinds("[::]:0");
    let manager = Manager::abstract_of("both");
    let mut command = passing(WITH_ONE, socket);
    let process = manager.start(command.args(["--open", "--max-per-address", "1"]));
    let address = format!("127.0.0.1:{port}");
    let mut clients = [
        Client::from([127, 0, 0, 2], &address),
        Client::from([127, 0, 0, 3], &address),
        Client::connect(&format!("[::1]:{port}")),
    ];
    for client in &mut clients {
        client.expect("HELLO ");
        client.expect_service();
    }
    let mut second = Client::from([127, 0, 0, 3], &address);
    second.expect("HELLO ");
    second.expect_bye("full");
    manager.stop(process);
}

#[test]
fn a_passed_socket_without_a_file_is_named_as_it_is_written() {
    let manager = Manager::abstract_of("nameless");
    let name = format!("chinwag-test-{}-chat", std::process::id());
    let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap());
    let process = manager.start(&mut passing(WITH_ONE, listener.unwrap()));
    let finished = manager.stop(process);
    assert_eq!(greetings(&finished), [format!("unix:@{name}")]);
}

#[test]
fn a_passed_unix_socket_is_counted_and_keeps_its_mode() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let listener = UnixListener::bind(&path).unwrap();
    let mode = || std::fs::metadata(&path).unwrap().permissions().mode();
    let before = mode();
    let manager = Manager::abstract_of("mode");
    let process = manager.start(passing(WITH_ONE, listener).args(["--socket-mode", "0600"]));
    let log = manager.stop(process).err;
    assert_eq!(mode(), before);
    let warning = format!(" WARN --socket-mode 0600 does not change {}, ", unix(&path));
    assert!(log.contains(&warning), "{log}");
    assert!(log.contains(", those of clients on Unix sockets "), "{log}");
    // With TCP alone there are no clients on Unix sockets.
    let process = manager.start(&mut alone());
    assert!(!manager.stop(process).err.contains("Unix sockets"));
}

#[test]
fn a_check_counts_passed_sockets_and_leaves_them_as_they_are() {
    let dir = TempDir::new();
    let check = |socket: OwnedFd| {
        let mut command = passing(WITH_ONE, socket.try_clone().unwrap());
        command.args(["--check", "--socket-mode", "0600"]);
        let finished = Process::spawn(command.stdout(Stdio::piped())).finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        // Flags of an open file description hold for every process that has it.
        assert!(!SockRef::from(&socket).nonblocking().unwrap());
        finished
    };
    let (listener, _) = tcp();
    let buffer = || SockRef::from(&listener).recv_buffer_size().unwrap();
    let before = buffer();
    let on_tcp = check(listener.try_clone().unwrap().into());
    assert_eq!(buffer(), before);
    assert!(!on_tcp.out.contains("sockets of clients"), "{on_tcp:?}");
    let path = dir.join("chat");
    let on_unix = check(UnixListener::bind(&path).unwrap().into());
    assert!(on_unix.out.contains("sockets of clients"), "{on_unix:?}");
    let warning = format!("does not change {}, ", unix(&path));
    assert!(on_unix.err.contains(&warning), "{on_unix:?}");
    assert!(path.exists());
}

#[test]
fn addresses_that_are_given_are_listened_on_beside_passed_sockets() {
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let manager = Manager::abstract_of("own-socket");
    let (listener, address) = tcp();
    let process = manager.start(passing(WITH_ONE, listener).args(["--listen", &on_unix]));
    for address in [&address, &on_unix] {
        Client::greeted(address).expect_service();
    }
    let finished = manager.stop(process);
    assert_eq!(greetings(&finished), [&address, &on_unix]);
    assert!(!dir.join("chat").exists());
}

#[test]
fn sockets_that_were_passed_to_another_are_left_alone() {
    let (listener, address) = tcp();
    let script = WITH_ONE.replace("LISTEN_PID=$$", "LISTEN_PID=1");
    let mut command = passing(&script, listener.try_clone().unwrap());
    let mut process = Process::spawn(command.args(["--listen", "127.0.0.1:0"]));
    let greeting = process.expect_error("listening on ");
    assert!(!greeting.contains(&address), "{greeting}");
    let _waiting = Client::connect(&address);
    listener.accept().unwrap();
    process.signal("TERM");
    let finished = process.finish();
    assert_eq!((finished.code, greetings(&finished).len()), (Some(0), 1));
}

#[test]
fn clients_that_connect_while_no_server_runs_are_served_by_the_next() {
    let dir = TempDir::new();
    let path = dir.join("chat");
    let on_unix = unix(&path);
    let manager = Manager::abstract_of("restart");
    let (tcp, on_tcp) = tcp();
    let local = UnixListener::bind(&path).unwrap();
    let start = || {
        let mut command = passing(WITH_TWO, tcp.try_clone().unwrap());
        command.stdout(OwnedFd::from(local.try_clone().unwrap()));
        manager.start(&mut command)
    };
    let mut process = start();
    for round in 0..3 {
        let mut ann = Client::greeted(&on_tcp);
        ann.join("ann mode=pull");
        manager.stop(process);
        ann.expect_bye("shutdown");
        let mut waiting: Vec<_> = [&on_tcp, &on_unix]
            .repeat(50)
            .into_iter()
            .map(|address| {
                let mut client = Client::connect(address);
                client.send(&format!("PING {round}"));
                client
            })
            .collect();
        process = start();
        for client in &mut waiting {
            client.expect("HELLO ");
            client.expect(&format!("OK PING {round}"));
        }
    }
    manager.stop(process);
}

#[test]
fn the_first_connection_may_come_before_the_first_server() {
    let manager = Manager::abstract_of("first");
    let (listener, address) = tcp();
    let mut ann = Client::connect(&address);
    ann.send("JOIN ann mode=pull");
    let process = manager.start(&mut passing(WITH_ONE, listener));
    ann.expect("HELLO ");
    ann.expect("OK JOIN ");
    manager.stop(process);
}

/// The manager notices nothing of another program in the process.
#[test]
fn an_upgrade_goes_on_with_the_manager_and_the_sockets_that_it_passed() {
    if launch().len() > 1 {
        return skip("an emulator cannot execute the program again");
    }
    let dir = TempDir::new();
    let path = dir.join("chat");
    let manager = Manager::abstract_of("upgrade");
    let (listener, address) = tcp();
    let script = WITH_TWO.replace("LISTEN_PID", "WATCHDOG_USEC=100000 LISTEN_PID");
    let mut command = passing(&script, listener);
    command.stdout(OwnedFd::from(UnixListener::bind(&path).unwrap()));
    let mut process = manager.start(&mut command);
    let mut ann = Client::greeted(&address);
    ann.join("ann");
    for upgrades in 1..=3 {
        process.signal("USR2");
        process.expect_error("upgraded from ");
        for address in [&address, &unix(&path)] {
            Client::greeted(address).expect_service();
        }
        assert_eq!(ann.stat("upgrades"), upgrades);
        let watch = Watch::start();
        let status = "STATUS=1 connection, 1 session";
        loop {
            let message = manager.next();
            if message == [status, "WATCHDOG=1"] {
                break;
            }
            assert!(!watch.is_over(), "{message:?}");
        }
    }
    manager.stop(process);
    assert!(path.exists(), "the file is the service manager's");
}

/// A service manager may write an IPv4 address as an IPv6 socket has it.
#[test]
fn a_passed_socket_with_an_ipv4_address_of_the_other_kind_survives_an_upgrade() {
    if launch().len() > 1 {
        return skip("an emulator cannot execute the program again");
    }
    if !has_ipv6() {
        return;
    }
    let (socket, port) = for_both_kinds("[::ffff:127.0.0.1]:0");
    let manager = Manager::abstract_of("mapped");
    let mut process = manager.start(&mut passing(WITH_ONE, socket));
    let address = format!("127.0.0.1:{port}");
    let mut ann = Client::greeted(&address);
    process.signal("USR2");
    process.expect_error("upgraded from ");
    ann.expect_service();
    let finished = manager.stop(process);
    assert_eq!(greetings(&finished), [address]);
}

// What is refused

/// Checks that the program does not start with the sockets that it gets and says why, and that
/// `--check` says the same.
fn expect_refusal(mut command: Command, texts: &[&str]) {
    let refused = Process::spawn(&mut command).finish();
    refused.expect_refusal(1, texts);
    let checked = Process::spawn(command.arg("--check")).finish();
    assert_eq!((checked.code, checked.err), (refused.code, refused.err));
}

#[test]
fn a_passed_socket_has_to_be_one_that_listens() {
    let (listener, address) = tcp();
    let connected = TcpStream::connect(&address).unwrap();
    let (pair, _other) = UnixStream::pair().unwrap();
    let datagrams = UnixDatagram::unbound().unwrap();
    let unbound = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None);
    let file = std::fs::File::open("/dev/null").unwrap();
    let sockets: [OwnedFd; 5] = [
        connected.into(),
        pair.into(),
        datagrams.into(),
        unbound.unwrap().into(),
        file.into(),
    ];
    let texts = ["descriptor 3", "LISTEN_FDS", "ListenStream="];
    for socket in sockets {
        expect_refusal(passing(WITH_ONE, socket), &texts);
    }
    let one_of_two = WITH_ONE.replace("FDS=1", "FDS=2");
    let texts = ["descriptor 4", "LISTEN_FDS"];
    expect_refusal(passing(&one_of_two, listener), &texts);
}

#[test]
fn a_passed_socket_is_open_to_a_network_only_to_those_with_keys_or_if_that_is_said() {
    let manager = Manager::abstract_of("open");
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let command = || passing(WITH_ONE, listener.try_clone().unwrap());
    expect_refusal(command(), &["passed", &address, "--users", "--open"]);
    let process = manager.start(command().arg("--open"));
    assert_eq!(greetings(&manager.stop(process)), [address]);
}

#[test]
fn variables_that_make_no_sense_are_named() {
    for (name, value) in [
        ("LISTEN_PID", "me"),
        ("WATCHDOG_USEC", "0"),
        ("WATCHDOG_USEC", "30s"),
    ] {
        let mut command = alone();
        command.env(name, value);
        expect_refusal(command, &[&format!("{name}={value} "), "unset it"]);
    }
    let (listener, _) = tcp();
    let script = WITH_ONE.replace("FDS=1", "FDS=one");
    expect_refusal(passing(&script, listener), &["LISTEN_FDS=one "]);
}
