//! The users file: reading it with care, and making keys.
//!
//! What its lines mean is in `chat/keys.rs`. Errors are texts for people: the file, what is wrong
//! with it, and the way out.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};

use crate::chat::keys::{self, KeyHash, Keys};
use crate::protocol::{Name, Secret};
use crate::secret_file::SecretFile;

/// The longest users file, in bytes.
pub const USERS_BYTES_MAX: u64 = 1024 * 1024;

/// Reads a users file, to which only its owner may have access.
///
/// # Errors
///
/// If it cannot be read, if others can read or write it, or if a line has a mistake.
pub fn load(path: &Path) -> Result<Keys, String> {
    let text = read(path)?;
    Keys::parse(&text).map_err(|bad| {
        let (file, number) = (path.display(), bad.number);
        format!("{file}, line {number}: {}", bad.reason)
    })
}

/// Makes a key for a name, puts its hash into the users file in place of an older one, and returns
/// the key. The file is made if there is none, and otherwise replaced in one step; its mode is 600.
///
/// # Errors
///
/// If the file cannot be read or written, or has a mistake. It then stays as it is.
pub fn new_key(path: &Path, name: Name) -> Result<String, String> {
    // Replaces the file that a link leads to, and not the link.
    let path = match fs::canonicalize(path) {
        Ok(path) => path,
        Err(_) if fs::symlink_metadata(path).is_ok() => {
            return Err(format!("{} is a link to nothing", path.display()));
        }
        Err(_) => path.to_owned(),
    };
    // Made before the old file is read: of two processes that make keys at once, the second fails.
    let replacement = Replacement::new(&path)?;
    let (text, owner) = match fs::metadata(&path) {
        Ok(file) => (read(&path)?, Some((file.uid(), file.gid()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (String::new(), None),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    Keys::parse(&text).map_err(|bad| {
        let (file, number) = (path.display(), bad.number);
        format!("{file}, line {number}: {}; mend that first", bad.reason)
    })?;
    let key = Secret::random()
        .map_err(|error| format!("cannot get random numbers from the system: {error}"))?
        .to_hex();
    let text = with_key(&text, name, KeyHash::of(&key));
    replacement
        .replace(&path, &text, owner)
        .map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(key)
}

/// The text of a users file with one name's line replaced, or appended.
fn with_key(text: &str, name: Name, hash: KeyHash) -> String {
    let new_line = format!("{name}:{hash}\n");
    let is_its_line = |line: &str| {
        let entry = keys::parse_line(line);
        matches!(entry, Ok(Some((other, _))) if other.folded() == name.folded())
    };
    let mut result = String::new();
    let mut is_replaced = false;
    for line in text.lines() {
        if is_its_line(line) {
            result += &new_line;
            is_replaced = true;
        } else {
            result += line;
            result.push('\n');
        }
    }
    if !is_replaced {
        result += &new_line;
    }
    result
}

fn read(path: &Path) -> Result<String, String> {
    let file = path.display();
    let kind = SecretFile {
        what: "users file",
        way_out: &format!("make it with --users {file} --new-key NAME"),
        bytes_max: USERS_BYTES_MAX,
    };
    kind.read(path)
}

/// A new file next to an old one. It takes the old one's place, or is removed.
struct Replacement {
    file: File,
    path: PathBuf,
}

impl Replacement {
    fn new(old: &Path) -> Result<Replacement, String> {
        let mut path = old.as_os_str().to_owned();
        path.push(".new");
        let path = PathBuf::from(path);
        let shown = path.display();
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        match options.open(&path) {
            Ok(file) => Ok(Replacement { file, path }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(format!(
                "{shown} exists: another key is being made, or making one has failed; then remove it"
            )),
            Err(error) => Err(format!("cannot write {shown}: {error}")),
        }
    }

    /// Writes the text, and moves the file into the place of the old one.
    fn replace(mut self, old: &Path, text: &str, owner: Option<(u32, u32)>) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        if let Some((uid, gid)) = owner {
            chown(&self.path, Some(uid), Some(gid))?;
        }
        self.file.sync_all()?;
        fs::rename(&self.path, old)?;
        // From now on, a file of that name belongs to somebody else.
        self.path = PathBuf::new();
        // The new entry in the folder is to last as well. If this fails, the file is there anyway.
        if let Some(folder) = old.parent().filter(|folder| *folder != Path::new("")) {
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        Ok(())
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}
