//! The outbox: messages that are published if, and only if, the user's own transaction commits. The same for every database.

mod database;
mod relay;
mod rows;

use std::fmt;
use std::sync::Arc;

use saga_core::memory::TokioClock;
use saga_core::ports::{Clock, EventBus};
use saga_core::{Error, ErrorKind, Message, Saga};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::{Database, Pool};
use tokio::sync::Notify;

pub use database::OutboxDatabase;
pub use relay::{Relay, RelayOptions};
#[cfg(feature = "fuzz")]
pub(crate) use rows::message_of;
pub use rows::{ClaimedRow, NewRow, OutboxState, RawRefused, RefusedMessage, Settling, Take};

use crate::error::told;
use crate::stored::to_column;

/// Messages that wait in the user's own database until a [`Relay`] publishes them. What is put in within a transaction is published if that
/// transaction commits, and not at all if it does not. Cloning shares it.
///
/// - *At least once, with stable ids.* A relay that dies between publishing and marking is followed by one that publishes the same message
///   again, with the same id. Consumers recognise it by that.
/// - *Order per key.* Messages of one topic and key are published in the order in which their transactions committed, one after the other,
///   however many relays there are. So transactions that publish under one key wait for each other, from the first `publish` to the commit.
///   Messages without a key have no order.
/// - *Nothing is skipped.* A relay looks at what is there, and not at what is new: a row that is committed late is found.
/// - *A refused message holds only its own key.* What the bus refuses for good stays, with the reason ([`refused`](Self::refused)), and later
///   messages of its key wait behind it until somebody decides: [`retry`](Self::retry) or [`discard`](Self::discard).
///
/// It is made by `PostgresOutbox` and `SqliteOutbox`.
pub struct Outbox<DB: Database> {
    pub(crate) pool: Pool<DB>,
    pub(crate) clock: Arc<dyn Clock>,
    /// Told when something was put in by this process.
    pub(crate) nudge: Arc<Notify>,
}

impl<DB: OutboxDatabase> Outbox<DB> {
    pub(crate) fn new(pool: Pool<DB>) -> Self {
        Self { pool, clock: Arc::new(TokioClock::new()), nudge: Arc::new(Notify::new()) }
    }

    /// Puts a message in, in the caller's transaction. It has its id from now on, whatever happens.
    ///
    /// Dropping the future leaves open whether it is in the transaction: roll that back.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the key is longer than 1,024 bytes; otherwise what the database says: roll the transaction back.
    /// In PostgreSQL two transactions that publish under two keys in opposite order deadlock, and the server rolls one of them back
    /// ([`Retry`](ErrorKind::Retry)): publish in one call of [`publish_all`](Self::publish_all), which has an order of its own.
    pub async fn publish(&self, connection: &mut DB::Connection, message: Message) -> Result<(), Error> {
        self.publish_all(connection, vec![message]).await
    }

    /// Puts messages in, in this order, in the caller's transaction.
    ///
    /// # Errors
    /// As for [`publish`](Self::publish).
    pub async fn publish_all(
        &self,
        connection: &mut DB::Connection,
        messages: Vec<Message>,
    ) -> Result<(), Error> {
        if messages.is_empty() {
            return Ok(());
        }
        let rows = messages.iter().map(NewRow::of).collect::<Result<Vec<_>, _>>()?;
        let inserted = DB::insert(connection, rows, self.now()).await;
        inserted.map_err(|error| told("the messages cannot be put into the outbox", error))?;
        self.nudge.notify_one();
        Ok(())
    }

    /// Starts a saga if the caller's transaction commits: puts its start message in, for the topic that the definition names by
    /// [`trigger_default`](saga_core::SagaBuilder::trigger_default). As with every start, the same id and input twice is once.
    ///
    /// ```no_run
    /// # use saga_core::{Contract, NoUndo, Saga};
    /// # use saga_core::ports::EventBus;
    /// # #[cfg(feature = "postgres")]
    /// # async fn example(bus: std::sync::Arc<dyn EventBus>) -> Result<(), Box<dyn std::error::Error>> {
    /// use saga_sql::postgres::PostgresOutbox;
    /// use saga_sql::sqlx;
    ///
    /// # const MAIL: Contract<u64, (), NoUndo> = Contract::new("mail");
    /// let mut checkout = Saga::<u64>::builder("checkout", 1);
    /// checkout.step(&MAIL, |order| *order);
    /// checkout.trigger_default("checkout.start");
    /// let checkout = checkout.build()?;
    ///
    /// let pool = sqlx::PgPool::connect("postgres://localhost/shop").await?;
    /// let outbox = PostgresOutbox::on(pool.clone()).await?;
    /// // In an HTTP handler:
    /// let mut tx = pool.begin().await?;
    /// sqlx::query("INSERT INTO orders VALUES ($1)").bind(12_345).execute(&mut *tx).await?;
    /// outbox.start(&mut tx, &checkout, "12345", &12_345).await?;
    /// tx.commit().await?;
    /// // In this process or another:
    /// outbox.relay(bus).run(std::future::pending()).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) when the saga has no such topic, the id cannot be one, or the input cannot be written as JSON; otherwise
    /// as for [`publish`](Self::publish).
    pub async fn start<In>(
        &self,
        connection: &mut DB::Connection,
        saga: &Saga<In>,
        id: impl AsRef<str>,
        input: &In,
    ) -> Result<(), Error>
    where
        In: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        let message = saga.start_message(id, input)?;
        self.publish(connection, message).await
    }

    /// What publishes these messages on a bus. Any number of relays may run, in this process and others; the topics must have been declared
    /// by whoever reads them, or here: see [`Saga::declarations`](saga_core::Saga::declarations).
    pub fn relay(&self, bus: Arc<dyn EventBus>) -> Relay<DB> {
        Relay::new(self.clone(), bus)
    }

    /// Has the relays of this process look at once. They do by themselves, soon.
    pub fn wake(&self) {
        self.nudge.notify_one();
    }

    /// How much waits, for how long, and how much was refused.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn state(&self) -> Result<OutboxState, Error> {
        DB::state(&self.pool).await.map_err(|error| told("the outbox cannot be read", error))
    }

    /// The messages that the bus refused for good, the oldest first, at most `max`.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn refused(&self, max: u32) -> Result<Vec<RefusedMessage>, Error> {
        let rows = DB::refused(&self.pool, max).await;
        let rows = rows.map_err(|error| told("the outbox's refused messages cannot be read", error))?;
        rows.into_iter().map(RefusedMessage::of).collect()
    }

    /// Has a refused message published again, by the number that [`refused`](Self::refused) told. What waits behind it follows.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no refused message of that number.
    pub async fn retry(&self, number: i64) -> Result<(), Error> {
        let found = DB::retry(&self.pool, number).await;
        let found = found.map_err(|error| told(format!("message {number} cannot be retried"), error))?;
        self.nudge.notify_one();
        if found { Ok(()) } else { Err(no_such(number)) }
    }

    /// Drops a refused message, by the number that [`refused`](Self::refused) told. What waits behind it is published.
    ///
    /// # Errors
    /// [`NotFound`](ErrorKind::NotFound) when there is no refused message of that number.
    pub async fn discard(&self, number: i64) -> Result<(), Error> {
        let found = DB::discard(&self.pool, number).await;
        let found = found.map_err(|error| told(format!("message {number} cannot be discarded"), error))?;
        self.nudge.notify_one();
        if found { Ok(()) } else { Err(no_such(number)) }
    }

    /// The connections to the database.
    pub const fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// The time where the database has no clock of its own.
    pub(crate) fn now(&self) -> i64 {
        to_column(self.clock.now())
    }
}

fn no_such(number: i64) -> Error {
    Error::new(ErrorKind::NotFound, format!("the outbox has no refused message number {number}"))
}

impl<DB: Database> Clone for Outbox<DB> {
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), clock: Arc::clone(&self.clock), nudge: Arc::clone(&self.nudge) }
    }
}

/// Without the connection, whose URL may hold a password.
impl<DB: Database> fmt::Debug for Outbox<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox").field("database", &DB::NAME).finish_non_exhaustive()
    }
}
