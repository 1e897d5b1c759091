//! The languages of the example clients: what they need, and how to build and run them.
//!
//! A language that is not installed is skipped, with a line that names it; with CI in the
//! environment the test fails.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;

use super::proxy::PATIENCE;
use crate::process::{Process, has_success, skip};

/// A language, with shell scripts in which `$SRC` is its folder, `$OUT` the folder for what is
/// built, and `$PROGRAM` the client, or `$MAIN`, with a capital letter.
pub struct Language {
    /// Its folder in `examples`.
    pub folder: &'static str,
    /// How its files end.
    pub ending: &'static str,
    /// The packages of Debian that it needs.
    pub packages: &'static str,
    /// Succeeds if they are there.
    check: &'static str,
    build: &'static str,
    run: &'static str,
}

impl Language {
    /// A language whose clients need not be built.
    const fn script(
        folder: &'static str,
        ending: &'static str,
        packages: &'static str,
        check: &'static str,
        run: &'static str,
    ) -> Language {
        Language {
            folder,
            ending,
            packages,
            check,
            build: ":",
            run,
        }
    }

    /// The file of a client.
    pub fn file(&self, program: &str) -> String {
        let program = match self.ending {
            "java" => capital(program),
            _ => program.to_owned(),
        };
        format!("{program}.{}", self.ending)
    }

    /// A shell that runs a script about one of the clients.
    fn shell(&self, script: &str, program: &str, out: &Path) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script, program]);
        command.env("SRC", examples().join(self.folder));
        command.env("OUT", out.join(self.folder));
        command
            .env("PROGRAM", program)
            .env("MAIN", capital(program));
        command.env("GOCACHE", built().join("go-cache"));
        command.env_remove("CHINWAG_KEY").stdin(Stdio::null());
        command
    }

    /// A client, with arguments and a key.
    pub fn command(&self, program: &str, args: &[&str], key: Option<&str>) -> Command {
        self.command_after("", program, args, key)
    }

    /// A client whose shell does something first, such as redirecting its output.
    pub fn command_after(
        &self,
        before: &str,
        program: &str,
        args: &[&str],
        key: Option<&str>,
    ) -> Command {
        let mut command = self.shell(&format!("{before}\n{}", self.run), program, &built());
        command.args(args).env("LC_ALL", "C.UTF-8");
        if let Some(key) = key {
            command.env("CHINWAG_KEY", key);
        }
        command
    }

    /// Starts a client.
    pub fn start(&self, program: &str, args: &[&str], key: Option<&str>) -> Process {
        let mut process = Process::start(&mut self.command(program, args, key));
        process.be_patient(PATIENCE);
        process.end_input();
        process
    }

    fn is_there(&self) -> bool {
        has_success(&mut self.shell(self.check, "check", &built()))
    }

    /// Builds the clients next to those of others who run these tests, then puts them in place.
    fn build(&self) {
        let new = built().join(format!("new-{}-{}", self.folder, std::process::id()));
        let (from, to) = (new.join(self.folder), built().join(self.folder));
        fs::create_dir_all(&from).unwrap();
        fs::create_dir_all(&to).unwrap();
        let built = self.shell(self.build, "build", &new).output().unwrap();
        let text = String::from_utf8_lossy(&built.stderr);
        assert!(built.status.success(), "{}: {text}", self.folder);
        assert!(built.stderr.is_empty(), "{}: {text}", self.folder);
        for entry in fs::read_dir(&from).unwrap() {
            let entry = entry.unwrap();
            fs::rename(entry.path(), to.join(entry.file_name())).unwrap();
        }
        fs::remove_dir_all(new).unwrap();
    }
}

fn capital(program: &str) -> String {
    let (first, rest) = program.split_at(1);
    first.to_uppercase() + rest
}

pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples")
}

fn built() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("example-clients")
}

#[rustfmt::skip]
pub const LANGUAGES: [Language; 13] = [
    Language::script("sh", "sh", "netcat-openbsd", "nc -h 2>&1 | grep -q OpenBSD",
        r#"exec sh "$SRC/$PROGRAM.sh" "$@""#),
    Language::script("bash", "bash", "bash", "command -v bash",
        r#"exec bash "$SRC/$PROGRAM.bash" "$@""#),
    Language::script("python", "py", "python3",
        "python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'",
        r#"exec python3 "$SRC/$PROGRAM.py" "$@""#),
    Language::script("node", "js", "nodejs", "command -v node",
        r#"exec node "$SRC/$PROGRAM.js" "$@""#),
    Language::script("perl", "pl", "perl", "perl -e 'use IO::Socket::IP'",
        r#"exec perl "$SRC/$PROGRAM.pl" "$@""#),
    Language::script("tcl", "tcl", "tcl", "command -v tclsh",
        r#"exec tclsh "$SRC/$PROGRAM.tcl" "$@""#),
    Language::script("lua", "lua", "lua5.4 lua-socket", "lua5.4 -e 'require \"socket\"'",
        r#"exec lua5.4 "$SRC/$PROGRAM.lua" "$@""#),
    Language::script("ruby", "rb", "ruby", "command -v ruby",
        // They need no gems, and looking for those takes five times as long as what they do.
        r#"exec ruby --disable-gems "$SRC/$PROGRAM.rb" "$@""#),
    Language::script("php", "php", "php-cli", "php -r 'exit(PHP_VERSION_ID < 80100);'",
        r#"exec php "$SRC/$PROGRAM.php" "$@""#),
    Language { folder: "go", ending: "go", packages: "golang-go", check: "command -v go",
        build: r#"for p in say watch poll; do go build -o "$OUT/$p" "$SRC/$p.go" || exit; done"#,
        run: BUILT },
    Language { folder: "java", ending: "java", packages: "default-jdk-headless",
        check: "command -v javac", build: r#"javac -Xlint:deprecation,unchecked -d "$OUT" "$SRC"/*.java"#,
        run: r#"exec java -Xint -XX:+UseSerialGC -cp "$OUT" "$MAIN" "$@""#},
    Language { folder: "c", ending: "c", packages: "gcc", check: "command -v cc",
        build: r#"for p in say watch poll; do
            cc -std=c11 -O1 -Wall -Wextra -Werror -o "$OUT/$p" "$SRC/$p.c" || exit; done"#,
        run: BUILT },
    Language { folder: "rust", ending: "rs", packages: "rustc", check: "command -v rustc",
        build: r#"for p in say watch poll; do
            rustc --edition 2024 -D warnings -o "$OUT/$p" "$SRC/$p.rs" || exit; done"#,
        run: BUILT },
];

const BUILT: &str = r#"exec "$OUT/$PROGRAM" "$@""#;

/// The languages that are installed, with all their clients built.
fn installed() -> &'static [&'static Language] {
    static INSTALLED: OnceLock<Vec<&'static Language>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let is_there = |language: &&Language| {
            let is_there = language.is_there();
            if !is_there {
                skip(&format!(
                    "examples/{}: {} missing",
                    language.folder, language.packages
                ));
            }
            is_there
        };
        let installed: Vec<_> = LANGUAGES.iter().filter(is_there).collect();
        in_parallel(&installed, Language::build);
        installed
    })
}

/// Runs a test for each language, all at once.
pub fn each(test: impl Fn(&Language) + Sync) {
    in_parallel(installed(), test);
}

fn in_parallel(languages: &[&'static Language], test: impl Fn(&Language) + Sync) {
    thread::scope(|scope| {
        let test = &test;
        let start = |language: &&'static Language| {
            let language = *language;
            let thread = thread::Builder::new().name(language.folder.to_owned());
            thread.spawn_scoped(scope, move || test(language)).unwrap()
        };
        let threads: Vec<_> = languages.iter().map(start).collect();
        let failed = languages.iter().zip(threads);
        let failed: Vec<_> = failed
            .filter_map(|(language, thread)| thread.join().err().map(|_| language.folder))
            .collect();
        assert!(failed.is_empty(), "failed: {}", failed.join(", "));
    });
}
