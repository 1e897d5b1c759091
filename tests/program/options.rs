//! The command line, and what stands in the way of a start.

use crate::process::{Process, TempDir, program, program_within};
use crate::steps::{failing, run, users_file};

#[test]
fn help_and_version_go_to_stdout() {
    for flag in ["--help", "-h"] {
        let finished = Process::start(program().arg(flag)).finish();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.err, "");
        assert!(finished.out.starts_with("Usage: chinwag [OPTIONS]\n"));
        assert!(finished.out.contains("--listen ADDR"));
    }
    for flag in ["--version", "-V"] {
        let finished = Process::start(program().arg(flag)).finish();
        assert_eq!(finished.code, Some(0));
        assert_eq!(finished.err, "");
        let version = concat!("chinwag ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(finished.out, version);
    }
}

#[test]
fn usage_errors_name_the_option_and_the_value() {
    let table: [(&[&str], &[&str]); 10] = [
        (
            &["--open", "--listen", "[::ffff:10.0.0.1]:1"],
            &["[::ffff:10.0.0.1]:1", "IPv4"],
        ),
        (&["--idle", "soon"], &["--idle soon", "whole seconds"]),
        (&["-i", "0"], &["--idle 0", "from 1"]),
        (&["--idle", "7", "--max-idle", "5"], &["--idle 7", "5"]),
        (&["--listen", "nowhere"], &["--listen nowhere", "IP:PORT"]),
        (&["--listen", "unix:"], &["--listen unix:", "missing"]),
        (&["--log-bytes", "1K"], &["--log-bytes 1K", "4096"]),
        (&["-q", "-v"], &["--quiet", "--verbose"]),
        (&["--frobnicate"], &["frobnicate"]),
        (&["8255"], &["'8255'"]),
    ];
    for (args, texts) in table {
        let finished = Process::start(program().args(args)).finish();
        finished.expect_refusal(2, texts);
    }
    let finished = Process::start(program().arg("--idle")).finish();
    finished.expect_refusal(2, &["idle", "Try 'chinwag --help'."]);
}

/// Nobody reads the message, and the server does not wait for that.
#[test]
fn a_system_without_random_numbers_is_an_error_for_a_start_and_a_check() {
    // An emulator needs random numbers itself.
    if std::env::var_os("CHINWAG_RUNNER").is_some() {
        return;
    }
    for args in [&["--listen", "127.0.0.1:0"][..], &["--check"]] {
        let Some(mut command) = failing("getrandom", "error=EIO") else {
            return;
        };
        let finished = Process::start(command.args(args)).finish();
        finished.expect_refusal(1, &["random numbers"]);
    }
}

#[test]
fn a_server_that_cannot_start_waits_for_nobody_to_read_why() {
    let script = "mkfifo \"$PIPE\"; exec 3<>\"$PIPE\"; \
                  timeout 1 sh -c 'while :; do echo 0123456789; done' >&3; exec \"$@\" 2>&3";
    let dir = TempDir::new();
    let mut command = program_within(script);
    command.env("PIPE", dir.join("pipe"));
    let args = ["--listen", "127.0.0.1:0", "--users", "/nowhere/users"];
    let finished = Process::start(command.args(args)).finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
}

#[test]
fn a_check_finds_what_a_start_would() {
    let dir = TempDir::new();
    let users = users_file(&dir, "ann\n");
    let users = users.to_str().unwrap();
    run(&["--check", "--users", users]).expect_refusal(1, &[users, "line 1"]);
    let missing = dir.join("missing");
    let missing = missing.to_str().unwrap();
    run(&["--check", "--users", missing]).expect_refusal(1, &[missing]);
    run(&["--check", "--idle", "0"]).expect_refusal(2, &["--idle 0"]);
    run(&["--check", "-l", "0.0.0.0:0"]).expect_refusal(2, &["--open"]);
}
