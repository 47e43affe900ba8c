use std::sync::Arc;

use super::*;
use crate::contract::StepKind;
use crate::definition::{Fault, STEPS_MAX, StartRequest};
use crate::ports::MockCallback;
use crate::record::{Announcement, Ending};

/// What is wrong with the saga that `build` makes, each as `step: fault`.
fn problems(build: impl FnOnce(&mut SagaBuilder<Order>)) -> Vec<String> {
    let mut saga = builder();
    build(&mut saga);
    saga.build().map_or_else(|error| error.problems.iter().map(ToString::to_string).collect(), |_| Vec::new())
}

/// Checks that a saga is refused with one problem, whose text begins and ends so.
#[track_caller]
pub(super) fn refused(build: impl FnOnce(&mut SagaBuilder<Order>), begins: &str, advises: &str) {
    let problems = problems(build);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with(begins) && problems[0].contains(advises), "{problems:?}");
}

#[track_caller]
pub(super) fn accepted(build: impl FnOnce(&mut SagaBuilder<Order>)) {
    assert_eq!(problems(build), [""; 0]);
}

const fn named<K: StepKind>(name: &'static str) -> Contract<(), (), K> {
    Contract::new(name)
}

const X: Contract<(), (), Compensatable> = named("x");
const Y: Contract<(), (), Compensatable> = named("y");
const N: Contract<(), (), NoUndo> = named("n");
const P: Contract<(), (), Pivot> = named("p");
const R: Contract<(), (), Retriable> = named("r");

#[test]
fn an_empty_saga() {
    refused(|_| {}, "it has no step", "add one");
}

#[test]
fn too_many_steps() {
    let many = |count: usize| {
        move |saga: &mut SagaBuilder<Order>| {
            for n in 0..count {
                let step = saga.step(&X, |_| ());
                saga.configure(&step).named(&n.to_string());
            }
        }
    };
    accepted(many(STEPS_MAX));
    refused(many(STEPS_MAX + 1), "it has 10001 steps", "split it");
    refused(many(70_000), "it has 70000 steps", "split it");
}

#[test]
fn two_steps_of_one_name() {
    let twice = |saga: &mut SagaBuilder<Order>| {
        saga.step(&X, |_| ());
        saga.step(&X, |_| ())
    };
    refused(
        |saga| {
            twice(saga);
        },
        "step \"x\": an earlier step has the same name",
        "named(",
    );
    accepted(|saga| {
        let second = twice(saga);
        saga.configure(&second).named("x-2");
    });
}

#[test]
fn names_that_no_broker_carries() {
    const BAD: Contract<(), ()> = Contract::new("bad name");
    const BAD_TOPIC: Contract<(), ()> = Contract::new("fine").on_topic("");
    refused(
        |saga| {
            saga.step(&BAD, |_| ());
        },
        "step \"bad name\": step \"bad name\" has",
        "A-Z",
    );
    refused(
        |saga| {
            saga.step(&BAD_TOPIC, |_| ());
        },
        "step \"fine\": topic \"\" is empty",
        "1 to 200",
    );
    refused(
        |saga| {
            let step = saga.step(&BAD, |_| ());
            saga.configure(&step).named("fine");
        },
        "step \"fine\": contract \"bad name\" has",
        "A-Z",
    );
    let edges: [fn(&mut SagaBuilder<Order>); 4] = [
        |saga| {
            saga.replies_to("a/b");
        },
        |saga| {
            saga.trigger_default("a/b");
        },
        |saga| {
            saga.cancel_on("a/b", |_| Err("no".into()));
        },
        |saga| {
            saga.announce(Announcement::Completed, "a/b", |_, _| ());
        },
    ];
    for set in edges {
        refused(
            |saga| {
                saga.step(&X, |_| ());
                set(saga);
            },
            "topic \"a/b\" has a character",
            "A-Z",
        );
    }
    let mut saga = Saga::<Order>::builder("über", 1);
    saga.step(&X, |_| ());
    saga.replies_to("replies");
    let error = saga.build().unwrap_err();
    assert!(error.to_string().starts_with("saga \"über\" cannot be built: saga \"über\" has"), "{error}");
}

#[test]
fn handles_of_another_builder() {
    let mut other = builder();
    let foreign = other.step(&Y, |_| ());
    refused(
        |saga| {
            let x = saga.step(&X, |_| ());
            saga.step_after((&x, &foreign), &N, |_, _| ());
        },
        "step \"n\": the handle of a step on contract \"y\" is of another builder",
        "step_after",
    );
    refused(
        |saga| {
            saga.step(&X, |_| ());
            saga.configure(&foreign).named("z").deadline(Duration::ZERO);
        },
        "the handle of a step on contract \"y\" is of another builder",
        "step_after",
    );
}

#[test]
fn waiting_twice_for_one_step() {
    refused(
        |saga| {
            let x = saga.step(&X, |_| ());
            saga.step_after((&x, &x), &Y, |_, _| ());
        },
        "step \"y\": it waits for \"x\" twice",
        "once",
    );
}

#[test]
fn the_pivot_s_rules() {
    refused(
        |saga| {
            let p = saga.step(&P, |_| ());
            let q = saga.step_after(&p, &P, |_, ()| ());
            saga.configure(&q).named("q");
        },
        "step \"q\": it is a second point of no return, after \"p\"",
        "at most one",
    );
    for parallel in [true, false] {
        refused(
            |saga| {
                let x = saga.step(&X, |_| ());
                if parallel {
                    saga.step(&Y, |_| ());
                } else {
                    saga.step_after(&x, &Y, |_, ()| ());
                }
                saga.step_after(&x, &P, |_, ()| ());
            },
            "step \"y\": it could still have to be undone when the pivot \"p\" is done",
            "let the pivot wait for it",
        );
    }
    refused(
        |saga| {
            let p = saga.step(&P, |_| ());
            let r = saga.step_after(&p, &R, |_, ()| ());
            saga.step_after(&r, &X, |_, ()| ());
        },
        "step \"x\": it is compensatable and comes after the pivot \"p\"",
        "`Retriable`",
    );
    refused(
        |saga| {
            let p = saga.step(&P, |_| ());
            saga.step_after(&p, &N, |_, ()| ());
        },
        "step \"n\": it is no-undo and comes after the pivot \"p\"",
        "`Retriable`",
    );
    let early = "step \"r\": it is retriable and does not come after a pivot";
    refused(
        |saga| {
            saga.step(&R, |_| ());
        },
        early,
        "let it wait for the pivot",
    );
    refused(
        |saga| {
            let r = saga.step(&R, |_| ());
            saga.step_after(&r, &P, |_, ()| ());
        },
        early,
        "let it wait for the pivot",
    );
    accepted(|saga| {
        let x = saga.step(&X, |_| ());
        let n = saga.step_after(&x, &N, |_, ()| ());
        let y = saga.step_after(&n, &Y, |_, ()| ());
        let p = saga.step_after(&y, &P, |_, ()| ());
        saga.step_after((&p, &x), &R, |_, _| ());
    });
}

#[test]
fn times_that_mean_nothing() {
    refused(
        |saga| {
            let p = saga.step(&P, |_| ());
            let r = saga.step_after(&p, &R, |_, ()| ());
            saga.configure(&r).deadline(Duration::from_secs(1));
        },
        "step \"r\": it is retriable, so its deadline could do nothing",
        "remove it",
    );
    let configured = |retry: Option<Retry>, deadline: Option<Duration>| {
        move |saga: &mut SagaBuilder<Order>| {
            let x = saga.step(&X, |_| ());
            saga.deadline(Duration::from_secs(60));
            if let Some(retry) = retry {
                saga.configure(&x).retry(retry);
                saga.callback_retry(retry);
            }
            if let Some(deadline) = deadline {
                saga.configure(&x).deadline(deadline);
            }
        }
    };
    refused(configured(None, Some(Duration::ZERO)), "step \"x\": its deadline is zero", "give it time");
    let (ms, second) = (Duration::from_millis(1), Duration::from_secs(1));
    for (retry, says) in [
        (Retry::DEFAULT.attempts(0), "allows no attempt"),
        (Retry::DEFAULT.delays(second, ms), "longer than its longest of 1ms"),
        (Retry::FOREVER.delays(Duration::ZERO, second), "without a pause"),
        (Retry::FOREVER.delays(ms / 2, second), "without a pause"),
    ] {
        let [callback, step] = &problems(configured(Some(retry), None))[..] else { panic!("{says}") };
        assert!(callback.starts_with("its retry") && callback.contains(says), "{callback}");
        assert!(step.starts_with("step \"x\": its retry") && step.contains(says), "{step}");
    }
    accepted(configured(Some(Retry::FOREVER.delays(ms, ms)), Some(ms)));
    accepted(configured(Some(Retry::NEVER.delays(Duration::ZERO, ms)), None));
    refused(
        |saga| {
            saga.step(&X, |_| ());
            saga.deadline(Duration::ZERO);
        },
        "its deadline is zero",
        "give it time",
    );
}

#[test]
fn waiting_without_end() {
    let saga = |policy: FailurePolicy, retry: Option<Retry>, step: bool, saga: bool| {
        move |builder: &mut SagaBuilder<Order>| {
            let x = builder.step(&X, |_| ());
            let p = builder.step_after(&x, &P, |_, ()| ());
            // A retriable step may be retried for ever: it is bound to succeed.
            let r = builder.step_after(&p, &R, |_, ()| ());
            builder.configure(&r).retry(Retry::FOREVER);
            builder.configure(&p).deadline(Duration::from_secs(1));
            builder.on_first_failure(policy);
            if let Some(retry) = retry {
                builder.configure(&x).retry(retry);
            }
            if step {
                builder.configure(&x).deadline(Duration::from_secs(1));
            }
            if saga {
                builder.deadline(Duration::from_secs(1));
            }
        }
    };
    let grace = FailurePolicy::Grace(Duration::from_secs(1));
    let retried = "step \"x\": it could be retried for ever";
    let waited = "step \"x\": after a failure elsewhere `WaitAll` could wait for it for ever";
    for (policy, retry, refusal) in [
        (grace, None, None),
        (grace, Some(Retry::FOREVER), Some(retried)),
        (FailurePolicy::FailFast, Some(Retry::FOREVER), Some(retried)),
        (FailurePolicy::FailFast, Some(Retry::DEFAULT), None),
        (FailurePolicy::WaitAll, None, Some(waited)),
        (FailurePolicy::WaitAll, Some(Retry::DEFAULT), Some(waited)),
        (FailurePolicy::WaitAll, Some(Retry::FOREVER), Some(waited)),
    ] {
        match refusal {
            Some(begins) => refused(saga(policy, retry, false, false), begins, "give it a deadline"),
            None => accepted(saga(policy, retry, false, false)),
        }
        accepted(saga(policy, retry, true, false));
        accepted(saga(policy, retry, false, true));
    }
}

#[test]
fn things_set_twice() {
    refused(
        |saga| {
            saga.step(&X, |_| ());
            saga.announce(Announcement::Completed, "t", |_, _| ());
            saga.announce(Announcement::Completed, "u", |_, _| ());
        },
        "`announce` was called twice for completed",
        "once",
    );
    refused(
        |saga| {
            saga.step(&X, |_| ());
            saga.callback(Ending::RolledBack, Arc::new(MockCallback::new()));
            saga.callback(Ending::RolledBack, Arc::new(MockCallback::new()));
        },
        "`callback` was called twice for rolled-back",
        "once",
    );
    refused(
        |saga| {
            saga.step(&X, |_| ());
            saga.reply_codec(|_| Err("no".into()));
            saga.reply_codec(|_| Err("no".into()));
        },
        "`reply_codec` was called twice",
        "once",
    );
}

#[test]
fn everything_wrong_is_told_at_once() {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    saga.step(&R, |_| ());
    saga.trigger("r", |message| Ok(StartRequest { id: "1".parse()?, input: message.payload.parse()? }));
    let error = saga.build().unwrap_err();
    assert!(matches!(error.problems[0].fault, Fault::RetriableBeforePivot), "{error:?}");
    let text = error.to_string();
    assert!(text.starts_with("saga \"checkout\" cannot be built:\n  - step \"r\": it is"), "{text}");
    assert!(
        text.contains("\n  - topic \"r\" is a topic of commands and a trigger: use two topics"),
        "{text}"
    );
    assert_eq!(crate::Error::from(error).kind(), crate::ErrorKind::Invalid);
}
