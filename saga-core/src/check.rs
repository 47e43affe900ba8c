//! Would the sagas of a log still run with the definitions of this build?

use std::fmt;
use std::sync::Arc;

use crate::definition::{Definition, Uncomputable};
use crate::error::{Error, ErrorKind};
use crate::machine::Instance;
use crate::ports::{Query, Record, SagaLog, StoredSaga};
use crate::record::{Fact, Payload, SagaKey, StepIndex};

/// How many sagas are read at once.
const PAGE: usize = 256;

/// What [`check`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Checked {
    /// How many sagas were looked at: those that have not been pruned.
    pub sagas: u64,
    /// What is wrong, in the order of the sagas' keys.
    pub findings: Vec<Finding>,
}

/// Something wrong with one saga.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// Which saga.
    pub key: SagaKey,
    /// How bad it is.
    pub kind: FindingKind,
    /// What is wrong, and with which step.
    pub problem: String,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// The saga would wait for a coordinator that has its definition.
    Unregistered,
    /// The saga could not go on with this build: its record cannot be replayed, or a payload not be read.
    Broken,
    /// It goes on, since what was sent is recorded; but a closure makes another input of the same data than it did.
    Drifted,
}

impl Checked {
    /// Whether every saga would run.
    pub fn is_sound(&self) -> bool {
        self.findings.iter().all(|finding| finding.kind == FindingKind::Drifted)
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            FindingKind::Unregistered => "would wait",
            FindingKind::Broken => "would not run",
            FindingKind::Drifted => "has drifted",
        };
        write!(f, "saga {} {kind}: {}", self.key, self.problem)
    }
}

/// Replays every saga in a log against definitions, as a coordinator that has them would, and tells which would no longer run. Nothing is
/// changed, nothing performed; it can run beside coordinators, for example before a new version is rolled out.
///
/// Input closures are called with what is recorded; a closure that depends on anything else drifts.
///
/// ```
/// # use std::sync::Arc;
/// # use saga_core::{Contract, NoUndo, Saga, memory::MemoryLog, ports::SagaLog};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # const MAIL: Contract<u64, (), NoUndo> = Contract::new("mail");
/// # let mut saga = Saga::<u64>::builder("greeting", 1);
/// # saga.step(&MAIL, |n| *n);
/// # let greeting = saga.build()?;
/// let log: Arc<dyn SagaLog> = Arc::new(MemoryLog::new());
/// let checked = saga_core::check(&*log, &[greeting.definition()]).await?;
/// for finding in &checked.findings {
///     eprintln!("{finding}");
/// }
/// assert!(checked.is_sound());
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`Retry`](ErrorKind::Retry) when the log is away. A record that cannot be read is a finding.
pub async fn check(log: &dyn SagaLog, definitions: &[&Arc<Definition>]) -> Result<Checked, Error> {
    let mut checked = Checked::default();
    let mut after = None;
    loop {
        let page = log.list(Query { after: after.take(), limit: PAGE, ..Query::default() }).await?;
        let keys: Vec<_> = page.into_iter().map(|line| line.key).collect();
        for (key, record) in keys.iter().zip(log.load(&keys).await) {
            let found = match record {
                Ok(Some(Record::Stored(stored))) => of_saga(key, &stored, definitions),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    vec![finding(key, FindingKind::Broken, error.to_string())]
                }
                Err(error) => return Err(error),
                // It is over.
                Ok(Some(Record::Tombstone(_)) | None) => continue,
            };
            checked.sagas += 1;
            checked.findings.extend(found);
        }
        match keys.last() {
            Some(last) if keys.len() == PAGE => after = Some(last.clone()),
            _ => return Ok(checked),
        }
    }
}

fn finding(key: &SagaKey, kind: FindingKind, problem: String) -> Finding {
    Finding { key: key.clone(), kind, problem }
}

fn of_saga(key: &SagaKey, stored: &StoredSaga, definitions: &[&Arc<Definition>]) -> Vec<Finding> {
    let Some(definition) = definitions.iter().find(|known| known.id == stored.definition) else {
        let problem = unregistered(stored, definitions);
        return vec![finding(key, FindingKind::Unregistered, problem)];
    };
    let instance = match Instance::replay(Arc::clone(definition), &stored.entries) {
        Ok(instance) => instance,
        Err(corrupt) => return vec![finding(key, FindingKind::Broken, corrupt.to_string())],
    };
    let mut found = Vec::new();
    for step in definition.indices() {
        let Some(output) = instance.output(step) else { continue };
        if let Err(problem) = (definition.step(step).check_output)(output) {
            let name = definition.step_name(step);
            let problem = format!("the output of step {name} cannot be read: {problem}");
            found.push(finding(key, FindingKind::Broken, problem));
        }
    }
    // What cannot be read is not computed with.
    if found.is_empty() {
        found.extend(of_inputs(key, stored, definition, &instance));
    }
    found
}

/// The definition that is nearest to the one that is not there.
fn unregistered(stored: &StoredSaga, definitions: &[&Arc<Definition>]) -> String {
    let wanted = &stored.definition;
    let same =
        definitions.iter().find(|known| (&known.id.name, known.id.version) == (&wanted.name, wanted.version));
    match same {
        Some(same) => format!(
            "it is pinned to {wanted}, and here that version has digest {}: its steps were changed; give the changed definition a higher \
             version and keep this one",
            same.id.digest
        ),
        None => format!("it is pinned to {wanted}, which is not here; keep it until its last saga has ended"),
    }
}

/// The saga's own input, and what the input closures make of it.
fn of_inputs(
    key: &SagaKey,
    stored: &StoredSaga,
    definition: &Definition,
    instance: &Instance,
) -> Vec<Finding> {
    let decoded = match definition.decode(instance.input()) {
        Ok(decoded) => decoded,
        Err(Uncomputable(why)) => return vec![finding(key, FindingKind::Broken, why)],
    };
    let mut found = Vec::new();
    for (step, sent) in dispatched(stored) {
        let after = definition.step(step).after.iter();
        let Some(outputs) = after.map(|before| instance.output(*before)).collect::<Option<Vec<&Payload>>>()
        else {
            continue;
        };
        let name = definition.step_name(step);
        match definition.step_input(step, &decoded, &outputs) {
            Err(Uncomputable(why)) => {
                found.push(finding(key, FindingKind::Broken, format!("step {name}: {why}")));
            }
            Ok(input) if input != *sent => {
                let problem =
                    format!("the input closure of step {name} makes another input of the same data");
                found.push(finding(key, FindingKind::Drifted, problem));
            }
            Ok(_) => {}
        }
    }
    found
}

/// The steps that were sent, each once, with what they were sent.
fn dispatched(stored: &StoredSaga) -> impl Iterator<Item = (StepIndex, &Payload)> {
    stored.entries.iter().filter_map(|entry| match &entry.fact {
        Fact::Dispatched { step, round: 1, input } => Some((*step, input)),
        _ => None,
    })
}
