use super::Dice;
use crate::record::{Action, FenceAnswer, Payload, Report, Resolution};

/// What one participant's barrier knows of a step, and whether the step's effect is there. It keeps the barrier's promises.
#[derive(Clone, Debug, Default)]
pub(super) struct Row {
    /// The step's effect is there now.
    pub(super) effect: bool,
    /// How often it came about.
    pub(super) times: u32,
    /// An operator has said what the step is.
    pub(super) is_declared: bool,
    verdict: Option<(u32, Report)>,
    /// An attempt may have had an effect.
    is_doubtful: bool,
    is_undone: bool,
    is_sealed: bool,
    /// The latest round of an undo or a fence, and whether that undo failed.
    round: u32,
    has_undo_failed: bool,
}

impl Row {
    /// Does what a command asks; `None` when there is no answer. `is_faulty`: things go wrong.
    pub(super) fn answer(
        &mut self,
        action: Action,
        round: u32,
        is_faulty: bool,
        dice: &mut Dice,
    ) -> Option<Report> {
        if action == Action::Execute {
            return self.execute(round, is_faulty, dice);
        }
        if round < self.round {
            return None;
        }
        if round > self.round {
            self.round = round;
            self.has_undo_failed = false;
        }
        Some(if action == Action::Undo { self.undo(is_faulty, dice) } else { self.fence() })
    }

    fn execute(&mut self, round: u32, is_faulty: bool, dice: &mut Dice) -> Option<Report> {
        if self.is_undone {
            return Some(refused());
        }
        match &self.verdict {
            Some((of, report))
                if self.is_sealed || *of >= round || matches!(report, Report::Succeeded { .. }) =>
            {
                return Some(report.clone());
            }
            _ if self.is_sealed => return Some(refused()),
            _ => {}
        }
        let report = self.attempt(is_faulty, dice)?;
        self.verdict = Some((round, report.clone()));
        Some(report)
    }

    fn attempt(&mut self, is_faulty: bool, dice: &mut Dice) -> Option<Report> {
        let ill_luck = if is_faulty { dice.below(10) } else { 0 };
        match ill_luck {
            // A refusal is one of all attempts.
            6 if !self.is_doubtful => return Some(refused()),
            6..=8 => {
                self.is_doubtful = true;
                if dice.chance(50) {
                    self.take_effect();
                }
                return (ill_luck < 8).then(|| Report::Failed { reason: "gave up".into() });
            }
            _ => {}
        }
        self.take_effect();
        let output = if ill_luck == 9 { super::super::garbage() } else { Payload::from("5") };
        Some(Report::Succeeded { output })
    }

    /// A repeated attempt has its effect once, by its transaction or its idempotency key.
    const fn take_effect(&mut self) {
        if !self.effect {
            self.effect = true;
            self.times += 1;
        }
    }

    fn undo(&mut self, is_faulty: bool, dice: &mut Dice) -> Report {
        self.has_undo_failed |= !self.is_undone && is_faulty && dice.chance(25);
        if self.has_undo_failed {
            return Report::UndoFailed { reason: "cannot undo".into() };
        }
        self.effect = false;
        self.is_undone = true;
        Report::Undone
    }

    fn fence(&mut self) -> Report {
        self.is_sealed = true;
        let answer = match &self.verdict {
            Some((_, Report::Succeeded { output })) => FenceAnswer::Done { output: output.clone() },
            _ if self.is_doubtful => FenceAnswer::Unknown,
            _ => FenceAnswer::NoEffect,
        };
        Report::Fenced { answer }
    }

    /// An operator has seen to it, and said so.
    pub(super) const fn declare(&mut self, resolution: &Resolution) {
        self.is_declared = true;
        self.effect = matches!(resolution, Resolution::Done { .. });
    }
}

fn refused() -> Report {
    Report::Rejected { reason: "refused".into() }
}
