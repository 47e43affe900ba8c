//! What is committed is published, what is rolled back is not, and sagas start so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saga_core::memory::MemoryBus;
use saga_core::ports::EventBus;
use saga_core::{Contract, ErrorKind, NoUndo, Saga, Service, Status, handler};
use saga_sql::{Relay, RelayOptions};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::stand::{Database, Stand};
use crate::bus::{RecordingBus, message};

/// A relay that runs until it is told to stop.
pub(super) struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<Result<(), saga_core::Error>>,
}

impl Running {
    pub(super) fn start(relay: Relay<Database>) -> Self {
        let (stop, stopping) = oneshot::channel();
        let shutdown = async { drop(stopping.await) };
        Self { stop, task: tokio::spawn(relay.run(shutdown)) }
    }

    pub(super) async fn stop(self) {
        self.stop.send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }

    /// As if its process were killed.
    pub(super) async fn kill(self) {
        self.task.abort();
        assert!(self.task.await.unwrap_err().is_cancelled());
    }
}

/// Looks by itself so seldom that a case would not live to see it.
pub(super) fn slow_to_look() -> RelayOptions {
    let mut options = RelayOptions::default();
    options.poll_interval = Duration::from_secs(3_600);
    options
}

pub(super) async fn what_is_committed_is_published_as_it_was(stand: Stand) {
    let bus = RecordingBus::new();
    let with_all = message("grün", "{\"n\": 1}").with_headers([("x", "1"), ("x", "zwei\n")]);
    let mut bare = message("", "");
    (bare.key, bare.payload) = (None, vec![0, 255].into());
    let mut transaction = Stand::begin(&stand.outbox).await;
    stand.outbox.publish_all(&mut transaction, vec![with_all.clone(), bare.clone()]).await.unwrap();
    transaction.commit().await.unwrap();
    assert_eq!(stand.outbox.state().await.unwrap().waiting, 2);
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    let mut got = bus.until(2).await;
    got.sort_by_key(|message| message.key.is_none());
    assert_eq!(got, [with_all, bare]);
    relay.stop().await;
    let state = stand.outbox.state().await.unwrap();
    assert_eq!((state.waiting, state.refused, state.oldest_at), (0, 0, None), "published rows are gone");
}

pub(super) async fn what_is_rolled_back_is_not(stand: Stand) {
    let bus = RecordingBus::new();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    for text in ["rolled back", "committed"] {
        let mut transaction = Stand::begin(&stand.outbox).await;
        stand.outbox.publish(&mut transaction, message("a", text)).await.unwrap();
        if text == "committed" {
            transaction.commit().await.unwrap();
        }
    }
    bus.until(1).await;
    assert_eq!(bus.texts(), ["committed"]);
    relay.stop().await;
    assert_eq!(bus.texts(), ["committed"]);
}

pub(super) async fn a_relay_of_this_process_looks_at_once(stand: Stand) {
    let bus = RecordingBus::new();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _).with(slow_to_look()));
    for n in 1..=3 {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let mut transaction = Stand::begin(&stand.outbox).await;
        stand.outbox.publish(&mut transaction, message("a", n.to_string())).await.unwrap();
        // The relay has been told, and finds nothing yet.
        tokio::time::sleep(Duration::from_millis(50)).await;
        let committed = Instant::now();
        transaction.commit().await.unwrap();
        bus.until(n).await;
        let took = committed.elapsed();
        assert!(took < Duration::from_secs(1), "it took {took:?}");
    }
    relay.stop().await;
}

pub(super) async fn a_relay_on_other_connections_finds_it(stand: Stand) {
    let bus = RecordingBus::new();
    let mut options = RelayOptions::default();
    options.poll_interval = Duration::from_millis(50);
    let elsewhere = stand.again().await;
    let relay = Running::start(elsewhere.relay(Arc::clone(&bus) as _).with(options));
    for n in 1..=3 {
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut transaction = Stand::begin(&stand.outbox).await;
        stand.outbox.publish(&mut transaction, message("a", n.to_string())).await.unwrap();
        transaction.commit().await.unwrap();
        bus.until(n).await;
    }
    assert_eq!(bus.texts(), ["1", "2", "3"]);
    relay.stop().await;
}

const MAIL: Contract<String, u64, NoUndo> = Contract::new("mail");

fn saga(start: Option<&str>) -> Saga<String> {
    let mut saga = Saga::<String>::builder("greeting", 1);
    let mail = saga.step(&MAIL, String::clone);
    saga.configure(&mail).deadline(Duration::from_secs(30));
    if let Some(topic) = start {
        saga.trigger_default(topic);
    }
    saga.build().unwrap()
}

pub(super) async fn a_saga_starts_with_the_transaction(stand: Stand) {
    let bus: Arc<dyn EventBus> = Arc::new(MemoryBus::new());
    let saga = saga(Some("greeting.start"));
    let mail = handler(|text: String, _ctx| async move { Ok(text.len() as u64) });
    let service = Service::builder(Arc::clone(&bus)).coordinate(&saga).serve(&MAIL, mail).build().unwrap();
    let sagas = service.sagas(&saga).unwrap();
    // The relay comes first: it waits for the topic.
    let relay = Running::start(stand.outbox.relay(bus));
    for (id, commits) in [("undone", false), ("12345", true), ("12345", true)] {
        let mut transaction = Stand::begin(&stand.outbox).await;
        stand.outbox.start(&mut transaction, &saga, id, &"hello".to_owned()).await.unwrap();
        if commits {
            transaction.commit().await.unwrap();
        }
    }
    let (stop, stopping) = oneshot::channel();
    let running = tokio::spawn(service.run(async { drop(stopping.await) }));
    let outcome = tokio::time::timeout(Duration::from_secs(30), async {
        loop {
            match sagas.outcome("12345").await {
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                outcome => return outcome.unwrap(),
            }
        }
    });
    assert_eq!(outcome.await.unwrap().status, Status::Completed);
    assert_eq!(sagas.list(None, None, 10).await.unwrap().len(), 1);
    relay.stop().await;
    stop.send(()).unwrap();
    running.await.unwrap().unwrap();
}

pub(super) async fn a_saga_without_a_topic_for_its_starts_is_refused(stand: Stand) {
    let mut transaction = Stand::begin(&stand.outbox).await;
    let started = stand.outbox.start(&mut transaction, &saga(None), "1", &String::new()).await;
    let error = started.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("trigger_default(\"greeting.start\")"), "{error}");
}

pub(super) async fn what_is_under_way_at_shutdown_is_finished(stand: Stand) {
    let bus = RecordingBus::slow(Duration::from_millis(300));
    let mut transaction = Stand::begin(&stand.outbox).await;
    for n in 0..5 {
        stand.outbox.publish(&mut transaction, message("a", n.to_string())).await.unwrap();
    }
    transaction.commit().await.unwrap();
    let relay = Running::start(stand.outbox.relay(Arc::clone(&bus) as _));
    bus.until(1).await;
    relay.stop().await;
    assert_eq!(bus.texts(), ["0", "1", "2", "3", "4"]);
    assert_eq!(stand.number("SELECT count(*) FROM saga_outbox").await, 0);
}
