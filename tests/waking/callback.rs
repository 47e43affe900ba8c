//! A callback is made once, as long as nothing goes wrong.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{Callback, CallbackError, Ended};
use saga::record::{Announcement, Ending, Status};

use crate::log::TapLog;
use crate::rig::{Rig, run, saga_of, seconds};

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
    rig.log_seen = Arc::new(TapLog::slow(Arc::new(rig.log.clone())));
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
