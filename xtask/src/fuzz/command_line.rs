/// How the command is called.
pub(crate) const USAGE: &str = "\
Usage: cargo xtask fuzz [--minutes N | --seconds N] [TARGET...]
       cargo xtask fuzz TARGET --input FILE

Feeds bytes, guided by coverage, to everything that reads bytes from outside, all targets side by side, ten minutes if not told
otherwise. Begins with the seeds in fuzz/corpus and with what earlier runs found. With --input, one input once more.";

const SECONDS: u64 = 600;

/// What is to be run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) targets: Vec<String>,
    pub(crate) seconds: u64,
    pub(crate) input: Option<String>,
}

impl Plan {
    /// Everything, for so long.
    pub(crate) const fn all(seconds: u64) -> Self {
        Self { targets: Vec::new(), seconds, input: None }
    }
}

/// Reads the command's words.
pub(crate) fn chosen(words: &[&str]) -> Result<Plan, String> {
    let mut plan = Plan::all(SECONDS);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} wants a value"));
        let number = |text: &str| {
            text.parse::<u64>()
                .ok()
                .filter(|n| *n > 0)
                .ok_or_else(|| format!("{text:?} is no number above 0"))
        };
        match *word {
            "--minutes" => plan.seconds = number(value()?)?.saturating_mul(60),
            "--seconds" => plan.seconds = number(value()?)?,
            "--input" => plan.input = Some((*value()?).to_owned()),
            option if option.starts_with('-') => return Err(format!("there is no option {option}")),
            target => plan.targets.push(target.to_owned()),
        }
    }
    Ok(plan)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_make_a_plan() {
        assert_eq!(chosen(&[]), Ok(Plan::all(600)));
        let plan = chosen(&["--minutes", "2", "kafka", "nats"]).unwrap();
        assert_eq!((plan.seconds, plan.targets), (120, vec!["kafka".to_owned(), "nats".to_owned()]));
        assert_eq!(chosen(&["kafka", "--input", "f"]).unwrap().input.as_deref(), Some("f"));
        for wrong in [&["--minutes"][..], &["--minutes", "0"], &["--seconds", "x"], &["--fast"]] {
            assert!(chosen(wrong).is_err(), "{wrong:?}");
        }
    }
}
