//! What the system says about a process, as numbers from `/proc`. Errors are texts for people.

use std::{fs, hint};

use crate::clock::Clock;

/// How long a process may be busy before nobody waits for it to rest any more.
const PATIENCE_S: u64 = 60;

/// A running process.
pub struct Process {
    pid: u32,
}

impl Process {
    /// The process of that number.
    ///
    /// # Errors
    ///
    /// If there is none.
    pub fn find(pid: u32) -> Result<Process, String> {
        let process = Process { pid };
        match process.peak_kib() {
            Ok(_) => Ok(process),
            Err(error) => Err(format!(
                "--pid {pid}: {error}; give the number of the server's process, on this machine"
            )),
        }
    }

    /// This process.
    pub fn own() -> Process {
        Process {
            pid: std::process::id(),
        }
    }

    /// The processor time of all threads so far, in nanoseconds, with what the system did for them.
    /// Where the system does not count nanoseconds, it counts ticks of mostly 10 ms.
    pub fn cpu_ns(&self) -> Result<u64, String> {
        if let Ok(ns) = self.of_threads("schedstat", |text| word(text, 0)) {
            return Ok(ns);
        }
        let stat = self.read("stat")?;
        let times = fields_of_stat(&stat).and_then(|rest| Some((word(rest, 11)?, word(rest, 12)?)));
        let (user, system) = times.ok_or_else(|| self.strange("stat"))?;
        Ok((user + system) * (1_000_000_000 / rustix::param::clock_ticks_per_second()))
    }

    /// How long its threads have waited for others to leave a processor, in nanoseconds.
    pub fn queued_ns(&self) -> Result<u64, String> {
        self.of_threads("schedstat", |text| word(text, 1))
    }

    /// How many times its threads have gone to sleep, and so have been woken.
    pub fn wakeups(&self) -> Result<u64, String> {
        self.of_threads("status", |text| field(text, "voluntary_ctxt_switches:"))
    }

    /// Resident memory in KiB, shared pages included: counted page by page if the process is this
    /// user's. What the system tells everybody may be off by some hundred KiB.
    pub fn resident_kib(&self) -> Result<u64, String> {
        match self.read("smaps_rollup") {
            Ok(text) => field(&text, "Rss:").ok_or_else(|| self.strange("smaps_rollup")),
            Err(_) => self.field_of_status("VmRSS:"),
        }
    }

    /// The most resident memory, in KiB, since the start or [`reset_peak`](Self::reset_peak).
    pub fn peak_kib(&self) -> Result<u64, String> {
        self.field_of_status("VmHWM:")
    }

    /// Makes the system forget the peak of the past.
    pub fn reset_peak(&self) -> Result<(), String> {
        let path = self.path("clear_refs");
        fs::write(&path, "5").map_err(|error| format!("cannot write {path}: {error}"))
    }

    /// Waits until the process sleeps: it has done all that there was to do.
    pub fn await_rest(&self) -> Result<(), String> {
        let clock = Clock::start();
        loop {
            let stat = self.read("stat")?;
            match fields_of_stat(&stat).and_then(|rest| rest.bytes().next()) {
                Some(b'S') => return Ok(()),
                Some(b'Z' | b'X') | None => return Err("the server has ended".into()),
                _ if clock.elapsed().as_secs() > PATIENCE_S => {
                    return Err("the server is never idle".into());
                }
                _ => hint::spin_loop(),
            }
        }
    }

    fn of_threads(&self, file: &str, number: impl Fn(&str) -> Option<u64>) -> Result<u64, String> {
        let tasks = self.path("task");
        let threads = fs::read_dir(&tasks);
        let threads = threads.map_err(|error| format!("cannot read {tasks}: {error}"))?;
        // A thread may have ended since it was listed.
        let texts = threads
            .flatten()
            .flat_map(|thread| fs::read_to_string(thread.path().join(file)));
        let numbers = texts.map(|text| number(&text)).collect::<Option<Vec<_>>>();
        match numbers {
            Some(numbers) if !numbers.is_empty() => Ok(numbers.iter().sum()),
            _ => Err(self.strange(file)),
        }
    }

    fn field_of_status(&self, name: &str) -> Result<u64, String> {
        field(&self.read("status")?, name).ok_or_else(|| self.strange("status"))
    }

    fn path(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.pid)
    }

    fn read(&self, file: &str) -> Result<String, String> {
        read(&self.path(file))
    }

    fn strange(&self, file: &str) -> String {
        format!("{} does not have the expected number", self.path(file))
    }
}

/// The text of a file.
pub fn read(path: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {path}: {error}"))
}

/// The first number behind `name`, where that begins a line.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| word(line.strip_prefix(name)?, 0))
}

fn word(text: &str, place: usize) -> Option<u64> {
    text.split_whitespace().nth(place)?.parse().ok()
}

/// What follows the name, which may hold spaces and ends with the last parenthesis.
fn fields_of_stat(stat: &str) -> Option<&str> {
    stat.rsplit_once(") ").map(|(_, fields)| fields)
}
