//! What the system knows about a server's process, and about TCP as a whole: numbers from `/proc`.
//!
//! Numbers of threads are added up, so a server may have several. Errors are texts for people.

use std::{fs, io};

/// The process of the server.
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of that number.
    ///
    /// # Errors
    ///
    /// If there is none, or it is not this user's.
    pub fn new(pid: u32) -> Result<Process, String> {
        let process = Process { pid };
        process.cpu_ns()?;
        process.resident_kib()?;
        Ok(process)
    }

    /// The time that it has been on a CPU, in nanoseconds, the system's work on its behalf
    /// included. Of a thread that is running, up to a timer's tick may be missing.
    pub fn cpu_ns(&self) -> Result<u64, String> {
        self.sum_over_threads("schedstat", |text| {
            text.split_whitespace().next()?.parse().ok()
        })
    }

    /// How often it has gone to sleep of its own accord, which is how often it was woken up.
    pub fn wakeups(&self) -> Result<u64, String> {
        self.sum_over_threads("status", |text| field(text, "voluntary_ctxt_switches:"))
    }

    /// Its resident memory in KiB, shared pages included.
    pub fn resident_kib(&self) -> Result<u64, String> {
        // Counted page by page; what status says may be off by some hundred KiB.
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        field(&read(&path)?, "Rss:").ok_or_else(|| strange(&path))
    }

    /// The most resident memory, in KiB, since [`reset_peak`](Self::reset_peak).
    pub fn peak_kib(&self) -> Result<u64, String> {
        let path = format!("/proc/{}/status", self.pid);
        field(&read(&path)?, "VmHWM:").ok_or_else(|| strange(&path))
    }

    /// Has the system look for the peak anew.
    pub fn reset_peak(&self) -> Result<(), String> {
        let path = format!("/proc/{}/clear_refs", self.pid);
        fs::write(&path, "5").map_err(|error| format!("cannot write {path}: {error}"))
    }

    fn sum_over_threads(
        &self,
        file: &str,
        number: impl Fn(&str) -> Option<u64>,
    ) -> Result<u64, String> {
        let tasks = format!("/proc/{}/task", self.pid);
        let threads = fs::read_dir(&tasks).map_err(|error| unreadable(&tasks, &error))?;
        let mut sum = 0;
        for thread in threads.flatten() {
            let path = thread.path().join(file);
            // A thread may have ended since it was listed.
            if let Ok(text) = fs::read_to_string(&path) {
                sum += number(&text).ok_or_else(|| strange(&path.to_string_lossy()))?;
            }
        }
        Ok(sum)
    }
}

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
    let path = "/proc/self/smaps";
    let page_kib = field(&read(path)?, "KernelPageSize:").ok_or_else(|| strange(path))?;
    Ok(pages * page_kib * 1024)
}

/// Connections that a listener's queue had no room for, on the whole machine since it started.
#[derive(Clone, Copy)]
pub struct QueueLosses {
    pub overflows: u64,
    pub drops: u64,
    /// Requests for a connection that were dropped because the queue of them was full.
    pub syn_drops: u64,
}

impl QueueLosses {
    /// Reads the counters.
    pub fn read() -> Result<QueueLosses, String> {
        let path = "/proc/net/netstat";
        let text = read(path)?;
        let counter = |name| counter(&text, "TcpExt:", name).ok_or_else(|| strange(path));
        Ok(QueueLosses {
            overflows: counter("ListenOverflows")?,
            drops: counter("ListenDrops")?,
            syn_drops: counter("TCPReqQFullDrop")?,
        })
    }

    /// What has been counted since `before`.
    pub fn since(self, before: QueueLosses) -> QueueLosses {
        QueueLosses {
            overflows: self.overflows - before.overflows,
            drops: self.drops - before.drops,
            syn_drops: self.syn_drops - before.syn_drops,
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| unreadable(path, &error))
}

fn unreadable(path: &str, error: &io::Error) -> String {
    format!("cannot read {path}: {error}; is the server alive, and this user's?")
}

fn strange(path: &str) -> String {
    format!("{path} does not have the number that is looked for; is this Linux 4.14 or later?")
}

/// The first word behind `name` where that begins a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
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
