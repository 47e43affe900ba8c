//! Topics and groups: creating them, and checking those that are there.

use std::time::{Duration, Instant};

use rdkafka::admin::{AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use saga_core::ports::{Cleanup, Compression, Declaration, Group, GroupStart, TopicKind, TopicSpec};
use saga_core::{Error, ErrorKind};
use tokio::time::sleep;

use crate::connect::{Link, blocking};
use crate::error;
use crate::names;

/// How long a topic that was created may take to be known everywhere.
const KNOWN_WITHIN: Duration = Duration::from_secs(15);

pub(crate) async fn declare(link: &Link, declaration: &Declaration) -> Result<(), Error> {
    let Declaration { topic, kind, groups } = declaration;
    if *kind == TopicKind::Commands && groups.len() > 1 {
        let message = format!("commands topic {topic} is declared with more than one group: it has one");
        return Err(Error::new(ErrorKind::Permanent, message));
    }
    for group in groups {
        names::check_group(topic, &group.name)?;
    }
    create(link, &TopicSpec::new(topic.clone(), *kind)).await?;
    for group in groups {
        ensure_group(link, declaration, group).await?;
    }
    Ok(())
}

/// How many partitions a topic has; `None` when it is not there.
pub(crate) async fn partitions(link: &Link, topic: &str) -> Result<Option<u32>, Error> {
    let (asked, limit) = (topic.to_owned(), link.config.request_timeout());
    let metadata = link.ask(move |asking| asking.fetch_metadata(Some(&asked), limit)).await;
    let metadata = metadata.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("Kafka did not answer about topic {topic}")).with_source(error)
    })?;
    let Some(found) = metadata.topics().first() else { return Ok(None) };
    match found.error().map(RDKafkaErrorCode::from) {
        None => Ok(u32::try_from(found.partitions().len()).ok().filter(|count| *count > 0)),
        Some(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => Ok(None),
        // It is being created: its partitions have no leader yet.
        Some(RDKafkaErrorCode::LeaderNotAvailable) => Ok(None),
        Some(code) => Err(Error::new(error::kind_of(code), format!("Kafka says of topic {topic}: {code}"))),
    }
}

/// Creates a topic, or checks the one that is there.
pub(crate) async fn create(link: &Link, spec: &TopicSpec) -> Result<(), Error> {
    let config = &link.config;
    let topic = names::topic(&config.prefix, &spec.topic);
    let kept = match spec.kind {
        TopicKind::Commands => config.command_retention_ms,
        TopicKind::Events => config.retention_ms,
    };
    let settings = settings(spec, kept);
    let partitions_wanted = spec.partitions.unwrap_or(config.partitions);
    if create_topic(link, &topic, partitions_wanted, spec.replication, &settings).await? {
        return Ok(());
    }
    let differences = differences(link, spec, &topic).await?;
    if differences.is_empty() {
        return Ok(());
    }
    let message = format!(
        "topic {} is there already, and differs: {}; alter the topic or change what is asked for",
        spec.topic,
        differences.join(", ")
    );
    Err(Error::new(ErrorKind::Permanent, message))
}

/// Kafka's names and values of what a specification asks for.
fn settings(spec: &TopicSpec, kept_ms: u64) -> Vec<(&'static str, String)> {
    let mut settings = vec![(
        "retention.ms",
        spec.retention.map_or_else(|| retention(kept_ms), |kept| kept.as_millis().to_string()),
    )];
    settings.extend(
        spec.compression.map(|compression| ("compression.type", compression_name(compression).to_owned())),
    );
    settings.extend(spec.cleanup.map(|cleanup| ("cleanup.policy", cleanup_name(cleanup).to_owned())));
    settings.extend(spec.segment.map(|segment| ("segment.ms", segment.as_millis().to_string())));
    settings
}

fn retention(ms: u64) -> String {
    if ms == 0 { "-1".to_owned() } else { ms.to_string() }
}

pub(crate) const COMPRESSIONS: [Compression; 5] =
    [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

pub(crate) fn compression_name(compression: Compression) -> &'static str {
    match compression {
        Compression::Gzip => "gzip",
        Compression::Snappy => "snappy",
        Compression::Lz4 => "lz4",
        Compression::Zstd => "zstd",
        _ => "uncompressed",
    }
}

pub(crate) fn cleanup_name(cleanup: Cleanup) -> &'static str {
    match cleanup {
        Cleanup::Compact => "compact",
        _ => "delete",
    }
}

/// Returns whether it was created; `false` when it was there.
async fn create_topic(
    link: &Link,
    topic: &str,
    partitions_wanted: u32,
    replication: Option<u16>,
    settings: &[(&str, String)],
) -> Result<bool, Error> {
    if partitions(link, topic).await?.is_some() {
        return Ok(false);
    }
    let replication = i32::from(replication.unwrap_or(link.config.replication));
    let replication = if replication == 0 { -1 } else { replication };
    let count = i32::try_from(partitions_wanted).unwrap_or(i32::MAX);
    let mut new = NewTopic::new(topic, count, TopicReplication::Fixed(replication));
    for (name, value) in settings {
        new = new.set(name, value);
    }
    let options = AdminOptions::new().request_timeout(Some(link.config.request_timeout()));
    let results = link.admin.create_topics([&new], &options).await;
    let created = match results.map(|mut results| results.pop()) {
        Ok(Some(Ok(_))) => true,
        Ok(Some(Err((_, RDKafkaErrorCode::TopicAlreadyExists)))) => false,
        Ok(Some(Err((_, code)))) => {
            return Err(Error::new(error::kind_of(code), format!("topic {topic} cannot be created: {code}")));
        }
        Ok(None) => {
            return Err(Error::new(
                ErrorKind::Retry,
                format!("Kafka did not say what became of topic {topic}"),
            ));
        }
        Err(error) => {
            return Err(
                Error::new(ErrorKind::Retry, format!("topic {topic} cannot be created")).with_source(error)
            );
        }
    };
    let begun = Instant::now();
    while partitions(link, topic).await?.is_none() {
        if begun.elapsed() > KNOWN_WITHIN {
            return Err(Error::new(
                ErrorKind::Retry,
                format!("topic {topic} was created, and is still not known after {KNOWN_WITHIN:?}"),
            ));
        }
        sleep(Duration::from_millis(50)).await;
    }
    Ok(created)
}

/// What of an existing topic is not as asked for. Of what was not asked for nothing counts.
async fn differences(link: &Link, spec: &TopicSpec, topic: &str) -> Result<Vec<String>, Error> {
    let mut differences = Vec::new();
    if let Some(asked) = spec.partitions
        && let Some(is) = partitions(link, topic).await?
        && is != asked
    {
        differences.push(format!("it has {is} partitions, asked for {asked}"));
    }
    let asked: Vec<_> = settings(spec, 0)
        .into_iter()
        .filter(|(name, _)| spec.retention.is_some() || *name != "retention.ms")
        .collect();
    if asked.is_empty() {
        return Ok(differences);
    }
    let found = describe(link, topic).await?;
    for (name, asked) in asked {
        let is = found.iter().find(|(found, _)| found == name).map(|(_, value)| &**value).unwrap_or_default();
        if is != asked {
            differences.push(format!("{name} is {is}, asked for {asked}"));
        }
    }
    Ok(differences)
}

/// A topic's settings, by Kafka's names.
pub(crate) async fn describe(link: &Link, topic: &str) -> Result<Vec<(String, String)>, Error> {
    let options = AdminOptions::new().request_timeout(Some(link.config.request_timeout()));
    let described = link.admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
    let unanswered = |error: KafkaError| {
        Error::new(ErrorKind::Retry, format!("Kafka did not answer about topic {topic}")).with_source(error)
    };
    match described.map_err(unanswered)?.pop() {
        Some(Ok(resource)) => {
            let entries = resource.entries.into_iter();
            Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
        }
        Some(Err(code)) => {
            Err(Error::new(error::kind_of(code), format!("Kafka says of topic {topic}: {code}")))
        }
        None => Ok(Vec::new()),
    }
}

/// A group is there once it has offsets; with it come the topics of its retries and dead letters.
async fn ensure_group(link: &Link, declaration: &Declaration, group: &Group) -> Result<(), Error> {
    let topic = names::topic(&link.config.prefix, &declaration.topic);
    let config = &link.config;
    let forever = [("retention.ms", "-1".to_owned())];
    create_topic(link, &names::retry(&topic, &group.name), config.partitions, None, &forever).await?;
    let kept = [("retention.ms", retention(config.dead_letter_retention_ms))];
    create_topic(link, &names::dead(&topic, &group.name), 1, None, &kept).await?;
    if has_offsets(link, &topic, &names::group(&topic, &group.name)).await? {
        return Ok(());
    }
    if declaration.kind == TopicKind::Commands {
        let others = groups_of(link, &topic).await?;
        if let Some(known) = others.iter().find(|known| ***known != *group.name) {
            let message = format!(
                "commands topic {} has the group {known}: a second one, {}, would do the same work again; \
                 share the group or declare a topic of events",
                declaration.topic, group.name
            );
            return Err(Error::new(ErrorKind::Permanent, message));
        }
    }
    match begin_group(link, &topic, &group.name, group.start).await {
        // Somebody else did so at the same moment, and from when its members are there, nobody but they may.
        Err(_) if has_offsets(link, &topic, &names::group(&topic, &group.name)).await? => Ok(()),
        begun => begun,
    }
}

/// The groups that have offsets on a topic.
pub(crate) async fn groups_of(link: &Link, topic: &str) -> Result<Vec<String>, Error> {
    let (start, limit) = (format!("{topic}."), link.config.request_timeout());
    let asked = link.ask(move |asking| {
        let listed = asking.fetch_group_list(None, limit)?;
        let names = listed.groups().iter().filter_map(|group| group.name().strip_prefix(&start));
        Ok(names.filter(|name| !names::is_groups_own(name)).map(str::to_owned).collect::<Vec<_>>())
    });
    let candidates = asked
        .await
        .map_err(|error| Error::new(ErrorKind::Retry, "Kafka did not list its groups").with_source(error))?;
    let mut groups = Vec::new();
    for candidate in candidates {
        // The group of another topic whose name begins with this one's has no offsets here.
        if has_offsets(link, topic, &names::group(topic, &candidate)).await? {
            groups.push(candidate);
        }
    }
    groups.sort();
    Ok(groups)
}

async fn has_offsets(link: &Link, topic: &str, group: &str) -> Result<bool, Error> {
    Ok(committed(link, topic, group).await?.iter().any(Option::is_some))
}

/// What a group has committed for each partition of a topic.
pub(crate) async fn committed(link: &Link, topic: &str, group: &str) -> Result<Vec<Option<i64>>, Error> {
    let Some(count) = partitions(link, topic).await? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("topic {topic} is not there: declare it before using it"),
        ));
    };
    let asking = link.as_group(group)?;
    let (topic_name, limit) = (topic.to_owned(), link.config.request_timeout());
    let offsets = blocking(move || {
        let mut list = TopicPartitionList::new();
        list.add_partition_range(&topic_name, 0, i32::try_from(count).unwrap_or(i32::MAX) - 1);
        let committed = asking.committed_offsets(list, limit)?;
        let offset = |offset| match offset {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        };
        Ok(committed.elements().iter().map(|element| offset(element.offset())).collect())
    });
    offsets.await.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("Kafka did not say where group {group} of topic {topic} is"))
            .with_source(error)
    })
}

/// The first and the next offset of each partition.
pub(crate) async fn watermarks(link: &Link, topic: &str) -> Result<Vec<(i64, i64)>, Error> {
    let Some(count) = partitions(link, topic).await? else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("topic {topic} is not there: declare it before using it"),
        ));
    };
    let (name, limit) = (topic.to_owned(), link.config.request_timeout());
    let asked = link.ask(move |asking| {
        (0..count)
            .map(|partition| {
                asking.fetch_watermarks(&name, i32::try_from(partition).unwrap_or(i32::MAX), limit)
            })
            .collect()
    });
    asked.await.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("Kafka did not say where topic {topic} ends")).with_source(error)
    })
}

async fn begin_group(link: &Link, topic: &str, group: &str, start: GroupStart) -> Result<(), Error> {
    let marks = watermarks(link, topic).await?;
    let offsets = marks.into_iter().map(|(first, next)| match start {
        GroupStart::Earliest => first,
        GroupStart::Latest => next,
    });
    commit(link, topic, &names::group(topic, group), offsets.collect()).await
}

/// Commits offsets for a group that nobody reads as.
pub(crate) async fn commit(link: &Link, topic: &str, group: &str, offsets: Vec<i64>) -> Result<(), Error> {
    let committing = link.as_group(group)?;
    let name = topic.to_owned();
    let committed = blocking(move || {
        let mut list = TopicPartitionList::new();
        for (partition, offset) in (0..).zip(offsets) {
            list.add_partition_offset(&name, partition, Offset::Offset(offset))?;
        }
        committing.commit(&list, CommitMode::Sync)
    });
    committed.await.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("group {group} of topic {topic} cannot be given its place"))
            .with_source(error)
    })
}
