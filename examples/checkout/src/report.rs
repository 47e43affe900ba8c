//! What each process says in the end, and the check that it all fits together.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::books::{Book, Failure, Sales, Totals};
use crate::confirmation::CONFIRMATION;
use crate::history::HISTORY;
use crate::inventory::INVENTORY;
use crate::payment::PAYMENT;

/// What a process reports, as JSON: `{"sub_case":"payment-validation","standing":["1","2"],"holds":{"cents":8400}}` is a whole one of a
/// sub-case, whatever language it is written in.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(crate) enum Report {
    /// A sub-case's book.
    SubCase {
        /// The contract's name.
        sub_case: String,
        /// The orders that stand in it, each as often as it does.
        standing: Vec<String>,
        holds: Totals,
    },
    /// What the shop knows of its orders.
    Shop {
        completed: Vec<String>,
        rolled_back: u64,
        /// What each sub-case must hold.
        due: BTreeMap<String, Totals>,
    },
    /// How many completion calls the coordinator has had answered, and how many orders ended.
    Coordinator { completed: u64, rolled_back: u64, parked: u64, calls_answered: u64 },
    /// How many completion calls the endpoint has received.
    Endpoint { calls_received: u64 },
}

impl Report {
    pub(crate) async fn of_book(book: &Book) -> Result<Self, Failure> {
        let (standing, holds) = (book.standing().await?, book.holds().await?);
        Ok(Self::SubCase { sub_case: book.name.to_owned(), standing, holds })
    }

    pub(crate) fn of_shop(mut completed: Vec<String>, rolled_back: u64, sales: &Sales) -> Self {
        completed.sort_unstable();
        let names = [INVENTORY.name(), PAYMENT.name(), HISTORY.name(), CONFIRMATION.name()];
        let due = names.map(|name| (name.to_owned(), sales.due(name))).into();
        Self::Shop { completed, rolled_back, due }
    }

    /// Writes it to a file.
    pub(crate) async fn write(&self, path: &Path) -> std::io::Result<()> {
        tokio::fs::write(path, serde_json::to_vec(self)?).await
    }

    async fn read(path: &Path) -> Result<Self, String> {
        let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = tokio::fs::read(path).await.map_err(|error| wrong(&error))?;
        serde_json::from_slice(&text).map_err(|error| wrong(&error))
    }
}

/// Reads reports and returns what in them is not as it must be.
pub(crate) async fn check(paths: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut reports = Vec::new();
    for path in paths {
        reports.push(Report::read(path).await?);
    }
    faults(&reports)
}

fn faults(reports: &[Report]) -> Result<Vec<String>, String> {
    let Sold { completed, rolled_back, due } = sold(reports).ok_or("the shop's report is not among them")?;
    let orders = completed.len() as u64;
    let mut faults = Vec::new();
    let mut count = |what: &str, found: u64, expected: u64| {
        if found != expected {
            faults.push(format!("{what}: {found}, not {expected}"));
        }
    };
    for report in reports {
        match report {
            Report::Shop { .. } | Report::SubCase { .. } => {}
            Report::Coordinator { completed, rolled_back: undone, parked, calls_answered } => {
                count("coordinator: completed", *completed, orders);
                count("coordinator: rolled back", *undone, rolled_back);
                count("coordinator: parked", *parked, 0);
                // At least once each: a call may be repeated until its answer is recorded.
                count(
                    "coordinator: completed orders whose call has no answer",
                    orders.saturating_sub(*calls_answered),
                    0,
                );
            }
            Report::Endpoint { calls_received } => {
                count("endpoint: completed orders without a call", orders.saturating_sub(*calls_received), 0);
            }
        }
    }
    for (name, due) in &due {
        faults.extend(book_faults(name, due, &completed, reports));
    }
    Ok(faults)
}

/// What the shops know, together.
#[derive(Default)]
struct Sold {
    completed: Vec<String>,
    rolled_back: u64,
    due: BTreeMap<String, Totals>,
}

fn sold(reports: &[Report]) -> Option<Sold> {
    let mut all: Option<Sold> = None;
    for report in reports {
        let Report::Shop { completed, rolled_back, due } = report else { continue };
        let sold = all.get_or_insert_default();
        sold.completed.extend_from_slice(completed);
        sold.rolled_back += rolled_back;
        for (name, totals) in due {
            let holds = sold.due.entry(name.clone()).or_default();
            totals.iter().for_each(|(what, count)| *holds.entry(what.clone()).or_default() += count);
        }
    }
    if let Some(sold) = &mut all {
        sold.completed.sort_unstable();
    }
    all
}

/// What is wrong with the book of this sub-case. Processes that share one report the same.
fn book_faults(name: &str, due: &Totals, completed: &[String], reports: &[Report]) -> Vec<String> {
    let of_name = |report: &Report| match report {
        Report::SubCase { sub_case, standing, holds } if sub_case == name => {
            Some(book_fault(due, completed, standing, holds))
        }
        _ => None,
    };
    let mut found: Vec<_> = reports.iter().filter_map(of_name).collect();
    if found.is_empty() {
        found.push(Some("there is no report of it".to_owned()));
    }
    found.into_iter().flatten().map(|fault| format!("{name}: {fault}")).collect()
}

fn book_fault(due: &Totals, completed: &[String], standing: &[String], holds: &Totals) -> Option<String> {
    if holds != due {
        return Some(format!("it holds {holds:?}, but the completed orders come to {due:?}"));
    }
    let mut standing = standing.to_vec();
    standing.sort_unstable();
    (standing != *completed).then(|| {
        format!(
            "{} orders stand in it, and not those {} that were completed",
            standing.len(),
            completed.len()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Report {
        serde_json::from_str(json).unwrap()
    }

    fn right() -> Vec<Report> {
        [
            r#"{"completed":["1","2"],"rolled_back":1,"due":{"payment-validation":{"cents":30}}}"#,
            r#"{"sub_case":"payment-validation","standing":["2","1"],"holds":{"cents":30}}"#,
            r#"{"completed":2,"rolled_back":1,"parked":0,"calls_answered":2}"#,
            r#"{"calls_received":2}"#,
        ]
        .map(read)
        .into()
    }

    #[test]
    fn what_fits_together_is_right() {
        assert_eq!(faults(&right()).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn the_orders_of_several_shops_are_counted_together() {
        let mut reports = right();
        reports[1] =
            read(r#"{"sub_case":"payment-validation","standing":["2","1","0"],"holds":{"cents":35}}"#);
        reports[2] = read(r#"{"completed":3,"rolled_back":3,"parked":0,"calls_answered":3}"#);
        reports[3] = read(r#"{"calls_received":3}"#);
        assert_eq!(faults(&reports).unwrap().len(), 3, "an order that no shop knows of");
        reports.push(read(r#"{"completed":["0"],"rolled_back":2,"due":{"payment-validation":{"cents":5}}}"#));
        assert_eq!(faults(&reports).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn of_several_processes_each_must_be_right() {
        let mut reports = right();
        reports.swap(1, 3);
        reports.push(read(r#"{"sub_case":"payment-validation","standing":["1","2"],"holds":{"cents":30}}"#));
        assert_eq!(faults(&reports).unwrap(), Vec::<String>::new());
        reports.push(read(r#"{"sub_case":"payment-validation","standing":["1"],"holds":{"cents":15}}"#));
        assert_eq!(faults(&reports).unwrap().len(), 1);
    }

    #[test]
    fn each_report_is_held_against_the_shops() {
        let wrong = [
            (1, r#"{"sub_case":"payment-validation","standing":["1","2"],"holds":{"cents":15}}"#, "come to"),
            (
                1,
                r#"{"sub_case":"payment-validation","standing":["1","3"],"holds":{"cents":30}}"#,
                "not those",
            ),
            (
                1,
                r#"{"sub_case":"payment-validation","standing":["1","1","2"],"holds":{"cents":30}}"#,
                "3 orders",
            ),
            (1, r#"{"sub_case":"history","standing":["1","2"],"holds":{}}"#, "no report"),
            (2, r#"{"completed":2,"rolled_back":1,"parked":1,"calls_answered":2}"#, "parked: 1, not 0"),
            (2, r#"{"completed":2,"rolled_back":0,"parked":0,"calls_answered":2}"#, "rolled back: 0, not 1"),
            (2, r#"{"completed":2,"rolled_back":1,"parked":0,"calls_answered":1}"#, "no answer: 1, not 0"),
            (3, r#"{"calls_received":1}"#, "without a call: 1, not 0"),
        ];
        for (place, json, expected) in wrong {
            let mut reports = right();
            reports[place] = read(json);
            let found = faults(&reports).unwrap();
            assert!(found.len() == 1 && found[0].contains(expected), "{json}: {found:?}");
        }
        assert!(faults(&right()[1..]).is_err());
    }
}
