use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use crate::memory::lock;
use crate::record::Action;

/// What goes wrong with the messages of one step. Given to [`Harness::fault`](super::Harness::fault).
///
/// It strikes the commands to execute the step, or their replies; after [`of_undo`](Self::of_undo), those to undo or fence it. It strikes
/// every message of that kind, or in each saga the [`first`](Self::first) few.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "give it to `Harness::fault`"]
pub struct Fault {
    pub(super) harm: Harm,
    pub(super) on_replies: bool,
    pub(super) on_undo: bool,
    pub(super) times: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Harm {
    Lose,
    Duplicate,
    Delay(Duration),
}

impl Fault {
    /// Commands never reach the participant: it never runs.
    pub const fn lose_commands() -> Self {
        Self::new(Harm::Lose, false)
    }

    /// Replies never reach the coordinator: the participant has done it, and nobody hears of it.
    pub const fn lose_replies() -> Self {
        Self::new(Harm::Lose, true)
    }

    /// Commands arrive twice.
    pub const fn duplicate_commands() -> Self {
        Self::new(Harm::Duplicate, false)
    }

    /// Replies arrive twice.
    pub const fn duplicate_replies() -> Self {
        Self::new(Harm::Duplicate, true)
    }

    /// Commands arrive later by this.
    pub const fn delay_commands(by: Duration) -> Self {
        Self::new(Harm::Delay(by), false)
    }

    /// Replies arrive later by this.
    pub const fn delay_replies(by: Duration) -> Self {
        Self::new(Harm::Delay(by), true)
    }

    /// Only the first `times` messages in each saga; those that are sent again count.
    pub const fn first(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    /// Strikes the undo, or the fence, of the step instead.
    pub const fn of_undo(mut self) -> Self {
        self.on_undo = true;
        self
    }

    const fn new(harm: Harm, on_replies: bool) -> Self {
        Self { harm, on_replies, on_undo: false, times: None }
    }
}

/// The faults of all steps, and how often each has struck.
#[derive(Debug, Default)]
pub(super) struct Plan(Mutex<Vec<Planned>>);

#[derive(Debug)]
struct Planned {
    step: String,
    fault: Fault,
    /// By run id.
    struck: HashMap<String, u32>,
}

/// Whose message is being sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<'a> {
    pub(super) run: &'a str,
    pub(super) step: &'a str,
    pub(super) action: Action,
    pub(super) is_reply: bool,
}

impl Plan {
    pub(super) fn add(&self, step: &str, fault: Fault) {
        lock(&self.0).push(Planned { step: step.to_owned(), fault, struck: HashMap::new() });
    }

    pub(super) fn clear(&self) {
        lock(&self.0).clear();
    }

    /// What happens to this message.
    pub(super) fn strike(&self, sent: Sent<'_>) -> Vec<Harm> {
        let mut plan = lock(&self.0);
        let struck = plan.iter_mut().filter_map(|planned| planned.strike(sent));
        struck.collect()
    }
}

impl Planned {
    fn strike(&mut self, sent: Sent<'_>) -> Option<Harm> {
        let is_undo = sent.action != Action::Execute;
        let hits =
            self.step == sent.step && self.fault.on_replies == sent.is_reply && self.fault.on_undo == is_undo;
        if !hits {
            return None;
        }
        let times = self.struck.entry(sent.run.to_owned()).or_default();
        if self.fault.times.is_some_and(|max| *times >= max) {
            return None;
        }
        *times += 1;
        Some(self.fault.harm)
    }
}
