//! The tool as a shell sees it: what it prints, and how it ends. How it mends sagas is tried beside the checkout, by `cargo xtask test`.

use std::process::{Command, Output, Stdio};

fn saga(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_saga"));
    command.args(args).env_remove("SAGA_LOG").env_remove("SAGA_BUS").stdin(Stdio::null());
    command.output().unwrap()
}

fn ends(args: &[&str], code: i32, expected: &str) {
    let output = saga(args);
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
    assert!(said.contains(expected), "{args:?}: {said}");
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    ends(&["list"], 2, "--log URL, or SAGA_LOG");
    ends(&["list", "--log", "memory:"], 2, "sagas are operated in a database");
    ends(&["dlq", "list"], 2, "--bus URL, or SAGA_BUS");
    ends(&["show", "checkout"], 2, "checkout/12345");
    ends(&["retry", "a/1", "--log", "sqlite:x.db"], 2, "--who must be given");
    ends(&["list", "--log", "mysql://u:secret@h"], 1, "its scheme is not known");
}

#[test]
fn help_names_the_exit_codes() {
    ends(&["--help"], 0, "recorded, but no coordinator has taken it");
    ends(&["completions", "bash"], 0, "complete -F _saga");
}

#[cfg(feature = "sqlite")]
#[test]
fn an_empty_log_has_no_sagas() {
    let file = std::env::temp_dir().join(format!("saga-cli-{}.db", std::process::id()));
    let log = format!("sqlite:{}", file.display());
    ends(&["list", "--log", &log], 0, "SAGA  STATUS  DEFINITION  CHANGED");
    ends(&["list", "--log", &log, "--json"], 0, "[]");
    ends(&["audit", "--log", &log], 0, "AT  SAGA  WHAT");
    ends(&["show", "checkout/1", "--log", &log], 3, "there is no saga checkout/1");
    ends(
        &["abandon", "checkout/1", "--log", &log, "--who", "a", "--why", "b"],
        3,
        "there is no saga checkout/1",
    );
    ends(&["list", "--log", "sqlite:/nowhere/at/all.db"], 6, "cannot be opened");
    for end in ["", "-wal", "-shm"] {
        let _none = std::fs::remove_file(format!("{}{end}", file.display()));
    }
}

/// As in `saga completions bash | head -0`.
#[cfg(unix)]
#[test]
fn nobody_reading_is_no_failure() {
    let mut command = Command::new("sh");
    let script =
        format!("{{ {} completions bash; echo ended with $? >&2; }} | true", env!("CARGO_BIN_EXE_saga"));
    let output = command.args(["-c", &script]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said.trim(), "ended with 0");
}
