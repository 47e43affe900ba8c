//! A callback is made once, as long as nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga::Error;
use saga::ports::{
    Append, AppendError, Audited, Callback, CallbackError, Census, Ended, Lease, Query, Record, SagaLog,
    Summary, Version, Woken,
};
use saga::record::{Announcement, DefinitionRef, Ending, Outline, SagaKey, Status};

use crate::rig::{Rig, run, saga_of, seconds};

/// A log on a slow disk.
#[derive(Debug)]
struct SlowLog(Arc<dyn SagaLog>);

#[async_trait]
impl SagaLog for SlowLog {
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>> {
        tokio::time::sleep(Duration::from_millis(100)).await;
        self.0.append(batch).await
    }

    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>> {
        self.0.load(keys).await
    }

    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error> {
        self.0.lease(owner, epoch, ttl).await
    }

    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error> {
        self.0.release(owner, epoch).await
    }

    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error> {
        self.0.wake(owner, epoch, definitions, max).await
    }

    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error> {
        self.0.list(query).await
    }

    async fn census(&self) -> Result<Vec<Census>, Error> {
        self.0.census().await
    }

    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error> {
        self.0.describe(outlines).await
    }

    async fn outlines(&self) -> Result<Vec<Outline>, Error> {
        self.0.outlines().await
    }

    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error> {
        self.0.audit(key, limit).await
    }
}

/// Answers after a while, and counts.
#[derive(Debug, Default)]
struct Counting(AtomicU32);

#[async_trait]
impl Callback for Counting {
    async fn call(&self, _: &Ended) -> Result<(), CallbackError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(Duration::from_millis(50)).await;
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_waits_for_its_append_is_not_asked_for_again() {
    let mut rig = Rig::new();
    rig.log_seen = Arc::new(SlowLog(Arc::new(rig.log.clone())));
    let calls = Arc::new(Counting::default());
    let saga = saga_of(1, |saga| {
        // The announcement is recorded while the callback is answered.
        saga.announce(Announcement::Completed, "waking-completed", |ms, _| *ms);
        saga.callback(Ending::Completed, Arc::clone(&calls) as Arc<dyn Callback>);
    });
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    assert_eq!(run(coordinator.sagas(), "a", 10).await.status, Status::Completed);
    rig.pass(seconds(60)).await;
    assert_eq!(calls.0.load(Ordering::Relaxed), 1);
}
