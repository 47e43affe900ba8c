//! One part of the checkout in a process of its own. The parts know nothing of each other but the topics.

use std::error::Error as StdError;
use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use saga::Service;
use saga::coordinator::Sagas;
use saga::record::Status;

use crate::args::{Args, Role};
use crate::bus::{Bus, MEMORY};
use crate::checkout::{self, Rules};
use crate::endpoint::Endpoint;
use crate::lines::Lines;
use crate::order::Order;
use crate::report::Report;
use crate::run::Limits;
use crate::shop;
use crate::show::Screen;
use crate::sub_case::Stand;
use crate::trouble::{SubCase, Troubles};

type Failure = Box<dyn StdError + Send + Sync>;

/// Runs the part until it is interrupted, or the shop's orders have ended; then shows and reports what it knows. Returns whether that is
/// right, as far as this part can tell.
pub(crate) async fn run(
    role: Role,
    args: Args,
    lines: Lines,
    screen: Screen,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<bool, Failure> {
    let report = args.report.clone();
    let (said, is_right) = match role {
        Role::Coordinator => (coordinate(args, &screen, interrupted).await?, true),
        Role::SubCase(case) => (serve(case, args, &screen, interrupted).await?, true),
        Role::Endpoint => (listen(&args, screen, interrupted).await?, true),
        Role::Shop => shop::run(args, lines, screen, interrupted).await?,
    };
    write(&said, report.as_deref()).await?;
    Ok(is_right)
}

async fn write(report: &Report, path: Option<&Path>) -> Result<(), Failure> {
    let Some(path) = path else { return Ok(()) };
    report.write(path).await.map_err(|error| format!("--report {}: {error}", path.display()).into())
}

/// Runs sagas for whoever places orders on the topic, and makes the completion calls.
async fn coordinate(
    args: Args,
    screen: &Screen,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Report, Failure> {
    let call = args.callback.ok_or("there is nobody to call")?;
    let bus = Bus::open(&args.bus).await?;
    let step_deadline = Limits::of(&args.plan, false, bus.is_shared, &args.books).step_deadline;
    let saga = checkout::definition(Rules { policy: args.policy, step_deadline }, Arc::new(call.clone()))?;
    let log = saga::log::connect(&args.log).await?;
    let service = Service::builder(bus.events).log(log).coordinate(&saga).build()?;
    let sagas = service.sagas(&saga)?;
    if args.log == MEMORY {
        screen.line(
            "coordinator: its saga log is in memory, so run one only; a restart forgets what is under way",
        );
    }
    service.run(interrupted).await?;
    let [completed, rolled_back, parked] = [
        count(&sagas, Status::Completed).await?,
        count(&sagas, Status::RolledBack).await?,
        count(&sagas, Status::Parked).await?,
    ];
    let calls_answered = call.with(|calls| calls.answered);
    screen.line(format_args!(
        "{completed} completed, {rolled_back} rolled back, {parked} parked; {calls_answered} completion calls answered"
    ));
    Ok(Report::Coordinator { completed, rolled_back, parked, calls_answered })
}

/// How many orders are in this state, page by page.
async fn count(sagas: &Sagas<Order>, status: Status) -> Result<u64, saga::Error> {
    const PAGE: usize = 1_000;
    let (mut count, mut last) = (0, None);
    loop {
        let page = sagas.list(Some(status), last.as_ref(), PAGE).await?;
        count += page.len() as u64;
        match page.into_iter().next_back() {
            Some(summary) => last = Some(summary.key.id),
            None => return Ok(count),
        }
    }
}

/// Serves one contract, with a book of its own, or one that it shares with others like it.
async fn serve(
    case: SubCase,
    args: Args,
    screen: &Screen,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Report, Failure> {
    let bus = Bus::open(&args.bus).await?;
    let serve = Limits::of(&args.plan, false, bus.is_shared, &args.books).serve;
    let troubles = Arc::new(Troubles::new(args.plan, false));
    let stand = Stand { bus: bus.events, place: args.books, troubles, screen: screen.clone(), serve };
    let (service, book) = stand.open(case).await?;
    if !book.lasts() {
        screen.line(format_args!(
            "{}: its inbox and its book are in memory, so run one only; a restart forgets what it has done",
            book.name
        ));
    }
    service.run(interrupted).await?;
    book.lines().await?.iter().for_each(|line| screen.line(format_args!("{}: {line}", book.name)));
    Report::of_book(&book).await
}

/// Receives the completion calls.
async fn listen(
    args: &Args,
    screen: Screen,
    interrupted: impl Future<Output = ()> + Send,
) -> Result<Report, Failure> {
    let endpoint = Endpoint::listen(&args.listen, screen.clone()).await?;
    screen.line(format_args!("endpoint: listening on {}", endpoint.url));
    interrupted.await;
    // A call that is being made now is repeated if it finds nobody.
    tokio::time::sleep(Duration::from_millis(100)).await;
    let calls_received = endpoint.received();
    screen.line(format_args!("{calls_received} completion calls received"));
    Ok(Report::Endpoint { calls_received })
}
