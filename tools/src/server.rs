//! A chinwag of our own.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

use crate::client::Client;

/// What the server logs when it is ready.
const LISTENING: &str = "listening on ";

/// A running server, killed when this is dropped.
pub struct Server {
    child: Child,
    pub address: SocketAddr,
    /// Kept open: the server logs to it.
    _log: BufReader<ChildStderr>,
}

impl Server {
    /// Starts a server on a port of its own, with these options.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn start(program: &Path, options: &[&str]) -> Result<Server, String> {
        Server::start_as(Command::new(program).args(options))
    }

    /// The same with what else the command has set.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn start_as(command: &mut Command) -> Result<Server, String> {
        let shown = command.get_program().to_string_lossy().into_owned();
        let spawned = command
            .args(["--listen", "127.0.0.1:0"])
            .env("RUST_LOG", "warn,chinwag::server=info")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = spawned.map_err(|error| {
            format!("{shown}: cannot be started: {error}; build it with: cargo build --release")
        })?;
        let mut log = BufReader::new(child.stderr.take().expect("it is piped"));
        match listening(&mut log) {
            Ok(address) => Ok(Server {
                child,
                address,
                _log: log,
            }),
            Err(seen) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(format!("{shown}: does not listen: {}", seen.trim_end()))
            }
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A connection that the server has greeted.
    ///
    /// # Errors
    ///
    /// A text for people.
    pub fn connect(&self) -> Result<Client, String> {
        Client::greeted(self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Reads the log up to where it tells the address; else all that it says.
fn listening(log: &mut impl BufRead) -> Result<SocketAddr, String> {
    let mut seen = String::new();
    let mut line = String::new();
    while log.read_line(&mut line).is_ok_and(|len| len > 0) {
        if let Some((_, address)) = line.split_once(LISTENING) {
            return address.trim().parse().map_err(|_| line.clone());
        }
        seen.push_str(&line);
        line.clear();
    }
    Err(seen)
}
