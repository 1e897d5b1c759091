//! Prints what happened in a room since the last run, each event once; FILE keeps the session.
//! For cron: it has to run at least once an hour, or the session expires.

use std::error::Error;
use std::fs::{self, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::fs::OpenOptionsExt;
use std::process::exit;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What is kept from one run to the next; the token is empty if there is no session.
struct Session {
    file: String,
    token: String,
    last: u64,
}

impl Session {
    fn load(file: &str) -> Result<Session> {
        let (mut token, mut last) = (String::new(), 0);
        if fs::exists(file)? {
            let saved = fs::read_to_string(file)?;
            let (before, after) = saved
                .trim_end()
                .split_once(' ')
                .ok_or(format!("no token: {file}"))?;
            (token, last) = (before.to_owned(), after.parse()?);
        }
        Ok(Session {
            file: file.to_owned(),
            token,
            last,
        })
    }

    fn save(&self) -> Result<()> {
        let new = format!("{}.new", self.file);
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true);
        let mut out = options.mode(0o600).open(&new)?;
        writeln!(out, "{} {}", self.token, self.last)?;
        out.sync_all()?;
        Ok(fs::rename(&new, &self.file)?)
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
                    send(&conn, join)?;
                }
                ["HELLO", _, "protocol=1", ..] => send(&conn, &format!("RESUME {}", self.token))?,
                ["ERR", "session-ended" | "unknown-session", ..] => {
                    eprintln!("poll: {line}; joining again");
                    send(&conn, join)?;
                }
                ["OK", "JOIN", ..] => {
                    self.token = field(&line, "session").to_owned();
                    self.last = field(&line, "seq").parse::<u64>()? - 1;
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
