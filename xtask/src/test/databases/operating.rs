//! An operator at work with the tool `saga`: an order of the checkout is parked, listed, shown, retried, resolved, and the audit tells of it.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::command::program;

/// How long the checkout may take to park its order, or to end it.
const TIME_MAX: Duration = Duration::from_secs(60);
/// The exit codes of `saga` that matter here.
const DONE: i32 = 0;
const NOT_FOUND: i32 = 3;
const NOT_ALLOWED: i32 = 4;

/// The order that the checkout places when it is given none.
const ORDER: &str = "checkout/12345";
const STEP: &str = "inventory-check";

/// Plays it on a log that is empty.
pub(super) fn check(example: &Path, saga: &Path, log: &str) -> Result<(), String> {
    println!("$ checkout --log … --fail payment --fail-undo inventory, and saga beside it");
    let args = ["--log", log, "--fail", "payment", "--fail-undo", "inventory"];
    let mut checkout = program(example, args);
    let child = checkout.stdout(Stdio::null()).spawn();
    let mut checkout = Running(child.map_err(|error| format!("the checkout could not be started: {error}"))?);
    let operator = Operator { saga, log };
    operator.mend()?;
    let ended = checkout.wait()?;
    // What the operator said to have undone by hand, nobody undid: the checkout's books say so.
    if ended == Some(1) { Ok(()) } else { Err(format!("the checkout ended with {ended:?}, not with 1")) }
}

struct Operator<'a> {
    saga: &'a Path,
    log: &'a str,
}

impl Operator<'_> {
    fn mend(&self) -> Result<(), String> {
        let audit = ["--who", "ann", "--why", "the warehouse answers again"];
        self.until(&["list", "--status", "parked"], ORDER)?;
        let shown = self.says(&["show", ORDER], DONE)?;
        expect(
            &shown,
            &["is parked", "card declined", "stuck", "its undo fails", "saga retry checkout/12345"],
        )?;
        expect(&self.says(&["show", ORDER, "--json"], DONE)?, &[r#""state":"stuck""#, r#""owed":[]"#])?;

        let retry = [&["retry", ORDER, "--step", STEP][..], &audit].concat();
        expect(&self.says(&retry, DONE)?, &["taken"])?;
        // It fails again, as it always does.
        self.until(&["show", ORDER], "undo failed (round 2)")?;
        self.until(&["list", "--status", "parked"], ORDER)?;

        let resolve =
            |what: &'static str| [&["resolve", ORDER, "--step", STEP, "--as", what][..], &audit].concat();
        self.says(&resolve("no-effect"), NOT_ALLOWED)?;
        self.says(&["abandon", "checkout/nobody", "--who", "ann", "--why", "x"], NOT_FOUND)?;
        expect(&self.says(&resolve("undone"), DONE)?, &["taken"])?;
        self.until(&["show", ORDER], "is rolled-back")?;

        let told = self.says(&["audit", ORDER], DONE)?;
        expect(
            &told,
            &[
                "retry inventory-check asked for by ann: the warehouse answers again",
                "retry inventory-check by ann: the warehouse answers again",
                "refused to ann",
                "resolve inventory-check as undone by ann: the warehouse answers again",
                "inventory-check resolved as undone",
            ],
        )?;
        print!("{told}");
        Ok(())
    }

    /// Asks until the answer has this in it.
    fn until(&self, args: &[&str], expected: &str) -> Result<(), String> {
        let begun = Instant::now();
        loop {
            let said = self.command(args).output().map_err(|error| error.to_string())?;
            let said = String::from_utf8_lossy(&said.stdout).into_owned();
            if said.contains(expected) {
                return Ok(());
            }
            if begun.elapsed() > TIME_MAX {
                return Err(format!("saga {} does not say {expected:?} but {said:?}", args.join(" ")));
            }
            sleep(Duration::from_millis(100));
        }
    }

    /// What it says; it must end with this code.
    fn says(&self, args: &[&str], code: i32) -> Result<String, String> {
        let output = self.command(args).output().map_err(|error| error.to_string())?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.code() == Some(code) {
            return Ok(said);
        }
        let (why, ended) = (String::from_utf8_lossy(&output.stderr), output.status);
        Err(format!("saga {} ended with {ended}, not with {code}: {said}{why}", args.join(" ")))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = program(self.saga, args);
        command.env("SAGA_LOG", self.log).stdin(Stdio::null());
        command
    }
}

fn expect(said: &str, expected: &[&str]) -> Result<(), String> {
    match expected.iter().find(|expected| !said.contains(**expected)) {
        None => Ok(()),
        Some(missing) => Err(format!("{missing:?} is not in what saga says:\n{said}")),
    }
}

/// A checkout that does not outlive the check.
struct Running(Child);

impl Running {
    fn wait(&mut self) -> Result<Option<i32>, String> {
        let begun = Instant::now();
        while begun.elapsed() < TIME_MAX {
            if let Some(status) = self.0.try_wait().map_err(|error| error.to_string())? {
                return Ok(status.code());
            }
            sleep(Duration::from_millis(50));
        }
        Err("the checkout does not end".to_owned())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ended = self.0.kill();
        let _waited = self.0.wait();
    }
}
