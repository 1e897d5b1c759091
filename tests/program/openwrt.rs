//! The package for OpenWrt: what its init script makes of a configuration, and that the program
//! takes that.
//!
//! The script runs in the shells that are installed, with `tests/openwrt/system.sh` for OpenWrt's
//! own functions. It starts nothing; the tests look at what it tells procd.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Finished, Process, TempDir, has, has_success, install, program, skip};
use crate::script::sources::{blocks, document};
use chinwag::options::table::{Kind, OPTIONS, Row};
use chinwag::options::{self, Action, DEFAULT_ADDRESS};

/// Where a server keeps its state by default.
const STATE: &str = "/var/run/chinwag/state";

/// A line of the configuration for each option that it can have, and the word of the command line
/// that it stands for.
fn lines(users: &str) -> Vec<(String, String)> {
    let line = |row: &Row| {
        let name = row.name.replace('-', "_");
        let kind = match row.kind {
            // For a shell, not for a configuration.
            Kind::Action { .. } => return None,
            Kind::Switch(_) => {
                return Some((format!("option {name} 'on'"), format!("--{}", row.name)));
            }
            Kind::Text { is_list: true, .. } => "list",
            Kind::Number(_) | Kind::Text { .. } => "option",
        };
        let value = match row.name {
            "memory" => "64M".to_owned(),
            "socket-mode" => "0660".to_owned(),
            "users" => users.to_owned(),
            "state" => format!("{users}-state"),
            "admin" => format!("unix:{users}-admin"),
            "save" => "60".to_owned(),
            "link" => "127.0.0.1:1".to_owned(),
            "link-name" => "attic".to_owned(),
            "link-room" => "kitchen".to_owned(),
            "link-login" => format!("{users}-login"),
            name => row.default().expect(name),
        };
        let line = format!("{kind} {name} '{value}'");
        Some((line, format!("--{}={value}", row.name)))
    };
    OPTIONS.iter().filter_map(line).collect()
}

fn package() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("dist/openwrt")
}

/// The configuration that the package brings.
fn shipped() -> String {
    fs::read_to_string(package().join("files/chinwag.config")).unwrap()
}

/// The shells to try: the system's, and those of Debian and of OpenWrt.
fn shells() -> Vec<Vec<&'static str>> {
    let has = |shell: &Vec<&str>| {
        let mut command = Command::new(shell[0]);
        has_success(command.args(&shell[1..]).args(["-c", ":"]))
    };
    let (there, missing): (Vec<_>, Vec<_>) = [vec!["sh"], vec!["dash"], vec!["busybox", "ash"]]
        .into_iter()
        .partition(has);
    for shell in missing {
        skip(&format!("{} is missing", shell.join(" ")));
    }
    there
}

/// What the init script said to whom, in lines of system.sh.
#[derive(Debug, PartialEq, Eq)]
struct Told(Vec<String>);

impl Told {
    /// All that was said of a kind.
    fn of(&self, kind: &str) -> Vec<&str> {
        let words = self.0.iter();
        words
            .filter_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))
            .collect()
    }

    /// The program's arguments.
    fn arguments(&self) -> Vec<&str> {
        let command = self.of("command");
        assert_eq!(command[0], "/usr/bin/chinwag");
        command[1..].to_vec()
    }

    fn place(&self, line: &str) -> usize {
        let place = self.0.iter().position(|told| told == line);
        place.unwrap_or_else(|| panic!("no {line:?}: {:#?}", self.0))
    }
}

/// Calls a function of the init script, in every shell.
fn call(function: &str, config: &str) -> (Option<i32>, Told) {
    call_in(&[], function, config)
}

/// The same with these variables in the environment, which system.sh explains.
fn call_in(variables: &[(&str, &str)], function: &str, config: &str) -> (Option<i32>, Told) {
    let folder = TempDir::new();
    let file = folder.join("chinwag");
    fs::write(&file, config).unwrap();
    let system = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openwrt/system.sh");
    let mut results: Vec<_> = shells()
        .into_iter()
        .map(|shell| {
            let mut command = Command::new(shell[0]);
            command.args(&shell[1..]).arg("-uc");
            // The package's program is not installed.
            let script = r#". "$1"; . "$2"; PROG="${PROGRAM-$PROG}"; "$3""#;
            command.args([script, "sh"]);
            command
                .arg(&system)
                .arg(package().join("files/chinwag.init"));
            command.arg(function).env("CONFIG", file.parent().unwrap());
            command.envs(variables.iter().copied());
            let Finished { code, out, err } = Process::start(&mut command).finish();
            assert_eq!(err, "", "{shell:?}: {config}");
            (code, Told(out.lines().map(str::to_owned).collect()))
        })
        .collect();
    let last = results.pop().unwrap();
    for other in results {
        assert_eq!(other, last, "shells differ: {config}");
    }
    last
}

/// What the script tells procd at the start.
fn start(config: &str) -> Told {
    let (code, told) = call("start_service", config);
    assert_eq!(code, Some(0), "{told:?}");
    told
}

/// A configuration of one section with these lines, and without a state unless they name one.
fn section(lines: &str) -> String {
    format!("config chinwag 'main'\noption state '0'\n{lines}\n")
}

/// What the program makes of a command line.
fn understood(arguments: &[&str]) -> Result<Action, String> {
    let words: Vec<_> = arguments.iter().map(|&word| word.to_owned()).collect();
    options::parse(&words)
}

fn check(arguments: &[&str]) -> Finished {
    Process::start(program().args(arguments).arg("--check")).finish()
}

#[test]
fn each_option_arrives_unchanged_and_the_program_takes_it() {
    let folder = TempDir::new();
    let users = folder.join("users");
    let name = users.to_str().unwrap();
    let key = Process::start(program().args(["--users", name, "--new-key", "ann"])).finish();
    assert_eq!(key.code, Some(0), "{key:?}");
    let login = folder.join("users-login");
    fs::write(&login, "attic:secret").unwrap();
    fs::set_permissions(&login, fs::Permissions::from_mode(0o600)).unwrap();
    let options = lines(name);
    assert!(options.len() > 15, "{options:?}");
    for (line, word) in &options {
        let told = start(&section(line));
        assert_eq!(told.arguments(), [word], "{line}");
        let state = format!("--state={name}-state");
        let mut arguments = told.arguments();
        if word.starts_with("--save") {
            arguments.push(&state);
        }
        // These go together.
        let link = [
            "--link=127.0.0.1:1",
            "--link-name=attic",
            "--link-room=kitchen",
        ];
        if word.starts_with("--link") {
            arguments.extend(link.iter().filter(|needed| *needed != word));
        }
        let finished = check(&arguments);
        assert_eq!(finished.code, Some(0), "{line}: {finished:?}");
        assert_eq!(finished.err, "", "{line}");
        assert_eq!(told.of("log"), [""; 0], "{line}");
    }
    // And all options together that go together.
    let together = options.iter().filter(|(line, _)| !line.contains("quiet"));
    let (lines, words): (Vec<_>, BTreeSet<_>) = together.cloned().unzip();
    let told = start(&section(&lines.join("\n")));
    let finished = check(&told.arguments());
    assert_eq!(finished.code, Some(0), "{told:?}: {finished:?}");
    let given: BTreeSet<_> = told.arguments().into_iter().map(str::to_owned).collect();
    assert_eq!(given, words);
}

#[test]
fn a_list_may_have_several_entries_and_an_option_that_is_off_is_not_given() {
    let lines = "list listen '127.0.0.1:1'\nlist listen 'unix:/tmp/chat'\noption open '0'\n\
                 option quiet 'off'\noption verbose 'no'";
    let told = start(&section(lines));
    let expected = ["--listen=127.0.0.1:1", "--listen=unix:/tmp/chat"];
    assert_eq!(told.arguments(), expected);
    for on in ["1", "on", "yes"] {
        let told = start(&section(&format!("option open '{on}'")));
        assert_eq!(told.arguments(), ["--open"], "{on}");
    }
}

#[test]
fn the_configuration_as_it_comes_names_the_defaults() {
    let shipped = shipped();
    let told = start(&shipped);
    let state = format!("--state={STATE}");
    assert_eq!(told.arguments(), [&state]);
    assert_eq!(check(&[]).code, Some(0));
    // A line that begins with # and a word names a default. Those of the link are of no use without it.
    let defaults = shipped
        .replace("\t#option", "\toption")
        .replace("\t#list", "\tlist")
        .replace("\t#\toption link '", "\toption link '")
        .replace("\t#\toption link_name", "\toption link_name")
        .replace("\t#\tlist link_room", "\tlist link_room");
    let told = start(&defaults);
    assert!(told.arguments().len() > 10, "{told:?}");
    let address = format!("--listen={DEFAULT_ADDRESS}");
    let link = [
        "--link=127.0.0.1:1883",
        "--link-name=attic",
        "--link-room=kitchen",
    ];
    let expected = [&[&*address, &*state][..], &link].concat();
    assert_eq!(understood(&told.arguments()), understood(&expected));
    // With one more tab there are examples.
    let examples = shipped
        .replace("\t#\toption", "\toption")
        .replace("\t#\tlist", "\tlist");
    let told = start(&examples);
    assert_eq!(told.arguments().len(), 13, "{told:?}");
    assert!(understood(&told.arguments()).is_ok(), "{told:?}");
}

#[test]
fn a_bad_value_reaches_the_program_as_it_is_and_gets_its_error() {
    for (line, word, error) in [
        ("option idle 'soon'", "--idle=soon", "--idle soon: "),
        ("option rate '-1'", "--rate=-1", "--rate -1: "),
        (
            "option memory 'a lot'",
            "--memory=a lot",
            "--memory a lot: ",
        ),
        ("option memory '*'", "--memory=*", "--memory *: "),
        (
            "option memory '$HOME'",
            "--memory=$HOME",
            "--memory $HOME: ",
        ),
        (
            r#"option memory '"\'"#,
            r#"--memory="\"#,
            r#"--memory "\: "#,
        ),
        ("list listen 'lan'", "--listen=lan", "--listen lan: "),
        (
            "list listen '0.0.0.0:1'",
            "--listen=0.0.0.0:1",
            "--listen 0.0.0.0:1: ",
        ),
        ("list listen ''", "--listen=", "--listen : "),
        ("list listen 'a b'", "--listen=a b", "--listen a b: "),
    ] {
        let told = start(&section(line));
        assert_eq!(told.arguments(), [word], "{line}");
        check(&told.arguments()).expect_refusal(2, &[error]);
    }
    // stderr goes to the log.
    assert_eq!(start(&section("")).of("stderr"), ["1"]);
}

#[test]
fn a_bad_name_is_logged_and_nothing_is_started_or_stopped() {
    for (config, what) in [
        (
            section("option max_conections '5'"),
            "option max_conections",
        ),
        (section("option listen '127.0.0.1:1'"), "option listen"),
        (section("option new_key 'ann'"), "option new_key"),
        (section("list idle '5'"), "list idle"),
        (String::from("config chat 'main'\n"), "section chat"),
    ] {
        for function in ["start_service", "reload_service"] {
            let (code, told) = call(function, &config);
            assert_eq!(code, Some(1), "{function}: {config}");
            let log = told.of("log");
            assert_eq!(told.0.len(), 1, "{function}: {told:?}");
            let text = format!("/etc/config/chinwag: there is no {what};");
            assert!(log[0].contains(&text), "{log:?}");
            assert!(log[0].contains("lists are listen link_room, options are enabled users"));
        }
    }
}

#[test]
fn each_section_is_a_server_unless_it_is_not_enabled() {
    let told = start(
        "config chinwag 'one'\n\toption idle '1'\n\toption state '0'\n\
         config chinwag 'two'\n\toption enabled '0'\n\toption idle '2'\n\
         config chinwag 'three'\n\toption enabled '1'\n\toption rate '3'\n\toption state '0'\n",
    );
    assert_eq!(told.of("open"), ["one", "three"]);
    let program = "/usr/bin/chinwag";
    assert_eq!(
        told.of("command"),
        [program, "--idle=1", program, "--rate=3"]
    );
    assert_eq!(
        told.of("jail"),
        ["chinwag-one ronly procfs", "chinwag-three ronly procfs"]
    );
    // procd's own defaults say how often.
    let respawns = told.0.iter().filter(|line| *line == "respawn").count();
    assert_eq!(respawns, 2);
}

#[test]
fn a_server_has_no_rights_and_sees_no_files_but_its_own() {
    let folder = TempDir::new();
    let users = folder.join("users");
    fs::write(&users, "").unwrap();
    let (folder, users) = (users.parent().unwrap().display(), users.display());
    let told = start(&section(&format!(
        "option users '{users}'\nlist listen 'unix:{folder}/chat'\n\
         list listen 'unix:{folder}/missing/chat'"
    )));
    assert_eq!(told.of("user"), ["chinwag"]);
    assert_eq!(told.of("group"), ["chinwag"]);
    assert_eq!(told.of("no_new_privs"), ["1"]);
    // A new program is in the folder of the old one.
    assert_eq!(told.of("mount"), ["/usr/bin", &folder.to_string()]);
    let missing = format!("{folder}/missing");
    assert_eq!(told.of("mount_rw"), [folder.to_string(), missing.clone()]);
    assert_eq!(told.of("mkdir"), [format!("-p {missing}")]);
    let owner = "chinwag:chinwag";
    let given = [format!("-h {owner} {users}"), format!("{owner} {missing}")];
    assert_eq!(told.of("chown"), given);
    // Of two mounts in one place procd takes the last, and a socket has to be made there.
    let (read, write) = (format!("mount {folder}"), format!("mount_rw {folder}"));
    assert!(told.place(&read) < told.place(&write), "{told:?}");
    // The operator's socket, too.
    let told = start(&section(&format!(
        "option admin 'unix:{folder}/admin/socket'"
    )));
    assert_eq!(told.of("mount_rw"), [format!("{folder}/admin")]);
    let owned = format!("{owner} {folder}/admin");
    assert_eq!(told.of("chown"), [owned]);
}

#[test]
fn a_box_sees_its_login_and_its_brokers_socket_and_nothing_else() {
    let folder = TempDir::new();
    let [login, socket] = ["etc/login", "run/socket"].map(|name| folder.join(name));
    for path in [&login, &socket] {
        fs::create_dir(path.parent().unwrap()).unwrap();
    }
    fs::write(&login, "").unwrap();
    let [login, socket] = [login, socket].map(|path| path.display().to_string());
    let told = start(&section(&format!(
        "option link 'unix:{socket}'\noption link_name 'attic'\nlist link_room 'kitchen'\n\
         list link_room 'den'\noption link_login '{login}'"
    )));
    let folders = [folder.join("etc"), folder.join("run")].map(|path| path.display().to_string());
    assert_eq!(told.of("mount"), ["/usr/bin", &folders[0], &folders[1]]);
    assert_eq!(told.of("mount_rw"), [""; 0]);
    assert_eq!(told.of("chown"), [format!("-h chinwag:chinwag {login}")]);
    let rooms = ["--link-room=kitchen", "--link-room=den"];
    assert!(told.arguments().starts_with(&rooms), "{told:?}");
    assert!(understood(&told.arguments()).is_ok(), "{told:?}");
}

/// What README.md adds to a router's section.
#[test]
fn the_lines_that_are_shown_for_a_router_link_it() {
    let readme = document("README.md");
    let mut blocks = blocks(&readme, "text").into_iter().map(|(_, text)| text);
    let shown = blocks
        .find(|text| text.contains("option link_name"))
        .unwrap();
    let told = start(&section(&shown));
    let link = [
        "--link-room=kitchen",
        "--link=127.0.0.1:1883",
        "--link-name=cellar",
    ];
    assert_eq!(told.arguments(), link);
    assert!(understood(&told.arguments()).is_ok(), "{told:?}");
}

#[test]
fn a_reload_reads_users_files_again_before_anything_restarts() {
    let folder = TempDir::new();
    let users = folder.join("users");
    fs::write(&users, "").unwrap();
    let config = section(&format!("option users '{}'", users.display()));
    let (code, told) = call("reload_service", &config);
    assert_eq!(code, Some(0), "{told:?}");
    let given = told.place(&format!("chown -h chinwag:chinwag {}", users.display()));
    let signal = told.place("signal chinwag * HUP");
    let start = told.place("start");
    assert!(given < signal && signal < start, "{told:?}");
    assert!(start < told.place("open main"), "{told:?}");
    let (_, told) = call("service_triggers", "");
    let interface = "raw_trigger interface.*.up 2000 /etc/init.d/chinwag start";
    assert_eq!(told.0, ["trigger chinwag", "trigger system", interface]);
}

#[test]
fn each_server_keeps_its_state_in_memory_unless_it_is_not_to() {
    let told = start(
        "config chinwag 'main'\nconfig chinwag 'two'\nconfig chinwag 'none'\n\toption state '0'\n\
         config chinwag 'flash'\n\toption state '/srv/chinwag/state'\n\toption save '60'\n",
    );
    let two = format!("--state={STATE}.two");
    let main = format!("--state={STATE}");
    let flash = ["--state=/srv/chinwag/state", "--save=60"];
    let words = told.of("command").into_iter();
    let words: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
    assert_eq!(words, [&main, &two, flash[0], flash[1]]);
    // The server writes next to the file before it replaces that.
    let memory = Path::new(STATE).parent().unwrap().to_str().unwrap();
    assert_eq!(told.of("mount_rw"), [memory, memory, "/srv/chinwag"]);
    for made in told.of("mkdir") {
        let folder = made.strip_prefix("-p ").unwrap();
        assert!(
            told.of("chown")
                .contains(&&*format!("chinwag:chinwag {folder}"))
        );
    }
}

/// A program that shows how it was called, and fails for one process.
fn program_that_shows_its_call(folder: &TempDir, fails_for: &str) -> PathBuf {
    let path = folder.join("program");
    let script = format!("#!/bin/sh\necho \"called $*\"\n[ \"$2\" != \"{fails_for}\" ]\n");
    install(&path, script);
    path
}

#[test]
fn an_upgrade_reaches_each_server_whether_it_is_in_a_jail_or_not() {
    let folder = TempDir::new();
    for (fails_for, code) in [("nobody", 0), ("11", 1), ("33", 1)] {
        let path = program_that_shows_its_call(&folder, fails_for);
        let variables = [("PROGRAM", path.to_str().unwrap()), ("RUNNING", "1")];
        let (ended, told) = call_in(&variables, "upgrade", "");
        assert_eq!(ended, Some(code), "{fails_for}: {told:?}");
        // 22 is the jail that 33 is in.
        assert_eq!(told.of("called"), ["--upgrade 11", "--upgrade 33"]);
    }
    // Where no server runs there is nothing to do.
    let (ended, told) = call("upgrade", "");
    assert_eq!((ended, told), (Some(0), Told(vec![])));
    let script = fs::read_to_string(package().join("files/chinwag.init")).unwrap();
    assert!(script.contains("\nEXTRA_COMMANDS='upgrade'\n"));
}

/// opkg stops a service before it replaces the package, and apk does not.
#[test]
fn servers_go_on_while_their_package_is_replaced() {
    let stop = |variables: &[(&str, &str)]| {
        let script = r#". "$1"; . "$2"; stop_service; tell stopped"#;
        let mut command = Command::new("sh");
        command.args(["-uc", script, "sh"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/openwrt/system.sh"));
        command.arg(package().join("files/chinwag.init"));
        command
            .env_remove("PKG_UPGRADE")
            .envs(variables.iter().copied());
        Process::start(&mut command).finish()
    };
    for (variables, out) in [
        (&[][..], "stopped\n"),
        (&[("PKG_UPGRADE", "0")], "stopped\n"),
        (&[("PKG_UPGRADE", "1")], ""),
    ] {
        let finished = stop(variables);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.out, out, "{variables:?}");
    }
}

#[test]
fn people_see_the_time_of_the_routers_zone() {
    for zone in ["UTC", "CET-1CEST,M3.5.0,M10.5.0/3", "<-03>3"] {
        let (code, told) = call_in(&[("ZONE", zone)], "start_service", &section(""));
        assert_eq!(code, Some(0), "{told:?}");
        assert_eq!(told.of("env"), [format!("TZ={zone}")]);
    }
    assert_eq!(start(&section("")).of("env"), [""; 0]);
}

#[test]
fn a_users_file_in_a_folder_that_is_missing_is_left_to_the_program() {
    let folder = TempDir::new();
    let users = folder.join("missing/users");
    let told = start(&section(&format!("option users '{}'", users.display())));
    assert_eq!(told.of("mount"), ["/usr/bin"]);
    for kind in ["mkdir", "chown"] {
        assert_eq!(told.of(kind), [""; 0], "{told:?}");
    }
    check(&told.arguments()).expect_refusal(1, &[users.to_str().unwrap(), "no users file"]);
}

/// What the Makefile uses of OpenWrt's build system.
const BUILD_SYSTEM: [(&str, &str); 3] = [
    (
        "rules.mk",
        "INCLUDE_DIR:=$(TOPDIR)/include\nINSTALL_DIR:=install -d -m0755\n\
         INSTALL_BIN:=install -m0755\nINSTALL_CONF:=install -m0600\nCP:=cp -fpR\n\
         PKG_BUILD_DIR:=$(TOPDIR)/build\nPKG_INSTALL_DIR:=$(TOPDIR)/installed\n",
    ),
    (
        "include/package.mk",
        "define BuildPackage\n$(eval $(Package/$(1)))\nall:\n\
         \tmkdir -p $(PKG_BUILD_DIR)\n\t$(Build/Prepare)\n\
         \t$(call Package/$(1)/install,$(TOPDIR)/root)\n\
         \t$(file >$(TOPDIR)/postinst,$(Package/$(1)/postinst))\n\
         \t@echo 'version $(PKG_VERSION), user $(USERID), keeps $(strip $(Package/$(1)/conffiles))'\n\
         endef\n",
    ),
    (
        "feeds/packages/lang/rust/rust-package.mk",
        "RUST_ARCH_DEPENDS:=@x86_64\n",
    ),
];

/// What the package's script does after its installation, with these variables in the environment: what it
/// calls the init script for, and PKG_UPGRADE as that sees it.
fn postinst(top: &TempDir, variables: &[(&str, &str)]) -> Finished {
    let init = top.join("init");
    let script =
        "#!/bin/sh\necho \"$1 $PKG_UPGRADE\"\n[ \"$1\" != upgrade ] || [ -z \"$FAILS\" ]\n";
    install(&init, script);
    let script = fs::read_to_string(top.join("postinst")).unwrap();
    let script = script.replace("/etc/init.d/chinwag", init.to_str().unwrap());
    let mut command = Command::new("sh");
    command.args(["-c", &script]);
    for variable in ["PKG_UPGRADE", "IPKG_INSTROOT", "FAILS"] {
        command.env_remove(variable);
    }
    command.envs(variables.iter().copied());
    Process::start(&mut command).finish()
}

#[test]
fn the_makefile_takes_what_cargo_needs_and_installs_what_the_script_expects() {
    if !has("make", "make --version") {
        return;
    }
    let top = TempDir::new();
    for (name, text) in BUILD_SYSTEM {
        let path = top.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    fs::create_dir_all(top.join("installed/bin")).unwrap();
    fs::write(top.join("installed/bin/chinwag"), "the program").unwrap();
    let mut command = Command::new("make");
    command.arg("-C").arg(package()).arg("-s");
    command.arg(format!("TOPDIR={}", top.join("").display()));
    let finished = Process::start(&mut command).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let said = format!(
        "version {}, user chinwag:chinwag, keeps /etc/config/chinwag /etc/chinwag/\n",
        env!("CARGO_PKG_VERSION")
    );
    assert!(finished.out.ends_with(&said), "{finished:?}");

    for (variables, calls) in [
        (&[][..], ""),
        (&[("PKG_UPGRADE", "0")], ""),
        (&[("PKG_UPGRADE", "1")], "upgrade 1\n"),
        (
            &[("PKG_UPGRADE", "1"), ("FAILS", "1")],
            "upgrade 1\nrestart 0\n",
        ),
        // The package goes into the image of a router.
        (&[("PKG_UPGRADE", "1"), ("IPKG_INSTROOT", "/image")], ""),
    ] {
        let finished = postinst(&top, variables);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert_eq!(finished.out, calls, "{variables:?}");
    }

    let mode = |name: &str| {
        let file = fs::metadata(top.join("root").join(name)).unwrap();
        file.permissions().mode() & 0o777
    };
    assert_eq!(mode("usr/bin/chinwag"), 0o755);
    assert_eq!(mode("etc/init.d/chinwag"), 0o755);
    assert_eq!(mode("etc/config/chinwag"), 0o600);
    assert_eq!(mode("etc/chinwag"), 0o755);

    // Its error would name the target whose file is missing.
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--offline", "--locked", "--no-deps"]);
    command.args(["--format-version", "1", "--manifest-path"]);
    let finished = Process::start(command.arg(top.join("build/Cargo.toml"))).finish();
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(top.join("build/Cargo.lock").exists());
}
