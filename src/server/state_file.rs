//! The file that keeps the state while no server runs: how it is written, checked and read.
//!
//! It holds a state, and behind that the SHA-256 of all bytes before. A file is complete or it is not
//! there: it is written as `FILE.new`, which then takes the place of `FILE` in one step. A file that
//! cannot be used is kept as `FILE.refused`. Errors are texts for people.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Take, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use crate::net::file_lock::{FileLock, TRIES_AT_START};
use crate::startup::{STATE_NEW, STATE_REFUSED, beside, folder_of, open_state};
use crate::state::{Damage, Reader, Sink, Source, Writer};

/// How many bytes of SHA-256 there are at the end.
const CHECKSUM_BYTES: usize = 32;
/// How many bytes are checked at once.
const STEP_BYTES: usize = 64 * 1024;

/// The file in which a server keeps its state. No other server uses it meanwhile.
pub struct StateFile {
    path: PathBuf,
    lock: FileLock,
}

impl StateFile {
    /// Keeps other servers away from the file at `path`.
    ///
    /// # Errors
    ///
    /// If another server has it, or if the system refuses.
    pub fn lock(path: &Path) -> Result<StateFile, String> {
        let lock = FileLock::on(path, TRIES_AT_START).map_err(|error| {
            let file = path.display();
            format!("cannot keep the state in {file}: {error}")
        })?;
        Ok(StateFile {
            path: path.to_owned(),
            lock,
        })
    }

    /// Takes over the file of the program that was in this process before, by the descriptor of the lock.
    pub fn adopt(path: &Path, lock: OwnedFd) -> StateFile {
        StateFile {
            path: path.to_owned(),
            lock: FileLock::adopt(path, lock),
        }
    }

    /// The lock, which outlasts an upgrade.
    pub fn lock_descriptor(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Loads the file, if there is one, once all of it has been checked. A file that is damaged, or
    /// that `load` refuses, is renamed, and the log says so.
    ///
    /// # Errors
    ///
    /// If it cannot be opened or renamed.
    pub fn load<T>(
        &self,
        load: impl FnOnce(&mut Reader<'_>) -> Result<T, Damage>,
    ) -> Result<Option<T>, String> {
        let Some(file) = open_state(&self.path)? else {
            return Ok(None);
        };
        let loaded = Checked::new(file).and_then(|mut file| load(&mut Reader::new(&mut file)?));
        match loaded {
            Ok(value) => Ok(Some(value)),
            Err(damage) => self.refuse(damage).map(|()| None),
        }
    }

    /// Writes the state that `fill` appends. When this returns it is on disk, in place of the one
    /// before; or else that one is still there.
    ///
    /// # Errors
    ///
    /// If it cannot be written.
    pub fn write(&self, fill: impl FnOnce(&mut Writer<'_>)) -> Result<(), String> {
        let new = self.beside(STATE_NEW);
        let written = write_new(&new, fill).and_then(|()| fs::rename(&new, &self.path));
        if written.is_err() {
            let _ = fs::remove_file(&new);
        }
        written.and_then(|()| self.sync_folder()).map_err(|error| {
            let file = self.path.display();
            format!("cannot write the state to {file}: {error}")
        })
    }

    /// Removes the file, so that no other start uses it again.
    ///
    /// # Errors
    ///
    /// If it might be there at the next start.
    pub fn remove(&self) -> Result<(), String> {
        let removed = remove_if_there(&self.beside(STATE_NEW))
            .and_then(|()| remove_if_there(&self.path))
            .and_then(|()| self.sync_folder());
        removed.map_err(|error| {
            let file = self.path.display();
            format!("cannot remove {file}, so the next start would use it again: {error}")
        })
    }

    /// Removes what a save left that did not come to its end.
    pub fn remove_unfinished(&self) {
        let _ = fs::remove_file(self.beside(STATE_NEW));
    }

    fn refuse(&self, damage: Damage) -> Result<(), String> {
        let refused = self.beside(STATE_REFUSED);
        let (file, refused_file) = (self.path.display(), refused.display());
        fs::rename(&self.path, &refused)
            .and_then(|()| self.sync_folder())
            .map_err(|error| {
                format!(
                    "{file}: {damage}; it cannot be renamed to {refused_file}: {error}; remove it"
                )
            })?;
        log::error!(
            "{file}: {damage}; it is now {refused_file}, and the server starts without sessions"
        );
        Ok(())
    }

    /// The file's path with something behind it.
    fn beside(&self, ending: &str) -> PathBuf {
        beside(&self.path, ending)
    }

    /// Waits until the disk has the names that the folder has.
    fn sync_folder(&self) -> io::Result<()> {
        match File::open(folder_of(&self.path))?.sync_all() {
            // Some file systems have nothing to do for this.
            Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(()),
            result => result,
        }
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        result => result,
    }
}

/// Writes a new file with a state, and waits until it is on disk.
fn write_new(path: &Path, fill: impl FnOnce(&mut Writer<'_>)) -> io::Result<()> {
    // Whatever has the name, nothing is written to it or through it.
    remove_if_there(path)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(0o600);
    let mut sink = FileSink::new(options.open(path)?);
    let mut writer = Writer::new(&mut sink);
    fill(&mut writer);
    match writer.finish() {
        true => sink.finish(),
        false => Err(sink.error.unwrap_or_else(|| ErrorKind::WriteZero.into())),
    }
}

/// A file that is written, and the SHA-256 of what has been.
struct FileSink {
    file: File,
    hash: Sha256,
    error: Option<io::Error>,
}

impl FileSink {
    fn new(file: File) -> FileSink {
        FileSink {
            file,
            hash: Sha256::new(),
            error: None,
        }
    }

    fn finish(mut self) -> io::Result<()> {
        self.file.write_all(&self.hash.finalize())?;
        self.file.sync_all()
    }
}

impl Sink for FileSink {
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.hash.update(bytes);
        let written = self.file.write_all(bytes);
        self.error = written.err();
        self.error.is_none()
    }
}

/// A file whose checksum is right. It gives the bytes before that.
struct Checked(Take<File>);

impl Checked {
    /// Reads a file once to its end.
    fn new(mut file: File) -> Result<Checked, Damage> {
        const UNREADABLE: Damage = Damage("it cannot be read");
        let file_bytes = file.metadata().map_err(|_| UNREADABLE)?.len();
        let state_bytes = file_bytes
            .checked_sub(CHECKSUM_BYTES as u64)
            .ok_or(Damage("it is cut short"))?;
        let mut state = Checked(file.take(state_bytes));
        let mut hash = Sha256::new();
        let mut buffer = vec![0; STEP_BYTES];
        loop {
            match state.fill(&mut buffer)? {
                0 => break,
                len => hash.update(&buffer[..len]),
            }
        }
        file = state.0.into_inner();
        let mut checksum = [0; CHECKSUM_BYTES];
        file.read_exact(&mut checksum).map_err(|_| UNREADABLE)?;
        if hash.finalize()[..] != checksum {
            return Err(Damage("it is damaged: its checksum is wrong"));
        }
        file.rewind().map_err(|_| UNREADABLE)?;
        Ok(Checked(file.take(state_bytes)))
    }
}

impl Source for Checked {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result.map_err(|_| Damage("it cannot be read")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::chat::{Head, Kind, Peer};
    use crate::hub::Hub;
    use crate::net::stream::Stream;
    use crate::protocol::{LifeId, Limits};
    use crate::time::{Millis, Now, Zone};

    /// A folder of a test's own.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Folder {
            static COUNT: AtomicU32 = AtomicU32::new(0);
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let name = format!("chinwag-state-{}-{count}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            Folder(path)
        }

        fn file(&self) -> StateFile {
            StateFile::lock(&self.0.join("state")).unwrap()
        }

        /// What is in it besides the lock.
        fn names(&self) -> Vec<String> {
            let entries = fs::read_dir(&self.0).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            let mut names: Vec<_> = names.filter(|n| !n.ends_with("-lock")).collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn head(number: u64) -> Head {
        let now = Now::exactly(Millis(number), 0);
        Head::new(Kind::Stop, LifeId::new(number), 0, now)
    }

    /// Appends a small state.
    fn save(number: u64, out: &mut Writer<'_>) {
        let head = head(number);
        let hub: Hub<Stream> = Hub::new(Limits::default(), head.boot, Zone::UTC);
        head.write(out);
        hub.save(head.kind, out);
    }

    fn load(file: &StateFile) -> Result<Option<Head>, String> {
        file.load(|reader| {
            let head = Head::read(reader)?;
            let no_streams = |_, _: &Peer| -> Stream { panic!("there are none") };
            Hub::load(
                reader,
                &head,
                Limits::default(),
                Zone::UTC,
                None,
                no_streams,
            )?;
            Ok(head)
        })
    }

    #[test]
    fn a_file_is_read_as_it_was_written_and_replaced_in_one_step() {
        let folder = Folder::new();
        let file = folder.file();
        assert_eq!(load(&file), Ok(None));
        for number in 1..4 {
            file.write(|out| save(number, out)).unwrap();
            assert_eq!(folder.names(), ["state"]);
            let mode = fs::metadata(file.path()).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o600);
            assert_eq!(load(&file), Ok(Some(head(number))));
        }
        file.remove().unwrap();
        assert_eq!(folder.names(), [""; 0]);
        file.remove().unwrap();
        assert_eq!(load(&file), Ok(None));
    }

    /// More bytes than are read at once.
    #[test]
    fn a_large_file_is_read_whole() {
        let folder = Folder::new();
        let file = folder.file();
        let bytes: Vec<u8> = (0..3 * STEP_BYTES + 7).map(|n| n as u8).collect();
        file.write(|out| {
            head(1).write(out);
            for part in bytes.chunks(1000) {
                out.record(*b"part", |out| out.put(part));
            }
        })
        .unwrap();
        let read = file.load(|reader| {
            let mut read = Vec::new();
            Head::read(reader)?;
            while let Some((_, mut fields)) = reader.next_record()? {
                read.extend_from_slice(fields.rest());
            }
            Ok(read)
        });
        assert_eq!(read, Ok(Some(bytes)));
    }

    #[test]
    fn a_file_that_is_cut_or_changed_anywhere_is_put_aside() {
        let folder = Folder::new();
        let file = folder.file();
        file.write(|out| save(1, out)).unwrap();
        let good = fs::read(file.path()).unwrap();
        let refused = file.beside(".refused");
        let expect_refusal = |bytes: &[u8]| {
            fs::write(file.path(), bytes).unwrap();
            assert_eq!(load(&file), Ok(None), "{bytes:?}");
            assert_eq!(fs::read(&refused).unwrap(), bytes);
            assert_eq!(folder.names(), ["state.refused"]);
        };
        for len in 0..good.len() {
            expect_refusal(&good[..len]);
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1 << (at % 8);
            expect_refusal(&bad);
        }
        for behind in [&b"\0"[..], b"\n", &good] {
            expect_refusal(&[&good, behind].concat());
        }
        // Nor is anything else that has a checksum.
        let other = b"another program's";
        expect_refusal(&[&other[..], &Sha256::digest(other)].concat());
        let state = &good[..good.len() - CHECKSUM_BYTES];
        let longer = [state, b"\0"].concat();
        expect_refusal(&[&longer[..], &Sha256::digest(&longer)].concat());

        fs::write(file.path(), &good).unwrap();
        assert_eq!(load(&file), Ok(Some(head(1))));
    }

    /// The same for bytes all over a state with sessions, rooms, events and keys, without putting each file
    /// aside.
    #[test]
    fn bytes_of_all_records_count() {
        const STEP: usize = 11;
        let folder = Folder::new();
        let path = folder.0.join("state");
        let state = fs::read("tests/states/0.2.0-stop.state").unwrap();
        let good = [&state[..], &Sha256::digest(&state)].concat();
        fs::write(&path, &good).unwrap();
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).open(&path).unwrap();
        let is_good = || {
            let mut file = file.try_clone().unwrap();
            file.rewind().unwrap();
            Checked::new(file).is_ok()
        };
        assert!(is_good());
        for (at, &byte) in good.iter().enumerate().step_by(STEP) {
            file.write_all_at(&[byte ^ 1 << (at % 8)], at as u64)
                .unwrap();
            assert!(!is_good(), "with another byte at {at}");
            file.write_all_at(&[byte], at as u64).unwrap();
        }
        for len in (0..good.len()).rev().step_by(STEP) {
            file.set_len(len as u64).unwrap();
            assert!(!is_good(), "with {len} bytes");
        }
    }

    #[test]
    fn what_is_no_ordinary_file_is_an_error_and_stays() {
        let folder = Folder::new();
        let file = folder.file();
        let path = file.path();
        let expect_error = |part: &str| {
            let error = load(&file).unwrap_err();
            assert!(error.contains(part) && error.contains("state"), "{error}");
            assert!(fs::symlink_metadata(path).is_ok());
        };
        fs::create_dir(path).unwrap();
        expect_error("not an ordinary file");
        fs::remove_dir(path).unwrap();
        fs::write(folder.0.join("target"), "").unwrap();
        symlink(folder.0.join("target"), path).unwrap();
        expect_error("a link");
        fs::remove_file(path).unwrap();
        let _socket = UnixListener::bind(path).unwrap();
        expect_error("cannot open");
        fs::remove_file(path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, path, rustix::fs::Mode::RUSR).unwrap();
        expect_error("not an ordinary file");
    }

    #[test]
    fn what_is_in_the_way_of_a_new_file_is_neither_written_to_nor_through() {
        let folder = Folder::new();
        let file = folder.file();
        file.write(|out| save(1, out)).unwrap();
        let new = file.beside(".new");
        let target = folder.0.join("target");
        fs::write(&target, "precious").unwrap();
        symlink(&target, &new).unwrap();
        file.write(|out| save(2, out)).unwrap();
        fs::hard_link(&target, &new).unwrap();
        file.write(|out| save(3, out)).unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"precious");
        assert_eq!(folder.names(), ["state", "target"]);
        fs::create_dir(&new).unwrap();
        let error = file.write(|out| save(4, out)).unwrap_err();
        assert!(error.contains("cannot write the state to"), "{error}");
        assert_eq!(load(&file), Ok(Some(head(3))));
        assert!(file.remove().is_err());
    }

    #[test]
    fn a_sink_without_space_says_why() {
        let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut sink = FileSink::new(full);
        let mut writer = Writer::new(&mut sink);
        head(1).write(&mut writer);
        assert!(!writer.finish());
        let kind = sink.error.unwrap().kind();
        assert_eq!(kind, ErrorKind::StorageFull);
    }

    #[test]
    fn no_two_servers_have_the_same_file() {
        let folder = Folder::new();
        let file = folder.file();
        let error = StateFile::lock(file.path()).err().unwrap();
        assert!(error.contains("another server"), "{error}");
        drop(file);
        assert_eq!(fs::read_dir(&folder.0).unwrap().count(), 0);
        StateFile::lock(&folder.0.join("state")).unwrap();
    }
}
