//! What the system knows about TCP as a whole: numbers from `/proc`. Errors are texts for people.

use tools::process::read;

/// The memory of all TCP sockets' buffers, in bytes.
pub fn tcp_memory_bytes() -> Result<u64, String> {
    let path = "/proc/net/sockstat";
    let text = read(path)?;
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"));
    let mut words = line.unwrap_or("").split_whitespace();
    let pages = words
        .find(|&word| word == "mem")
        .and_then(|_| words.next()?.parse::<u64>().ok())
        .ok_or_else(|| strange(path))?;
    Ok(pages * rustix::param::page_size() as u64)
}

/// Connections that a listener's queue had no space for, those that were dropped for any reason, and
/// requests for one that were dropped because the queue of them was full: on the whole machine since
/// it started.
pub fn queue_losses() -> Result<[u64; 3], String> {
    let path = "/proc/net/netstat";
    let text = read(path)?;
    let counter = |name| counter(&text, "TcpExt:", name).ok_or_else(|| strange(path));
    Ok([
        counter("ListenOverflows")?,
        counter("ListenDrops")?,
        counter("TCPReqQFullDrop")?,
    ])
}

fn strange(path: &str) -> String {
    format!("{path} does not have the number that is looked for; is this Linux 4.14 or later?")
}

/// The number below `name`, from two lines that begin with `group`.
fn counter(text: &str, group: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.strip_prefix(group));
    let at = lines
        .next()?
        .split_whitespace()
        .position(|word| word == name)?;
    lines.next()?.split_whitespace().nth(at)?.parse().ok()
}
