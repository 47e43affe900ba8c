use saga_core::ports::{Append, Version};
use saga_core::record::{
    DefinitionRef, Digest, Entry, Fact, Payload, RunId, SagaId, SagaKey, Status, StepIndex, Timestamp,
};

pub(crate) fn key(id: &str) -> SagaKey {
    SagaKey { saga: "checkout".into(), id: SagaId::new(id).unwrap() }
}

/// An append of one entry at this version.
pub(crate) fn at(id: &str, expected: Version) -> Append {
    let fact = Fact::Succeeded { step: StepIndex(0), output: Payload::from("{\"ok\": true}") };
    Append {
        key: key(id),
        run: RunId::from_u128(1),
        definition: DefinitionRef { name: "checkout".into(), version: 1, digest: Digest(7) },
        expected,
        entries: vec![Entry { at: Timestamp::from_millis(expected), fact }],
        status: Status::Running,
        wake_at: None,
        owner: None,
        settled: None,
    }
}
