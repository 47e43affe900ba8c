//! The saga of the storm: stock and payment in parallel, then a booking, then a mail; and participants with a mind of their own.

use std::sync::Arc;
use std::time::Duration;

use saga::{
    Contract, Ending, NoUndo, Retry, Saga, ServeOptions, ServiceBuilder, StepContext, StepError, Undo,
    handler,
};
use serde::{Deserialize, Serialize};

use crate::books::Books;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: String,
    pub(crate) cents: u64,
}

const STOCK: Contract<Order, String> = Contract::new("stock");
const PAYMENT: Contract<Order, u64> = Contract::new("payment");
const BOOKING: Contract<(String, u64), String> = Contract::new("booking");
const MAIL: Contract<String, (), NoUndo> = Contract::new("mail");

pub(crate) fn checkout(books: &Arc<Books>) -> Saga<Order> {
    let mut saga = Saga::<Order>::builder("checkout", 1);
    let stock = saga.step(&STOCK, Order::clone);
    let payment = saga.step(&PAYMENT, Order::clone);
    let booking = saga.step_after((&stock, &payment), &BOOKING, |_, (shelf, receipt)| (shelf, receipt));
    saga.step_after(&booking, &MAIL, |_, booking| booking);
    saga.configure(&stock).retry(Retry::DEFAULT.attempts(1_000));
    // Some of these are still at work, or their replies on the way, when this is over.
    saga.configure(&payment).deadline(Duration::from_secs(12)).retry(Retry::DEFAULT.attempts(1_000));
    saga.configure(&booking).retry(Retry::DEFAULT.attempts(1_000));
    for ending in [Ending::Completed, Ending::RolledBack] {
        saga.callback(ending, Arc::clone(books) as _);
    }
    saga.build().unwrap()
}

pub(crate) fn serve(service: ServiceBuilder, books: &Arc<Books>) -> ServiceBuilder {
    let mut options = ServeOptions::default();
    // A crash of a participant holds its steps up for this long.
    options.claim_hold = Duration::from_secs(5);
    options.claim_margin = Duration::from_secs(1);
    let [stock, payment, booking, mail] = [(); 4].map(|()| Arc::clone(books));
    let [no_stock, no_payment, no_booking] = [(); 3].map(|()| Arc::clone(books));
    service
        .serve_with(
            &STOCK,
            handler(move |_: Order, ctx| work(Arc::clone(&stock), ctx, "shelf 7".to_owned()))
                .undo(move |_: Undo<Order, String>, ctx| take_back(Arc::clone(&no_stock), ctx)),
            options.clone(),
        )
        .serve_with(
            &PAYMENT,
            handler(move |order: Order, ctx| work(Arc::clone(&payment), ctx, order.cents))
                .undo(move |_: Undo<Order, u64>, ctx| take_back(Arc::clone(&no_payment), ctx)),
            options.clone(),
        )
        .serve_with(
            &BOOKING,
            handler(move |(shelf, _): (String, u64), ctx| work(Arc::clone(&booking), ctx, shelf))
                .undo(move |_: Undo<(String, u64), String>, ctx| take_back(Arc::clone(&no_booking), ctx)),
            options.clone(),
        )
        .serve_with(&MAIL, handler(move |_: String, ctx| send(Arc::clone(&mail), ctx)), options)
}

/// Of a thousand steps 60 refuse, 40 fail after their effect, 100 fail twice first; a third takes its time.
async fn work<T>(books: Arc<Books>, ctx: StepContext, output: T) -> Result<T, StepError> {
    let fate = books.fate(&ctx, 0);
    if (100..200).contains(&fate) && ctx.attempt <= 2 {
        return Err(StepError::retry("not today"));
    }
    if fate > 666 {
        tokio::time::sleep(Duration::from_millis(fate)).await;
    }
    if fate < 60 {
        return Err(StepError::reject("out of everything"));
    }
    books.execute(&ctx);
    if fate < 100 {
        return Err(StepError::fail("lost track of it"));
    }
    Ok(output)
}

/// Safe when nothing had happened; one in five fails twice first.
async fn take_back(books: Arc<Books>, ctx: StepContext) -> Result<(), StepError> {
    if books.fate(&ctx, 1) < 200 && ctx.attempt <= 2 {
        return Err(StepError::retry("the till is locked"));
    }
    tokio::time::sleep(Duration::from_millis(books.fate(&ctx, 2))).await;
    books.undo(&ctx);
    Ok(())
}

/// A mail cannot be taken back: it is refused before it is sent, or sent.
async fn send(books: Arc<Books>, ctx: StepContext) -> Result<(), StepError> {
    if books.fate(&ctx, 3) < 50 {
        return Err(StepError::reject("no such address"));
    }
    books.execute(&ctx);
    Ok(())
}
