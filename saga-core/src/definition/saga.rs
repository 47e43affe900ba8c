use std::collections::BTreeSet;
use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::builder::SagaBuilder;
use super::canonical::canonical;
use super::erased::Definition;
use crate::error::{Error, ErrorKind};
use crate::ports::{Declaration, TopicKind};
use crate::record::{DefinitionRef, Digest, Payload, SagaId, Topic};
use crate::wire::{Message, attributes};

/// A saga: steps in different services that end either all done or all undone. Cloning shares it.
///
/// It is a description. To run, it is registered with a coordinator; the services that do its steps need only its contracts.
///
/// ```
/// use std::time::Duration;
///
/// use saga_core::{Contract, Retriable, Pivot, Saga};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Order { id: String, product: String, cents: u64 }
/// #[derive(Serialize, Deserialize)]
/// struct Reserve { product: String }
/// #[derive(Serialize, Deserialize)]
/// struct Reservation { shelf: u32 }
/// #[derive(Serialize, Deserialize)]
/// struct Receipt { number: u64 }
/// #[derive(Serialize, Deserialize)]
/// struct Ship { shelf: u32, receipt: u64 }
///
/// const INVENTORY: Contract<Reserve, Reservation> = Contract::new("inventory");
/// const PAYMENT: Contract<u64, Receipt, Pivot> = Contract::new("payment");
/// const SHIPPING: Contract<Ship, (), Retriable> = Contract::new("shipping");
///
/// let mut saga = Saga::<Order>::builder("checkout", 1);
/// let stock = saga.step(&INVENTORY, |order| Reserve { product: order.product.clone() });
/// let charge = saga.step_after(&stock, &PAYMENT, |order, _| order.cents);
/// saga.step_after((&stock, &charge), &SHIPPING, |_, (stock, charge)| Ship {
///     shelf: stock.shelf,
///     receipt: charge.number,
/// });
/// saga.configure(&stock).deadline(Duration::from_secs(30));
/// saga.trigger_default("order-placed");
/// let saga = saga.build()?;
///
/// assert_eq!(saga.definition().step_names().collect::<Vec<_>>(), ["inventory", "payment", "shipping"]);
/// println!("{}", saga.to_mermaid());
/// # Ok::<(), saga_core::BuildError>(())
/// ```
pub struct Saga<In> {
    definition: Arc<Definition>,
    input: PhantomData<fn(In)>,
}

impl<In: Serialize + DeserializeOwned + Send + Sync + 'static> Saga<In> {
    /// Begins a saga that takes an `In`.
    ///
    /// The name stands in the log and in every message: 1 to 200 characters of `A-Z a-z 0-9 . _ -`. The version is the author's; a
    /// running instance stays with the version and [digest](Self::digest) it was started with, so keep an old version registered
    /// until its last instance has ended.
    pub fn builder(name: &str, version: u32) -> SagaBuilder<In> {
        SagaBuilder::new(name, version)
    }

    /// The input as the log keeps it: JSON with the members of every object in the order of their keys. The same input gives the
    /// same bytes, by which a start that comes again is recognised.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when its `Serialize` refuses, or it is nested more than 128 deep.
    pub fn encode_input(&self, input: &In) -> Result<Payload, Error> {
        canonical(input).map_err(|reason| {
            let what = format!("the input of saga {:?} cannot be written as JSON: {reason}", self.name());
            Error::new(ErrorKind::Invalid, what)
        })
    }

    /// The message that starts a saga, for its first topic of [`trigger_default`](SagaBuilder::trigger_default), by whoever would rather
    /// publish than call: an outbox, a service without a coordinator. It has a random id; the saga's id is its key.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when there is no such topic, the id cannot be one, or the input cannot be written as JSON.
    pub fn start_message(&self, id: impl AsRef<str>, input: &In) -> Result<Message, Error> {
        let invalid = |problem: String| Error::new(ErrorKind::Invalid, problem);
        let trigger =
            self.definition.triggers.iter().find(|trigger| trigger.is_default).ok_or_else(|| {
                let name = self.name();
                invalid(format!(
                    "saga {name:?} has no topic for its starts: add trigger_default(\"{name}.start\")"
                ))
            })?;
        let id = SagaId::new(id.as_ref()).map_err(|error| invalid(error.to_string()))?;
        let headers = [
            (attributes::SPECVERSION, "1.0"),
            (attributes::TYPE, "saga.start"),
            (attributes::SOURCE, &*self.definition.source),
            (attributes::SUBJECT, id.as_str()),
            (attributes::CONTENT_TYPE, "application/json"),
            (attributes::SAGA, self.name()),
        ];
        let message = Message::new(trigger.topic.clone(), self.encode_input(input)?).with_headers(headers);
        Ok(message.keyed(id.shared()))
    }
}

impl<In> Saga<In> {
    pub(crate) fn new(definition: Definition) -> Self {
        Self { definition: Arc::new(definition), input: PhantomData }
    }

    /// What a coordinator registers.
    pub const fn definition(&self) -> &Arc<Definition> {
        &self.definition
    }

    /// Its name, version and digest: what its instances are pinned to.
    pub fn id(&self) -> &DefinitionRef {
        self.definition.id()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.id().name
    }

    /// The version its author gave it.
    pub fn version(&self) -> u32 {
        self.id().version
    }

    /// The topics that start and cancel this saga, and the group as which its coordinators read them, for
    /// [`EventBus::declare`](crate::ports::EventBus::declare).
    ///
    /// A coordinator declares them when it starts. Whoever publishes there and may be the first should, too: RabbitMQ keeps an event only for
    /// the groups that it knows.
    pub fn declarations(&self) -> Vec<Declaration> {
        let Definition { triggers, cancels, .. } = &*self.definition;
        let topics =
            triggers.iter().map(|trigger| &trigger.topic).chain(cancels.iter().map(|cancel| &cancel.topic));
        let topics: BTreeSet<_> = topics.collect();
        let groups = vec![self.definition.group()];
        let declared = |topic: &Topic| Declaration {
            topic: topic.clone(),
            kind: TopicKind::Events,
            groups: groups.clone(),
        };
        topics.into_iter().map(declared).collect()
    }

    /// A fingerprint of its steps: their order, names, contracts, topics, kinds, and what each waits for. Deadlines, retries and closures do
    /// not count, so that tuning them leaves running instances theirs.
    pub fn digest(&self) -> Digest {
        self.id().digest
    }

    /// See [`Definition::to_mermaid`].
    pub fn to_mermaid(&self) -> String {
        self.definition.to_mermaid()
    }

    /// See [`Definition::to_dot`].
    pub fn to_dot(&self) -> String {
        self.definition.to_dot()
    }
}

impl<In> Clone for Saga<In> {
    fn clone(&self) -> Self {
        Self { definition: Arc::clone(&self.definition), input: PhantomData }
    }
}

impl<In> fmt::Debug for Saga<In> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Saga").field(&self.definition).finish()
    }
}
