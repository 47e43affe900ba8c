//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::{Long, Value, ValueExt};

use crate::Failure;
use crate::books::Place;
use crate::mutant::Mutant;

/// What a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Supervises the others while everything dies.
    Run,
    Coordinator,
    Participant,
    /// Supervises, point by point, processes that die there.
    Crash,
    /// Coordinator and participants in one process.
    Everybody,
}

/// All that can be said to a process.
#[derive(Clone, Debug)]
pub(crate) struct Args {
    pub(crate) role: Role,
    /// The bus's URL; the supervisor puts a proxy before it.
    pub(crate) bus: String,
    /// The broker's name, by which it is killed and started.
    pub(crate) broker: String,
    /// The saga log's URL.
    pub(crate) log: String,
    /// Where the participants' books are.
    pub(crate) books: Place,
    /// Of a coordinator: the name of its lease. Of a participant: which kind it is.
    pub(crate) name: String,
    /// Where the processes write what they have to say.
    pub(crate) folder: PathBuf,
    /// How long things are broken.
    pub(crate) time: Duration,
    /// How many sagas are started a second.
    pub(crate) rate: u32,
    pub(crate) mutant: Option<Mutant>,
    /// The point at which it must die.
    pub(crate) at: Option<String>,
    /// Where the points are to be listed that it passes.
    pub(crate) list: Option<PathBuf>,
    /// Nothing dies, but the broker forgets.
    pub(crate) forgets: bool,
}

pub(crate) const USAGE: &str = "\
Usage: saga-chaos run   --run NAME --bus URL --log URL --books PLACE --folder FOLDER --broker NAME [--seconds N] [--rate N] [--mutant NAME] [--forgets]
       saga-chaos crash --run NAME --bus URL --log URL --books PLACE --folder FOLDER [--at POINT] [--mutant NAME]

Started by `cargo xtask chaos` and `cargo xtask crash`, which also start the servers.";

impl Args {
    pub(crate) fn read() -> Result<Self, Failure> {
        let mut parser = lexopt::Parser::from_env();
        let mut args = Self {
            role: Role::Run,
            bus: String::new(),
            broker: String::new(),
            log: String::new(),
            books: Place { at: String::new(), run: String::new() },
            name: String::new(),
            folder: PathBuf::new(),
            time: Duration::from_secs(60),
            rate: 20,
            mutant: None,
            at: None,
            list: None,
            forgets: false,
        };
        while let Some(arg) = parser.next()? {
            match arg {
                Value(role) => {
                    args.role = match role.string()?.as_str() {
                        "run" => Role::Run,
                        "coordinator" => Role::Coordinator,
                        "participant" => Role::Participant,
                        "crash" => Role::Crash,
                        "everybody" => Role::Everybody,
                        other => return Err(format!("there is no role {other:?}").into()),
                    }
                }
                Long("bus") => args.bus = parser.value()?.string()?,
                Long("broker") => args.broker = parser.value()?.string()?,
                Long("log") => args.log = parser.value()?.string()?,
                Long("books") => args.books.at = parser.value()?.string()?,
                Long("run") => args.books.run = parser.value()?.string()?,
                Long("at") => args.at = Some(parser.value()?.string()?),
                Long("list") => args.list = Some(parser.value()?.into()),
                Long("name") => args.name = parser.value()?.string()?,
                Long("folder") => args.folder = parser.value()?.into(),
                Long("seconds") => args.time = Duration::from_secs(parser.value()?.parse()?),
                Long("rate") => args.rate = parser.value()?.parse()?,
                Long("mutant") => args.mutant = Some(parser.value()?.parse()?),
                Long("forgets") => args.forgets = true,
                other => return Err(other.unexpected().into()),
            }
        }
        Ok(args)
    }

    /// What a process of this role and name is started with, which reaches the bus by this URL.
    pub(crate) fn of(&self, role: &str, name: &str, bus: &str) -> Vec<String> {
        let mut words = vec![role.to_owned()];
        let options = [
            ("--bus", bus),
            ("--log", &self.log),
            ("--books", &self.books.at),
            ("--run", &self.books.run),
            ("--name", name),
        ];
        for (option, value) in options {
            words.extend([option.to_owned(), value.to_owned()]);
        }
        if let Some(mutant) = self.mutant {
            words.extend(["--mutant".to_owned(), mutant.name().to_owned()]);
        }
        words
    }

    pub(crate) fn is_on_sqlite(&self) -> bool {
        self.log.starts_with("sqlite:")
    }
}
