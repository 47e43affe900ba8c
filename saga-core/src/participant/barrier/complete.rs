use super::{Attempts, Holder, Row, Undoing, Verdict, token};
use crate::ports::{ClaimToken, Completed, Performed};
use crate::record::{Payload, Report, Timestamp};

impl Row {
    /// Takes note of how claimed work went, and says what to answer.
    ///
    /// A report that does not answer what was claimed, such as `Undone` by an execution, counts as [`Performed::Again`].
    pub fn complete(&mut self, claimed: ClaimToken, performed: Performed, now: Timestamp) -> Completed {
        let undo = claimed.0 & 1 == 1;
        // A claim whose time is up keeps the row until someone takes it over.
        match self.holder.take_if(|holder| token(self.tokens, holder) == claimed) {
            Some(holder) if undo => self.undo_ended(holder, performed, now),
            Some(holder) => self.execution_ended(holder, performed),
            None if undo => self.late_undo(),
            None => self.late_execution(claimed, performed, now),
        }
    }

    fn execution_ended(&mut self, holder: Holder, performed: Performed) -> Completed {
        let verdict = match performed {
            Performed::Final(Report::Succeeded { output }) => Verdict::Succeeded(output),
            Performed::Final(Report::Failed { reason }) => Verdict::Failed(reason),
            Performed::Final(Report::Rejected { reason }) if !self.tainted => Verdict::Rejected(reason),
            Performed::Final(Report::Rejected { reason }) => Verdict::Failed(
                format!("refused, but an earlier attempt may have had an effect: {reason}").into(),
            ),
            Performed::Final(Report::Undone | Report::UndoFailed { .. } | Report::Fenced { .. })
            | Performed::Again => {
                self.tainted |= !holder.bound;
                return Completed::Free;
            }
        };
        self.tainted |= matches!(verdict, Verdict::Failed(_)) && !holder.bound;
        let report = verdict.report();
        self.verdict = Some(verdict);
        Completed::Reply(report)
    }

    fn undo_ended(&mut self, holder: Holder, performed: Performed, now: Timestamp) -> Completed {
        match performed {
            Performed::Final(Report::Undone) if holder.again => {
                self.undo_again(holder.round, self.succeeded_output(), now)
            }
            Performed::Final(Report::Undone) => {
                let seal = self.sealed();
                seal.undoing = Undoing::Done;
                // Should it have to be undone once more, that is a new task with attempts of its own.
                seal.undos = Attempts::default();
                Completed::Reply(Report::Undone)
            }
            Performed::Final(report @ Report::UndoFailed { .. }) => {
                if let Report::UndoFailed { reason } = &report {
                    self.sealed().undoing =
                        Undoing::Failed { round: holder.round, reason: std::sync::Arc::clone(reason) };
                }
                Completed::Reply(report)
            }
            Performed::Final(_) | Performed::Again => Completed::Free,
        }
    }

    /// Whoever took the row over undoes it, or has.
    fn late_undo(&self) -> Completed {
        if self.is_undone() { Completed::Reply(Report::Undone) } else { Completed::Overtaken }
    }

    /// An execution that had lost its row comes back. Whatever was done to the row meanwhile, its effect may be later.
    fn late_execution(&mut self, claimed: ClaimToken, performed: Performed, now: Timestamp) -> Completed {
        let bound = claimed.0 & 2 == 2;
        let may_have_effect = match &performed {
            Performed::Final(Report::Rejected { .. }) => false,
            // The effect of one that was stored with its verdict was there before any undo.
            Performed::Final(Report::Succeeded { .. }) => {
                !bound || !matches!(self.verdict, Some(Verdict::Succeeded(_)))
            }
            // A transaction that was not committed.
            Performed::Final(_) | Performed::Again => !bound,
        };
        let output = match performed {
            Performed::Final(Report::Succeeded { output }) => Some(output),
            _ => None,
        };
        let executing = self.holder.is_some_and(|holder| !holder.undo);
        if let Some(output) = &output
            && self.verdict.is_none()
            && !executing
        {
            self.verdict = Some(Verdict::Succeeded(output.clone()));
        }
        if let Some(holder) = &mut self.holder {
            holder.again |= holder.undo && may_have_effect;
        } else if may_have_effect && self.is_undone() {
            let output = output.or_else(|| self.succeeded_output());
            return self.undo_again(self.round, output, now);
        }
        match &self.verdict {
            Some(verdict) => Completed::Reply(verdict.report()),
            None => Completed::Overtaken,
        }
    }

    fn undo_again(&mut self, round: u32, output: Option<Payload>, now: Timestamp) -> Completed {
        let seal = self.sealed();
        seal.undos = Attempts::default();
        let attempt = seal.undos.next(round);
        let hold = seal.hold;
        let token = self.hold(Holder::new(crate::record::Action::Undo, round, now.after(hold), false));
        Completed::UndoAgain { token, attempt, output }
    }
}
