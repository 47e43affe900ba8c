use std::sync::Arc;
use std::time::Duration;

use saga_core::ports::{Claim, ClaimAnswer, ClaimToken, Completed, Completion, Effects, Inbox, Performed};
use saga_core::record::{Action, Payload, Report, RunId, SagaId, SagaKey};
use saga_core::{Compensation, Step, StepContext, StepError, Undo};
use saga_sql::sqlx::{AssertSqlSafe, raw_sql};
use saga_sql::{Entered, StepTransaction, in_transaction};

use super::cases::{ask, claim, done, task};
use super::stand::{BEGIN, Database, DatabaseInbox, Stand};

/// A claim of a handler in a transaction.
fn bound(run: u128, action: Action) -> Claim {
    Claim { effects: Effects::InTransaction, ..claim(run, action) }
}

/// What a participant hands to a handler.
fn context(run: u128, action: Action, token: ClaimToken) -> StepContext {
    let saga = SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() };
    let mut ctx = StepContext::new(saga, RunId::from_u128(run), "pay", action);
    ctx.claim = Some(token);
    ctx
}

/// Writes a line into the ledger of the participant, in the handler's transaction.
pub(super) async fn book(
    tx: &mut StepTransaction<Database>,
    run: RunId,
    amount: i64,
) -> Result<(), StepError> {
    let line = format!("INSERT INTO ledger VALUES ('{run}', {amount})");
    raw_sql(AssertSqlSafe(line)).execute(&mut **tx).await?;
    Ok(())
}

/// A handler that books 7, and takes it back.
fn paying(inbox: &DatabaseInbox) -> impl Step<u32, u32> + Compensation<u32, u32> + 'static {
    inbox
        .handler(|n: u32, mut tx, ctx: StepContext| async move {
            book(&mut tx, ctx.run, 7).await?;
            if n == 0 {
                return Err(StepError::reject("nothing is not enough"));
            }
            tx.commit(n).await
        })
        .undo(|_, mut tx, ctx| async move {
            book(&mut tx, ctx.run, -7).await?;
            tx.commit(()).await
        })
}

async fn token(inbox: &DatabaseInbox, claim: Claim) -> ClaimToken {
    match ask(inbox, claim).await {
        ClaimAnswer::Run { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

async fn complete(inbox: &DatabaseInbox, run: u128, token: ClaimToken, performed: Performed) -> Completed {
    inbox.complete(vec![Completion { task: task(run), token, performed }]).await.remove(0).unwrap()
}

async fn booked(stand: &Stand, run: u128) -> (i64, i64) {
    let run = RunId::from_u128(run);
    let sum = format!("SELECT CAST(coalesce(sum(amount), 0) AS BIGINT) FROM ledger WHERE run = '{run}'");
    let count = format!("SELECT count(*) FROM ledger WHERE run = '{run}'");
    (stand.number(&sum).await, stand.number(&count).await)
}

pub(super) async fn effect_and_verdict_are_committed_together(stand: Stand) {
    let pay = paying(&stand.inbox);
    let claimed = token(&stand.inbox, bound(1, Action::Execute)).await;
    assert_eq!(pay.execute(7, &context(1, Action::Execute, claimed)).await.unwrap(), 7);
    assert_eq!(booked(&stand, 1).await, (7, 1));
    // The process dies here, before it has told anybody; the command comes again.
    let again = ask(&stand.again().await, bound(1, Action::Execute)).await;
    assert_eq!(again, ClaimAnswer::Reply(done()));
    // Or it goes on, and tells the barrier what it knows already.
    let told = complete(&stand.inbox, 1, claimed, Performed::Again).await;
    assert_eq!(told, Completed::Reply(done()));

    let ClaimAnswer::Run { token: undoing, output, .. } = ask(&stand.inbox, bound(1, Action::Undo)).await
    else {
        panic!("there is something to undo")
    };
    assert_eq!(output, Some(Payload::from("7")));
    let undo = Undo { input: 7, output: Some(7) };
    pay.undo(undo, &context(1, Action::Undo, undoing)).await.unwrap();
    assert_eq!(booked(&stand, 1).await, (0, 2));
    let told = complete(&stand.inbox, 1, claimed, Performed::Final(done())).await;
    assert_eq!(told, Completed::Reply(done()), "what was undone since need not be undone again");
    assert_eq!(ask(&stand.inbox, bound(1, Action::Undo)).await, ClaimAnswer::Reply(Report::Undone));
}

pub(super) async fn what_is_rolled_back_has_neither(stand: Stand) {
    let pay = paying(&stand.inbox);
    let claimed = token(&stand.inbox, bound(1, Action::Execute)).await;
    let refused = pay.execute(0, &context(1, Action::Execute, claimed)).await.unwrap_err();
    assert_eq!(refused.to_string(), "nothing is not enough");
    assert_eq!(booked(&stand, 1).await, (0, 0));
    let report = Report::Rejected { reason: "nothing is not enough".into() };
    let completed = complete(&stand.inbox, 1, claimed, Performed::Final(report.clone())).await;
    assert_eq!(completed, Completed::Reply(report));

    let slow = stand.inbox.handler(|n: u32, mut tx, ctx: StepContext| async move {
        book(&mut tx, ctx.run, 7).await?;
        std::future::pending::<()>().await;
        tx.commit(n).await
    });
    let claimed = token(&stand.inbox, bound(2, Action::Execute)).await;
    let ctx = context(2, Action::Execute, claimed);
    let cut_off = tokio::time::timeout(Duration::from_millis(300), slow.execute(7, &ctx)).await;
    assert!(cut_off.is_err(), "it was cut off");
    assert_eq!(complete(&stand.inbox, 2, claimed, Performed::Again).await, Completed::Free);
    assert_eq!(booked(&stand, 2).await, (0, 0));
}

pub(super) async fn who_has_lost_the_row_cannot_commit(stand: Stand) {
    let pay = paying(&stand.inbox);
    let short = Claim { hold: Duration::from_millis(1), ..bound(1, Action::Execute) };
    let lost = token(&stand.inbox, short).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    let claimed = token(&stand.again().await, bound(1, Action::Execute)).await;
    let late = pay.execute(7, &context(1, Action::Execute, lost)).await.unwrap_err();
    assert!(late.to_string().contains("another has the row"), "{late}");
    assert_eq!(booked(&stand, 1).await, (0, 0));
    pay.execute(7, &context(1, Action::Execute, claimed)).await.unwrap();
    assert_eq!(booked(&stand, 1).await, (7, 1));
}

/// An undo that comes while a transaction is open, its claim having run out, either waits for its end or seals the row before it.
pub(super) async fn an_undo_finds_all_or_nothing_of_an_execution(stand: Stand) {
    let other = stand.again().await;
    for run in 0..20 {
        let pay = Arc::new(paying(&stand.inbox));
        let short = Claim { hold: Duration::from_millis(1), ..bound(run, Action::Execute) };
        let claimed = token(&stand.inbox, short).await;
        tokio::time::sleep(Duration::from_millis(5)).await;
        let executing = {
            let pay = Arc::clone(&pay);
            tokio::spawn(async move { pay.execute(7, &context(run, Action::Execute, claimed)).await })
        };
        let answer = loop {
            match ask(&other, bound(run, Action::Undo)).await {
                ClaimAnswer::Busy { .. } => tokio::time::sleep(Duration::from_millis(2)).await,
                answer => break answer,
            }
        };
        let executed = executing.await.unwrap();
        match answer {
            ClaimAnswer::Run { token, output: Some(_), .. } => {
                assert!(executed.is_ok(), "{executed:?}");
                let undo = Undo { input: 7, output: Some(7) };
                pay.undo(undo, &context(run, Action::Undo, token)).await.unwrap();
                assert_eq!(booked(&stand, run).await, (0, 2));
            }
            ClaimAnswer::Reply(Report::Undone) => {
                assert!(executed.is_err(), "committed after its undo");
                assert_eq!(booked(&stand, run).await, (0, 0));
            }
            other => panic!("{other:?}"),
        }
    }
}

pub(super) async fn an_undo_after_a_crash_has_nothing_to_undo(stand: Stand) {
    let short = Claim { hold: Duration::from_millis(1), ..bound(1, Action::Execute) };
    token(&stand.inbox, short).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(ask(&stand.inbox, bound(1, Action::Undo)).await, ClaimAnswer::Reply(Report::Undone));
}

pub(super) async fn a_handler_with_a_pool_of_its_own(stand: Stand) {
    let pool = stand.again().await.pool().clone();
    let pay = saga_core::handler(move |n: u32, ctx: StepContext| {
        let pool = pool.clone();
        async move {
            let mut tx = pool.begin_with(BEGIN).await?;
            let entered = Entered::<Database>::enter(&mut tx, &ctx).await?;
            let line = format!("INSERT INTO ledger VALUES ('{}', 7)", ctx.run);
            raw_sql(AssertSqlSafe(line)).execute(&mut *tx).await?;
            entered.finish(&mut tx, &n).await?;
            tx.commit().await?;
            Ok(n)
        }
    });
    let pay = in_transaction(pay);
    assert_eq!(pay.effects(), Effects::InTransaction);
    let claimed = token(&stand.inbox, bound(1, Action::Execute)).await;
    pay.execute(7, &context(1, Action::Execute, claimed)).await.unwrap();
    assert_eq!(booked(&stand, 1).await, (7, 1));
    assert_eq!(complete(&stand.inbox, 1, claimed, Performed::Final(done())).await, Completed::Reply(done()));
    let late = pay.execute(7, &context(1, Action::Execute, claimed)).await;
    assert!(late.is_err(), "its claim is completed");
    assert_eq!(booked(&stand, 1).await, (7, 1));
}
