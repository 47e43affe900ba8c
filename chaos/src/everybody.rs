//! Coordinator and participants in one process, as they would be on one machine. It passes the gate wherever others see what it does.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use saga::ports::EventBus;
use saga::sql::postgres::{PostgresInbox, PostgresOutbox};
use saga::sql::sqlite::{SqliteInbox, SqliteOutbox};
use saga::{Sagas, Service, StartError};

use crate::Failure;
use crate::appending::Appending;
use crate::args::Args;
use crate::coordinator;
use crate::crash::{Way, jobs};
use crate::gate;
use crate::gated::{Gated, GatedBus, GatedInbox};
use crate::job::Job;
use crate::participant::{self, GOODS, OFFICE, interrupted, retried};

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    if let Some(point) = &args.at {
        gate::arm(point);
    } else if let Some(file) = &args.list {
        gate::list(file)?;
    }
    retried(|| live(args)).await
}

/// What this process does must follow from where it died, and not from how long a broker takes until it notices.
const DEADLINE: Duration = Duration::from_secs(600);

type Part = BoxFuture<'static, Result<(), saga::Error>>;

async fn live(args: &Args) -> Result<(), Failure> {
    let bus: Arc<dyn EventBus> = Arc::new(GatedBus(saga::connect(&args.bus).await?));
    let saga = coordinator::saga(args, DEADLINE).await?;
    let mut options = coordinator::options(args);
    options.resend.first = Duration::from_millis(300);
    options.resend.max = Duration::from_secs(1);
    let log = Arc::new(Appending { log: coordinator::log(args).await?, how: Gated });
    let service = Service::builder(Arc::clone(&bus)).log(log).coordinator_options(options);
    let service = service.coordinate(&saga).build()?;
    let sagas = service.sagas(&saga)?;
    let mut parts: Vec<Part> = vec![service.run(interrupted()).boxed()];
    for kind in [GOODS, OFFICE] {
        parts.push(participant(args, kind, Arc::clone(&bus)).await?);
    }
    parts.push(relay(args, bus).await?);
    let starting = start(sagas, args);
    let parts = async { Ok(futures::future::try_join_all(parts).await.map(drop)?) };
    // Whoever starts sagas would go on asking when the coordinator has ended with an error.
    tokio::try_join!(parts, starting).map(drop)
}

async fn participant(args: &Args, kind: &str, bus: Arc<dyn EventBus>) -> Result<Part, Failure> {
    let url = args.books.url(kind);
    let service = if url.starts_with("sqlite:") {
        let inbox = SqliteInbox::connect(&url).await?;
        participant::on_sqlite(bus, kind, inbox.clone()).inbox(Arc::new(GatedInbox(Arc::new(inbox))))
    } else {
        let inbox = PostgresInbox::connect(&url).await?;
        participant::on_postgres(bus, kind, inbox.clone()).inbox(Arc::new(GatedInbox(Arc::new(inbox))))
    };
    Ok(service.build()?.run(interrupted()).boxed())
}

/// Starts, through the outbox in the office's books, the sagas that were put there.
async fn relay(args: &Args, bus: Arc<dyn EventBus>) -> Result<Part, Failure> {
    let url = args.books.url(OFFICE);
    Ok(if url.starts_with("sqlite:") {
        SqliteOutbox::connect(&url).await?.relay(bus).run(interrupted()).boxed()
    } else {
        PostgresOutbox::connect(&url).await?.relay(bus).run(interrupted()).boxed()
    })
}

/// Starts the sagas that are its own to start, until each is answered for; and no more once it was, for then it must not be lost.
async fn start(sagas: Sagas<Job>, args: &Args) -> Result<(), Failure> {
    for job in jobs(&args.bus).into_iter().filter(|(_, way)| *way == Way::Call).map(|(job, _)| job) {
        let answered = args.folder.join(format!("{}.answered", job.id));
        while !answered.exists() {
            match sagas.start(&job.id, &job).await {
                Ok(_) => std::fs::write(&answered, [])?,
                Err(StartError::Failed(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
                Err(why) => return Err(why.into()),
            }
        }
    }
    Ok(())
}
