//! `/edit` with real clients in a terminal: what the screen shows.
//!
//! A program that is not installed is skipped, with a line that names it; with CI in the
//! environment the test fails.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use crate::process::{Client, PATIENCE, Server, TempDir, Watch, has, has_netcat};
use crate::terminals::script;

const COLUMNS: u16 = 60;
const ROWS: u16 = 24;
const LEFT: &str = "\x1b[D";
const UP: &str = "\x1b[A";
const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const CTRL_E: &str = "\x05";
const CTRL_U: &str = "\x15";
const BACKSPACE: &str = "\x7f";

const EDITED: &str = "-- arrow keys, history and TAB work now; /edit off ends it";
const ASKING: &str = "-- asking your client; if nothing happens, it cannot do this";
const UNANSWERED: &str = "-- your client has not answered; it cannot do this";
const REFUSED_AGAIN: &str = "-- your client refuses; to edit again, connect again";
/// Letters whose bytes a client may take for keys of its own if it drops their eighth bit.
const LETTERS: &str = "Ü я “x” שלום ❤ 好的";
const REFUSED: &str = "-- your client edits the line itself; nothing has changed";

/// A program in a terminal of its own, and what the terminal shows.
struct Screen {
    program: Child,
    keys: ChildStdin,
    output: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    _dir: TempDir,
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

impl Screen {
    /// Starts a shell's command, with the server's port in place of PORT.
    fn start(command: &str, server: &Server) -> Screen {
        let dir = TempDir::new();
        let command = command.replace("PORT", server.port());
        let mut script = script(&dir, (ROWS, COLUMNS), &command);
        script.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut program = script.stderr(Stdio::null()).spawn().unwrap();
        let mut stream = program.stdout.take().unwrap();
        let (sender, output) = mpsc::channel();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(len @ 1..) = stream.read(&mut buffer) {
                if sender.send(buffer[..len].to_vec()).is_err() {
                    break;
                }
            }
        });
        let size = |size| NonZeroU16::new(size).unwrap();
        Screen {
            keys: program.stdin.take().unwrap(),
            program,
            output,
            parser: vt100::Parser::new(size(ROWS), size(COLUMNS), 0),
            _dir: dir,
        }
    }

    fn type_in(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
        self.keys.flush().unwrap();
    }

    /// The rows of the screen, without the empty ones at the end, and the place of the cursor.
    fn shown(&self) -> (Vec<String>, (u16, u16)) {
        let screen = self.parser.screen();
        let rows = screen.rows(0, COLUMNS);
        let mut rows: Vec<_> = rows.map(|row| row.trim_end().to_owned()).collect();
        let last = rows.iter().rposition(|row| !row.is_empty());
        rows.truncate(last.map_or(0, |last| last + 1));
        (rows, screen.cursor_position())
    }

    /// Waits until a row begins with a text.
    fn expect_row(&mut self, text: &str) {
        while !self.shown().0.iter().any(|row| row.starts_with(text)) {
            self.take(text);
        }
    }

    /// Takes what comes next while waiting for something.
    fn take(&mut self, awaited: &str) {
        let chunk = self.output.recv_timeout(PATIENCE);
        let chunk = chunk.unwrap_or_else(|error| {
            panic!("{error}: no {awaited} in {:#?}", self.shown());
        });
        self.parser.process(&chunk);
    }

    /// Waits until the last rows of the screen are these. Messages stand here without their times.
    fn expect(&mut self, expected: &[&str]) {
        self.wait(expected, None);
    }

    /// The same, with the cursor in this column of the last row.
    fn expect_at(&mut self, expected: &[&str], column: u16) {
        self.wait(expected, Some(column));
    }

    fn wait(&mut self, expected: &[&str], column: Option<u16>) {
        let watch = Watch::start();
        loop {
            let (rows, cursor) = self.shown();
            let last = &rows[rows.len().saturating_sub(expected.len())..];
            let is_same = |(row, expected): (&String, &&str)| {
                let timeless = row.get(6..).filter(|_| row.get(2..3) == Some(":"));
                timeless.unwrap_or(row) == *expected
            };
            let are_there = last.len() == expected.len() && last.iter().zip(expected).all(is_same);
            let place = column.map(|column| (rows.len() as u16 - 1, column));
            if are_there && place.is_none_or(|place| place == cursor) {
                return;
            }
            self.take(&format!("{expected:?} {place:?}"));
            assert!(!watch.is_over(), "no {expected:?} in {rows:#?} {cursor:?}");
        }
    }
}

fn has_script() -> bool {
    has("script", "command -v script")
}

/// Bob's connection, and Ann at a terminal in the same room.
fn meet(command: &str) -> (Server, Client, Screen) {
    let server = Server::start(&[]);
    let mut bob = server.join("bob alive=tcp");
    let mut ann = Screen::start(command, &server);
    ann.expect_row("HELLO ");
    ann.type_in("TALK ann history=0\r");
    ann.expect(&["-- you are ann in lobby; /help helps", "-- here: bob"]);
    bob.expect_event("JOINED", "ann");
    (server, bob, ann)
}

/// Goes on after "hell": mends the line with arrows while a message comes, and asks for it again.
fn expect_line_to_stay_whole(ann: &mut Screen, bob: &mut Client, row_before: &str) {
    ann.type_in(&format!("o wrld{}", LEFT.repeat(3)));
    ann.type_in("o");
    ann.expect_at(&[row_before, "hello world"], 8);
    bob.ask("SAY meanwhile", "OK SAY ");
    bob.expect_event("MSG", "bob meanwhile");
    ann.expect_at(&["<bob> meanwhile", "hello world"], 8);
    ann.type_in("\r");
    bob.expect_event("MSG", "ann hello world");
    ann.type_in(UP);
    ann.expect_at(&["hello world", "hello world"], 11);
}

/// Talks with a client that lets the server edit the line, once or again.
fn expect_editing(command: &str, is_again: bool) {
    let (_server, mut bob, mut ann) = meet(command);
    ann.type_in("/edit\r");
    ann.expect(&[EDITED]);
    ann.type_in(&format!("hellx{BACKSPACE}"));
    expect_line_to_stay_whole(&mut ann, &mut bob, EDITED);
    ann.type_in(&format!("{}bob\r", BACKSPACE.repeat(5)));
    bob.expect_event("MSG", "ann hello bob");
    // Ctrl-C drops the line.
    ann.type_in("never");
    ann.expect_at(&["hello bob", "never"], 5);
    ann.type_in(CTRL_C);
    ann.type_in("again\r");
    bob.expect_event("MSG", "ann again");
    ann.expect(&["never^C", "again"]);
    // Names.
    ann.type_in("b\t");
    ann.expect_at(&["again", "bob:"], 5);
    ann.type_in("ä 中\r");
    bob.expect_event("MSG", "ann bob: ä 中");
    ann.type_in(&format!("{LETTERS}\r"));
    bob.expect_event("MSG", &format!("ann {LETTERS}"));
    bob.ask(&format!("SAY {LETTERS}"), "OK SAY ");
    bob.expect_event("MSG", &format!("bob {LETTERS}"));
    let said = format!("<bob> {LETTERS}");
    ann.expect(&["bob: ä 中", LETTERS, &said]);
    // The server knows how wide the window is.
    let long = "0123456789".repeat(10);
    let (first, second) = long.split_at(COLUMNS.into());
    ann.type_in(&format!("{long}{}", LEFT.repeat(70)));
    bob.ask("SAY and again", "OK SAY ");
    bob.expect_event("MSG", "bob and again");
    ann.expect(&["<bob> and again", first, second]);
    ann.type_in(CTRL_E);
    ann.expect_at(&["<bob> and again", first, second], 40);
    ann.type_in(CTRL_U);
    ann.expect(&[LETTERS, &said, "<bob> and again"]);
    // Back to lines, and once more to keys.
    ann.type_in("/edit off\r");
    ann.expect(&["/edit off", "-- your client edits the line again"]);
    ann.type_in("plain\r");
    bob.expect_event("MSG", "ann plain");
    ann.type_in(&format!("{LETTERS}\r"));
    bob.expect_event("MSG", &format!("ann {LETTERS}"));
    ann.type_in("/edit\r");
    let quit = if is_again {
        ann.expect(&[EDITED]);
        ann.type_in(&format!("twce{LEFT}{LEFT}i\r"));
        CTRL_D
    } else {
        ann.expect(&[ASKING, REFUSED_AGAIN]);
        ann.type_in("twice\r");
        "/quit\r"
    };
    bob.expect_event("MSG", "ann twice");
    ann.type_in(quit);
    bob.expect_event("LEFT", "ann quit");
    ann.expect_row("-- goodbye");
}

#[test]
fn inetutils_telnet_edits() {
    if has_script() && has("inetutils-telnet", "telnet --version | grep -q inetutils") {
        expect_editing("telnet 127.0.0.1 PORT", true);
    }
}

/// Without BINARY, this client takes the second byte of this letter for Ctrl-\\, and sends a BREAK.
#[test]
fn a_letter_that_inetutils_telnet_breaks_makes_the_others_arrive() {
    if !(has_script() && has("inetutils-telnet", "telnet --version | grep -q inetutils")) {
        return;
    }
    let (_server, mut bob, mut ann) = meet("telnet 127.0.0.1 PORT");
    ann.type_in("Übung\r");
    // Whoever has seen this has got the question before it.
    ann.expect(&["Übung", "-- byte 1, 0xC3, is not UTF-8"]);
    for end in ["\r", "\n"] {
        ann.type_in(&format!("{LETTERS}{end}"));
        bob.expect_event("MSG", &format!("ann {LETTERS}"));
    }
    ann.type_in("/quit\r");
    bob.expect_event("LEFT", "ann quit");
    ann.expect_row("-- goodbye");
}

#[test]
fn telnetlib3_edits() {
    if has_script() && has("telnetlib3-client", "command -v telnetlib3-client") {
        expect_editing("telnetlib3-client 127.0.0.1 PORT", true);
    }
}

/// Once it has gone back to lines, it refuses to send keys until the connection ends.
#[test]
fn busybox_telnet_edits() {
    if has_script()
        && has(
            "busybox",
            "command -v busybox && busybox --list | grep -qx telnet",
        )
    {
        expect_editing("busybox telnet 127.0.0.1 PORT", false);
    }
}

#[test]
fn plink_edits() {
    if has_script() && has("plink", "command -v plink") {
        expect_editing("plink -telnet -P PORT 127.0.0.1", true);
    }
}

/// Talks with a client that edits the line itself, whatever the server offers.
fn expect_lines(command: &str, told: &[&str], told_again: &str) {
    let (_server, mut bob, mut ann) = meet(command);
    ann.type_in("hello\r");
    bob.expect_event("MSG", "ann hello");
    ann.type_in("/edit\r");
    ann.expect(told);
    ann.type_in("as before\r");
    bob.expect_event("MSG", "ann as before");
    bob.ask("SAY hello ann", "OK SAY ");
    bob.expect_event("MSG", "bob hello ann");
    ann.expect(&["as before", "<bob> hello ann"]);
    ann.type_in("/edit\r");
    ann.expect(&[told_again]);
    ann.type_in("/quit\r");
    bob.expect_event("LEFT", "ann quit");
    ann.expect_row("-- goodbye");
}

/// The server's bytes of telnet leave nothing on the screen.
#[test]
fn nothing_changes_with_netcat() {
    if has_script() && has_netcat() {
        expect_lines("nc 127.0.0.1 PORT", &["/edit", ASKING], UNANSWERED);
        // It says no to all that telnet offers.
        expect_lines("nc -t 127.0.0.1 PORT", &["/edit", ASKING, REFUSED], REFUSED);
    }
}

/// rlwrap edits the line with nc, and keeps it whole as the server does for telnet.
#[test]
fn rlwrap_keeps_the_line_whole_with_netcat() {
    if !(has_script() && has_netcat() && has("rlwrap", "command -v rlwrap")) {
        return;
    }
    let command = "rlwrap nc 127.0.0.1 PORT";
    expect_lines(command, &["/edit", ASKING], UNANSWERED);
    let (_server, mut bob, mut ann) = meet(command);
    ann.type_in("hell");
    expect_line_to_stay_whole(&mut ann, &mut bob, "-- here: bob");
}
