//! Says something in a room, for cron jobs and alarms; exits with 0 if it was said.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::exit;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(10);

/// Sends these lines, and waits for the reply to the SAY among them.
fn say(host: &str, port: &str, lines: &str) -> Result<(), Box<dyn Error>> {
    let mut addresses = (host, port.parse()?).to_socket_addrs()?;
    let conn = addresses.find_map(|at| TcpStream::connect_timeout(&at, PATIENCE).ok());
    let mut conn = conn.ok_or("cannot connect")?;
    conn.set_read_timeout(Some(PATIENCE))?;
    let mut input = BufReader::new(conn.try_clone()?);
    let mut said = false;
    loop {
        let mut line = String::new();
        let read = input.read_line(&mut line);
        match line.split_whitespace().collect::<Vec<_>>()[..] {
            _ if !line.ends_with('\n') && said => return Ok(()),
            _ if !line.ends_with('\n') => {
                read?;
                return Err("cut off; it may still have been said".into());
            }
            ["HELLO", _, "protocol=1", ..] => conn.write_all(lines.as_bytes())?,
            ["OK", "SAY", ..] => said = true,
            ["HELLO" | "ERR" | "BYE", ..] if !said => return Err(line.trim_end().into()),
            _ => {}
        }
    }
}

fn main() {
    let args = std::env::args_os().skip(1);
    let args: Vec<_> = args.map(|arg| arg.to_string_lossy().into_owned()).collect();
    let [host, port, room, name, text @ ..] = &args[..] else {
        usage()
    };
    if text.is_empty() {
        usage();
    }
    let key = std::env::var("CHINWAG_KEY").unwrap_or_default();
    let mut join = format!("JOIN {name} room={room} mode=pull idle=10 quiet=yes");
    if !key.is_empty() {
        join += &format!(" key={key}");
    }
    // A line end within an argument would begin another command.
    let lines = [join, format!("SAY {}", text.join(" ")), "QUIT".to_owned()];
    let lines = lines.map(|line| line.replace(|c: char| c.is_ascii_control(), " ") + "\n");
    if let Err(error) = say(host, port, &lines.concat()) {
        eprintln!("say: {host} port {port}: {error}");
        exit(1);
    }
}

fn usage() -> ! {
    eprintln!("usage: say HOST PORT ROOM NAME TEXT...   (the key in CHINWAG_KEY)");
    exit(2);
}
