//! The state that one program hands over to the next: where it is, and what the server itself puts in.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::Server;
use super::listeners::SavedListeners;
use super::report::Report;
use super::saves::Saves;
use crate::chat::{Head, Kind};
use crate::state::{Damage, Part, Reader, Sink, Source, Tag, Writer};
use crate::time::Now;

/// The record of what the server itself hands over.
const SERVER: Tag = *b"SERV";

/// What the server itself has handed over.
pub struct Handover {
    /// By which path the next program is found.
    pub program: PathBuf,
    /// What was logged.
    pub report: Report,
    /// The descriptor of the lock on the state's file, if there is one.
    pub lock: Option<u32>,
    /// Where the server listens.
    pub listeners: SavedListeners,
}

impl Handover {
    /// Reads it: the record behind the head.
    ///
    /// # Errors
    ///
    /// If it is missing or damaged.
    pub fn read(reader: &mut Reader<'_>) -> Result<Handover, Damage> {
        let (_, mut fields) = (reader.next_record()?)
            .filter(|(tag, _)| *tag == SERVER)
            .ok_or(Damage("it does not say where the server listens"))?;
        let handover = Handover {
            program: OsString::from_vec(Part::load(&mut fields)).into(),
            report: Part::load(&mut fields),
            lock: Part::load(&mut fields),
            listeners: SavedListeners::load(&mut fields)?,
        };
        fields.check()?;
        Ok(handover)
    }
}

impl Server {
    /// Saves the whole state in memory, where nobody can change it any more.
    ///
    /// # Errors
    ///
    /// When the system is out of memory or descriptors.
    pub(super) fn save_state(&self, program: &Path, now: Now) -> io::Result<File> {
        let mut memory = Memory::new()?;
        let mut out = Writer::new(&mut memory);
        let boot = self.hub.chat().boot();
        Head::new(Kind::Upgrade, boot, self.clock.start_ns(), now).write(&mut out);
        out.record(SERVER, |out| {
            program.as_os_str().as_bytes().to_vec().save(out);
            self.report.save(out);
            let file = self.saves.as_ref().map(Saves::file);
            let lock = file.map(|file| file.lock_descriptor().as_raw_fd() as u32);
            lock.save(out);
            self.listeners.save(out);
        });
        self.hub.save(Kind::Upgrade, &mut out);
        out.finish();
        memory.seal()
    }
}

/// A file in memory that a state goes to.
struct Memory {
    file: File,
    result: io::Result<()>,
}

impl Memory {
    fn new() -> io::Result<Memory> {
        const NAME: &str = "chinwag-state";
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Systems may insist that it says so if nothing is to be executed; old ones do not know the flag.
        let file = memfd_create(NAME, flags | MemfdFlags::NOEXEC_SEAL)
            .or_else(|_| memfd_create(NAME, flags))?;
        Ok(Memory {
            file: file.into(),
            result: Ok(()),
        })
    }

    fn seal(self) -> io::Result<File> {
        self.result?;
        let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        fcntl_add_seals(&self.file, seals)?;
        Ok(self.file)
    }
}

impl Sink for Memory {
    fn put(&mut self, bytes: &[u8]) -> bool {
        self.result = self.file.write_all(bytes);
        self.result.is_ok()
    }
}

/// Reads a state. Programs share its descriptor, but not the place where each of them reads.
pub struct SavedState<'a> {
    file: &'a File,
    at: u64,
}

impl SavedState<'_> {
    /// Begins to read.
    pub fn of(file: &File) -> SavedState<'_> {
        SavedState { file, at: 0 }
    }
}

impl Source for SavedState<'_> {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, Damage> {
        let read = self.file.read_at(buffer, self.at);
        let read = read.map_err(|_| Damage("it cannot be read"))?;
        self.at += read as u64;
        Ok(read)
    }
}
