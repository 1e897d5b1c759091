//! The scene: what two people and a script do.

use std::num::NonZeroU16;
use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tools::server::Server;

use crate::terminal::Terminal;

/// A terminal at the end of the scene.
pub struct Window {
    pub title: &'static str,
    pub columns: u16,
    pub rows: Vec<String>,
    /// Where the cursor is, as column and row.
    pub cursor: [u16; 2],
}

/// What is in the picture in place of the server's own.
const BOOT: &str = "c4e19a7d30b2f586";
const TIME: &str = "17:32";
/// The same time, in seconds since midnight.
const TIME_S: i64 = (17 * 60 + 32) * 60;
const DAY_S: i64 = 24 * 3600;

const ROWS: u16 = 17;
/// The server's first line fits.
const COLUMNS: u16 = 70;

/// Plays the scene with a server that is started for it.
pub fn play(program: &Path) -> Result<[Window; 2], String> {
    let server = Server::start_as(Command::new(program).env("TZ", zone()))?;
    let start = |shell| {
        let size = [COLUMNS, ROWS].map(|size| NonZeroU16::new(size).expect("it is not 0"));
        Terminal::start(server.address, size, shell)
    };
    let telnet = "$ telnet 127.0.0.1 8255\nTrying 127.0.0.1...\nConnected to 127.0.0.1.\n\
                  Escape character is '^]'.\n";
    let mut ann = start(telnet)?;
    ann.enter("TALK ann")?;
    ann.wait_for("nobody else is here", "")?;
    ann.enter("/edit")?;
    ann.wait_for("/edit off", "")?;
    let mut bob = start("$ nc 127.0.0.1 8255\n")?;
    bob.enter("TALK bob")?;
    bob.wait_for("-- ann came", "")?;
    ann.wait_for("-- bob came", "")?;
    ann.enter("hi bob, anyone for tea?")?;
    bob.wait_for("<ann> hi bob", "")?;
    bob.enter("yes please!")?;
    bob.enter("/me puts the kettle on")?;
    ann.wait_for("* bob puts the kettle on", "")?;
    // She is still typing when the script speaks.
    let unfinished = "lovely. do we have any bisc";
    ann.type_in(unfinished)?;
    let mut cron = server.connect()?;
    cron.ask("JOIN cron quiet=yes\n", "OK JOIN ")?;
    cron.ask("SAY The backup is done: 41 GB.\n", "OK SAY ")?;
    cron.expect("MSG ")?;
    cron.ask("QUIT\n", "OK QUIT")?;
    ann.wait_for("<cron> The backup is done: 41 GB.", unfinished)?;
    bob.wait_for("<cron> The backup is done: 41 GB.", "")?;
    bob.enter("/who")?;
    bob.wait_for("--   ann, bob", "")?;
    Ok([window("ann", &ann), window("bob", &bob)])
}

/// A time zone in which it is [`TIME`] now, so that the scene is never played at midnight. It is written
/// as POSIX has it: `XST4:30` is four and a half hours behind UTC.
fn zone() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server reads this clock, too"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_s = now.map_or(0, |now| now.as_secs()) as i64 % DAY_S;
    let behind_s = (now_s - TIME_S + DAY_S / 2).rem_euclid(DAY_S) - DAY_S / 2;
    let sign = if behind_s < 0 { "-" } else { "" };
    let behind_s = behind_s.abs();
    let (minutes, seconds) = (behind_s / 60, behind_s % 60);
    format!("XST{sign}{}:{:02}:{seconds:02}", minutes / 60, minutes % 60)
}

fn window(title: &'static str, terminal: &Terminal) -> Window {
    let rows = terminal.rows();
    Window {
        title,
        columns: terminal.columns(),
        rows: without_chance(rows),
        cursor: terminal.cursor(),
    }
}

/// Puts fixed values where the server's differ each time: the life of the server, and the time.
fn without_chance(mut rows: Vec<String>) -> Vec<String> {
    for row in &mut rows {
        let is_time = |row: &str| {
            let shape = row
                .get(..6)
                .map(|clock| clock.replace(|c: char| c.is_ascii_digit(), "0"));
            shape.as_deref() == Some("00:00 ")
        };
        if is_time(row) {
            row.replace_range(..TIME.len(), TIME);
        }
        if let Some(at) = row.find(" boot=") {
            let from = at + " boot=".len();
            row.replace_range(from..from + BOOT.len(), BOOT);
        }
    }
    rows
}
