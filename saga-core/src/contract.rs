//! A step's contract: its name, topic, input, output and kind, shared by the saga's service and the participant's.

use std::fmt;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

/// Names a step once for both sides. The coordinator's service and the participant's service share it; a participant need not know any
/// saga.
///
/// ```
/// use saga_core::{Contract, NoUndo};
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Reserve;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Reservation;
/// # #[derive(serde::Serialize, serde::Deserialize)] struct Mail;
/// /// Compensatable, unless its type says otherwise; its topic is `inventory-check`.
/// pub const INVENTORY: Contract<Reserve, Reservation> = Contract::new("inventory-check");
/// pub const MAIL: Contract<Mail, (), NoUndo> = Contract::new("mail").on_topic("shop.mail");
/// ```
pub struct Contract<Input, Output, K = Compensatable> {
    name: &'static str,
    topic: &'static str,
    types: PhantomData<fn(Input) -> (Output, K)>,
}

impl<Input, Output, K: StepKind> Contract<Input, Output, K> {
    /// A contract whose command topic has its own name.
    pub const fn new(name: &'static str) -> Self {
        Self { name, topic: name, types: PhantomData }
    }

    /// With another command topic.
    #[must_use]
    pub const fn on_topic(self, topic: &'static str) -> Self {
        Self { topic, ..self }
    }

    /// Its name, which is also the default name of a step that uses it.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// The topic its commands travel on.
    pub const fn topic(&self) -> &'static str {
        self.topic
    }

    /// Its kind.
    pub const fn kind(&self) -> Kind {
        K::KIND
    }
}

impl<Input, Output, K> Clone for Contract<Input, Output, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<Input, Output, K> Copy for Contract<Input, Output, K> {}

impl<Input, Output, K: StepKind> fmt::Debug for Contract<Input, Output, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contract")
            .field("name", &self.name)
            .field("topic", &self.topic)
            .field("kind", &K::KIND)
            .finish()
    }
}

/// What can become of a step once the saga fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// It can be undone.
    Compensatable,
    /// The point of no return: at most one in a saga, after every compensatable step.
    Pivot,
    /// After the pivot: it never fails, it is only retried.
    Retriable,
    /// It needs no undo.
    NoUndo,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Compensatable => "compensatable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
            Self::NoUndo => "no-undo",
        })
    }
}

/// A [`Kind`] as a type, so that the compiler can ask for a compensation.
pub trait StepKind: sealed::Sealed + Send + Sync + 'static {
    /// The kind as a value.
    const KIND: Kind;
}

mod sealed {
    #[expect(unnameable_types, reason = "sealed: the kinds are these four")]
    pub trait Sealed {}
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, Debug)]
        pub enum $name {}

        impl sealed::Sealed for $name {}

        impl StepKind for $name {
            const KIND: Kind = Kind::$name;
        }
    )*};
}

kinds! {
    /// [`Kind::Compensatable`] as a type: whoever serves the contract must say how to undo it.
    Compensatable,
    /// [`Kind::Pivot`] as a type.
    Pivot,
    /// [`Kind::Retriable`] as a type.
    Retriable,
    /// [`Kind::NoUndo`] as a type.
    NoUndo,
}
