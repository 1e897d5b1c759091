//! What the system says of a process: its processor time and its memory.

use std::fs;

/// A running process.
pub struct Process {
    pid: u32,
    has_schedstat: bool,
}

/// Memory, in KiB.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    pub resident_kib: u64,
    pub peak_kib: u64,
}

impl Process {
    /// The process of that number.
    pub fn find(pid: u32) -> Result<Process, String> {
        let process = Process {
            pid,
            has_schedstat: fs::read(format!("/proc/{pid}/schedstat")).is_ok(),
        };
        process.memory().map_err(|error| {
            format!(
                "--pid {pid}: {error}; give the number of the server's process, on this machine"
            )
        })?;
        Ok(process)
    }

    /// This process.
    pub fn own() -> Result<Process, String> {
        Process::find(std::process::id())
    }

    /// Processor time so far, in nanoseconds. Where the system does not count them, it is known
    /// to the system's tick, mostly 10 ms.
    pub fn cpu_ns(&self) -> Result<u64, String> {
        if self.has_schedstat {
            let text = self.read("schedstat")?;
            let first = text.split_whitespace().next();
            return first
                .and_then(|ns| ns.parse().ok())
                .ok_or_else(|| format!("/proc/{}/schedstat: {text:?}", self.pid));
        }
        let text = self.read("stat")?;
        // The name, which may hold spaces, ends with the last parenthesis.
        let fields = text.rsplit_once(')').map_or("", |(_, fields)| fields);
        let times: Option<Vec<u64>> = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse().ok())
            .collect();
        let ticks: u64 = times
            .filter(|times| times.len() == 2)
            .ok_or_else(|| format!("/proc/{}/stat: {text:?}", self.pid))?
            .iter()
            .sum();
        Ok(ticks * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
    }

    /// Memory that is resident now, and the most that ever was.
    pub fn memory(&self) -> Result<Memory, String> {
        let text = self.read("status")?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let kib = value.and_then(|value| value.split_whitespace().next());
            kib.and_then(|kib| kib.parse().ok())
                .ok_or_else(|| format!("/proc/{}/status has no {name}", self.pid))
        };
        Ok(Memory {
            resident_kib: field("VmRSS:")?,
            peak_kib: field("VmHWM:")?,
        })
    }

    fn read(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.pid);
        fs::read_to_string(&path).map_err(|error| format!("cannot read {path}: {error}"))
    }
}
