//! What can stand on the command line.

use std::fmt;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use saga::record::{SagaId, SagaKey};

const EXIT_CODES: &str = "\
A saga is named by its definition and its id: checkout/12345. Changes go through the saga's own record, where they are kept with who and \
why; a coordinator that has the saga's definition takes them.

Exit codes:
  0  done
  1  failed: refused by the database or broker, unreadable, or not possible with this build
  2  the command line is wrong
  3  there is no such saga, topic, group or dead letter
  4  not possible in the state the saga is in; nothing was changed
  5  recorded, but no coordinator has taken it within --wait; the next one will
  6  the database or the broker is away; try again";

/// Lists, shows and mends sagas, and their dead letters.
#[derive(Debug, Parser)]
#[command(name = "saga", version, after_long_help = EXIT_CODES, max_term_width = 120)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) place: Place,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Where the sagas are.
#[derive(Args)]
pub(crate) struct Place {
    /// The saga log: sqlite:checkout.db or postgres://user:password@host/database
    #[arg(long, global = true, env = "SAGA_LOG", hide_env_values = true, value_name = "URL")]
    pub(crate) log: Option<String>,
    /// The event bus, for dead letters: kafka://host:9092, amqp://host:5672 or nats://host:4222
    #[arg(long, global = true, env = "SAGA_BUS", hide_env_values = true, value_name = "URL")]
    pub(crate) bus: Option<String>,
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

/// Without the URLs: there may be passwords in them.
impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("json", &self.json).finish_non_exhaustive()
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List sagas
    List(List),
    /// Show a saga: its steps, what it owes next, and what happened to it
    Show(Show),
    /// Try what is stuck again, in a new round: a step, or everything, a refused completion call included
    Retry(Retry),
    /// Declare what a stuck or silent step is; it takes effect once the step can no longer run
    Resolve(Resolve),
    /// Ask for a saga to be undone
    Cancel(Change),
    /// End a saga as it stands, whatever is done or not; of one that has ended, give its completion call up
    Abandon(Change),
    /// Show what operators did: to one saga, or to all
    Audit {
        /// Only to this one, for example checkout/12345
        #[arg(value_name = "SAGA/ID")]
        key: Option<Key>,
        /// At most so many
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Dead letters: messages that a group of consumers gave up
    Dlq {
        #[command(subcommand)]
        command: Dlq,
    },
    /// Print completions for a shell: saga completions bash > /etc/bash_completion.d/saga
    Completions {
        /// Which shell
        shell: Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only sagas of this name
    #[arg(long, value_name = "NAME")]
    pub(crate) saga: Option<String>,
    /// Only those that stand so
    #[arg(long)]
    pub(crate) status: Option<StatusArg>,
    /// Only those after this one: where the last page ended
    #[arg(long, value_name = "SAGA/ID")]
    pub(crate) after: Option<Key>,
    /// At most so many
    #[arg(long, default_value_t = 100)]
    pub(crate) limit: usize,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Which, for example checkout/12345
    #[arg(value_name = "SAGA/ID")]
    pub(crate) key: Key,
    /// Show inputs and outputs too; they may hold personal data
    #[arg(long)]
    pub(crate) payloads: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Retry {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Only this step
    #[arg(long)]
    pub(crate) step: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Resolve {
    #[command(flatten)]
    pub(crate) change: Change,
    /// Which step
    #[arg(long)]
    pub(crate) step: String,
    /// What it is
    #[arg(long = "as", value_name = "WHAT")]
    pub(crate) resolution: ResolutionArg,
    /// With --as done: what the step returned, as JSON
    #[arg(long, value_name = "JSON", required_if_eq("resolution", "done"))]
    pub(crate) output: Option<String>,
}

/// A change of a saga.
#[derive(Debug, Args)]
pub(crate) struct Change {
    /// Which, for example checkout/12345
    #[arg(value_name = "SAGA/ID")]
    pub(crate) key: Key,
    #[command(flatten)]
    pub(crate) audit: Audit,
}

/// Who changes something, and why.
#[derive(Debug, Args)]
pub(crate) struct Audit {
    /// Who asks; asked for on a terminal
    #[arg(long)]
    pub(crate) who: Option<String>,
    /// Why; asked for on a terminal
    #[arg(long)]
    pub(crate) why: Option<String>,
    /// How long to wait for a coordinator, in seconds
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) wait: u64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Dlq {
    /// List dead letters: of one topic and group, or of all
    List {
        /// Only of this topic
        topic: Option<String>,
        /// Only of this group
        group: Option<String>,
        /// At most so many of each group
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// Show a dead letter whole
    Show {
        /// Its topic
        topic: String,
        /// The group that gave it up
        group: String,
        /// Its id, as listed
        id: String,
    },
    /// Send a group's dead letters again. Commands of sagas stay as evidence: their steps are retried, which needs --log
    Redrive {
        /// Their topic
        topic: String,
        /// The group that gave them up
        group: String,
        /// Only the command of this id
        #[arg(long)]
        id: Option<String>,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        audit: Audit,
    },
}

/// A saga, as it is written on the command line.
#[derive(Clone, Debug)]
pub(crate) struct Key(pub(crate) SagaKey);

impl FromStr for Key {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // A name has no slash; an id may have.
        let (saga, id) = text.split_once('/').filter(|(saga, _)| !saga.is_empty()).ok_or_else(|| {
            "a saga is named by its definition and its id, for example checkout/12345".to_owned()
        })?;
        let id = SagaId::new(id).map_err(|error| error.to_string())?;
        Ok(Self(SagaKey { saga: saga.into(), id }))
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum StatusArg {
    Running,
    Unwinding,
    Parked,
    Completed,
    RolledBack,
    Abandoned,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ResolutionArg {
    /// It is done, with --output
    Done,
    /// It had no effect, and will have none
    NoEffect,
    /// Its effect was undone by other means
    Undone,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_key_is_a_name_and_an_id() {
        let key = "checkout/2026/7".parse::<Key>().unwrap().0;
        assert_eq!((&*key.saga, key.id.as_str()), ("checkout", "2026/7"));
        for wrong in ["checkout", "/1", "checkout/"] {
            assert!(wrong.parse::<Key>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_wrong_is_refused_and_no_url_is_shown() {
        for wrong in ["saga", "saga show", "saga resolve a/1 --step x --as done", "saga list --status lost"] {
            assert!(Cli::try_parse_from(wrong.split(' ')).is_err(), "{wrong}");
        }
        let cli = Cli::try_parse_from(["saga", "list", "--log", "postgres://u:secret@h/d"]).unwrap();
        assert!(!format!("{cli:?}").contains("secret"));
        let help = Cli::command().render_long_help().to_string();
        assert!(help.contains("recorded, but no coordinator has taken it"), "{help}");
    }
}
