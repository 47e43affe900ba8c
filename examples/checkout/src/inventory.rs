//! Sub-case 1: reserve the items. Its undo puts them back on the shelf.

use async_trait::async_trait;
use saga::{Contract, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Entry, OpenBook, STOCK_AT_FIRST, Sum, Totals};
use crate::order::{Order, Quantities, Status};
use crate::show::{Screen, Tone};
use crate::sub_case::Work;
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
    pub(crate) trouble: Trouble,
    pub(crate) screen: Screen,
}

#[async_trait]
impl Work<Reserve, InventoryChecked> for Inventory {
    async fn execute(
        &self,
        reserve: Reserve,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<InventoryChecked, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = reserve.order_id.clone();
        // Refused, and nothing was reserved: this step will not be undone.
        if self.trouble.fails(&order_id) {
            self.screen.event(ctx, Tone::Bad, "refused: out of stock");
            return Err(StepError::reject("out of stock"));
        }
        if book.enter(ctx, &order_id, &reserve).await? {
            if let Some(missing) = book.take(&reserve.items).await? {
                book.strike::<Reserve>(ctx, &order_id).await?;
                book.refuse(&order_id);
                self.screen.event(ctx, Tone::Bad, format_args!("refused: {missing}"));
                return Err(StepError::reject(missing));
            }
            self.screen.event(ctx, Tone::Good, format_args!("reserved {}", reserve.items));
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(InventoryChecked { order_id, status: Status::Success })
    }

    async fn undo(
        &self,
        undo: Undo<Reserve, InventoryChecked>,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // The book knows best whether something was reserved; `undo.output` may be unknown.
        let Some(reserved) = book.strike::<Reserve>(ctx, &undo.input.order_id).await? else {
            self.screen.event(ctx, Tone::Plain, "undo: nothing was reserved");
            return Ok(());
        };
        book.put_back(&reserved.items).await?;
        self.screen.event(ctx, Tone::Undone, format_args!("undone: put {} back", reserved.items));
        Ok(())
    }
}

/// How many products' stock is shown in the end.
const PRODUCTS_SHOWN_MAX: usize = 5;

impl Entry for Reserve {
    fn totals(&self) -> Totals {
        self.items.0.clone()
    }

    fn show(entered: &Sum, struck: &Sum) -> Vec<String> {
        let line = |(product, entered): (&String, &u64)| {
            let sold = entered - struck.totals.get(product).copied().unwrap_or_default();
            format!("{product}: {} in stock, {} sold", grouped(STOCK_AT_FIRST - sold), grouped(sold))
        };
        let mut lines: Vec<_> = entered.totals.iter().take(PRODUCTS_SHOWN_MAX).map(line).collect();
        match entered.totals.len() {
            0 => lines.push("no stock was touched".to_owned()),
            n if n > PRODUCTS_SHOWN_MAX => {
                lines.push(format!("and {} more products", n - PRODUCTS_SHOWN_MAX))
            }
            _ => {}
        }
        lines
    }
}
