//! Prints what happened in a room since the last run, each event once; FILE keeps the session.
//! For cron. An hour without a run ends its session; the next run joins again where it was.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::process::exit;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is kept from one run to the next; token and log are empty if there has been no session.
struct Session {
    file: String,
    token: String,
    log: String,
    /// The last event of that log that was shown.
    last: u64,
}

impl Session {
    fn load(file: &str) -> Result<Session> {
        let mut session = Session {
            file: file.to_owned(),
            token: String::new(),
            log: String::new(),
            last: 0,
        };
        if fs::exists(file)? {
            let saved = fs::read_to_string(file)?;
            let [token, last, log] = saved.split_whitespace().collect::<Vec<_>>()[..] else {
                return Err(format!("no token: {file}").into());
            };
            (session.token, session.last) = (token.to_owned(), last.parse()?);
            session.log = log.to_owned();
        }
        Ok(session)
    }

    fn save(&self) -> Result<()> {
        let new = format!("{}.new", self.file);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let mut out = options.mode(0o600).open(&new)?;
        writeln!(out, "{} {} {}", self.token, self.last, self.log)?;
        out.sync_all()?;
        Ok(fs::rename(&new, &self.file)?)
    }

    fn join(&self, conn: &TcpStream, join: &str) -> io::Result<()> {
        match &*self.log {
            "" => send(conn, join),
            log => send(conn, &format!("{join} after={} log={log}", self.last)),
        }
    }

    fn visit(&mut self, host: &str, port: &str, join: &str) -> Result<()> {
        let mut addresses = (host, port.parse()?).to_socket_addrs()?;
        let conn = addresses.find_map(|at| TcpStream::connect_timeout(&at, PATIENCE).ok());
        let conn = conn.ok_or("cannot connect")?;
        conn.set_read_timeout(Some(PATIENCE))?;
        let mut input = BufReader::new(conn.try_clone()?);
        loop {
            let line = receive(&mut input)?;
            match line.split(' ').collect::<Vec<_>>()[..] {
                ["HELLO", _, "protocol=1", ..] if self.token.is_empty() => {
                    self.join(&conn, join)?;
                }
                ["HELLO", _, "protocol=1", ..] => send(&conn, &format!("RESUME {}", self.token))?,
                ["ERR", "session-ended" | "unknown-session", ..] => {
                    eprintln!("poll: {line}; joining again");
                    self.join(&conn, join)?;
                }
                ["OK", "JOIN", ..] => {
                    self.token = field(&line, "session").to_owned();
                    if self.log != field(&line, "log") {
                        self.log = field(&line, "log").to_owned();
                        self.last = field(&line, "seq").parse::<u64>()? - 1;
                    }
                    self.save()?;
                    send(&conn, &format!("POLL after={}", self.last))?;
                }
                ["OK", "RESUME", ..] => send(&conn, &format!("POLL after={}", self.last))?,
                ["OK", "POLL", count, ..] => {
                    let events = (0..count.parse()?).map(|_| receive(&mut input));
                    show(&events.collect::<Result<Vec<_>>>()?)?;
                    // If this is killed between showing and saving, the next run shows these events
                    // again; in the other order they would be lost.
                    self.last = field(&line, "last").parse()?;
                    self.save()?;
                    if field(&line, "more") == "0" {
                        return Ok(());
                    }
                    send(&conn, &format!("POLL after={}", self.last))?;
                }
                ["HELLO" | "ERR" | "BYE", ..] => return Err(line.into()),
                _ => {}
            }
        }
    }
}

fn send(mut conn: &TcpStream, line: &str) -> io::Result<()> {
    conn.write_all(format!("{line}\n").as_bytes())
}

/// The next line. A last one without an end does not count.
fn receive(input: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    input.read_line(&mut line)?;
    let line = line
        .strip_suffix("\r\n")
        .ok_or("cut off; the next run continues from here")?;
    Ok(line.to_owned())
}

fn show(events: &[String]) -> Result<()> {
    let mut out = io::stdout().lock();
    for event in events {
        match event.split(' ').collect::<Vec<_>>()[..] {
            ["LOST", count, _] => eprintln!("poll: {count} events are missing"),
            ["MSG" | "JOINED" | "LEFT", ..] => writeln!(out, "{event}")?,
            _ => {}
        }
    }
    Ok(out.flush()?)
}

fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let mut fields = line.split(' ').filter_map(|word| word.split_once('='));
    fields
        .find(|(key, _)| *key == name)
        .map_or("", |(_, value)| value)
}

fn main() {
    let args: Vec<_> = std::env::args().collect();
    let [_, host, port, room, name, file] = &args[..] else {
        eprintln!("usage: poll HOST PORT ROOM NAME FILE   (the key in CHINWAG_KEY)");
        exit(2);
    };
    let key = std::env::var("CHINWAG_KEY").unwrap_or_default();
    let mut join = format!("JOIN {name} room={room} mode=pull idle=3600");
    if !key.is_empty() {
        join += &format!(" key={key}");
    }
    let join = join.replace(|c: char| c.is_ascii_control(), " ");
    let session = Session::load(file);
    if let Err(error) = session.and_then(|mut session| session.visit(host, port, &join)) {
        eprintln!("poll: {host} port {port}: {error}");
        exit(1);
    }
}
