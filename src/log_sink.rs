//! Where the log goes: standard error, which never keeps the server waiting.
//!
//! Whoever reads standard error may stop reading, and the server goes on: a line that does not fit is
//! dropped and counted. Standard error is not made non-blocking itself, since a terminal and other
//! programs share that setting; what is written to is a description of the same file of our own, or
//! it is asked first whether there is space.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
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
    /// It may block, unless it has space: that is asked first, for each piece of that many bytes.
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
            Way::AskFirst(bytes_max) if has_space(&self.file) => {
                (&self.file).write(&bytes[..bytes.len().min(bytes_max)])
            }
            Way::AskFirst(_) => Err(ErrorKind::WouldBlock.into()),
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
