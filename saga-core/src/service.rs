//! A service: coordinators and participants over one bus, run together.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::contract::Contract;
use crate::coordinator::{Coordinator, CoordinatorOptions, Sagas};
use crate::definition::{Definition, Saga};
use crate::error::{Error, ErrorKind};
use crate::memory::{MemoryInbox, MemoryLog, TokioClock};
use crate::participant::{Participant, ServeOptions, ServedBy};
use crate::ports::{Clock, EventBus, Inbox, SagaLog};

/// Runs sagas, or steps of sagas, or both, over one bus. Made by [`Service::builder`].
///
/// The sagas' coordinator and the participants of their steps may be in one process or in many: they meet on the bus.
pub struct Service {
    coordinator: Option<Coordinator>,
    participant: Participant,
}

/// A service being put together.
pub struct ServiceBuilder {
    bus: Arc<dyn EventBus>,
    log: Option<Arc<dyn SagaLog>>,
    inbox: Option<Arc<dyn Inbox>>,
    clock: Arc<dyn Clock>,
    definitions: Vec<Arc<Definition>>,
    options: CoordinatorOptions,
    contracts: Vec<Serve>,
}

/// Has a contract served by the service's participant.
type Serve = Box<dyn FnOnce(&mut Participant) -> Result<(), Error> + Send>;

impl Service {
    /// Begins a service on this bus. Unless told otherwise it keeps its saga log and its inbox in memory, where they die with the process.
    pub fn builder(bus: Arc<dyn EventBus>) -> ServiceBuilder {
        ServiceBuilder {
            bus,
            log: None,
            inbox: None,
            clock: Arc::new(TokioClock::new()),
            definitions: Vec::new(),
            options: CoordinatorOptions::default(),
            contracts: Vec::new(),
        }
    }

    /// A handle to start, see and operate the sagas of a definition that this service coordinates. It works once the service runs; calls
    /// made earlier wait.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when this service does not coordinate it.
    pub fn sagas<In>(&self, saga: &Saga<In>) -> Result<Sagas<In>, Error> {
        let Some(coordinator) = &self.coordinator else {
            let message =
                format!("this service coordinates no saga, so not {}; add .coordinate(&saga)", saga.id());
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        coordinator.sagas(saga)
    }

    /// Runs everything until `shutdown` resolves, then drains: no more is read, what is under way is finished within the limits of
    /// [`CoordinatorOptions::drain_max`] and [`ServeOptions`], and what is not is delivered again to whoever runs next.
    ///
    /// Dropping the future stops at once. Nothing acknowledged is lost by that either.
    ///
    /// # Errors
    /// The first error of any part, after the others have drained: a topic that cannot be declared or read for good; and, while it starts, a bus or a
    /// log that does not answer, which is [retryable](Error::is_retryable) by building and running it again.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let (stop, stopping) = watch::channel(false);
        let mut parts = JoinSet::new();
        if let Some(coordinator) = self.coordinator {
            parts.spawn(coordinator.run(stopped(stopping.clone())));
        }
        if !self.participant.is_empty() {
            parts.spawn(self.participant.run(stopped(stopping.clone())));
        }
        let mut shutdown = std::pin::pin!(shutdown);
        let mut result = Ok(());
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown, if !*stop.borrow() => {
                    let _nobody_left = stop.send(true);
                }
                ended = parts.join_next() => match ended {
                    None => return result,
                    Some(ended) => {
                        let _nobody_left = stop.send(true);
                        result = result.and(ended.unwrap_or_else(|panic| {
                            let message = format!("a part of the service has panicked: {panic}");
                            Err(Error::new(ErrorKind::Permanent, message))
                        }));
                    }
                },
            }
        }
    }
}

/// Resolves once the service is to stop.
async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the service itself is gone.
    let _gone = stopping.wait_for(|stop| *stop).await;
}

impl ServiceBuilder {
    /// Coordinates the sagas of this definition. Give all versions that still have running instances.
    #[must_use]
    pub fn coordinate<In>(mut self, saga: &Saga<In>) -> Self {
        self.definitions.push(Arc::clone(saga.definition()));
        self
    }

    /// Serves a contract: does the steps that use it.
    #[must_use]
    pub fn serve<Input, Output, K, H>(self, contract: &Contract<Input, Output, K>, handler: H) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        self.serve_with(contract, handler, ServeOptions::default())
    }

    /// Serves a contract with other limits than the usual ones.
    #[must_use]
    pub fn serve_with<Input, Output, K, H>(
        mut self,
        contract: &Contract<Input, Output, K>,
        handler: H,
        options: ServeOptions,
    ) -> Self
    where
        Input: DeserializeOwned + Send + 'static,
        Output: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, Input, Output>,
        H: Send + Sync + 'static,
    {
        let contract = *contract;
        self.contracts.push(Box::new(move |participant| participant.serve(&contract, handler, options)));
        self
    }

    /// Keeps the sagas in this log.
    #[must_use]
    pub fn log(mut self, log: Arc<dyn SagaLog>) -> Self {
        self.log = Some(log);
        self
    }

    /// Keeps the participants' barrier rows in this inbox.
    #[must_use]
    pub fn inbox(mut self, inbox: Arc<dyn Inbox>) -> Self {
        self.inbox = Some(inbox);
        self
    }

    /// Reads the time from this clock.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Sets the coordinator's limits and intervals.
    #[must_use]
    pub fn coordinator_options(mut self, options: CoordinatorOptions) -> Self {
        self.options = options;
        self
    }

    /// Puts it together.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when it coordinates and serves nothing, one version of a saga was given twice, or a
    /// contract cannot be served: its topic is no topic name or served already, or a limit is zero.
    pub fn build(self) -> Result<Service, Error> {
        if self.definitions.is_empty() && self.contracts.is_empty() {
            let message =
                "the service has nothing to do; add .coordinate(&saga) or .serve(&CONTRACT, handler)";
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        let Self { bus, log, inbox, clock, definitions, options, contracts } = self;
        let coordinator = if definitions.is_empty() {
            None
        } else {
            let log = log.unwrap_or_else(|| Arc::new(MemoryLog::builder().clock(Arc::clone(&clock)).build()));
            Some(Coordinator::new(Arc::clone(&bus), log, Arc::clone(&clock), definitions, options)?)
        };
        let inbox = inbox.unwrap_or_else(|| Arc::new(MemoryInbox::new(Arc::clone(&clock))));
        let mut participant = Participant::new(bus, inbox, clock);
        for serve in contracts {
            serve(&mut participant)?;
        }
        Ok(Service { coordinator, participant })
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("coordinator", &self.coordinator)
            .field("participant", &self.participant)
            .finish()
    }
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceBuilder")
            .field("coordinates", &self.definitions.iter().map(|known| &known.id).collect::<Vec<_>>())
            .field("contracts", &self.contracts.len())
            .finish_non_exhaustive()
    }
}
