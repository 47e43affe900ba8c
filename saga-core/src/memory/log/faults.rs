use crate::error::{Error, ErrorKind};
use crate::ports::AppendError;
use crate::random::SplitMix64;

/// What goes wrong with a [`MemoryLog`](super::MemoryLog), by a seed: the same seed and the same sequence of calls make the same faults.
///
/// Each `f64` is a probability from 0 to 1; each kind of fault draws from numbers of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct LogFaults {
    /// Which faults, of all that are possible.
    pub seed: u64,
    /// Of each append: answered [`AppendError::Unknown`]; half of them took effect.
    pub unknown: f64,
    /// Of each append: answered [`AppendError::Failed`], without effect.
    pub fail: f64,
    /// Of each append: answered [`AppendError::Conflict`] without need and without effect, as if someone had been faster and then pruned.
    pub conflict: f64,
    /// Of each call but `append`: the log is away, and the call fails as [`Retry`](ErrorKind::Retry) without effect.
    pub away: f64,
}

impl LogFaults {
    /// No faults.
    pub const fn none() -> Self {
        Self::seeded(0)
    }

    /// No faults yet: to be filled in.
    pub const fn seeded(seed: u64) -> Self {
        Self { seed, unknown: 0.0, fail: 0.0, conflict: 0.0, away: 0.0 }
    }
}

/// What becomes of one append.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LogFate {
    #[default]
    Fine,
    /// Done, but the caller is not told.
    DoneUnknown,
    LostUnknown,
    Failed,
    Conflict,
}

/// Decides what goes wrong.
pub(super) struct LogFaultSource {
    faults: LogFaults,
    unknown: SplitMix64,
    fail: SplitMix64,
    conflict: SplitMix64,
    away: SplitMix64,
}

impl LogFaultSource {
    pub(super) fn new(faults: LogFaults) -> Self {
        let stream = |n| SplitMix64::stream(faults.seed, n);
        Self { unknown: stream(1), fail: stream(2), conflict: stream(3), away: stream(4), faults }
    }

    /// The fate of each append; `None` on a healthy log.
    pub(super) fn of_batch(&mut self, count: usize) -> Option<Vec<LogFate>> {
        let LogFaults { unknown, fail, conflict, .. } = self.faults;
        let faulty = [unknown, fail, conflict].iter().any(|&probability| probability > 0.0);
        faulty.then(|| (0..count).map(|_| self.of_append()).collect())
    }

    fn of_append(&mut self) -> LogFate {
        // Everything is drawn for every append, so that changing one probability leaves the other faults where they were.
        let unknown = self.unknown.chance(self.faults.unknown);
        let done = self.unknown.chance(0.5);
        let failed = self.fail.chance(self.faults.fail);
        let conflict = self.conflict.chance(self.faults.conflict);
        match (failed, conflict, unknown, done) {
            (true, ..) => LogFate::Failed,
            (_, true, ..) => LogFate::Conflict,
            (_, _, true, true) => LogFate::DoneUnknown,
            (_, _, true, false) => LogFate::LostUnknown,
            (_, _, false, _) => LogFate::Fine,
        }
    }

    pub(super) fn of_call(&mut self, call: &str) -> Result<(), Error> {
        if self.away.chance(self.faults.away) {
            let message = format!("the log is away for `{call}`: an injected fault");
            return Err(Error::new(ErrorKind::Retry, message));
        }
        Ok(())
    }
}

impl LogFate {
    /// The error that the caller sees whatever the log did.
    pub(super) fn error(self) -> Option<AppendError> {
        let injected = |kind| Error::new(kind, "an injected fault");
        match self {
            Self::Fine => None,
            Self::Conflict => Some(AppendError::Conflict),
            Self::Failed => Some(AppendError::Failed(injected(ErrorKind::Retry))),
            Self::DoneUnknown | Self::LostUnknown => Some(AppendError::Unknown(injected(ErrorKind::Unknown))),
        }
    }

    pub(super) const fn takes_effect(self) -> bool {
        matches!(self, Self::Fine | Self::DoneUnknown)
    }
}
