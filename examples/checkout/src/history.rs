//! Sub-case 3: append to the customer's purchase history. Its undo removes the entry.

use std::fmt;

use async_trait::async_trait;
use saga::{Contract, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Entry, OpenBook, Sum, Totals, total};
use crate::order::{Order, Status};
use crate::show::{Screen, Tone};
use crate::sub_case::Work;
use crate::tally::grouped;
use crate::trouble::Trouble;

/// What both sides share: the checkout names it, the history service serves it.
pub(crate) const HISTORY: Contract<Purchase, HistoryUpdated> = Contract::new("customer-history-update");

/// What the sub-case is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Purchase {
    order_id: String,
    customer_id: String,
}

/// What it answers: `{"event":"customer-history-updated","order_id":"12345","status":"success"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename = "customer-history-updated")]
pub(crate) struct HistoryUpdated {
    order_id: String,
    status: Status,
}

impl Purchase {
    pub(crate) fn of(order: &Order) -> Self {
        Self { order_id: order.order_id.clone(), customer_id: order.customer_id.clone() }
    }
}

/// The history service.
pub(crate) struct History {
    pub(crate) trouble: Trouble,
    pub(crate) screen: Screen,
}

impl History {
    /// The store that is away when `--fail history` is given.
    fn store(&self, order_id: &str) -> Result<(), StoreDown> {
        if self.trouble.fails(order_id) { Err(StoreDown) } else { Ok(()) }
    }
}

/// The store is away for this example's new entries only. Were it away for the undo too, the undo would be tried again, and in the end
/// the saga be parked for an operator.
#[async_trait]
impl Work<Purchase, HistoryUpdated> for History {
    async fn execute(
        &self,
        purchase: Purchase,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<HistoryUpdated, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = purchase.order_id.clone();
        // By `?` an error means: try again. Once the attempts are spent, the sub-case has failed.
        self.store(&order_id).inspect_err(|down| {
            self.screen.event(ctx, Tone::Bad, format_args!("attempt {}: {down}", ctx.attempt));
        })?;
        if book.enter(ctx, &order_id, &purchase).await? {
            let text = format!("order {order_id} added to the history of {}", purchase.customer_id);
            self.screen.event(ctx, Tone::Good, text);
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(HistoryUpdated { order_id, status: Status::Success })
    }

    async fn undo(
        &self,
        undo: Undo<Purchase, HistoryUpdated>,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // After a failure nobody knows whether the entry was made: `undo.output` is `None` then, and the book is asked.
        match book.strike::<Purchase>(ctx, &undo.input.order_id).await? {
            Some(Purchase { order_id, customer_id }) => {
                let text = format!("undone: order {order_id} removed from the history of {customer_id}");
                self.screen.event(ctx, Tone::Undone, text);
            }
            None => self.screen.event(ctx, Tone::Plain, "undo: no entry was made"),
        }
        Ok(())
    }
}

/// Nothing can be written now; the next attempt may be luckier.
#[derive(Debug)]
struct StoreDown;

impl std::error::Error for StoreDown {}

impl fmt::Display for StoreDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the history store is down")
    }
}

impl Entry for Purchase {
    fn totals(&self) -> Totals {
        total("orders", 1)
    }

    fn show(added: &Sum, removed: &Sum) -> Vec<String> {
        vec![format!("entries added: {}, removed: {}", grouped(added.count), grouped(removed.count))]
    }
}
