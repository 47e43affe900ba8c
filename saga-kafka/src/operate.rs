//! Running the topics: what there is, how far groups are, dead letters.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rdkafka::admin::AdminOptions;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::groups::GroupMemberInfo;
use rdkafka::{Message as _, Offset, TopicPartitionList};
use saga_core::ports::{
    BusAdmin, Cleanup, DeadLetter, GroupDescription, GroupMember, GroupPartition, PeekFrom, Peeked, Redriven,
    TopicDescription, TopicKind, TopicSpec,
};
use saga_core::record::{Timestamp, Topic};
use saga_core::wire::{Command, attributes};
use saga_core::{Error, ErrorKind, Message};

use crate::bus::KafkaBus;
use crate::connect::{Link, blocking};
use crate::error;
use crate::names;
use crate::publish::send;
use crate::topology::{self, COMPRESSIONS, cleanup_name, compression_name};
use crate::watching::Watching;
use crate::wire::{DEAD_AT, DEAD_ATTEMPTS, Own, from_wire, to_wire};

#[async_trait]
impl BusAdmin for KafkaBus {
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.link.check_open()?;
        topology::create(&self.link, spec).await
    }

    async fn delete_topic(&self, topic: &Topic) -> Result<(), Error> {
        let name = self.existing(topic).await?;
        let groups = topology::groups_of(&self.link, &name).await?;
        let own = groups.iter().flat_map(|group| [names::retry(&name, group), names::dead(&name, group)]);
        let topics: Vec<String> = own.chain([name.clone()]).collect();
        let topics: Vec<&str> = topics.iter().map(String::as_str).collect();
        let options = AdminOptions::new().request_timeout(Some(self.link.config.request_timeout()));
        let deleted = self
            .link
            .admin
            .delete_topics(&topics, &options)
            .await
            .map_err(|error| unanswered(&name, error))?;
        for (what, code) in deleted.into_iter().filter_map(Result::err) {
            if code != RDKafkaErrorCode::UnknownTopicOrPartition {
                return Err(Error::new(
                    error::kind_of(code),
                    format!("topic {what} cannot be deleted: {code}"),
                ));
            }
        }
        self.link.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner).remove(&name);
        let groups: Vec<String> = groups
            .iter()
            .flat_map(|group| {
                [names::group(&name, group), names::retry(&name, group), names::redrive(&name, group)]
            })
            .collect();
        let groups: Vec<&str> = groups.iter().map(String::as_str).collect();
        // One that somebody still reads as cannot be deleted; without its topic it is forgotten by itself.
        let _forgotten = self.link.admin.delete_groups(&groups, &options).await;
        Ok(())
    }

    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.link.check_open()?;
        let limit = self.link.config.request_timeout();
        let metadata = self.link.ask(move |asking| asking.fetch_metadata(None, limit)).await;
        let metadata = metadata.map_err(|error| unanswered("the topics", error))?;
        let names: Vec<&str> = metadata.topics().iter().map(|topic| topic.name()).collect();
        let prefix = &*self.link.config.prefix;
        let mut topics: Vec<Topic> = names
            .iter()
            .filter(|name| !name.starts_with("__") && !is_own(name, &names))
            .filter_map(|name| Topic::new(name.strip_prefix(prefix)?).ok())
            .collect();
        topics.sort();
        Ok(topics)
    }

    async fn describe_topic(&self, topic: &Topic) -> Result<TopicDescription, Error> {
        let name = self.existing(topic).await?;
        let settings: BTreeMap<String, String> =
            topology::describe(&self.link, &name).await?.into_iter().collect();
        let ms = |name: &str| settings.get(name).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let is = |name: &str, wanted: &str| settings.get(name).is_some_and(|value| value == wanted);
        let marks = topology::watermarks(&self.link, &name).await?;
        let spec = TopicSpec {
            partitions: u32::try_from(marks.len()).ok(),
            replication: self.replicas(&name).await?,
            retention: ms("retention.ms"),
            compression: COMPRESSIONS
                .into_iter()
                .find(|known| is("compression.type", compression_name(*known))),
            cleanup: [Cleanup::Delete, Cleanup::Compact]
                .into_iter()
                .find(|known| is("cleanup.policy", cleanup_name(*known))),
            segment: ms("segment.ms"),
            // Kafka does not tell work from news.
            ..TopicSpec::new(topic.clone(), TopicKind::Events)
        };
        let mut description = TopicDescription::new(spec);
        description.messages =
            Some(marks.iter().map(|(first, end)| u64::try_from(end - first).unwrap_or_default()).sum());
        description.settings = settings;
        Ok(description)
    }

    async fn peek(&self, topic: &Topic, from: PeekFrom, max: usize) -> Result<Vec<Peeked>, Error> {
        let name = self.existing(topic).await?;
        let marks = topology::watermarks(&self.link, &name).await?;
        let share = i64::try_from(max).unwrap_or(i64::MAX);
        let starts = marks.iter().map(|(first, end)| match from {
            PeekFrom::Earliest => *first,
            PeekFrom::Latest => end.saturating_sub(share).max(*first),
        });
        let mut kept = read(
            &self.link,
            topic,
            &name,
            starts.collect(),
            marks.iter().map(|(_, end)| *end).collect(),
            max,
        )
        .await?;
        if from == PeekFrom::Latest {
            kept.sort_by_key(|kept| kept.at);
            kept.drain(..kept.len().saturating_sub(max));
        }
        let peeked = kept.into_iter().map(|kept| Peeked {
            place: format!("{}/{}", kept.partition, kept.offset),
            at: Some(kept.at),
            message: kept.message,
        });
        Ok(peeked.collect())
    }

    async fn groups(&self, topic: &Topic) -> Result<Vec<GroupDescription>, Error> {
        let name = self.existing(topic).await?;
        let mut groups = Vec::new();
        for group in topology::groups_of(&self.link, &name).await? {
            groups.push(self.describe_group(&name, &group).await?);
        }
        Ok(groups)
    }

    async fn dead_letters(&self, topic: &Topic, group: &str, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let (_, kept) = self.letters(topic, group, max).await?;
        Ok(kept.into_iter().map(|kept| letter(kept, group)).collect())
    }

    async fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error> {
        let (name, kept) = self.letters(topic, group, max).await?;
        let dead = names::dead(&name, group);
        let mut redriven = Redriven::default();
        let Some(last) = kept.last().map(|kept| kept.offset) else { return Ok(redriven) };
        for kept in kept {
            let is_command = kept.message.headers.get(attributes::TYPE) == Some(Command::TYPE);
            if is_command {
                // What was redriven is passed over from now on; what stays is written again behind it.
                self.write(&dead, &kept.message, &kept.own).await?;
                redriven.kept += 1;
            } else {
                self.write(&name, &kept.message.without_dead_attributes(), &Own::default()).await?;
                redriven.sent += 1;
            }
        }
        topology::commit(&self.link, &dead, &names::redrive(&name, group), vec![last + 1]).await?;
        Ok(redriven)
    }
}

impl KafkaBus {
    /// A topic as Kafka knows it, if it is there.
    async fn existing(&self, topic: &Topic) -> Result<String, Error> {
        self.link.check_open()?;
        let name = names::topic(&self.link.config.prefix, topic);
        match topology::partitions(&self.link, &name).await? {
            Some(_) => Ok(name),
            None => Err(Error::new(ErrorKind::NotFound, format!("topic {topic} is not there"))),
        }
    }

    async fn replicas(&self, name: &str) -> Result<Option<u16>, Error> {
        let (asked, limit) = (name.to_owned(), self.link.config.request_timeout());
        let metadata = self.link.ask(move |asking| asking.fetch_metadata(Some(&asked), limit)).await;
        let metadata = metadata.map_err(|error| unanswered(name, error))?;
        let partition = metadata.topics().first().and_then(|topic| topic.partitions().first());
        Ok(partition.and_then(|partition| u16::try_from(partition.replicas().len()).ok()))
    }

    async fn describe_group(&self, topic: &str, group: &str) -> Result<GroupDescription, Error> {
        let marks = topology::watermarks(&self.link, topic).await?;
        let committed = topology::committed(&self.link, topic, &names::group(topic, group)).await?;
        let mut description = GroupDescription::new(group);
        let number = |offset: i64| u64::try_from(offset).unwrap_or_default();
        for (partition, ((first, end), committed)) in (0..).zip(marks.into_iter().zip(committed)) {
            let lag = number(end - committed.unwrap_or(first));
            description.lag += lag;
            description.partitions.push(GroupPartition {
                partition,
                offset: committed.map(number),
                end: number(end),
                lag,
            });
        }
        let (asked, limit) = (names::group(topic, group), self.link.config.request_timeout());
        let asked = self.link.ask(move |asking| {
            let listed = asking.fetch_group_list(Some(&asked), limit)?;
            let found = listed.groups().first();
            Ok(found.map(|found| (found.state().to_owned(), found.members().iter().map(member).collect())))
        });
        if let Some((state, members)) = asked.await.map_err(|error| unanswered(topic, error))? {
            description.state = state;
            description.members = members;
        }
        Ok(description)
    }

    /// The dead letters that were not redriven, and the topic they belong to.
    async fn letters(&self, topic: &Topic, group: &str, max: usize) -> Result<(String, Vec<Kept>), Error> {
        let name = self.existing(topic).await?;
        let dead = names::dead(&name, group);
        if topology::partitions(&self.link, &dead).await?.is_none() {
            let message = format!("group {group} of topic {topic} was not declared");
            return Err(Error::new(ErrorKind::NotFound, message));
        }
        let redriven = topology::committed(&self.link, &dead, &names::redrive(&name, group)).await?;
        let marks = topology::watermarks(&self.link, &dead).await?;
        let starts =
            marks.iter().zip(redriven).map(|((first, _), redriven)| redriven.unwrap_or(*first).max(*first));
        let ends = marks.iter().map(|(_, end)| *end).collect();
        let kept = read(&self.link, topic, &dead, starts.collect(), ends, max).await?;
        Ok((name, kept))
    }

    async fn write(&self, topic: &str, message: &Message, own: &Own) -> Result<(), Error> {
        let attempts = own.dead_attempts.map(|attempts| (DEAD_ATTEMPTS, attempts.to_string()));
        let at = own.dead_at_ms.map(|at| (DEAD_AT, at.to_string()));
        let own: Vec<_> = attempts.iter().chain(&at).map(|(name, value)| (*name, &**value)).collect();
        let key = message.key.as_deref().map(str::as_bytes);
        let sent = send(&self.link, topic, key, to_wire(message, &own), message.payload.bytes()).await;
        let acked = match sent {
            Ok(sent) => sent.acked().await,
            Err(error) => Err(error),
        };
        acked.map_err(|error| {
            let text = format!("dead letter {} is not sent again to {topic}", message.id);
            Error::new(ErrorKind::Retry, text).with_source(error)
        })
    }
}

fn member(member: &GroupMemberInfo) -> GroupMember {
    GroupMember { client: member.client_id().to_owned(), host: member.client_host().to_owned() }
}

/// Whether a topic was made for the group of another one.
fn is_own(name: &str, all: &[&str]) -> bool {
    let Some(rest) = name.strip_suffix(".dlq").or_else(|| name.strip_suffix(".retry")) else { return false };
    all.iter()
        .any(|topic| rest.strip_prefix(*topic).is_some_and(|group| group.len() > 1 && group.starts_with('.')))
}

/// A message as a topic keeps it.
struct Kept {
    message: Message,
    own: Own,
    partition: i32,
    offset: i64,
    at: Timestamp,
}

/// Reads what a topic keeps from these offsets to those, at most `max` messages.
async fn read(
    link: &Link,
    topic: &Topic,
    name: &str,
    starts: Vec<i64>,
    ends: Vec<i64>,
    max: usize,
) -> Result<Vec<Kept>, Error> {
    let reading = link.as_group(&format!("{name}.peek"))?;
    let (shown, name, limit) = (topic.clone(), name.to_owned(), link.config.request_timeout());
    let what = name.clone();
    let read = blocking(move || read_blocking(&reading, &shown, &name, &starts, &ends, max, limit));
    read.await.map_err(|error| unanswered(&what, error))
}

fn read_blocking(
    reading: &BaseConsumer<Watching>,
    topic: &Topic,
    name: &str,
    starts: &[i64],
    ends: &[i64],
    max: usize,
    limit: Duration,
) -> Result<Vec<Kept>, KafkaError> {
    let mut list = TopicPartitionList::new();
    let mut open = BTreeMap::new();
    for (partition, (start, end)) in (0..).zip(starts.iter().zip(ends)) {
        if start < end {
            list.add_partition_offset(name, partition, Offset::Offset(*start))?;
            open.insert(partition, *end);
        }
    }
    reading.assign(&list)?;
    let mut kept = Vec::new();
    let mut heard = Instant::now();
    while kept.len() < max && !open.is_empty() {
        let Some(message) = reading.poll(Duration::from_millis(100)) else {
            // The end of a transaction takes a place and is no message; so what is left may be none.
            let quiet = heard.elapsed();
            if quiet > limit || (quiet > Duration::from_secs(1) && at_ends(reading, &open)?) {
                break;
            }
            continue;
        };
        let message = message?;
        heard = Instant::now();
        let (partition, offset) = (message.partition(), message.offset());
        if open.get(&partition).is_none_or(|end| offset >= *end) {
            continue;
        }
        if open[&partition] == offset + 1 {
            open.remove(&partition);
        }
        let at = message.timestamp().to_millis().and_then(|ms| u64::try_from(ms).ok()).unwrap_or_default();
        let (message, own) = from_wire(topic, &message);
        kept.push(Kept { message, own, partition, offset, at: Timestamp::from_millis(at) });
    }
    Ok(kept)
}

fn at_ends(reading: &BaseConsumer<Watching>, open: &BTreeMap<i32, i64>) -> Result<bool, KafkaError> {
    let position = reading.position()?;
    Ok(position.elements().iter().all(|element| match (element.offset(), open.get(&element.partition())) {
        (Offset::Offset(offset), Some(end)) => offset >= *end,
        _ => true,
    }))
}

fn letter(kept: Kept, group: &str) -> DeadLetter {
    let reason = kept.message.headers.get(attributes::DEAD_REASON).unwrap_or_default().to_owned();
    DeadLetter {
        reason,
        group: group.into(),
        attempts: kept.own.dead_attempts.unwrap_or(1),
        at: kept.own.dead_at_ms.map_or(kept.at, Timestamp::from_millis),
        message: kept.message,
    }
}

fn unanswered(what: &str, error: KafkaError) -> Error {
    Error::new(ErrorKind::Retry, format!("Kafka did not answer about {what}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_of_groups_are_told_from_topics() {
        let all = [
            "orders",
            "orders.billing.dlq",
            "orders.billing.retry",
            "notifications.dlq",
            "notifications.requests",
        ];
        let own: Vec<_> = all.iter().filter(|name| is_own(name, &all)).collect();
        assert_eq!(own, [&"orders.billing.dlq", &"orders.billing.retry"]);
    }
}
