//! A run: the service with the coordinator and all four sub-cases, the orders, and the verdict.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use saga::Service;
use saga::memory::{InboxLimits, MemoryInbox, TokioClock};
use saga::participant::ServeOptions;
use saga::ports::SagaLog;
use saga::record::Topic;
use tokio::sync::{oneshot, watch};

use crate::args::Args;
use crate::books::Books;
use crate::bus::{Bus, DEAD_LETTERS_MAX};
use crate::callback::CompletionCall;
use crate::checkout::{self, COORDINATORS, ORDER_PLACED, Rules};
use crate::confirmation::{CONFIRMATION, Confirmation};
use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::history::{HISTORY, History};
use crate::inventory::{INVENTORY, Inventory};
use crate::lines::Lines;
use crate::news::News;
use crate::payment::{PAYMENT, Payment};
use crate::show::{Screen, Tone};
use crate::trouble::{Plan, SubCase, Trouble, Troubles};
use crate::{progress, verdict};

type Failure = Box<dyn StdError + Send + Sync>;

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
    let limits = Limits::of(&args.plan, screen.is_live(), bus.is_shared);
    let rules = Rules { policy: args.policy, step_deadline: limits.step_deadline };
    let log = saga::log::connect(&args.log).await?;
    let (desk, service) = open(rules, args.plan, limits.serve, &bus, log, call, screen)?;

    desk.declare().await?;
    let (stop, stopped) = oneshot::channel::<()>();
    let mut serving = tokio::spawn(service.run(async {
        // Told, or the teller is gone: either way it is time to stop.
        let _either = stopped.await;
    }));
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
    let _it_ended_by_itself = stop.send(());
    serving.await??;
    Ok(verdict::show(&desk, endpoint.as_ref(), dead_letters))
}

/// All in one: the coordinator and the four sub-cases in one service. They meet on the bus only, so each could as well be a
/// service of its own, in another process.
pub(crate) fn open(
    rules: Rules,
    plan: Plan,
    serve: ServeOptions,
    bus: &Bus,
    log: Arc<dyn SagaLog>,
    call: CompletionCall,
    screen: Screen,
) -> Result<(Arc<Desk>, Service), Failure> {
    let saga = checkout::definition(rules, Arc::new(call.clone()))?;
    let troubles = Arc::new(Troubles::new(plan, screen.is_live()));
    let trouble = |case| Trouble::new(Arc::clone(&troubles), case, screen.clone());
    let inventory = Arc::new(Inventory::new(trouble(SubCase::Inventory), screen.clone()));
    let payment = Arc::new(Payment::new(trouble(SubCase::Payment), screen.clone()));
    let history = Arc::new(History::new(trouble(SubCase::History), screen.clone()));
    let confirmation = Arc::new(Confirmation::new(trouble(SubCase::Confirmation), screen.clone()));

    let service = Service::builder(Arc::clone(&bus.events))
        .log(log)
        .coordinate(&saga)
        .inbox(Arc::new(inbox()))
        .serve_with(&INVENTORY, Arc::clone(&inventory), serve.clone())
        .serve_with(&PAYMENT, Arc::clone(&payment), serve.clone())
        .serve_with(&HISTORY, Arc::clone(&history), serve.clone())
        .serve_with(&CONFIRMATION, Arc::clone(&confirmation), serve)
        .build()?;
    let desk = Desk {
        sagas: service.sagas(&saga)?,
        bus: Arc::clone(&bus.events),
        books: Books(vec![inventory, payment, history, confirmation]),
        troubles,
        call,
        screen,
        tally: Mutex::default(),
        placing: watch::Sender::new(HashSet::new()),
    };
    Ok((Arc::new(desk), service))
}

/// How long things may take in this run.
pub(crate) struct Limits {
    pub(crate) step_deadline: Duration,
    pub(crate) serve: ServeOptions,
}

impl Limits {
    /// The library's own, but for two cases: where somebody watches, and where answers are lost, which are waited for in vain.
    pub(crate) fn of(plan: &Plan, is_live: bool, is_shared: bool) -> Self {
        let step_deadline = Duration::from_secs(match (plan.has_silent(), is_live) {
            // A broker may be away for a while, and that is no reason to undo anything.
            (false, _) if is_shared => 120,
            (false, _) => 30,
            (true, true) => 1,
            // Among many orders others must not miss it only because this machine is busy.
            (true, false) => 3,
        });
        let mut serve = ServeOptions::default();
        if is_live || plan.has_silent() {
            // A sub-case that hangs is cut off, and only then is it undone: two can never work on one order at once.
            serve.claim_hold = Duration::from_millis(if is_live { 600 } else { 1_800 }) + plan.slowest();
            serve.claim_margin = Duration::from_millis(100);
        }
        Self { step_deadline, serve }
    }
}

/// What the sub-cases remember of commands, so that none is done twice. Commands of this run live for seconds, so rows for the newest
/// few thousand orders are enough, however many there are.
pub(crate) fn inbox() -> MemoryInbox {
    let limits = InboxLimits { rows_kept_for: Duration::from_secs(600), rows_max: 20_000 };
    MemoryInbox::with_limits(Arc::new(TokioClock::new()), limits)
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
