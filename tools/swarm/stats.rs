//! Asking the server for one of its figures, over a connection of its own.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the server has made clients wait because they sent too fast. None if it does not
/// tell, as one with keys does not tell strangers.
///
/// # Errors
///
/// If there is no server that can be talked to.
pub fn lines_throttled(address: SocketAddr) -> Result<Option<u64>, String> {
    let failed = |error: io::Error| {
        format!(
            "{address}: {error}; is the server there? start it with: chinwag --listen {address}"
        )
    };
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    let mut lines = BufReader::new(stream.try_clone().map_err(failed)?).lines();
    let mut next = || match lines.next() {
        Some(line) => line.map_err(failed),
        None => Err(format!("{address}: the server closed the connection")),
    };
    let hello = next()?;
    let is_ours = |word| word == "protocol=1";
    if !hello.starts_with("HELLO ") || !hello.split(' ').any(is_ours) {
        return Err(format!(
            "{address}: this is not a server of protocol version 1: {hello:?}"
        ));
    }
    stream.write_all(b"STATS\r\n").map_err(failed)?;
    let head = next()?;
    if head.starts_with("BYE ") {
        return Err(format!("{address}: the server says {head:?}"));
    }
    let Some(count) = head.strip_prefix("OK STATS ") else {
        return Ok(None);
    };
    let mut throttled = None;
    for _ in 0..count.trim().parse().unwrap_or(0) {
        let line = next()?;
        if let Some(value) = line.strip_prefix("STAT lines-throttled ") {
            throttled = value.trim().parse().ok();
        }
    }
    Ok(throttled)
}
