//! When a saga is to be woken.

use super::*;

const fn seconds(seconds: u64) -> Option<Duration> {
    Some(Duration::from_secs(seconds))
}

#[test]
fn after_a_dispatch_it_is_woken_no_later_than_the_first_resend() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        saga.step_after(&a, &B, |_, a| a);
        saga.deadline(Duration::from_secs(3_600));
    });
    assert_eq!(play.wake_in(), seconds(5));
    play.wakes_after(60);
    assert_eq!(play.wake_in(), seconds(15), "the interval has doubled");
    play.succeeds("a", 1);
    assert_eq!(play.wake_in(), seconds(5), "b is sent");
    play.wakes_after(60);
    play.fails("b");
    assert_eq!(play.wake_in(), seconds(5), "its undo is sent");
    play.wakes_after(60);
    play.undo_fails("b");
    assert_eq!(play.wake_in(), None, "it is parked, and nothing is owed");
    play.resolves("b", Resolution::Undone).unwrap();
    assert_eq!(play.wake_in(), seconds(5), "its fence is sent");
}

#[test]
fn it_is_woken_at_the_next_deadline() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let b = saga.step(&B, |n| *n);
        saga.configure(&a).deadline(Duration::from_secs(2));
        saga.configure(&b).deadline(Duration::from_secs(4));
        saga.deadline(Duration::from_secs(6));
    });
    let deadline = |play: &Play| play.saga.next_deadline().map(|at| at.since(play.now));
    assert_eq!((play.wake_in(), deadline(&play)), (seconds(2), seconds(2)));
    play.succeeds("a", 1);
    assert_eq!(deadline(&play), seconds(4));
    play.wakes_after(1);
    assert_eq!(deadline(&play), seconds(3));
    play.succeeds("b", 1);
    assert_eq!((play.wake_in(), deadline(&play)), (None, None), "it has ended");
}

#[test]
fn the_end_of_the_grace_is_a_deadline() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.step(&B, |n| *n);
        saga.on_first_failure(crate::definition::FailurePolicy::Grace(Duration::from_secs(3)));
    });
    play.fails("a");
    assert_eq!(play.wake_in(), seconds(3));
    play.wakes_after(3);
    assert_eq!(play.saga.next_deadline(), None, "unwinding has none");
}

#[test]
fn a_deadline_that_was_not_allowed_to_fire_stays_due() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.deadline(Duration::from_secs(3));
    });
    play.now = play.now.after(Duration::from_secs(9));
    play.event(NO_DEADLINES).unwrap();
    assert!(play.saga.next_deadline().unwrap() < play.now);
    assert!(play.saga.wake_at(play.now, &Resend::DEFAULT).unwrap() < play.now);
    play.wakes_after(0);
    play.owes(["undo a"]);
}

#[test]
fn a_deadline_that_may_fire_takes_no_later_one_along() {
    let mut play = Play::of(|saga| {
        let a = saga.step(&A, |n| *n);
        let b = saga.step(&B, |n| *n);
        saga.configure(&a).deadline(Duration::from_secs(10));
        saga.configure(&b).deadline(Duration::from_secs(40));
    });
    let deadlines_until = play.now.after(Duration::from_secs(30));
    play.now = play.now.after(Duration::from_secs(60));
    let facts = play.event(Event::Wake { deadlines_until }).unwrap();
    assert_eq!(facts[0], Fact::TimedOut { step: play.index("a") });
    assert!(
        !facts.contains(&Fact::TimedOut { step: play.index("b") }),
        "its answer is older and unread: {facts:?}"
    );
    assert_eq!(play.saga.next_deadline(), Some(play.saga.started_at().after(Duration::from_secs(40))));
    play.succeeds("b", 2);
    play.owes(["undo a", "undo b"]);
}

#[test]
fn a_parked_saga_is_woken_for_its_deadline_only() {
    let mut play = Play::of(|saga| {
        let pay = saga.step(&PAY, |n| *n);
        saga.step_after(&pay, &SHIP, |_, pay| pay);
        saga.deadline(Duration::from_secs(60));
    });
    play.fails("pay");
    play.is(Status::Parked);
    assert_eq!(play.wake_in(), seconds(60));
    assert_eq!(play.wakes_after(60), [Fact::Overdue]);
    play.is(Status::Parked);
    assert_eq!(play.wake_in(), None);
}

#[test]
fn what_was_performed_is_due_again_at_the_next_resend() {
    let play = Play::of(|saga| {
        saga.step(&A, |n| *n);
    });
    let [effect] = play.saga.owed()[..] else { panic!("one command") };
    let at = |seconds| play.now.after(Duration::from_secs(seconds));
    let is_due = |performed: Option<u64>, now| {
        play.saga.is_due_again(effect, performed.map(at), at(now), &Resend::DEFAULT)
    };
    assert!(is_due(None, 0));
    assert!(!is_due(Some(0), 4));
    assert!(is_due(Some(0), 5));
    assert!(!is_due(Some(5), 14));
    assert!(is_due(Some(5), 15));
}
