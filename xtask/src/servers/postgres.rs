//! PostgreSQL: Debian's package. The server refuses to run as root, so it then runs as the package's own user.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::Server;
use super::place::Place;
use super::process;
use super::state::State;
use crate::command::output;

const VERSION: &str = "15";
/// The user of the database, and its password.
const USER: &str = "saga";
/// The user of this machine that the package makes.
const SYSTEM_USER: &str = "postgres";

pub(super) const SERVER: Server = Server {
    name: "postgres",
    product: "postgres",
    version: VERSION,
    variable: "SAGA_POSTGRES_URL",
    by_default: true,
    ports: &["client"],
    install,
    prepare,
    command,
    url: |state| format!("postgres://{USER}:{USER}@{}/postgres", state.address("client")),
    more: |_| Vec::new(),
    answers,
    data: None,
};

fn programs() -> PathBuf {
    Path::new("/usr/lib/postgresql").join(VERSION).join("bin")
}

fn install(_: &Place) -> Result<(), String> {
    if programs().join("postgres").exists() {
        return Ok(());
    }
    println!("postgres: installing {VERSION}");
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.env("DEBIAN_FRONTEND", "noninteractive").args(args);
        output(command)
    };
    let package = format!("postgresql-{VERSION}");
    apt(&["update", "-qq"])?;
    apt(&["install", "-qq", "--yes", "--no-install-recommends", &package])
        .map(drop)
        .map_err(|why| format!("{why}\nset SAGA_POSTGRES_URL to a server of your own, version 12 or later"))
}

fn prepare(place: &Place, _: &State) -> Result<(), String> {
    let (data, password) = (place.home("data"), place.home("password"));
    place.write_at(&password, USER)?;
    fs::create_dir_all(&data).map_err(|error| format!("{}: {error}", data.display()))?;
    if is_root() {
        for path in [&data, &password] {
            let mut chown = Command::new("chown");
            chown.arg(SYSTEM_USER).arg(path);
            output(chown)?;
        }
    }
    let mut initdb = unprivileged(&programs().join("initdb"));
    initdb.args(["--username", USER, "--auth=scram-sha-256", "--encoding=UTF8", "--no-locale", "--pwfile"]);
    initdb.arg(password).arg("--pgdata").arg(&data);
    output(initdb).map(drop).map_err(|why| {
        format!("{why}\nthe user {SYSTEM_USER} must be able to enter the folders above {}", data.display())
    })
}

fn command(place: &Place, state: &State) -> Command {
    forget_the_dead(place);
    let mut command = unprivileged(&programs().join("postgres"));
    command.arg("-D").arg(place.home("data")).args(["-p", &state.port("client").to_string()]);
    for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=300"] {
        command.args(["-c", setting]);
    }
    command
}

/// It does not start beside a process with the number that it last had, not even if that is dead and its parent has not noticed.
fn forget_the_dead(place: &Place) {
    let file = place.home("data/postmaster.pid");
    let text = fs::read_to_string(&file).unwrap_or_default();
    let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
    if pid.is_some_and(|pid| !process::is_alive(pid)) {
        // Its own processes end once they have noticed.
        std::thread::sleep(Duration::from_millis(500));
        let _it_says_so_if_it_is_still_there = fs::remove_file(file);
    }
}

fn unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={SYSTEM_USER}")).arg(format!("--regid={SYSTEM_USER}"));
    // From a folder that it may not read it would complain.
    command.args(["--init-groups", "--"]).arg(program).current_dir("/");
    command
}

fn is_root() -> bool {
    output(crate::command::program(Path::new("id"), ["-u"])).is_ok_and(|id| id.trim() == "0")
}

fn answers(_: &Place, state: &State) -> bool {
    let mut command = Command::new(programs().join("pg_isready"));
    command.args(["-q", "-h", "127.0.0.1", "-p", &state.port("client").to_string()]);
    output(command).is_ok()
}
