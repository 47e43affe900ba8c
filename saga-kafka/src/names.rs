//! What topics and groups are called on the brokers.

use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};

/// How the names end of what belongs to a group.
const RETRY: &str = ".retry";
const DEAD: &str = ".dlq";
const REDRIVE: &str = ".redrive";

/// A topic as Kafka knows it.
pub(crate) fn topic(prefix: &str, topic: &Topic) -> String {
    format!("{prefix}{topic}")
}

/// A group as Kafka knows it. The topic is part of its name, so that the members of one subscription share its partitions and nobody else is
/// rebalanced with them.
pub(crate) fn group(topic: &str, group: &str) -> String {
    format!("{topic}.{group}")
}

/// Where a group's messages wait for their retry; what reads them is a group of the same name.
pub(crate) fn retry(topic: &str, group: &str) -> String {
    format!("{topic}.{group}{RETRY}")
}

/// Where a group's dead letters are.
pub(crate) fn dead(topic: &str, group: &str) -> String {
    format!("{topic}.{group}{DEAD}")
}

/// The group whose offset says how far dead letters were redriven.
pub(crate) fn redrive(topic: &str, group: &str) -> String {
    format!("{topic}.{group}{REDRIVE}")
}

/// Whether this is the name of what belongs to another group, and not of a group.
pub(crate) fn is_groups_own(group: &str) -> bool {
    [RETRY, DEAD, REDRIVE].iter().any(|end| group.ends_with(end))
}

/// A group of such a name would be one with what belongs to another.
///
/// # Errors
/// [`Invalid`](ErrorKind::Invalid) says which end is taken.
pub(crate) fn check_group(topic: &Topic, group: &str) -> Result<(), Error> {
    if !is_groups_own(group) {
        return Ok(());
    }
    let message = format!(
        "group {group} of topic {topic} cannot be called so: names that end in {RETRY}, {DEAD} or {REDRIVE} are those of a group's \
         retries, dead letters and redriving; choose another name"
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_group_is_one_with_what_belongs_to_another() {
        let named = Topic::new("orders").unwrap();
        for own in [retry("orders", "stock"), dead("orders", "stock"), redrive("orders", "stock")] {
            let taken = own.strip_prefix("orders.").unwrap();
            assert_eq!(group("orders", taken), own);
            let error = check_group(&named, taken).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.to_string().contains(taken) && error.to_string().contains("orders"), "{error}");
        }
        for free in ["stock", "retry", "stock.retries", "stock.retry.2"] {
            check_group(&named, free).unwrap();
        }
    }
}
