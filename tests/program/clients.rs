//! The programs that people have at hand, talking to the real server: what README.md promises about
//! nc, telnet and a shell.
//!
//! A program that is not installed is skipped, with a line that names it; with CI in the
//! environment the test fails.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::examples::proxy::Proxy;
use crate::process::{Finished, Netcat, Process, Server, TempDir, has, has_netcat, unix};
use crate::script::sources::{blocks, document};

/// A shell that runs a script with these arguments.
fn shell(shell: &str, script: &str, args: &[&str]) -> Process {
    let mut command = Command::new(shell);
    Process::start(command.args(["-c", script, shell]).args(args))
}

/// The lines that came from the server, without their ends.
fn lines(finished: &Finished) -> Vec<&str> {
    let lines = finished.out.lines();
    lines.map(|line| line.trim_end_matches('\r')).collect()
}

/// Checks that lines begin like these, one after the other.
fn expect_lines(finished: &Finished, beginnings: &[&str]) {
    let lines = lines(finished);
    let fits = lines.len() == beginnings.len()
        && lines.iter().zip(beginnings).all(|(l, b)| l.starts_with(b));
    assert!(fits, "{finished:?}");
}

/// What comes back in a visit that joins, says something, polls and ends.
const VISIT: [&str; 6] = [
    "HELLO chinwag/",
    "OK JOIN session=",
    "OK SAY 3 ",
    "OK POLL 2 last=3 more=0",
    "JOINED 2 ",
    "MSG 3 ",
];

/// Gives a client the input of a visit and then its end, and checks what it prints.
fn expect_visit(server: &Server, script: &str, args: &[&str]) {
    let mut bob = server.join("bob");
    let mut client = shell("sh", script, args);
    client.type_in("JOIN ann mode=pull\nSAY hello\nPOLL\n");
    client.end_input();
    let finished = client.finish();
    expect_lines(&finished, &VISIT);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    bob.expect_event("JOINED", "ann");
    bob.expect_event("MSG", "ann hello");
    // The session stays for the next visit.
    bob.expect_service();
}

/// Lets a client stay, typing and reading, until it says goodbye.
fn expect_conversation(server: &Server, client: &mut Process, line_end: &str) {
    let mut bob = server.join("bob");
    client.type_in(&format!("JOIN ann{line_end}"));
    client.expect("OK JOIN session=");
    client.expect("JOINED ");
    bob.expect_event("JOINED", "ann");
    bob.ask("SAY hello ann", "OK SAY 3 ");
    bob.expect_event("MSG", "bob hello ann");
    client.expect(" bob hello ann");
    client.type_in(&format!("SAY hello bob{line_end}"));
    client.expect("OK SAY 4 ");
    client.expect(" ann hello bob");
    bob.expect_event("MSG", "ann hello bob");
    client.type_in(&format!("QUIT{line_end}"));
    client.expect("OK QUIT");
    client.expect("BYE quit ");
    bob.expect_event("LEFT", "ann quit");
}

#[test]
fn netcat_sends_a_pipe_and_prints_all_answers() {
    if !has_netcat() {
        return;
    }
    let server = Server::start(&[]);
    expect_visit(&server, r#"nc -N 127.0.0.1 "$1""#, &[server.port()]);
}

#[test]
fn netcat_over_a_unix_socket_sends_a_pipe_and_prints_all_answers() {
    if !has_netcat() {
        return;
    }
    let dir = TempDir::new();
    let path = dir.join("chat");
    let server = Server::start_on(&path);
    expect_visit(&server, r#"nc -N -U "$1""#, &[path.to_str().unwrap()]);
}

#[test]
fn every_netcat_stays_for_a_conversation() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let script = r#"exec nc 127.0.0.1 "$1""#;
        let mut client = run(&netcat, script, &[server.port()]);
        expect_conversation(&server, &mut client, "\n");
        // OpenBSD's stays until its input ends, though the server has closed the connection.
        client.end_input();
        assert_eq!(client.finish().code, Some(0), "{}", netcat.package);
    }
}

/// A script in a shell whose nc is this one.
fn run(netcat: &Netcat, script: &str, args: &[&str]) -> Process {
    Process::start(netcat.shell().args(["-c", script, "sh"]).args(args))
}

#[test]
fn every_netcat_shows_all_replies_to_a_pipe_that_ends_in_quit() {
    for netcat in Netcat::all() {
        let package = netcat.package;
        let server = Server::start(&[]);
        let pipe = |lines: &str| {
            let script = format!(r#"{lines} | nc 127.0.0.1 "$1""#);
            let finished = run(&netcat, &script, &[server.port()]).finish();
            assert_eq!(finished.code, Some(0), "{package}: {finished:?}");
            finished
        };
        // More than fits into the buffers on the way.
        let finished = pipe("{ yes HELP | head -n 3000; echo QUIT; }");
        let shown = lines(&finished);
        let count = shown.iter().filter(|l| l.starts_with("OK HELP ")).count();
        assert_eq!(count, 3000, "{package}");
        assert!(shown.last().unwrap().starts_with("BYE quit "), "{package}");
        // The input has ended long before there is an answer.
        let finished =
            pipe(r"printf 'JOIN ann mode=pull quiet=yes\nPOLL wait=1\nPING one\nQUIT\n'");
        let expected = [
            "HELLO chinwag/",
            "OK JOIN ",
            "OK POLL 0 ",
            "OK PING one",
            "OK QUIT",
            "BYE quit ",
        ];
        expect_lines(&finished, &expected);
    }
}

/// The README's commands that show the server's counters.
#[test]
fn every_netcat_and_socat_show_the_counters() {
    let script = readme_script("socat -t 10");
    for netcat in Netcat::all() {
        let dir = TempDir::new();
        let path = dir.join("chat");
        let server = Server::start(&["--listen", &unix(&path)]);
        let commands: Vec<_> = script.lines().collect();
        assert_eq!(commands.len(), 3);
        for command in commands {
            if command.contains(" nc -U ") && !netcat.has_unix_sockets()
                || command.contains(" socat ") && !has("socat", "command -v socat")
            {
                continue;
            }
            let command = command.replace("8255", server.port());
            let command = command.replace("/run/chinwag.socket", path.to_str().unwrap());
            let finished = run(&netcat, &command, &[]).finish();
            assert_eq!(finished.code, Some(0), "{finished:?}");
            let shown = lines(&finished);
            assert!(shown[1].starts_with("OK STATS "), "{finished:?}");
            assert!(
                shown.last().unwrap().starts_with("BYE quit "),
                "{finished:?}"
            );
        }
    }
}

/// The README's commands on the operator's socket, with each nc that can, and with socat in its place.
#[test]
fn the_operators_commands_do_what_the_readme_says() {
    let script = readme_script("END lobby mallory");
    for netcat in Netcat::all() {
        let mut clients = Vec::new();
        if netcat.has_unix_sockets() {
            clients.push("nc -U ");
        }
        if has("socat", "command -v socat") {
            clients.push("socat -t 10 - UNIX-CONNECT:");
        }
        for client in clients {
            let dir = TempDir::new();
            let path = dir.join("admin");
            let server = Server::start(&["--admin", &unix(&path)]);
            let mut mallory = server.join("mallory");
            let mut ann = server.join("ann");
            let commands = script.lines().filter(|line| line.contains("printf"));
            let said: String = commands
                .map(|command| {
                    let command = command.replace("nc -U ", client);
                    let command = command.replace("/run/chinwag/admin", path.to_str().unwrap());
                    let finished = run(&netcat, &command, &[]).finish();
                    assert_eq!(finished.code, Some(0), "{finished:?}");
                    finished.out
                })
                .collect();
            for line in ["OK SESSIONS 2 more=0", "OK END", "OK TELL-ALL 1"] {
                assert!(said.contains(&format!("{line}\r\n")), "{line}: {said}");
            }
            mallory.expect("JOINED 2 ");
            mallory.expect_bye("ended");
            ann.expect("LEFT 3 ");
            ann.expect("NOTICE We restart at noon.");
        }
    }
}

#[test]
fn every_netcat_gives_up_when_timeout_says_so() {
    let clients = document("README.md").replace('\n', " ");
    assert!(clients.contains("put `timeout 10` in front of nc"));
    for netcat in Netcat::all() {
        let mute = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = mute.local_addr().unwrap().port().to_string();
        let script = r#"printf 'QUIT\n' | timeout 1 nc 127.0.0.1 "$1""#;
        let finished = run(&netcat, script, &[&port]).finish();
        assert_ne!(finished.code, Some(0), "{}: {finished:?}", netcat.package);
    }
}

#[test]
fn netcat_listens_to_the_end_though_its_own_input_is_over() {
    if !has_netcat() {
        return;
    }
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    // Without -N, nc does not tell the server about the end of its input.
    let script = r#"printf 'JOIN ann idle=6\n' | nc 127.0.0.1 "$1""#;
    let mut client = shell("sh", script, &[server.port()]);
    bob.expect_event("JOINED", "ann");
    bob.ask("SAY are you there?", "OK SAY 3 ");
    client.expect(" bob are you there?");
    client.expect("EXPIRING ");
    client.expect("BYE expired ");
    assert_eq!(client.finish().code, Some(0));
}

#[test]
fn ncat_sends_a_pipe_and_prints_all_answers() {
    if !has("ncat", "command -v ncat") {
        return;
    }
    let server = Server::start(&[]);
    expect_visit(&server, r#"ncat 127.0.0.1 "$1""#, &[server.port()]);
}

#[test]
fn ncat_stays_for_a_conversation() {
    if !has("ncat", "command -v ncat") {
        return;
    }
    let server = Server::start(&[]);
    let script = r#"exec ncat --crlf 127.0.0.1 "$1""#;
    let mut client = shell("sh", script, &[server.port()]);
    expect_conversation(&server, &mut client, "\n");
    // This one stays until its input ends as well.
    client.end_input();
    assert_eq!(client.finish().code, Some(0));
}

#[test]
fn socat_sends_a_pipe_and_prints_all_answers() {
    if !has("socat", "command -v socat") {
        return;
    }
    let dir = TempDir::new();
    let path = dir.join("chat");
    for server in [Server::start(&[]), Server::start_on(&path)] {
        expect_visit(&server, r#"socat -t 60 - "$1""#, &[&socat_address(&server)]);
    }
}

#[test]
fn socat_stays_for_a_conversation() {
    if !has("socat", "command -v socat") {
        return;
    }
    let dir = TempDir::new();
    let path = dir.join("chat");
    for server in [Server::start(&[]), Server::start_on(&path)] {
        let address = socat_address(&server);
        let mut client = shell("sh", r#"exec socat - "$1""#, &[&address]);
        expect_conversation(&server, &mut client, "\n");
        assert_eq!(client.finish().code, Some(0));
    }
}

/// A server's address, as socat takes it.
fn socat_address(server: &Server) -> String {
    match server.address().strip_prefix("unix:") {
        Some(path) => format!("UNIX-CONNECT:{path}"),
        None => format!("TCP:{}", server.address()),
    }
}

#[test]
fn bash_chats_without_any_other_program() {
    let check = "bash -c 'type read && (exec 3<>/dev/tcp/127.0.0.1/1) 2>&1 | grep -q refused'";
    if !has("bash with /dev/tcp", check) {
        return;
    }
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let script = r#"
        next() { IFS= read -r -t 60 line <&3 && line=${line%$'\r'} && echo "$line"; }
        exec 3<>"/dev/tcp/127.0.0.1/$1"
        next
        echo 'JOIN ann' >&3 && next && next
        # Answers each message until bob says stop.
        while next; do
            case $line in
                MSG*' bob stop') break ;;
                MSG*' bob '*) echo "SAY you said: ${line#* * * * }" >&3 ;;
            esac
        done
        echo QUIT >&3
        next
        next
    "#;
    let client = shell("bash", script, &[server.port()]);
    bob.expect_event("JOINED", "ann");
    bob.ask("SAY * or \\ what", "OK SAY ");
    bob.expect_event("MSG", "bob * or \\ what");
    bob.expect_event("MSG", "ann you said: * or \\ what");
    bob.ask("SAY stop", "OK SAY ");
    bob.expect_event("MSG", "bob stop");
    bob.expect_event("LEFT", "ann quit");
    let finished = client.finish();
    let beginnings = [
        "HELLO chinwag/",
        "OK JOIN session=",
        "JOINED 2 ",
        "MSG 3 ",
        "OK SAY 4 ",
        "MSG 4 ",
        "MSG 5 ",
        "OK QUIT",
        "BYE quit ",
    ];
    expect_lines(&finished, &beginnings);
    assert_eq!(finished.code, Some(0), "{finished:?}");
}

/// The one of the README's scripts that has these words.
fn readme_script(words: &str) -> String {
    let readme = document("README.md");
    let mut scripts = blocks(&readme, "sh").into_iter().map(|(_, text)| text);
    scripts
        .find(|text| text.contains(words))
        .unwrap_or_else(|| panic!("no script has {words}"))
}

/// Runs the README's script that says an alarm. It prints nothing. Returns whether it reports that the
/// alarm was said.
fn says_alarm(server: &Server, netcat: &Netcat, text: &str) -> bool {
    let script = readme_script("JOIN alarm").replace("8255", server.port());
    let finished = run(netcat, &script, &[text]).finish();
    let package = netcat.package;
    assert_eq!(
        (&*finished.out, &*finished.err),
        ("", ""),
        "{package}: {finished:?}"
    );
    match finished.code {
        Some(0) => true,
        Some(1) => false,
        _ => panic!("{package}: {finished:?}"),
    }
}

/// The README's script that says an alarm into a room where nobody is.
#[test]
fn people_find_the_alarm_that_a_script_has_said() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        assert!(says_alarm(&server, &netcat, "The disk is full."));
        // A line end begins no other command.
        assert!(says_alarm(&server, &netcat, "It is\nQUIT full."));
        let mut ann = server.connect();
        ann.send("TALK ann room=ops");
        ann.expect("-- you are ann in ops");
        ann.expect("-- nobody else is here");
        for text in ["The disk is full.", "It is QUIT full."] {
            let shown = ann.expect("");
            assert!(shown.ends_with(&format!(" <alarm> {text}")), "{shown}");
        }
    }
}

#[test]
fn the_script_that_says_an_alarm_fails_if_the_server_does_not_take_it() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        assert!(!says_alarm(&server, &netcat, ""));
        assert!(!says_alarm(&server, &netcat, &"x".repeat(1025)));
        assert!(!says_alarm(&server, &netcat, &"x".repeat(3000)));
        // The session of a run that was cut off has the same key; somebody else's does not.
        let script = readme_script("JOIN alarm");
        let join = script.split('\'').find(|part| part.starts_with("JOIN "));
        let join = join.unwrap();
        let mut cut_off = server.connect();
        cut_off.ask(join, "OK JOIN ");
        assert!(says_alarm(&server, &netcat, "I am back."));
        let mut other = server.connect();
        other.ask(&format!("{join}-other"), "OK JOIN ");
        assert!(!says_alarm(&server, &netcat, "Who am I?"));
    }
}

/// The shell's clients in `examples/`, with each nc.
#[test]
fn the_shells_examples_work_with_every_netcat() {
    for netcat in Netcat::all() {
        let (server, dir) = (Server::start(&[]), TempDir::new());
        let example = |name: &str, args: &[&str]| {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sh");
            let mut command = netcat.shell();
            command
                .arg(folder.join(name))
                .args(["127.0.0.1", server.port()]);
            Process::start(command.args(args))
        };
        let finish = |process: Process| {
            let finished = process.finish();
            assert_eq!(finished.code, Some(0), "{}: {finished:?}", netcat.package);
            finished
        };
        let file = dir.join("session");
        let poll = || {
            finish(example(
                "poll.sh",
                &["lobby", "cron", file.to_str().unwrap()],
            ))
        };
        poll();
        let mut watch = example("watch.sh", &["lobby", "logger"]);
        watch.expect(" logger");
        finish(example("say.sh", &["lobby", "backup", "It is\nQUIT full."]));
        watch.expect(" backup It is QUIT full.");
        let mut bob = server.join("bob mode=pull");
        // More than one POLL gives.
        for n in 1..=120 {
            bob.ask(&format!("SAY number {n}"), "OK SAY ");
        }
        watch.expect(" bob number 120");
        let printed = poll().out;
        for n in 1..=120 {
            let end = format!(" bob number {n}");
            let count = printed
                .lines()
                .filter(|line| line.trim_end().ends_with(&end));
            assert_eq!(count.count(), 1, "{}: {printed}", netcat.package);
        }
        assert_eq!(poll().out, "");
        watch.signal("TERM");
        watch.finish();
    }
}

/// What a scheduler may run now and then, as the README shows it.
struct CronJob<'a> {
    netcat: &'a Netcat,
    dir: TempDir,
    script: String,
}

impl CronJob<'_> {
    fn new<'a>(server: &Server, netcat: &'a Netcat) -> CronJob<'a> {
        CronJob::on_port(server.port(), netcat)
    }

    fn on_port<'a>(port: &str, netcat: &'a Netcat) -> CronJob<'a> {
        CronJob {
            netcat,
            dir: TempDir::new(),
            script: readme_script("cron-session").replace("8255", port),
        }
    }

    /// One run of a script in the job's folder.
    fn run_script(&self, script: &str) -> Finished {
        let mut command = self.netcat.shell();
        let command = command.args(["-c", script]).current_dir(self.dir.join(""));
        Process::start(command).finish()
    }

    /// One run, which prints these texts.
    fn expect_run(&self, texts: &[&str]) -> Finished {
        let finished = self.run_script(&self.script);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        let printed: Vec<_> = lines(&finished).into_iter().map(text_of).collect();
        assert_eq!(printed, texts, "{finished:?}");
        finished
    }

    /// One run of a script that is the job's with a change, and which must fail and save nothing.
    fn expect_failure(&self, script: &str) {
        assert_ne!(script, self.script);
        let saved = self.saved();
        let finished = self.run_script(script);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert_eq!(self.saved(), saved);
    }

    /// What it keeps: the token, the number of the last event, and the log that this is from.
    fn saved(&self) -> [String; 3] {
        let text = fs::read_to_string(self.dir.join("cron-session")).unwrap();
        let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
        words.try_into().expect("three words")
    }
}

#[test]
fn a_script_that_polls_now_and_then_sees_each_event_once() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let job = CronJob::new(&server, &netcat);
        job.expect_run(&[]);
        let metadata = fs::metadata(job.dir.join("cron-session")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
        job.expect_run(&[]);

        // More than one POLL gives.
        let mut bob = server.join("bob mode=pull");
        let said: Vec<_> = (1..=120).map(|n| format!("number {n}")).collect();
        for text in &said {
            bob.ask(&format!("SAY {text}"), "OK SAY ");
        }
        let mut texts = vec!["bob"];
        texts.extend(said.iter().map(String::as_str));
        job.expect_run(&texts);
        job.expect_run(&[]);
    }
}

#[test]
fn a_script_that_polls_saves_nothing_of_what_it_could_not_print() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let job = CronJob::new(&server, &netcat);
        job.expect_run(&[]);
        let mut bob = server.join("bob mode=pull");
        bob.ask("SAY hello", "OK SAY ");
        // A reply that is cut off, between lines and in one; a full disk; nobody who reads.
        job.expect_failure(&job.script.replace("> reply", "| head -n 3 > reply"));
        job.expect_failure(&job.script.replace("> reply", "| head -c -39 > reply"));
        job.expect_failure(&format!("exec > /dev/full\n{}", job.script));
        job.expect_failure(&format!("exec >&-\n{}", job.script));
        job.expect_failure(&job.script.replace(&format!(" {} ", server.port()), " 1 "));
        job.expect_run(&["bob", "hello"]);

        // A reply to JOIN that is cut off in its last word.
        let server = Server::start(&[]);
        let job = CronJob::new(&server, &netcat);
        let finished = job.run_script(&job.script.replace("> reply", "| head -c -50 > reply"));
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert!(!job.dir.join("cron-session").exists());
    }
}

#[test]
fn a_script_that_polls_passes_over_what_only_a_later_server_says() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let proxy = Proxy::to_a_later_version(server.address());
        let job = CronJob::on_port(&proxy.port(), &netcat);
        job.expect_run(&[]);
        let mut bob = server.join("bob mode=pull");
        bob.ask("SAY hello", "OK SAY ");
        job.expect_failure(&job.script.replace("> reply", "| sed '/ hello/,$d' > reply"));
        job.expect_run(&["bob", "hello"]);
        job.expect_run(&[]);
    }
}

#[test]
fn a_script_that_polls_joins_again_where_it_was_after_its_session_has_ended() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let mut job = CronJob::new(&server, &netcat);
        let first = job.expect_run(&[]);
        for text in ["ERR unknown-session ", "events before number 1 may be"] {
            assert!(first.err.contains(text), "no {text:?}: {first:?}");
        }
        let mut bob = server.join("bob mode=pull");
        bob.ask("SAY hello", "OK SAY 3 ");
        job.expect_run(&["bob", "hello"]);

        let [token, last, log] = job.saved();
        assert_eq!(last, "3");
        let mut other = server.connect();
        other.ask(&format!("RESUME {token}"), "OK RESUME ");
        other.ask("LEAVE", "OK LEAVE");
        bob.ask("SAY nobody polls this", "OK SAY 5 ");
        let again = job.expect_run(&["left", "nobody polls this", "cron"]);
        assert!(
            again.err.starts_with("ERR session-ended left "),
            "{again:?}"
        );
        assert_eq!(again.err.lines().count(), 1, "{again:?}");
        let [new_token, last, same_log] = job.saved();
        assert_ne!(new_token, token);
        assert_eq!((&*last, same_log), ("6", log));

        // The numbers of another server's log mean something else.
        let newer = Server::start(&[]);
        job.script = readme_script("cron-session").replace("8255", newer.port());
        let mut bob = newer.join("bob mode=pull");
        let again = job.expect_run(&[]);
        for text in ["ERR unknown-session ", "events before number 2 may be"] {
            assert!(again.err.contains(text), "no {text:?}: {again:?}");
        }
        bob.ask("SAY hello again", "OK SAY 3 ");
        let next = job.expect_run(&["hello again"]);
        assert_eq!(next.err, "");
    }
}

/// The text of a MSG line.
fn text_of(line: &str) -> String {
    line.splitn(5, ' ').last().unwrap().to_owned()
}

// Telnet, in a terminal

fn has_telnet() -> bool {
    has("inetutils-telnet", "telnet --version | grep -q inetutils")
        && has(
            "script (of util-linux)",
            "script --version | grep -q util-linux",
        )
}

/// Variables that telnet looks at: the terminal, and people's settings.
const PLAIN: [(&str, &str); 3] = [
    ("TERM", "dumb"),
    ("LC_ALL", "C.UTF-8"),
    ("HOME", "/nowhere"),
];

/// Telnet in a terminal of its own; what is typed here is typed there.
fn telnet(server: &Server) -> Process {
    terminal(&format!("exec telnet 127.0.0.1 {}", server.port()))
}

/// A client in a terminal of its own.
fn terminal(command: &str) -> Process {
    let mut script = Command::new("script");
    script.args(["--quiet", "--flush", "--return", "--command", command]);
    let mut client = Process::start(script.arg("/dev/null").envs(PLAIN));
    client.expect("HELLO chinwag/");
    client
}

#[test]
fn telnet_stays_for_a_conversation() {
    if !has_telnet() {
        return;
    }
    let server = Server::start(&[]);
    let mut client = telnet(&server);
    expect_conversation(&server, &mut client, "\r");
    client.expect("Connection closed by foreign host.");
}

#[test]
fn telnet_goes_on_after_an_interrupt() {
    const INTERRUPT: &str = "\x03";
    if !has_telnet() {
        return;
    }
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut client = telnet(&server);
    client.type_in("JOIN ann\r");
    client.expect("JOINED ");
    bob.expect_event("JOINED", "ann");

    for round in 0..3 {
        // In the middle of a line, which goes no further.
        client.type_in("SAY never");
        client.type_in(INTERRUPT);
        // Until it is answered, telnet throws away what the server sends.
        client.type_in(&format!("PING {round}\r"));
        client.expect(&format!("OK PING {round}"));
        let hello = format!("hello {round}");
        bob.ask(&format!("SAY {hello}"), "OK SAY ");
        bob.expect_event("MSG", &format!("bob {hello}"));
        client.expect(&format!(" bob {hello}"));
        client.type_in(&format!("SAY I saw {hello}\r"));
        client.expect("OK SAY ");
        bob.expect_event("MSG", &format!("ann I saw {hello}"));
        client.expect(&format!(" ann I saw {hello}"));
    }
    bob.expect_nothing(Duration::from_millis(50));
}

fn has_script() -> bool {
    has(
        "script (of util-linux)",
        "script --version | grep -q util-linux",
    )
}

/// They send keys and not lines: Return is CR, CR NUL or CR LF, and the erase key differs too.
#[test]
fn clients_that_send_each_key_stay_for_a_conversation() {
    let programs = [
        ("socat", "socat -,raw,echo=0 TCP:127.0.0.1:PORT"),
        ("telnetlib3-client", "telnetlib3-client 127.0.0.1 PORT"),
        ("busybox", "busybox telnet 127.0.0.1 PORT"),
        ("plink", "plink -telnet 127.0.0.1 -P PORT"),
    ];
    if !has_script() {
        return;
    }
    for (program, command) in programs {
        if !has(program, &format!("command -v {program}")) {
            continue;
        }
        let server = Server::start(&[]);
        let mut client = terminal(&command.replace("PORT", server.port()));
        expect_conversation(&server, &mut client, "\r");
        let mut bob = server.join("bob room=kitchen");
        let mut client = terminal(&command.replace("PORT", server.port()));
        client.type_in("JOIN ann room=kitchen\r");
        bob.expect_event("JOINED", "ann");
        client.type_in("SAY hullo\x7f\x7f\x7f\x7fello\r");
        bob.expect_event("MSG", "ann hello");
    }
}

/// No URL makes curl speak to the server, unless that looks just like a client.
#[test]
fn curl_is_sent_away_whatever_its_url_says() {
    if !has("curl", "curl --version | grep -q http2") {
        return;
    }
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let body = "--data-raw 'JOIN mallory\nSAY buy now\n'";
    let long = format!("http://127.0.0.1:PORT/{} {body}", "x".repeat(3000));
    for request in [
        &*format!("http://127.0.0.1:PORT/ {body}"),
        &*format!("--http0.9 --http1.0 http://127.0.0.1:PORT/ {body}"),
        &*format!("--http2-prior-knowledge http://127.0.0.1:PORT/ {body}"),
        &*format!("-X SAY http://127.0.0.1:PORT/ {body}"),
        &long,
        "-k https://127.0.0.1:PORT/",
        "rtsp://127.0.0.1:PORT/",
        "dict://127.0.0.1:PORT/JOIN:mallory",
        "ftp://JOIN%20mallory:x@127.0.0.1:PORT/",
    ] {
        let command = format!("curl -s -S -m 2 {request}").replace("PORT", server.port());
        let finished = shell("sh", &command, &[]).finish();
        assert!(!finished.out.contains("OK JOIN"), "{request}: {finished:?}");
    }
    bob.ask("PING", "OK PING");
    assert_eq!(bob.stat("sessions-total"), 1);
}

/// A library's own hello, with lines in the parts that an application can choose.
#[test]
fn a_tls_library_is_sent_away_whatever_its_hello_holds() {
    if !has("python3", "python3 -c 'import ssl'") {
        return;
    }
    let script = r#"
import socket, ssl, sys
lines = "\r\nJOIN mallory\r\nSAY buy now\r\n"
context = ssl.create_default_context()
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.set_alpn_protocols([lines])
out, into = ssl.MemoryBIO(), ssl.MemoryBIO()
tls = context.wrap_bio(into, out, server_hostname="localhost")
try:
    tls.do_handshake()
except ssl.SSLWantReadError:
    pass
hello = out.read()
assert lines.encode() in hello
stream = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
stream.sendall(hello)
received = b""
try:
    while piece := stream.recv(4096):
        received += piece
except ConnectionResetError:
    pass
print(received.decode())
"#;
    let server = Server::start(&[]);
    let mut bob = server.join("bob");
    let mut python = Command::new("python3");
    let finished = Process::start(python.args(["-c", script, server.port()])).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(!finished.out.contains("OK "), "{finished:?}");
    bob.ask("PING", "OK PING");
    assert_eq!(bob.stat("sessions-total"), 1);
}

// Programs that are missing

/// Runs the other tests of this module where no program is found.
fn run_without_programs(in_ci: bool) -> Finished {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["clients::", "--skip", "programs_that_are_missing"]);
    command
        .env("PATH", "")
        .env("CI", if in_ci { "true" } else { "" });
    Process::start(&mut command).finish()
}

#[test]
fn programs_that_are_missing_are_named_once_where_everybody_sees_it() {
    let finished = run_without_programs(false);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let mut said: Vec<_> = finished.err.lines().collect();
    said.sort_unstable();
    let programs = [
        "bash with /dev/tcp",
        "busybox",
        "curl",
        "inetutils-telnet",
        "ncat",
        "netcat-openbsd",
        "netcat-traditional",
        "python3",
        "script (of util-linux)",
        "socat",
    ];
    let expected = programs.map(|name| format!("tests/program: skipped: {name} is missing"));
    assert_eq!(said, expected);
}

#[test]
fn programs_that_are_missing_fail_where_the_environment_says_ci() {
    let finished = run_without_programs(true);
    assert_eq!(finished.code, Some(101), "{finished:?}");
    for text in ["ncat is missing", "socat is missing", "25 failed"] {
        assert!(finished.out.contains(text), "no {text:?}: {finished:?}");
    }
}
