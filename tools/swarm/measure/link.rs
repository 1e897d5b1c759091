//! What rooms that span boxes cost: processor time of a box for an event that comes over the link, and of
//! the box where it was said; how long it takes through a broker; and how long a box takes that has
//! missed much.
//!
//! The broker is mosquitto, which listens on this machine.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tools::arguments::complain;
use tools::client::{Client, PATIENCE};
use tools::clock::Clock;

use crate::measure::server::{Server, connections_possible};
use crate::measure::table::Section;

/// Members who get each event, and how many events are said in a round.
const MEMBERS: usize = 1_000;
const EVENTS: usize = 50;
const ROUNDS: usize = 5;
const RATIO_MAX: f64 = 1.2;

/// Events with nobody but the one who says them.
const ALONE: usize = 5_000;
/// What the origin may take for the link besides what one more receiver takes, in microseconds.
const LINKED_US_MAX: f64 = 5.0;

/// Events whose way is timed, and how much longer it may be than the broker's own, in milliseconds.
const TIMED: usize = 5_000;
const DELAY_MS_MAX: f64 = 1.0;

/// Events that a box misses, and how long it may take to get them, in seconds.
const MISSED: usize = 10_000;
const MISSED_S_MAX: f64 = 2.0;
const LOG_BYTES: &str = "2M";

/// What is said: 64 bytes.
const TEXT: &str = "sixty-four bytes of text are said here, again and again and again";

pub fn measure(program: &Path) -> Result<Vec<Section>, String> {
    let Some(mut broker) = Broker::start()? else {
        complain(
            "swarm",
            format_args!("mosquitto is missing: nothing to measure of the link"),
        );
        return Ok(Vec::new());
    };
    let mut costs = Section::new(
        "link, processor time of a box, us".into(),
        vec!["median".into()],
    );
    given(program, &broker, &mut costs)?;
    said(program, &broker, &mut costs)?;
    let columns = ["p50", "p99"].map(String::from);
    let mut delays = Section::new("link, delay, ms".into(), columns.into());
    delay(program, &broker, &mut delays)?;
    let mut missed = Section::new("link, s".into(), vec!["median".into()]);
    catch_up(program, &mut broker, &mut missed)?;
    Ok(vec![costs, delays, missed])
}

/// An event that comes over the link for many members, against one that is said on the box.
fn given(program: &Path, broker: &Broker, section: &mut Section) -> Result<(), String> {
    let members = connections_possible(MEMBERS);
    let here = start(program, members, None)?;
    let there = start(program, members, Some((broker, "there")))?;
    let origin = start(program, 2, Some((broker, "origin")))?;
    let mut of_here = join_all(&here, members)?;
    let mut of_there = join_all(&there, members)?;
    let mut at_here = join(&here, "speaker")?;
    let mut at_origin = join(&origin, "speaker")?;
    await_link(&mut at_origin, members)?;
    await_link(&mut of_there[0], 1)?;
    let (mut on_box, mut over_link) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let rounds = [
            (&here, &mut at_here, &mut of_here, &mut on_box),
            (&there, &mut at_origin, &mut of_there, &mut over_link),
        ];
        for (server, speaker, listeners, figures) in rounds {
            let before = server.cpu_ns()?;
            for _ in 0..EVENTS {
                say(speaker)?;
                for listener in &mut *listeners {
                    await_message(listener)?;
                }
            }
            let taken = server.cpu_ns()? - before;
            figures.push(taken as f64 / 1e3 / EVENTS as f64);
        }
    }
    let (on_box, over_link) = (median(on_box), median(over_link));
    let to = format!("to {members} members");
    section.add(
        "given-here",
        format!("an event said on the box, {to}"),
        on_box,
        None,
    );
    section.add(
        "given-there",
        format!("an event from another box, {to}"),
        over_link,
        None,
    );
    let ratio = over_link / on_box;
    section.add(
        "given-ratio",
        "  in times of the former",
        ratio,
        Some(RATIO_MAX),
    );
    Ok(())
}

/// What the box takes where an event is said: with and without a link, and with one more receiver.
fn said(program: &Path, broker: &Broker, section: &mut Section) -> Result<(), String> {
    let alone = start(program, 2, None)?;
    let two = start(program, 2, None)?;
    let linked = start(program, 2, Some((broker, "linked")))?;
    let listening = start(program, 2, Some((broker, "listening")))?;
    let mut speakers = Vec::new();
    for server in [&alone, &two, &linked] {
        speakers.push(join(server, "speaker")?);
    }
    let mut listener = join(&two, "listener")?;
    let mut first = join(&listening, "first")?;
    await_link(&mut first, 1)?;
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        for (index, server) in [&alone, &two, &linked].into_iter().enumerate() {
            let before = server.cpu_ns()?;
            for _ in 0..ALONE / ROUNDS {
                say(&mut speakers[index])?;
                if index == 1 {
                    await_message(&mut listener)?;
                }
            }
            let taken = server.cpu_ns()? - before;
            figures[index].push(taken as f64 / 1e3 / (ALONE / ROUNDS) as f64);
        }
    }
    let [alone, two, linked] = figures.map(median);
    let allowed = two - alone + LINKED_US_MAX;
    section.add(
        "said-alone",
        "an event that only its speaker gets",
        alone,
        None,
    );
    section.add("said-two", "  with one more receiver", two, None);
    section.add("said-linked", "  with a link", linked, None);
    section.add(
        "said-extra",
        "  for the link",
        linked - alone,
        Some(allowed),
    );
    Ok(())
}

/// How long an event takes from one box to another, against a publication from one client of the broker to
/// another.
fn delay(program: &Path, broker: &Broker, section: &mut Section) -> Result<(), String> {
    let one = start(program, 2, Some((broker, "one")))?;
    let other = start(program, 2, Some((broker, "other")))?;
    let mut speaker = join(&one, "speaker")?;
    let mut listener = join(&other, "listener")?;
    await_link(&mut speaker, 1)?;
    await_link(&mut listener, 1)?;
    let mut through_boxes = Vec::new();
    for _ in 0..TIMED {
        let clock = Clock::start();
        say(&mut speaker)?;
        await_message(&mut listener)?;
        through_boxes.push(clock.now_us() as f64 / 1e3);
    }
    let mut publisher = Mqtt::connect(broker.address, "publisher")?;
    let mut subscriber = Mqtt::connect(broker.address, "subscriber")?;
    subscriber.subscribe("measured")?;
    let mut through_broker = Vec::new();
    for _ in 0..TIMED {
        let clock = Clock::start();
        publisher.publish("measured", TEXT)?;
        subscriber.packet()?;
        through_broker.push(clock.now_us() as f64 / 1e3);
    }
    let [boxes, alone] = [through_boxes, through_broker].map(|mut times| {
        times.sort_by(f64::total_cmp);
        [times[times.len() / 2], times[times.len() * 99 / 100]]
    });
    section.add_row(
        "delay-boxes",
        "from box to box, through mosquitto",
        boxes.into(),
        None,
    );
    section.add_row(
        "delay-broker",
        "through mosquitto alone",
        alone.into(),
        None,
    );
    let more = vec![boxes[0] - alone[0], boxes[1] - alone[1]];
    section.add_row(
        "delay-more",
        "  what the boxes add",
        more,
        Some(DELAY_MS_MAX),
    );
    Ok(())
}

/// How long a box takes to get what it has missed while there was no broker.
fn catch_up(program: &Path, broker: &mut Broker, section: &mut Section) -> Result<(), String> {
    let one = start(program, 2, Some((broker, "one")))?;
    let other = start(program, 2, Some((broker, "other")))?;
    let mut speaker = join(&one, "speaker")?;
    let mut listener = join(&other, "listener")?;
    await_link(&mut speaker, 1)?;
    await_link(&mut listener, 1)?;
    let (mut since_first, mut since_broker) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        broker.kill()?;
        for _ in 0..MISSED {
            say(&mut speaker)?;
        }
        broker.go_on()?;
        let back = Clock::start();
        await_message(&mut listener)?;
        let first = Clock::start();
        for _ in 1..MISSED {
            await_message(&mut listener)?;
        }
        since_first.push(first.now_us() as f64 / 1e6);
        since_broker.push(back.now_us() as f64 / 1e6);
    }
    let [first, back] = [since_first, since_broker].map(median);
    let what = format!("from the first to the last of {MISSED} missed events");
    section.add("missed", what, first, Some(MISSED_S_MAX));
    section.add("missed-all", "  from when the broker is back", back, None);
    Ok(())
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Starts a box with a room for this many members; with a broker and a name, the room spans boxes.
fn start(program: &Path, members: usize, link: Option<(&Broker, &str)>) -> Result<Server, String> {
    let sizes = [members, members, 2];
    let Some((broker, name)) = link else {
        return Server::start(program, sizes, LOG_BYTES);
    };
    let address = broker.address.to_string();
    let link = [
        "--link",
        &address,
        "--link-name",
        name,
        "--link-room",
        "lobby",
    ];
    Server::start_with(program, sizes, LOG_BYTES, &link)
}

fn join(server: &Server, name: &str) -> Result<Client, String> {
    let mut client = server.connect()?;
    client.ask(&format!("JOIN {name}\n"), "OK JOIN ")?;
    await_line(&mut client, "JOINED ")?;
    Ok(client)
}

/// Members who have seen each other come.
fn join_all(server: &Server, count: usize) -> Result<Vec<Client>, String> {
    let mut clients = Vec::with_capacity(count);
    for number in 0..count {
        let mut client = server.connect()?;
        client.ask(&format!("JOIN m{number} quiet=yes\n"), "OK JOIN ")?;
        clients.push(client);
    }
    Ok(clients)
}

/// Waits until a box knows this many members of other boxes.
fn await_link(client: &mut Client, members: usize) -> Result<(), String> {
    let clock = Clock::start();
    loop {
        client.send(b"WHO\n")?;
        let head = await_line(client, "OK WHO ")?;
        let mut remote = 0;
        let mut words = head.split(' ');
        let lines: usize = words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let more = words.find_map(|word| word.strip_prefix("more="));
        let more: usize = more.and_then(|n| n.parse().ok()).unwrap_or(0);
        for _ in 0..lines {
            remote += usize::from(client.expect("MEMBER ")?.contains('@'));
        }
        if remote + more >= members {
            return Ok(());
        }
        if clock.elapsed() > PATIENCE {
            return Err("the boxes do not get to know each other".into());
        }
        clock.sleep_until(clock.elapsed() + std::time::Duration::from_millis(20));
    }
}

fn say(speaker: &mut Client) -> Result<(), String> {
    speaker.send(format!("SAY {TEXT}\n").as_bytes())?;
    await_line(speaker, "OK SAY ")?;
    await_message(speaker)
}

fn await_message(listener: &mut Client) -> Result<(), String> {
    await_line(listener, "MSG ").map(|_| ())
}

/// Waits for a line that begins like this; gives what follows.
fn await_line(client: &mut Client, start: &str) -> Result<String, String> {
    loop {
        let line = client.line()?;
        if let Some(rest) = line.strip_prefix(start) {
            return Ok(rest.to_owned());
        }
        if line.starts_with("ERR ") || line.starts_with("MISSED ") {
            return Err(format!("the server said '{line}' in place of '{start}'"));
        }
    }
}

/// A mosquitto of our own.
struct Broker {
    address: SocketAddr,
    folder: PathBuf,
    child: Child,
}

impl Broker {
    /// Starts it; `None` if it is not installed.
    fn start() -> Result<Option<Broker>, String> {
        let found = Command::new("mosquitto")
            .arg("-h")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status();
        if found.is_err() {
            return Ok(None);
        }
        let strange = |error: std::io::Error| format!("mosquitto: {error}");
        let free = TcpListener::bind("127.0.0.1:0").map_err(strange)?;
        let address = free.local_addr().map_err(strange)?;
        drop(free);
        let folder = std::env::temp_dir().join(format!("swarm-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(strange)?;
        let config = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\npersistence false\n\
             set_tcp_nodelay true\n",
            address.port()
        );
        fs::write(folder.join("conf"), config).map_err(strange)?;
        let child = spawn(&folder)?;
        let mut broker = Broker {
            address,
            folder,
            child,
        };
        broker.await_listening()?;
        Ok(Some(broker))
    }

    fn kill(&mut self) -> Result<(), String> {
        let killed = self.child.kill().and_then(|()| self.child.wait());
        killed
            .map(|_| ())
            .map_err(|error| format!("mosquitto: {error}"))
    }

    fn go_on(&mut self) -> Result<(), String> {
        self.child = spawn(&self.folder)?;
        self.await_listening()
    }

    fn await_listening(&mut self) -> Result<(), String> {
        let clock = Clock::start();
        while TcpStream::connect(self.address).is_err() {
            if clock.elapsed() > PATIENCE {
                return Err(format!("mosquitto does not listen on {}", self.address));
            }
        }
        Ok(())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.kill();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn spawn(folder: &Path) -> Result<Child, String> {
    Command::new("mosquitto")
        .arg("-c")
        .arg(folder.join("conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("mosquitto: {error}"))
}

/// A plain client of the broker, with quality of service 0.
struct Mqtt {
    stream: TcpStream,
}

impl Mqtt {
    fn connect(address: SocketAddr, name: &str) -> Result<Mqtt, String> {
        let opened = TcpStream::connect(address).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        let stream = opened.map_err(|error| format!("{address}: cannot connect: {error}"))?;
        let mut client = Mqtt { stream };
        // A clean session; nothing is kept alive.
        let head = [&text("MQTT")[..], &[4, 2, 0, 0], &text(name)].concat();
        client.send(0x10, &head)?;
        client.packet()?;
        Ok(client)
    }

    fn subscribe(&mut self, filter: &str) -> Result<(), String> {
        self.send(0x82, &[&[0, 1][..], &text(filter), &[0]].concat())?;
        self.packet()
    }

    fn publish(&mut self, topic: &str, payload: &str) -> Result<(), String> {
        self.send(0x30, &[&text(topic)[..], payload.as_bytes()].concat())
    }

    fn send(&mut self, kind: u8, body: &[u8]) -> Result<(), String> {
        // One digit of the length is enough for what is sent here.
        let packet = [&[kind, body.len() as u8][..], body].concat();
        let sent = self.stream.write_all(&packet);
        sent.map_err(|error| format!("cannot send to the broker: {error}"))
    }

    /// Waits for a packet.
    fn packet(&mut self) -> Result<(), String> {
        let mut head = [0; 2];
        let read = self.stream.read_exact(&mut head).and_then(|()| {
            let mut body = [0; 127];
            self.stream
                .read_exact(&mut body[..usize::from(head[1] & 0x7f)])
        });
        read.map_err(|error| format!("no answer from the broker: {error}"))
    }
}

fn text(text: &str) -> Vec<u8> {
    let length = text.len() as u8;
    [&[0, length], text.as_bytes()].concat()
}
