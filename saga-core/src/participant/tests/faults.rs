//! What becomes of a command when the bus or the inbox does not play along.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::error::ErrorKind;
use crate::ports::{ClaimAnswer, ClaimToken, Completed, MockInbox, Performed, Published};

fn away(kind: ErrorKind) -> Error {
    Error::new(kind, "away")
}

/// A handler's closure that counts its calls.
fn counting(
    calls: &Arc<AtomicUsize>,
) -> impl Fn(u32, StepContext) -> std::future::Ready<Result<u32, StepError>> + use<> {
    let calls = Arc::clone(calls);
    move |n, _| {
        calls.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok(n))
    }
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_waits_for_the_first_and_is_answered_the_same() {
    let rig = Rig::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    let _running = rig.execute(move |n, _| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            tokio::time::sleep(ms(300)).await;
            Ok(n)
        }
    });
    rig.bus.send(command(Action::Execute));
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(2).await;
    let [Done::Retried(wait), Done::Published(first), Done::Acked, Done::Published(second), Done::Acked] =
        &diary[..]
    else {
        panic!("{diary:?}")
    };
    // Not the whole of the claim that it met: that one is mostly given back sooner.
    assert_eq!(*wait, ms(500));
    assert_eq!(first, second);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_reply_in_doubt_is_published_again_with_the_same_id() {
    let rig = Rig::new();
    rig.bus.fail_publishing([Published::Unknown(away(ErrorKind::Unknown))]);
    let _running = rig.execute(|n, _| async move { Ok(n) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Published(_), Done::Acked]), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_cannot_be_published_brings_its_command_again_and_the_verdict_is_replayed() {
    let rig = Rig::new();
    rig.bus.fail_publishing((0..3).map(|_| Published::Unknown(away(ErrorKind::Unknown))));
    let calls = Arc::new(AtomicUsize::new(0));
    let _running = rig.execute(counting(&calls));
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Retried(_), Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(report(reply), succeeded("20"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_between_storing_and_publishing_the_verdict_is_replayed() {
    let mut rig = Rig::new();
    rig.bus = Arc::new(TestBus::stuck());
    let calls = Arc::new(AtomicUsize::new(0));
    let running = rig.execute(counting(&calls));
    rig.bus.send(command(Action::Execute));
    while calls.load(Ordering::Relaxed) == 0 {
        tokio::time::sleep(ms(1)).await;
    }
    tokio::time::sleep(ms(1)).await;
    running.task.abort();
    rig.bus.publishing.add_permits(1);
    let _running = rig.execute(counting(&calls));
    let diary = rig.bus.settled(1).await;
    let [Done::Dropped, Done::Published(reply), Done::Acked] = &diary[..] else { panic!("{diary:?}") };
    assert_eq!(report(reply), succeeded("20"));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_the_bus_refuses_is_reported_as_a_failure() {
    let rig = Rig::new();
    rig.bus.fail_publishing([Published::Rejected(away(ErrorKind::Permanent))]);
    let _running = rig.execute(|n, _| async move { Ok(n) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    let [Done::Published(reply), Done::Dead(_)] = &diary[..] else { panic!("{diary:?}") };
    assert!(reason(report(reply)).contains("its output cannot be sent"));
}

#[tokio::test(start_paused = true)]
async fn commands_run_while_earlier_replies_are_being_published() {
    let mut rig = Rig::new();
    rig.bus = Arc::new(TestBus::stuck());
    let calls = Arc::new(AtomicUsize::new(0));
    let _running = rig.execute(counting(&calls));
    for n in 1..=20 {
        rig.bus.send(run(n, command(Action::Execute)));
        tokio::time::sleep(ms(1)).await;
    }
    assert_eq!(calls.load(Ordering::Relaxed), 20);
    rig.bus.publishing.add_permits(20);
    rig.bus.settled(20).await;
}

#[tokio::test(start_paused = true)]
async fn no_more_handlers_run_at_once_than_allowed() {
    let mut rig = Rig::new();
    rig.options.concurrency = 3;
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (running, peak) = (Arc::clone(&now), Arc::clone(&most));
    let _running = rig.execute(move |n, _| {
        let (running, peak) = (Arc::clone(&running), Arc::clone(&peak));
        async move {
            peak.fetch_max(running.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            tokio::time::sleep(ms(1_000)).await;
            running.fetch_sub(1, Ordering::Relaxed);
            Ok(n)
        }
    });
    let began = Instant::now();
    for n in 1..=9 {
        rig.bus.send(run(n, command(Action::Execute)));
    }
    rig.bus.settled(9).await;
    assert_eq!(most.load(Ordering::Relaxed), 3);
    assert_eq!(began.elapsed(), ms(3_000));
}

#[tokio::test(start_paused = true)]
async fn a_claim_that_fails_runs_nothing_and_acknowledges_nothing() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().returning(|batch| batch.iter().map(|_| Err(away(ErrorKind::Retry))).collect());
    rig.inbox = Arc::new(inbox);
    let _running = rig.execute(|_, _| async { panic!("never called") });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.diary(3).await;
    assert!(diary.iter().all(|done| matches!(done, Done::Retried(_))), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_completion_that_fails_brings_the_command_again() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().times(1).returning(|_| vec![Ok(runs(Action::Execute))]);
    inbox.expect_claim().times(1).returning(|_| vec![Ok(ClaimAnswer::Reply(succeeded("20")))]);
    inbox.expect_complete().times(1).returning(|_| vec![Err(away(ErrorKind::Retry))]);
    rig.inbox = Arc::new(inbox);
    let _running = rig.execute(|n, _| async move { Ok(n) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Retried(_), Done::Published(_), Done::Acked]), "{diary:?}");
}

fn runs(action: Action) -> ClaimAnswer {
    ClaimAnswer::Run { token: ClaimToken(2), action, attempt: 1, output: None }
}

#[tokio::test(start_paused = true)]
async fn a_stale_command_is_acknowledged_without_an_answer() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().returning(|_| vec![Ok(ClaimAnswer::Stale)]);
    rig.inbox = Arc::new(inbox);
    let _running = rig.execute(|_, _| async { panic!("never called") });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Acked]), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn an_execution_that_must_be_undone_again_is_before_its_command_is_settled() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().returning(|_| vec![Ok(runs(Action::Execute))]);
    inbox.expect_complete().times(1).returning(|_| {
        let output = Some(Payload::from("20"));
        vec![Ok(Completed::UndoAgain { token: ClaimToken(5), attempt: 1, output })]
    });
    inbox.expect_complete().times(1).returning(|batch| {
        assert_eq!(batch[0].token, ClaimToken(5));
        assert_eq!(batch[0].performed, Performed::Final(Report::Undone));
        vec![Ok(Completed::Reply(Report::Undone))]
    });
    rig.inbox = Arc::new(inbox);
    let undone = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&undone);
    let _running = rig.serve(
        |n, _| async move { Ok(n) },
        move |undo, ctx| {
            assert_eq!((undo.output, ctx.action), (Some(20), Action::Undo));
            count.fetch_add(1, Ordering::Relaxed);
            std::future::ready(Ok(()))
        },
    );
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Acked]), "nobody asked for that undo: {diary:?}");
    assert_eq!(undone.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn an_undo_on_behalf_of_an_execution_that_fails_is_repeated() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().returning(|_| vec![Ok(runs(Action::Undo))]);
    inbox.expect_complete().times(1).returning(|batch| {
        assert_eq!(batch[0].performed, Performed::Again);
        vec![Ok(Completed::Free)]
    });
    inbox.expect_complete().times(1).returning(|_| vec![Ok(Completed::Reply(Report::Undone))]);
    rig.inbox = Arc::new(inbox);
    let calls = AtomicUsize::new(0);
    let _running = rig.undo(move |_, _| {
        let first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        std::future::ready(if first { Err(StepError::retry("away")) } else { Ok(()) })
    });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Retried(_), Done::Acked]), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn a_failed_attempt_that_was_overtaken_is_given_back() {
    let mut rig = Rig::new();
    let mut inbox = MockInbox::new();
    inbox.expect_claim().times(1).returning(|_| vec![Ok(runs(Action::Execute))]);
    inbox.expect_claim().times(1).returning(|_| vec![Ok(ClaimAnswer::Stale)]);
    inbox.expect_complete().returning(|_| vec![Ok(Completed::Overtaken)]);
    rig.inbox = Arc::new(inbox);
    let _running = rig.execute(|_, _| async { Err(StepError::retry("away")) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Retried(_), Done::Acked]), "{diary:?}");
}

#[tokio::test(start_paused = true)]
async fn reading_goes_on_when_the_bus_is_back() {
    let rig = Rig::new();
    rig.bus.fail_reads([ErrorKind::Retry, ErrorKind::Retry]);
    let _running = rig.execute(|n, _| async move { Ok(n) });
    rig.bus.send(command(Action::Execute));
    let diary = rig.bus.settled(1).await;
    assert!(matches!(&diary[..], [Done::Published(_), Done::Acked]), "{diary:?}");
}
