//! Sub-case 2: charge the customer. Its undo refunds the charge.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use async_trait::async_trait;
use saga::{Compensation, Contract, Step, StepContext, StepError, Undo};
use serde::{Deserialize, Serialize};

use crate::books::{Book, Ledger, Page, Totals, total};
use crate::order::{Cents, Order, Status};
use crate::show::{Screen, Tone};
use crate::tally::grouped;
use crate::trouble::Trouble;

/// What both sides share: the checkout names it, the payment service serves it.
pub(crate) const PAYMENT: Contract<Charge, PaymentValidated> = Contract::new("payment-validation");

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
    charges: Book<Charge>,
    taken_cents: AtomicU64,
    refunded_cents: AtomicU64,
    trouble: Trouble,
    screen: Screen,
}

impl Payment {
    pub(crate) fn new(trouble: Trouble, screen: Screen) -> Self {
        let (taken_cents, refunded_cents) = Default::default();
        Self { charges: Book::new(), taken_cents, refunded_cents, trouble, screen }
    }
}

#[async_trait]
impl Step<Charge, PaymentValidated> for Payment {
    async fn execute(&self, charge: Charge, ctx: &StepContext) -> Result<PaymentValidated, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = charge.order_id.clone();
        // Refused, and nothing was charged: this step will not be undone.
        if self.trouble.fails(&order_id) {
            self.screen.event(ctx, Tone::Bad, "refused: card declined");
            return Err(StepError::reject("card declined"));
        }
        let amount_cents = charge.amount_cents;
        let text = format!("charged {} to {}", Cents(amount_cents), charge.customer_id);
        // An attempt that was cut off comes again with the same key. As a payment provider would, the book takes each key once.
        if self.charges.enter(&order_id, &ctx.idempotency_key(), charge) {
            self.taken_cents.fetch_add(amount_cents, Relaxed);
            self.screen.event(ctx, Tone::Good, text);
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(PaymentValidated { order_id, status: Status::Success })
    }
}

#[async_trait]
impl Compensation<Charge, PaymentValidated> for Payment {
    async fn undo(&self, undo: Undo<Charge, PaymentValidated>, ctx: &StepContext) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // The book knows best whether there was a charge; `undo.output` may be unknown.
        match self.charges.strike(&undo.input.order_id) {
            Some(charge) => {
                self.refunded_cents.fetch_add(charge.amount_cents, Relaxed);
                let text =
                    format!("undone: refunded {} to {}", Cents(charge.amount_cents), charge.customer_id);
                self.screen.event(ctx, Tone::Undone, text);
            }
            None => self.screen.event(ctx, Tone::Plain, "undo: nothing was charged"),
        }
        Ok(())
    }
}

impl Ledger for Payment {
    fn name(&self) -> &'static str {
        PAYMENT.name()
    }

    fn close(&self, order_id: &str) -> Page {
        self.charges.close(order_id)
    }

    fn lines(&self) -> Vec<String> {
        let (taken, refunded) = (self.taken_cents.load(Relaxed), self.refunded_cents.load(Relaxed));
        let (charges, refunds) = self.charges.entered_and_struck();
        let (charges, refunds) = (grouped(charges), grouped(refunds));
        vec![format!("charges: {charges} ({}), refunds: {refunds} ({})", Cents(taken), Cents(refunded))]
    }

    fn holds(&self) -> Totals {
        total("cents", self.taken_cents.load(Relaxed) - self.refunded_cents.load(Relaxed))
    }

    fn standing(&self) -> Vec<String> {
        self.charges.standing()
    }
}
