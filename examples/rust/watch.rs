//! Prints what happens in a room, each event once, however often the connection breaks.

use std::collections::HashMap;
use std::error::Error;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::exit;
use std::thread;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);

/// What is kept from one connection to the next.
struct Watch {
    join: String,
    token: Option<String>,
    log: Option<String>,
    /// The last event of that log that was shown.
    last: u64,
    pause: Duration,
}

impl Watch {
    fn join(&self, conn: &TcpStream) -> io::Result<()> {
        match &self.log {
            None => send(conn, &self.join),
            Some(log) => send(
                conn,
                &format!("{} after={} log={log}", self.join, self.last),
            ),
        }
    }

    /// Reads the server's lines until the connection ends; returns why.
    fn listen(&mut self, host: &str, port: &str) -> Result<String, Box<dyn Error>> {
        let mut addresses = (host, port.parse()?).to_socket_addrs()?;
        let conn = addresses.find_map(|at| TcpStream::connect_timeout(&at, PATIENCE).ok());
        let conn = conn.ok_or("cannot connect")?;
        let mut input = BufReader::new(conn.try_clone()?);
        let (mut limit, mut deadline) = (PATIENCE, now() + PATIENCE);
        loop {
            let left = deadline.saturating_duration_since(now());
            conn.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let mut line = String::new();
            input.read_line(&mut line)?;
            if !line.ends_with('\n') {
                return Ok("cut off".to_owned());
            }
            let line = line.trim_end_matches(['\r', '\n']);
            let words: Vec<_> = line.split(' ').collect();
            match words[..] {
                ["HELLO", _, "protocol=1", ..] => match &self.token {
                    Some(token) => send(&conn, &format!("RESUME {token} after={}", self.last))?,
                    None => self.join(&conn)?,
                },
                ["OK", "JOIN" | "RESUME", ..] => {
                    let field = words.iter().filter_map(|word| word.split_once('='));
                    let field: HashMap<_, _> = field.collect();
                    if let Some(token) = field.get("session") {
                        self.token = Some((*token).to_owned());
                    }
                    if self.log.as_deref() != Some(field["log"]) {
                        self.log = Some(field["log"].to_owned());
                        self.last = field["seq"].parse::<u64>()? - 1;
                    }
                    // EXPIRING comes two thirds into the idle time, unless the connection is dead.
                    limit = Duration::from_secs(field["idle"].parse()?) * 3 / 4;
                    deadline = now() + limit;
                    self.pause = Duration::from_secs(1);
                }
                ["EXPIRING", ..] => {
                    send(&conn, "PING")?;
                    deadline = now() + limit;
                }
                ["MSG" | "JOINED" | "LEFT", seq, ..] => {
                    if let Err(error) = writeln!(io::stdout(), "{line}") {
                        fail(&error.to_string());
                    }
                    self.last = seq.parse()?;
                }
                ["LOST", count, next] => {
                    eprintln!("watch: {count} events are missing");
                    self.last = next.parse::<u64>()? - 1;
                }
                ["ERR", "session-ended" | "unknown-session", ..] => {
                    eprintln!("watch: {line}; joining again");
                    self.token = None;
                    self.join(&conn)?;
                }
                ["ERR", "full" | "name-taken", ..] | ["BYE", "full" | "shutdown", ..] => {
                    return Ok(line.to_owned());
                }
                ["HELLO" | "ERR", ..] | ["BYE", "replaced" | "abuse", ..] => fail(line),
                _ => {}
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "this is a program of its own")]
fn now() -> Instant {
    Instant::now()
}

fn send(mut conn: &TcpStream, line: &str) -> io::Result<()> {
    conn.write_all(format!("{line}\n").as_bytes())
}

fn fail(text: &str) -> ! {
    eprintln!("watch: {text}");
    exit(1)
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, host, port, room, name] = &args[..] else {
        eprintln!("usage: watch HOST PORT ROOM NAME   (the key in CHINWAG_KEY)");
        exit(2);
    };
    let key = std::env::var("CHINWAG_KEY").unwrap_or_default();
    let mut join = format!("JOIN {name} room={room} idle=60");
    if !key.is_empty() {
        join += &format!(" key={key}");
    }
    let mut watch = Watch {
        join: join.replace(|c: char| c.is_ascii_control(), " "),
        token: None,
        log: None,
        last: 0,
        pause: Duration::from_secs(1),
    };
    loop {
        let end = watch.listen(host, port);
        let reason = end.unwrap_or_else(|error| error.to_string());
        // The standard library's only random numbers are those that it hashes with.
        let random = RandomState::new().hash_one(0) % 1000;
        let wait = watch.pause * random as u32 / 1000;
        let seconds = wait.as_secs_f32();
        eprintln!("watch: {reason}; trying again in {seconds:.1} s");
        #[expect(clippy::disallowed_methods, reason = "this is a program of its own")]
        thread::sleep(wait);
        watch.pause = (2 * watch.pause).min(Duration::from_secs(30));
    }
}
