//! What is explored: a definition, how its participants commit, and how much may go wrong.

use std::time::Duration;

use saga_core::definition::FailurePolicy;
use saga_core::{Kind, Timestamp};

/// A step of a definition to be explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) kind: Kind,
    /// Places of the steps it waits for.
    pub(crate) after: &'static [usize],
    pub(crate) deadline: Option<Duration>,
}

/// How a participant's effect and its barrier row go together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Handlers {
    /// They commit together: the handler runs in the barrier's transaction.
    Transactional,
    /// The claim is stored first; then effect and row commit together, if the claim still has the row.
    Claimed,
    /// The effect is outside, under an idempotency key; claims can run out under their claimants.
    Keyed,
}

/// Something that can go wrong, or that somebody can do. Each has a budget in every configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A handler refuses.
    Refuse,
    /// A handler gives up, perhaps with an effect.
    Fail,
    /// An attempt is to be repeated, perhaps with an effect.
    Again,
    /// An undo fails, for good or for now.
    UndoFail,
    /// A participant crashes in the middle of a command.
    Crash,
    /// A claim's time is up while its claimant lives on.
    Expire,
    /// Someone cancels.
    Cancel,
    /// An operator's `retry`.
    Retry,
    /// An operator's `resolve`.
    Resolve,
    /// An operator's `abandon`.
    Abandon,
    /// So much time passes that every deadline counted so far is over.
    Leap,
    /// A reply that waits to be read is lost, or was never there.
    Lose,
    /// The second coordinator reads the saga, and acts on what it has read whatever happens meanwhile.
    Stale,
    /// A reply arrives where the definition is not registered.
    Hold,
    /// A participant forgets a finished row.
    Prune,
    /// The callback has no answer.
    CallbackFail,
    /// An operator's word is true when it is given, and not looked at again once the row is sealed. It may happen every time.
    Haste,
    /// A participant gives up undoing once more. It may happen every time.
    GiveUp,
}

impl Fault {
    pub(crate) const COUNT: usize = Self::GiveUp as usize + 1;
}

/// How often each fault may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left([u8; Fault::COUNT]);

impl Left {
    pub(crate) fn of(budget: &[(Fault, u8)]) -> Self {
        let mut left = Self::default();
        for (fault, times) in budget {
            left.0[*fault as usize] = *times;
        }
        left
    }

    pub(crate) const fn has(&self, fault: Fault) -> bool {
        self.0[fault as usize] > 0
    }

    pub(crate) const fn count(&self, fault: Fault) -> u8 {
        self.0[fault as usize]
    }

    /// Without what changes nothing any more once the saga has ended.
    pub(crate) fn after_the_end(mut self) -> Self {
        for fault in [Fault::Cancel, Fault::Leap, Fault::Lose, Fault::Retry, Fault::Resolve, Fault::Abandon] {
            self.0[fault as usize] = 0;
        }
        self
    }

    pub(crate) const fn take(&mut self, fault: Fault) {
        self.0[fault as usize] = self.0[fault as usize].saturating_sub(1);
    }
}

/// One exhaustive exploration.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) name: &'static str,
    pub(crate) steps: Vec<Shape>,
    pub(crate) policy: FailurePolicy,
    /// The saga's own.
    pub(crate) deadline: Option<Duration>,
    pub(crate) has_callback: bool,
    pub(crate) handlers: Handlers,
    pub(crate) budget: Vec<(Fault, u8)>,
}

/// The log's clock when the saga starts.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_millis(1_000_000);
/// How much time a leap is.
pub(crate) const LEAP: Duration = Duration::from_secs(60);
/// What the shells allow for clocks that do not agree.
pub(crate) const SLACK: Duration = Duration::from_secs(1);
/// For how long a claim holds, by the row's own clock, which only runs when the model lets a claim run out.
pub(crate) const HOLD: Duration = Duration::from_millis(1);

impl Config {
    pub(crate) fn new(
        name: &'static str,
        handlers: Handlers,
        steps: Vec<Shape>,
        budget: &[(Fault, u8)],
    ) -> Self {
        let policy = FailurePolicy::Grace(Duration::ZERO);
        Self { name, steps, policy, deadline: None, has_callback: false, handlers, budget: budget.to_vec() }
    }

    /// Those in flight may finish until the next leap.
    pub(crate) fn patient(mut self) -> Self {
        self.policy = FailurePolicy::Grace(LEAP / 2);
        self
    }

    /// The saga has a deadline, shorter than a leap.
    pub(crate) fn overdue_soon(mut self) -> Self {
        self.deadline = Some(LEAP / 3);
        self
    }

    pub(crate) const fn with_callback(mut self) -> Self {
        self.has_callback = true;
        self
    }

    pub(crate) fn has_deadlines(&self) -> bool {
        self.deadline.is_some() || self.steps.iter().any(|step| step.deadline.is_some())
    }

    /// Groups of steps that differ in nothing but their place: which of them is which makes no difference.
    pub(crate) fn classes(&self) -> Vec<Vec<usize>> {
        let dependents = |of: usize| -> Vec<usize> {
            (0..self.steps.len()).filter(|at| self.steps[*at].after.contains(&of)).collect()
        };
        let mut classes: Vec<Vec<usize>> = Vec::new();
        for at in 0..self.steps.len() {
            let like = |class: &&mut Vec<usize>| {
                self.steps[class[0]] == self.steps[at] && dependents(class[0]) == dependents(at)
            };
            match classes.iter_mut().find(like) {
                Some(class) => class.push(at),
                None => classes.push(vec![at]),
            }
        }
        classes
    }
}
