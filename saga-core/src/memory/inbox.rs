use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::{hash::FastHash, lock};
use crate::error::{Error, ErrorKind};
use crate::participant::barrier::Row;
use crate::ports::{Claim, ClaimAnswer, Clock, Completed, Completion, Inbox, Task};
use crate::record::Timestamp;
use async_trait::async_trait;

/// An [`Inbox`] in this process's memory. Cloning shares it.
///
/// It forgets everything when the process ends. A step that was dispatched before it was created is then taken as perhaps executed:
/// its undo runs with `output: None`. Use it where that is enough, and in tests.
#[derive(Clone)]
pub struct MemoryInbox {
    state: Arc<Mutex<State>>,
    clock: Arc<dyn Clock>,
    limits: InboxLimits,
}

/// How much a [`MemoryInbox`] keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboxLimits {
    /// How long a row is kept after its last change. It should be longer than commands and their dead letters live. Default: an hour.
    pub rows_kept_for: Duration,
    /// How many rows are kept; beyond, those that have not changed for the longest time go first. Rows being worked on are kept all the
    /// same. Default: a million, which is about 200 MB beside the steps' outputs.
    pub rows_max: usize,
}

impl Default for InboxLimits {
    fn default() -> Self {
        Self { rows_kept_for: Duration::from_secs(3600), rows_max: 1_000_000 }
    }
}

impl MemoryInbox {
    /// An empty inbox that keeps as much as [`InboxLimits::default`] says.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::with_limits(clock, InboxLimits::default())
    }

    /// An empty inbox that keeps this much.
    pub fn with_limits(clock: Arc<dyn Clock>, limits: InboxLimits) -> Self {
        let state = State { rows: HashMap::default(), ages: VecDeque::new(), horizon: clock.now() };
        Self { state: Arc::new(Mutex::new(state)), clock, limits }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

#[async_trait]
impl Inbox for MemoryInbox {
    async fn claim(&self, batch: Vec<Claim>) -> Vec<Result<ClaimAnswer, Error>> {
        let now = self.clock.now();
        let mut state = self.lock();
        batch.into_iter().map(|claim| Ok(state.claim(claim, &self.limits, now))).collect()
    }

    async fn complete(&self, batch: Vec<Completion>) -> Vec<Result<Completed, Error>> {
        let now = self.clock.now();
        let mut state = self.lock();
        batch.into_iter().map(|completion| state.complete(completion, now)).collect()
    }

    async fn horizon(&self) -> Result<Timestamp, Error> {
        Ok(self.lock().horizon)
    }

    async fn prune(&self, before: Timestamp) -> Result<u64, Error> {
        let now = self.clock.now();
        Ok(self.lock().prune(before, now))
    }
}

impl fmt::Debug for MemoryInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("MemoryInbox")
            .field("rows", &state.rows.len())
            .field("horizon", &state.horizon)
            .finish_non_exhaustive()
    }
}

struct State {
    rows: HashMap<Task, Kept, FastHash>,
    /// Every row once, under a time when it was not older than that: who is to be looked at next for pruning.
    ages: VecDeque<(Timestamp, Task)>,
    horizon: Timestamp,
}

struct Kept {
    row: Row,
    changed_at: Timestamp,
}

/// How many rows are looked at for pruning whenever one is added. A row is put back once or twice because it changed after it was
/// added, so more than that shrinks what has grown beyond its limit.
const LOOKS_PER_ROW: usize = 4;

impl State {
    fn claim(&mut self, mut claim: Claim, limits: &InboxLimits, now: Timestamp) -> ClaimAnswer {
        let task = claim.task.clone();
        match self.rows.entry(std::mem::replace(&mut claim.task, task)) {
            Entry::Occupied(mut known) => {
                let kept = known.get_mut();
                let answer = kept.row.claim(&claim, self.horizon, now);
                if !matches!(answer, ClaimAnswer::Busy { .. }) {
                    kept.changed_at = now;
                }
                answer
            }
            Entry::Vacant(place) => {
                let kept = place.insert(Kept { row: Row::default(), changed_at: now });
                let answer = kept.row.claim(&claim, self.horizon, now);
                self.ages.push_back((now, claim.task));
                self.prune_some(limits, now);
                answer
            }
        }
    }

    fn complete(&mut self, completion: Completion, now: Timestamp) -> Result<Completed, Error> {
        let Completion { task, token, performed } = completion;
        let Some(kept) = self.rows.get_mut(&task) else {
            let message =
                format!("the inbox has no row for step {} of run {}: it was pruned", task.step, task.run);
            return Err(Error::new(ErrorKind::NotFound, message));
        };
        kept.changed_at = now;
        Ok(kept.row.complete(token, performed, now))
    }

    fn prune_some(&mut self, limits: &InboxLimits, now: Timestamp) {
        for _ in 0..LOOKS_PER_ROW {
            let Some((seen_at, _)) = self.ages.front() else { return };
            let is_old = now.since(*seen_at) > limits.rows_kept_for;
            if !is_old && self.rows.len() <= limits.rows_max {
                return;
            }
            let (seen_at, task) = self.ages.pop_front().expect("there is a first");
            let kept = &self.rows[&task];
            if kept.row.is_held(now) {
                self.ages.push_back((now, task));
            } else if kept.changed_at > seen_at {
                self.ages.push_back((kept.changed_at, task));
            } else {
                self.horizon = self.horizon.max(after(kept.changed_at));
                self.rows.remove(&task);
            }
        }
    }

    fn prune(&mut self, before: Timestamp, now: Timestamp) -> u64 {
        let count = self.rows.len();
        let horizon = &mut self.horizon;
        self.rows.retain(|_, kept| {
            let stays = kept.changed_at >= before || kept.row.is_held(now);
            if !stays {
                *horizon = (*horizon).max(after(kept.changed_at));
            }
            stays
        });
        self.ages.retain(|(_, task)| self.rows.contains_key(task));
        (count - self.rows.len()) as u64
    }
}

/// The first moment at which a step cannot have been dispatched if its row last changed then.
fn after(changed_at: Timestamp) -> Timestamp {
    changed_at.after(Duration::from_millis(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Effects, Known, MockClock, Performed};
    use crate::record::{Action, Payload, Report, RunId};
    use std::sync::atomic::{AtomicU64, Ordering};

    const HOLD: Duration = Duration::from_millis(10);

    struct Bench {
        inbox: MemoryInbox,
        now: Arc<AtomicU64>,
    }

    fn bench(limits: InboxLimits) -> Bench {
        let now = Arc::new(AtomicU64::new(1_000));
        let mut clock = MockClock::new();
        let time = Arc::clone(&now);
        clock.expect_now().returning(move || Timestamp::from_millis(time.load(Ordering::Relaxed)));
        Bench { inbox: MemoryInbox::with_limits(Arc::new(clock), limits), now }
    }

    impl Bench {
        fn at(&self, ms: u64) {
            self.now.store(ms, Ordering::Relaxed);
        }

        async fn claim(&self, run: u128, action: Action, dispatched_at: u64) -> ClaimAnswer {
            let claim = Claim {
                task: Task { run: RunId::from_u128(run), step: "pay".into() },
                action,
                round: 1,
                known: Known::Unknown,
                dispatched_at: Timestamp::from_millis(dispatched_at),
                hold: HOLD,
                effects: Effects::Anywhere,
            };
            self.inbox.claim(vec![claim]).await.remove(0).unwrap()
        }

        async fn execute(&self, run: u128) {
            let now = self.now.load(Ordering::Relaxed);
            let ClaimAnswer::Run { token, .. } = self.claim(run, Action::Execute, now).await else {
                panic!("run {run} is not new")
            };
            let performed = Performed::Final(Report::Succeeded { output: Payload::default() });
            let task = Task { run: RunId::from_u128(run), step: "pay".into() };
            self.inbox.complete(vec![Completion { task, token, performed }]).await.remove(0).unwrap();
        }

        fn rows(&self) -> usize {
            self.inbox.lock().rows.len()
        }
    }

    #[tokio::test]
    async fn one_batch_may_claim_one_row_twice() {
        let bench = bench(InboxLimits::default());
        let task = Task { run: RunId::from_u128(1), step: "pay".into() };
        let claim = |action| Claim {
            task: task.clone(),
            action,
            round: 1,
            known: Known::Unknown,
            dispatched_at: Timestamp::from_millis(1_000),
            hold: HOLD,
            effects: Effects::Anywhere,
        };
        let answers = bench.inbox.claim(vec![claim(Action::Execute), claim(Action::Undo)]).await;
        assert!(matches!(answers[0], Ok(ClaimAnswer::Run { attempt: 1, .. })), "{answers:?}");
        assert!(matches!(answers[1], Ok(ClaimAnswer::Busy { .. })), "{answers:?}");
    }

    #[tokio::test]
    async fn a_new_inbox_does_not_vouch_for_what_was_dispatched_before_it() {
        let bench = bench(InboxLimits::default());
        assert_eq!(bench.claim(1, Action::Undo, 1_000).await, ClaimAnswer::Reply(Report::Undone));
        assert!(matches!(bench.claim(2, Action::Undo, 999).await, ClaimAnswer::Run { output: None, .. }));
    }

    #[tokio::test]
    async fn rows_that_have_not_changed_for_long_go_and_the_horizon_follows() {
        let bench =
            bench(InboxLimits { rows_kept_for: Duration::from_millis(100), ..InboxLimits::default() });
        bench.execute(1).await;
        bench.at(1_050);
        bench.execute(2).await;
        bench.at(1_101);
        bench.execute(3).await;
        assert_eq!(bench.rows(), 2);
        assert_eq!(bench.inbox.horizon().await.unwrap(), Timestamp::from_millis(1_001));
    }

    #[tokio::test]
    async fn a_row_is_as_old_as_its_last_change() {
        let bench =
            bench(InboxLimits { rows_kept_for: Duration::from_millis(100), ..InboxLimits::default() });
        bench.execute(1).await;
        bench.at(1_090);
        assert!(matches!(bench.claim(1, Action::Execute, 1_000).await, ClaimAnswer::Reply(_)));
        bench.at(1_150);
        bench.execute(2).await;
        assert!(matches!(bench.claim(1, Action::Execute, 1_000).await, ClaimAnswer::Reply(_)));
    }

    #[tokio::test]
    async fn no_more_rows_are_kept_than_allowed() {
        let bench = bench(InboxLimits { rows_max: 10, ..InboxLimits::default() });
        for run in 0..1_000 {
            bench.at(1_000 + run as u64);
            bench.execute(run).await;
            assert!(bench.rows() <= 11, "{}", bench.rows());
        }
        assert!(bench.inbox.lock().ages.len() <= 11);
        assert!(
            matches!(bench.claim(999, Action::Execute, 1_999).await, ClaimAnswer::Reply(_)),
            "the newest"
        );
        assert!(matches!(bench.claim(0, Action::Undo, 1_000).await, ClaimAnswer::Run { .. }), "the oldest");
    }

    #[tokio::test]
    async fn a_row_being_worked_on_is_never_pruned() {
        let bench = bench(InboxLimits { rows_kept_for: Duration::from_millis(1), rows_max: 1 });
        let running = bench.claim(1, Action::Execute, 1_000).await;
        assert!(matches!(running, ClaimAnswer::Run { .. }));
        bench.at(1_009);
        for run in 2..20 {
            bench.execute(run).await;
        }
        assert_eq!(
            bench.inbox.prune(Timestamp::MAX).await.unwrap() as usize,
            1,
            "only what is not worked on"
        );
        assert!(matches!(bench.claim(1, Action::Execute, 1_000).await, ClaimAnswer::Busy { .. }));
    }

    #[tokio::test]
    async fn pruning_moves_the_horizon_past_what_it_drops() {
        let bench = bench(InboxLimits::default());
        bench.execute(1).await;
        bench.at(1_010);
        bench.execute(2).await;
        assert_eq!(bench.inbox.prune(Timestamp::from_millis(1_010)).await.unwrap(), 1);
        assert_eq!(bench.inbox.horizon().await.unwrap(), Timestamp::from_millis(1_001));
        assert_eq!(bench.rows(), 1);
    }

    #[tokio::test]
    async fn completing_a_row_that_is_gone_is_an_error() {
        let bench = bench(InboxLimits::default());
        let task = Task { run: RunId::from_u128(1), step: "pay".into() };
        let completion = Completion { task, token: crate::ports::ClaimToken(2), performed: Performed::Again };
        let error = bench.inbox.complete(vec![completion]).await.remove(0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
}
