#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod audit;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod barrier;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod error;
#[cfg(all(feature = "fuzz", any(feature = "postgres", feature = "sqlite")))]
#[cfg_attr(docsrs, doc(cfg(feature = "fuzz")))]
pub mod fuzz;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod leases;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod outbox;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod plan;
#[cfg(feature = "postgres")]
#[cfg_attr(docsrs, doc(cfg(feature = "postgres")))]
pub mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod reading;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod schema;
#[cfg(feature = "sqlite")]
#[cfg_attr(docsrs, doc(cfg(feature = "sqlite")))]
pub mod sqlite;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod stored;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use barrier::{
    Backend, BarrierRow, Committed, Entered, InTransaction, StepTransaction, TransactionHandler,
    TransactionHandlerWithUndo, in_transaction,
};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use leases::{KeyLease, LeaseAsk, LeaseDatabase, Leases};
#[cfg(any(feature = "postgres", feature = "sqlite"))]
pub use outbox::{
    ClaimedRow, NewRow, Outbox, OutboxDatabase, OutboxState, RawRefused, RefusedMessage, Relay, RelayOptions,
    Settling, Take,
};
/// The SQL library whose types stand in this crate's interface.
pub use sqlx;
