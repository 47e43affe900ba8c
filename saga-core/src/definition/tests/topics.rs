use super::refused::{accepted, refused};
use super::*;
use crate::record::Announcement;

const X: Contract<(), ()> = Contract::new("x");
const Y: Contract<(), ()> = Contract::new("y");
const Z: Contract<(), ()> = Contract::new("z");

#[test]
fn topics_with_two_meanings() {
    type Use = fn(&mut SagaBuilder<Order>);
    let replies: Use = |saga| {
        saga.replies_to("t");
    };
    let command: Use = |saga| {
        saga.step(&Y.on_topic("t"), |_| ());
    };
    let trigger: Use = |saga| {
        saga.trigger_default("t");
    };
    let cancel: Use = |saga| {
        saga.cancel_on("t", |_| Err("no".into()));
    };
    let announced: Use = |saga| {
        saga.announce(Announcement::Completed, "t", |_, _| ());
    };
    let also_announced: Use = |saga| {
        saga.announce(Announcement::Abandoned, "t", |_, _| ());
    };
    let other_command: Use = |saga| {
        saga.step(&Z.on_topic("t"), |_| ());
    };
    let both = |first: Use, second: Use| {
        move |saga: &mut SagaBuilder<Order>| {
            saga.step(&X, |_| ());
            first(saga);
            second(saga);
        }
    };
    let uses = [replies, command, trigger, cancel, announced];
    for (i, &first) in uses.iter().enumerate() {
        for (j, &second) in uses.iter().enumerate().skip(i + 1) {
            // A cancel topic may be announced on.
            if (i, j) == (3, 4) {
                accepted(both(first, second));
            } else {
                refused(both(first, second), "topic \"t\" is ", "use two topics");
            }
        }
    }
    refused(both(trigger, trigger), "topic \"t\" is a trigger and a trigger", "two topics");
    refused(both(cancel, cancel), "topic \"t\" is a cancel topic and a cancel topic", "two topics");
    accepted(both(command, other_command));
    accepted(both(announced, also_announced));
}
