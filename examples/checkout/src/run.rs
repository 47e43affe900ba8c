//! A run: the service with the coordinator and all four sub-cases, the orders, and the verdict.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use saga::Service;
use saga::memory::{InboxLimits, MemoryInbox, TokioClock};
use saga::participant::ServeOptions;
use saga::ports::EventBus;
use tokio::sync::{oneshot, watch};

use crate::args::Args;
use crate::books::Books;
use crate::callback::CompletionCall;
use crate::confirmation::{CONFIRMATION, Confirmation};
use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::history::{HISTORY, History};
use crate::inventory::{INVENTORY, Inventory};
use crate::lines::Lines;
use crate::news::News;
use crate::payment::{PAYMENT, Payment};
use crate::shop::{self, Rules};
use crate::show::{Screen, Tone};
use crate::transport::{IN_MEMORY, Transport};
use crate::trouble::{Plan, SubCase, Trouble, Troubles};
use crate::{progress, verdict};

type Failure = Box<dyn StdError + Send + Sync>;

/// How long closing the bus may take.
const CLOSE_MAX: Duration = Duration::from_secs(10);

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
            let endpoint = Endpoint::listen("127.0.0.1:0", screen.clone()).await?;
            let call = CompletionCall::new(&endpoint.url)?;
            (Some(endpoint), call)
        }
    };
    let transport = Transport::open(&args.bus).await?;
    let letters_before = transport.dead_letters().await;
    let mut news = if screen.is_live() { Some(News::follow(&*transport.bus, &screen).await?) } else { None };
    let limits = Limits::of(&args.plan, screen.is_live(), args.bus != IN_MEMORY);
    let rules = Rules { policy: args.policy, step_deadline: limits.step_deadline };
    let (desk, service) = open(rules, args.plan, limits.serve, Arc::clone(&transport.bus), call, screen)?;

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
    let dead_letters = transport.new_dead_letters(letters_before, &desk).await;
    // What is under way is finished before `run` returns.
    let _it_ended_by_itself = stop.send(());
    serving.await??;
    transport.bus.close(CLOSE_MAX).await?;
    Ok(verdict::show(&desk, endpoint.as_ref(), dead_letters))
}

/// The shop opens: the coordinator and the four sub-cases in one service. They meet on the bus only, so each could as well be a
/// service of its own, in another process.
pub(crate) fn open(
    rules: Rules,
    plan: Plan,
    serve: ServeOptions,
    bus: Arc<dyn EventBus>,
    call: CompletionCall,
    screen: Screen,
) -> Result<(Arc<Desk>, Service), Failure> {
    let saga = shop::checkout(rules, Arc::new(call.clone()))?;
    let troubles = Arc::new(Troubles::new(plan, screen.is_live()));
    let trouble = |case| Trouble::new(Arc::clone(&troubles), case, screen.clone());
    let inventory = Arc::new(Inventory::new(trouble(SubCase::Inventory), screen.clone()));
    let payment = Arc::new(Payment::new(trouble(SubCase::Payment), screen.clone()));
    let history = Arc::new(History::new(trouble(SubCase::History), screen.clone()));
    let confirmation = Arc::new(Confirmation::new(trouble(SubCase::Confirmation), screen.clone()));

    let service = Service::builder(Arc::clone(&bus))
        .coordinate(&saga)
        .inbox(Arc::new(inbox()))
        .serve_with(&INVENTORY, Arc::clone(&inventory), serve.clone())
        .serve_with(&PAYMENT, Arc::clone(&payment), serve.clone())
        .serve_with(&HISTORY, Arc::clone(&history), serve.clone())
        .serve_with(&CONFIRMATION, Arc::clone(&confirmation), serve)
        .build()?;
    let desk = Desk {
        sagas: service.sagas(&saga)?,
        bus,
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
struct Limits {
    step_deadline: Duration,
    serve: ServeOptions,
}

impl Limits {
    /// The library's own, but for two cases: where somebody watches, and where answers are lost, which are waited for in vain.
    fn of(plan: &Plan, is_live: bool, has_broker: bool) -> Self {
        let step_deadline = Duration::from_secs(match (plan.has_silent(), is_live) {
            // A broker may be started again meanwhile.
            (false, _) if has_broker => 120,
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
fn inbox() -> MemoryInbox {
    let limits = InboxLimits { rows_kept_for: Duration::from_secs(600), rows_max: 20_000 };
    MemoryInbox::with_limits(Arc::new(TokioClock::new()), limits)
}
