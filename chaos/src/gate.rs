//! Where a process can die: before and after everything that others see of it. The shells reach the world through ports only, so the decorators
//! in `gated` pass this gate for each of their calls, and handlers pass it around their effect and its commit.
//!
//! Which points there are is not written down anywhere. A process that runs undisturbed lists those that it has passed; each is then where
//! another one dies.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::Failure;

/// Which side of it: nothing of it has happened, or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Edge {
    Before,
    After,
}

impl fmt::Display for Edge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Before { "before" } else { "after" })
    }
}

/// A process has one gate; as long as it is not set, it is open.
static GATE: OnceLock<Gate> = OnceLock::new();

#[derive(Debug)]
enum Gate {
    /// It dies here.
    Armed(String),
    /// It writes every point down that it passes.
    Listing(Mutex<(HashSet<String>, File)>),
}

/// Has this process die where it passes this point for the first time.
pub(crate) fn arm(point: &str) {
    GATE.get_or_init(|| Gate::Armed(point.to_owned()));
}

/// Has this process list the points that it passes.
pub(crate) fn list(file: &Path) -> Result<(), Failure> {
    let file = File::create(file)?;
    GATE.get_or_init(|| Gate::Listing(Mutex::new((HashSet::new(), file))));
    Ok(())
}

/// Whether this is where it must die. The caller may first do what a process would have done that dies in the middle.
pub(crate) fn is_here(edge: Edge, what: &str) -> bool {
    let Some(gate) = GATE.get() else { return false };
    let point = format!("{edge} {what}");
    match gate {
        Gate::Armed(armed) => *armed == point,
        Gate::Listing(listed) => {
            let mut listed = listed.lock().unwrap_or_else(PoisonError::into_inner);
            let (points, file) = &mut *listed;
            if points.insert(point.clone()) {
                writeln!(file, "{point}").expect("a line can be added to the list of points");
            }
            false
        }
    }
}

/// Passes the gate, or dies there.
pub(crate) fn pass(edge: Edge, what: &str) {
    if is_here(edge, what) {
        die();
    }
}

/// As `kill -9` does it: nothing is flushed, closed or told to anyone.
pub(crate) fn die() -> ! {
    let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    unreachable!("this process lives on after kill -9: {killed:?}")
}
