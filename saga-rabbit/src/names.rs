//! What topics and groups are called on the server.

use lapin::types::ShortString;
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};

/// The tiers that a message waits in for its retry, in ms, the longest first. A wait is put together from them.
pub(crate) const TIERS_MS: [u64; 6] = [600_000, 120_000, 30_000, 5_000, 1_000, 250];
/// What is appended to a group's name at most, in bytes.
const SUFFIX_MAX: usize = ".retry.600000".len();

/// A topic: the queue of its commands, or the exchange of its events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TopicName(String);

impl TopicName {
    pub(crate) fn new(prefix: &str, topic: &Topic) -> Result<Self, Error> {
        let name = format!("{prefix}{topic}");
        fits(&name, topic)?;
        Ok(Self(name))
    }

    pub(crate) fn name(&self) -> ShortString {
        self.0.as_str().into()
    }

    /// Where commands go that the server itself gives up.
    pub(crate) fn dead_exchange(&self) -> ShortString {
        format!("{}.dlx", self.0).into()
    }

    /// A queue that stays empty: its settings hold the name of the one group of a topic of commands.
    pub(crate) fn owner(&self) -> ShortString {
        format!("{}.owner", self.0).into()
    }

    pub(crate) fn group(&self, topic: &Topic, group: &str) -> Result<GroupName, Error> {
        let name = format!("{}.{group}", self.0);
        fits(&name, topic)?;
        Ok(GroupName(name))
    }
}

/// A group of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct GroupName(String);

impl GroupName {
    /// The queue of a group of events.
    pub(crate) fn queue(&self) -> ShortString {
        self.0.as_str().into()
    }

    pub(crate) fn dead(&self) -> ShortString {
        format!("{}.dlq", self.0).into()
    }

    /// The queue whose token the one reader of a group that keeps order holds.
    pub(crate) fn reader(&self) -> ShortString {
        format!("{}.reader", self.0).into()
    }

    pub(crate) fn retry(&self, tier_ms: u64) -> ShortString {
        format!("{}.retry.{tier_ms}", self.0).into()
    }
}

/// The queue that topics and groups are written down in.
pub(crate) fn registry(prefix: &str) -> ShortString {
    format!("{prefix}saga.topics").into()
}

fn fits(name: &str, topic: &Topic) -> Result<(), Error> {
    if name.len() + SUFFIX_MAX <= usize::from(u8::MAX) {
        return Ok(());
    }
    let message = format!(
        "topic {topic} cannot be on RabbitMQ: {name:?} is longer than {} bytes",
        usize::from(u8::MAX) - SUFFIX_MAX
    );
    Err(Error::new(ErrorKind::Invalid, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_what_the_protocol_has_for_them() {
        let topic = Topic::new("a.b").unwrap();
        let name = TopicName::new("dev.", &topic).unwrap();
        let group = name.group(&topic, "g 1").unwrap();
        assert_eq!(group.dead().as_str(), "dev.a.b.g 1.dlq");
        assert_eq!(group.retry(5_000).as_str(), "dev.a.b.g 1.retry.5000");
        let error = name.group(&topic, &"g".repeat(250)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        let longest = name.group(&topic, &"g".repeat(usize::from(u8::MAX) - SUFFIX_MAX - 8)).unwrap();
        assert_eq!(longest.retry(TIERS_MS[0]).as_str().len(), 255);
    }
}
