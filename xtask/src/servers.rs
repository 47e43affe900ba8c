//! `cargo xtask servers`: real brokers and a database on this machine, on loopback and free ports, installed and started from nothing.

mod kafka;
mod nats;
mod place;
mod postgres;
mod process;
mod rabbit;
mod security;
mod state;

use std::path::Path;
use std::time::{Duration, Instant};

use self::place::Place;
use self::state::State;
use crate::command::ourselves;

/// A server that can be installed and started here.
struct Server {
    name: &'static str,
    /// What is installed for it.
    product: &'static str,
    version: &'static str,
    /// Points at a server of the user's own instead.
    variable: &'static str,
    /// Started if no server is named.
    by_default: bool,
    /// What it listens on; the first is the one that clients use.
    ports: &'static [&'static str],
    install: fn(&Place) -> Result<(), String>,
    /// Before its very first start.
    prepare: fn(&Place, &State) -> Result<(), String>,
    command: fn(&Place, &State) -> std::process::Command,
    url: fn(&State) -> String,
    /// Further variables for the tests.
    more: fn(&State) -> Vec<(String, String)>,
    /// Whether it answers, and not only listens.
    answers: fn(&Place, &State) -> bool,
    /// The folder of its data, beside its log, if it has one that can be copied.
    data: Option<&'static str>,
}

impl Server {
    fn place(&self, target: &Path) -> Place {
        Place::new(target, self.name, self.product, self.version)
    }
}

const SERVERS: &[Server] = &[
    kafka::SERVER,
    rabbit::SERVER,
    rabbit::OLDER,
    nats::SERVER,
    nats::OLDER,
    nats::WITH_TOKEN,
    nats::WITH_USER,
    nats::WITH_NKEY,
    postgres::SERVER,
];

/// How long a server may take until it answers.
const READY_MAX: Duration = Duration::from_secs(120);

/// The variable that holds the command which works on servers.
const COMMAND: &str = "SAGA_SERVERS";

/// Runs a verb from the command line.
pub(crate) fn run(target: &Path, args: &[&str]) -> Result<bool, String> {
    let (verb, names) = args.split_first().ok_or(USAGE)?;
    let servers = chosen(names)?;
    match *verb {
        "up" => {
            let wanted: Vec<_> =
                servers.into_iter().filter(|server| server.by_default || !names.is_empty()).collect();
            for (name, value) in up_all(target, &wanted)? {
                println!("{name}={value}");
            }
        }
        "down" => servers.iter().try_for_each(|server| down_one(target, server))?,
        "status" => servers.iter().for_each(|server| println!("{}", status(target, server))),
        "kill" | "start" | "pause" | "resume" | "save" | "restore" if names.is_empty() => {
            return Err(format!("{verb} which one?\n\n{USAGE}"));
        }
        "kill" => each(target, &servers, |_, state, _| process::kill(state.pid))?,
        "pause" => each(target, &servers, |_, state, _| process::signal(state.pid, "STOP"))?,
        "resume" => each(target, &servers, |_, state, _| process::signal(state.pid, "CONT"))?,
        "save" => each(target, &servers, |place, state, server| copy(place, state, server, false))?,
        "restore" => each(target, &servers, |place, state, server| copy(place, state, server, true))?,
        "start" => {
            each(target, &servers, |place, state, server| start(place, server, state.clone()).map(drop))?
        }
        other => return Err(format!("there is no verb {other:?}\n\n{USAGE}")),
    }
    Ok(true)
}

pub(crate) const USAGE: &str = "\
Usage: cargo xtask servers up|down|status [SERVER...]
       cargo xtask servers kill|start|pause|resume SERVER...
       cargo xtask servers save|restore nats...

Servers: kafka, rabbit, nats, nats-token, nats-user, nats-nkey, postgres; by name only: rabbit-3.10, nats-2.10.

Installs brokers and databases and starts them on loopback, their data below the target directory; prints the variables that hold
their URLs. With SAGA_KAFKA_URL, SAGA_RABBIT_URL, SAGA_NATS_URL or SAGA_POSTGRES_URL set, that server of yours is used instead.
Kafka and RabbitMQ have encrypted listeners, too, that demand a user or a certificate; on NATS those are servers of their own.
kill, start, pause and resume work on a running one, for tests of faults; its data stay. save keeps a copy of the data of one that was
killed, restore puts the last copy in their place.";

/// Starts these servers, and returns the variables that point at them.
pub(crate) fn up(target: &Path, names: &[&str]) -> Result<Vec<(String, String)>, String> {
    // Nobody needs certificates then.
    if names.is_empty() { Ok(Vec::new()) } else { up_all(target, &named(names)?) }
}

/// One of the variables that [`up`] returned.
pub(crate) fn value<'a>(variables: &'a [(String, String)], name: &str) -> Result<&'a str, String> {
    let found = variables.iter().find(|(known, _)| known == name);
    found.map(|(_, value)| value.as_str()).ok_or_else(|| format!("{name} is not known"))
}

/// Stops these servers.
pub(crate) fn down(target: &Path, names: &[&str]) -> Result<(), String> {
    named(names)?.into_iter().try_for_each(|server| down_one(target, server))
}

/// Those that a command line names: all, if it names none.
fn chosen(names: &[&str]) -> Result<Vec<&'static Server>, String> {
    if names.is_empty() { Ok(SERVERS.iter().collect()) } else { named(names) }
}

fn named(names: &[&str]) -> Result<Vec<&'static Server>, String> {
    let find = |name: &&str| {
        let found = SERVERS.iter().find(|server| server.name == *name);
        found.ok_or_else(|| format!("there is no server {name:?}\n\n{USAGE}"))
    };
    names.iter().map(find).collect()
}

fn up_all(target: &Path, servers: &[&Server]) -> Result<Vec<(String, String)>, String> {
    let certificates = place::certificates(target);
    security::certify(&certificates)?;
    let mut variables = Vec::from(security::variables(&certificates));
    for server in servers {
        if let Ok(url) = std::env::var(server.variable) {
            println!("{}: {} is set, so no server is started", server.name, server.variable);
            variables.push((server.variable.to_owned(), url));
            continue;
        }
        let state = up_one(target, server)?;
        variables.push((server.variable.to_owned(), (server.url)(&state)));
        variables.extend((server.more)(&state));
    }
    let program = ourselves()?;
    variables.push((COMMAND.to_owned(), format!("{} servers", program.display())));
    Ok(variables)
}

fn up_one(target: &Path, server: &Server) -> Result<State, String> {
    let place = server.place(target);
    if let Some(state) = running(&place) {
        return Ok(state);
    }
    (server.install)(&place)
        .map_err(|why| format!("{} {} could not be installed: {why}", server.name, server.version))?;
    place.renew()?;
    // Somebody else may take a port between its choice and the start.
    let mut why = String::new();
    for _ in 0..3 {
        let state = State::with_ports(server.ports)?;
        place.renew()?;
        (server.prepare)(&place, &state)?;
        match start(&place, server, state) {
            Ok(state) => return Ok(state),
            Err(problem) => why = problem,
        }
    }
    Err(why)
}

fn start(place: &Place, server: &Server, mut state: State) -> Result<State, String> {
    let begun = Instant::now();
    println!("{}: starting {} {}", server.name, server.name, server.version);
    state.pid = process::spawn((server.command)(place, &state), &place.log())?;
    state.write(place)?;
    while begun.elapsed() < READY_MAX {
        if !process::is_alive(state.pid) {
            break;
        }
        if (server.answers)(place, &state) {
            println!(
                "{}: answers after {:.1} s at {}",
                server.name,
                begun.elapsed().as_secs_f64(),
                (server.url)(&state)
            );
            return Ok(state);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let _may_be_gone = process::kill(state.pid);
    Err(format!("{} did not start; the end of its log:\n{}", server.name, place.log_end()))
}

/// Keeps a copy of its data, or puts the copy back.
fn copy(place: &Place, state: &State, server: &Server, is_back: bool) -> Result<(), String> {
    let data = server.data.ok_or_else(|| format!("the data of {} cannot be copied", server.name))?;
    if process::is_alive(state.pid) {
        return Err(format!("{} runs: kill it first", server.name));
    }
    let (data, saved) = (place.home(data), place.home("saved"));
    let (from, to) = if is_back { (&saved, &data) } else { (&data, &saved) };
    if !from.is_dir() {
        return Err(format!("there is no {}", from.display()));
    }
    if to.exists() {
        std::fs::remove_dir_all(to).map_err(|error| format!("{}: {error}", to.display()))?;
    }
    crate::command::output(crate::command::program(Path::new("cp"), [Path::new("-a"), from, to])).map(drop)
}

fn down_one(target: &Path, server: &Server) -> Result<(), String> {
    let place = server.place(target);
    if let Some(state) = running(&place) {
        process::stop(state.pid)?;
        println!("{}: stopped", server.name);
    }
    State::remove(&place);
    Ok(())
}

fn status(target: &Path, server: &Server) -> String {
    let place = server.place(target);
    match running(&place) {
        Some(state) => {
            format!("{} {}: runs as {}, {}", server.name, server.version, state.pid, (server.url)(&state))
        }
        None => format!("{} {}: does not run", server.name, server.version),
    }
}

fn running(place: &Place) -> Option<State> {
    State::read(place).filter(|state| process::is_alive(state.pid))
}

/// Works on servers that were started, whether they run now or not.
fn each(
    target: &Path,
    servers: &[&Server],
    work: impl Fn(&Place, &State, &Server) -> Result<(), String>,
) -> Result<(), String> {
    servers.iter().try_for_each(|server| {
        let place = server.place(target);
        let state = State::read(&place)
            .ok_or_else(|| format!("{} was not started by `cargo xtask servers up`", server.name))?;
        work(&place, &state, server)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_chosen_by_name() {
        let names = |names: &[&str]| {
            chosen(names).map(|servers| servers.iter().map(|server| server.name).collect::<Vec<_>>())
        };
        assert_eq!(
            names(&[]).unwrap(),
            [
                "kafka",
                "rabbit",
                "rabbit-3.10",
                "nats",
                "nats-2.10",
                "nats-token",
                "nats-user",
                "nats-nkey",
                "postgres"
            ]
        );
        assert_eq!(names(&["nats"]).unwrap(), ["nats"]);
        assert!(names(&["zeromq"]).unwrap_err().contains("zeromq"));
    }
}
