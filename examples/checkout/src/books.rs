//! What the books of all sub-cases have in common, and the check that they are as they must be.

mod check;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod database;
mod memory;
mod place;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::error::Error as StdError;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use saga::{StepContext, StepError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::inventory::INVENTORY;
use crate::order::{Order, Quantities};
use crate::payment::PAYMENT;

pub(crate) use check::Books;
pub(crate) use memory::Memory;
pub(crate) use place::Place;

pub(crate) type Failure = Box<dyn StdError + Send + Sync>;

/// How much of each product there is before the first order.
pub(crate) const STOCK_AT_FIRST: u64 = 1_000_000;

/// What a sub-case enters for an order. It is kept as JSON.
pub(crate) trait Entry: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What it amounts to.
    fn totals(&self) -> Totals;

    /// The book, for people: what was entered, and what of it was struck out.
    fn show(entered: &Sum, struck: &Sum) -> Vec<String>;
}

/// What a book amounts to: amounts of whatever it counts, by name. What comes to nothing is left out.
pub(crate) type Totals = BTreeMap<String, u64>;

/// Totals of one kind.
pub(crate) fn total(of: &str, amount: u64) -> Totals {
    (amount > 0).then(|| (of.to_owned(), amount)).into_iter().collect()
}

/// What several entries amount to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sum {
    pub(crate) count: u64,
    pub(crate) totals: Totals,
}

impl Sum {
    pub(crate) fn add(&mut self, totals: &Totals) {
        self.count += 1;
        for (what, amount) in totals {
            *self.totals.entry(what.clone()).or_default() += amount;
        }
    }

    /// What is left of it without the other.
    fn without(&self, other: &Self) -> Totals {
        let rest = |(what, amount): (&String, &u64)| {
            (what.clone(), amount - other.totals.get(what).copied().unwrap_or_default())
        };
        self.totals.iter().map(rest).filter(|(_, amount)| *amount > 0).collect()
    }
}

/// A book that is open for one command. In a database, what is done with it is part of the transaction that also holds the barrier's row
/// and the answer.
pub(crate) struct OpenBook<'a> {
    book: &'a Book,
    pages: &'a mut dyn Pages,
}

impl<'a> OpenBook<'a> {
    pub(crate) fn new(book: &'a Book, pages: &'a mut dyn Pages) -> Self {
        Self { book, pages }
    }

    /// Enters what is done for the order. Returns whether it is new: in memory, an attempt that was cut off has left what it did.
    pub(crate) async fn enter<E: Entry>(
        &mut self,
        ctx: &StepContext,
        order_id: &str,
        entry: &E,
    ) -> Result<bool, StepError> {
        self.pages.enter(ctx, order_id, &serde_json::to_string(entry)?).await
    }

    /// Strikes out what was done for the order and returns it; `None` when nothing was.
    pub(crate) async fn strike<E: Entry>(
        &mut self,
        ctx: &StepContext,
        order_id: &str,
    ) -> Result<Option<E>, StepError> {
        let entry = self.pages.strike(ctx, order_id).await?;
        Ok(entry.map(|entry| serde_json::from_str(&entry)).transpose()?)
    }

    /// Takes all that from the shelves, or returns what is missing.
    pub(crate) async fn take(&mut self, items: &Quantities) -> Result<Option<String>, StepError> {
        self.pages.take(items).await
    }

    pub(crate) async fn put_back(&mut self, items: &Quantities) -> Result<(), StepError> {
        self.pages.put_back(items).await
    }

    /// Notes that the order was refused, for the check: it is not to complete.
    pub(crate) fn refuse(&self, order_id: &str) {
        lock(&self.book.refused).insert(order_id.to_owned());
    }
}

/// What [`OpenBook`] needs of memory or of a transaction.
#[async_trait]
pub(crate) trait Pages: Send {
    async fn enter(&mut self, ctx: &StepContext, order_id: &str, entry: &str) -> Result<bool, StepError>;

    async fn strike(&mut self, ctx: &StepContext, order_id: &str) -> Result<Option<String>, StepError>;

    async fn take(&mut self, items: &Quantities) -> Result<Option<String>, StepError>;

    async fn put_back(&mut self, items: &Quantities) -> Result<(), StepError>;
}

/// Whether so many of a product are more than are left, in words.
fn shortage(product: &str, wanted: u64, taken: u64) -> Option<String> {
    let left = STOCK_AT_FIRST.saturating_sub(taken);
    (left < wanted).then(|| format!("out of stock: {wanted} of {product} asked for, {left} left"))
}

/// What the check needs of a database.
#[async_trait]
pub(crate) trait Reading: Send + Sync {
    /// Makes the tables if they are not there.
    async fn make(&self) -> Result<(), Failure>;

    /// Everything that was ever entered.
    async fn rows(&self) -> Result<Vec<Row>, Failure>;

    /// What stands for an order.
    async fn of_order(&self, order_id: &str) -> Result<Entries, Failure>;

    /// What has been taken from the shelves, where something was.
    async fn shelves(&self) -> Result<Totals, Failure>;
}

/// An entry in a database.
pub(crate) struct Row {
    order_id: String,
    entry: String,
    undone: bool,
}

/// Entries that stand, each with its order.
type Entries = Vec<(String, String)>;
type TotalsOf = fn(&str) -> Result<Totals, serde_json::Error>;

/// Where a book is.
#[derive(Clone)]
pub(crate) enum Store {
    Memory(Arc<Memory>),
    Database(Arc<dyn Reading>),
}

/// What a book says of an order that has ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// What stands: was entered and not struck out.
    pub(crate) standing: Sum,
    /// Whether the sub-case refused it for a reason of its own.
    pub(crate) refused: bool,
}

/// What one sub-case has done, order by order.
pub(crate) struct Book {
    pub(crate) name: &'static str,
    store: Store,
    totals_of: TotalsOf,
    show: fn(&Sum, &Sum) -> Vec<String>,
    refused: Mutex<HashSet<String>>,
}

impl Book {
    /// A sub-case's book in memory.
    pub(crate) fn in_memory<E: Entry>(name: &'static str) -> (Self, Arc<Memory>) {
        let memory = Arc::new(Memory::new(totals_of::<E>));
        (Self::of::<E>(name, Store::Memory(Arc::clone(&memory))), memory)
    }

    /// A sub-case's book in a database, whose tables are made if they are not there.
    #[cfg(any(feature = "postgres", feature = "sqlite"))]
    pub(crate) async fn in_database<E: Entry>(
        name: &'static str,
        database: impl Reading + 'static,
    ) -> Result<Self, Failure> {
        database.make().await?;
        Ok(Self::of::<E>(name, Store::Database(Arc::new(database))))
    }

    fn of<E: Entry>(name: &'static str, store: Store) -> Self {
        Self { name, store, totals_of: totals_of::<E>, show: E::show, refused: Mutex::default() }
    }

    /// Whether it outlives the process.
    pub(crate) const fn lasts(&self) -> bool {
        matches!(self.store, Store::Database(_))
    }

    /// Closes the page of an order that has ended.
    async fn close(&self, order_id: &str) -> Result<Page, Failure> {
        let entries = match &self.store {
            Store::Memory(memory) => memory.close(order_id),
            Store::Database(database) => database.of_order(order_id).await?,
        };
        let refused = lock(&self.refused).remove(order_id);
        Ok(Page { standing: self.sum(entries.iter().map(|(_, entry)| entry))?, refused })
    }

    /// What stands, each with its order; in memory of the orders whose pages are open.
    async fn entries(&self) -> Result<Entries, Failure> {
        Ok(match &self.store {
            Store::Memory(memory) => memory.standing(),
            Store::Database(database) => {
                let standing = database.rows().await?.into_iter().filter(|row| !row.undone);
                standing.map(|row| (row.order_id, row.entry)).collect()
            }
        })
    }

    async fn entered_and_struck(&self) -> Result<(Sum, Sum), Failure> {
        match &self.store {
            Store::Memory(memory) => Ok(memory.entered_and_struck()),
            Store::Database(database) => {
                let rows = database.rows().await?;
                let struck = rows.iter().filter(|row| row.undone).map(|row| &row.entry);
                Ok((self.sum(rows.iter().map(|row| &row.entry))?, self.sum(struck)?))
            }
        }
    }

    /// The book, for people.
    pub(crate) async fn lines(&self) -> Result<Vec<String>, Failure> {
        let (entered, struck) = self.entered_and_struck().await?;
        Ok((self.show)(&entered, &struck))
    }

    /// What it holds now, in total: of the inventory what is missing from its shelves.
    pub(crate) async fn holds(&self) -> Result<Totals, Failure> {
        match &self.store {
            Store::Database(database) if self.name == INVENTORY.name() => database.shelves().await,
            _ => self.stands().await,
        }
    }

    /// What all entries that stand amount to.
    async fn stands(&self) -> Result<Totals, Failure> {
        let (entered, struck) = self.entered_and_struck().await?;
        Ok(entered.without(&struck))
    }

    /// The orders that stand in it, of those whose pages are open: each as often as it does.
    pub(crate) async fn standing(&self) -> Result<Vec<String>, Failure> {
        let mut standing: Vec<_> = self.entries().await?.into_iter().map(|(order_id, _)| order_id).collect();
        standing.sort_unstable();
        Ok(standing)
    }

    /// In what the book differs from what was sold in these orders, if it does. A lasting one may hold others, of earlier runs.
    async fn differs(&self, sales: &Sales, orders: &HashSet<String>) -> Result<Option<String>, Failure> {
        let sold = match &self.store {
            Store::Memory(_) => self.stands().await?,
            Store::Database(_) => {
                let entries = self.entries().await?;
                self.sum(entries.iter().filter(|(id, _)| orders.contains(id)).map(|(_, entry)| entry))?.totals
            }
        };
        let due = sales.due(self.name);
        if sold != due {
            return Ok(Some(format!("it holds {sold:?}, but the completed orders come to {due:?}")));
        }
        let (holds, stands) = (self.holds().await?, self.stands().await?);
        Ok((holds != stands).then(|| format!("it holds {holds:?}, but its entries come to {stands:?}")))
    }

    fn sum<'a>(&self, entries: impl Iterator<Item = &'a String>) -> Result<Sum, Failure> {
        let mut sum = Sum::default();
        for entry in entries {
            sum.add(&(self.totals_of)(entry)?);
        }
        Ok(sum)
    }
}

fn totals_of<E: Entry>(entry: &str) -> Result<Totals, serde_json::Error> {
    Ok(serde_json::from_str::<E>(entry)?.totals())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What all completed orders amount to, counted apart from the sub-cases.
#[derive(Debug, Default)]
pub(crate) struct Sales {
    pub(crate) orders: u64,
    pub(crate) cents: u64,
    pub(crate) items: Quantities,
}

impl Sales {
    pub(crate) fn add(&mut self, order: &Order) {
        self.orders += 1;
        self.cents += order.price_cents();
        self.items.add(&order.quantities());
    }

    /// What the book of this name must hold.
    pub(crate) fn due(&self, name: &str) -> Totals {
        match name {
            _ if name == INVENTORY.name() => self.items.0.clone(),
            _ if name == PAYMENT.name() => total("cents", self.cents),
            _ => total("orders", self.orders),
        }
    }
}
