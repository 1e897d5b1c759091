//! What README.md shows of brokers, carried out: the commands of scripts, and the configurations.
//!
//! Without mosquitto and the other programs these tests are skipped, with a line that names what is
//! missing; with CI in the environment they fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Client, Process, Server, TempDir, Watch, has, has_success, unix};
use crate::script::sources::{blocks, document};
use crate::terminals::free_port;

/// The block of README.md of a kind that has these words.
fn shown(kind: &str, words: &str) -> String {
    let mut texts = blocks(&document("README.md"), kind).into_iter();
    let found = texts.find(|(_, text)| text.contains(words));
    found.unwrap_or_else(|| panic!("no {words:?}")).1
}

/// A text with another one in place of a part of it.
fn with(text: &str, part: &str, other: &str) -> String {
    assert!(text.contains(part), "no {part:?}: {text}");
    text.replace(part, other)
}

fn has_mosquitto() -> bool {
    let programs = "command -v mosquitto && command -v mosquitto_pub && command -v mosquitto_sub";
    has("mosquitto, with its clients", programs)
}

/// A broker of this test's own, which tells what it does.
struct Broker {
    process: Process,
    socket: PathBuf,
}

impl Broker {
    /// Starts mosquitto with a configuration in which a listener for its own machine has the port 1883;
    /// here it is a socket in this folder. `None` if it cannot listen somewhere.
    fn start(dir: &TempDir, name: &str, config: &str) -> Option<Broker> {
        let socket = dir.join(&format!("{name}-socket"));
        let _ = fs::remove_file(&socket);
        let own = format!("listener 0 {}", socket.display());
        // As root it would become another user, and that one cannot use this folder.
        let config = with(config, "listener 1883 127.0.0.1", &own) + "\nuser root\n";
        let path = dir.join(&format!("{name}-conf"));
        fs::write(&path, config).unwrap();
        let mut command = Command::new("mosquitto");
        let mut process = Process::start(command.arg("-v").arg("-c").arg(&path));
        let line = process.expect_error("");
        let is_bad = |line: &str| line.contains("Error: Address already in use");
        let mut line = Some(line);
        while let Some(said) = line.take() {
            if is_bad(&said) {
                return None;
            }
            if !said.contains(" running") {
                line = Some(process.expect_error(""));
            }
        }
        Some(Broker { process, socket })
    }

    /// Starts it for programs on its own machine alone.
    fn local(dir: &TempDir) -> Broker {
        let config = "listener 1883 127.0.0.1\nallow_anonymous true";
        Broker::start(dir, "local", config).expect("a socket needs no port")
    }

    /// Starts a box of this name, and waits until it gets what others say in the kitchen.
    fn start_box(&mut self, name: &str) -> Server {
        let link = unix(&self.socket);
        let args = [
            "--link",
            &link,
            "--link-name",
            name,
            "--link-room",
            "kitchen",
        ];
        let mut server = Server::start(&args);
        server.process.expect_error(&format!("linked as {name}"));
        self.expect_subscription();
        server
    }

    /// Waits until somebody has asked for what is said in the kitchen.
    fn expect_subscription(&mut self) {
        self.process.expect_error(" 0 chinwag/+/e/kitchen");
    }

    /// A command of README.md with this broker in place of the one on the usual port. A signal to it is one
    /// to all its processes.
    fn command(&self, shown: &str) -> Process {
        let here = format!("--unix '{}'", self.socket.display());
        let script = with(shown, "-h 127.0.0.1", &here);
        Process::start(Command::new("timeout").args(["600", "sh", "-c", &script]))
    }

    /// Says something under a name that is not a box's.
    fn say(&self, name: &str, text: &str) {
        let shown = shown("sh", "mosquitto_pub");
        let script = with(&shown, "chinwag/heating/", &format!("chinwag/{name}/"));
        let script = with(&script, "It is 19 degrees.", text);
        let finished = self.command(&script).finish();
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!((&*finished.out, &*finished.err), ("", ""));
    }
}

/// A member of the kitchen that passes over all but messages.
struct Listener(Client);

impl Listener {
    fn join(server: &Server, name: &str) -> Listener {
        Listener(server.join(&format!("{name} room=kitchen")))
    }

    fn say(&mut self, text: &str) {
        self.0.send(&format!("SAY {text}"));
    }

    /// Waits for the next message, which has this name and text.
    fn expect(&mut self, message: &str) {
        let watch = Watch::start();
        loop {
            let line = self.0.expect("");
            if line.starts_with("MSG ") {
                assert_eq!(line.splitn(4, ' ').last(), Some(message));
                return;
            }
            assert!(!watch.is_over(), "no {message:?}");
        }
    }
}

/// Waits until each of two boxes knows the other's member.
fn await_each_other(servers: &[&Server]) {
    for server in servers {
        server.connect().await_stat("link-members", 1);
    }
}

#[test]
fn a_script_says_a_line_on_all_boxes_and_another_prints_what_is_said_on_all() {
    if !has_mosquitto() {
        return;
    }
    let dir = TempDir::new();
    let mut broker = Broker::local(&dir);
    let [attic, cellar] = ["attic", "cellar"].map(|name| broker.start_box(name));
    let mut ann = Listener::join(&attic, "ann");
    let mut bob = Listener::join(&cellar, "bob");
    await_each_other(&[&attic, &cellar]);
    let mut reader = broker.command(&shown("sh", "mosquitto_sub"));
    broker.expect_subscription();

    broker.say("heating", "It is 19 degrees.");
    ann.expect("boiler@heating It is 19 degrees.");
    bob.expect("boiler@heating It is 19 degrees.");
    ann.say("Good morning.");
    ann.expect("ann Good morning.");
    bob.expect("ann@attic Good morning.");
    bob.say("It is  * cold \\ here");
    bob.expect("bob It is  * cold \\ here");
    ann.0.send("QUIT");
    for printed in [
        "boiler@heating: It is 19 degrees.\n",
        "ann@attic: Good morning.\n",
        "bob@cellar: It is  * cold \\ here\n",
    ] {
        assert_eq!(reader.expect(""), printed);
    }
    reader.signal("TERM");
    reader.finish();
}

/// What OpenSSL makes as README.md says, with this machine's own address in place of the routers'.
fn certificates(dir: &TempDir) {
    let script = shown("sh", "certify()");
    let script = with(&script, "attic 192.168.1.1", "attic 127.0.0.1");
    let script = with(&script, "cellar 192.168.1.2", "cellar 127.0.0.1");
    let mut command = Command::new("sh");
    let command = command.args(["-euc", &script]).current_dir(dir.path());
    let finished = Process::start(command).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// A configuration of README.md, with the files in a folder and another router's port and address.
fn router(dir: &TempDir, words: &str, address: &str, port: u16) -> String {
    let folder = format!("{}/", dir.path().display());
    let config = with(&shown("ini", words), "/etc/mosquitto/", &folder);
    let here = address.replace("192.168.1.1", "127.0.0.1");
    with(&config, address, &here.replace("8883", &port.to_string()))
}

/// Starts a program that listens on a port, until it gets one.
fn with_port<T>(start: impl Fn(u16) -> Option<T>) -> (T, u16) {
    let watch = Watch::start();
    loop {
        let port = free_port().parse().unwrap();
        if let Some(started) = start(port) {
            return (started, port);
        }
        assert!(!watch.is_over(), "no port is free");
    }
}

/// The list of permissions, with more rules.
fn write_rules(dir: &TempDir, more: &str) {
    let rules = shown("ini", "pattern write");
    fs::write(dir.join("boxes"), format!("{rules}\n{more}")).unwrap();
}

#[test]
fn two_routers_are_connected_through_tls_and_each_speaks_for_itself_alone() {
    if !has_mosquitto() || !has("openssl 3", "openssl req -help 2>&1 | grep -q -- '-CA '") {
        return;
    }
    let dir = TempDir::new();
    certificates(&dir);
    write_rules(&dir, "");
    let (mut at_attic, port) = with_port(|port| {
        let config = router(&dir, "per_listener_settings", "8883 192.168.1.1", port);
        Broker::start(&dir, "attic", &config)
    });
    let config = router(&dir, "connection attic", "192.168.1.1:8883", port);
    let mut at_cellar = Broker::start(&dir, "cellar", &config).unwrap();
    let is_bridge = |line: &str| line.contains(" as cellar ") && line.contains("u'cellar'");
    let line = at_attic.process.expect_error("New bridge connected from ");
    assert!(is_bridge(&line), "{line}");
    // Its bridge is subscribed to everything.
    at_attic.process.expect_error("Sending SUBACK to cellar");
    at_cellar.process.expect_error("Received SUBACK from ");

    let attic = at_attic.start_box("attic");
    let cellar = at_cellar.start_box("cellar");
    let mut ann = Listener::join(&attic, "ann");
    let mut bob = Listener::join(&cellar, "bob");
    await_each_other(&[&attic, &cellar]);
    ann.say("Good morning.");
    ann.expect("ann Good morning.");
    bob.expect("ann@attic Good morning.");
    bob.say("It is dark here.");
    bob.expect("bob It is dark here.");
    ann.expect("bob@cellar It is dark here.");

    // Whoever is on the cellar's side speaks for the cellar alone.
    for name in ["garden", "heating"] {
        at_cellar.say(name, "Is this heard?");
        bob.expect(&format!("boiler@{name} Is this heard?"));
        at_attic.process.expect_error("Denied PUBLISH from cellar");
    }
    bob.say("Nobody but me heard that.");
    ann.expect("bob@cellar Nobody but me heard that.");
    write_rules(&dir, &shown("ini", "user cellar"));
    at_attic.process.signal("HUP");
    at_attic.process.expect_error("Reloading config.");
    at_cellar.say("heating", "It is 20 degrees.");
    ann.expect("boiler@heating It is 20 degrees.");

    // Without a certificate nobody gets in.
    let mut stranger = Command::new("mosquitto_pub");
    stranger.args(["-h", "127.0.0.1", "-p", &port.to_string(), "--cafile"]);
    stranger.arg(dir.join("ca.pem"));
    stranger.args(["-t", "chinwag/garden/e/kitchen", "-m", "SAY eve hello"]);
    assert!(!has_success(&mut stranger));
    attic.connect().expect_service();
}

/// A broker of another make, with README.md's configuration for it.
#[test]
fn boxes_meet_through_nats_with_the_configuration_that_is_shown() {
    if !has("nats-server", "command -v nats-server") {
        return;
    }
    let dir = TempDir::new();
    let start = |port: u16| {
        let config = with(
            &shown("text", "server_name: one"),
            ":1883",
            &format!(":{port}"),
        );
        // For its other clients any port will do.
        let config = config + "port: -1\n";
        let config = with(&config, "/var/lib/nats", path_of(&dir.join("store")));
        fs::write(dir.join("conf"), config).unwrap();
        let mut command = Command::new("nats-server");
        let mut process = Process::start(command.arg("-c").arg(dir.join("conf")));
        loop {
            match process.expect_error("") {
                line if line.contains("[FTL]") => return None,
                line if line.contains("Server is ready") => return Some(process),
                _ => {}
            }
        }
    };
    let (_broker, port) = with_port(start);
    let link = format!("127.0.0.1:{port}");
    let [attic, cellar] = ["attic", "cellar"].map(|name| {
        let args = [
            "--link",
            &link,
            "--link-name",
            name,
            "--link-room",
            "kitchen",
        ];
        let mut server = Server::start(&args);
        server.process.expect_error(&format!("linked as {name}"));
        server
    });
    let mut ann = Listener::join(&attic, "ann");
    let mut bob = Listener::join(&cellar, "bob");
    await_each_other(&[&attic, &cellar]);
    ann.say("Good morning.");
    bob.expect("ann@attic Good morning.");
    bob.say("Good morning.");
    ann.expect("ann Good morning.");
    ann.expect("bob@cellar Good morning.");
}

fn path_of(path: &Path) -> &str {
    path.to_str().unwrap()
}
