//! Hosts that vanish without a word: no end of the stream, no reset, nothing.
//!
//! Server and clients have a network namespace each, with a cable between them that is pulled; see
//! ip-netns(8) and veth(4). Where this is not allowed the test is skipped, with a line that says
//! why; with CI in the environment it fails.

use std::process::Command;
use std::time::Duration;

use crate::process::{
    self, Client, PATIENCE, Polite, Process, Server, TempDir, Watch, has_netcat, launch, skip, unix,
};

/// How many milliseconds later than promised an end may come, by the server's own clock: a busy
/// machine adds that.
const SLACK_MS: u64 = 2000;

/// Addresses reserved for measurements (RFC 2544, appendix C.2.2), which nothing else here has.
const SERVER: &str = "198.18.0.1";
const CLIENT: &str = "198.18.0.2";

/// Two network namespaces with a cable between them, removed when this is dropped.
struct Network {
    server: String,
    client: String,
}

impl Network {
    /// Lays the cable, or says why it cannot.
    fn new() -> Result<Network, String> {
        let name = |side| format!("chinwag-test-{}-{side}", std::process::id());
        let network = Network {
            server: name("server"),
            client: name("client"),
        };
        let Network { server, client } = &network;
        ip(&["netns", "add", server])?;
        ip(&["netns", "add", client])?;
        #[rustfmt::skip]
        ip(&[
            "-n", server, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns",
            client,
        ])?;
        for (side, address) in [(server, SERVER), (client, CLIENT)] {
            ip(&[
                "-n",
                side,
                "address",
                "add",
                &format!("{address}/30"),
                "dev",
                "cable",
            ])?;
            ip(&["-n", side, "link", "set", "cable", "up"])?;
        }
        Ok(network)
    }

    /// Pulls the cable at the clients' end: neither side notices.
    fn pull(&self) {
        ip(&["-n", &self.client, "link", "set", "cable", "down"]).unwrap();
    }

    /// A command that runs in one of the namespaces.
    fn within(namespace: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace, program]);
        command
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for namespace in [&self.client, &self.server] {
            let _ = ip(&["netns", "delete", namespace]);
        }
    }
}

fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).output();
    let output = output.map_err(|error| format!("ip cannot be run: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let error = String::from_utf8_lossy(&output.stderr);
            Err(format!("ip {}: {}", args.join(" "), error.trim()))
        }
    }
}

/// A client on a host that is going to vanish.
struct Guest {
    name: &'static str,
    /// The earliest and the latest second at which it may be gone, from when the cable was pulled.
    promised: [u64; 2],
    /// Its connection.
    netcat: Process,
}

impl Guest {
    fn join(network: &Network, name: &'static str, args: &str, promised: [u64; 2]) -> Guest {
        let mut command = Network::within(&network.client, "nc");
        let mut netcat = Process::start(command.args([SERVER, "8255"]));
        netcat.expect("HELLO ");
        netcat.type_in(&format!("JOIN {name} {args}\n"));
        netcat.expect("OK JOIN ");
        Guest {
            name,
            promised,
            netcat,
        }
    }
}

#[test]
fn hosts_that_vanish_without_a_word_are_found_out_within_the_promised_time() {
    let network = match Network::new() {
        Ok(network) => network,
        Err(error) => return skip(&format!("network namespaces are not to be had: {error}")),
    };
    if !has_netcat() {
        return;
    }
    let dir = TempDir::new();
    let on_unix = unix(&dir.join("chat"));
    let listen = format!("{SERVER}:8255");
    let mut command = Network::within(&network.server, "env");
    command.args(launch());
    command.args(["--open", "--listen", &listen, "--listen", &on_unix]);
    let server = Server::start_as(command.env_remove("RUST_LOG"));

    // The clients that stay use a Unix socket, which needs no network.
    let mut speaker = Client::greeted(&on_unix);
    speaker.join("speaker room=loud mode=pull idle=3600");
    let mut witnesses = ["loud", "quiet"].map(|room| {
        let mut witness = Client::greeted(&on_unix);
        witness.join(&format!("witness room={room} idle=3600"));
        witness
    });
    let mut polite = Client::greeted(&on_unix);
    polite.join("polite room=polite mode=pull");
    let before = server.process.descriptors().len();

    // They are found out within the idle time, and then a session without a connection has its idle
    // time.
    // In the loud room something is always on its way to them.
    let mut guests = [
        Guest::join(&network, "ping-quiet", "room=quiet idle=8", [0, 8]),
        Guest::join(
            &network,
            "tcp-quiet",
            "room=quiet alive=tcp idle=6",
            [6, 12],
        ),
        Guest::join(&network, "ping-loud", "room=loud idle=8", [0, 8]),
        Guest::join(&network, "tcp-loud", "room=loud alive=tcp idle=6", [6, 12]),
        Guest::join(
            &network,
            "pull",
            "room=quiet mode=pull alive=tcp idle=6",
            [6, 12],
        ),
        // Carrying out all that it has sent would take minutes.
        Guest::join(&network, "hasty", "room=quiet mode=pull idle=8", [0, 8]),
    ];
    guests[5].netcat.type_in(&"\n".repeat(30_000));
    for guest in &mut guests {
        let witness = &mut witnesses[usize::from(!guest.name.ends_with("loud"))];
        witness.expect_event("JOINED", guest.name);
    }
    assert_eq!(server.process.descriptors().len(), before + guests.len());

    let polite = Polite::start(polite);
    let mut say = |text: &str| {
        let reply = speaker.ask(&format!("SAY {text}"), "OK SAY ");
        reply.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let before_pull = say("the cable is pulled");
    network.pull();
    let pulled = (before_pull, say("the cable was pulled"));
    let watch = Watch::start();
    let mut left = Vec::new();
    let mut said = 0;
    while left.len() < guests.len() {
        assert!(watch.elapsed() < PATIENCE, "only {left:?} have left");
        said += 1;
        say(&said.to_string());
        let mut heard = false;
        while !heard {
            let line = witnesses[0].expect("");
            heard = line.ends_with(&format!(" speaker {said}"));
            note_end(&line, &guests, pulled, &mut left);
        }
        let time = Duration::from_millis(40);
        while let process::Received::Line(line) = witnesses[1].receive(time) {
            note_end(&line, &guests, pulled, &mut left);
        }
    }
    let gone: Vec<_> = left
        .iter()
        .map(|(name, ms)| format!("{name} {ms} ms"))
        .collect();
    println!("hosts that vanish: {}", gone.join(", "));
    println!("hosts that vanish: slowest polite reply {:?}", polite.end());
    for witness in &mut witnesses {
        witness.expect_service();
    }
    speaker.expect_service();
    server.await_descriptors(&mut speaker, before - 1);
    // They have heard nothing, and for all they know they are still there.
    for guest in guests {
        guest.netcat.signal("KILL");
        let finished = guest.netcat.finish();
        assert!(!finished.out.contains("BYE "), "{finished:?}");
    }
}

/// Notes that a guest has left, and checks that it was in time by the server's clock. `pulled` is
/// what the clock showed before and after the cable was pulled.
fn note_end(line: &str, guests: &[Guest], pulled: (u64, u64), left: &mut Vec<(&'static str, u64)>) {
    if !line.starts_with("LEFT ") {
        assert!(line.starts_with("MSG "), "{line}");
        return;
    }
    let words: Vec<_> = line.split(' ').collect();
    let (at, name): (u64, _) = (words[2].parse().unwrap(), words[3]);
    let guest = guests.iter().find(|guest| guest.name == name).unwrap();
    assert!(line.ends_with(" expired"), "{line}");
    let [earliest, latest] = guest.promised.map(|seconds| seconds * 1000);
    let (least, most) = (at.saturating_sub(pulled.1), at - pulled.0);
    assert!(
        most >= earliest && least <= latest + SLACK_MS,
        "{name} after {least} to {most} ms"
    );
    left.push((guest.name, most));
}
