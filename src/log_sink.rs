//! Where the log goes: standard error, which never keeps the server waiting.
//!
//! Whoever reads standard error may stop reading, and the server goes on: a line that does not fit is
//! dropped and counted. Standard error is not made non-blocking itself, since a terminal and other
//! programs share that setting; what is written to is a description of the same file of our own, or
//! it is asked first whether there is space.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use socket2::SockRef;

/// The longest line, in bytes with its end: what a pipe takes whole if it takes anything (PIPE_BUF,
/// pipe(7)).
const LINE_BYTES_MAX: usize = 4096;

/// How to write without waiting.
enum Way {
    /// It never blocks, or for no longer than a disk takes.
    Write,
    /// A socket: it is told not to block with each write.
    Send,
    /// It may block: it is told not to with each write if the system can, as Linux 6.4 can with
    /// pipes. Otherwise it is asked first whether it has space, for each piece of that many bytes.
    /// That is as good, unless another program fills it between the two.
    AskFirst(usize),
}

/// How many lines nobody took.
#[derive(Clone, Debug, Default)]
pub struct Dropped(Arc<AtomicU64>);

impl Dropped {
    /// The number since the start.
    pub fn lines(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Takes whole lines, one at a write.
pub struct LogSink {
    file: File,
    way: Way,
    /// The rest of a line that was taken in part.
    rest: Vec<u8>,
    dropped: Dropped,
}

impl LogSink {
    /// A sink for standard error.
    ///
    /// # Errors
    ///
    /// When there are no descriptors left.
    pub fn stderr() -> io::Result<LogSink> {
        Self::of(io::stderr().as_fd().try_clone_to_owned()?)
    }

    fn of(descriptor: OwnedFd) -> io::Result<LogSink> {
        let shared = File::from(descriptor);
        let kind = shared.metadata()?.file_type();
        let (file, way) = if kind.is_socket() {
            (shared, Way::Send)
        } else if kind.is_fifo() || kind.is_char_device() {
            match reopen(&shared) {
                Ok(own) => (own, Way::Write),
                // It may be another user's, or there is no /proc.
                Err(_) if kind.is_fifo() => (shared, Way::AskFirst(LINE_BYTES_MAX)),
                // A terminal does not tell for how much it has space.
                Err(_) => (shared, Way::AskFirst(1)),
            }
        } else {
            (shared, Way::Write)
        };
        Ok(LogSink {
            file,
            way,
            rest: Vec::new(),
            dropped: Dropped::default(),
        })
    }

    /// How many lines it has dropped, to be asked at any time.
    pub fn dropped(&self) -> Dropped {
        self.dropped.clone()
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.way {
            Way::Write => (&self.file).write(bytes),
            Way::Send => {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                SockRef::from(&self.file).send_with_flags(bytes, flags)
            }
            Way::AskFirst(bytes_max) => match write_without_waiting(&self.file, bytes) {
                Some(result) => result,
                None if has_space(&self.file) => {
                    (&self.file).write(&bytes[..bytes.len().min(bytes_max)])
                }
                None => Err(ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Writes as much as is taken, and tells how much that is.
    fn write_some(&self, bytes: &[u8]) -> usize {
        let mut sum = 0;
        while sum < bytes.len() {
            match self.try_write(&bytes[sum..]) {
                Ok(taken) if taken > 0 => sum += taken,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        sum
    }

    /// Writes a line behind what is left of the one before; false if nothing of it was taken. What
    /// is left of it then comes before the next.
    fn write_line(&mut self, line: &[u8]) -> bool {
        let taken = self.write_some(&self.rest);
        self.rest.drain(..taken);
        if !self.rest.is_empty() {
            return false;
        }
        let taken = self.write_some(line);
        self.rest = match taken {
            0 => Vec::new(),
            _ => line[taken..].to_vec(),
        };
        taken > 0
    }
}

impl Write for LogSink {
    /// Takes a line, or drops it; there is no error that anybody could be told of.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let was_taken = match line.len() > LINE_BYTES_MAX {
            false => self.write_line(line),
            true => self.write_line(&[&line[..LINE_BYTES_MAX - 1], b"\n"].concat()),
        };
        if !was_taken {
            self.dropped.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the same pipe or terminal again, for a description of our own that does not block.
fn reopen(shared: &File) -> io::Result<File> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", shared.as_raw_fd());
    let mut options = OpenOptions::new();
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    let own = options.write(true).custom_flags(flags).open(path)?;
    let identity = |file: &File| file.metadata().map(|m| (m.dev(), m.ino(), m.rdev()));
    match identity(&own)? == identity(shared)? {
        true => Ok(own),
        false => Err(ErrorKind::NotFound.into()),
    }
}

/// Writes what a file takes at once; none if the system cannot tell it not to wait.
fn write_without_waiting(file: &File, bytes: &[u8]) -> Option<io::Result<usize>> {
    // Where the file stands, if it has such a place.
    const HERE: u64 = u64::MAX;
    match pwritev2(file, &[IoSlice::new(bytes)], HERE, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

/// Whether a pipe or terminal takes something at once. A pipe that says so takes a whole line.
fn has_space(file: &File) -> bool {
    let mut asked = [PollFd::new(file, PollFlags::OUT)];
    let now = Timespec::default();
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}

/// Whether standard error leads to systemd's journal, which reads priorities and has its own clock:
/// JOURNAL_STREAM, see systemd.exec(5).
pub fn is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let identity = || {
        let file = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        let found = file.metadata()?;
        io::Result::Ok(format!("{}:{}", found.dev(), found.ino()))
    };
    identity().is_ok_and(|found| stream.to_str() == Some(&found))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::thread;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    fn sink(descriptor: OwnedFd, way: Way) -> LogSink {
        LogSink {
            file: descriptor.into(),
            way,
            rest: Vec::new(),
            dropped: Dropped::default(),
        }
    }

    fn line(n: usize) -> String {
        format!("{n} {}\n", "x".repeat(100))
    }

    /// Has a sink drop lines that nobody reads, and then take one once they are read; gives all that
    /// was read.
    fn fill_and_read(mut sink: LogSink, mut reader: impl Read + Send + 'static) -> String {
        let dropped = sink.dropped();
        let mut n = 0;
        while dropped.lines() < 3 {
            sink.write_all(line(n).as_bytes()).unwrap();
            n += 1;
            assert!(n < 100_000);
        }
        let reader = thread::spawn(move || {
            let mut seen = Vec::new();
            let mut chunk = [0; 1024];
            while !seen.ends_with(b"the last\n") && !seen.ends_with(b"the last\r\n") {
                let len = reader.read(&mut chunk).unwrap();
                seen.extend_from_slice(&chunk[..len]);
            }
            String::from_utf8(seen).unwrap()
        });
        // As the loop does, though not as soon as there is space.
        while !sink.write_line(b"the last\n") {
            thread::yield_now();
        }
        while !sink.rest.is_empty() {
            let taken = sink.write_some(&sink.rest);
            sink.rest.drain(..taken);
        }
        reader.join().unwrap()
    }

    fn expect_whole_lines(seen: &str) {
        let lines: Vec<_> = seen.lines().collect();
        assert!(lines.len() > 10, "{lines:?}");
        for (n, text) in lines[..lines.len() - 1].iter().enumerate() {
            assert_eq!(*text, line(n).trim_end());
        }
    }

    #[test]
    fn a_pipe_of_others_that_is_full_is_not_waited_for() {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // What cat writes, which nobody reads at first, and what it has not read then.
        let pipe = OwnedFd::from(cat.stdin.take().unwrap());
        let reader = cat.stdout.take().unwrap();
        let seen = fill_and_read(sink(pipe, Way::AskFirst(LINE_BYTES_MAX)), reader);
        expect_whole_lines(&seen);
        cat.wait().unwrap();
    }

    #[test]
    fn a_terminal_of_others_that_is_full_is_not_waited_for() {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let mut options = OpenOptions::new();
        options.write(true).custom_flags(libc::O_NOCTTY);
        let terminal = options.open(name.to_str().unwrap()).unwrap();
        let seen = fill_and_read(sink(terminal.into(), Way::AskFirst(1)), File::from(master));
        expect_whole_lines(&seen);
    }

    #[test]
    fn a_line_that_is_too_long_loses_its_end_and_stays_a_line() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut sink = LogSink::of(writer.into()).unwrap();
        let line = [&[b'x'; LINE_BYTES_MAX][..], b"\n"].concat();
        assert_eq!(sink.write(&line).unwrap(), line.len());
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x".repeat(LINE_BYTES_MAX - 1) + "\n");
    }
}
