//! A participant in a process of its own. Its effects are in its books, in the transaction of the barrier.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use saga::ports::{EventBus, StepContext};
use saga::sql::postgres::PostgresInbox;
use saga::sql::sqlite::SqliteInbox;
use saga::sql::sqlx;
use saga::{ServeOptions, Service, ServiceBuilder, StepError, Undo, handler};
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;
use crate::args::Args;
use crate::books::{Books, DO, UNDO};
use crate::gate::{self, Edge};
use crate::job::{Course, Job, LABEL, MAIL, MONEY, PARCEL, STOCK};
use crate::mutant::{Mutant, NoBarrier};

/// The two kinds, each with books of its own.
pub(crate) const GOODS: &str = "goods";
pub(crate) const OFFICE: &str = "office";

pub(crate) async fn run(args: &Args) -> Result<(), Failure> {
    retried(|| serve(args)).await
}

/// As whatever watches over a service would do it: started again if it ends because something is away.
pub(crate) async fn retried<F: Future<Output = Result<(), Failure>>>(
    start: impl Fn() -> F,
) -> Result<(), Failure> {
    loop {
        match start().await {
            Err(why) if why.downcast_ref::<saga::Error>().is_some_and(saga::Error::is_retryable) => {
                eprintln!("started again: {why}");
                tokio::time::sleep(Duration::from_millis(300)).await;
            }
            ended => return ended,
        }
    }
}

/// Asked to end.
pub(crate) async fn interrupted() {
    match signal(SignalKind::terminate()) {
        Ok(mut asked) => drop(asked.recv().await),
        Err(_) => std::future::pending().await,
    }
}

async fn serve(args: &Args) -> Result<(), Failure> {
    let bus = saga::connect(&args.bus).await?;
    let url = args.books.url(&args.name);
    let service = if args.mutant == Some(Mutant::NoBarrier) {
        without_barrier(bus, &args.name, Books::open(&args.books, &args.name).await?)
    } else if url.starts_with("sqlite:") {
        on_sqlite(bus, &args.name, SqliteInbox::connect(&url).await?)
    } else {
        on_postgres(bus, &args.name, PostgresInbox::connect(&url).await?)
    };
    service.build()?.run(interrupted()).await?;
    Ok(())
}

fn options() -> ServeOptions {
    let mut options = ServeOptions::default();
    options.concurrency = 16;
    options.claim_hold = Duration::from_secs(5);
    options.claim_margin = Duration::from_secs(1);
    options
}

/// Takes a while, refuses what it is to refuse, and stumbles now and then.
async fn work(job: &Job, step: &str, attempt: u32) -> Result<(), StepError> {
    let is_refused = job.refused_by.as_deref() == Some(step);
    let (takes_ms, does_stumble) = job.course.as_ref().map_or_else(
        || (fastrand::u64(0..20), fastrand::u8(..) < 8),
        |course| (course.takes_ms(step, is_refused), course.does_stumble(step, attempt)),
    );
    tokio::time::sleep(Duration::from_millis(takes_ms)).await;
    if is_refused {
        return Err(StepError::reject("as it was told to"));
    }
    if does_stumble {
        return Err(StepError::retry("it stumbled"));
    }
    Ok(())
}

impl Course {
    /// A step refuses when the others are done, but for one that lingers.
    fn takes_ms(&self, step: &str, is_refused: bool) -> u64 {
        match self.lingers_at.as_deref() {
            Some(lingering) if lingering == step => 500,
            _ if is_refused => 200,
            _ => 0,
        }
    }

    fn does_stumble(&self, step: &str, attempt: u32) -> bool {
        attempt == 1 && self.stumbles_at.as_deref() == Some(step)
    }
}

/// What each kind serves, by whichever handlers.
macro_rules! serve_kind {
    ($kind:expr, $service:expr, $execute:ident, $with_undo:ident) => {
        if $kind == GOODS {
            let service = $service.serve_with(&STOCK, $with_undo!("stock"), options());
            let service = service.serve_with(&LABEL, $with_undo!("label"), options());
            service.serve_with(&PARCEL, $execute!("parcel"), options())
        } else {
            let service = $service.serve_with(&MONEY, $with_undo!("money"), options());
            service.serve_with(&MAIL, $execute!("mail"), options())
        }
    };
}

/// The same handlers for both databases.
macro_rules! serve_on {
    ($function:ident, $inbox:ty) => {
        pub(crate) fn $function(bus: Arc<dyn EventBus>, kind: &str, inbox: $inbox) -> ServiceBuilder {
            macro_rules! execute {
                ($step:literal) => {
                    inbox.handler(|job: Job, mut tx, ctx: StepContext| async move {
                        work(&job, $step, ctx.attempt).await?;
                        gate::pass(Edge::Before, concat!("the effect of ", $step));
                        let query = sqlx::query(DO).bind(ctx.run.to_string()).bind($step).bind(job.id);
                        query.execute(&mut *tx).await?;
                        gate::pass(Edge::Before, concat!("the commit of ", $step));
                        let committed = tx.commit(()).await;
                        gate::pass(Edge::After, concat!("the commit of ", $step));
                        committed
                    })
                };
            }
            macro_rules! with_undo {
                ($step:literal) => {
                    execute!($step).undo(|_: Undo<Job, ()>, mut tx, ctx: StepContext| async move {
                        gate::pass(Edge::Before, concat!("the undoing of ", $step));
                        sqlx::query(UNDO).bind(ctx.run.to_string()).bind($step).execute(&mut *tx).await?;
                        gate::pass(Edge::Before, concat!("the commit of undoing ", $step));
                        let committed = tx.commit(()).await;
                        gate::pass(Edge::After, concat!("the commit of undoing ", $step));
                        committed
                    })
                };
            }
            let service = Service::builder(bus).inbox(Arc::new(inbox.clone()));
            serve_kind!(kind, service, execute, with_undo)
        }
    };
}

serve_on!(on_postgres, PostgresInbox);
serve_on!(on_sqlite, SqliteInbox);

/// A mutant: the same effects, and nothing that would keep them from being had twice.
fn without_barrier(bus: Arc<dyn EventBus>, kind: &str, books: Books) -> ServiceBuilder {
    macro_rules! execute {
        ($step:literal) => {{
            let books = books.clone();
            handler(move |job: Job, ctx: StepContext| {
                let books = books.clone();
                async move {
                    work(&job, $step, ctx.attempt).await?;
                    let done = books.execute(DO, &[&ctx.run.to_string(), $step, &job.id]).await;
                    done.map_err(|error| StepError::retry(error.to_string()))
                }
            })
        }};
    }
    macro_rules! with_undo {
        ($step:literal) => {{
            let books = books.clone();
            execute!($step).undo(move |_: Undo<Job, ()>, ctx: StepContext| {
                let books = books.clone();
                async move {
                    let undone = books.execute(UNDO, &[&ctx.run.to_string(), $step]).await;
                    undone.map_err(|error| StepError::retry(error.to_string()))
                }
            })
        }};
    }
    let service = Service::builder(bus).inbox(Arc::new(NoBarrier));
    serve_kind!(kind, service, execute, with_undo)
}
