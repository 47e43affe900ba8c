//! Running the in-memory bus: what it holds, and its dead letters.

use async_trait::async_trait;

use super::MemoryBus;
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::{
    BusAdmin, Cleanup, Compression, DeadLetter, Declaration, GroupDescription, PeekFrom, Peeked, Redriven,
    TopicDescription, TopicSpec,
};
use crate::record::Topic;

/// A topic in memory has one partition and one copy, and no settings; what asks for more is refused.
#[async_trait]
impl BusAdmin for MemoryBus {
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.connection.check_open()?;
        refuse_settings(spec)?;
        let declaration = Declaration { topic: spec.topic.clone(), kind: spec.kind, groups: Vec::new() };
        self.connection.broker.declare(&declaration)
    }

    async fn delete_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.connection.check_open()?;
        self.connection.broker.delete(topic)
    }

    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.connection.check_open()?;
        let mut topics: Vec<_> = self.connection.broker.topics().keys().cloned().collect();
        topics.sort();
        Ok(topics)
    }

    async fn describe_topic(&self, topic: &Topic) -> Result<TopicDescription, Error> {
        self.connection.check_open()?;
        let cell = self.connection.broker.topic(topic)?;
        let spec = TopicSpec {
            partitions: Some(1),
            replication: Some(1),
            compression: Some(Compression::None),
            cleanup: Some(Cleanup::Delete),
            ..TopicSpec::new(topic.clone(), cell.kind)
        };
        let mut description = TopicDescription::new(spec);
        description.messages = Some(lock(&cell.state).kept().count() as u64);
        Ok(description)
    }

    async fn peek(&self, topic: &Topic, from: PeekFrom, max: usize) -> Result<Vec<Peeked>, Error> {
        self.connection.check_open()?;
        let cell = self.connection.broker.topic(topic)?;
        let state = lock(&cell.state);
        let skipped = match from {
            PeekFrom::Earliest => 0,
            PeekFrom::Latest => state.kept().count().saturating_sub(max),
        };
        let peek = |(nth, queued): (usize, &super::group::Queued)| Peeked {
            message: queued.message.clone(),
            place: nth.to_string(),
            at: Some(queued.published_at),
        };
        Ok(state.kept().enumerate().skip(skipped).take(max).map(peek).collect())
    }

    async fn groups(&self, topic: &Topic) -> Result<Vec<GroupDescription>, Error> {
        self.connection.check_open()?;
        let cell = self.connection.broker.topic(topic)?;
        let mut groups: Vec<GroupDescription> =
            lock(&cell.state).groups.iter().filter_map(super::group::GroupState::describe).collect();
        groups.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(groups)
    }

    async fn dead_letters(&self, topic: &Topic, group: &str, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.connection.check_open()?;
        self.connection.broker.check_group(topic, group)?;
        let mut letters = self.connection.broker.dead_letters(topic);
        letters.retain(|letter| &*letter.group == group);
        letters.truncate(max);
        Ok(letters)
    }

    /// It does not wait for room.
    async fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error> {
        self.connection.check_open()?;
        self.connection.broker.redrive(topic, group, max)
    }
}

fn refuse_settings(spec: &TopicSpec) -> Result<(), Error> {
    let asked = [
        ("partitions other than 1", spec.partitions.is_some_and(|partitions| partitions != 1)),
        ("replication other than 1", spec.replication.is_some_and(|copies| copies != 1)),
        ("a retention", spec.retention.is_some()),
        ("compression", spec.compression.is_some_and(|compression| compression != Compression::None)),
        ("compaction", spec.cleanup.is_some_and(|cleanup| cleanup != Cleanup::Delete)),
        ("segments", spec.segment.is_some()),
    ];
    match asked.iter().find(|(_, is_asked)| *is_asked) {
        None => Ok(()),
        Some((what, _)) => {
            let message = format!("topic {}: the in-memory bus has no {what}", spec.topic);
            Err(Error::new(ErrorKind::NotAllowed, message))
        }
    }
}
