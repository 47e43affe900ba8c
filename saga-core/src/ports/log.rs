use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use thiserror::Error as ThisError;

use crate::error::Error;
use crate::record::{Cause, DefinitionRef, Ending, Entry, Outline, RunId, SagaKey, Status, Timestamp};

/// The saga log: the record of every saga, and the one clock and queue by which sagas are woken.
///
/// # Contract
/// - `append` compares and sets: it takes effect only at the version expected, and is durable before it answers.
/// - A saga whose last append said [`settled`](Append::settled) may lose its entries from then on. A [`Tombstone`] stays for as long as the log's
///   idempotency window says, so that a start that comes again is recognised.
/// - Times are of the log's own clock, which [`Lease::now`] tells; everyone who shares a log reads that one.
#[cfg_attr(any(test, feature = "mock"), mockall::automock)]
#[async_trait]
pub trait SagaLog: Send + Sync + Debug {
    /// Appends to many sagas in one group commit, with one answer for each in the order given; a conflict for one spoils no other. Two appends to
    /// one saga in a batch are taken in order.
    ///
    /// An append without entries verifies that the version is current, and sets `wake_at`, status and owner; the version stays.
    ///
    /// Dropping the future leaves open which were appended.
    async fn append(&self, batch: Vec<Append>) -> Vec<Result<Version, AppendError>>;

    /// Reads sagas, with one answer for each key in the order given; `None` if there is none.
    ///
    /// # Errors
    /// [`Corrupt`](crate::ErrorKind::Corrupt) when a saga's entries cannot be read; [`Retry`](crate::ErrorKind::Retry) when the log is away.
    async fn load(&self, keys: &[SagaKey]) -> Vec<Result<Option<Record>, Error>>;

    /// Takes or renews a coordinator's lease. With `epoch: None` a new lease begins, with an epoch higher than any before of this `owner`.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when that epoch's lease has run out: whatever was known of the sagas is stale, begin a new one.
    async fn lease(&self, owner: &str, epoch: Option<u64>, ttl: Duration) -> Result<Lease, Error>;

    /// Ends a lease at once, so that others take its sagas over without waiting. Ending one that is not there is fine.
    async fn release(&self, owner: &str, epoch: u64) -> Result<(), Error>;

    /// The sagas that are due and of these definitions: owned by this lease, by nobody, or by a lease that has run out or ended. Those of
    /// another owner become this lease's. At most `max`, the longest due first.
    ///
    /// Sagas of definitions not named are left untouched.
    ///
    /// # Errors
    /// [`Conflict`](crate::ErrorKind::Conflict) when the lease has run out.
    async fn wake(
        &self,
        owner: &str,
        epoch: u64,
        definitions: &[DefinitionRef],
        max: usize,
    ) -> Result<Vec<Woken>, Error>;

    /// Lists sagas in the order of their keys. Sagas of which only a tombstone is left are included.
    async fn list(&self, query: Query) -> Result<Vec<Summary>, Error>;

    /// How many sagas there are, by definition and status.
    async fn census(&self) -> Result<Vec<Census>, Error>;

    /// Keeps what definitions look like, for people and tools that have not the definitions. What was kept of the same definition before is
    /// replaced.
    async fn describe(&self, outlines: &[Outline]) -> Result<(), Error>;

    /// What operators did, the oldest first, at most `limit`: of one saga, or of all. It outlives the sagas' records. `append` files it, of entries
    /// for which [`Fact::is_operators`](crate::record::Fact::is_operators) says so.
    async fn audit(&self, key: Option<SagaKey>, limit: usize) -> Result<Vec<Audited>, Error>;

    /// What is kept of definitions, in the order of their names, versions and digests. What cannot be read is left out.
    async fn outlines(&self) -> Result<Vec<Outline>, Error>;
}

/// How many entries a saga has; 0 before its first.
pub type Version = u64;

/// Entries to be appended to one saga, and how it is to be filed from then on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// Which saga.
    pub key: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// What the instance is pinned to.
    pub definition: DefinitionRef,
    /// The version this follows; 0 for a saga that must not exist.
    pub expected: Version,
    /// What happened. May be empty.
    pub entries: Vec<Entry>,
    /// Where the saga stands after this.
    pub status: Status,
    /// When it is to be woken; `None` if nothing is to happen by itself.
    pub wake_at: Option<Timestamp>,
    /// Whose it is: a lease's owner and epoch. `None` leaves it to whoever wakes it first.
    pub owner: Option<(Arc<str>, u64)>,
    /// What is to stay once nothing more is owed: the saga has ended, and its announcement and callback are recorded.
    pub settled: Option<Tombstone>,
}

/// What stays of a saga within the idempotency window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// Its run.
    pub run: RunId,
    /// A fingerprint of its input, to tell a repeated start from another one with the same id.
    pub input_digest: u128,
    /// How it ended.
    pub ending: Ending,
    /// Why it failed, if it did.
    pub cause: Option<Box<Cause>>,
    /// When it ended.
    pub ended_at: Timestamp,
}

/// Why an append did not take effect.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub enum AppendError {
    /// The saga is at another version: read it and decide again.
    #[error("the saga is at another version")]
    Conflict,
    /// It may or may not have taken effect: read the saga before deciding again.
    #[error("the append may or may not have taken effect: {0}")]
    Unknown(#[source] Error),
    /// It took no effect.
    #[error("the append failed: {0}")]
    Failed(#[source] Error),
}

/// What the log holds of a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Record {
    /// Its entries.
    Stored(StoredSaga),
    /// Only that it was.
    Tombstone(Tombstone),
}

/// A saga's entries as the log holds them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSaga {
    /// Which start of it.
    pub run: RunId,
    /// What the instance is pinned to.
    pub definition: DefinitionRef,
    /// The version: the number of entries.
    pub version: Version,
    /// All entries, in order.
    pub entries: Vec<Entry>,
    /// Where it stands.
    pub status: Status,
    /// When it is to be woken.
    pub wake_at: Option<Timestamp>,
}

/// A coordinator's lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Tells this lease from earlier ones of the same owner.
    pub epoch: u64,
    /// The log's clock, when it was taken or renewed.
    pub now: Timestamp,
    /// When it runs out, by the log's clock.
    pub until: Timestamp,
}

/// A saga that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Woken {
    /// Which.
    pub key: SagaKey,
    /// Its version.
    pub version: Version,
    /// Whether it was someone else's, or nobody's, until now.
    pub taken_over: bool,
}

/// Which sagas to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// Only of this name.
    pub saga: Option<Arc<str>>,
    /// Only of this status.
    pub status: Option<Status>,
    /// Only after this key: where the last page ended.
    pub after: Option<SagaKey>,
    /// At most this many.
    pub limit: usize,
}

/// A line of a list of sagas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Which.
    pub key: SagaKey,
    /// Which start of it.
    pub run: RunId,
    /// What the instance is pinned to; `None` when only a tombstone is left.
    pub definition: Option<DefinitionRef>,
    /// Where it stands.
    pub status: Status,
    /// When its last entry was decided.
    pub changed_at: Timestamp,
    /// When it is to be woken.
    pub wake_at: Option<Timestamp>,
}

/// Something that an operator did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// To which saga.
    pub key: SagaKey,
    /// To which start of it.
    pub run: RunId,
    /// What that is pinned to.
    pub definition: DefinitionRef,
    /// When and what, as it stands in the saga's record.
    pub entry: Entry,
}

/// A line of the census.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// The definition.
    pub definition: DefinitionRef,
    /// The status.
    pub status: Status,
    /// How many there are.
    pub count: u64,
}
