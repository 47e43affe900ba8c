//! A coordinator in a process of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{Callback, CallbackError, Ended, SagaLog};
use saga::{CoordinatorOptions, Saga, Service};

use crate::Failure;
use crate::appending::Appending;
use crate::args::Args;
use crate::books::{Books, CALL};
use crate::gate::{self, Edge};
use crate::job::{Job, definition};
use crate::mutant::{Late, Mutant};
use crate::participant::{OFFICE, interrupted, retried};

/// How long a coordinator's sagas stay its own after it was last heard of.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

/// How many sagas a coordinator has under way, on two processors that everybody shares.
const IN_FLIGHT_MAX: usize = 100;

/// How long a step may be silent.
const DEADLINE: Duration = Duration::from_secs(25);

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    retried(|| serve(args)).await
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let bus = saga::connect(&args.bus).await?;
    let saga = saga(args, DEADLINE).await?;
    let service = Service::builder(bus).log(log(args).await?).coordinator_options(options(args));
    service.coordinate(&saga).build()?.run(interrupted()).await?;
    Ok(())
}

/// The log, unless a mutant comes between.
pub(crate) async fn log(args: &Args) -> Result<Arc<dyn SagaLog>, Failure> {
    let log = saga::log::connect(&args.log).await?;
    let is_late = args.mutant == Some(Mutant::AcknowledgeBeforeAppend);
    Ok(if is_late { Arc::new(Appending { log, how: Late }) } else { log })
}

/// The definition, with a callback that is written down.
pub(crate) async fn saga(args: &Args, deadline: Duration) -> Result<Saga<Job>, Failure> {
    let calls = Books::open(&args.books, OFFICE).await?;
    Ok(definition(Arc::new(Calls(calls)), deadline)?)
}

pub(crate) fn options(args: &Args) -> CoordinatorOptions {
    let mut options = CoordinatorOptions::default();
    options.name = args.name.as_str().into();
    options.lease_ttl = LEASE;
    options.resend.first = Duration::from_secs(1);
    // With a backlog, copies that come oftener than answers can come keep everybody busy with copies.
    options.resend.max = Duration::from_secs(30);
    // What is sent again so often would keep the participants busy with what they have answered.
    options.sagas_in_flight_max = IN_FLIGHT_MAX;
    if args.mutant == Some(Mutant::NoTakeOver) {
        // It comes back under another name, and nothing is taken from the dead.
        options.name = format!("{}-{}", args.name, std::process::id()).into();
        options.lease_ttl = Duration::from_secs(24 * 3600);
    }
    options
}

/// Whoever is called writes it down.
#[derive(Debug)]
struct Calls(Books);

#[async_trait]
impl Callback for Calls {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let (id, job) = (ended.id.to_string(), ended.key.id.to_string());
        gate::pass(Edge::Before, "calling back");
        let called = self.0.execute(CALL, &[&id, &job]).await;
        gate::pass(Edge::After, "calling back");
        called.map_err(|error| CallbackError::Retry(error.to_string()))
    }
}
