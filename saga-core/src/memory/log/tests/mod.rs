mod append;
mod faults;
mod list;
mod tombstones;
mod wake;

use std::time::Duration;

use crate::memory::MemoryLog;
use crate::ports::{Append, AppendError, Record, SagaLog, StoredSaga, Tombstone, Version};
use crate::record::{
    DefinitionRef, Digest, Ending, Entry, Fact, Payload, RunId, SagaId, SagaKey, Status, StepIndex, Timestamp,
};

const SECOND: Duration = Duration::from_secs(1);

fn key(id: &str) -> SagaKey {
    SagaKey { saga: "checkout".into(), id: SagaId::new(id).unwrap() }
}

fn definition(version: u32) -> DefinitionRef {
    DefinitionRef { name: "checkout".into(), version, digest: Digest(7) }
}

fn entry(step: u16) -> Entry {
    let fact = Fact::Succeeded { step: StepIndex(step), output: Payload::from("{\"ok\": true}") };
    Entry { at: Timestamp::from_millis(step.into()), fact }
}

/// An append of one entry at this version, without a time to wake.
fn at(id: &str, expected: Version) -> Append {
    Append {
        key: key(id),
        run: RunId::from_u128(1),
        definition: definition(1),
        expected,
        entries: vec![entry(expected as u16)],
        status: Status::Running,
        wake_at: None,
        owner: None,
        settled: None,
    }
}

fn waking(id: &str, wake_at: Timestamp) -> Append {
    Append { wake_at: Some(wake_at), ..at(id, 0) }
}

fn tombstone() -> Tombstone {
    Tombstone {
        run: RunId::from_u128(1),
        input_digest: 9 << 64 | 8,
        ending: Ending::Completed,
        cause: None,
        ended_at: Timestamp::from_millis(5),
    }
}

fn settling(id: &str, expected: Version) -> Append {
    Append { settled: Some(tombstone()), status: Status::Completed, ..at(id, expected) }
}

async fn append(log: &MemoryLog, append: Append) -> Result<Version, AppendError> {
    log.append(vec![append]).await.remove(0)
}

async fn load(log: &MemoryLog, id: &str) -> Option<Record> {
    log.load(&[key(id)]).await.remove(0).unwrap()
}

async fn stored(log: &MemoryLog, id: &str) -> StoredSaga {
    match load(log, id).await {
        Some(Record::Stored(saga)) => saga,
        other => panic!("{other:?} instead of entries"),
    }
}

async fn now(log: &MemoryLog) -> Timestamp {
    log.lease("the test's own clock", None, SECOND).await.unwrap().now
}
