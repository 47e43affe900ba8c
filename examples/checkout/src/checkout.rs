//! The checkout as a saga: its four steps, what starts and cancels it, and what it tells the world.
//!
//! The messages on the topics are plain JSON. Whoever sets no CloudEvents attributes is understood through the codecs here.

use std::sync::Arc;
use std::time::Duration;

use saga::definition::{CancelRequest, CodecError, ForeignReply, StartRequest};
use saga::ports::{Callback, Ended};
use saga::record::{Action, Announcement, Ending, Report, Retry};
use saga::wire::Message;
use saga::{BuildError, FailurePolicy, Saga};
use serde::{Deserialize, Serialize};

use crate::confirmation::{CONFIRMATION, Mail};
use crate::history::{HISTORY, Purchase};
use crate::inventory::{INVENTORY, Reserve};
use crate::order::{Order, Status};
use crate::payment::{Charge, PAYMENT};

/// The action; a message here starts a checkout.
pub(crate) const ORDER_PLACED: &str = "order-placed";
/// The group as which the checkout's coordinators read its topics.
pub(crate) const COORDINATORS: &str = "checkout.coordinator";
/// Announced when all four sub-cases have succeeded.
pub(crate) const ORDER_COMPLETE: &str = "order-complete";
/// Announced when the undoing begins. A message from outside cancels the order's checkout.
pub(crate) const ROLLBACK_ORDER: &str = "rollback-order";

/// Announced when everything is undone.
pub(crate) const ORDER_ROLLED_BACK: &str = "order-rolled-back";
/// Announced when an operator has given the order up as it stands.
pub(crate) const ORDER_ABANDONED: &str = "order-abandoned";

/// What may differ from one run of this example to another.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// How long the other sub-cases may still finish once one has failed.
    pub(crate) policy: FailurePolicy,
    /// By when a sub-case must have answered.
    pub(crate) step_deadline: Duration,
}

/// The definition. None of the four steps waits for another, so all start at once, in parallel.
pub(crate) fn definition(rules: Rules, when_complete: Arc<dyn Callback>) -> Result<Saga<Order>, BuildError> {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let stock = saga.step(&INVENTORY, Reserve::of);
    let charge = saga.step(&PAYMENT, Charge::of);
    let entry = saga.step(&HISTORY, Purchase::of);
    let mail = saga.step(&CONFIRMATION, Mail::of);

    // An attempt that ends in an error is repeated twice, soon; then the sub-case has failed and the checkout unwinds.
    let retry = Retry::DEFAULT.attempts(3).delays(Duration::from_millis(20), Duration::from_millis(100));
    saga.configure(&stock).deadline(rules.step_deadline).retry(retry);
    saga.configure(&charge).deadline(rules.step_deadline).retry(retry);
    saga.configure(&entry).deadline(rules.step_deadline).retry(retry);
    saga.configure(&mail).deadline(rules.step_deadline).retry(retry);
    saga.on_first_failure(rules.policy);

    saga.trigger(ORDER_PLACED, read_placed);
    saga.cancel_on(ROLLBACK_ORDER, read_rollback);
    saga.reply_codec(read_answer);
    saga.announce(Announcement::Completed, ORDER_COMPLETE, |order, _| OrderComplete {
        order_id: order.order_id.clone(),
        status: Status::Success,
    });
    saga.announce(Announcement::Unwinding, ROLLBACK_ORDER, |order, _| RollbackOrder {
        order_id: order.order_id.clone(),
        status: Status::Failure,
    });
    // For whoever waits for an order in another process: `rollback-order` only says that undoing begins.
    saga.announce(Announcement::RolledBack, ORDER_ROLLED_BACK, |order, _| OrderRolledBack {
        order_id: order.order_id.clone(),
        status: Status::Failure,
    });
    saga.announce(Announcement::Abandoned, ORDER_ABANDONED, |order, _| OrderAbandoned {
        order_id: order.order_id.clone(),
        status: Status::Failure,
    });
    saga.callback(Ending::Completed, when_complete);
    saga.build()
}

/// The body of the POST when a checkout is complete.
pub(crate) fn all_task_complete(_: &Ended) -> &'static str {
    "all task complete"
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "order-complete")]
struct OrderComplete {
    order_id: String,
    status: Status,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "rollback-order")]
struct RollbackOrder {
    order_id: String,
    status: Status,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "order-rolled-back")]
struct OrderRolledBack {
    order_id: String,
    status: Status,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "event", rename = "order-abandoned")]
struct OrderAbandoned {
    order_id: String,
    status: Status,
}

/// `order-placed`, as typed into a console producer: the order id is the saga's id.
fn read_placed(message: &Message) -> Result<StartRequest<Order>, CodecError> {
    let order = Order::read(&message.payload)?;
    Ok(StartRequest { id: order.order_id.parse()?, input: order })
}

/// `rollback-order`: our own announcement also comes by here, and is too late to cancel the checkout that it tells of.
fn read_rollback(message: &Message) -> Result<CancelRequest, CodecError> {
    let Rollback::RollbackOrder { order_id } = message.payload.parse()?;
    Ok(CancelRequest { id: order_id.parse()?, why: "asked for on rollback-order".into() })
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
enum Rollback {
    RollbackOrder { order_id: String },
}

/// What a sub-case answers that knows nothing of this library.
#[derive(Deserialize)]
struct Answer {
    event: AnswerTo,
    order_id: String,
    status: Status,
    /// `undo` when it has undone what it did.
    #[serde(default = "execute")]
    action: Action,
    /// Why not, if it says so.
    #[serde(default)]
    reason: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AnswerTo {
    InventoryChecked,
    PaymentValidated,
    CustomerHistoryUpdated,
    ConfirmationSent,
}

const fn execute() -> Action {
    Action::Execute
}

fn read_answer(message: &Message) -> Result<ForeignReply, CodecError> {
    let Answer { event, order_id, status, action, reason } = message.payload.parse()?;
    let step = match event {
        AnswerTo::InventoryChecked => INVENTORY.name(),
        AnswerTo::PaymentValidated => PAYMENT.name(),
        AnswerTo::CustomerHistoryUpdated => HISTORY.name(),
        AnswerTo::ConfirmationSent => CONFIRMATION.name(),
    };
    let reason = || reason.as_deref().unwrap_or("it gave no reason").into();
    let report = match (action, status) {
        (Action::Execute, Status::Success) => Report::Succeeded { output: message.payload.clone() },
        // It does not say that nothing happened, so something may have: it will be undone like the others.
        (Action::Execute, Status::Failure) => Report::Failed { reason: reason() },
        (Action::Undo, Status::Success) => Report::Undone,
        (Action::Undo, Status::Failure) => Report::UndoFailed { reason: reason() },
        (Action::Fence, _) => return Err("the checkout has no step that is fenced".into()),
    };
    Ok(ForeignReply { id: order_id.parse()?, step: step.into(), action, report })
}
