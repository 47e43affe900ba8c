//! Sub-case 2: charge the customer. Its undo refunds the charge.

use async_trait::async_trait;
use saga::{Contract, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Entry, OpenBook, Sum, Totals, total};
use crate::order::{Cents, Order, Status};
use crate::show::{Screen, Tone};
use crate::sub_case::Work;
use crate::tally::grouped;
use crate::trouble::Trouble;

/// What both sides share: the checkout names it, the payment service serves it.
pub(crate) const PAYMENT: Contract<Charge, PaymentValidated> = Contract::new("payment-validation");

/// What the book counts.
const CENTS: &str = "cents";

/// What the sub-case is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Charge {
    order_id: String,
    customer_id: String,
    amount_cents: u64,
}

/// What it answers: `{"event":"payment-validated","order_id":"12345","status":"success"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename = "payment-validated")]
pub(crate) struct PaymentValidated {
    order_id: String,
    status: Status,
}

impl Charge {
    pub(crate) fn of(order: &Order) -> Self {
        let (order_id, customer_id) = (order.order_id.clone(), order.customer_id.clone());
        Self { order_id, customer_id, amount_cents: order.price_cents() }
    }
}

/// The payment service.
pub(crate) struct Payment {
    pub(crate) trouble: Trouble,
    pub(crate) screen: Screen,
}

#[async_trait]
impl Work<Charge, PaymentValidated> for Payment {
    async fn execute(
        &self,
        charge: Charge,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<PaymentValidated, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = charge.order_id.clone();
        // Refused, and nothing was charged: this step will not be undone.
        if self.trouble.fails(&order_id) {
            self.screen.event(ctx, Tone::Bad, "refused: card declined");
            return Err(StepError::reject("card declined"));
        }
        // In a database the entry, the answer and the barrier's row that keeps it from being made twice are one transaction. A payment
        // provider in another house would be given `ctx.idempotency_key()`, to take each key once.
        if book.enter(ctx, &order_id, &charge).await? {
            let text = format!("charged {} to {}", Cents(charge.amount_cents), charge.customer_id);
            self.screen.event(ctx, Tone::Good, text);
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(PaymentValidated { order_id, status: Status::Success })
    }

    async fn undo(
        &self,
        undo: Undo<Charge, PaymentValidated>,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // The book knows best whether there was a charge; `undo.output` may be unknown.
        match book.strike::<Charge>(ctx, &undo.input.order_id).await? {
            Some(charge) => {
                let text =
                    format!("undone: refunded {} to {}", Cents(charge.amount_cents), charge.customer_id);
                self.screen.event(ctx, Tone::Undone, text);
            }
            None => self.screen.event(ctx, Tone::Plain, "undo: nothing was charged"),
        }
        Ok(())
    }
}

impl Entry for Charge {
    fn totals(&self) -> Totals {
        total(CENTS, self.amount_cents)
    }

    fn show(charges: &Sum, refunds: &Sum) -> Vec<String> {
        let [taken, refunded] =
            [charges, refunds].map(|sum| Cents(sum.totals.get(CENTS).copied().unwrap_or_default()));
        let (charges, refunds) = (grouped(charges.count), grouped(refunds.count));
        vec![format!("charges: {charges} ({taken}), refunds: {refunds} ({refunded})")]
    }
}
