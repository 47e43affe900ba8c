//! Which saga a message belongs to; and that only new sagas wait for room.

use std::collections::HashSet;

use saga::{ErrorKind, Message, Status, Topic};
use tokio::task::JoinSet;

use crate::rig::{Rig, come_out, run, saga_of, seconds};

/// There is room for one saga, and three want in. Were replies to wait for room too, none would ever end.
#[tokio::test(start_paused = true)]
async fn replies_never_wait_for_room() {
    let (mut rig, saga) = (
        Rig::new(),
        saga_of(1, |saga| {
            saga.trigger_default("begin");
        }),
    );
    rig.options.sagas_in_flight_max = 1;
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    rig.pass(seconds(1)).await;
    for id in ["a", "b", "c"] {
        rig.publish(Message::new(Topic::new("begin").unwrap(), "1000").keyed(id)).await;
    }
    let mut calls = JoinSet::new();
    for id in ["d", "e", "f"] {
        let sagas = coordinator.sagas().clone();
        calls.spawn(async move { run(&sagas, id, 1_000).await.status });
    }
    rig.pass(seconds(1)).await;
    assert_eq!(rig.under_way().await, 1, "one at a time");
    let before = rig.clock.now();
    assert!(calls.join_all().await.into_iter().all(|status| status == Status::Completed));
    for id in ["a", "b", "c"] {
        assert_eq!(coordinator.sagas().outcome(id).await.unwrap().status, Status::Completed);
    }
    assert!(rig.clock.now().since(before) < seconds(30));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_sent_again_has_the_same_id() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let coordinator = rig.coordinator("one", &[&saga]);
    let run = coordinator.sagas().start("a", &10).await.unwrap().run;
    rig.pass(seconds(120)).await;
    let sent = rig.tap.sent();
    assert!(sent.len() >= 4, "{sent:?}");
    for (_, message) in &sent {
        assert_eq!(message.id.as_str(), format!("{run}/work/execute/1"));
        assert_eq!(message.key.as_deref(), Some("a"), "the saga's id is the key of all its messages");
        assert_eq!((&message.headers, &message.payload), (&sent[0].1.headers, &sent[0].1.payload));
    }
}

/// Once the tombstone is gone, the id is free. A command of its first saga turns up again, and does not meet the second.
#[tokio::test(start_paused = true)]
async fn an_id_used_again_is_another_run() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    let first = run(coordinator.sagas(), "a", 10).await;
    let (_, old_command) = rig.tap.sent().remove(0);
    let taken = coordinator.sagas().start("a", &3_000).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);

    rig.pass(seconds(601)).await;
    let second = coordinator.sagas().start("a", &3_000).await.unwrap();
    assert!(second.is_new && second.run != first.run);
    rig.publish(old_command).await;
    rig.pass(seconds(1)).await;
    assert_eq!(rig.stored("a").await.version, 2, "the old run's reply has changed nothing");
    let outcome = come_out(coordinator.sagas(), "a").await;
    assert_eq!((outcome.status, outcome.run), (Status::Completed, second.run));
    assert_eq!(*rig.done.lock().unwrap(), [first.run, second.run], "the old command did nothing again");
}

#[tokio::test(start_paused = true)]
async fn a_trigger_that_comes_twice_starts_once_and_another_one_is_a_dead_letter() {
    let (rig, saga) = (
        Rig::new(),
        saga_of(1, |saga| {
            saga.trigger_default("begin");
        }),
    );
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    rig.pass(seconds(1)).await;
    let begin = |payload: &'static str| Message::new(Topic::new("begin").unwrap(), payload).keyed("a");
    rig.publish(begin("1000")).await;
    rig.publish(begin("1000")).await;
    rig.publish(begin("2000")).await;
    rig.pass(seconds(3)).await;
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::Completed);
    // And after it has ended.
    rig.publish(begin("1000")).await;
    rig.publish(begin("3000")).await;
    rig.pass(seconds(1)).await;
    let runs = rig.done.lock().unwrap().iter().copied().collect::<HashSet<_>>();
    assert_eq!((runs.len(), rig.done.lock().unwrap().len()), (1, 1));
    let dead = rig.bus.dead_letters_of(&Topic::new("begin").unwrap());
    assert_eq!(dead.iter().map(|letter| &letter.message.payload[..]).collect::<Vec<_>>(), [b"2000", b"3000"]);
}
