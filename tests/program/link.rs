//! Rooms that span boxes, through mosquitto on a Unix socket. The name of each test says what a box or its
//! broker suffers.
//!
//! Without mosquitto these tests are skipped, with a line that names it; with CI in the environment they
//! fail.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;

use crate::process::{Client, Process, Server, TempDir, Watch, has, program, unix};

/// The name of the room that spans boxes in these tests.
const ROOM: &str = "kitchen";

/// A broker of this test's own.
struct Broker {
    dir: TempDir,
    child: Option<Child>,
}

impl Broker {
    /// Starts mosquitto; `None` if it is missing.
    fn start() -> Option<Broker> {
        Broker::start_with("allow_anonymous true\n")
    }

    fn start_with(config: &str) -> Option<Broker> {
        if !has("mosquitto", "command -v mosquitto") {
            return None;
        }
        let mut broker = Broker {
            dir: TempDir::new(),
            child: None,
        };
        let socket = broker.socket();
        // As root it would become another user, and that one cannot use this folder.
        let own = format!(
            "listener 0 {}\npersistence false\nuser root\n",
            socket.display()
        );
        fs::write(broker.dir.join("conf"), own + config).unwrap();
        broker.go_on();
        Some(broker)
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("socket")
    }

    /// Starts it, and waits until it listens.
    fn go_on(&mut self) {
        let _ = fs::remove_file(self.socket());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(self.dir.join("conf"));
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().unwrap());
        let watch = Watch::start();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            assert!(!watch.is_over(), "mosquitto does not listen");
            thread::yield_now();
        }
    }

    /// Ends it as a power cut would.
    fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Starts a box of this name, with more arguments, and waits until it is linked.
    fn start_box(&self, name: &str, more: &[&str]) -> Server {
        let mut server = self.start_unlinked(name, more);
        server
            .process
            .expect_error(&format!("linked as {}", name.to_lowercase()));
        server
    }

    fn start_unlinked(&self, name: &str, more: &[&str]) -> Server {
        let link = unix(&self.socket());
        let mut args = vec!["--link", &link, "--link-name", name, "--link-room", ROOM];
        args.extend(more);
        Server::start(&args)
    }

    /// Publishes a payload under a topic as a script would.
    fn publish(&self, topic: &str, payload: &str) {
        let mut command = Command::new("mosquitto_pub");
        command.arg("--unix").arg(self.socket());
        let status = command.args(["-t", topic, "-m", payload]).status().unwrap();
        assert!(status.success());
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts two boxes, the second one with more arguments, each with a member; they know each other.
fn two_boxes(broker: &Broker, more: &[&str]) -> ((Server, Client), (Server, Client)) {
    let attic = broker.start_box("attic", &[]);
    let mut ann = join(&attic, "ann");
    let cellar = broker.start_box("cellar", more);
    await_event(&mut ann, "HEALED", "cellar 0");
    let mut bob = cellar.connect();
    bob.await_stat("link-members", 1);
    bob.join(&format!("bob room={ROOM}"));
    await_event(&mut ann, "JOINED", "bob@cellar");
    ((attic, ann), (cellar, bob))
}

/// Joins the room on a box.
fn join(server: &Server, name: &str) -> Client {
    server.join(&format!("{name} room={ROOM}"))
}

/// Waits for an event of this kind whose words behind the time are `rest`; passes over others.
fn await_event(client: &mut Client, kind: &str, rest: &str) {
    let watch = Watch::start();
    loop {
        let line = client.expect("");
        let found = line.splitn(4, ' ').collect::<Vec<_>>();
        if found[0] == kind && found.get(3) == Some(&rest) {
            return;
        }
        assert!(!watch.is_over(), "no {kind} {rest}, but {line}");
        let is_sign = ["SPLIT", "HEALED", "MISSED"].contains(&found[0]);
        assert!(!is_sign, "{line} comes before {kind} {rest}");
    }
}

/// The members of other boxes that WHO lists, without the seconds.
fn remote_members(client: &mut Client) -> Vec<String> {
    let head = client.ask("WHO", "OK WHO ");
    let count = head.split(' ').nth(2).unwrap().parse().unwrap();
    let lines: Vec<_> = (0..count).map(|_| client.expect("MEMBER ")).collect();
    let remote = lines.iter().filter(|line| line.contains('@'));
    remote
        .map(|line| line.rsplit_once(' ').unwrap().0.to_owned())
        .collect()
}

#[test]
fn members_of_two_boxes_hear_each_other() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let attic = broker.start_box("attic", &[]);
    let mut ann = join(&attic, "ann");
    let cellar = broker.start_box("Cellar", &[]);
    await_event(&mut ann, "HEALED", "cellar 0");
    let mut bob = Client::connect(cellar.address());
    assert!(bob.expect("HELLO ").ends_with(" link=cellar"));
    bob.await_stat("link-members", 1);
    bob.join(&format!("bob room={ROOM}"));
    await_event(&mut ann, "JOINED", "bob@cellar");
    ann.ask("SAY hello", "OK SAY ");
    await_event(&mut bob, "MSG", "ann@attic hello");
    assert_eq!(remote_members(&mut bob), ["MEMBER ann@attic push linked"]);
    bob.send("SAY hi");
    await_event(&mut ann, "MSG", "bob@cellar hi");
    bob.send("QUIT");
    await_event(&mut ann, "LEFT", "bob@cellar quit");
    assert_eq!(remote_members(&mut ann), [""; 0]);
    let mut eve = Client::greeted(cellar.address());
    assert!(
        eve.ask(&format!("JOIN eve room={ROOM}"), "OK JOIN ")
            .contains(" members=2 ")
    );
}

#[test]
fn a_person_sees_the_link_in_words() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let attic = broker.start_box("attic", &[]);
    let mut ann = attic.connect();
    ann.ask(
        &format!("TALK ann room={ROOM}"),
        "-- you are ann in kitchen",
    );
    ann.expect("-- nobody else is here");
    let mut cellar = broker.start_box("cellar", &[]);
    assert!(
        ann.expect("")
            .ends_with("-- the link to cellar is up (0 members)")
    );
    let bob = join(&cellar, "bob");
    assert!(ann.expect("").ends_with("-- bob@cellar came"));
    ann.ask("/who", "-- 2 members:");
    ann.expect("--   ann, bob@cellar");
    cellar.process.kill();
    assert!(
        ann.expect("")
            .ends_with("-- the link to cellar is down (1 member away)")
    );
    ann.ask("/who", "-- 2 members:");
    assert!(ann.expect("--   ann, bob@cellar (away ").ends_with(" s)"));
    drop(bob);
}

/// G51.
#[test]
fn a_broker_that_dies_and_comes_back_is_no_event_and_nothing_is_lost() {
    let Some(mut broker) = Broker::start() else {
        return;
    };
    let ((_attic, mut ann), (_cellar, mut bob)) = two_boxes(&broker, &[]);
    ann.ask("SAY 0", "");
    await_event(&mut bob, "MSG", "ann@attic 0");
    for number in 1..4 {
        broker.kill();
        ann.send(&format!("SAY {number}"));
        broker.go_on();
        await_event(&mut bob, "MSG", &format!("ann@attic {number}"));
    }
    assert_eq!(remote_members(&mut bob), ["MEMBER ann@attic push linked"]);
}

/// G54.
#[test]
fn an_upgrade_of_a_box_is_no_split() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let ((mut attic, mut ann), (cellar, mut bob)) = two_boxes(&broker, &[]);
    for number in 0..3 {
        attic.process.signal("USR2");
        ann.send(&format!("SAY {number}"));
        attic.process.expect_error("upgraded from ");
        await_event(&mut bob, "MSG", &format!("ann@attic {number}"));
        bob.send(&format!("SAY {number}"));
        await_event(&mut ann, "MSG", &format!("bob@cellar {number}"));
    }
    assert_eq!(attic.connect().stat("link-connects"), 1);
    assert_eq!(cellar.connect().stat("link-connects"), 1);
}

/// G54.
#[test]
fn a_box_that_stops_and_starts_with_its_state_goes_on_where_it_was() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let place = TempDir::new();
    let state = place.join("state");
    let args = ["--state", state.to_str().unwrap()];
    let ((_attic, mut ann), (cellar, _bob)) = two_boxes(&broker, &args);
    let mut cy = cellar.connect();
    let token = cy.join(&format!("cy room={ROOM}"));
    ann.send("SAY before");
    await_event(&mut cy, "MSG", "ann@attic before");
    cy.ask("SAY I am going", "OK SAY ");
    cellar.process.signal("TERM");
    assert_eq!(cellar.process.finish().code, Some(0));
    ann.send("SAY meanwhile");
    let cellar = broker.start_box("cellar", &args);
    let mut cy = cellar.connect();
    cy.ask(&format!("RESUME {token}"), "OK RESUME ");
    await_event(&mut cy, "MSG", "ann@attic meanwhile");
    cy.send("SAY back");
    await_event(&mut ann, "MSG", "cy@cellar I am going");
    await_event(&mut ann, "MSG", "cy@cellar back");
}

/// G50.
#[test]
fn a_box_that_is_killed_is_one_split_and_what_was_said_before_is_there() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let ((mut attic, mut ann), (_cellar, mut bob)) = two_boxes(&broker, &[]);
    ann.ask("SAY last words", "");
    await_event(&mut bob, "MSG", "ann@attic last words");
    attic.process.kill();
    await_event(&mut bob, "SPLIT", "attic 1");
    assert_eq!(remote_members(&mut bob), ["MEMBER ann@attic push away"]);
    let attic = broker.start_box("attic", &[]);
    await_event(&mut bob, "HEALED", "attic 0");
    assert_eq!(remote_members(&mut bob), [""; 0]);
    let mut ann = join(&attic, "ann");
    await_event(&mut bob, "JOINED", "ann@attic");
    ann.ask("SAY again", "");
    await_event(&mut bob, "MSG", "ann@attic again");
}

/// G55.
#[test]
fn of_two_boxes_of_one_name_the_second_stays_alone_and_both_say_so() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let ((mut attic, mut ann), (_cellar, mut bob)) = two_boxes(&broker, &[]);
    let mut second = broker.start_unlinked("attic", &[]);
    second
        .process
        .expect_error("another box is linked as attic already");
    attic
        .process
        .expect_error("another box is linked as attic, too");
    let mut eve = join(&second, "eve");
    eve.ask("SAY does anybody hear me?", "OK SAY ");
    ann.ask("SAY I do not", "");
    bob.expect_event("MSG", "ann@attic I do not");
    assert_eq!(second.connect().stat("link-up"), 0);
}

/// G52, G53.
#[test]
fn a_broker_that_takes_nothing_delays_nobody_and_costs_no_memory() {
    let dir = TempDir::new();
    let socket = dir.join("socket");
    // It accepts nothing, so nothing is read: all that a box writes stays with the system.
    let listener = UnixListener::bind(&socket).unwrap();
    let link = unix(&socket);
    let args = ["--link", &link, "--link-name", "attic", "--link-room", ROOM];
    let server = Server::start(&args);
    let mut ann = join(&server, "ann");
    for _ in 0..2000 {
        ann.ask(&format!("SAY {}", "x".repeat(1000)), "OK SAY ");
        ann.expect("MSG ");
    }
    server.expect_below_ceiling();
    drop(listener);
    ann.expect_service();
}

#[test]
fn a_script_says_a_line_and_nobody_can_speak_for_a_member_of_this_box() {
    let Some(broker) = Broker::start() else {
        return;
    };
    let attic = broker.start_box("attic", &[]);
    let mut ann = join(&attic, "ann");
    for (topic, payload) in [
        ("attic/e/kitchen", "SAY ann I said this"),
        ("sensor/e/kitchen", "SAY door\u{1b}[2J open"),
        ("sensor/e/kitchen", "SAY door@attic open"),
        ("sensor/e/kitchen", "SAY ann"),
        ("sensor/e/Kitchen", "SAY door open"),
        ("sensor/x/kitchen", "SAY door open"),
        ("sensor/e/kitchen", "MSG 0000000000000001/1/1 1 ann forged"),
        ("sensor/gone", "GONE 0000000000000001"),
        ("attic/gone", "GONE 0000000000000001"),
        (
            "attic/w",
            "WANT kitchen 0000000000000001/1/1 4611686018427387904",
        ),
        ("sensor/e/kitchen", "SAY door the door is open"),
    ] {
        broker.publish(&format!("chinwag/{topic}"), payload);
    }
    ann.expect_event("MSG", "door@sensor the door is open");
    ann.expect_service();
}

#[test]
fn a_login_is_given_to_the_broker_and_a_wrong_one_is_said() {
    if !has("mosquitto", "command -v mosquitto_passwd") {
        return;
    }
    let place = TempDir::new();
    let passwords = place.join("passwords");
    let made = Command::new("mosquitto_passwd")
        .args(["-b", "-c"])
        .arg(&passwords)
        .args(["attic", "secret:word"])
        .status();
    assert!(made.unwrap().success());
    let config = format!("password_file {}\n", passwords.display());
    let Some(broker) = Broker::start_with(&config) else {
        return;
    };
    let login = |text: &str| {
        let path = place.join("login");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let path = login("attic:secret:word\n");
    broker.start_box("attic", &["--link-login", path.to_str().unwrap()]);
    let path = login("attic:another\n");
    let mut wrong = broker.start_unlinked("attic", &["--link-login", path.to_str().unwrap()]);
    wrong.process.expect_error("the broker refuses the login");
}

fn try_to_start(args: &[&str]) -> crate::process::Finished {
    let mut command = program();
    command.args(["--listen", "127.0.0.1:0"]);
    Process::start(command.args(args)).finish()
}

#[test]
fn options_about_the_link_that_do_not_fit_together_are_refused() {
    let link = ["--link", "127.0.0.1:1"];
    let name = ["--link-name", "attic"];
    let room = ["--link-room", ROOM];
    let usage: &[(&[&[&str]], &[&str])] = &[
        (&[&link, &room], &["--link 127.0.0.1:1", "--link-name"]),
        (&[&link, &name], &["--link 127.0.0.1:1", "--link-room"]),
        (&[&name], &["--link-name", "--link"]),
        (&[&["--link-hold", "7"]], &["--link-hold", "--link"]),
        (
            &[&link, &["--link-name", "my attic"], &room],
            &["--link-name my attic", "1 to 24"],
        ),
        (
            &[&link, &name, &["--link-room", "a b"]],
            &["--link-room a b", "1 to 24"],
        ),
        (
            &[&link, &name, &room, &["--link-room", "KITCHEN"]],
            &["--link-room KITCHEN", "twice"],
        ),
        (
            &[&link, &name, &room, &["--link-room", "*"]],
            &["--link-room *", "all rooms"],
        ),
        (
            &[
                &link,
                &name,
                &room,
                &["--link-room", "den", "--max-rooms", "1"],
            ],
            &["2 rooms", "--max-rooms"],
        ),
        (
            &[&["--link", "broker:1883"], &name, &room],
            &["--link broker:1883", "not looked up"],
        ),
        (
            &[&link, &name, &room, &["--link-prefix", "a+b"]],
            &["--link-prefix a+b", "1 to 64"],
        ),
        (
            &[&link, &name, &room, &["--link-prefix", "a b"]],
            &["--link-prefix a b", "1 to 64"],
        ),
        (
            &[&link, &name, &room, &["--link-prefix", "a/#"]],
            &["--link-prefix a/#", "1 to 64"],
        ),
        (
            &[&link, &name, &room, &["--link-members", "0"]],
            &["--link-members 0", "from 1"],
        ),
    ];
    for (args, texts) in usage {
        try_to_start(&args.concat()).expect_refusal(2, texts);
    }
    let place = TempDir::new();
    let path = place.join("login");
    let shown = path.to_str().unwrap();
    let args = [&link[..], &name, &room, &["--link-login", shown]].concat();
    try_to_start(&args).expect_refusal(1, &["no login file", shown, "user:password"]);
    let write = |text: &str, mode| {
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    };
    write("attic:secret\n", 0o640);
    try_to_start(&args).expect_refusal(1, &[shown, "chmod 600"]);
    for text in ["", "attic\n", ":secret\n", "attic:secret\nmore\n"] {
        write(text, 0o600);
        try_to_start(&args).expect_refusal(1, &["--link-login", shown, "user:password"]);
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    try_to_start(&args).expect_refusal(1, &[shown, "not a file"]);
    assert!(Path::new(shown).exists());
}

#[test]
fn a_broker_that_is_not_there_is_said_once_and_tried_again() {
    let dir = TempDir::new();
    let link = unix(&dir.join("nobody"));
    let args = ["--link", &link, "--link-name", "attic", "--link-room", ROOM];
    let mut server = Server::start(&args);
    let line = server
        .process
        .expect_error(&format!("there is no link through {link}: "));
    assert!(line.contains("No such file"), "{line}");
    join(&server, "ann").expect_service();
}
