//! Sub-case 1: reserve the items. Its undo puts them back on the shelf.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use saga::{Compensation, Contract, Step, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Book, Ledger, Page, Totals};
use crate::order::{Order, Quantities, Status};
use crate::show::{Screen, Tone};
use crate::tally::grouped;
use crate::trouble::Trouble;

/// What both sides share: the checkout names it, the inventory service serves it.
pub(crate) const INVENTORY: Contract<Reserve, InventoryChecked> = Contract::new("inventory-check");

/// What the sub-case is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Reserve {
    order_id: String,
    items: Quantities,
}

/// What it answers: `{"event":"inventory-checked","order_id":"12345","status":"success"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename = "inventory-checked")]
pub(crate) struct InventoryChecked {
    order_id: String,
    status: Status,
}

impl Reserve {
    pub(crate) fn of(order: &Order) -> Self {
        Self { order_id: order.order_id.clone(), items: order.quantities() }
    }
}

/// The inventory service.
pub(crate) struct Inventory {
    shelves: Mutex<Shelves>,
    reservations: Book<Reserve>,
    trouble: Trouble,
    screen: Screen,
}

impl Inventory {
    pub(crate) fn new(trouble: Trouble, screen: Screen) -> Self {
        Self { shelves: Mutex::default(), reservations: Book::new(), trouble, screen }
    }
}

#[async_trait]
impl Step<Reserve, InventoryChecked> for Inventory {
    async fn execute(&self, reserve: Reserve, ctx: &StepContext) -> Result<InventoryChecked, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = reserve.order_id.clone();
        // Refused, and nothing was reserved: this step will not be undone.
        if self.trouble.fails(&order_id) {
            self.screen.event(ctx, Tone::Bad, "refused: out of stock");
            return Err(StepError::reject("out of stock"));
        }
        {
            let mut shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(missing) = shelves.missing(&reserve.items) {
                self.reservations.refuse(&order_id);
                self.screen.event(ctx, Tone::Bad, format_args!("refused: {missing}"));
                return Err(StepError::reject(missing));
            }
            // An attempt that was cut off comes again with the same key, and takes nothing a second time.
            if self.reservations.enter(&order_id, &ctx.idempotency_key(), reserve.clone()) {
                shelves.take(&reserve.items);
                self.screen.event(ctx, Tone::Good, format_args!("reserved {}", reserve.items));
            }
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(InventoryChecked { order_id, status: Status::Success })
    }
}

#[async_trait]
impl Compensation<Reserve, InventoryChecked> for Inventory {
    async fn undo(&self, undo: Undo<Reserve, InventoryChecked>, ctx: &StepContext) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // The book knows best whether something was reserved; `undo.output` may be unknown.
        let Some(reserved) = self.reservations.strike(&undo.input.order_id) else {
            self.screen.event(ctx, Tone::Plain, "undo: nothing was reserved");
            return Ok(());
        };
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner).put_back(&reserved.items);
        self.screen.event(ctx, Tone::Undone, format_args!("undone: put {} back", reserved.items));
        Ok(())
    }
}

impl Ledger for Inventory {
    fn name(&self) -> &'static str {
        INVENTORY.name()
    }

    fn close(&self, order_id: &str) -> Page {
        self.reservations.close(order_id)
    }

    fn lines(&self) -> Vec<String> {
        let shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |(product, left): (&String, &u64)| {
            format!("{product}: {} in stock, {} sold", grouped(*left), grouped(STOCK_AT_FIRST - left))
        };
        let mut lines: Vec<_> = shelves.left.iter().take(PRODUCTS_SHOWN_MAX).map(line).collect();
        match shelves.left.len() {
            0 => lines.push("no stock was touched".to_owned()),
            n if n > PRODUCTS_SHOWN_MAX => {
                lines.push(format!("and {} more products", n - PRODUCTS_SHOWN_MAX))
            }
            _ => {}
        }
        lines
    }

    fn holds(&self) -> Totals {
        let shelves = self.shelves.lock().unwrap_or_else(PoisonError::into_inner);
        let sold = shelves.left.iter().map(|(product, left)| (product.clone(), STOCK_AT_FIRST - left));
        sold.filter(|(_, sold)| *sold > 0).collect()
    }

    fn standing(&self) -> Vec<String> {
        self.reservations.standing()
    }
}

/// How much of each product there is before the first order.
const STOCK_AT_FIRST: u64 = 1_000_000;

/// How many products' stock is shown in the end.
const PRODUCTS_SHOWN_MAX: usize = 5;

/// What is left of each product that was ever asked for.
#[derive(Default)]
struct Shelves {
    left: BTreeMap<String, u64>,
}

impl Shelves {
    fn missing(&mut self, items: &Quantities) -> Option<String> {
        items.0.iter().find_map(|(product, wanted)| {
            let left = *self.left.entry(product.clone()).or_insert(STOCK_AT_FIRST);
            (left < *wanted).then(|| format!("out of stock: {wanted} of {product} asked for, {left} left"))
        })
    }

    fn take(&mut self, items: &Quantities) {
        for (product, quantity) in &items.0 {
            *self.left.get_mut(product).expect("it was looked at before") -= quantity;
        }
    }

    fn put_back(&mut self, items: &Quantities) {
        for (product, quantity) in &items.0 {
            *self.left.get_mut(product).expect("it was taken from there") += quantity;
        }
    }
}
