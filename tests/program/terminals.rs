//! What README.md tells people to type works: the programs run as they are shown, in a terminal,
//! and through the tunnels of TLS and ssh that README.md and PROTOCOL.md describe.
//!
//! A program that is not installed is skipped, with a line that names it; with CI in the
//! environment the test fails.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use crate::process::{
    Client, Netcat, PATIENCE, Process, Received, Server, TempDir, Watch, has, has_netcat, unix,
};

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_BRACKET: &str = "\x1d";
const UP: &str = "\x1b[A";

// Documents

/// A section of a document, with the sections in it.
fn section(document: &str, heading: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(document);
    let text = fs::read_to_string(path).unwrap();
    let level = heading.split(' ').next().unwrap().len();
    let is_end = |line: &str| {
        let (marks, _) = line.split_once(' ').unwrap_or_default();
        !marks.is_empty() && marks.len() <= level && marks.bytes().all(|b| b == b'#')
    };
    let mut is_code = false;
    let mut lines = text.lines().skip_while(|line| *line != heading);
    let mut section = format!("{}\n", lines.next().expect(heading));
    for line in lines {
        is_code ^= line.starts_with("```");
        if !is_code && is_end(line) {
            break;
        }
        section += &format!("{line}\n");
    }
    section
}

/// The text of the fenced blocks of a kind.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let opening = format!("```{kind}\n");
    let blocks = text.split(&opening).skip(1);
    blocks
        .map(|block| block.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// The only shell command that begins like this.
fn command(text: &str, beginning: &str) -> String {
    let code = blocks(text, "sh").concat().replace("\\\n", " ");
    let mut found = code.lines().filter(|line| line.starts_with(beginning));
    let command = found.next();
    let command = command.unwrap_or_else(|| panic!("no command {beginning} in {code}"));
    assert_eq!(found.next(), None);
    command.to_owned()
}

fn clients() -> String {
    section("README.md", "## Clients")
}

fn security() -> String {
    section("PROTOCOL.md", "## 12 Security")
}

// Programs

/// A shell's command in a terminal of its own, with a window of this size.
pub fn script(dir: &TempDir, (rows, columns): (u16, u16), command: &str) -> Command {
    // Tests that run in the background may ignore Ctrl-C.
    let size = format!("stty rows {rows} cols {columns}");
    let command = format!("{size}; exec env --default-signal {command}");
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", &command]);
    script.arg("/dev/null").current_dir(dir.join(""));
    // rlwrap saves what was typed when its terminal is gone, and with it the test's folder.
    script.env("RLWRAP_HOME", env!("CARGO_TARGET_TMPDIR"));
    script.env("TERM", "vt100").env("LC_ALL", "C.UTF-8");
    // People's own settings for telnet and for editing lines do not count.
    script.env("HOME", dir.join("")).env_remove("INPUTRC");
    script
}

/// Starts a shell's command in a terminal of its own; what is typed here is typed there.
fn terminal(dir: &TempDir, command: &str) -> Process {
    Process::start(&mut script(dir, (24, 80), command))
}

/// Starts a program that stays, such as a tunnel.
fn start(dir: &TempDir, command: &str) -> Process {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("exec {command}")]);
    Process::start(shell.current_dir(dir.join("")))
}

/// A port that nobody has now, and that no outgoing connection gets in the meantime.
pub fn free_port() -> String {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap();
    let first_given: u16 = range.split_whitespace().next().unwrap().parse().unwrap();
    let is_free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    let mut ports = (0..1000).map(|_| fastrand::u16(8300..first_given.max(10_000)));
    ports.find(is_free).unwrap().to_string()
}

/// Waits until somebody listens.
fn await_listener(port: &str, asker: &mut Client) {
    let watch = Watch::start();
    while TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
        assert!(!watch.is_over(), "nobody listens at {port}");
        asker.expect_nothing(Duration::from_millis(20));
    }
}

/// Lets a client join, hear, speak and go.
fn expect_conversation(server: &Server, client: &mut Process) {
    let mut bob = server.join("bob");
    client.expect("HELLO chinwag/");
    client.type_in("JOIN ann\r");
    client.expect("JOINED ");
    bob.expect_event("JOINED", "ann");
    // Some programs have commands of their own that begin like this.
    client.type_in("RESUME nothing\r");
    client.expect("ERR already-joined ");
    bob.ask("SAY hello ann", "OK SAY ");
    bob.expect_event("MSG", "bob hello ann");
    client.expect(" bob hello ann");
    client.type_in("SAY hello ¡bob!\r");
    client.expect("OK SAY ");
    bob.expect_event("MSG", "ann hello ¡bob!");
    client.type_in("QUIT\r");
    client.expect("BYE quit ");
    bob.expect_event("LEFT", "ann quit");
    bob.send("QUIT");
}

// What the table of README.md says

/// A row of the table: what to type, and what keys do then.
struct Row {
    command: String,
    /// The nc that it is about, if that is installed.
    netcat: Option<Netcat>,
    line_end: String,
    interrupt: String,
    end_of_input: String,
    goodbye: String,
}

fn rows() -> Vec<Row> {
    let clients = clients();
    let rows = clients.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [command, line_end, interrupt, end_of_input, goodbye] = cells[..] else {
            panic!("{line}");
        };
        let (command, netcat) = command
            .trim_matches('`')
            .split_once('`')
            .unwrap_or((command, ""));
        let package = match netcat.trim_matches([' ', '(', ')']) {
            "" => None,
            "OpenBSD's" => Some("netcat-openbsd"),
            "traditional" => Some("netcat-traditional"),
            "busybox'" => Some("busybox"),
            other => panic!("what is {other}?"),
        };
        let netcat = package.and_then(|package| {
            let mut netcats = Netcat::all().into_iter();
            netcats.find(|netcat| netcat.package == package)
        });
        Row {
            command: command.trim_matches('`').to_owned(),
            netcat,
            line_end: line_end.to_owned(),
            interrupt: interrupt.to_owned(),
            end_of_input: end_of_input.to_owned(),
            goodbye: goodbye.to_owned(),
        }
    };
    rows.map(row).collect()
}

impl Row {
    /// Whether all its programs are installed.
    fn is_there(&self) -> bool {
        let words = self.command.split(' ');
        let mut programs = words.take_while(|word| !word.starts_with(|c: char| c.is_ascii_digit()));
        let check = |program| match program {
            "nc" => self.netcat.is_some(),
            "telnet" => has("inetutils-telnet", "telnet --version | grep -q inetutils"),
            other => has(other, &format!("command -v {other}")),
        };
        has("script", "command -v script") && programs.all(check)
    }

    /// Types the command, with another port.
    fn start(&self, dir: &TempDir, port: &str) -> Process {
        let command = self.command.replace("8255", port);
        let Some(netcat) = &self.netcat else {
            return terminal(dir, &command);
        };
        let program = format!("{} ", netcat.program().display());
        terminal(dir, &command.replace("nc ", &program))
    }

    fn expect_all(&self) {
        let dir = TempDir::new();
        self.expect_line_end(&dir);
        self.expect_interrupt(&dir, &Server::start(&[]));
        self.expect_end_of_input(&dir, &Server::start(&[]));
        self.expect_goodbye(&dir, &Server::start(&[]));
        let server = Server::start(&[]);
        expect_conversation(&server, &mut self.start(&dir, server.port()));
    }

    fn expect_line_end(&self, dir: &TempDir) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut client = self.start(dir, &port);
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"HELLO chinwag/0 protocol=1\r\n").unwrap();
        client.expect("HELLO chinwag/");
        client.type_in("PING one\r");
        let mut line = Vec::new();
        let mut input = BufReader::new(stream);
        input.read_until(b'\n', &mut line).unwrap();
        let expected: &[u8] = match &*self.line_end {
            "LF" => b"PING one\n",
            "CR LF" => b"PING one\r\n",
            other => panic!("what is {other}?"),
        };
        assert_eq!(line, expected, "{}", self.command);
    }

    fn expect_interrupt(&self, dir: &TempDir, server: &Server) {
        let mut bob = server.join("bob");
        let mut client = self.start(dir, server.port());
        client.expect("HELLO chinwag/");
        client.type_in("JOIN ann idle=6\r");
        client.expect("JOINED ");
        bob.expect_event("JOINED", "ann");
        client.type_in("SAY never");
        client.type_in(CTRL_C);
        match &*self.interrupt {
            "ends it" => assert_ne!(client.finish().code, Some(0)),
            "drops the line" => {
                client.type_in("PING one\r");
                client.expect("OK PING one");
                client.type_in("QUIT\r");
                client.expect("BYE quit ");
            }
            other => panic!("what is {other}?"),
        }
        // The client does not learn of it, and in the end the session is gone.
        let left = bob.expect("LEFT ");
        assert!(left.contains(" ann "), "{left}");
    }

    fn expect_end_of_input(&self, dir: &TempDir, server: &Server) {
        let mut bob = server.join("bob");
        let mut client = self.start(dir, server.port());
        client.expect("HELLO chinwag/");
        client.type_in("JOIN ann idle=6\r");
        client.expect("JOINED ");
        bob.expect_event("JOINED", "ann");
        client.type_in(CTRL_D);
        match &*self.end_of_input {
            "ends what you type; you still hear the others" => {
                bob.ask("SAY do you hear me?", "OK SAY ");
                bob.expect_event("MSG", "bob do you hear me?");
                client.expect(" bob do you hear me?");
                client.type_in("SAY yes\r");
                client.expect("EXPIRING ");
                client.expect("BYE expired ");
                client.finish();
                bob.expect_event("LEFT", "ann expired");
            }
            "ends it, once the server has answered" => {
                let finished = client.finish();
                assert_eq!(finished.code, Some(0), "{}: {finished:?}", self.command);
                assert!(!finished.out.contains("BYE "), "{finished:?}");
                // The session stays for its idle time.
                bob.expect_event("LEFT", "ann expired");
            }
            "is an ordinary character" => {
                client.type_in("PING one\r");
                client.expect("ERR bad-encoding ");
                client.type_in("PING two\r");
                client.expect("OK PING two");
                client.type_in("QUIT\r");
                client.expect("BYE quit ");
                bob.expect_event("LEFT", "ann quit");
            }
            other => panic!("what is {other}?"),
        }
    }

    fn expect_goodbye(&self, dir: &TempDir, server: &Server) {
        let mut bob = server.connect();
        let mut client = self.start(dir, server.port());
        client.expect("HELLO chinwag/");
        client.type_in("QUIT\r");
        client.expect("BYE quit ");
        let types = match &*self.goodbye {
            "ends it" => false,
            "ends it when you send a line or two" => true,
            other => panic!("what is {other}?"),
        };
        let watch = Watch::start();
        while types && !client.has_ended() {
            assert!(!watch.is_over(), "{} stays", self.command);
            client.try_to_type_in("PING\r");
            bob.expect_nothing(Duration::from_millis(50));
        }
        client.finish();
    }
}

#[test]
fn what_the_readme_says_of_programs_in_a_terminal_is_true() {
    let rows = rows();
    assert_eq!(rows.len(), 6);
    // Each waits for sessions to expire, so they wait together.
    thread::scope(|scope| {
        for row in rows.iter().filter(|row| row.is_there()) {
            scope.spawn(|| row.expect_all());
        }
    });
}

/// The row of a client's command.
fn row_of(client: &str) -> Row {
    let mut rows = rows().into_iter();
    rows.find(|row| row.command.starts_with(client)).unwrap()
}

#[test]
fn telnet_is_left_as_the_readme_says() {
    let row = row_of("telnet");
    if !row.is_there() {
        return;
    }
    assert!(clients().contains("To leave telnet, press Ctrl-] and type `quit`."));
    let (dir, server) = (TempDir::new(), Server::start(&[]));
    let mut client = row.start(&dir, server.port());
    client.expect("HELLO chinwag/");
    client.type_in(CTRL_BRACKET);
    client.type_in("quit\r");
    client.expect("Connection closed.");
    assert_eq!(client.finish().code, Some(0));
}

#[test]
fn rlwrap_edits_lines_and_fetches_earlier_ones() {
    let row = row_of("rlwrap");
    if !row.is_there() {
        return;
    }
    let (dir, server) = (TempDir::new(), Server::start(&[]));
    let mut bob = server.join("bob");
    let mut client = row.start(&dir, server.port());
    client.expect("HELLO chinwag/");
    client.type_in("JOIN ann\r");
    client.expect("JOINED ");
    bob.expect_event("JOINED", "ann");
    client.type_in("SAY hullo\x7f\x7f\x7f\x7fello\r");
    bob.expect_event("MSG", "ann hello");
    // Messages of others do not get into the line.
    client.type_in("SAY hello ");
    bob.ask("SAY in between", "OK SAY ");
    bob.expect_event("MSG", "bob in between");
    client.expect(" bob in between");
    client.type_in("again\r");
    bob.expect_event("MSG", "ann hello again");
    client.type_in(UP);
    client.type_in(UP);
    client.type_in("\r");
    bob.expect_event("MSG", "ann hello");
}

// Tunnels

/// A server behind TLS, and a certificate that it shows.
struct Tls {
    dir: TempDir,
    server: Server,
    port: String,
    _tunnel: Process,
}

/// Makes a tunnel local: names that lead to this machine, free ports, and the test's own folder.
fn localized(text: &str, server: &str, tls: &str) -> String {
    let listen = format!("OPENSSL-LISTEN:{tls},bind=127.0.0.1,");
    text.replace("OPENSSL-LISTEN:8256,", &listen)
        .replace("accept  = 8256", &format!("accept = 127.0.0.1:{tls}"))
        .replace("chat.example.org", "localhost")
        .replace("8256", tls)
        .replace("8255", server)
        .replace("/etc/stunnel/", "")
}

impl Tls {
    /// Makes the certificate, and starts the tunnel of one of PROTOCOL.md's sections.
    fn start(heading: &str, beginning: &str) -> Tls {
        let (dir, server, port) = (TempDir::new(), Server::start(&[]), free_port());
        make_certificate(&dir);
        let text = section("PROTOCOL.md", heading);
        for block in blocks(&text, "ini") {
            write_config(
                &dir,
                "chinwag.conf",
                &localized(&block, server.port(), &port),
            );
        }
        let command = command(&text, beginning);
        let tunnel = start(&dir, &localized(&command, server.port(), &port));
        await_listener(&port, &mut server.connect());
        Tls {
            dir,
            server,
            port,
            _tunnel: tunnel,
        }
    }

    /// One of README.md's commands for clients, with this port.
    fn command(&self, beginning: &str, port: &str) -> String {
        localized(&command(&clients(), beginning), port, &self.port)
    }

    /// Starts one of README.md's commands that make a port for all other clients; returns the port.
    fn open(&self, beginning: &str) -> (Process, String) {
        let port = free_port();
        let config = blocks(&clients(), "ini").concat();
        write_config(
            &self.dir,
            "chinwag-client.conf",
            &localized(&config, &port, &self.port),
        );
        let tunnel = start(&self.dir, &self.command(beginning, &port));
        await_listener(&port, &mut self.server.connect());
        (tunnel, port)
    }
}

/// In the foreground, so that it ends with the test.
fn write_config(dir: &TempDir, name: &str, text: &str) {
    fs::write(dir.join(name), format!("foreground = yes\n{text}")).unwrap();
}

fn make_certificate(dir: &TempDir) {
    let command = command(&security(), "openssl req");
    let finished = start(dir, &localized(&command, "", "")).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

fn has_tls() -> bool {
    let programs = [
        ("stunnel4", "stunnel"),
        ("openssl", "openssl"),
        ("ncat", "ncat"),
        ("socat", "socat"),
        ("netcat-openbsd", "nc"),
        ("script", "script"),
    ];
    let check = |(package, program)| has(package, &format!("command -v {program}"));
    programs.into_iter().all(check)
}

fn expect_tls(tls: &Tls) {
    for beginning in ["openssl s_client", "ncat --ssl"] {
        let mut client = terminal(&tls.dir, &tls.command(beginning, ""));
        expect_conversation(&tls.server, &mut client);
    }
    for beginning in ["socat TCP-LISTEN", "stunnel chinwag-client"] {
        let (_tunnel, port) = tls.open(beginning);
        expect_conversation(
            &tls.server,
            &mut terminal(&tls.dir, &format!("nc 127.0.0.1 {port}")),
        );
        // The end of a pipe goes through as well.
        let pipe = format!("printf 'PING one\\nPING two\\n' | nc -N 127.0.0.1 {port}");
        let finished = start(&tls.dir, &format!("sh -c \"{pipe}\"")).finish();
        assert!(
            finished.out.ends_with("OK PING one\r\nOK PING two\r\n"),
            "{finished:?}"
        );
    }
}

#[test]
fn clients_get_through_tls_with_stunnel() {
    if has_tls() {
        expect_tls(&Tls::start("### TLS with stunnel", "stunnel"));
    }
}

#[test]
fn clients_get_through_tls_with_socat() {
    if has_tls() {
        expect_tls(&Tls::start("### TLS with socat", "socat OPENSSL-LISTEN"));
    }
}

/// PROTOCOL.md's commands for the client's side.
#[test]
fn clients_of_the_protocol_document_get_through_tls() {
    if !has_tls() {
        return;
    }
    let tls = Tls::start("### TLS with stunnel", "stunnel");
    let client = localized(&command(&security(), "openssl s_client"), "", &tls.port);
    expect_conversation(&tls.server, &mut terminal(&tls.dir, &client));
    let port = free_port();
    let tunnel = localized(&command(&security(), "socat TCP-LISTEN"), &port, &tls.port);
    let _tunnel = start(&tls.dir, &tunnel);
    await_listener(&port, &mut tls.server.connect());
    expect_conversation(
        &tls.server,
        &mut terminal(&tls.dir, &format!("nc 127.0.0.1 {port}")),
    );
}

#[test]
fn no_client_trusts_another_certificate() {
    if !has_tls() {
        return;
    }
    let tls = Tls::start("### TLS with stunnel", "stunnel");
    // From now on the clients know another certificate with that name.
    make_certificate(&tls.dir);
    let mut bob = tls.server.join("bob");
    for beginning in ["openssl s_client", "ncat --ssl"] {
        let finished = terminal(&tls.dir, &tls.command(beginning, "")).finish();
        assert_ne!(finished.code, Some(0), "{finished:?}");
        assert!(!finished.out.contains("HELLO"), "{finished:?}");
    }
    for beginning in ["socat TCP-LISTEN", "stunnel chinwag-client"] {
        let (_tunnel, port) = tls.open(beginning);
        let mut client = Client::connect(&format!("127.0.0.1:{port}"));
        let received = client.try_receive(PATIENCE);
        assert!(
            !matches!(received, Ok(Received::Line(_) | Received::Nothing)),
            "{received:?}"
        );
    }
    bob.expect_service();
}

/// An ssh server of the test's own, and an ssh that knows it as chat.example.org.
struct Ssh {
    dir: TempDir,
    _sshd: Process,
}

impl Ssh {
    fn start(asker: &mut Client) -> Ssh {
        let (dir, port) = (TempDir::new(), free_port());
        for name in ["host", "user"] {
            let command = format!("ssh-keygen -q -t ed25519 -N '' -f {name}");
            assert_eq!(start(&dir, &command).finish().code, Some(0));
        }
        let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
        fs::copy(path("user.pub"), path("authorized")).unwrap();
        let host_key = fs::read_to_string(path("host.pub")).unwrap();
        fs::write(path("known"), format!("chat.example.org {host_key}")).unwrap();
        let (host, authorized) = (path("host"), path("authorized"));
        let sshd = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host}\nPidFile none\n\
             AuthorizedKeysFile {authorized}\nStrictModes no\nPasswordAuthentication no\n\
             KbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\n"
        );
        fs::write(path("sshd_config"), sshd).unwrap();
        let (identity, known) = (path("user"), path("known"));
        let ssh = format!(
            "Host chat.example.org\nHostName 127.0.0.1\nPort {port}\nIdentityFile {identity}\n\
             IdentitiesOnly yes\nUserKnownHostsFile {known}\nHostKeyAlias chat.example.org\n\
             StrictHostKeyChecking yes\nBatchMode yes\nExitOnForwardFailure yes\n"
        );
        fs::write(path("ssh_config"), ssh).unwrap();
        // The folder of its unprivileged part, which the package's own service would make.
        let _ = fs::create_dir("/run/sshd");
        let sshd = start(
            &dir,
            "$(command -v sshd || echo /usr/sbin/sshd) -D -e -f sshd_config",
        );
        await_listener(&port, asker);
        Ssh { dir, _sshd: sshd }
    }

    /// Starts a command as it is shown, except for the ports.
    fn open(&self, command: &str, from: &str, to: &str, asker: &mut Client) -> (Process, String) {
        let port = free_port();
        let command = command
            .replace("-L 8255:", &format!("-L {port}:"))
            .replace(from, to)
            .replacen("ssh ", "ssh -F ssh_config ", 1);
        let tunnel = start(&self.dir, &command);
        await_listener(&port, asker);
        (tunnel, port)
    }
}

fn has_ssh() -> bool {
    has("openssh-client", "command -v ssh && command -v ssh-keygen")
        && has(
            "openssh-server",
            "command -v sshd || test -x /usr/sbin/sshd",
        )
        && has_netcat()
}

fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn clients_get_through_ssh() {
    if !has_ssh() {
        return;
    }
    let dir = TempDir::new();
    let (server, local) = (Server::start(&[]), Server::start_on(&dir.join("socket")));
    let mut asker = server.connect();
    let ssh = Ssh::start(&mut asker);
    let shown = command(&clients(), "ssh -N -L");
    let older = command(&security(), "ssh -N -L").replace("user@", &format!("{}@", user()));
    let (from, to) = ("127.0.0.1:8255", format!("127.0.0.1:{}", server.port()));
    for command in [&shown, &older] {
        let (_tunnel, port) = ssh.open(command, from, &to, &mut asker);
        expect_conversation(
            &server,
            &mut terminal(&dir, &format!("nc 127.0.0.1 {port}")),
        );
    }
    assert!(security().contains("`-L 8255:/run/chinwag/socket` in place"));
    let to = unix(&dir.join("socket")).replace("unix:", "");
    let (_tunnel, port) = ssh.open(&shown, from, &to, &mut asker);
    expect_conversation(&local, &mut terminal(&dir, &format!("nc 127.0.0.1 {port}")));
}

/// The clients in other languages that README.md leads to.
#[test]
fn the_readme_leads_to_all_example_clients() {
    let clients = clients();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let links = clients.split("](examples/").skip(1);
    let links: Vec<_> = links.map(|rest| rest.split_once(')').unwrap().0).collect();
    for link in &links {
        assert!(folder.join("examples").join(link).is_file(), "{link}");
    }
    let listed = section("examples/README.md", "# Example clients");
    let files = listed
        .split("](")
        .skip(1)
        .map(|rest| rest.split_once(')').unwrap().0);
    for file in files {
        assert!(links.contains(&file), "{file}");
    }
}
