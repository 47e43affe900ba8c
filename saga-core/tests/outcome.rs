//! Waiting for a saga's outcome.

use std::sync::Arc;
use std::time::Duration;

use saga_core::coordinator::CoordinatorOptions;
use saga_core::memory::MemoryBus;
use saga_core::{Contract, NoUndo, Saga, Service, handler};
use tokio::time::timeout;

const NOTE: Contract<u32, u32, NoUndo> = Contract::new("note");
const ASKING: u32 = 64;
const SAGAS_EACH: u32 = 200;

/// However a saga's end and the question for it fall together, whoever asks is told. That it could also be found in the log, much later,
/// does not count here: the log is looked into after half a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_asks_while_a_saga_ends_is_told() {
    let mut saga = Saga::<u32>::builder("notes", 1);
    let note = saga.step(&NOTE, |number| *number);
    saga.configure(&note).deadline(Duration::from_secs(300));
    let saga = saga.build().unwrap();
    let mut options = CoordinatorOptions::default();
    options.outcome_poll_interval = Duration::from_secs(3_600);
    let service = Service::builder(Arc::new(MemoryBus::new()))
        .coordinate(&saga)
        .coordinator_options(options)
        .serve(&NOTE, handler(|number: u32, _| async move { Ok(number) }))
        .build()
        .unwrap();
    let sagas = service.sagas(&saga).unwrap();
    tokio::spawn(service.run(std::future::pending()));
    let asking = (0..ASKING).map(|first| {
        let sagas = sagas.clone();
        tokio::spawn(async move {
            for number in (0..SAGAS_EACH).map(|n| n * ASKING + first) {
                let id = number.to_string();
                sagas.start(&id, &number).await.unwrap();
                // The later it asks, the closer to the end, or after it.
                for _ in 0..number % 23 {
                    tokio::task::yield_now().await;
                }
                assert!(sagas.outcome(&id).await.unwrap().is_completed());
            }
        })
    });
    for asking in asking.collect::<Vec<_>>() {
        timeout(Duration::from_secs(30), asking).await.expect("somebody was not told").unwrap();
    }
}
