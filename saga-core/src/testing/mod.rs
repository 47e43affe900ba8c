//! For tests: a harness that runs whole sagas in memory under virtual time, tells what happened in order, and can fail, delay,
//! duplicate or lose any step.
//!
//! ```
//! use saga_core::testing::{Harness, Script};
//! use saga_core::{Contract, Saga, StepContext, StepError, Undo, handler, record::Status};
//!
//! // What is to be tested: a saga, and one of its participants.
//! const INVENTORY: Contract<u32, String> = Contract::new("inventory");
//! const PAYMENT: Contract<String, ()> = Contract::new("payment");
//!
//! fn checkout() -> Saga<u32> {
//!     let mut saga = Saga::<u32>::builder("checkout", 1);
//!     let stock = saga.step(&INVENTORY, |quantity| *quantity);
//!     saga.step_after(&stock, &PAYMENT, |_, shelf| shelf);
//!     saga.build().unwrap()
//! }
//!
//! async fn reserve(quantity: u32, _: StepContext) -> Result<String, StepError> {
//!     Ok(format!("{quantity} from shelf 7"))
//! }
//!
//! async fn release(_: Undo<u32, String>, _: StepContext) -> Result<(), StepError> {
//!     Ok(())
//! }
//!
//! # /*
//! #[tokio::test(start_paused = true)]
//! # */
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() { a_declined_card_gives_the_stock_back().await }
//! async fn a_declined_card_gives_the_stock_back() {
//!     let mut harness = Harness::new(&checkout());
//!     harness
//!         .serve(&INVENTORY, handler(reserve).undo(release))
//!         .script(&PAYMENT, Script::rejects("card declined"));
//!
//!     let run = harness.run("order-1", &3).await;
//!
//!     assert_eq!(run.outcome.status, Status::RolledBack);
//!     assert_eq!(run.effects, ["inventory executed", "inventory undone"]);
//!     println!("{run}"); // every line with its virtual time
//! }
//! ```
//!
//! # Virtual time
//! Tokio's paused time stands still while anything can happen, and leaps to the next timer when nothing can. A deadline of an hour takes
//! no time. So the harness asks for `#[tokio::test(start_paused = true)]`, and says so when it is missing. Whatever a handler does must
//! go by tokio's time; it must not wait for the network or for another thread.
//!
//! # Same seed, same run
//! The log, the bus and the faults draw from [seeds](Harness::seed), and the one thread of such a test runs its tasks in order. Two
//! harnesses that are asked the same give the same timeline, times included, as long as the handlers do.

mod bus;
mod callback;
mod fault;
mod harness;
mod log;
mod recorder;
mod run;
mod script;
mod stage;
mod timeline;
mod world;

pub use callback::CallbackScript;
pub use fault::Fault;
pub use harness::Harness;
pub use run::Run;
pub use script::Script;
pub use timeline::{Moment, Timeline};
