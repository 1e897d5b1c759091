//! A person's terminal, with a telnet or a netcat in it. Errors are texts for people.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::num::NonZeroU16;

use tools::client::PATIENCE;

// RFC 854, RFC 857, RFC 858, RFC 1073.
const IAC: u8 = 255;
const DO: u8 = 253;
const WILL: u8 = 251;
const SB: u8 = 250;
const SE: u8 = 240;
const BINARY: u8 = 0;
const ECHO: u8 = 1;
const SUPPRESS_GO_AHEAD: u8 = 3;
const WINDOW_SIZE: u8 = 31;

/// A terminal whose client is connected.
pub struct Terminal {
    stream: TcpStream,
    screen: vt100::Parser,
    /// The telnet command that has begun.
    command: Vec<u8>,
    /// The server shows what is typed.
    echoes: bool,
}

impl Terminal {
    /// Runs a client as a shell shows it: what was typed there, and what the client says itself.
    pub fn start(
        server: SocketAddr,
        [columns, rows]: [NonZeroU16; 2],
        shell: &str,
    ) -> Result<Terminal, String> {
        let connected = TcpStream::connect(server).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            Ok(stream)
        });
        let stream = connected.map_err(|error| format!("{server}: cannot connect: {error}"))?;
        let mut screen = vt100::Parser::new(rows, columns, 0);
        screen.process(shell.replace('\n', "\r\n").as_bytes());
        let mut terminal = Terminal {
            stream,
            screen,
            command: Vec::new(),
            echoes: false,
        };
        terminal.wait_for("HELLO ", " max-message=")?;
        Ok(terminal)
    }

    /// Types text without Return, and waits until it is there.
    pub fn type_in(&mut self, text: &str) -> Result<(), String> {
        if self.echoes {
            self.send(text.as_bytes())?;
            return self.wait_for(text, "");
        }
        self.screen.process(text.as_bytes());
        self.send(text.as_bytes())
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> Result<(), String> {
        self.type_in(line)?;
        if !self.echoes {
            self.screen.process(b"\r\n");
        }
        self.send(b"\r\n")
    }

    /// Waits until the screen shows a text and, as the last thing, another.
    pub fn wait_for(&mut self, text: &str, last: &str) -> Result<(), String> {
        let mut bytes = [0; 4096];
        while !self.shows(text, last) {
            let read = self.stream.read(&mut bytes);
            let seen = || self.screen.screen().contents();
            match read {
                Ok(0) => return Err(format!("the server closed a connection:\n{}", seen())),
                Ok(len) => self.receive(&bytes[..len])?,
                Err(error) => return Err(format!("no {text:?}: {error}:\n{}", seen())),
            }
        }
        Ok(())
    }

    fn shows(&self, text: &str, last: &str) -> bool {
        // Where a line goes on in the next row does not matter.
        let seen = self.screen.screen().contents().replace('\n', "");
        let end = match last.strip_suffix('=') {
            // A number that the server may choose comes behind it.
            Some(_) => seen.trim_end_matches(|c: char| c.is_ascii_digit()),
            None => &seen,
        };
        seen.contains(text) && end.ends_with(last)
    }

    fn receive(&mut self, bytes: &[u8]) -> Result<(), String> {
        for &byte in bytes {
            match self.command[..] {
                [] if byte == IAC => self.command.push(byte),
                [] => self.screen.process(&[byte]),
                [IAC] => self.command.push(byte),
                [IAC, verb] => {
                    self.command.clear();
                    self.agree(verb, byte)?;
                }
                _ => unreachable!("a command is at most three bytes here"),
            }
        }
        Ok(())
    }

    /// Agrees to what the server offers and asks for when it is to edit the line.
    fn agree(&mut self, verb: u8, option: u8) -> Result<(), String> {
        match (verb, option) {
            (WILL, ECHO | SUPPRESS_GO_AHEAD) => {
                self.echoes |= option == ECHO;
                self.send(&[IAC, DO, option])
            }
            (DO, BINARY) => self.send(&[IAC, WILL, option]),
            (DO, WINDOW_SIZE) => {
                let (rows, columns) = self.screen.screen().size();
                let [columns, rows] = [columns, rows].map(|size| size.get().to_be_bytes());
                self.send(&[IAC, WILL, option])?;
                self.send(&[IAC, SB, option])?;
                self.send(&[columns, rows].concat())?;
                self.send(&[IAC, SE])
            }
            _ => Err(format!("the server asks for telnet's option {option}")),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        let sent = self.stream.write_all(bytes);
        sent.map_err(|error| format!("cannot send to the server: {error}"))
    }

    pub fn columns(&self) -> u16 {
        self.screen.screen().size().1.get()
    }

    /// The rows that it shows.
    pub fn rows(&self) -> Vec<String> {
        self.screen.screen().rows(0, self.columns()).collect()
    }

    /// Where the cursor is, as column and row.
    pub fn cursor(&self) -> [u16; 2] {
        let (row, column) = self.screen.screen().cursor_position();
        [column, row]
    }
}
