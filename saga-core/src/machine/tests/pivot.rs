//! The point of no return.

use super::*;
use crate::definition::FailurePolicy;
use crate::machine::StepState;
use crate::record::{Announcement, Cause};

fn is_turned_back(play: &Play) -> bool {
    play.saga.cause().is_some()
}

#[test]
fn before_its_dispatch_the_saga_can_be_cancelled() {
    let mut play = Play::of(shop);
    play.cancels();
    assert!(is_turned_back(&play));
}

#[test]
fn its_dispatch_is_the_point_of_no_return() {
    let mut play = paying();
    assert_eq!(play.cancels(), [], "too late");
    play.owes(["execute mail", "execute pay"]);
}

#[test]
fn from_its_dispatch_on_the_saga_deadline_only_alerts() {
    let mut play = Play::of(|saga| {
        let pay = saga.step(&PAY, |n| *n);
        saga.step_after(&pay, &SHIP, |_, pay| pay);
        saga.deadline(Duration::from_secs(5));
    });
    assert_eq!(play.wakes_after(5), [Fact::Overdue]);
    assert!(play.saga.view().overdue);
    assert_eq!(play.wakes_after(5), [], "once");
    assert_eq!(play.saga.next_deadline(), None);
    play.succeeds("pay", 1);
    play.succeeds("ship", 1);
    play.is(Status::Completed);
}

#[test]
fn a_clean_rejection_turns_the_saga_back() {
    let mut play = paying();
    play.succeeds("mail", 1);
    play.rejects("pay");
    play.owes(["undo a"]);
    assert_eq!(
        play.saga.cause(),
        Some(&Cause::Rejected { step: play.index("pay"), reason: "refused".into() })
    );
}

#[test]
fn a_failed_pivot_parks_going_forward() {
    let mut play = paying();
    play.fails("pay");
    play.is(Status::Running);
    play.succeeds("mail", 1);
    play.is(Status::Parked);
    play.owes(NOTHING);
    assert_eq!(play.cancels(), [], "too late");
    play.retries(None).unwrap();
    play.owes(["execute pay in round 2"]);
    play.succeeds("pay", 1);
    play.owes(["execute ship"]);
}

#[test]
fn a_later_round_has_its_own_deadline_and_tells_when_the_first_began() {
    let mut play = paying();
    let first = play.now;
    play.succeeds("mail", 1);
    play.fails("pay");
    play.wakes_after(100);
    play.retries(None).unwrap();
    assert_eq!(play.saga.step_input(play.index("pay")).1, first);
    assert_eq!(play.wakes_after(29), []);
    play.wakes_after(1);
    play.owes(["fence pay in round 2"]);
}

#[test]
fn a_failure_beside_the_dispatched_pivot_does_not_turn_back() {
    let mut play = paying();
    play.fails("mail");
    assert!(!is_turned_back(&play));
    play.wakes_after(20);
    play.owes(["execute pay"]);
    play.succeeds("pay", 1);
    play.succeeds("ship", 1);
    play.is(Status::Parked);
    assert_eq!(play.saga.parked().unwrap().to_string(), "mail: gave up");
    play.resolves("mail", done(1)).unwrap();
    play.fenced("mail", FenceAnswer::Unknown);
    play.is(Status::Completed);
}

#[test]
fn a_failure_beside_the_pivot_before_its_dispatch_turns_back() {
    let mut play = Play::of(shop);
    play.fails("mail");
    play.succeeds("a", 1);
    play.owes(["undo a"]);
}

/// The pivot did not answer in time; nobody else is in flight.
fn in_doubt() -> Play {
    let mut play = paying();
    play.wakes_after(30);
    play.succeeds("mail", 1);
    play
}

#[test]
fn a_pivot_in_doubt_is_fenced_first_and_alone() {
    let mut play = paying();
    play.wakes_after(30);
    assert_eq!(play.saga.cause(), Some(&Cause::StepDeadline { step: play.index("pay") }));
    play.owes(["execute mail"]);
    play.wakes_after(10);
    play.owes(["fence pay"]);
    let states: Vec<_> = play.saga.view().steps.into_iter().map(|step| step.state).collect();
    use StepState::{Fencing, UndoPlanned, Waiting};
    assert_eq!(states, [UndoPlanned, UndoPlanned, Fencing, Waiting]);
}

#[test]
fn a_pivot_found_without_effect_lets_unwinding_go_on() {
    let mut play = in_doubt();
    play.fenced("pay", FenceAnswer::NoEffect);
    play.owes(["undo a"]);
    assert_eq!(play.succeeds("pay", 1), [], "a sealed pivot cannot succeed");
    play.undone("a");
    play.is(Status::RolledBack);
}

#[test]
fn what_does_not_lead_to_the_pivot_waits_for_its_fence_too() {
    let mut play = paying();
    play.wakes_after(30);
    play.wakes_after(10);
    play.owes(["fence pay"]);
    play.fenced("pay", FenceAnswer::NoEffect);
    play.owes(["undo a", "fence mail"]);
}

#[test]
fn a_pivot_found_done_sends_the_saga_forward() {
    let mut play = in_doubt();
    play.fenced("pay", found_done(4));
    play.owes(["execute ship"]);
    assert_eq!(play.input_of("ship"), 4);
    assert!(!is_turned_back(&play), "it has not failed after all");
    play.succeeds("ship", 1);
    play.is(Status::Completed);
    assert_eq!(play.saga.settled().unwrap().cause, None);
}

#[test]
fn what_was_in_flight_goes_on_when_the_saga_goes_forward() {
    let mut play = paying();
    play.wakes_after(30);
    play.wakes_after(10);
    let before = play.record.len();
    play.fenced("pay", found_done(4));
    play.owes(["execute mail", "execute ship"]);
    let newly_owed = play.saga.newly_owed(&play.record[before..]);
    assert_eq!(newly_owed, play.saga.owed(), "what was in flight is sent again at once");
    play.succeeds("mail", 1);
    play.succeeds("ship", 1);
    play.is(Status::Completed);
}

#[test]
fn a_repeated_answer_of_a_fence_that_sent_the_saga_forward_is_a_duplicate() {
    let mut play = in_doubt();
    play.fenced("pay", found_done(4));
    assert_eq!(play.fenced("pay", found_done(4)), []);
}

#[test]
fn unwinding_is_not_announced_any_more_once_the_saga_goes_forward() {
    let mut play = Play::of(|saga| {
        shop(saga);
        saga.announce(Announcement::Unwinding, "news", |_, _| ());
    });
    play.succeeds("a", 1);
    play.succeeds("mail", 1);
    play.wakes_after(30);
    play.owes(["fence pay", "announce unwinding"]);
    play.succeeds("pay", 1);
    play.owes(["execute ship"]);
    assert_eq!(play.event(Event::Announced(Announcement::Unwinding)), Ok(vec![]));
}

#[test]
fn a_pivot_of_which_nobody_knows_parks() {
    let mut play = in_doubt();
    play.fenced("pay", FenceAnswer::Unknown);
    play.is(Status::Parked);
    play.owes(NOTHING);
    play.retries(Some("pay")).unwrap();
    play.owes(["fence pay in round 2"]);
}

#[test]
fn a_pivot_found_done_with_an_output_that_cannot_be_decoded_parks_and_keeps_it() {
    let mut play = in_doubt();
    let facts = play.fenced("pay", FenceAnswer::Done { output: garbage() });
    assert!(matches!(&facts[0], Fact::Failed { raw: Some(raw), .. } if *raw == garbage()), "{facts:?}");
    play.is(Status::Parked);
    assert!(play.saga.parked().unwrap().contains("cannot be decoded"), "{:?}", play.saga.parked());
    play.resolves("pay", done(4)).unwrap();
    play.fenced("pay", FenceAnswer::Unknown);
    play.owes(["execute ship"]);
}

#[test]
fn a_late_success_of_a_pivot_in_doubt_sends_the_saga_forward() {
    let mut during_grace = paying();
    during_grace.wakes_after(30);
    during_grace.succeeds("pay", 1);
    during_grace.owes(["execute mail", "execute ship"]);
    let mut fenced = in_doubt();
    fenced.succeeds("pay", 1);
    fenced.owes(["execute ship"]);
    let mut parked = in_doubt();
    parked.fenced("pay", FenceAnswer::Unknown);
    parked.succeeds("pay", 1);
    parked.owes(["execute ship"]);
    parked.is(Status::Running);
}

#[test]
fn a_late_rejection_of_a_pivot_in_doubt_needs_no_fence() {
    let mut play = paying();
    play.wakes_after(30);
    play.rejects("pay");
    play.succeeds("mail", 1);
    play.owes(["undo a"]);
}

#[test]
fn a_saga_deadline_that_has_passed_does_not_leave_a_pivot_in_doubt_waiting_for_ever() {
    for saga_deadline in [5, 45] {
        let mut play = Play::of(|saga| {
            saga.step(&MAIL, |n| *n);
            let pay = saga.step(&PAY, |n| *n);
            saga.configure(&pay).deadline(Duration::from_secs(30));
            saga.on_first_failure(FailurePolicy::WaitAll).deadline(Duration::from_secs(saga_deadline));
        });
        play.wakes_after(5);
        play.wakes_after(25);
        play.wakes_after(15);
        play.owes(["fence pay"]);
    }
}

#[test]
fn a_retriable_that_fails_parks_and_the_others_go_on() {
    for fails in [Play::fails, Play::rejects] {
        let mut play = Play::of(|saga| {
            let pay = saga.step(&PAY, |n| *n);
            let ship = saga.step_after(&pay, &SHIP, |_, pay| pay);
            let bill = saga.step_after(&pay, &BILL, |_, pay| pay);
            let again = Contract::<u64, u64, Retriable>::new("bill-again");
            saga.step_after((&ship, &bill), &again, |_, (ship, _)| ship);
        });
        play.succeeds("pay", 1);
        fails(&mut play, "ship");
        play.is(Status::Running);
        play.owes(["execute bill"]);
        play.succeeds("bill", 1);
        play.is(Status::Parked);
        assert!(!is_turned_back(&play));
        play.retries(None).unwrap();
        play.owes(["execute ship in round 2"]);
        play.succeeds("ship", 3);
        play.owes(["execute bill-again"]);
    }
}
