//! Announcements and callbacks of a saga that has ended.

use super::*;
use crate::ports::{Ended, MockCallback};
use crate::record::{Announcement, Cause, Ending, MessageId, Retry, SagaId, SagaKey};

const SECOND: Duration = Duration::from_secs(1);

/// One step; completion is called back, at most three times by itself, and announced.
fn called_back(saga: &mut SagaBuilder<u64>) {
    saga.step(&A, |n| *n);
    saga.callback(Ending::Completed, Arc::new(MockCallback::new()));
    saga.callback_retry(Retry::NEVER.attempts(3).delays(SECOND, SECOND));
    saga.announce(Announcement::Completed, "news", |_, _| ());
}

fn completed() -> Play {
    let mut play = Play::of(called_back);
    play.owes(["execute a"]);
    play.succeeds("a", 1);
    play
}

fn no_answer() -> Event {
    Event::CallbackFailed { reason: "no answer".into() }
}

#[test]
fn announcement_and_callback_are_recorded_in_either_order() {
    let announced = Event::Announced(Announcement::Completed);
    for events in [[announced.clone(), Event::CallbackAnswered], [Event::CallbackAnswered, announced]] {
        let mut play = completed();
        play.owes(["announce completed", "call back, attempt 1"]);
        let [first, second] = events;
        assert_eq!(play.event(first.clone()).unwrap().len(), 1);
        assert_eq!(play.saga.settled(), None);
        assert_eq!(play.event(second.clone()).unwrap().len(), 1);
        let settled = play.saga.settled().unwrap();
        assert_eq!((settled.ending, settled.cause), (Ending::Completed, None));
        assert_eq!((settled.run, settled.input_digest), (play.saga.run(), play.saga.input_digest()));
        play.owes(NOTHING);
        assert_eq!(play.event(first), Ok(vec![]));
        assert_eq!(play.event(second), Ok(vec![]));
    }
}

#[test]
fn nothing_is_called_back_for_an_ending_that_was_not_chosen() {
    let mut play = Play::of(called_back);
    play.rejects("a");
    play.is(Status::RolledBack);
    play.owes(NOTHING);
    assert!(play.saga.settled().is_some());
    for event in [Event::CallbackAnswered, no_answer(), Event::CallbackRefused { reason: "gone".into() }] {
        assert_eq!(play.event(event), Ok(vec![]));
    }
    assert_eq!(play.event(Event::Announced(Announcement::Completed)), Ok(vec![]));
}

#[test]
fn a_parked_saga_is_not_called_back_an_abandoned_one_is() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        for ending in [Ending::Completed, Ending::RolledBack, Ending::Abandoned] {
            saga.callback(ending, Arc::new(MockCallback::new()));
        }
    });
    play.fails("a");
    play.undo_fails("a");
    play.is(Status::Parked);
    play.owes(NOTHING);
    play.operates(Verb::Abandon).unwrap();
    play.owes(["call back, attempt 1"]);
    assert_eq!(play.saga.settled(), None);
}

#[test]
fn a_callback_without_an_answer_is_made_again_after_a_delay() {
    let mut play = completed();
    play.event(Event::Announced(Announcement::Completed)).unwrap();
    play.event(no_answer()).unwrap();
    let not_before = play.now.after(SECOND);
    assert_eq!(play.saga.owed(), [Effect::Callback { attempt: 2, not_before }]);
    assert_eq!(play.wake_in(), Some(SECOND));
    assert!(!play.saga.is_due_again(play.saga.owed()[0], None, play.now, &Resend::DEFAULT));
    assert!(play.saga.is_due_again(play.saga.owed()[0], None, not_before, &Resend::DEFAULT));
    play.event(Event::CallbackAnswered).unwrap();
    assert!(play.saga.settled().is_some());
}

#[test]
fn a_callback_that_nobody_has_answered_yet_is_made_again_at_the_next_resend() {
    let mut play = completed();
    play.event(Event::Announced(Announcement::Completed)).unwrap();
    assert_eq!(play.wake_in(), Some(5 * SECOND));
    play.now = play.now.after(4 * SECOND);
    assert_eq!(play.wake_in(), Some(SECOND));
}

/// What callbacks and announcements are told.
fn told(play: &Play) -> Ended {
    let key = SagaKey { saga: "play".into(), id: SagaId::new("7").unwrap() };
    play.saga.ended(key, MessageId::new("1"))
}

#[test]
fn who_hears_of_a_saga_is_told_why_and_when_it_turned_back_and_when_it_ended() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.announce(Announcement::Unwinding, "news", |_, _| ());
    });
    play.wakes_after(1);
    let failed = Cause::Failed { step: play.index("a"), reason: "gave up".into() };
    play.fails("a");
    let turned_at = play.now;
    play.wakes_after(1);
    play.event(Event::Announced(Announcement::Unwinding)).unwrap();
    let Ended { ending, cause, at, .. } = told(&play);
    assert_eq!((ending, cause, at), (Ending::RolledBack, Some(failed), turned_at));
    play.undone("a");
    assert_eq!(told(&play).at, play.now);
    assert_eq!(play.saga.turned_at(), play.now);
}

#[test]
fn spent_attempts_count_as_refused_until_an_operator_retries() {
    let mut play = completed();
    play.event(Event::Announced(Announcement::Completed)).unwrap();
    play.event(no_answer()).unwrap();
    play.event(no_answer()).unwrap();
    play.owes(["call back, attempt 3"]);
    play.event(no_answer()).unwrap();
    play.owes(NOTHING);
    assert!(play.saga.view().callback_refused.unwrap().contains("given up after 3 attempts"));
    assert_eq!((play.saga.settled(), play.wake_in()), (None, None));
    assert_eq!(play.event(no_answer()), Ok(vec![]));
    not_allowed(play.retries(Some("a")));
    play.retries(None).unwrap();
    play.owes(["call back, attempt 1"]);
    play.is(Status::Completed);
}

#[test]
fn a_refused_callback_stays_open_until_an_operator_gives_it_up() {
    let mut play = completed();
    play.event(Event::Announced(Announcement::Completed)).unwrap();
    play.event(Event::CallbackRefused { reason: "gone".into() }).unwrap();
    assert_eq!(play.event(Event::CallbackRefused { reason: "gone".into() }), Ok(vec![]));
    play.owes(NOTHING);
    assert_eq!(play.saga.settled(), None);
    play.operates(Verb::Abandon).unwrap();
    play.is(Status::Completed);
    assert!(play.saga.settled().is_some());
}

#[test]
fn an_answer_after_the_refusal_still_counts() {
    let mut play = completed();
    play.event(Event::Announced(Announcement::Completed)).unwrap();
    play.event(Event::CallbackRefused { reason: "gone".into() }).unwrap();
    play.event(Event::CallbackAnswered).unwrap();
    assert!(play.saga.settled().is_some());
}

#[test]
fn an_announcement_that_cannot_be_made_holds_nothing_up() {
    let mut play = completed();
    play.event(Event::CallbackAnswered).unwrap();
    let announcement = Announcement::Completed;
    play.event(Event::AnnouncementRefused { announcement, reason: "too large".into() }).unwrap();
    assert!(play.saga.settled().is_some());
    play.owes(NOTHING);
}

#[test]
fn a_saga_that_turns_and_ends_at_once_owes_each_announcement_once() {
    let mut play = Play::of(|saga| {
        saga.step(&A, |n| *n);
        saga.announce(Announcement::Unwinding, "news", |_, _| ());
        saga.announce(Announcement::RolledBack, "news", |_, _| ());
    });
    let before = play.record.len();
    play.rejects("a");
    play.owes(["announce unwinding", "announce rolled-back"]);
    assert_eq!(play.saga.newly_owed(&play.record[before..]), play.saga.owed());
}
