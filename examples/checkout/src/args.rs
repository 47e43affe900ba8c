//! What the user asked for on the command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;
use saga::FailurePolicy;

use crate::books::Place;
use crate::bus::MEMORY;
use crate::callback::CompletionCall;
use crate::trouble::{Picks, Plan, SubCase};

pub(crate) const HELP: &str = "\
The shopping-cart checkout: finishing a purchase runs four sub-cases in parallel. When all have succeeded, an HTTP
endpoint receives a POST of `all task complete`; when one fails, what the others did is undone.

Usage: cargo run --example checkout -- [OPTIONS]

What goes wrong (SUBCASES: one or several of inventory, payment, history, confirmation, with commas;
payment:10 means every 10th order only, by the number that its id ends with):
  --fail SUBCASES      out of stock, card declined, history store down, mail server down
  --fail-undo SUBCASES what they did cannot be undone: where another fails, the order is parked, and the example waits
                       for an operator. It is shown and mended with the tool `saga`, which needs a --log other than memory:
  --silent SUBCASES    they do their work, but their answers are lost; after 1 s the checkout undoes it
  --slow SUBCASE=TIME  takes longer, for example payment=300ms; with commas, or given again, for several
  --policy POLICY      how long the others may still finish after a first failure:
                       fail-fast, wait-all, or grace=TIME [default: grace=10s]

What is ordered:
  --orders FILE        orders as JSON lines, any number; - is the standard input. One line is for example
                       {\"event\":\"order-placed\",\"order_id\":\"1\",\"customer_id\":\"c\",\"items\":[{\"product_id\":\"p001\",\"quantity\":2}]}
                       Without it, one order is placed and everything that happens to it is shown.
                       The same order again is one purchase. A bad line is reported and put with the dead letters.

Who is told:
  --callback URL       POST to this http:// URL instead of an endpoint of the example's own.
                       The example waits until every call is answered.

Where it runs:
  --bus URL            memory: (the default), or with the feature of that name on: nats://localhost:4222,
                       kafka://localhost:9092, amqp://localhost:5672. ?prefix=NAME. keeps runs on one broker apart
  --log URL            where the coordinator keeps its sagas: memory: (the default), or with the feature of that name on:
                       sqlite:checkout.db, postgres://user:password@localhost/shop. With one of those, an order that was
                       placed in an earlier run is the same purchase and not made again
  --books PLACE        where the sub-cases keep their books, each its own: memory: (the default), sqlite:FOLDER with a file for each, or
                       postgres://user:password@localhost/shop with a schema for each, checkout_payment and so on, which
                       ?schema=NAME changes to NAME_payment. In a database they survive whatever dies, and any number of processes of
                       one role work on them. In one process it needs a --log that lasts, too
  --role ROLE          only this part, in a process of its own: coordinator, shop, inventory, payment, history,
                       confirmation, endpoint. The shop ends with its orders, the others by Ctrl-C or SIGTERM
  --listen ADDRESS     where --role endpoint receives the completion calls, for example 127.0.0.1:8080
  --report FILE        a role writes what it knows in the end there, as JSON
  --check-reports FILES...
                       compares such reports, that of the shop among them, and runs nothing

  --help               this text

Exit code: 0 when every order ended as it should and the books of all sub-cases are right; 1 when not, or when a line
was bad; 2 when the options are wrong.";

/// The options of a run.
#[derive(Debug)]
pub(crate) struct Args {
    pub(crate) plan: Plan,
    pub(crate) policy: FailurePolicy,
    pub(crate) source: Source,
    /// Whom to call; `None` for an endpoint of the example's own.
    pub(crate) callback: Option<CompletionCall>,
    pub(crate) bus: String,
    /// Where the coordinator keeps its sagas.
    pub(crate) log: String,
    /// Where the sub-cases keep their books.
    pub(crate) books: Place,
    /// Which part to run; `None` for the whole.
    pub(crate) role: Option<Role>,
    /// Where an endpoint of its own listens.
    pub(crate) listen: String,
    pub(crate) report: Option<PathBuf>,
    /// What to compare instead of running.
    pub(crate) check: Vec<PathBuf>,
}

/// A part of the checkout that can run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    Coordinator,
    Shop,
    SubCase(SubCase),
    /// Receives the completion calls.
    Endpoint,
}

/// Where the orders come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    Demonstration,
    Stdin,
    File(PathBuf),
}

impl Args {
    /// Reads the command line, without the program's name; `None` when help is asked for.
    pub(crate) fn parse<I>(args: I) -> Result<Option<Self>, lexopt::Error>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let mut parser = lexopt::Parser::from_args(args);
        let mut parsed = Self {
            plan: Plan::default(),
            policy: FailurePolicy::default(),
            source: Source::Demonstration,
            callback: None,
            bus: MEMORY.to_owned(),
            log: MEMORY.to_owned(),
            books: Place::new(MEMORY.to_owned())?,
            role: None,
            listen: "127.0.0.1:0".to_owned(),
            report: None,
            check: Vec::new(),
        };
        while let Some(arg) = parser.next()? {
            match arg {
                Long("fail") => parser.value()?.parse_with(|text| picks(text, &mut parsed.plan.fail))?,
                Long("fail-undo") => {
                    parser.value()?.parse_with(|text| picks(text, &mut parsed.plan.fail_undo))?;
                }
                Long("silent") => parser.value()?.parse_with(|text| picks(text, &mut parsed.plan.silent))?,
                Long("slow") => parser.value()?.parse_with(|text| slow(text, &mut parsed.plan.slow))?,
                Long("policy") => parsed.policy = parser.value()?.parse_with(policy)?,
                Long("orders") => parsed.source = source(parser.value()?),
                Long("callback") => parsed.callback = Some(parser.value()?.parse_with(CompletionCall::new)?),
                Long("bus") => parsed.bus = parser.value()?.string()?,
                Long("log") => parsed.log = parser.value()?.string()?,
                Long("books") => parsed.books = Place::new(parser.value()?.string()?)?,
                Long("role") => parsed.role = Some(parser.value()?.parse_with(role)?),
                Long("listen") => parsed.listen = parser.value()?.string()?,
                Long("report") => parsed.report = Some(parser.value()?.into()),
                Long("check-reports") => parsed.check.extend(parser.values()?.map(PathBuf::from)),
                Long("help") | Short('h') => return Ok(None),
                other => return Err(other.unexpected()),
            }
        }
        parsed.check_together()?;
        Ok(Some(parsed))
    }

    fn check_together(&self) -> Result<(), String> {
        if self.books.lasts() && self.plan.has_silent() {
            let why = "--silent needs --books memory: an answer in a database is found there and sent again";
            return Err(why.to_owned());
        }
        if self.books.lasts() && self.role.is_none() && self.log == MEMORY {
            let why = "--books needs a --log that lasts, too: who forgets an order would sell it once more";
            return Err(why.to_owned());
        }
        match self.role {
            Some(Role::Endpoint) | None => Ok(()),
            Some(_) if self.bus == MEMORY => {
                Err("--role needs a broker that other processes can reach; give it by --bus".to_owned())
            }
            Some(Role::Coordinator) if self.callback.is_none() => {
                Err("--role coordinator needs --callback: an endpoint of its own has --role endpoint"
                    .to_owned())
            }
            Some(_) => Ok(()),
        }
    }
}

fn role(name: &str) -> Result<Role, String> {
    match name {
        "coordinator" => Ok(Role::Coordinator),
        "shop" => Ok(Role::Shop),
        "endpoint" => Ok(Role::Endpoint),
        other => match SubCase::ALL.into_iter().find(|case| case.name() == other) {
            Some(case) => Ok(Role::SubCase(case)),
            None => Err(format!(
                "{other:?} is none of coordinator, shop, inventory, payment, history, confirmation, endpoint"
            )),
        },
    }
}

fn source(value: OsString) -> Source {
    if value == "-" { Source::Stdin } else { Source::File(value.into()) }
}

/// `payment,history:10`
fn picks(text: &str, picks: &mut Picks) -> Result<(), String> {
    for pick in text.split(',') {
        let (name, every) = pick.split_once(':').unwrap_or((pick, "1"));
        let every = every.parse().ok().filter(|every| *every > 0);
        let every = every.ok_or_else(|| format!("{pick:?}: after the colon stands a number from 1"))?;
        picks[sub_case(name)? as usize] = Some(every);
    }
    Ok(())
}

/// `payment=300ms,history=1s`
fn slow(text: &str, slow: &mut [Duration; 4]) -> Result<(), String> {
    for pick in text.split(',') {
        let Some((name, time)) = pick.split_once('=') else {
            return Err(format!("{pick:?} does not say how slow; write for example payment=300ms"));
        };
        slow[sub_case(name)? as usize] = duration(time)?;
    }
    Ok(())
}

fn policy(text: &str) -> Result<FailurePolicy, String> {
    match text {
        "fail-fast" => Ok(FailurePolicy::FailFast),
        "wait-all" => Ok(FailurePolicy::WaitAll),
        _ => match text.strip_prefix("grace=") {
            Some(time) => duration(time).map(FailurePolicy::Grace),
            None => Err(format!("{text:?} is none of fail-fast, wait-all, grace=TIME")),
        },
    }
}

fn sub_case(name: &str) -> Result<SubCase, String> {
    let found = SubCase::ALL.into_iter().find(|case| case.name() == name);
    found.ok_or_else(|| format!("{name:?} is none of inventory, payment, history, confirmation"))
}

/// `300ms` or `2s`, up to an hour.
fn duration(text: &str) -> Result<Duration, String> {
    const MS_MAX: u64 = 3_600_000;
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let ms = match unit {
        "ms" => number.parse().ok(),
        "s" => number.parse().ok().and_then(|seconds: u64| seconds.checked_mul(1_000)),
        _ => None,
    };
    let ms = ms.filter(|ms| *ms <= MS_MAX);
    ms.map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is no time; write for example 300ms or 2s, at most 3600s"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        match Args::parse(line.split_whitespace()) {
            Ok(Some(args)) => Ok(args),
            Ok(None) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_option_is_understood() {
        let args = parse(
            "--fail payment,history:10 --fail-undo inventory --silent=inventory --slow payment=300ms --slow history=2s --policy grace=2s --orders -",
        )
        .unwrap();
        let slow = |ms| Duration::from_millis(ms);
        let plan = Plan {
            fail: [None, Some(1), Some(10), None],
            fail_undo: [Some(1), None, None, None],
            silent: [Some(1), None, None, None],
            slow: [slow(0), slow(300), slow(2_000), slow(0)],
        };
        assert_eq!(args.plan, plan);
        assert_eq!(args.policy, FailurePolicy::Grace(Duration::from_secs(2)));
        assert_eq!(args.source, Source::Stdin);

        assert_eq!(parse("--policy fail-fast").unwrap().policy, FailurePolicy::FailFast);
        assert_eq!(parse("--policy wait-all").unwrap().policy, FailurePolicy::WaitAll);
        assert_eq!(parse("--orders a.jsonl").unwrap().source, Source::File("a.jsonl".into()));
        assert!(parse("--callback http://127.0.0.1:9/done").unwrap().callback.is_some());
        let args = parse("--bus nats://h?prefix=a. --role payment --report p.json").unwrap();
        assert_eq!((&*args.bus, args.role), ("nats://h?prefix=a.", Some(Role::SubCase(SubCase::Payment))));
        assert_eq!(args.report, Some("p.json".into()));
        assert_eq!(parse("--log sqlite:a.db").unwrap().log, "sqlite:a.db");
        assert!(!args.books.lasts());
        #[cfg(feature = "sqlite")]
        assert!(parse("--log sqlite:a.db --books sqlite:books").unwrap().books.lasts());
        assert_eq!(parse("--check-reports a b").unwrap().check, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(parse("--role endpoint --listen 127.0.0.1:8080").unwrap().listen, "127.0.0.1:8080");
        assert_eq!(parse("--fail payment --help").unwrap_err(), "help");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let wrong = [
            ("--fial payment", "--fial"),
            ("payment", "payment"),
            ("--fail", "missing"),
            ("--fail shipping", "inventory, payment, history, confirmation"),
            ("--fail payment:0", "number from 1"),
            ("--slow payment", "payment=300ms"),
            ("--slow payment=3", "300ms"),
            ("--slow payment=99999999999999999999s", "no time"),
            ("--policy grace", "grace=TIME"),
            ("--books mysql://h", "sqlite:FOLDER"),
            #[cfg(feature = "sqlite")]
            ("--books sqlite:books", "--log that lasts"),
            #[cfg(feature = "sqlite")]
            ("--books sqlite:books --log sqlite:a.db --silent payment", "--silent needs"),
            #[cfg(not(feature = "sqlite"))]
            ("--books sqlite:books", "--features sqlite"),
            ("--role cashier", "none of coordinator"),
            ("--role payment", "--bus"),
            ("--role coordinator --bus nats://h", "--callback"),
            ("--callback ftp://shop.example/", "ftp"),
        ];
        for (line, expected) in wrong {
            let error = parse(line).unwrap_err();
            assert!(error.contains(expected), "{line}: {error}");
        }
    }
}
