//! Sub-case 4: tell the customer. A mail cannot be taken back, so its undo sends another one, a cancellation notice.

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

/// What both sides share: the checkout names it, the mail service serves it.
pub(crate) const CONFIRMATION: Contract<Mail, ConfirmationSent> = Contract::new("send-confirmation");

/// What the sub-case is given.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Mail {
    order_id: String,
    customer_id: String,
}

/// What it answers: `{"event":"confirmation-sent","order_id":"12345","status":"success"}`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename = "confirmation-sent")]
pub(crate) struct ConfirmationSent {
    order_id: String,
    status: Status,
}

impl Mail {
    pub(crate) fn of(order: &Order) -> Self {
        Self { order_id: order.order_id.clone(), customer_id: order.customer_id.clone() }
    }
}

/// The mail service. Its book stands for what the mail server has taken.
pub(crate) struct Confirmation {
    pub(crate) trouble: Trouble,
    pub(crate) screen: Screen,
}

impl Confirmation {
    /// The mail server that is away when `--fail confirmation` is given.
    fn mail_server(&self, order_id: &str) -> Result<(), MailServerDown> {
        if self.trouble.fails(order_id) { Err(MailServerDown) } else { Ok(()) }
    }
}

#[async_trait]
impl Work<Mail, ConfirmationSent> for Confirmation {
    async fn execute(
        &self,
        mail: Mail,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<ConfirmationSent, StepError> {
        self.trouble.begin(ctx).await;
        let order_id = mail.order_id.clone();
        // By `?` an error means: try again. Once the attempts are spent, the sub-case has failed.
        self.mail_server(&order_id).inspect_err(|down| {
            self.screen.event(ctx, Tone::Bad, format_args!("attempt {}: {down}", ctx.attempt));
        })?;
        if book.enter(ctx, &order_id, &mail).await? {
            let text = format!("told {} that order {order_id} is confirmed", mail.customer_id);
            self.screen.event(ctx, Tone::Good, text);
        }
        self.trouble.lose_answer(ctx, &order_id).await;
        Ok(ConfirmationSent { order_id, status: Status::Success })
    }

    async fn undo(
        &self,
        undo: Undo<Mail, ConfirmationSent>,
        book: &mut OpenBook<'_>,
        ctx: &StepContext,
    ) -> Result<(), StepError> {
        self.trouble.begin_undo(ctx, &undo.input.order_id)?;
        // Who was never told needs no cancellation notice.
        match book.strike::<Mail>(ctx, &undo.input.order_id).await? {
            Some(Mail { order_id, customer_id }) => {
                let text = format!("undone: told {customer_id} that order {order_id} is cancelled");
                self.screen.event(ctx, Tone::Undone, text);
            }
            None => self.screen.event(ctx, Tone::Plain, "undo: no mail was sent"),
        }
        Ok(())
    }
}

/// No mail can be sent now; the next attempt may be luckier.
#[derive(Debug)]
struct MailServerDown;

impl std::error::Error for MailServerDown {}

impl fmt::Display for MailServerDown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the mail server is down")
    }
}

impl Entry for Mail {
    fn totals(&self) -> Totals {
        total("orders", 1)
    }

    fn show(confirmed: &Sum, cancelled: &Sum) -> Vec<String> {
        let (confirmed, cancelled) = (grouped(confirmed.count), grouped(cancelled.count));
        vec![format!("confirmations: {confirmed}, cancellation notices: {cancelled}")]
    }
}
