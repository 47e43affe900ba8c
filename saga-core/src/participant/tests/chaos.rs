//! The whole participant on a bus that duplicates, delays and reorders, with handlers that fail, hang and panic.

use std::collections::{HashMap, HashSet};
use std::sync::Mutex;

use super::*;
use crate::memory::{Faults, MemoryBus};
use crate::ports::{Declaration, EventBus, Group, GroupStart, Published, SubscriptionSpec, TopicKind};

const RUNS: u128 = 200;

/// What happened outside, by run.
#[derive(Default)]
struct Outside {
    effects: HashSet<RunId>,
    calls: HashMap<(RunId, Action), u32>,
}

/// Acts, and then ends in one of the ways a handler can end, picked by the run and the call.
async fn act(outside: Arc<Mutex<Outside>>, ctx: StepContext) -> Result<(), StepError> {
    let call = {
        let mut outside = outside.lock().unwrap();
        let calls = outside.calls.entry((ctx.run, ctx.action)).or_default();
        *calls += 1;
        *calls
    };
    tokio::time::sleep(ms(ctx.run.as_u128() as u64 % 7 * 30)).await;
    {
        let mut outside = outside.lock().unwrap();
        match ctx.action {
            Action::Execute => outside.effects.insert(ctx.run),
            _ => outside.effects.remove(&ctx.run),
        };
    }
    match (ctx.run.as_u128() + u128::from(call)) % 5 {
        0 if call < 3 => Err(StepError::retry("away")),
        1 if call < 3 => panic!("broken"),
        2 if call < 3 => std::future::pending().await,
        _ => Ok(()),
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_the_bus_does_nothing_undone_has_an_effect() {
    let faults =
        Faults { duplicate: 0.3, reorder: 0.3, delay: 0.3, delay_max: ms(2_000), ..Faults::seeded(7) };
    let bus = MemoryBus::builder().faults(faults).build();
    let mut rig = Rig::new();
    rig.options.claim_hold = ms(1_000);
    rig.options.claim_margin = ms(100);
    rig.options.retry = Retry::DEFAULT.attempts(10);
    let topics = [("pay", "pay"), ("checkout.replies", "checkout")];
    let declarations = topics.map(|(topic, group)| Declaration {
        topic: Topic::new(topic).unwrap(),
        kind: TopicKind::Commands,
        groups: vec![Group { name: group.into(), start: GroupStart::Earliest }],
    });
    bus.declare(&declarations).await.unwrap();
    let outside = Arc::new(Mutex::new(Outside::default()));
    for _ in 0..2 {
        let (doing, undoing) = (Arc::clone(&outside), Arc::clone(&outside));
        let pay = handler(move |n: u32, ctx| {
            let done = act(Arc::clone(&doing), ctx);
            async move { done.await.map(|()| n) }
        })
        .undo(move |_, ctx| act(Arc::clone(&undoing), ctx));
        let mut participant =
            Participant::new(Arc::new(bus.clone()), Arc::clone(&rig.inbox), Arc::clone(&rig.clock));
        participant.serve(&PAY, pay, rig.options.clone()).unwrap();
        tokio::spawn(participant.run(std::future::pending()));
    }
    let both = |n| [Action::Execute, Action::Undo].map(|action| run(n, command(action)));
    let commands = (0..RUNS).flat_map(both);
    let messages = commands.map(|command| command.into_message(Topic::new("pay").unwrap(), "/test"));
    let published = bus.publish(messages.collect()).await;
    assert!(published.iter().all(|answer| matches!(answer, Published::Acked)));
    let spec = SubscriptionSpec {
        topic: Topic::new("checkout.replies").unwrap(),
        group: "checkout".into(),
        in_flight_max: 1_000,
        key_order: false,
    };
    let replies = bus.subscribe(spec).await.unwrap();
    let mut undone = HashSet::new();
    while let Ok(batch) = tokio::time::timeout(ms(120_000), replies.next(100)).await {
        for delivery in batch.unwrap() {
            let reply = Reply::parse(&delivery.message).unwrap().unwrap();
            assert!(!matches!(reply.report, Report::UndoFailed { .. }), "{reply:?}");
            if reply.report == Report::Undone {
                undone.insert(reply.run);
            }
            replies.settle(vec![delivery.ack()]).await;
        }
    }
    let outside = outside.lock().unwrap();
    assert_eq!(undone.len() as u128, RUNS);
    assert_eq!(outside.effects, HashSet::new());
    let executed = outside.calls.keys().filter(|(_, action)| *action == Action::Execute).count();
    assert!(executed > 50, "only {executed} were executed at all");
    assert_eq!(bus.dead_letters_of(&Topic::new("pay").unwrap()).len(), 0);
}
