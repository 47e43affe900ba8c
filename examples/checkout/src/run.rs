//! A run: the service with the coordinator and all four sub-cases, the orders, and the verdict.

use std::collections::HashSet;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use saga::Service;
use saga::participant::ServeOptions;
use saga::ports::SagaLog;
use saga::record::Topic;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::args::Args;
use crate::books::{Books, Failure, Place};
use crate::bus::{Bus, DEAD_LETTERS_MAX};
use crate::callback::CompletionCall;
use crate::checkout::{self, COORDINATORS, ORDER_PLACED, Rules};
use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::lines::Lines;
use crate::news::News;
use crate::show::{Screen, Tone};
use crate::sub_case::Stand;
use crate::trouble::{Plan, SubCase, Troubles};
use crate::{progress, verdict};

/// Places the orders, waits until all have ended and all completion calls are answered, and returns whether everything came out as it
/// should.
pub(crate) async fn run(
    args: Args,
    lines: Lines,
    screen: Screen,
    interrupted: impl Future<Output = ()>,
) -> Result<bool, Failure> {
    let (endpoint, call) = match args.callback {
        Some(call) => (None, call),
        None => {
            let endpoint = Endpoint::listen(&args.listen, screen.clone()).await?;
            let call = CompletionCall::new(&endpoint.url)?;
            (Some(endpoint), call)
        }
    };
    let bus = Bus::open(&args.bus).await?;
    let mut news = if screen.is_live() { Some(News::follow(&*bus.events, &screen).await?) } else { None };
    let limits = Limits::of(&args.plan, screen.is_live(), bus.is_shared, &args.books);
    let rules = Rules { policy: args.policy, step_deadline: limits.step_deadline };
    let log = saga::log::connect(&args.log).await?;
    let troubles = Arc::new(Troubles::new(args.plan, screen.is_live()));
    let events = Arc::clone(&bus.events);
    let stand = Stand { bus: events, place: args.books, troubles, screen, serve: limits.serve };
    let (desk, services) = open(rules, stand, log, call).await?;

    desk.declare().await?;
    let (stop, stopped) = watch::channel(());
    let mut serving = tokio::spawn(serve_all(services, stopped));
    let begun = Instant::now();
    let orders = async {
        desk.place_all(lines).await?;
        desk.tally().all_ended = Some(begun.elapsed());
        if let Some(news) = &mut news {
            news.first().await;
        }
        desk.call.all_answered().await;
        if endpoint.is_none() && desk.call.with(|calls| calls.answered > 0) {
            desk.screen.happened("completion call", Tone::Good, "answered");
        }
        Ok::<_, std::io::Error>(())
    };
    tokio::select! {
        ended = orders => ended?,
        () = interrupted => {}
        ended = &mut serving => {
            ended??;
            return Err("the service ended before the orders did".into());
        }
        () = progress::show(&desk, begun) => unreachable!("it goes on for ever"),
    }
    let dead_letters = dead_letters(&bus, &desk).await?;
    // What is under way is finished before `run` returns.
    drop(stop);
    serving.await??;
    verdict::show(&desk, endpoint.as_ref(), dead_letters).await
}

/// All in one process: the service of the coordinator, and one for each sub-case. They meet on the bus only, so each could as well be in
/// another process.
pub(crate) async fn open(
    rules: Rules,
    stand: Stand,
    log: Arc<dyn SagaLog>,
    call: CompletionCall,
) -> Result<(Arc<Desk>, Vec<Service>), Failure> {
    let saga = checkout::definition(rules, Arc::new(call.clone()))?;
    let coordinator = Service::builder(Arc::clone(&stand.bus)).log(log).coordinate(&saga).build()?;
    let sagas = coordinator.sagas(&saga)?;
    let (mut services, mut books) = (vec![coordinator], Vec::new());
    for case in SubCase::ALL {
        let (service, book) = stand.open(case).await?;
        services.push(service);
        books.push(book);
    }
    let desk = Desk {
        sagas,
        bus: stand.bus,
        books: Books::new(books),
        troubles: stand.troubles,
        call,
        screen: stand.screen,
        tally: Mutex::default(),
        placing: watch::Sender::new(HashSet::new()),
    };
    Ok((Arc::new(desk), services))
}

/// Runs all until the other end of `stop` is gone, or one of them fails.
pub(crate) async fn serve_all(services: Vec<Service>, stop: watch::Receiver<()>) -> Result<(), Failure> {
    let mut serving = JoinSet::new();
    for service in services {
        let mut stop = stop.clone();
        serving.spawn(service.run(async move { while stop.changed().await.is_ok() {} }));
    }
    while let Some(ended) = serving.join_next().await {
        ended??;
    }
    Ok(())
}

/// How long things may take in this run.
pub(crate) struct Limits {
    pub(crate) step_deadline: Duration,
    pub(crate) serve: ServeOptions,
}

impl Limits {
    /// The library's own, but for some cases: where books are in a database, where somebody watches, and where answers are lost, which are
    /// waited for in vain.
    pub(crate) fn of(plan: &Plan, is_live: bool, is_shared: bool, books: &Place) -> Self {
        let step_deadline = Duration::from_secs(match (plan.has_silent(), is_live) {
            // A broker may be away for a while, and that is no reason to undo anything.
            (false, _) if is_shared => 120,
            (false, _) => 30,
            (true, true) => 1,
            // Among many orders others must not miss it only because this machine is busy.
            (true, false) => 3,
        });
        let mut serve = ServeOptions::default();
        if books.lasts() {
            // A handler's transaction is over after 5 s, so nobody needs to wait longer than this for one whose process has died.
            serve.claim_hold = Duration::from_secs(7) + plan.slowest();
            serve.claim_margin = Duration::from_secs(1);
            // Each holds a connection, of which there are eight; those who claim and who read the books need some, too.
            serve.concurrency = 6;
        } else if is_live || plan.has_silent() {
            // A sub-case that hangs is cut off, and only then is it undone: two can never work on one order at once.
            serve.claim_hold = Duration::from_millis(if is_live { 600 } else { 1_800 }) + plan.slowest();
            serve.claim_margin = Duration::from_millis(100);
        }
        Self { step_deadline, serve }
    }
}

/// How many dead letters there are on the topic of the orders: one for each bad line. The coordinator reads them some time after they
/// were published, so they are waited for.
async fn dead_letters(bus: &Bus, desk: &Desk) -> Result<usize, saga::Error> {
    const WAIT_MAX: Duration = Duration::from_secs(10);
    let topic = Topic::new(ORDER_PLACED).expect("it is a name");
    let expected = usize::try_from(desk.tally().bad_lines).unwrap_or(usize::MAX).min(DEAD_LETTERS_MAX);
    let begun = Instant::now();
    loop {
        let letters = bus.admin.dead_letters(&topic, COORDINATORS, DEAD_LETTERS_MAX).await?;
        let found = letters.len();
        if found >= expected {
            return Ok(found);
        }
        if begun.elapsed() > WAIT_MAX {
            desk.tally().fault(format!("{expected} dead letters were expected, and {found} are there"));
            return Ok(found);
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
