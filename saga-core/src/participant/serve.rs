use std::fmt;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures::FutureExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::worker::Worker;
use super::{Handler, ServeOptions, ServedBy, erase};
use crate::contract::Contract;
use crate::error::{Error, ErrorKind};
use crate::ports::{
    Clock, Declaration, EventBus, Group, GroupStart, Inbox, Subscription, SubscriptionSpec, TopicKind,
};
use crate::record::Topic;

/// Serves contracts: receives their commands, runs their handlers behind the barrier, and replies.
///
/// Any number of participants may serve one contract; they share its commands.
pub struct Participant {
    shared: Shared,
    served: Vec<Served>,
}

/// What the workers of a participant have in common.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) inbox: Arc<dyn Inbox>,
    pub(super) clock: Arc<dyn Clock>,
}

/// A contract with its handler.
pub(super) struct Served {
    pub(super) contract: &'static str,
    pub(super) topic: Topic,
    pub(super) handler: Handler,
    pub(super) options: ServeOptions,
    /// The CloudEvents source of its replies.
    pub(super) source: String,
}

impl Participant {
    /// A participant that serves nothing yet.
    pub fn new(bus: Arc<dyn EventBus>, inbox: Arc<dyn Inbox>, clock: Arc<dyn Clock>) -> Self {
        Self { shared: Shared { bus, inbox, clock }, served: Vec::new() }
    }

    /// Serves a contract with this handler.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the contract's topic is not a topic name, when its topic is served already, or when a limit is
    /// zero.
    pub fn serve<In, Out, K, H>(
        &mut self,
        contract: &Contract<In, Out, K>,
        handler: H,
        options: ServeOptions,
    ) -> Result<(), Error>
    where
        In: DeserializeOwned + Send + 'static,
        Out: Serialize + DeserializeOwned + Send + 'static,
        K: ServedBy<H, In, Out>,
        H: Send + Sync + 'static,
    {
        let name = contract.name();
        let invalid =
            |problem: String| Error::new(ErrorKind::Invalid, format!("contract {name:?}: {problem}"));
        let topic = Topic::new(contract.topic()).map_err(|e| invalid(e.to_string()))?;
        if let Some(other) = self.served.iter().find(|other| other.topic == topic) {
            return Err(invalid(format!(
                "topic {topic} is served already, for contract {:?}",
                other.contract
            )));
        }
        if options.concurrency == 0 || options.commands_in_flight_max == 0 || options.claim_hold.is_zero() {
            return Err(invalid(
                "concurrency, commands_in_flight_max and claim_hold must not be zero".into(),
            ));
        }
        let source = format!("/saga/participant/{name}");
        let handler = erase(contract, handler);
        self.served.push(Served { contract: name, topic, handler, options, source });
        Ok(())
    }

    /// Whether it serves nothing.
    pub fn is_empty(&self) -> bool {
        self.served.is_empty()
    }

    /// Runs until `shutdown` resolves, then takes no more commands, lets running handlers finish within
    /// [`drain_max`](ServeOptions::drain_max), drops those that do not, and returns. What is not settled by then is delivered again.
    ///
    /// Dropping the future instead is like a crash: nothing is lost, but the rows of running handlers stay claimed until their time is
    /// up.
    ///
    /// # Errors
    /// When a topic cannot be declared, or cannot be read for good; then all contracts are shut down as above. The error names the topic. One of a bus
    /// that does not answer while it starts is [retryable](Error::is_retryable), by running a new one.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), Error> {
        let declarations = self.served.iter().map(Served::declaration).collect::<Vec<_>>();
        self.shared.bus.declare(&declarations).await?;
        // Dropped to stop the workers, who hear of it in the order in which they were begun.
        let (stop, stopped) = oneshot::channel::<()>();
        let (mut stop, stopped) = (Some(stop), stopped.map(drop).shared());
        let mut workers = JoinSet::new();
        for served in self.served {
            let subscription = subscribe(&*self.shared.bus, &served).await?;
            let worker = Worker::new(self.shared.clone(), served, subscription);
            workers.spawn(worker.run(stopped.clone()));
        }
        let mut shutdown = pin!(shutdown);
        let mut outcome = Ok(());
        loop {
            tokio::select! {
                biased;
                () = &mut shutdown, if stop.is_some() => stop = None,
                ended = workers.join_next() => match ended {
                    None => return outcome,
                    Some(Ok(Ok(()))) => {}
                    Some(Ok(Err(error))) => {
                        stop = None;
                        outcome = outcome.and(Err(error));
                    }
                    Some(Err(panicked)) => std::panic::resume_unwind(panicked.into_panic()),
                },
            }
        }
    }
}

impl Served {
    fn declaration(&self) -> Declaration {
        let group = Group { name: self.contract.into(), start: GroupStart::Earliest };
        Declaration { topic: self.topic.clone(), kind: TopicKind::Commands, groups: vec![group] }
    }
}

async fn subscribe(bus: &dyn EventBus, served: &Served) -> Result<Arc<dyn Subscription>, Error> {
    let spec = SubscriptionSpec {
        topic: served.topic.clone(),
        group: served.contract.into(),
        in_flight_max: served.options.commands_in_flight_max,
        key_order: false,
    };
    bus.subscribe(spec).await.map_err(|error| {
        let message = format!("contract {:?} cannot read topic {}", served.contract, served.topic);
        Error::new(error.kind(), message).with_source(error)
    })
}

impl fmt::Debug for Participant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let contracts = self.served.iter().map(|served| served.contract).collect::<Vec<_>>();
        f.debug_struct("Participant").field("contracts", &contracts).finish_non_exhaustive()
    }
}
