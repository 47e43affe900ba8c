//! Starts that wait for room are a reason to look whether silent sagas still take it; starts that do not wait are none.

use std::sync::Arc;

use crate::log::TapLog;
use crate::rig::{Rig, saga_of, seconds};

#[tokio::test(start_paused = true)]
async fn silent_sagas_are_left_alone_while_there_is_room() {
    let mut rig = Rig::new();
    let log = Arc::new(TapLog::new(Arc::new(rig.log.clone())));
    rig.log_seen = Arc::clone(&log) as _;
    let coordinator = rig.coordinator("one", &[&saga_of(1, |_| {})]);
    coordinator.sagas().start("silent", &1).await.unwrap();
    for n in 0..3 {
        log.hold_wakes(true);
        rig.pass(seconds(1)).await;
        // The start comes in together with what the log says is due.
        let (started, ()) = tokio::join!(coordinator.sagas().start(format!("other {n}"), &1), async {
            log.hold_wakes(false);
        });
        started.unwrap();
    }
    assert_eq!(log.appends_to("silent"), 1);
}

#[tokio::test(start_paused = true)]
async fn silent_sagas_are_looked_at_while_starts_wait_for_room() {
    let mut rig = Rig::new();
    rig.options.sagas_in_flight_max = 1;
    let log = Arc::new(TapLog::new(Arc::new(rig.log.clone())));
    rig.log_seen = Arc::clone(&log) as _;
    let coordinator = rig.coordinator("one", &[&saga_of(1, |_| {})]);
    coordinator.sagas().start("silent", &1).await.unwrap();
    let waiting = tokio::time::timeout(seconds(4), coordinator.sagas().start("other", &1)).await;
    assert!(waiting.is_err(), "there is no room");
    let appends = log.appends_to("silent");
    assert!((3..=5).contains(&appends), "once a second beside the first: {appends}");
}
