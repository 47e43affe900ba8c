//! A coordinator in a process of its own.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga::ports::{Callback, CallbackError, Ended};
use saga::{CoordinatorOptions, Service};

use crate::Failure;
use crate::args::Args;
use crate::books::{Books, CALL};
use crate::job::definition;
use crate::mutant::{LateLog, Mutant};
use crate::participant::{OFFICE, interrupted, retried};

/// How long a coordinator's sagas stay its own after it was last heard of.
pub(crate) const LEASE: Duration = Duration::from_secs(3);

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    retried(|| serve(args)).await
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let bus = saga::connect(&args.bus).await?;
    let mut log = saga::log::connect(&args.log).await?;
    if args.mutant == Some(Mutant::AcknowledgeBeforeAppend) {
        log = Arc::new(LateLog { log });
    }
    let calls = Books::open(&args.books, OFFICE).await?;
    let mut options = CoordinatorOptions::default();
    options.name = args.name.as_str().into();
    options.lease_ttl = LEASE;
    options.resend.first = Duration::from_secs(1);
    options.resend.max = Duration::from_secs(5);
    if args.mutant == Some(Mutant::NoTakeOver) {
        // It comes back under another name, and nothing is taken from the dead.
        options.name = format!("{}-{}", args.name, std::process::id()).into();
        options.lease_ttl = Duration::from_secs(24 * 3600);
    }
    let saga = definition(Arc::new(Calls(calls)))?;
    let service = Service::builder(bus).log(log).coordinator_options(options).coordinate(&saga).build()?;
    service.run(interrupted()).await?;
    Ok(())
}

/// Whoever is called writes it down.
#[derive(Debug)]
struct Calls(Books);

#[async_trait]
impl Callback for Calls {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let (id, job) = (ended.id.to_string(), ended.key.id.to_string());
        self.0.execute(CALL, &[&id, &job]).await.map_err(|error| CallbackError::Retry(error.to_string()))
    }
}
