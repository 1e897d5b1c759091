//! The file that this program is in, and how another one takes its place in the process.

use std::env;
use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::thread::set_name;

use super::errand::VARIABLE;

/// Where the system shows the file that this program is in, whatever has become of its name.
pub const THIS: &str = "/proc/self/exe";
/// The longest name that the system keeps for a process, in bytes.
const NAME_BYTES_MAX: usize = 15;
/// What the service manager tells this process, and not a child.
const FOR_THIS_PROCESS: [&str; 3] = ["NOTIFY_SOCKET", "LISTEN_", "WATCHDOG_"];

/// The path by which this program was started, or else that of its file. A symbolic link in it stays
/// one, so that it may lead to another program later.
///
/// # Errors
///
/// When the system does not say.
pub fn path_of_this() -> io::Result<PathBuf> {
    let this = fs::metadata(THIS)?;
    let is_this = |path: &PathBuf| {
        let found = fs::metadata(path);
        found.is_ok_and(|found| (found.dev(), found.ino()) == (this.dev(), this.ino()))
    };
    let name = env::args_os().next().unwrap_or_default();
    // A name with a slash is a path, which begins where the program was started.
    let folders: Vec<_> = match name.as_bytes().contains(&b'/') {
        true => vec![env::current_dir().unwrap_or_default()],
        false => env::split_paths(&env::var_os("PATH").unwrap_or_default()).collect(),
    };
    let mut paths = folders.iter().map(|folder| folder.join(&name));
    if let Some(path) = paths.find(|path| path.is_absolute() && is_this(path)) {
        return Ok(path);
    }
    let path = fs::read_link(THIS)?.into_os_string().into_vec();
    let path = path.strip_suffix(b" (deleted)").unwrap_or(&path);
    Ok(OsStr::from_bytes(path).into())
}

/// A part of the program's file that the system maps into memory.
#[cfg(target_pointer_width = "64")]
type Segment = libc::Elf64_Phdr;
#[cfg(target_pointer_width = "32")]
type Segment = libc::Elf32_Phdr;

/// Whether the file of this program has all of it. Otherwise it would run until it needs what is missing.
#[expect(unsafe_code, reason = "the system gives a pointer")]
pub fn is_whole() -> bool {
    let (first, count) = unsafe {
        // SAFETY: these read numbers that the system has given to the process.
        (
            libc::getauxval(libc::AT_PHDR),
            libc::getauxval(libc::AT_PHNUM),
        )
    };
    if first == 0 {
        return true;
    }
    // SAFETY: there the system has mapped the list of the program's segments, for as long as it runs.
    let segments = unsafe { std::slice::from_raw_parts(first as *const Segment, count as usize) };
    let mapped = segments
        .iter()
        .filter(|segment| segment.p_type == libc::PT_LOAD);
    let ends = mapped.map(|segment| {
        let [start, len]: [u64; 2] = [segment.p_offset, segment.p_filesz].map(Into::into);
        start + len
    });
    let end = ends.max();
    fs::metadata(THIS).is_ok_and(|file| end.is_none_or(|end| end <= file.len()))
}

/// Opens a program, to execute it and nothing else. A device is not waited for.
///
/// # Errors
///
/// If there is no such file.
pub fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let mut options = OpenOptions::new();
    let file = options.read(true).custom_flags(libc::O_PATH).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("this is not a file")),
    }
}

/// Executes a program in this process, with the same arguments and the same environment, in which it
/// finds its errand. A child gets nothing that is meant for this process. Returns why it cannot.
#[expect(unsafe_code, reason = "no dependency has this call without it")]
pub fn execute(program: &File, errand: &str, is_child: bool) -> io::Error {
    let text = |bytes: Vec<u8>| CString::new(bytes).unwrap_or_default();
    let is_passed_on = |name: &OsStr| {
        let is_meant = |start: &&str| name.as_bytes().starts_with(start.as_bytes());
        name != VARIABLE && !(is_child && FOR_THIS_PROCESS.iter().any(is_meant))
    };
    let variables = env::vars_os().filter(|(name, _)| is_passed_on(name));
    let variables = variables
        .map(|(name, value)| [name.as_bytes(), b"=", value.as_bytes()].concat())
        .chain([format!("{VARIABLE}={errand}").into_bytes()]);
    let variables: Vec<_> = variables.map(text).collect();
    let arguments: Vec<_> = env::args_os().map(|arg| text(arg.into_vec())).collect();
    let [arguments, variables] = [&arguments, &variables].map(|texts| {
        let pointers = texts.iter().map(|text| text.as_ptr());
        pointers.chain([std::ptr::null()]).collect::<Vec<_>>()
    });
    // SAFETY: both are lists of pointers to texts that end with a zero, and end with a null themselves.
    // All of them outlive the call.
    unsafe { libc::fexecve(program.as_raw_fd(), arguments.as_ptr(), variables.as_ptr()) };
    io::Error::last_os_error()
}

/// Gives the process the name that it has when it is started by this path: a program that was executed
/// by its descriptor has that for a name, by which nobody finds it.
pub fn name_process(path: &Path) {
    let name = path.file_name().unwrap_or_default().as_bytes();
    let name = &name[..name.len().min(NAME_BYTES_MAX)];
    if let Ok(name) = CString::new(name) {
        let _ = set_name(&name);
    }
}

/// Lets the system end this process before any other when memory runs out: it is a child that the server
/// can do without.
pub fn be_dispensable() {
    let _ = fs::write("/proc/self/oom_score_adj", "1000");
}
