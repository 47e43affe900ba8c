//! Holds the participants' books against what the log says became of each saga.

use std::collections::{HashMap, HashSet};

use saga::Status;

use crate::books::Line;
use crate::job::{Job, STEPS};

/// What is wrong with how one saga ended, or what it did.
#[derive(Debug, Default)]
pub(crate) struct Verdict {
    pub(crate) completed: usize,
    pub(crate) rolled_back: usize,
    pub(crate) parked: usize,
    /// Without an end.
    pub(crate) stuck: Vec<String>,
    /// Placed, and the log knows nothing of it.
    pub(crate) lost: Vec<String>,
    pub(crate) doubled: Vec<String>,
    pub(crate) half_done: Vec<String>,
    /// Completed although it was refused.
    pub(crate) wrongly_completed: Vec<String>,
    /// Completed, and the callback was not made, or with several ids.
    pub(crate) wrongly_called: Vec<String>,
}

impl Verdict {
    pub(crate) fn is_good(&self) -> bool {
        self.wrong().iter().all(|(_, jobs)| jobs.is_empty()) && self.completed > 0 && self.rolled_back > 0
    }

    pub(crate) fn wrong(&self) -> [(&'static str, &Vec<String>); 6] {
        [
            ("stuck", &self.stuck),
            ("lost", &self.lost),
            ("double effects", &self.doubled),
            ("half-done ends", &self.half_done),
            ("completed against a refusal", &self.wrongly_completed),
            ("completed without one callback id", &self.wrongly_called),
        ]
    }
}

/// Judges every job that was placed.
pub(crate) fn judge(
    placed: &[Job],
    ended: &HashMap<String, Status>,
    lines: &[Line],
    calls: &[(String, String)],
) -> Verdict {
    let mut verdict = Verdict::default();
    let mut done: HashMap<&str, Vec<&Line>> = HashMap::new();
    for line in lines {
        done.entry(&line.job).or_default().push(line);
        if line.did > 1 || line.undid > line.did {
            verdict
                .doubled
                .push(format!("{} of {}: {} done, {} undone", line.step, line.job, line.did, line.undid));
        }
    }
    let mut called: HashMap<&str, HashSet<&str>> = HashMap::new();
    for (id, job) in calls {
        called.entry(job).or_default().insert(id);
    }
    for job in placed {
        let id = job.id.as_str();
        let lines = done.get(id).map_or(&[][..], Vec::as_slice);
        match ended.get(id) {
            None => verdict.lost.push(id.to_owned()),
            Some(Status::Completed) => {
                verdict.completed += 1;
                let is_done =
                    |step: &str| lines.iter().any(|line| line.step == step && line.did > line.undid);
                if !STEPS.iter().all(|step| is_done(step)) {
                    verdict.half_done.push(format!("{id} completed: {lines:?}"));
                }
                if job.refused_by.is_some() {
                    verdict.wrongly_completed.push(id.to_owned());
                }
                if called.get(id).map_or(0, HashSet::len) != 1 {
                    verdict.wrongly_called.push(format!("{id}: {:?}", called.get(id)));
                }
            }
            Some(Status::RolledBack) => {
                verdict.rolled_back += 1;
                if lines.iter().any(|line| line.did != line.undid) {
                    verdict.half_done.push(format!("{id} rolled back: {lines:?}"));
                }
            }
            Some(Status::Parked) => verdict.parked += 1,
            Some(other) => verdict.stuck.push(format!("{id} is {other}")),
        }
    }
    verdict
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(job: &str, step: &str, did: i64, undid: i64) -> Line {
        Line { job: job.to_owned(), step: step.to_owned(), did, undid }
    }

    #[test]
    fn everything_wrong_is_found() {
        let job = |id: &str, refused_by: Option<&str>| Job {
            id: id.to_owned(),
            refused_by: refused_by.map(str::to_owned),
            course: None,
        };
        let all = |id: &str| STEPS.iter().map(|step| line(id, step, 1, 0)).collect::<Vec<_>>();
        let placed = [
            job("good", None),
            job("back", Some("money")),
            job("twice", None),
            job("half", None),
            job("left", None),
            job("lost", None),
            job("stuck", None),
            job("wrong", Some("stock")),
        ];
        let ended = [
            ("good", Status::Completed),
            ("back", Status::RolledBack),
            ("twice", Status::Completed),
            ("half", Status::Completed),
            ("left", Status::RolledBack),
            ("stuck", Status::Running),
            ("wrong", Status::Completed),
        ];
        let ended = ended.into_iter().map(|(id, status)| (id.to_owned(), status)).collect();
        let mut lines = ["good", "twice", "half", "wrong"].into_iter().flat_map(all).collect::<Vec<_>>();
        lines.retain(|line| !(line.job == "half" && line.step == "mail"));
        lines.push(line("back", "stock", 1, 1));
        lines.push(line("left", "stock", 1, 0));
        lines.iter_mut().filter(|line| line.job == "twice").for_each(|line| line.did = 2);
        let call = |id: &str, job: &str| (id.to_owned(), job.to_owned());
        let calls = [call("1", "good"), call("2", "twice"), call("3", "twice"), call("4", "half")];
        let verdict = judge(&placed, &ended, &lines, &calls);
        let counts = verdict.wrong().map(|(_, jobs)| jobs.len());
        assert_eq!(counts, [1, 1, 5, 2, 1, 2], "{verdict:?}");
        assert_eq!((verdict.completed, verdict.rolled_back, verdict.parked), (4, 2, 0));
        assert!(!verdict.is_good());
        let mut few = all("good");
        few.push(line("back", "stock", 1, 1));
        let good = judge(&placed[..2], &ended, &few, &calls);
        assert!(good.is_good(), "{good:?}");
    }
}
