//! Operators who have nothing but the log: what they ask is held in the saga's record until a coordinator takes it.

use std::sync::Arc;
use std::time::Duration;

use saga::operator::{Answer, Operator, Sheet};
use saga::ports::Query;
use saga::record::{Resolution, SagaId, SagaKey};
use saga::{ErrorKind, Saga, Status};

use crate::rig::{Process, Rig, come_out, run, saga_of, seconds};

fn key(id: &str) -> SagaKey {
    SagaKey { saga: "waking".into(), id: SagaId::new(id).unwrap() }
}

fn impatient() -> Saga<u64> {
    saga_of(1, |saga| {
        saga.deadline(seconds(1));
    })
}

fn operator(rig: &Rig) -> Operator {
    Operator::new(Arc::new(rig.log.clone()))
}

/// What takes longer than its saga may, and is odd: the first round of its undo fails.
async fn park(process: &Process, id: &str) {
    let parked = run(process.sagas(), id, 2_001).await;
    assert_eq!(parked.status, Status::Parked, "{:?}", parked.reason);
}

async fn audit(operator: &Operator, id: &str) -> Vec<String> {
    let actions = operator.audit(Some(&key(id)), 100).await.unwrap();
    actions.into_iter().map(|action| action.what).collect()
}

#[tokio::test(start_paused = true)]
async fn a_parked_saga_is_shown_and_retried() {
    let (rig, saga) = (Rig::new(), impatient());
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    park(&coordinator, "a").await;
    let operator = operator(&rig);
    let query = Query { status: Some(Status::Parked), limit: 10, ..Query::default() };
    assert_eq!(operator.list(query).await.unwrap().len(), 1);
    let Sheet::Live(sheet) = operator.show(&key("a")).await.unwrap() else { panic!("it is there") };
    let view = sheet.view().unwrap();
    assert_eq!((view.status, &*view.steps[0].name), (Status::Parked, "work"));
    assert_eq!(sheet.owed(), []);
    assert_eq!(sheet.cause().unwrap(), "the saga's deadline passed");
    assert!(sheet.history().last().unwrap().1.starts_with("parked: undo of work"), "{:?}", sheet.history());

    let asked = rig.clock.now();
    let answer = operator.retry(&key("a"), Some("work"), "ann", "mended").await.unwrap();
    assert!(matches!(answer, Answer::Taken(Status::Unwinding | Status::RolledBack)), "{answer:?}");
    let took = rig.clock.now().since(asked);
    // The first look finds that somebody else was first, the second reads the saga anew, and the operator looks every 50 ms.
    let at_most = 2 * rig.options.wake_interval + Duration::from_millis(50);
    assert!(took <= at_most, "noticed by the looks at what is due, not after {took:?}");
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::RolledBack);
    // Its record is gone, and what the operator did is not.
    rig.pass(seconds(1)).await;
    let Sheet::Pruned(tombstone, actions) = operator.show(&key("a")).await.unwrap() else {
        panic!("it has been pruned")
    };
    assert_eq!(Status::from(tombstone.ending), Status::RolledBack);
    let what: Vec<_> = actions.iter().map(|action| &*action.what).collect();
    assert_eq!(what, ["retry work asked for by ann: mended", "retry work by ann: mended"]);
}

#[tokio::test(start_paused = true)]
async fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (rig, saga) = (Rig::new(), saga_of(1, |_| {}));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    coordinator.sagas().start("a", &5_000).await.unwrap();
    rig.pass(seconds(1)).await;
    let operator = operator(&rig);
    let error = operator.retry(&key("a"), None, "ann", "in haste").await.unwrap_err();
    assert_eq!((error.kind(), &*error.to_string()), (ErrorKind::NotAllowed, "nothing of this saga is stuck"));
    let error = operator.retry(&key("a"), Some("play"), "ann", "in haste").await.unwrap_err();
    assert!(error.to_string().contains("there is no step play"), "{error}");
    let told = audit(&operator, "a").await;
    assert_eq!(told[1], "refused to ann: nothing of this saga is stuck", "{told:?}");
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::Completed);
    rig.pass(seconds(1)).await;
    let error = operator.cancel(&key("a"), "ann", "too late").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotAllowed, "{error}");
    let error = operator.abandon(&key("nobody"), "ann", "why not").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(rig.done.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_step_is_resolved_and_a_saga_abandoned_or_cancelled() {
    let (rig, saga) = (Rig::new(), impatient());
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    let operator = operator(&rig);
    park(&coordinator, "a").await;
    operator.resolve(&key("a"), "work", Resolution::Undone, "ann", "by hand").await.unwrap();
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::RolledBack);
    let told = audit(&operator, "a").await;
    let expected = [
        "resolve work as undone asked for by ann: by hand",
        "resolve work as undone by ann: by hand",
        "work resolved as undone",
    ];
    assert_eq!(told, expected);

    park(&coordinator, "b").await;
    let answer = operator.abandon(&key("b"), "ann", "let it be").await.unwrap();
    assert_eq!(answer, Answer::Taken(Status::Abandoned));

    coordinator.sagas().start("c", &800).await.unwrap();
    rig.pass(Duration::from_millis(100)).await;
    operator.cancel(&key("c"), "ann", "not wanted").await.unwrap();
    let outcome = come_out(coordinator.sagas(), "c").await;
    assert_eq!(outcome.status, Status::RolledBack);
    assert_eq!(outcome.reason.as_deref(), Some("cancelled by ann: not wanted"));
    assert_eq!(audit(&operator, "c").await, ["cancel asked for by ann: not wanted"]);
    assert_eq!(operator.audit(None, 100).await.unwrap().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_takes_is_kept_for_whoever_comes() {
    let (rig, saga, other) = (Rig::new(), impatient(), saga_of(2, |_| {}));
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    park(&coordinator, "a").await;
    coordinator.crash().await;
    let without = rig.coordinator("without the definition", &[&other]);
    let operator = operator(&rig).waiting(seconds(3));
    let asked = rig.clock.now();
    assert_eq!(operator.retry(&key("a"), None, "ann", "mended").await.unwrap(), Answer::Noted);
    assert_eq!(rig.clock.now().since(asked), seconds(3));
    without.crash().await;
    let with = rig.coordinator("with it", &[&saga, &other]);
    rig.pass(seconds(1)).await;
    assert_eq!(come_out(with.sagas(), "a").await.status, Status::RolledBack);
}

/// Two ask at the same time: both are taken, one after the other.
#[tokio::test(start_paused = true)]
async fn operators_do_not_get_in_each_other_s_way() {
    let (rig, saga) = (Rig::new(), impatient());
    let _participant = rig.participant();
    let coordinator = rig.coordinator("one", &[&saga]);
    park(&coordinator, "a").await;
    let (first, second) = (operator(&rig), operator(&rig));
    let key = key("a");
    let (first, second) = tokio::join!(
        first.retry(&key, None, "ann", "mended"),
        second.retry(&key, None, "bob", "mended too"),
    );
    assert!(first.is_ok() != second.is_ok(), "one finds it stuck, the other no more: {first:?}, {second:?}");
    assert_eq!(come_out(coordinator.sagas(), "a").await.status, Status::RolledBack);
}
