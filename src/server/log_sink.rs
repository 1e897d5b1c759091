//! Where the log goes: standard error, which never keeps the server waiting.
//!
//! The program at the other end may stop reading, and the server goes on: a line for which there is
//! no space is dropped and counted. Standard error itself is not made non-blocking, since a terminal
//! and other programs share that setting. The sink opens the same file again for itself, or asks
//! before each write whether there is space.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, IoSlice, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use socket2::SockRef;

/// The longest line, in bytes with its end: what a pipe that has space takes whole (PIPE_BUF in
/// pipe(7)).
const LINE_BYTES_MAX: usize = 4096;

/// How to write to a file without waiting.
enum WriteMode {
    /// As it is: the file never blocks, or for no longer than a disk takes.
    Plain,
    /// To a socket, with a flag on each write.
    Socket,
    /// To a file that may block, with a flag on each write if the system has one, as Linux 6.4 has
    /// for pipes. Otherwise the sink asks whether there is space, and writes at most `piece_bytes`.
    /// That is as good, unless another program fills the file in between.
    AskFirst {
        /// How much the file takes at least when it says that it has space.
        piece_bytes: usize,
    },
}

/// A pipe that has space takes a whole line.
const PIPE: WriteMode = WriteMode::AskFirst {
    piece_bytes: LINE_BYTES_MAX,
};
/// A terminal does not say how much space it has.
const TERMINAL: WriteMode = WriteMode::AskFirst { piece_bytes: 1 };

/// Counts the lines that were dropped.
#[derive(Clone, Debug, Default)]
pub struct DroppedLines(Arc<AtomicU64>);

impl DroppedLines {
    /// How many there were since the start.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Counts one more.
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Takes whole lines, one with each write.
pub struct LogSink {
    file: File,
    mode: WriteMode,
    /// The rest of a line that the file took in part.
    rest: Vec<u8>,
    dropped: DroppedLines,
}

impl LogSink {
    /// A sink for standard error.
    ///
    /// # Errors
    ///
    /// When the system is out of descriptors.
    pub fn stderr() -> io::Result<LogSink> {
        Self::of(io::stderr().as_fd().try_clone_to_owned()?)
    }

    fn of(descriptor: OwnedFd) -> io::Result<LogSink> {
        let shared = File::from(descriptor);
        let kind = shared.metadata()?.file_type();
        let (file, mode) = if kind.is_socket() {
            (shared, WriteMode::Socket)
        } else if kind.is_fifo() || kind.is_char_device() {
            match reopen(&shared) {
                Ok(own) => (own, WriteMode::Plain),
                // It may belong to another user, or there is no /proc.
                Err(_) if kind.is_fifo() => (shared, PIPE),
                Err(_) => (shared, TERMINAL),
            }
        } else {
            (shared, WriteMode::Plain)
        };
        Ok(LogSink {
            file,
            mode,
            rest: Vec::new(),
            dropped: DroppedLines::default(),
        })
    }

    /// The count of lines that it drops, which goes on counting.
    pub fn dropped(&self) -> DroppedLines {
        self.dropped.clone()
    }

    fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self.mode {
            WriteMode::Plain => (&self.file).write(bytes),
            WriteMode::Socket => {
                let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
                SockRef::from(&self.file).send_with_flags(bytes, flags)
            }
            WriteMode::AskFirst { piece_bytes } => match write_without_waiting(&self.file, bytes) {
                Some(result) => result,
                None if has_space(&self.file) => {
                    (&self.file).write(&bytes[..bytes.len().min(piece_bytes)])
                }
                None => Err(ErrorKind::WouldBlock.into()),
            },
        }
    }

    /// Writes as much as the file takes. Returns how much that is.
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

    /// Writes the rest of the previous line, and then a line. Returns whether the file took any of
    /// it; the rest of it comes before the next line.
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
    /// Takes a line, or drops and counts it. It never fails, since an error could not be logged.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let was_taken = match line.len() > LINE_BYTES_MAX {
            false => self.write_line(line),
            true => self.write_line(&[&line[..LINE_BYTES_MAX - 1], b"\n"].concat()),
        };
        if !was_taken {
            self.dropped.add();
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens the same pipe or terminal again: its own open file does not block.
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

/// Writes what a file takes at once. Returns `None` if the system has no flag for that.
fn write_without_waiting(file: &File, bytes: &[u8]) -> Option<io::Result<usize>> {
    // At the current position, if the file has one.
    const HERE: u64 = u64::MAX;
    match pwritev2(file, &[IoSlice::new(bytes)], HERE, ReadWriteFlags::NOWAIT) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::SPIPE) => None,
        result => Some(result.map_err(io::Error::from)),
    }
}

/// Whether a pipe or terminal has space now.
fn has_space(file: &File) -> bool {
    let mut asked = [PollFd::new(file, PollFlags::OUT)];
    let now = Timespec::default();
    poll(&mut asked, Some(&now)).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::thread;

    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

    use super::*;

    fn sink(descriptor: OwnedFd, mode: WriteMode) -> LogSink {
        LogSink {
            file: descriptor.into(),
            mode,
            rest: Vec::new(),
            dropped: DroppedLines::default(),
        }
    }

    fn line(n: usize) -> String {
        format!("{n} {}\n", "x".repeat(100))
    }

    /// Writes lines until the sink drops some, then lets a thread read them, and writes one more.
    /// Checks that all the others were read.
    fn expect_whole_lines(mut sink: LogSink, mut reader: impl Read + Send + 'static) {
        let dropped = sink.dropped();
        let mut taken = String::new();
        for n in 0.. {
            assert!(n < 100_000);
            let before = dropped.count();
            sink.write_all(line(n).as_bytes()).unwrap();
            match dropped.count() {
                3 => break,
                // A slow reader may have made space after lines were dropped.
                count if count == before => taken += &line(n),
                _ => {}
            }
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
        // The server tries again as well, though not at once.
        while !sink.write_line(b"the last\n") {
            thread::yield_now();
        }
        while !sink.rest.is_empty() {
            let taken = sink.write_some(&sink.rest);
            sink.rest.drain(..taken);
        }
        let seen = reader.join().unwrap().replace("\r\n", "\n");
        assert!(taken.lines().count() > 10, "{taken}");
        assert_eq!(seen, taken + "the last\n");
    }

    #[test]
    fn a_pipe_of_others_that_is_full_is_not_waited_for() {
        let mut cat = Command::new("cat")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // At first nobody reads what cat writes, and soon cat does not read any more.
        let pipe = OwnedFd::from(cat.stdin.take().unwrap());
        let reader = cat.stdout.take().unwrap();
        expect_whole_lines(sink(pipe, PIPE), reader);
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
        expect_whole_lines(sink(terminal.into(), TERMINAL), File::from(master));
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
