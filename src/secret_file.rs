//! Reading files that only their owner may read.

use std::fs::OpenOptions;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// A kind of file that others must not be able to read or write.
pub struct SecretFile<'a> {
    /// What people call it.
    pub what: &'a str,
    /// What to do if there is none.
    pub way_out: &'a str,
    /// The most bytes that it may have.
    pub bytes_max: u64,
}

impl SecretFile<'_> {
    /// Reads the text of a file.
    ///
    /// # Errors
    ///
    /// A text for people: the file, what is wrong with it, and the way out.
    pub fn read(&self, path: &Path) -> Result<String, String> {
        let (file, what) = (path.display(), self.what);
        let failed = |error| format!("cannot read {file}: {error}");
        let mut options = OpenOptions::new();
        // Without this, opening a pipe might take forever.
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let opened = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => format!("there is no {what} {file}; {}", self.way_out),
            _ => failed(error),
        })?;
        let found = opened.metadata().map_err(failed)?;
        if !found.is_file() {
            return Err(format!("{file} is not a file; a {what} is one"));
        }
        if found.mode() & 0o077 != 0 {
            return Err(format!(
                "others can read or write {file}: run chmod 600 {file}"
            ));
        }
        let mut bytes = Vec::new();
        let mut opened = opened.take(self.bytes_max + 1);
        opened.read_to_end(&mut bytes).map_err(failed)?;
        if bytes.len() as u64 > self.bytes_max {
            return Err(format!(
                "{file} has more than {} bytes; split it or shorten it",
                self.bytes_max
            ));
        }
        // Some editors put a byte order mark before any text in UTF-8.
        if bytes.starts_with("\u{feff}".as_bytes()) {
            bytes.drain(.."\u{feff}".len());
        }
        String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
            format!("{file}, line {line}: this is not UTF-8 text")
        })
    }
}
