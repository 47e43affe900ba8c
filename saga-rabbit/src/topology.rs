//! Queues and exchanges: a queue for each topic of commands; an exchange for each topic of events, with a queue for each group.

mod queue;

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use saga_core::ports::{Compression, Declaration, TopicKind, TopicSpec};
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind};

pub(crate) use self::queue::{Settings, ensure_queue};
use crate::connect::Link;
use crate::error::{self, NOT_FOUND, code};
use crate::names::{GroupName, TopicName};
use crate::registry::{self, Note};

pub(crate) async fn declare(link: &Link, declaration: &Declaration) -> Result<(), Error> {
    let Declaration { topic, kind, groups } = declaration;
    if *kind == TopicKind::Commands && groups.len() > 1 {
        let message = format!("commands topic {topic} is declared with more than one group: it has one");
        return Err(Error::new(ErrorKind::Permanent, message));
    }
    create(link, &TopicSpec::new(topic.clone(), *kind)).await?;
    for group in groups {
        ensure_group(link, topic, *kind, &group.name).await?;
    }
    Ok(())
}

/// Creates the queue or the exchange of a topic, or checks the one that is there.
pub(crate) async fn create(link: &Link, spec: &TopicSpec) -> Result<(), Error> {
    check_spec(spec)?;
    let TopicSpec { topic, kind, .. } = spec;
    let name = TopicName::new(&link.config.prefix, topic)?;
    link.kinds().remove(topic);
    match self::kind(link, topic).await? {
        Some(found) if found != *kind => {
            let message = format!(
                "topic {topic} is on RabbitMQ as a topic of {}, and is declared as one of {}; delete it or change the declaration",
                called(found),
                called(*kind)
            );
            return Err(Error::new(ErrorKind::Permanent, message));
        }
        Some(_) => {}
        // Written down first: what is written down and not there is not shown.
        None => registry::note(link, Note::Topic(topic, *kind)).await?,
    }
    match kind {
        TopicKind::Commands => {
            let dead = name.dead_exchange();
            ensure_exchange(link, topic, dead.clone()).await?;
            let settings = Settings::waiting(link).replicated(spec.replication).dead_to(dead.as_str(), None);
            ensure_queue(link, &format!("topic {topic}"), name.name(), settings).await?;
        }
        TopicKind::Events => ensure_exchange(link, topic, name.name()).await?,
    }
    link.kinds().insert(topic.clone(), *kind);
    Ok(())
}

const fn called(kind: TopicKind) -> &'static str {
    match kind {
        TopicKind::Commands => "commands",
        TopicKind::Events => "events",
    }
}

fn check_spec(spec: &TopicSpec) -> Result<(), Error> {
    let refused = |what: &str| {
        let message = format!("topic {}: RabbitMQ {what}", spec.topic);
        Err(Error::new(ErrorKind::NotAllowed, message))
    };
    if spec.partitions.is_some_and(|partitions| partitions != 1) {
        return refused("has no partitions; a queue is shared by any number of consumers");
    }
    if spec.cleanup.is_some() {
        return refused("has no cleanup: a queue keeps a message until it is settled");
    }
    if spec.retention.is_some() {
        return refused(
            "keeps a message until it is settled; set the policy message-ttl where that is not wanted",
        );
    }
    if spec.compression.is_some_and(|compression| compression != Compression::None) {
        return refused("does not compress what it stores");
    }
    if spec.segment.is_some() {
        return refused("does not let clients say how long a file is written to");
    }
    if spec.kind == TopicKind::Events && spec.replication.is_some() {
        return refused(
            "replicates queues, and a topic of events is an exchange; set `replication` in the configuration for its groups",
        );
    }
    Ok(())
}

/// What the server has a topic as, if it is there. Asked once, and again when publishing finds that it has changed.
pub(crate) async fn kind(link: &Link, topic: &Topic) -> Result<Option<TopicKind>, Error> {
    if let Some(kind) = link.kinds().get(topic) {
        return Ok(Some(*kind));
    }
    let name = TopicName::new(&link.config.prefix, topic)?.name();
    let found = if stat(link, name.clone()).await?.is_some() {
        Some(TopicKind::Commands)
    } else if has_exchange(link, name).await? {
        Some(TopicKind::Events)
    } else {
        None
    };
    if let Some(kind) = found {
        link.kinds().insert(topic.clone(), kind);
    }
    Ok(found)
}

/// The queue that a group reads, which must be there.
pub(crate) async fn group_queue(
    link: &Link,
    topic: &Topic,
    group: &str,
) -> Result<(TopicKind, ShortString), Error> {
    let name = TopicName::new(&link.config.prefix, topic)?;
    let own = name.group(topic, group)?;
    // It may have been deleted and declared anew by somebody else since it was asked for.
    link.kinds().remove(topic);
    let kind = kind(link, topic).await?.ok_or_else(|| crate::publish::missing(topic))?;
    let (queue, sign) = match kind {
        TopicKind::Commands => (name.name(), own.dead()),
        TopicKind::Events => (own.queue(), own.queue()),
    };
    if stat(link, sign).await?.is_none() {
        return Err(undeclared(topic, group));
    }
    Ok((kind, queue))
}

pub(crate) fn undeclared(topic: &Topic, group: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("group {group} of topic {topic} was not declared"))
}

async fn ensure_group(link: &Link, topic: &Topic, kind: TopicKind, group: &str) -> Result<(), Error> {
    let name = TopicName::new(&link.config.prefix, topic)?;
    let own = name.group(topic, group)?;
    let sign = match kind {
        TopicKind::Commands => own.dead(),
        TopicKind::Events => own.queue(),
    };
    if stat(link, sign).await?.is_none() {
        registry::note(link, Note::Group(topic, group)).await?;
    }
    match kind {
        TopicKind::Commands => {
            claim(link, topic, &name, &own, group).await?;
            ensure_dead_letters(link, topic, kind, group).await
        }
        TopicKind::Events => {
            ensure_dead_letters(link, topic, kind, group).await?;
            let settings = Settings::waiting(link).dead_to("", Some(own.dead()));
            ensure_queue(link, &format!("group {group} of topic {topic}"), own.queue(), settings).await?;
            bind(link, topic, own.queue(), name.name()).await
        }
    }
}

/// Makes a group the only one of a topic of commands. The name stands in the settings of an empty queue, so that of two at once one is
/// refused.
async fn claim(
    link: &Link,
    topic: &Topic,
    name: &TopicName,
    own: &GroupName,
    group: &str,
) -> Result<(), Error> {
    let settings = Settings::empty().dead_to("", Some(own.dead()));
    let what = format!("group {group} of commands topic {topic}");
    ensure_queue(link, &what, name.owner(), settings).await.map_err(|error| match error.kind() {
        ErrorKind::Permanent => {
            let message = format!(
                "{what} cannot be created: the topic has a group of another name, and a second one would take half of its work; share the \
                 group or declare a topic of events"
            );
            Error::new(ErrorKind::Permanent, message).with_source(error)
        }
        _ => error,
    })
}

/// Creates the queue of a group's dead letters.
pub(crate) async fn ensure_dead_letters(
    link: &Link,
    topic: &Topic,
    kind: TopicKind,
    group: &str,
) -> Result<(), Error> {
    let name = TopicName::new(&link.config.prefix, topic)?;
    let dead = name.group(topic, group)?.dead();
    let settings = Settings::dead_letters(link);
    ensure_queue(link, &format!("dead letters of group {group} of topic {topic}"), dead.clone(), settings)
        .await?;
    match kind {
        TopicKind::Commands => bind(link, topic, dead, name.dead_exchange()).await,
        // Their queue names them itself.
        TopicKind::Events => Ok(()),
    }
}

/// Creates the queue that a group's messages wait in for so long.
pub(crate) async fn ensure_tier(
    link: &Link,
    own: &GroupName,
    queue: &ShortString,
    tier_ms: u64,
) -> Result<(), Error> {
    let settings = Settings::waiting(link).living(tier_ms).dead_to("", Some(queue.clone()));
    ensure_queue(link, &format!("retries of {queue}"), own.retry(tier_ms), settings).await
}

async fn bind(link: &Link, topic: &Topic, queue: ShortString, exchange: ShortString) -> Result<(), Error> {
    let what = format!("topic {topic}: queue {queue} cannot be bound to exchange {exchange}");
    let bound = link.ask(&what, |channel| async move {
        channel
            .queue_bind(queue, exchange, "".into(), QueueBindOptions::default(), FieldTable::default())
            .await
    });
    bound.await?.map_err(|error| error::of(error, what.clone()))
}

async fn ensure_exchange(link: &Link, topic: &Topic, name: ShortString) -> Result<(), Error> {
    let what = format!(
        "topic {topic}: exchange {name} cannot be created, or differs from a durable one of type fanout"
    );
    let declared = link.ask(&what, |channel| async move {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name, ExchangeKind::Fanout, options, FieldTable::default()).await
    });
    declared.await?.map_err(|error| error::of(error, what.clone()))
}

/// How many messages are ready in a queue, and how many consumers it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stat {
    pub(crate) ready: u64,
    pub(crate) consumers: u32,
}

/// Looks at a queue; `None` if there is none of the name.
pub(crate) async fn stat(link: &Link, name: ShortString) -> Result<Option<Stat>, Error> {
    let what = format!("queue {name}");
    let asked = link.ask(&what, |channel| async move {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name, options, FieldTable::default()).await
    });
    let stat = |queue: lapin::Queue| Stat {
        ready: u64::from(queue.message_count()),
        consumers: queue.consumer_count(),
    };
    found(asked.await?.map(stat), &what)
}

async fn has_exchange(link: &Link, name: ShortString) -> Result<bool, Error> {
    let what = format!("exchange {name}");
    let asked = link.ask(&what, |channel| async move {
        let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name, ExchangeKind::Fanout, options, FieldTable::default()).await
    });
    Ok(found(asked.await?, &what)?.is_some())
}

fn found<T>(asked: Result<T, lapin::Error>, what: &str) -> Result<Option<T>, Error> {
    match asked {
        Ok(found) => Ok(Some(found)),
        Err(error) if code(&error) == NOT_FOUND && error::kind(&error) == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error::of(error, format!("{what} cannot be looked at"))),
    }
}
