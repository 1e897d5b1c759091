//! The services for runit and s6 in `dist/`, under their own supervisors, in a folder of the test's own.
//!
//! Without these programs the tests are skipped, with a line that names them; with CI in the
//! environment they fail.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use rustix::process::getuid;

use crate::process::{Client, Process, TempDir, Watch, has, launch, skip, unix};
use crate::script::sources::{blocks, document};

/// The user and the group that the services get.
const NOBODY: &str = "65534";

#[derive(Clone, Copy, Debug)]
enum Supervisor {
    Runit,
    S6,
}

impl Supervisor {
    /// Those that are installed; none where services cannot have a user of their own.
    fn all() -> Vec<Supervisor> {
        if launch().len() > 1 {
            skip("an emulator cannot execute the program again");
            return Vec::new();
        }
        if !getuid().is_root() {
            skip("only root can run a service as another user");
            return Vec::new();
        }
        let runit = "command -v runsv && command -v sv && command -v svlogd && command -v chpst";
        let s6 = "command -v s6-svscan && command -v s6-log && command -v s6-setuidgid";
        let both = [
            (Supervisor::Runit, "runit", runit),
            (Supervisor::S6, "s6", s6),
        ];
        let there = both.into_iter().filter(|(_, name, check)| has(name, check));
        there.map(|(supervisor, ..)| supervisor).collect()
    }

    fn folder(self) -> &'static str {
        match self {
            Supervisor::Runit => "dist/runit",
            Supervisor::S6 => "dist/s6",
        }
    }
}

/// A service and its supervisor, which end when this is dropped.
struct Service {
    supervisor: Supervisor,
    dir: TempDir,
    process: Option<Process>,
}

impl Service {
    /// Installs the service as it is, but for the paths, the user, and more options.
    fn new(supervisor: Supervisor, options: &str) -> Service {
        let dir = TempDir::new();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let service = Service {
            supervisor,
            dir,
            process: None,
        };
        let copied = Command::new("cp")
            .arg("-r")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(supervisor.folder()))
            .arg(service.service())
            .status();
        assert!(copied.unwrap().success());
        fs::create_dir(service.dir.join("open")).unwrap();
        let open = fs::Permissions::from_mode(0o777);
        fs::set_permissions(service.dir.join("open"), open).unwrap();
        let socket = unix(&service.socket());
        service.change("run", |run| {
            let program = service.dir.join("chinwag");
            run.replace("/usr/bin/chinwag", program.to_str().unwrap())
                + &format!(" --listen {socket} {options}\n")
        });
        service.change("log/run", str::to_owned);
        service.install_program();
        service
    }

    fn service(&self) -> PathBuf {
        // s6 looks after all folders in one.
        let _ = fs::create_dir(self.dir.join("services"));
        self.dir.join("services/chinwag")
    }

    fn socket(&self) -> PathBuf {
        self.dir.join("open/socket")
    }

    fn log_folder(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Changes a script.
    fn change(&self, name: &str, change: impl Fn(&str) -> String) {
        let path = self.service().join(name);
        let text = fs::read_to_string(&path).unwrap();
        let part = |text: &str, part: &str, other: &str| {
            assert!(text.contains(part), "no {part:?}: {text}");
            text.replace(part, other)
        };
        let dir = self.dir.path().to_str().unwrap();
        let text = match name {
            "run" => {
                let text = part(&text, "/var/lib/chinwag", &format!("{dir}/state"));
                part(&text, "/run/chinwag", &format!("{dir}/run"))
            }
            _ => part(&text, "/var/log/chinwag", &format!("{dir}/log")),
        };
        let text = part(&text, "-o chinwag -g chinwag", "-o 65534 -g 65534");
        let text = match self.supervisor {
            Supervisor::Runit => part(&text, "-u chinwag:chinwag", "-u :65534:65534"),
            Supervisor::S6 => part(&text, "setuidgid chinwag", "setuidgid 65534:65534"),
        };
        fs::write(&path, change(text.trim_end())).unwrap();
    }

    /// Installs the program as README.md says: as a new file.
    fn install_program(&self) {
        let mut install = Command::new("install");
        let install = install.arg(&launch()[0]).arg(self.dir.join("chinwag"));
        assert!(install.status().unwrap().success());
    }

    fn start(&mut self) {
        let mut command = match self.supervisor {
            Supervisor::Runit => Command::new("runsv"),
            Supervisor::S6 => Command::new("s6-svscan"),
        };
        let folder = match self.supervisor {
            Supervisor::Runit => self.service(),
            Supervisor::S6 => self.dir.join("services"),
        };
        self.process = Some(Process::start(command.arg(folder)));
    }

    /// A command of README.md for this supervisor, with the service's folder.
    fn shell(&self, beginning: &str) -> String {
        let name = match self.supervisor {
            Supervisor::Runit => "sv restart chinwag",
            Supervisor::S6 => "/run/service/chinwag",
        };
        let scripts = blocks(&document("README.md"), "sh").into_iter();
        let mut scripts = scripts.filter(|(_, text)| text.contains(name));
        let (_, script) = scripts.next().expect(name);
        let line = script.lines().find(|line| line.starts_with(beginning));
        let line = line.unwrap_or_else(|| panic!("no {beginning}: {script}"));
        let folder = self.service();
        let folder = folder.to_str().unwrap();
        let program = self.dir.join("chinwag");
        let line = line.replace("/run/service/chinwag", folder);
        let line = line.replace("/etc/service/chinwag", folder);
        let line = line.replace("/usr/bin/chinwag", program.to_str().unwrap());
        match self.supervisor {
            Supervisor::Runit => format!("{line} ").replace(" chinwag ", &format!(" {folder} ")),
            Supervisor::S6 => line,
        }
    }

    /// Runs that command; returns what it prints.
    fn run(&self, beginning: &str) -> String {
        let script = self.shell(beginning);
        let finished = Process::start(Command::new("sh").args(["-c", &script])).finish();
        assert_eq!(finished.code, Some(0), "{script}: {finished:?}");
        finished.out
    }

    /// What the supervisor says of the service.
    fn status(&self) -> String {
        let mut command = match self.supervisor {
            Supervisor::Runit => Command::new("sv"),
            Supervisor::S6 => Command::new("s6-svstat"),
        };
        if let Supervisor::Runit = self.supervisor {
            command.arg("status");
        }
        let output = command.arg(self.service()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    fn await_status(&self, is_it: impl Fn(&str) -> bool) -> String {
        let watch = Watch::start();
        loop {
            let status = self.status();
            if is_it(&status) {
                return status;
            }
            assert!(!watch.is_over(), "{status}\n{}", self.log());
            thread::yield_now();
        }
    }

    /// The number of the server's process.
    fn id(&self) -> u32 {
        let status = self.await_status(|status| status.contains("pid "));
        let (_, id) = status.split_once("pid ").unwrap();
        let digits = id.split(|c: char| !c.is_ascii_digit()).next().unwrap();
        digits.parse().unwrap()
    }

    fn connect(&self) -> Client {
        let watch = Watch::start();
        loop {
            match Client::try_connect(&unix(&self.socket())) {
                Ok(mut client) => {
                    client.expect("HELLO ");
                    return client;
                }
                Err(error) => assert!(!watch.is_over(), "{error}: {}", self.log()),
            }
            thread::yield_now();
        }
    }

    /// All that is left of the log: the names of old files sort by their time, before `current`.
    fn log(&self) -> String {
        let files = fs::read_dir(self.log_folder()).into_iter().flatten();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name == "current" || name.starts_with('@')
        });
        paths.sort_unstable_by_key(|path| (path.ends_with("current"), path.clone()));
        // One may be gone by now.
        let texts = paths
            .iter()
            .filter_map(|path| fs::read_to_string(path).ok());
        texts.collect()
    }

    fn await_log(&self, text: &str) {
        self.await_log_lines(text, 1);
    }

    /// Waits until this many lines of the log have a text.
    fn await_log_lines(&self, text: &str, count: usize) {
        let watch = Watch::start();
        while self.log().matches(text).count() < count {
            assert!(!watch.is_over(), "no {text:?}: {}", self.log());
            thread::yield_now();
        }
    }

    /// Waits until the bytes of all files in the log's folder come to that: while the logger begins a new
    /// file, there is one more.
    fn await_log_bytes(&self, expected: RangeInclusive<u64>) {
        let watch = Watch::start();
        loop {
            let files = fs::read_dir(self.log_folder()).unwrap();
            let sizes = files.filter_map(|file| {
                let file = file.unwrap();
                // It may be gone by now.
                Some((file.file_name(), file.metadata().ok()?.len()))
            });
            let sizes: Vec<_> = sizes.collect();
            if expected.contains(&sizes.iter().map(|(_, bytes)| bytes).sum()) {
                return;
            }
            assert!(!watch.is_over(), "{sizes:?}");
            thread::yield_now();
        }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let Some(mut process) = self.process.take() else {
            return;
        };
        let mut end = match self.supervisor {
            Supervisor::Runit => Command::new("sv"),
            Supervisor::S6 => Command::new("s6-svscanctl"),
        };
        let _ = match self.supervisor {
            Supervisor::Runit => end.arg("force-shutdown").arg(self.service()).output(),
            Supervisor::S6 => end.arg("-t").arg(self.dir.join("services")).output(),
        };
        let watch = Watch::start();
        while !process.has_ended() && !watch.is_over() {
            thread::yield_now();
        }
    }
}

#[test]
fn the_service_starts_upgrades_restarts_and_stops_and_clients_keep_what_they_had() {
    for supervisor in Supervisor::all() {
        let mut service = Service::new(supervisor, "");
        service.start();
        let mut ann = service.connect();
        let token = ann.join("ann mode=pull");
        let id = service.id();
        let owner = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        assert!(
            owner.contains(&format!("Uid:\t{NOBODY}\t{NOBODY}\t")),
            "{owner}"
        );
        service.await_log("listening on unix:");

        // An upgrade, first as README.md says, then by the supervisor's own command.
        service.install_program();
        let said = service.run("/usr/bin/chinwag --upgrade ");
        assert!(said.starts_with("upgraded from "), "{said}");
        ann.expect_service();
        assert_eq!(ann.stat("upgrades"), 1);
        service.run(match supervisor {
            Supervisor::Runit => "sv 2 ",
            Supervisor::S6 => "s6-svc -2 ",
        });
        ann.await_stat("upgrades", 2);
        assert_eq!(service.id(), id);

        service.run(match supervisor {
            Supervisor::Runit => "sv hup ",
            Supervisor::S6 => "s6-svc -h ",
        });
        service.await_log("there is no users file to read again");
        ann.ask("SAY hello", "OK SAY 2 ");
        service.run(match supervisor {
            Supervisor::Runit => "sv restart ",
            Supervisor::S6 => "s6-svc -r ",
        });
        ann.expect_bye("shutdown");
        let mut ann = service.connect();
        ann.ask(&format!("RESUME {token} after=1"), "OK RESUME ");
        ann.ask("POLL", "OK POLL 1 ");
        ann.expect("MSG 2 ");
        assert_ne!(service.id(), id);

        service.run(match supervisor {
            Supervisor::Runit => "sv stop ",
            Supervisor::S6 => "s6-svc -d ",
        });
        ann.expect_bye("shutdown");
        service.await_status(|status| status.starts_with("down"));
        // The state is written, the socket gone, and nobody starts it again.
        assert!(service.dir.join("state/state").exists());
        assert!(!service.socket().exists());
        service.await_log_lines("up 0 h 0 min: ", 2);
        let log = service.log();
        assert_eq!(log.matches("listening on ").count(), 2, "{log}");
        // No token is there for others.
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(service.dir.join("state")), 0o700);
        assert_eq!(mode(service.log_folder()), 0o750);
    }
}

#[test]
fn the_log_of_a_service_takes_no_more_space_than_it_says() {
    for supervisor in Supervisor::all() {
        let mut service = Service::new(supervisor, "-v --rate 0");
        // As shipped: 11 files of 100,000 bytes. Here they are smaller.
        let path = service.service().join("log/run");
        let text = fs::read_to_string(&path).unwrap();
        let small = text.replace("s100000", "s5000").replace("n10", "n3");
        assert!(text.contains("at most 1.1 MB: ten files"), "{text}");
        assert_eq!(small.len(), text.len() - 3, "{text}");
        fs::write(&path, small).unwrap();
        service.start();
        let mut client = service.connect();
        for _ in 0..1000 {
            client.ask("JOIN ann mode=pull quiet=yes", "OK JOIN ");
            client.ask("LEAVE", "OK LEAVE");
        }
        service.run(match supervisor {
            Supervisor::Runit => "sv stop ",
            Supervisor::S6 => "s6-svc -d ",
        });
        service.await_log("up 0 h 0 min: ");
        service.await_log_bytes(5000..=4 * 5500);
        let log = service.log();
        assert!(
            !log.contains("listening on "),
            "the first lines are kept: {log}"
        );
        assert!(log.contains("DEBUG ann left lobby: left\n"));
    }
}

#[test]
fn a_service_whose_options_are_wrong_is_not_started_again() {
    for supervisor in Supervisor::all() {
        let mut service = Service::new(supervisor, "--nonsense");
        service.start();
        service.await_status(|status| match supervisor {
            // Down, and not because it is about to start again.
            Supervisor::Runit => status.starts_with("down") && !status.contains("want up"),
            Supervisor::S6 => status.starts_with("down (exitcode 2)"),
        });
        service.await_log("--nonsense");
        let log = service.log();
        assert_eq!(log.matches("nonsense").count(), 1, "{log}");
    }
}
