//! What a harness runs: one coordinator and one process of participants, over one bus, log and inbox.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;

use super::bus::TestBus;
use super::fault::Plan;
use super::log::RecordingLog;
use super::recorder::Recorder;
use super::stage::Part;
use crate::coordinator::{Coordinator, CoordinatorOptions, Sagas};
use crate::definition::Saga;
use crate::error::Error;
use crate::memory::{MemoryBus, MemoryInbox, TokioClock};
use crate::participant::Participant;
use crate::ports::{Clock, EventBus, Inbox, SagaLog};
use crate::record::Timestamp;

/// Virtual time starts with the year 2000, in every test.
const START: Timestamp = Timestamp::from_millis(946_684_800_000);
/// Nobody else is there to take over: a lease that holds long saves its renewals.
const LEASE_TTL: Duration = Duration::from_secs(3_600);

pub(super) struct World<In> {
    pub(super) memory: MemoryBus,
    pub(super) bus: Arc<dyn EventBus>,
    log: Arc<dyn SagaLog>,
    inbox: Arc<dyn Inbox>,
    clock: Arc<dyn Clock>,
    pub(super) options: CoordinatorOptions,
    pub(super) seed: u64,
    /// How many coordinators there were: each has its own run ids.
    coordinators: u64,
    pub(super) has_begun: bool,
    coordinator: Option<(Sagas<In>, Task)>,
    participants: Option<Task>,
}

/// A task that dies with its owner.
struct Task(JoinHandle<Result<(), Error>>);

impl<In> World<In> {
    pub(super) fn new(plan: &Arc<Plan>, recorder: &Arc<Recorder>) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(TokioClock::starting_at(START));
        let memory = MemoryBus::builder().clock(Arc::clone(&clock)).build();
        let bus = TestBus::new(memory.clone(), Arc::clone(&clock), Arc::clone(plan), Arc::clone(recorder));
        let options = CoordinatorOptions {
            name: "harness".into(),
            lease_ttl: LEASE_TTL,
            outcome_poll_interval: Duration::from_secs(60),
            ..CoordinatorOptions::default()
        };
        Self {
            memory,
            bus: Arc::new(bus),
            log: Arc::new(RecordingLog::new(Arc::clone(&clock), Arc::clone(recorder))),
            inbox: Arc::new(MemoryInbox::new(Arc::clone(&clock))),
            clock,
            options,
            seed: 0,
            coordinators: 0,
            has_begun: false,
            coordinator: None,
            participants: None,
        }
    }

    pub(super) fn start_coordinator(&mut self, saga: &Saga<In>) {
        let run_id_seed = Some(self.seed.wrapping_mul(1 << 20).wrapping_add(self.coordinators));
        self.coordinators += 1;
        let options = CoordinatorOptions { run_id_seed, ..self.options.clone() };
        let (bus, log, clock) = (Arc::clone(&self.bus), Arc::clone(&self.log), Arc::clone(&self.clock));
        let definitions = vec![Arc::clone(saga.definition())];
        let coordinator =
            Coordinator::new(bus, log, clock, definitions, options).expect("one version is no other");
        let sagas = coordinator.sagas(saga).expect("it was given that saga");
        self.coordinator = Some((sagas, Task(tokio::spawn(coordinator.run(pending())))));
    }

    /// Whether it was running.
    pub(super) async fn stop_coordinator(&mut self) -> bool {
        let Some((_, task)) = self.coordinator.take() else { return false };
        task.stop().await;
        true
    }

    pub(super) fn start_participants(&mut self, parts: &[Part]) {
        let (bus, inbox, clock) = (Arc::clone(&self.bus), Arc::clone(&self.inbox), Arc::clone(&self.clock));
        let mut participant = Participant::new(bus, inbox, clock);
        for part in parts {
            part.serve(&mut participant).unwrap_or_else(|error| panic!("{error}"));
        }
        self.participants = Some(Task(tokio::spawn(participant.run(pending()))));
    }

    /// Whether they were running.
    pub(super) async fn stop_participants(&mut self) -> bool {
        let Some(task) = self.participants.take() else { return false };
        task.stop().await;
        true
    }

    pub(super) fn sagas(&self) -> Option<Sagas<In>> {
        self.coordinator.as_ref().map(|(sagas, _)| sagas.clone())
    }

    /// Resolves when a part has ended that should not, and says how.
    pub(super) async fn broken(&mut self) -> String {
        let coordinator = self.coordinator.as_mut().map(|(_, task)| task);
        tokio::select! {
            biased;
            end = ended(coordinator) => format!("its coordinator has stopped: {end}"),
            end = ended(self.participants.as_mut()) => format!("its participants have stopped: {end}"),
        }
    }

    /// Who is down, for the text of a panic.
    pub(super) fn absent(&self) -> &'static str {
        match (&self.coordinator, &self.participants) {
            (None, _) => "; the coordinator is down",
            (_, None) => "; the participants are down",
            _ => "",
        }
    }
}

async fn ended(task: Option<&mut Task>) -> String {
    match task {
        None => pending().await,
        Some(Task(task)) => match task.await {
            Ok(Ok(())) => "without an error".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        },
    }
}

impl Task {
    async fn stop(mut self) {
        self.0.abort();
        let _cancelled = (&mut self.0).await;
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}
