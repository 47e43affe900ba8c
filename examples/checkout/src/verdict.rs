//! The end of a run: what has become of the orders, the books, and whether all is as it must be.

use crate::books::Failure;
use crate::desk::Desk;
use crate::endpoint::Endpoint;
use crate::show::Tone;
use crate::tally::grouped;

/// Shows everything and returns whether it is right.
pub(crate) async fn show(
    desk: &Desk,
    endpoint: Option<&Endpoint>,
    dead_letters: usize,
) -> Result<bool, Failure> {
    let screen = &desk.screen;
    if !screen.is_live() {
        desk.tally().summary(dead_letters).iter().for_each(|line| screen.line(line));
    }
    screen.line("\nbooks");
    desk.books.lines().await?.iter().for_each(|line| screen.line(line));
    let sales = std::mem::take(&mut desk.tally().sales);
    let differences = desk.books.differences(&sales).await?;
    let faults = faults(desk, endpoint, differences);
    for fault in &faults {
        screen.verdict(Tone::Bad, format_args!("wrong: {fault}"));
    }
    if faults.is_empty() {
        screen.verdict(
            Tone::Good,
            "the books are right: once each for a completed order, nothing for any other",
        );
    }
    Ok(faults.is_empty() && desk.tally().bad_lines == 0)
}

fn faults(desk: &Desk, endpoint: Option<&Endpoint>, differences: Vec<String>) -> Vec<String> {
    let tally = desk.tally();
    let mut faults = tally.faults();
    if tally.all_ended.is_some() {
        faults.extend(differences);
    } else {
        faults.push("interrupted before all orders had ended, so the books are not checked".to_owned());
    }
    let waiting = desk.call.waiting();
    let problem = desk.call.with(|calls| calls.problem.clone()).unwrap_or_default();
    if waiting > 0 {
        faults.push(format!("{} completion calls have no answer: {problem}", grouped(waiting as u64)));
    }
    let (answered, refused) = desk.call.with(|calls| (calls.answered, calls.refused));
    if refused > 0 {
        faults.push(format!("{} completion calls were refused: {problem}", grouped(refused)));
    }
    if let Some(endpoint) = endpoint.filter(|endpoint| endpoint.received() != answered) {
        let received = grouped(endpoint.received());
        faults.push(format!("{received} completion calls were received, but {} answered", grouped(answered)));
    }
    faults
}
