//! Sub-case 3: append to the customer's purchase history. Its undo removes the entry.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use saga::{Compensation, Contract, Step, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Book, Ledger, Page, Totals, total};
use crate::order::{Order, Status};
use crate::show::{Screen, Tone};
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
    entries: Book<Purchase>,
    /// How many purchases each customer has made.
    purchases: Mutex<BTreeMap<String, u64>>,
    trouble: Trouble,
    screen: Screen,
}

impl History {
    pub(crate) fn new(trouble: Trouble, screen: Screen) -> Self {
        Self { entries: Book::new(), purchases: Mutex::default(), trouble, screen }
    }

    /// The store that is away when `--fail history` is given.
    fn store(&self, order_id: &str) -> Result<(), StoreDown> {
        if self.trouble.fails(order_id) { Err(StoreDown) } else { Ok(()) }
    }
}

#[async_trait]
impl Step<Purchase, HistoryUpdated> for History {
    async fn execute(&self, purchase: Purchase, ctx: &StepContext) -> Result<HistoryUpdated, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = purchase.order_id.clone();
        // By `?` an error means: try again. Once the attempts are spent, the sub-case has failed.
        self.store(&order_id).inspect_err(|down| {
            self.screen.event(ctx, Tone::Bad, format_args!("attempt {}: {down}", ctx.attempt));
        })?;
        let text = format!("order {order_id} added to the history of {}", purchase.customer_id);
        let customer_id = purchase.customer_id.clone();
        // An attempt that was cut off comes again with the same key, and adds nothing a second time.
        if self.entries.enter(&order_id, &ctx.idempotency_key(), purchase) {
            let mut purchases = self.purchases.lock().unwrap_or_else(PoisonError::into_inner);
            *purchases.entry(customer_id).or_default() += 1;
            self.screen.event(ctx, Tone::Good, text);
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(HistoryUpdated { order_id, status: Status::Success })
    }
}

/// The store is away for this example's new entries only. Were it away for the undo too, the undo would be tried again, and in the end
/// the saga be parked for an operator.
#[async_trait]
impl Compensation<Purchase, HistoryUpdated> for History {
    async fn undo(&self, undo: Undo<Purchase, HistoryUpdated>, ctx: &StepContext) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // After a failure nobody knows whether the entry was made: `undo.output` is `None` then, and the book is asked.
        let Some(Purchase { order_id, customer_id }) = self.entries.strike(&undo.input.order_id) else {
            self.screen.event(ctx, Tone::Plain, "undo: no entry was made");
            return Ok(());
        };
        {
            let mut purchases = self.purchases.lock().unwrap_or_else(PoisonError::into_inner);
            let count = purchases.get_mut(&customer_id).expect("the purchase was counted");
            *count -= 1;
            if *count == 0 {
                purchases.remove(&customer_id);
            }
        }
        let text = format!("undone: order {order_id} removed from the history of {customer_id}");
        self.screen.event(ctx, Tone::Undone, text);
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

impl Ledger for History {
    fn name(&self) -> &'static str {
        HISTORY.name()
    }

    fn close(&self, order_id: &str) -> Page {
        self.entries.close(order_id)
    }

    fn lines(&self) -> Vec<String> {
        let (added, removed) = self.entries.entered_and_struck();
        let (added, removed) = (grouped(added), grouped(removed));
        vec![format!("entries added: {added}, removed: {removed}")]
    }

    fn holds(&self) -> Totals {
        let purchases = self.purchases.lock().unwrap_or_else(PoisonError::into_inner);
        total("orders", purchases.values().sum())
    }

    fn standing(&self) -> Vec<String> {
        self.entries.standing()
    }
}
