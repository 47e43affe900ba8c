//! The supervisor: starts the processes, breaks things for a while, heals them, waits, and judges.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::BoxFuture;
use saga::Status;
use saga::ports::{EventBus, Query, SagaLog};
use saga_conformance::proxy::Proxy;
use tokio::sync::watch;

use crate::Failure;
use crate::args::Args;
use crate::books::Books;
use crate::faults::{self, Counts};
use crate::job::Job;
use crate::judge::{Verdict, judge};
use crate::load::Placed;
use crate::participant::{GOODS, OFFICE};
use crate::process::Process;
use crate::takeover::TakeOvers;
use crate::{forget, load, takeover};

/// Once nothing is broken any more, sagas must end; what stands still for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(60);
/// While a mutant runs there is no hope to wait for.
const STUCK_AFTER_OF_MUTANT: Duration = Duration::from_secs(20);

/// From here on a run is long enough to look at several take-overs.
const LONG: Duration = Duration::from_secs(60);

/// A server is killed after half of this at the latest.
const SERVERS_LIVE_MAX: Duration = Duration::from_secs(80);

/// Runs it all, and returns whether nothing is wrong.
pub(crate) async fn run(args: &Args) -> Result<bool, Failure> {
    let kinds = [GOODS, OFFICE];
    let mut books = Vec::new();
    for kind in kinds {
        books.push(Books::make(&args.books, kind).await?);
    }
    let given = std::env::var(format!("SAGA_{}_PROXY", args.broker.to_uppercase())).ok();
    let (proxy, bus_url) = Proxy::before(&args.bus, given.as_deref()).await?;
    let bus = saga::connect(&args.bus).await?;
    load::declare(&*bus).await?;
    let log = saga::log::connect(&args.log).await?;
    let mut processes = start(args, &bus_url)?;
    let counts = Counts::default();
    let begun = Instant::now();
    let placed = Placed::default();
    let again = load::place_again(Arc::clone(&bus), Arc::clone(&log), Arc::clone(&placed));
    let again = args.forgets.then(|| tokio::spawn(again));
    attack(args, &bus, &log, &proxy, &mut processes, &counts, &placed).await?;
    let healed = heal(args, &log, &load::all(&placed)).await?;
    let taken_over = take_over(args, &bus, &mut processes, &placed).await?;
    let placed = load::all(&placed);
    heal(args, &log, &placed).await?;
    if let Some(again) = again {
        // It has no end of its own but a failure.
        if again.is_finished() {
            again.await??;
        } else {
            again.abort();
        }
    }
    // First the log, so that what it says has ended is in the books already.
    let ended = ended(&*log).await?;
    let mut lines = Vec::new();
    for books in &books {
        lines.extend(books.lines().await?);
    }
    let calls = books.last().ok_or("there are no books")?.calls().await?;
    let verdict = judge(&placed, &ended, &lines, &calls);
    tell(args, &placed, &verdict, &counts);
    println!(
        "in {:.0} s; everything had ended {healed}; {}",
        begun.elapsed().as_secs_f64(),
        taken_over.told(),
    );
    // A broker that has forgotten nothing shows nothing.
    let has_forgotten = counts.forgotten.times.load(Relaxed) > 0;
    Ok(verdict.is_good() && !taken_over.is_bad() && has_forgotten == args.forgets)
}

/// Once nothing is wrong any more, but that coordinators die, while sagas are started.
async fn take_over(
    args: &Args,
    bus: &Arc<dyn EventBus>,
    processes: &mut [Process],
    placed: &Placed,
) -> Result<TakeOvers, Failure> {
    if args.forgets {
        return Ok(TakeOvers::default());
    }
    let (stop, over) = watch::channel(false);
    let placing = tokio::spawn(load::place(Arc::clone(bus), args.rate, over, Arc::clone(placed)));
    let deaths = if args.time < LONG { 1 } else { 3 };
    let taken_over = takeover::measure(&args.log, processes, deaths).await;
    stop.send_replace(true);
    placing.await??;
    taken_over
}

/// One coordinator on SQLite, three otherwise, and two participants of each kind.
fn start(args: &Args, bus: &str) -> Result<Vec<Process>, Failure> {
    let coordinators = if args.is_on_sqlite() { 1 } else { 3 };
    let mut roles: Vec<_> = (1..=coordinators).map(|n| ("coordinator", format!("c{n}"), n)).collect();
    for kind in [GOODS, OFFICE] {
        roles.extend((1..=2).map(|n| ("participant", kind.to_owned(), n)));
    }
    let start = |(role, name, n): (&str, String, usize)| {
        let said = args.folder.join(format!("{role}-{name}-{n}.log"));
        Process::start(&format!("{role} {name}"), args.of(role, &name, bus), said)
    };
    roles.into_iter().map(start).collect()
}

/// Breaks things for as long as was asked, while sagas are started.
async fn attack(
    args: &Args,
    bus: &Arc<dyn EventBus>,
    log: &Arc<dyn SagaLog>,
    proxy: &Proxy,
    processes: &mut [Process],
    counts: &Counts,
    placed: &Placed,
) -> Result<(), Failure> {
    let (stop, over) = watch::channel(false);
    let mut attacks: Vec<BoxFuture<'_, Result<(), Failure>>> = Vec::new();
    if args.forgets {
        attacks.push(forget::again_and_again(args, processes, &counts.forgotten, over.clone()).boxed());
    } else {
        for process in processes {
            attacks.push(faults::torment(process, counts, over.clone()).boxed());
        }
        attacks.push(faults::cut(proxy, counts, over.clone()).boxed());
        // Every half a minute, and in a shorter run once at least.
        let most = args.time.min(SERVERS_LIVE_MAX) / 2;
        let restart =
            |server, counter| faults::restart(server, most / 2..most, counter, over.clone()).boxed();
        attacks.push(restart(&args.broker, &counts.broker_restarts));
        if !args.is_on_sqlite() {
            attacks.push(restart("postgres", &counts.database_restarts));
        }
    }
    let placing = load::place(Arc::clone(bus), args.rate, over.clone(), Arc::clone(placed));
    let placing = tokio::spawn(placing);
    let timing = async {
        let begun = Instant::now();
        while begun.elapsed() < args.time {
            tokio::time::sleep(Duration::from_secs(10).min(args.time)).await;
            let count = match ended(&**log).await {
                Ok(ended) => ended.len().to_string(),
                Err(why) => format!("an unknown number of ({why})"),
            };
            let (kills, pauses) = (counts.kills.load(Relaxed), counts.pauses.load(Relaxed));
            println!(
                "{:>4.0} s: {count} sagas in the log, {kills} kills, {pauses} pauses",
                begun.elapsed().as_secs_f64()
            );
        }
        stop.send_replace(true);
    };
    let (attacked, ()) = tokio::join!(faults::all(attacks), timing);
    attacked?;
    placing.await?
}

/// Waits until every saga that was placed has ended, and says how long that took.
async fn heal(args: &Args, log: &Arc<dyn SagaLog>, placed: &[Job]) -> Result<String, Failure> {
    let begun = Instant::now();
    let limit = if args.mutant.is_some() { STUCK_AFTER_OF_MUTANT } else { STUCK_AFTER };
    let (mut fewest, mut progress) = (usize::MAX, Instant::now());
    loop {
        let ended = ended(&**log).await?;
        let is_over = |job: &Job| {
            ended.get(&job.id).is_some_and(|status| status.is_ended() || *status == Status::Parked)
        };
        let open = placed.iter().filter(|job| !is_over(job)).count();
        if open == 0 {
            // The last callbacks.
            tokio::time::sleep(Duration::from_secs(3)).await;
            return Ok(format!("{:.1} s after the last fault", begun.elapsed().as_secs_f64()));
        }
        if open < fewest {
            (fewest, progress) = (open, Instant::now());
        }
        if progress.elapsed() > limit {
            return Ok(format!("but for {open} sagas, of which none has ended for {limit:?}"));
        }
        println!("healed: {open} of {} are still under way", placed.len());
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

/// What the log says of every saga, page by page.
pub(crate) async fn ended(log: &dyn SagaLog) -> Result<HashMap<String, Status>, Failure> {
    const PAGE: usize = 1_000;
    const BACK_WITHIN: Duration = Duration::from_secs(30);
    let begun = Instant::now();
    let mut all = HashMap::new();
    let mut query = Query { limit: PAGE, ..Query::default() };
    loop {
        let page = match log.list(query.clone()).await {
            // The database was just killed, and is on its way back.
            Err(error) if error.is_retryable() && begun.elapsed() < BACK_WITHIN => {
                tokio::time::sleep(Duration::from_millis(200)).await;
                continue;
            }
            listed => listed?,
        };
        let is_last = page.len() < PAGE;
        query.after = page.last().map(|summary| summary.key.clone());
        all.extend(page.into_iter().map(|summary| (summary.key.id.to_string(), summary.status)));
        if is_last {
            return Ok(all);
        }
    }
}

fn tell(args: &Args, placed: &[Job], verdict: &Verdict, counts: &Counts) {
    let mutant = args.mutant.map_or_else(String::new, |mutant| format!(", mutant {}", mutant.name()));
    let log = if args.is_on_sqlite() { "sqlite" } else { "postgres" };
    println!("\n{} and {log}{mutant}: {} started", args.broker, placed.len());
    let ends =
        [("completed", verdict.completed), ("rolled back", verdict.rolled_back), ("parked", verdict.parked)];
    ends.iter().for_each(|(what, count)| println!("{count:>8} {what}"));
    for (what, jobs) in verdict.wrong() {
        println!("{:>8} {what}", jobs.len());
        jobs.iter().take(5).for_each(|job| println!("{:>8} {job}", ""));
    }
    let faults = [
        ("kill -9", &counts.kills),
        ("pauses beyond lease and claim", &counts.pauses),
        ("cuts", &counts.cuts),
        ("half-open connections", &counts.half_opens),
        ("restarts of the broker", &counts.broker_restarts),
        ("restarts of the database", &counts.database_restarts),
    ];
    let faults: Vec<_> =
        faults.iter().map(|(what, count)| format!("{} {what}", count.load(Relaxed))).collect();
    println!("faults: {}", faults.join(", "));
    if args.forgets {
        let (times, messages) = (&counts.forgotten.times, &counts.forgotten.messages);
        println!(
            "the broker forgot {} times, {} unsettled messages that are known of",
            times.load(Relaxed),
            messages.load(Relaxed)
        );
    }
    println!("schemas begin with {}", args.books.run);
}
