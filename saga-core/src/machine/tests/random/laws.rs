use std::collections::HashSet;
use std::sync::Arc;

use super::Dice;
use super::world::World;
use crate::contract::Kind;
use crate::machine::state::{Forward, Phase, Step, Undo};
use crate::machine::{Effect, Instance, Resend};
use crate::record::{Action, Entry, Fact, Status, StepIndex};

/// What holds at every moment.
impl World {
    pub(super) fn check_state(&self) {
        assert_eq!(self.live.state, self.shadow.state, "the record makes another saga than the live one");
        assert_eq!(self.live.owed(), self.shadow.owed());
        self.check_counts();
        self.check_order_of_undoing();
        self.check_wake();
    }

    fn check_counts(&self) {
        let state = &self.live.state;
        let count = |is_such: fn(&Step) -> bool| state.steps.iter().filter(|step| is_such(step)).count();
        assert_eq!(state.running, count(|step| step.forward == Forward::Running));
        assert_eq!(state.done, count(|step| matches!(step.forward, Forward::Done(_))));
        assert_eq!(state.resolving, count(|step| step.resolving.is_some()));
        assert_eq!(state.plan.open, count(|step| step.is_open_in_plan()));
        assert_eq!(state.plan.running, count(|step| matches!(step.undo, Undo::Running { .. })));
    }

    /// Nothing is undone while what depends on it may still be there; and while the pivot is in doubt, nothing else is.
    fn check_order_of_undoing(&self) {
        let definition = self.live.definition();
        if self.live.state.phase != Phase::Unwinding {
            return;
        }
        for effect in self.live.owed() {
            let Effect::Command { step, action, .. } = effect else { continue };
            assert_ne!(action, Action::Execute, "nothing is executed while unwinding");
            let is_open = |step: StepIndex| self.live.state.steps[step.at()].is_open_in_plan();
            assert!(definition.pivot.is_none_or(|pivot| pivot == step || !is_open(pivot)));
            let mut after = definition.step(step).dependents.clone();
            while let Some(dependent) = after.pop() {
                assert!(!is_open(dependent), "{step:?} is undone before {dependent:?}");
                after.extend(&definition.step(dependent).dependents);
            }
        }
    }

    fn check_wake(&self) {
        let resend = Resend::DEFAULT;
        let wake_at = self.live.wake_at(self.now, &resend);
        let status = self.live.status();
        let is_at_rest = status == Status::Parked || status.is_ended();
        assert!(is_at_rest || wake_at.is_some(), "nothing would wake it: {:#?}", self.live);
        for effect in self.live.owed() {
            let at = wake_at.expect("something is owed");
            let is_callback = matches!(effect, Effect::Callback { .. });
            assert!(!(status == Status::Parked && matches!(effect, Effect::Command { .. })));
            assert!(is_callback || at <= self.now.after(resend.max), "{effect:?} is not sent again in time");
            if self.live.owed_since(effect) == self.now && !is_callback {
                assert!(at <= self.now.after(resend.first), "{effect:?} is not sent again in time");
            }
        }
    }

    pub(super) fn check_record(&self) {
        let mut is_turned = false;
        let mut was_parked = false;
        for Entry { fact, .. } in &self.record {
            match fact {
                Fact::Failing { .. } => is_turned = true,
                Fact::WentForward => is_turned = false,
                Fact::Dispatched { step, .. } => {
                    assert!(!is_turned, "{step:?} is dispatched after a failure")
                }
                _ => {}
            }
            let is_parked = matches!(fact, Fact::Parked { .. });
            assert!(!(was_parked && is_parked), "parked twice");
            was_parked = is_parked;
        }
    }

    /// What a live coordinator performs is owed, is all that is newly owed, and each once.
    pub(super) fn check_newly_owed(&mut self) -> Vec<Effect> {
        let newly_owed = self.live.newly_owed(&self.batch);
        let owed: HashSet<_> = self.live.owed().into_iter().collect();
        let new: HashSet<_> = newly_owed.iter().copied().collect();
        assert_eq!(new.len(), newly_owed.len(), "twice: {newly_owed:?}");
        assert!(new.is_subset(&owed), "{newly_owed:?} is more than {owed:?}");
        let before: HashSet<_> = self.owed_before.iter().copied().collect();
        assert!(
            owed.difference(&before).all(|effect| new.contains(effect)),
            "{newly_owed:?} is not all of {owed:?}"
        );
        self.owed_before = self.live.owed();
        self.batch.clear();
        newly_owed
    }
}

/// What holds at the end.
impl World {
    pub(super) fn check_ending(&mut self) {
        let status = self.live.status();
        assert!(status.is_ended(), "operators cannot end it: {:#?}", self.live);
        assert!(self.live.settled().is_some(), "{:#?}", self.live);
        self.check_effects(status);
        let effects = self.effects();
        let entries = self.record.len();
        self.drain();
        assert_eq!(self.record.len(), entries, "something is recorded after the end");
        if status == Status::RolledBack {
            assert_eq!(self.effects(), effects, "something happened after it was rolled back");
        }
        self.check_round_trip();
        let again = Instance::replay(Arc::clone(self.live.definition()), &self.record).unwrap();
        assert_eq!(again.state, self.live.state);
    }

    fn effects(&self) -> Vec<bool> {
        self.rows.iter().map(|row| row.effect).collect()
    }

    fn check_effects(&self, status: Status) {
        for (at, row) in self.rows.iter().enumerate() {
            let kind = self.live.definition().steps[at].kind;
            assert!(row.times <= 1, "step {at} happened twice");
            match status {
                Status::Completed => {
                    assert!(row.effect && (row.times == 1 || row.is_declared), "step {at}: {row:?}")
                }
                Status::RolledBack => {
                    assert!(kind == Kind::NoUndo || !row.effect, "step {at} remains: {row:?}")
                }
                _ => {}
            }
        }
    }

    fn check_round_trip(&self) {
        for entry in &self.record {
            let stored = serde_json::to_string(entry).unwrap();
            assert_eq!(&serde_json::from_str::<Entry>(&stored).unwrap(), entry, "{stored}");
        }
    }

    /// Entries are lost, doubled and moved, as no machine would.
    pub(super) fn replay_spoilt(&self, dice: &mut Dice) {
        let mut record = self.record.clone();
        while !dice.is_spent() {
            let (from, to) = (dice.below(record.len()), dice.below(record.len()));
            match dice.below(3) {
                0 if record.len() > 1 => drop(record.remove(from)),
                1 => record.insert(to, record[from].clone()),
                _ => record.swap(from, to),
            }
        }
        if let Ok(saga) = Instance::replay(Arc::clone(self.live.definition()), &record) {
            assert_eq!(saga.version(), record.len() as u64);
            let _shown = (saga.view(), saga.owed(), saga.settled());
        }
    }
}
