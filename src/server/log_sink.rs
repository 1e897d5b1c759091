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
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags, pwritev2};
use socket2::SockRef;

use crate::state::{Fields, Part, Writer, saved};

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

/// How far the log has got. The next program goes on with it after an upgrade.
#[derive(Clone, Debug, Default)]
pub struct LogState(Arc<Mutex<Written>>);

#[derive(Debug, Default)]
struct Written {
    /// How many lines were dropped.
    dropped: u64,
    /// The rest of a line that the file took in part.
    rest: Vec<u8>,
}

saved!(struct Written { dropped, rest });

impl LogState {
    /// How many lines were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.written().dropped
    }

    /// Counts one more.
    pub fn add_dropped(&self) {
        self.written().dropped += 1;
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part for LogState {
    fn save(&self, out: &mut Writer<'_>) {
        self.written().save(out);
    }

    fn load(from: &mut Fields<'_>) -> Self {
        LogState(Arc::new(Mutex::new(Part::load(from))))
    }
}

/// Takes whole lines, one with each write.
pub struct LogSink {
    file: File,
    mode: WriteMode,
    state: LogState,
}

impl LogSink {
    /// A sink for standard error, which goes on with a state and changes it.
    ///
    /// # Errors
    ///
    /// When the system is out of descriptors.
    pub fn stderr(state: LogState) -> io::Result<LogSink> {
        Self::of(io::stderr().as_fd().try_clone_to_owned()?, state)
    }

    fn of(descriptor: OwnedFd, state: LogState) -> io::Result<LogSink> {
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
        Ok(LogSink { file, mode, state })
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

    /// Writes the rest of the previous line. Returns whether the file took all of it.
    fn write_rest(&self) -> bool {
        let mut written = self.state.written();
        let taken = self.write_some(&written.rest);
        written.rest.drain(..taken);
        written.rest.is_empty()
    }

    /// Writes the rest of the previous line, and then a line. Returns whether the file took any of
    /// it; the rest of it comes before the next line.
    fn write_line(&mut self, line: &[u8]) -> bool {
        if !self.write_rest() {
            return false;
        }
        let taken = self.write_some(line);
        if taken > 0 {
            self.state.written().rest = line[taken..].to_vec();
        }
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
            self.state.add_dropped();
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
            state: LogState::default(),
        }
    }

    fn line(n: usize) -> String {
        format!("{n} {}\n", "x".repeat(100))
    }

    /// Writes lines until the sink drops some, then lets a thread read them, and writes one more.
    /// Checks that all the others were read.
    fn expect_whole_lines(mut sink: LogSink, mut reader: impl Read + Send + 'static) {
        let state = sink.state.clone();
        let mut taken = String::new();
        for n in 0.. {
            assert!(n < 100_000);
            let before = state.dropped();
            sink.write_all(line(n).as_bytes()).unwrap();
            match state.dropped() {
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
        while !sink.write_rest() {}
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
        let mut sink = LogSink::of(writer.into(), LogState::default()).unwrap();
        let line = [&[b'x'; LINE_BYTES_MAX][..], b"\n"].concat();
        assert_eq!(sink.write(&line).unwrap(), line.len());
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x".repeat(LINE_BYTES_MAX - 1) + "\n");
    }

    /// As after an upgrade.
    #[test]
    fn another_sink_goes_on_in_the_middle_of_a_line() {
        let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
        let first = LogSink::of(writer.into(), LogState::default()).unwrap();
        {
            let mut written = first.state.written();
            written.dropped = 7;
            written.rest = b"the rest\n".to_vec();
        }
        let mut state = Vec::new();
        let mut out = Writer::new(&mut state);
        out.record(*b"TEST", |out| first.state.save(out));
        assert!(out.finish());
        let mut source = &state[..];
        let mut saved = crate::state::Reader::new(&mut source).unwrap();
        let (_, mut fields) = saved.next_record().unwrap().unwrap();
        let loaded = LogState::load(&mut fields);
        assert_eq!(loaded.dropped(), 7);
        let mut second = LogSink::of(first.file.into(), loaded).unwrap();
        second.write_all(b"next\n").unwrap();
        drop(second);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "the rest\nnext\n");
    }
}
