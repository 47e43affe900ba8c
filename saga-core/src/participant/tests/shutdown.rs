//! How a participant ends.

use super::*;
use crate::error::ErrorKind;
use crate::ports::{Claim, ClaimAnswer, Effects, Task};

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_running_handlers_and_takes_no_more_commands() {
    let mut rig = Rig::new();
    rig.options.concurrency = 1;
    let running = rig.execute(|n, _| async move {
        tokio::time::sleep(ms(5_000)).await;
        Ok(n)
    });
    for n in 1..=3 {
        rig.bus.send(run(n, command(Action::Execute)));
    }
    tokio::time::sleep(ms(1_000)).await;
    let began = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(began.elapsed(), ms(4_000));
    let diary = rig.bus.diary(4).await;
    assert!(
        matches!(&diary[..], [Done::Dropped, Done::Dropped, Done::Published(_), Done::Acked]),
        "those that waited are given back: {diary:?}"
    );
    assert_eq!((rig.bus.ready(), rig.bus.unsettled()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_does_not_finish_is_dropped_and_its_row_is_free() {
    let mut rig = Rig::new();
    rig.options.drain_max = ms(3_000);
    let running = rig.execute(|_, _| std::future::pending());
    rig.bus.send(command(Action::Execute));
    tokio::time::sleep(ms(1_000)).await;
    let began = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(began.elapsed(), ms(3_000));
    let diary = rig.bus.diary(1).await;
    assert!(matches!(&diary[..], [Done::Retried(_)]), "{diary:?}");
    let Command { run, step, round, known, dispatched_at, action, .. } = command(Action::Execute);
    let claim = Claim {
        task: Task { run, step },
        action,
        round,
        known,
        dispatched_at,
        hold: ms(1),
        effects: Effects::Anywhere,
    };
    let answer = rig.inbox.claim(vec![claim]).await.remove(0).unwrap();
    assert!(matches!(answer, ClaimAnswer::Run { attempt: 2, .. }), "{answer:?}");
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_ends_although_replies_cannot_be_published() {
    let mut rig = Rig::new();
    rig.bus = Arc::new(TestBus::stuck());
    let running = rig.execute(|n, _| async move { Ok(n) });
    rig.bus.send(command(Action::Execute));
    tokio::time::sleep(ms(1_000)).await;
    let began = Instant::now();
    running.stop().await.unwrap();
    assert_eq!(began.elapsed(), ms(12_000));
    assert_eq!((rig.bus.ready(), rig.bus.unsettled()), (1, 0), "the command comes again");
}

#[tokio::test(start_paused = true)]
async fn a_topic_that_is_gone_ends_the_participant_with_its_name() {
    let rig = Rig::new();
    let running = rig.execute(|n, _| async move {
        tokio::time::sleep(ms(1_000)).await;
        Ok(n)
    });
    rig.bus.send(command(Action::Execute));
    tokio::time::sleep(ms(1)).await;
    rig.bus.fail_reads([ErrorKind::NotFound]);
    rig.bus.send(run(8, command(Action::Execute)));
    let error = running.task.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.to_string().contains("topic pay"), "{error}");
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Published(_), Done::Acked]), "what ran was finished: {diary:?}");
}

#[tokio::test]
async fn what_could_not_be_served_is_refused() {
    let rig = Rig::new();
    let serve = |participant: &mut Participant, contract: Contract<u32, u32>, options: ServeOptions| {
        let pay = handler(|n: u32, _| async move { Ok(n) }).undo(|_, _| async { Ok(()) });
        participant.serve(&contract, pay, options)
    };
    let nothing =
        || Participant::new(Arc::clone(&rig.bus) as _, Arc::clone(&rig.inbox), Arc::clone(&rig.clock));
    let none = ServeOptions { concurrency: 0, ..ServeOptions::default() };
    let error = serve(&mut nothing(), PAY, none).unwrap_err();
    assert!(error.to_string().contains("must not be zero"), "{error}");
    let mut pays = nothing();
    serve(&mut pays, PAY, ServeOptions::default()).unwrap();
    let error =
        serve(&mut pays, Contract::new("other").on_topic("pay"), ServeOptions::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("topic pay is served already"), "{error}");
    assert!(serve(&mut nothing(), Contract::new("no topic"), ServeOptions::default()).is_err());
}
