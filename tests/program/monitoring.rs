//! What watches over the server: `dist/monitor`, `dist/collectd`, and README.md's file for Prometheus,
//! with each of the programs that are called nc, and in busybox' shell.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use crate::process::{
    Client, Finished, Netcat, Process, Server, TempDir, Watch, has, has_ipv6, install, program,
    unix,
};
use crate::script::sources::{blocks, document};

fn dist(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("dist")
        .join(name)
}

/// Runs the script `monitor`.
fn monitor(netcat: &Netcat, args: &[&str]) -> Finished {
    Process::start(netcat.shell().arg(dist("monitor")).args(args)).finish()
}

/// The same, and checks what it says.
fn expect(netcat: &Netcat, args: &[&str], code: i32, text: &str) -> Finished {
    let finished = monitor(netcat, args);
    let says = finished.out.starts_with(&format!("chinwag {text}"));
    let package = netcat.package;
    assert!(says, "{package} {args:?}: {finished:?}");
    assert_eq!(finished.code, Some(code), "{package}: {finished:?}");
    assert_eq!(finished.out.lines().count(), 1, "{package}: {finished:?}");
    assert_eq!(finished.err, "", "{package}");
    finished
}

/// Patience for servers that answer, however busy the machine is.
const PATIENT: [&str; 2] = ["-t", "60"];

fn patiently<'a>(args: &[&'a str]) -> Vec<&'a str> {
    [&PATIENT, args].concat()
}

/// A server on TCP and on a Unix socket, whose address is returned, too.
fn start(dir: &TempDir, args: &[&str]) -> (Server, String) {
    let path = dir.join("chat");
    let socket = unix(&path);
    let server = Server::start(&[&["--listen", &socket], args].concat());
    (server, socket)
}

/// Whether a monitor can ask a Unix socket.
fn can_ask_unix(netcat: &Netcat) -> bool {
    netcat.has_unix_sockets() || has("socat", "command -v socat")
}

#[test]
fn the_monitor_finds_a_healthy_server_on_tcp_and_on_unix_sockets() {
    for netcat in Netcat::all() {
        let dir = TempDir::new();
        let (server, socket) = start(&dir, &[]);
        let text = "OK - 1 of 1024 connections, 0 of 4096 sessions, 0 of 64 rooms | uptime=";
        expect(&netcat, &patiently(&[server.address()]), 0, text);
        if can_ask_unix(&netcat) {
            expect(&netcat, &patiently(&[&socket]), 0, text);
        }
        if netcat.package != "netcat-traditional" && has_ipv6() {
            let server = Server::start_as(program().args(["--listen", "[::1]:0"]));
            expect(&netcat, &patiently(&[server.address()]), 0, text);
        }
    }
}

#[test]
fn the_monitor_fails_when_the_server_stands_still_or_is_gone() {
    for netcat in Netcat::all() {
        let dir = TempDir::new();
        let (mut server, socket) = start(&dir, &[]);
        let mut addresses = vec![server.address().to_owned()];
        if can_ask_unix(&netcat) {
            addresses.push(socket);
        }
        server.process.pause();
        for address in &addresses {
            let text = format!("CRITICAL - {address}: no answer within 1 s\n");
            let watch = Watch::start();
            expect(&netcat, &[address], 2, &text);
            assert!(watch.elapsed().as_millis() >= 1000);
        }
        server.process.go_on();
        server.process.kill();
        for address in &addresses {
            let text = format!("CRITICAL - {address}: no connection\n");
            expect(&netcat, &patiently(&[address]), 2, &text);
        }
    }
}

#[test]
fn the_monitor_warns_when_the_server_is_full() {
    for netcat in Netcat::all() {
        let dir = TempDir::new();
        let limits = ["--max-connections", "2", "--max-sessions", "1"];
        let (server, _) = start(&dir, &limits);
        let address = server.address();
        let mut ann = server.connect();
        // With the monitor's own there are two.
        let text = "WARNING - full: 2 of 2 connections, 0 of 1 sessions, ";
        expect(&netcat, &patiently(&[address]), 1, text);
        let bob = server.connect();
        let text = format!("WARNING - {address}: BYE full ");
        expect(&netcat, &patiently(&[address]), 1, &text);
        drop(bob);
        ann.join("ann mode=pull");
        ann.await_stat("connections", 1);
        let text = "WARNING - full: 2 of 2 connections, 1 of 1 sessions, ";
        expect(&netcat, &patiently(&[address]), 1, text);

        let (server, _) = start(&TempDir::new(), &["--max-sessions", "1"]);
        let _ann = server.join("ann");
        let text = "WARNING - full: 2 of 1024 connections, 1 of 1 sessions, ";
        expect(&netcat, &patiently(&[server.address()]), 1, text);
    }
}

#[test]
fn the_monitor_sees_on_the_operators_socket_that_the_server_is_full() {
    for netcat in Netcat::all() {
        if !can_ask_unix(&netcat) {
            continue;
        }
        let dir = TempDir::new();
        let admin = unix(&dir.join("admin"));
        let server = Server::start(&["--max-connections", "1", "--admin", &admin]);
        let ann = server.connect();
        let text = format!("WARNING - {}: BYE full ", server.address());
        expect(&netcat, &patiently(&[server.address()]), 1, &text);
        let text = "WARNING - full: 1 of 1 connections, 0 of 4096 sessions, ";
        expect(&netcat, &patiently(&[&admin]), 1, text);
        drop(ann);
    }
}

#[test]
fn the_monitor_needs_a_key_where_others_do_but_not_on_a_unix_socket() {
    for netcat in Netcat::all() {
        let dir = TempDir::new();
        let users = dir.join("users");
        let users = users.to_str().unwrap();
        let made = program()
            .args(["--users", users, "--new-key", "monitor"])
            .output();
        let key = String::from_utf8(made.unwrap().stdout).unwrap();
        let (server, socket) = start(&dir, &["--users", users, "--max-sessions", "1"]);
        let address = server.address();
        let text = format!("UNKNOWN - {address}: this server wants a key, see -k\n");
        expect(&netcat, &patiently(&[address]), 3, &text);
        let file = dir.join("key");
        let with_file = || patiently(&["-k", file.to_str().unwrap(), address]);
        fs::write(&file, "monitor key=wrong\n").unwrap();
        let text = format!("UNKNOWN - {address}: ERR not-authorized ");
        expect(&netcat, &with_file(), 3, &text);
        fs::write(&file, format!("monitor key={key}")).unwrap();
        // Its own session fills the server.
        let text = "WARNING - full: 1 of 1024 connections, 1 of 1 sessions, ";
        expect(&netcat, &with_file(), 1, text);
        if can_ask_unix(&netcat) {
            expect(&netcat, &patiently(&[&socket]), 0, "OK - 1 of ");
        }
    }
}

/// Listens, and says this and no more to each of a number of clients.
fn say_to(clients: usize, text: &'static str) -> (String, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let thread = thread::spawn(move || {
        for _ in 0..clients {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(text.as_bytes()).unwrap();
            // Whoever closes first loses nothing.
            let _ = stream.shutdown(std::net::Shutdown::Write);
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    (address, thread)
}

#[test]
fn the_monitor_is_not_content_with_any_answer() {
    let cut_off = "HELLO chinwag/0.2.0 protocol=1\r\nOK STATS 2\r\nSTAT version 0.2.0\r\n";
    for (said, text) in [
        ("SSH-2.0-OpenSSH_9.2\r\n", "this is no chinwag\n"),
        (cut_off, "the answer was cut off\n"),
        (
            "HELLO chinwag/0.2.0 protocol=1\r\nBYE shutdown goodbye\r\n",
            "BYE shutdown goodbye\n",
        ),
        // It cannot pass for numbers, nor for what the script says itself.
        (
            "HELLO chinwag/0.2.0\r\nBYE slow \x1b[1m | evil=1 * a\\nb \\0101 \\c%s\r\n",
            "BYE slow [1m / evil=1 * a\\nb \\0101 \\c%s\n",
        ),
    ] {
        let netcats = Netcat::all();
        let (address, thread) = say_to(netcats.len(), said);
        for netcat in netcats {
            let text = format!("CRITICAL - {address}: {text}");
            expect(&netcat, &patiently(&[&address]), 2, &text);
        }
        thread.join().unwrap();
    }
}

#[test]
fn the_monitor_waits_for_the_rest_of_an_answer_no_longer_than_for_all_of_it() {
    let said = "HELLO chinwag/0.2.0 protocol=1\r\nOK STATS 2\r\nSTAT ver";
    for netcat in Netcat::all() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(said.as_bytes()).unwrap();
            stream
        });
        // Long enough for nc to start and to pass on the first bytes.
        let text = format!("CRITICAL - {address}: no whole answer within 5 s\n");
        expect(&netcat, &["-t", "5", &address], 2, &text);
        drop(thread.join().unwrap());
    }
}

#[test]
fn the_monitor_knows_nothing_without_the_programs_that_it_needs() {
    let dir = TempDir::new();
    for name in ["head", "sleep", "tr"] {
        std::os::unix::fs::symlink("/bin/true", dir.join(name)).unwrap();
    }
    let mut command = run_with(&dir, "monitor", &[]);
    command.env("PATH", dir.path());
    let finished = Process::start(&mut command).finish();
    assert_eq!(finished.code, Some(3), "{finished:?}");
    assert_eq!(finished.out, "chinwag UNKNOWN - awk is missing\n");
}

/// As a program may that is no chinwag, or has gone mad.
#[test]
fn the_monitor_reads_no_endless_answer() {
    for netcat in Netcat::all() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream
                .write_all(b"HELLO chinwag/0.2.0\r\nOK STATS 70\r\n")
                .unwrap();
            let line = b"STAT sessions 1\r\nSTAT x \0\xff\r\n".repeat(1000);
            while stream.write_all(&line).is_ok() {}
        });
        let text = format!("CRITICAL - {address}: the answer was cut off\n");
        expect(&netcat, &patiently(&[&address]), 2, &text);
        thread.join().unwrap();
    }
}

#[test]
fn the_monitor_takes_a_server_that_counts_less() {
    let said = "HELLO chinwag/0.0.9 protocol=1\r\nOK STATS 4\r\nSTAT version 0.0.9\r\n\
        STAT connections 5\r\nSTAT sessions 4\r\nSTAT rooms 3\r\nOK QUIT\r\nBYE quit goodbye\r\n";
    let netcats = Netcat::all();
    let (address, thread) = say_to(netcats.len(), said);
    for netcat in netcats {
        let text = "OK - 5 connections, 4 sessions, 3 rooms | connections=5 sessions=4 rooms=3\n";
        expect(&netcat, &patiently(&[&address]), 0, text);
    }
    thread.join().unwrap();
}

#[test]
fn the_monitor_says_how_to_call_it() {
    for netcat in Netcat::all() {
        for args in [&["-x"][..], &["-t"], &["127.0.0.1:8255", "more"]] {
            expect(&netcat, args, 3, "UNKNOWN - usage: monitor ");
        }
        for (args, text) in [
            (&["-t", "soon"][..], "-t soon: this is not a whole number"),
            (&["localhost"], "localhost: this is not IP:PORT"),
            (&["-k", "/nowhere"], "-k /nowhere: no line with a name"),
        ] {
            expect(&netcat, args, 3, &format!("UNKNOWN - {text}"));
        }
    }
}

/// What PROTOCOL.md says of each row of STATS: whether it is a gauge.
fn kinds() -> BTreeMap<String, bool> {
    let text = document("PROTOCOL.md");
    let (_, table) = text
        .split_once("\n| name | kind | unit | meaning |\n")
        .unwrap();
    let rows = table.lines().skip(1).take_while(|row| row.starts_with('|'));
    rows.filter_map(|row| {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let name = cells[1].trim_matches('`').to_owned();
        (cells[2] != "word").then_some((name, cells[2] == "gauge"))
    })
    .collect()
}

#[test]
fn the_monitor_shows_all_of_stats_and_which_of_it_only_grows() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let _ann = server.join("ann");
        let finished = expect(&netcat, &patiently(&[server.address()]), 0, "OK - 2 of ");
        let (_, data) = finished.out.split_once(" | ").unwrap();
        let shown = data.split_whitespace().map(|pair| {
            let (name, value) = pair.split_once('=').unwrap();
            let digits = value.strip_suffix('c');
            let _: u64 = digits.unwrap_or(value).parse().unwrap();
            (name.to_owned(), digits.is_none())
        });
        assert_eq!(shown.collect::<BTreeMap<_, _>>(), kinds());
        assert!(data.contains(" sessions-total=1c "), "{data}");
    }
}

/// README.md's script, in a folder.
fn prometheus(netcat: &Netcat, dir: &TempDir, address: &str) -> Finished {
    let scripts = blocks(&document("README.md"), "sh").into_iter();
    let mut scripts = scripts.map(|(_, text)| text);
    let script = scripts.find(|text| text.contains("# TYPE")).unwrap();
    let place = "/var/lib/prometheus/node-exporter";
    assert!(script.contains(place) && script.contains("\n/usr/local/bin/chinwag-monitor |"));
    let script = script.replace(place, dir.path().to_str().unwrap());
    let monitor = format!("'{}' -t 60 {address}", dist("monitor").display());
    let script = script.replace("/usr/local/bin/chinwag-monitor", &monitor);
    Process::start(netcat.shell().args(["-c", &script])).finish()
}

#[test]
fn prometheus_gets_every_row_of_stats_with_its_type() {
    for netcat in Netcat::all() {
        let server = Server::start(&[]);
        let _ann = server.join("ann");
        let dir = TempDir::new();
        let finished = prometheus(&netcat, &dir, server.address());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!((&*finished.out, &*finished.err), ("", ""));
        let file = dir.join("chinwag.prom");
        let text = fs::read_to_string(&file).unwrap();
        let expected: BTreeMap<_, _> = kinds()
            .into_iter()
            .map(|(name, is_gauge)| {
                let name = format!("chinwag_{}", name.replace('-', "_"));
                match is_gauge {
                    true => (name, "gauge"),
                    false => (
                        format!("{}_total", name.trim_end_matches("_total")),
                        "counter",
                    ),
                }
            })
            .collect();
        let lines: Vec<_> = text.lines().collect();
        let shown = lines.chunks(2).map(|pair| {
            let words: Vec<_> = pair[0].split(' ').collect();
            assert_eq!(words[..2], ["#", "TYPE"], "{pair:?}");
            let (name, value) = pair[1].split_once(' ').unwrap();
            assert_eq!(name, words[2], "{pair:?}");
            let _: u64 = value.parse().unwrap();
            (words[2].to_owned(), words[3])
        });
        assert_eq!(shown.collect::<BTreeMap<_, _>>(), expected);
        for line in ["chinwag_sessions 1", "chinwag_sessions_total 1"] {
            assert!(lines.contains(&line), "no {line}: {text}");
        }
        let check = "/usr/bin/python3 -c 'import prometheus_client.parser'";
        if has("python3-prometheus-client", check) {
            let script = "import sys; from prometheus_client.parser import *\n\
                for family in text_fd_to_metric_families(sys.stdin):\n  \
                print(family.type, len(family.samples))";
            let mut python = Command::new("/usr/bin/python3");
            let input = fs::File::open(&file).unwrap();
            let output = python.args(["-c", script]).stdin(input).output().unwrap();
            let read = String::from_utf8(output.stdout).unwrap();
            assert_eq!(read.lines().count(), expected.len(), "{read}");
            let is_known = |line: &str| ["gauge 1", "counter 1"].contains(&line);
            assert!(read.lines().all(is_known), "{read}");
        }
        // Whoever reads it never sees half of it, and what a server that is gone leaves is what it was.
        let before = fs::metadata(&file).unwrap().ino();
        let finished = prometheus(&netcat, &dir, server.address());
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_ne!(fs::metadata(&file).unwrap().ino(), before);
        let text = fs::read_to_string(&file).unwrap();
        let address = server.address().to_owned();
        drop(server);
        let finished = prometheus(&netcat, &dir, &address);
        assert_eq!(finished.code, Some(1), "{finished:?}");
        assert_eq!(fs::read_to_string(&file).unwrap(), text);
    }
}

#[test]
fn collectd_gets_every_row_of_stats() {
    let is_root = rustix::process::getuid().is_root();
    if !has("collectd", "test -x /usr/sbin/collectd") {
        return;
    }
    let (server, dir) = (Server::start(&[]), TempDir::new());
    let mut ann: Client = server.join("ann mode=pull");
    // collectd runs no script as root, so everybody else has to reach these.
    for name in ["monitor", "collectd"] {
        install(&dir.join(name), fs::read(dist(name)).unwrap());
    }
    let (folder, address) = (dir.path().display(), server.address());
    let user = if is_root { "nobody" } else { "" };
    let config = format!(
        "Hostname \"box\"\nBaseDir \"{folder}\"\nPIDFile \"{folder}/pid\"\n\
         TypesDB \"/usr/share/collectd/types.db\"\nInterval 1\nLoadPlugin exec\n<Plugin exec>\n\
         Exec \"{user}\" \"{folder}/collectd\" \"-t\" \"60\" \"{address}\"\n</Plugin>\n\
         LoadPlugin csv\n<Plugin csv>\nDataDir \"stdout\"\n</Plugin>\n"
    );
    fs::write(dir.join("conf"), config).unwrap();
    if is_root {
        chown(dir.path(), Some(65_534), Some(65_534)).unwrap();
    }
    let mut command = Command::new("/usr/sbin/collectd");
    let mut collectd = Process::start(command.arg("-f").arg("-C").arg(dir.join("conf")));
    let mut missing = kinds();
    let watch = Watch::start();
    while !missing.is_empty() {
        assert!(!watch.is_over(), "no {missing:?}");
        let line = collectd.expect("PUTVAL box/chinwag/");
        let (_, rest) = line.split_once("/chinwag/").unwrap();
        let (kind, name) = rest.split(' ').next().unwrap().split_once('-').unwrap();
        if let Some(is_gauge) = missing.remove(name) {
            assert_eq!(kind, if is_gauge { "gauge" } else { "derive" }, "{line}");
        }
    }
    let scripts = collectd.children();
    assert_eq!(scripts.len(), 1);
    collectd.signal("TERM");
    assert_eq!(collectd.finish().code, Some(0));
    await_end(scripts[0].as_raw_nonzero().get() as u32);
    ann.expect_service();
}

/// Waits until a process that is none of this one's children has ended. Not every machine has somebody who
/// notes its end.
fn await_end(number: u32) {
    let watch = Watch::start();
    while let Ok(text) = fs::read_to_string(format!("/proc/{number}/stat")) {
        let state = text.rsplit_once(") ").unwrap().1;
        if state.starts_with('Z') {
            return;
        }
        assert!(!watch.is_over(), "{number} is still there: {text}");
        thread::yield_now();
    }
}

/// A folder with a program called sleep that does this.
fn with_sleep(script: &str) -> TempDir {
    let dir = TempDir::new();
    install(&dir.join("sleep"), format!("#!/bin/sh\n{script}\n"));
    dir
}

/// Runs a script from `dist` with the folder's programs before all others.
fn run_with(dir: &TempDir, name: &str, args: &[&str]) -> Command {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("/bin/sh");
    command.arg(dist(name)).args(args);
    command.env("PATH", format!("{}:{path}", dir.path().display()));
    command
}

#[test]
fn the_monitor_leaves_no_process_behind() {
    let server = Server::start(&[]);
    let dir = with_sleep("echo $$ >\"${0%/*}/process\"; exec /bin/sleep \"$@\"");
    let mut command = run_with(&dir, "monitor", &patiently(&[server.address()]));
    // So that it sleeps before the server answers.
    server.process.pause();
    let monitor = Process::start(&mut command);
    let watch = Watch::start();
    let number = loop {
        let text = fs::read_to_string(dir.join("process")).unwrap_or_default();
        match text.trim_end().parse::<u32>() {
            Ok(number) => break number,
            Err(_) => assert!(!watch.is_over()),
        }
        thread::yield_now();
    };
    server.process.go_on();
    assert_eq!(monitor.finish().code, Some(0));
    await_end(number);
}

#[test]
fn collectds_script_waits_at_least_a_second_between_two_questions() {
    let dir = with_sleep("echo \"slept $1\"; kill \"$PPID\"");
    // What a server says is not for collectd, even if it looks like numbers.
    let said = "chinwag CRITICAL - 127.0.0.1:1: BYE slow | evil=1 *";
    for (interval, pause) in [("0.500", "1"), ("1.000", "1"), ("10.000", "10")] {
        let mut command = run_with(&dir, "collectd", &[]);
        // It asks a monitor that has no server.
        let monitor = dir.join("monitor");
        install(&monitor, format!("#!/bin/sh\necho '{said}'\n"));
        command.env("CHINWAG_MONITOR", &monitor);
        command.env("COLLECTD_INTERVAL", interval);
        let finished = Process::start(&mut command).finish();
        assert_eq!(finished.out, format!("slept {pause}\n"), "{finished:?}");
        assert_eq!(finished.err, format!("{said}\n"));
    }
}

#[test]
fn collectds_script_ends_if_there_is_no_monitor() {
    let dir = TempDir::new();
    let mut command = run_with(&dir, "collectd", &[]);
    let nowhere = dir.join("nowhere");
    command.env("CHINWAG_MONITOR", &nowhere);
    let finished = Process::start(&mut command).finish();
    assert_eq!(finished.code, Some(1));
    let text = format!("chinwag: there is no script {}\n", nowhere.display());
    assert_eq!(finished.err, text);
}
