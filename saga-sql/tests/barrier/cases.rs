use std::time::Duration;

use saga_core::ErrorKind;
use saga_core::ports::{
    Claim, ClaimAnswer, ClaimToken, Completed, Completion, Effects, Inbox, Known, Performed, Task,
};
use saga_core::record::{Action, Payload, Report, RunId, Timestamp};

use super::stand::Stand;

pub(super) fn task(run: u128) -> Task {
    Task { run: RunId::from_u128(run), step: "pay".into() }
}

pub(super) fn claim(run: u128, action: Action) -> Claim {
    Claim {
        task: task(run),
        action,
        round: 1,
        known: Known::Unknown,
        dispatched_at: Timestamp::MAX,
        hold: Duration::from_secs(60),
        effects: Effects::Anywhere,
    }
}

pub(super) async fn ask(inbox: &dyn Inbox, claim: Claim) -> ClaimAnswer {
    inbox.claim(vec![claim]).await.remove(0).unwrap()
}

pub(super) fn done() -> Report {
    Report::Succeeded { output: Payload::from("7") }
}

/// Executes once, outside a transaction.
async fn execute(inbox: &dyn Inbox, run: u128) {
    let ClaimAnswer::Run { token, attempt: 1, .. } = ask(inbox, claim(run, Action::Execute)).await else {
        panic!("run {run} is not new")
    };
    let completion = Completion { task: task(run), token, performed: Performed::Final(done()) };
    let completed = inbox.complete(vec![completion]).await.remove(0).unwrap();
    assert_eq!(completed, Completed::Reply(done()));
}

pub(super) async fn one_batch_may_claim_one_row_twice(stand: Stand) {
    let batch = vec![claim(1, Action::Execute), claim(1, Action::Undo), claim(2, Action::Undo)];
    let answers = stand.inbox.claim(batch).await;
    assert!(matches!(answers[0], Ok(ClaimAnswer::Run { attempt: 1, .. })), "{answers:?}");
    assert!(matches!(answers[1], Ok(ClaimAnswer::Busy { .. })), "{answers:?}");
    assert!(matches!(answers[2], Ok(ClaimAnswer::Reply(Report::Undone))), "{answers:?}");
}

pub(super) async fn a_new_inbox_does_not_vouch_for_what_was_dispatched_before_it(stand: Stand) {
    let horizon = stand.inbox.horizon().await.unwrap();
    let at = |run, ms| Claim { dispatched_at: Timestamp::from_millis(ms), ..claim(run, Action::Undo) };
    let since = ask(&stand.inbox, at(1, horizon.as_millis())).await;
    assert_eq!(since, ClaimAnswer::Reply(Report::Undone));
    let before = ask(&stand.inbox, at(2, horizon.as_millis() - 1)).await;
    assert!(matches!(before, ClaimAnswer::Run { action: Action::Undo, output: None, .. }), "{before:?}");
    assert_eq!(stand.again().await.horizon().await.unwrap(), horizon, "opening it again moves nothing");
}

pub(super) async fn of_many_who_claim_at_once_one_runs(stand: Stand) {
    let other = stand.again().await;
    for run in 0..25 {
        let mut tasks = Vec::new();
        for rival in 0..8 {
            let inbox = if rival % 2 == 0 { stand.inbox.clone() } else { other.clone() };
            // Unlike an undo, a fence takes the row from nobody who holds it.
            let action = if rival < 6 { Action::Execute } else { Action::Undo };
            tasks.push(tokio::spawn(async move { ask(&inbox, claim(run, action)).await }));
        }
        let (mut runs, mut undone, mut refused) = (0, 0, 0);
        for task in tasks {
            match task.await.unwrap() {
                ClaimAnswer::Run { .. } => runs += 1,
                ClaimAnswer::Reply(Report::Undone) => undone += 1,
                ClaimAnswer::Reply(Report::Rejected { .. }) => refused += 1,
                ClaimAnswer::Busy { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        // Either an execution was first and holds the row, or an undo sealed it.
        let is_one = (runs, undone, refused) == (1, 0, 0) || (runs == 0 && undone > 0);
        assert!(is_one, "run {run}: {runs} run, {undone} were undone, {refused} refused");
    }
}

pub(super) async fn a_completion_of_a_row_that_is_gone_is_an_error(stand: Stand) {
    execute(&stand.inbox, 1).await;
    let again = |run| Completion { task: task(run), token: ClaimToken(4), performed: Performed::Again };
    let answers = stand.inbox.complete(vec![again(9), again(1)]).await;
    assert_eq!(answers[0].as_ref().unwrap_err().kind(), ErrorKind::NotFound);
    assert!(answers[1].is_ok(), "{answers:?}");
}

pub(super) async fn what_was_stored_is_answered_after_a_restart(stand: Stand) {
    execute(&stand.inbox, 1).await;
    let again = stand.again().await;
    assert_eq!(ask(&again, claim(1, Action::Execute)).await, ClaimAnswer::Reply(done()));
    let undo = ask(&again, claim(1, Action::Undo)).await;
    assert!(matches!(undo, ClaimAnswer::Run { action: Action::Undo, output: Some(_), .. }), "{undo:?}");
}

pub(super) async fn pruning_moves_the_horizon_past_what_it_drops(stand: Stand) {
    let horizon = stand.inbox.horizon().await.unwrap();
    execute(&stand.inbox, 1).await;
    assert_eq!(stand.inbox.prune(Timestamp::from_millis(5)).await.unwrap(), 0);
    assert_eq!(stand.inbox.horizon().await.unwrap(), horizon);
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stand.inbox.prune(Timestamp::MAX).await.unwrap(), 1);
    let moved = stand.inbox.horizon().await.unwrap();
    let changed_before = horizon.after(Duration::from_secs(60));
    assert!(moved > horizon && moved < changed_before, "{horizon} to {moved}");
    let at = Claim { dispatched_at: horizon, ..claim(1, Action::Undo) };
    let undo = ask(&stand.inbox, at).await;
    assert!(matches!(undo, ClaimAnswer::Run { output: None, .. }), "it may have been executed: {undo:?}");
}

pub(super) async fn a_row_being_worked_on_is_never_pruned(stand: Stand) {
    let running = ask(&stand.inbox, claim(1, Action::Execute)).await;
    assert!(matches!(running, ClaimAnswer::Run { .. }));
    execute(&stand.inbox, 2).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(stand.inbox.prune(Timestamp::MAX).await.unwrap(), 1, "only what is not worked on");
    assert!(matches!(ask(&stand.inbox, claim(1, Action::Execute)).await, ClaimAnswer::Busy { .. }));
}

pub(super) async fn a_corrupt_row_spoils_no_other(stand: Stand) {
    for run in 1..=3 {
        execute(&stand.inbox, run).await;
    }
    let broken = RunId::from_u128(1);
    stand.run(&format!("UPDATE saga_inbox SET state = '{{\"round\":' WHERE run = '{broken}'")).await;
    let newer = RunId::from_u128(2);
    stand.run(&format!("UPDATE saga_inbox SET format = 99 WHERE run = '{newer}'")).await;
    let batch = (1..=3).map(|run| claim(run, Action::Execute)).collect();
    let answers = stand.inbox.claim(batch).await;
    for (nth, said) in [(0, "cannot be read"), (1, "format 99")] {
        let error = answers[nth].as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains(said) && error.to_string().contains("step pay"), "{error}");
    }
    assert_eq!(answers[2].as_ref().unwrap(), &ClaimAnswer::Reply(done()));
}

pub(super) async fn rows_must_outlive_commands(stand: Stand) {
    let error = stand.keeping_rows_for(1_000).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("2592000000 ms"), "{error}");
}
