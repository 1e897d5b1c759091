//! What the system knows about a server's process: numbers from `/proc`.
//!
//! Numbers of threads are added up, so a server may have several. Errors are texts for people.

use std::fs;

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

    /// The time that it has been on a CPU, in nanoseconds, the system's work on its behalf included.
    /// Of a thread that is running, up to a timer's tick may be missing.
    pub fn cpu_ns(&self) -> Result<u64, String> {
        self.sum_over_threads("schedstat", |text| {
            text.split_whitespace().next()?.parse().ok()
        })
    }

    /// Its resident memory in KiB, shared pages included.
    pub fn resident_kib(&self) -> Result<u64, String> {
        // Counted page by page; what status says may be off by some hundred KiB.
        let path = format!("/proc/{}/smaps_rollup", self.pid);
        field(&read(&path)?, "Rss:").ok_or_else(|| strange(&path))
    }

    fn sum_over_threads(
        &self,
        file: &str,
        number: impl Fn(&str) -> Option<u64>,
    ) -> Result<u64, String> {
        let tasks = format!("/proc/{}/task", self.pid);
        let threads =
            fs::read_dir(&tasks).map_err(|error| format!("cannot read {tasks}: {error}"))?;
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

fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| {
        format!("cannot read {path}: {error}; is the server alive, and this user's?")
    })
}

fn strange(path: &str) -> String {
    format!("{path} does not have the number that is looked for; is this Linux 4.14 or later?")
}

/// The first word behind `name` where that begins a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}
