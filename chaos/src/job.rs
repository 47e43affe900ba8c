//! The saga: a purchase. Three steps in parallel, then the point of no return, then one that only goes forward.

use std::sync::Arc;
use std::time::Duration;

use saga::ports::Callback;
use saga::record::{Ending, Retry};
use saga::{BuildError, Contract, FailurePolicy, Pivot, Retriable, Saga, StartRequest};
use serde::{Deserialize, Serialize};

/// A message here starts a saga.
pub(crate) const TRIGGER: &str = "purchases";
/// The saga that it starts.
pub(crate) const SAGA: &str = "purchase";

pub(crate) const STOCK: Contract<Job, ()> = Contract::new("stock");
pub(crate) const LABEL: Contract<Job, ()> = Contract::new("label");
pub(crate) const MONEY: Contract<Job, ()> = Contract::new("money");
pub(crate) const PARCEL: Contract<Job, (), Pivot> = Contract::new("parcel");
pub(crate) const MAIL: Contract<Job, (), Retriable> = Contract::new("mail");

/// All steps.
pub(crate) const STEPS: [&str; 5] = ["stock", "label", "money", "parcel", "mail"];
/// Those that may refuse.
pub(crate) const REFUSING: [&str; 4] = ["stock", "label", "money", "parcel"];

/// What a saga is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: String,
    /// The step that refuses it, if one does.
    pub(crate) refused_by: Option<String>,
    /// What its steps do otherwise, where that is not left to chance.
    #[serde(default)]
    pub(crate) course: Option<Course>,
}

/// How the steps of a job go: at once, but for these.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Course {
    /// Whose first attempt fails.
    pub(crate) stumbles_at: Option<String>,
    /// Which takes its time.
    pub(crate) lingers_at: Option<String>,
}

/// The definition. Only refusals end a saga before its time, and silence for so long.
pub(crate) fn definition(callback: Arc<dyn Callback>, deadline: Duration) -> Result<Saga<Job>, BuildError> {
    let retry = Retry::DEFAULT.attempts(10_000).delays(Duration::from_millis(50), Duration::from_secs(1));
    let mut saga = Saga::<Job>::builder(SAGA, 1);
    let stock = saga.step(&STOCK, Job::clone);
    let label = saga.step(&LABEL, Job::clone);
    let money = saga.step(&MONEY, Job::clone);
    let parcel = saga.step_after((&stock, &label, &money), &PARCEL, |job, _| job.clone());
    let mail = saga.step_after(&parcel, &MAIL, |job, ()| job.clone());
    saga.configure(&stock).deadline(deadline).retry(retry);
    saga.configure(&label).deadline(deadline).retry(retry);
    saga.configure(&money).deadline(deadline).retry(retry);
    saga.configure(&parcel).deadline(deadline).retry(retry);
    saga.configure(&mail).retry(retry);
    saga.on_first_failure(FailurePolicy::Grace(Duration::from_secs(2)));
    saga.trigger(TRIGGER, |message| {
        let job: Job = message.payload.parse()?;
        Ok(StartRequest { id: job.id.parse()?, input: job })
    });
    saga.callback(Ending::Completed, callback);
    saga.build()
}
