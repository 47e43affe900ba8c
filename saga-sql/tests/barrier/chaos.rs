use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use saga_core::memory::{Faults, MemoryBus, TokioClock};
use saga_core::participant::Participant;
use saga_core::ports::{
    Declaration, EventBus, Group, GroupStart, Known, Published, SubscriptionSpec, TopicKind,
};
use saga_core::record::{Action, Payload, Report, Retry, RunId, SagaId, SagaKey, Timestamp, Topic};
use saga_core::wire::{Command, Reply};
use saga_core::{Contract, ServeOptions, StepContext, StepError};

use super::stand::{DatabaseInbox, Stand};
use super::transactions::book;

const PAY: Contract<u32, u32> = Contract::new("pay");
const RUNS: u128 = 120;
/// How many participants share the work, each with connections of its own.
const PARTICIPANTS: usize = 3;

type Calls = Arc<Mutex<HashMap<(RunId, Action), u32>>>;

/// How a call of a handler ends, picked by the run and the number of the call.
async fn trouble(calls: &Calls, ctx: &StepContext) -> Result<(), StepError> {
    let call = {
        let mut calls = calls.lock().unwrap();
        let call = calls.entry((ctx.run, ctx.action)).or_default();
        *call += 1;
        *call
    };
    match (ctx.run.as_u128() + u128::from(call)) % 6 {
        0 if call < 3 => Err(StepError::retry("away")),
        1 if call < 3 => panic!("broken"),
        // Until it is cut off, or its transaction is.
        2 if call < 3 => std::future::pending().await,
        _ => Ok(()),
    }
}

fn participant(bus: &MemoryBus, inbox: DatabaseInbox, calls: &Calls) -> Participant {
    let (doing, undoing) = (Arc::clone(calls), Arc::clone(calls));
    let pay = inbox
        .handler(move |n: u32, mut tx, ctx: StepContext| {
            let calls = Arc::clone(&doing);
            async move {
                book(&mut tx, ctx.run, 7).await?;
                trouble(&calls, &ctx).await?;
                tx.commit(n).await
            }
        })
        .undo(move |_, mut tx, ctx| {
            let calls = Arc::clone(&undoing);
            async move {
                book(&mut tx, ctx.run, -7).await?;
                trouble(&calls, &ctx).await?;
                tx.commit(()).await
            }
        });
    let mut options = ServeOptions::default();
    options.claim_hold = Duration::from_millis(600);
    options.claim_margin = Duration::from_millis(100);
    options.concurrency = 8;
    options.retry = Retry::DEFAULT.attempts(30).delays(Duration::from_millis(10), Duration::from_millis(200));
    let clock = Arc::new(TokioClock::new());
    let mut participant = Participant::new(Arc::new(bus.clone()), Arc::new(inbox), clock);
    participant.serve(&PAY, pay, options).unwrap();
    participant
}

fn command(run: u128, action: Action) -> Command {
    Command {
        key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
        run: RunId::from_u128(run),
        step: "pay".into(),
        action,
        round: 1,
        dispatched_at: Timestamp::MAX,
        known: Known::Unknown,
        retry: None,
        reply_to: topic("checkout.replies"),
        traceparent: None,
        input: Payload::from("20"),
    }
}

fn topic(name: &str) -> Topic {
    Topic::new(name.to_owned()).unwrap()
}

/// The bus duplicates, delays and reorders; the handlers fail, hang and panic. Some runs are only executed, the others are undone as well.
pub(super) async fn whatever_the_bus_does_the_ledger_adds_up(stand: Stand) {
    let delay_max = Duration::from_millis(300);
    let faults = Faults { duplicate: 0.3, reorder: 0.3, delay: 0.3, delay_max, ..Faults::seeded(7) };
    let bus = MemoryBus::builder().faults(faults).build();
    let declarations = [("pay", "pay"), ("checkout.replies", "checkout")].map(|(name, group)| Declaration {
        topic: topic(name),
        kind: TopicKind::Commands,
        groups: vec![Group { name: group.into(), start: GroupStart::Earliest }],
    });
    bus.declare(&declarations).await.unwrap();
    let calls = Calls::default();
    for _ in 0..PARTICIPANTS {
        let participant = participant(&bus, stand.again().await, &calls);
        tokio::spawn(participant.run(std::future::pending()));
    }
    let is_undone = |run: u128| !run.is_multiple_of(4);
    let executions = (0..RUNS).map(|run| command(run, Action::Execute));
    let undos = (0..RUNS).filter(|run| is_undone(*run)).map(|run| command(run, Action::Undo));
    let messages = executions.chain(undos).map(|command| command.into_message(topic("pay"), "/test"));
    let published = bus.publish(messages.collect()).await;
    assert!(published.iter().all(|answer| matches!(answer, Published::Acked)));

    let (mut executed, mut undone) = (HashSet::new(), HashSet::new());
    let spec = SubscriptionSpec {
        topic: topic("checkout.replies"),
        group: "checkout".into(),
        in_flight_max: 1_000,
        key_order: false,
    };
    let replies = bus.subscribe(spec).await.unwrap();
    let wanted = (0..RUNS).filter(|run| is_undone(*run)).count();
    while executed.len() < RUNS as usize || undone.len() < wanted {
        let batch = tokio::time::timeout(Duration::from_secs(60), replies.next(100)).await;
        for delivery in batch.expect("every command is answered").unwrap() {
            let reply = Reply::parse(&delivery.message).unwrap().unwrap();
            match reply.report {
                Report::Succeeded { .. } | Report::Rejected { .. } => executed.insert(reply.run),
                Report::Undone => undone.insert(reply.run),
                other => panic!("{other:?}"),
            };
            replies.settle(vec![delivery.ack()]).await;
        }
    }
    for run in 0..RUNS {
        let id = RunId::from_u128(run);
        let count = |amount: i64| format!("SELECT count(*) FROM ledger WHERE run = '{id}' AND amount = {amount}");
        let (paid, repaid) = (stand.number(&count(7)).await, stand.number(&count(-7)).await);
        if is_undone(run) {
            assert!(paid <= 1 && repaid == paid, "run {run}: paid {paid} times, repaid {repaid} times");
        } else {
            assert_eq!((paid, repaid), (1, 0), "run {run}");
        }
    }
    let paid = stand.number("SELECT count(*) FROM ledger WHERE amount = 7").await;
    assert!(paid > 40, "only {paid} were paid at all");
}
