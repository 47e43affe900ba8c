//! Streams and consumers: a stream for each topic, a durable consumer for each group.

use std::collections::HashMap;
use std::time::Duration;

use async_nats::jetstream::consumer::{self, AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType, Stream};
use saga_core::ports::{Cleanup, Compression, Declaration, Group, GroupStart, TopicKind, TopicSpec};
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};

use crate::connect::Link;
use crate::error::{kind_of_create, of_consumer, of_stream};
use crate::names::{dead_subject, entity, subject};

/// What a stream's metadata say of it; dead letters are no topics.
pub(crate) const ROLE: &str = "saga-role";
pub(crate) const ROLE_DEAD: &str = "dead-letters";

pub(crate) async fn declare(link: &Link, declaration: &Declaration) -> Result<(), Error> {
    let Declaration { topic, kind, groups } = declaration;
    if *kind == TopicKind::Commands && groups.len() > 1 {
        let message = format!("commands topic {topic} is declared with more than one group: it has one");
        return Err(Error::new(ErrorKind::Permanent, message));
    }
    let stream = create(link, &TopicSpec::new(topic.clone(), *kind)).await?;
    for group in groups {
        ensure_group(link, &stream, declaration, group).await?;
    }
    Ok(())
}

/// Creates the stream of a topic, or checks the one that is there.
pub(crate) async fn create(link: &Link, spec: &TopicSpec) -> Result<Stream, Error> {
    let wanted = stream_config(link, spec)?;
    let topic = spec.topic.as_str();
    let found = match link.jetstream.get_stream(&wanted.name).await {
        Ok(stream) => stream,
        Err(error) => {
            let error = of_stream(error, topic);
            if error.kind() != ErrorKind::NotFound {
                return Err(error);
            }
            let created = link.jetstream.create_stream(wanted.clone()).await;
            created.map_err(|error| {
                Error::new(kind_of_create(&error.kind()), format!("topic {topic} cannot be created"))
                    .with_source(error)
            })?
        }
    };
    // Also of one that was just created: old servers drop what they do not know, and somebody else may have been first.
    let differences = differences(spec, &wanted, &found.cached_info().config);
    if differences.is_empty() {
        return Ok(found);
    }
    let message = format!(
        "topic {topic} is on NATS as stream {}, and differs: {}; delete the stream or change what is asked for",
        wanted.name,
        differences.join(", ")
    );
    Err(Error::new(ErrorKind::Permanent, message))
}

fn stream_config(link: &Link, spec: &TopicSpec) -> Result<Config, Error> {
    let config = &link.config;
    let subject = subject(&config.prefix, &spec.topic)?;
    let refused = |what: &str| {
        let message = format!("topic {}: NATS {what}", spec.topic);
        Err(Error::new(ErrorKind::NotAllowed, message))
    };
    if spec.partitions.is_some_and(|partitions| partitions != 1) {
        return refused("has no partitions; a topic is one stream, which any number of consumers share");
    }
    if spec.cleanup == Some(Cleanup::Compact) {
        return refused(
            "cannot keep the newest message of each key, since keys are not part of its subjects",
        );
    }
    if spec.compression.is_some_and(|compression| compression != Compression::None) {
        return refused(
            "has no gzip, snappy, lz4 or zstd; set S2 in the server's own configuration of the stream",
        );
    }
    if spec.segment.is_some() {
        return refused("does not let clients say how long a file is written to");
    }
    let (retention, kept) = match spec.kind {
        // Commands wait until they are done, however long that takes.
        TopicKind::Commands => (RetentionPolicy::WorkQueue, Duration::ZERO),
        TopicKind::Events => (RetentionPolicy::Limits, Duration::from_millis(config.retention_ms)),
    };
    let replication = spec.replication.map_or(config.replication, usize::from);
    Ok(base(link, &subject, retention, spec.retention.unwrap_or(kept), replication))
}

fn base(
    link: &Link,
    subject: &str,
    retention: RetentionPolicy,
    max_age: Duration,
    replication: usize,
) -> Config {
    let bytes_max = i64::try_from(link.config.topic_bytes_max).unwrap_or(i64::MAX);
    Config {
        name: entity(subject),
        subjects: vec![subject.to_owned()],
        retention,
        // A full topic of commands refuses more, so that nothing that waits is lost; news make room for newer ones.
        discard: if retention == RetentionPolicy::WorkQueue {
            DiscardPolicy::New
        } else {
            DiscardPolicy::Old
        },
        max_age,
        max_bytes: if bytes_max == 0 { -1 } else { bytes_max },
        max_messages: -1,
        storage: StorageType::File,
        num_replicas: replication,
        allow_direct: true,
        ..Config::default()
    }
}

/// What of an existing stream is not as it must be. Of what was not asked for only the kind counts.
fn differences(spec: &TopicSpec, wanted: &Config, found: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    let mut differ = |what: &str, is: String, asked: String| {
        if is != asked {
            differences.push(format!("{what} is {is}, asked for {asked}"));
        }
    };
    differ("retention", format!("{:?}", found.retention), format!("{:?}", wanted.retention));
    differ("subjects", found.subjects.join(" "), wanted.subjects.join(" "));
    if spec.kind == TopicKind::Commands {
        // Otherwise a full topic would lose the oldest of what waits.
        differ("discard", format!("{:?}", found.discard), format!("{:?}", wanted.discard));
    }
    // Without it, no publishing would be answered.
    differ("no_ack", found.no_ack.to_string(), wanted.no_ack.to_string());
    if let Some(retention) = spec.retention {
        differ("max_age", format!("{:?}", found.max_age), format!("{retention:?}"));
    }
    if let Some(replication) = spec.replication {
        differ("replicas", found.num_replicas.to_string(), replication.to_string());
    }
    differences
}

async fn ensure_group(
    link: &Link,
    stream: &Stream,
    declaration: &Declaration,
    group: &Group,
) -> Result<(), Error> {
    let (topic, name) = (declaration.topic.as_str(), &*group.name);
    ensure_dead_letters(link, &declaration.topic, name).await?;
    match consumer(link, &declaration.topic, name).await {
        Ok(found) => return check_group(topic, name, &found),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let deliver_policy = match (declaration.kind, group.start) {
        // A work queue has no other start: what waits, waits for its one group.
        (TopicKind::Commands, _) | (_, GroupStart::Earliest) => DeliverPolicy::All,
        (_, GroupStart::Latest) => DeliverPolicy::New,
    };
    let config = pull::Config {
        durable_name: Some(entity(name)),
        description: Some(name.to_owned()),
        deliver_policy,
        ack_policy: AckPolicy::Explicit,
        ack_wait: link.config.ack_wait(),
        max_deliver: -1,
        max_ack_pending: -1,
        ..pull::Config::default()
    };
    stream.create_consumer(config).await.map(drop).map_err(|error| {
        let message = if declaration.kind == TopicKind::Commands {
            format!(
                "group {name} of commands topic {topic} cannot be created: if the topic has a group of another name, a second one would do \
                 the same work again; share the group or declare a topic of events"
            )
        } else {
            format!("group {name} of topic {topic} cannot be created")
        };
        let kind = match error.kind() {
            async_nats::jetstream::stream::ConsumerErrorKind::JetStream(ref said) => crate::error::of_code(said.code()),
            _ => ErrorKind::Retry,
        };
        Error::new(kind, message).with_source(error)
    })
}

/// Whether an existing consumer hands out every message of its topic until it is settled. How long it waits for that is its own affair.
fn check_group(topic: &str, group: &str, found: &PullConsumer) -> Result<(), Error> {
    let differences = consumer_differences(&found.cached_info().config);
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!(
        "group {group} of topic {topic} is on NATS as consumer {}, and differs: {}; delete the consumer or set it right",
        found.cached_info().name,
        differences.join(", ")
    );
    Err(Error::new(ErrorKind::Permanent, message))
}

fn consumer_differences(found: &consumer::Config) -> Vec<String> {
    let mut differences = Vec::new();
    if found.ack_policy != AckPolicy::Explicit {
        differences.push(format!("ack_policy is {:?}, asked for Explicit", found.ack_policy));
    }
    // 0 is how some clients write that there is no limit.
    if found.max_deliver > 0 {
        differences.push(format!("max_deliver is {}, asked for -1", found.max_deliver));
    }
    if !found.backoff.is_empty() {
        differences.push(format!("backoff is {:?}, asked for none", found.backoff));
    }
    if found.headers_only {
        differences.push("headers_only is true, asked for false".to_owned());
    }
    differences
}

/// Creates the stream of a group's dead letters.
pub(crate) async fn ensure_dead_letters(link: &Link, topic: &Topic, group: &str) -> Result<(), Error> {
    let subject = dead_subject(&subject(&link.config.prefix, topic)?, group);
    let kept = Duration::from_millis(link.config.dead_letter_retention_ms);
    let mut config = base(link, &subject, RetentionPolicy::Limits, kept, link.config.replication);
    config.metadata = HashMap::from([(ROLE.to_owned(), ROLE_DEAD.to_owned())]);
    link.jetstream.get_or_create_stream(config).await.map(drop).map_err(|error| {
        let message = format!("the dead letters of group {group} of topic {topic} have no place");
        Error::new(kind_of_create(&error.kind()), message).with_source(error)
    })
}

/// The stream of a topic.
pub(crate) async fn stream(link: &Link, topic: &Topic) -> Result<Stream, Error> {
    let name = entity(&subject(&link.config.prefix, topic)?);
    link.jetstream.get_stream(name).await.map_err(|error| of_stream(error, topic.as_str()))
}

/// The stream of a group's dead letters.
pub(crate) async fn dead_letters(link: &Link, topic: &Topic, group: &str) -> Result<Stream, Error> {
    let name = entity(&dead_subject(&subject(&link.config.prefix, topic)?, group));
    link.jetstream.get_stream(name).await.map_err(|error| {
        let error = of_stream(error, topic.as_str());
        match error.kind() {
            ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, format!("group {group} of topic {topic} was not declared"))
            }
            _ => error,
        }
    })
}

/// The consumer of a group, as the server has it now.
pub(crate) async fn consumer(link: &Link, topic: &Topic, group: &str) -> Result<PullConsumer, Error> {
    let stream = entity(&subject(&link.config.prefix, topic)?);
    let consumer = link.jetstream.get_consumer_from_stream(entity(group), stream).await;
    consumer.map_err(|error| of_consumer(error, topic.as_str(), group))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_that_would_lose_messages_is_told_by_what_differs() {
        let fits =
            consumer::Config { ack_policy: AckPolicy::Explicit, max_deliver: -1, ..Default::default() };
        assert!(consumer_differences(&fits).is_empty());
        let unfit = consumer::Config {
            ack_policy: AckPolicy::None,
            max_deliver: 5,
            backoff: vec![Duration::from_secs(1)],
            headers_only: true,
            ..Default::default()
        };
        let said = consumer_differences(&unfit).join(", ");
        for part in ["ack_policy is None", "max_deliver is 5", "backoff is [1s]", "headers_only is true"] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_stream_that_would_lose_commands_is_told_by_what_differs() {
        let spec = TopicSpec::new(Topic::new("t").unwrap(), TopicKind::Commands);
        let wanted = Config {
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            ..Config::default()
        };
        assert!(differences(&spec, &wanted, &wanted).is_empty());
        let found = Config { discard: DiscardPolicy::Old, no_ack: true, ..wanted.clone() };
        let said = differences(&spec, &wanted, &found).join(", ");
        assert_eq!(said, "discard is Old, asked for New, no_ack is true, asked for false");
    }
}
