//! Running the topics: what there is, how far groups are, dead letters.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::{RawMessageErrorKind, RetentionPolicy, Stream};
use async_trait::async_trait;
use futures::TryStreamExt;
use saga_core::ports::{
    BusAdmin, Cleanup, Compression, DeadLetter, GroupDescription, GroupMember, PeekFrom, Peeked, Redriven,
    TopicDescription, TopicKind, TopicSpec,
};
use saga_core::record::{Timestamp, Topic};
use saga_core::wire::{Command, attributes};
use saga_core::{Error, ErrorKind, Message};

use crate::bus::NatsBus;
use crate::names::{entity, original, subject};
use crate::publish::send;
use crate::settle::{DEAD_AT, DEAD_ATTEMPTS, clean};
use crate::topology::{self, ROLE, ROLE_DEAD};
use crate::wire::{from_wire, to_wire};

#[async_trait]
impl BusAdmin for NatsBus {
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.link.check_open()?;
        topology::create(&self.link, spec).await.map(drop)
    }

    async fn delete_topic(&self, topic: &Topic) -> Result<(), Error> {
        self.link.check_open()?;
        let stream = topology::stream(&self.link, topic).await?;
        for group in groups(&stream, topic).await? {
            if let Ok(letters) = topology::dead_letters(&self.link, topic, &group.name).await {
                delete(self, &letters, topic).await?;
            }
        }
        delete(self, &stream, topic).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.link.check_open()?;
        let streams = self.link.jetstream.streams();
        let infos: Vec<_> = streams.try_collect().await.map_err(|error| unanswered("the topics", error))?;
        let prefix = &*self.link.config.prefix;
        let named =
            infos.iter().filter(|info| info.config.metadata.get(ROLE).is_none_or(|role| role != ROLE_DEAD));
        let mut topics: Vec<Topic> = named
            .filter_map(|info| match &*info.config.subjects {
                [only] if entity(only) == info.config.name => Topic::new(only.strip_prefix(prefix)?).ok(),
                _ => None,
            })
            .collect();
        topics.sort();
        Ok(topics)
    }

    async fn describe_topic(&self, topic: &Topic) -> Result<TopicDescription, Error> {
        self.link.check_open()?;
        let stream = topology::stream(&self.link, topic).await?;
        let (config, state) = (&stream.cached_info().config, &stream.cached_info().state);
        let kind = match config.retention {
            RetentionPolicy::WorkQueue => TopicKind::Commands,
            RetentionPolicy::Limits | RetentionPolicy::Interest => TopicKind::Events,
        };
        let mut description = TopicDescription::new(TopicSpec {
            partitions: Some(1),
            replication: u16::try_from(config.num_replicas).ok(),
            retention: (!config.max_age.is_zero()).then_some(config.max_age),
            compression: config.compression.is_none().then_some(Compression::None),
            cleanup: Some(Cleanup::Delete),
            ..TopicSpec::new(topic.clone(), kind)
        });
        description.messages = Some(state.messages);
        description.settings = [
            ("stream", config.name.clone()),
            ("max_bytes", config.max_bytes.to_string()),
            ("discard", format!("{:?}", config.discard)),
            ("storage", format!("{:?}", config.storage)),
            ("bytes", state.bytes.to_string()),
            ("first_seq", state.first_sequence.to_string()),
            ("last_seq", state.last_sequence.to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        Ok(description)
    }

    async fn peek(&self, topic: &Topic, from: PeekFrom, max: usize) -> Result<Vec<Peeked>, Error> {
        self.link.check_open()?;
        let stream = topology::stream(&self.link, topic).await?;
        let state = &stream.cached_info().state;
        let first = match from {
            PeekFrom::Earliest => state.first_sequence,
            PeekFrom::Latest => {
                (state.last_sequence + 1).saturating_sub(max as u64).max(state.first_sequence)
            }
        };
        let kept = read(&stream, topic, first, max).await?;
        let peeked = kept.into_iter().map(|kept| Peeked {
            place: kept.sequence.to_string(),
            at: Some(kept.at),
            message: kept.message,
        });
        Ok(peeked.collect())
    }

    async fn groups(&self, topic: &Topic) -> Result<Vec<GroupDescription>, Error> {
        self.link.check_open()?;
        let stream = topology::stream(&self.link, topic).await?;
        groups(&stream, topic).await
    }

    async fn dead_letters(&self, topic: &Topic, group: &str, max: usize) -> Result<Vec<DeadLetter>, Error> {
        self.link.check_open()?;
        let stream = topology::dead_letters(&self.link, topic, group).await?;
        let kept = read(&stream, topic, 1, max).await?;
        Ok(kept.into_iter().map(|kept| letter(kept, group)).collect())
    }

    async fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error> {
        self.link.check_open()?;
        let stream = topology::dead_letters(&self.link, topic, group).await?;
        let to = subject(&self.link.config.prefix, topic)?;
        let mut redriven = Redriven::default();
        for kept in read(&stream, topic, 1, max).await? {
            if kept.message.headers.get(attributes::TYPE) == Some(Command::TYPE) {
                redriven.kept += 1;
                continue;
            }
            let message = clean(kept.message);
            let headers = to_wire(&message);
            send(&self.link, &to, headers, message.payload.into_bytes()).await.map_err(|error| {
                let text = format!("dead letter {} of topic {topic} is not sent again", message.id);
                Error::new(ErrorKind::Retry, text).with_source(error)
            })?;
            stream.delete_message(kept.sequence).await.map_err(|error| unanswered("a dead letter", error))?;
            redriven.sent += 1;
        }
        Ok(redriven)
    }
}

async fn groups(stream: &Stream, topic: &Topic) -> Result<Vec<GroupDescription>, Error> {
    let infos: Vec<_> =
        stream.consumers().try_collect().await.map_err(|error| unanswered(topic.as_str(), error))?;
    let mut groups: Vec<_> = infos
        .into_iter()
        .map(|info| {
            let mut group = GroupDescription::new(original(&info.name));
            group.state = if info.paused { "paused" } else { "active" }.to_owned();
            // The server counts requests that wait, and each member has one.
            group.members = vec![GroupMember::default(); info.num_waiting];
            group.lag = info.num_pending + info.num_ack_pending as u64;
            group
        })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(groups)
}

async fn delete(bus: &NatsBus, stream: &Stream, topic: &Topic) -> Result<(), Error> {
    let name = &stream.cached_info().config.name;
    bus.link.jetstream.delete_stream(name).await.map(drop).map_err(|error| {
        let message = format!("topic {topic}: stream {name} cannot be deleted");
        Error::new(ErrorKind::Retry, message).with_source(error)
    })
}

/// A message as a stream keeps it.
struct Kept {
    message: Message,
    sequence: u64,
    at: Timestamp,
}

/// Reads what a stream keeps, from a place on.
async fn read(stream: &Stream, topic: &Topic, first: u64, max: usize) -> Result<Vec<Kept>, Error> {
    let mut kept = Vec::new();
    let Some(subject) = stream.cached_info().config.subjects.first() else { return Ok(kept) };
    let mut next = first.max(1);
    while kept.len() < max {
        let found = stream.raw_message_builder().sequence(next).next_by_subject(subject).send().await;
        let raw = match found {
            Ok(raw) => raw,
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => break,
            Err(error) => return Err(unanswered(topic.as_str(), error)),
        };
        next = raw.sequence + 1;
        kept.push(keep(topic, &stream.cached_info().config.name, raw));
    }
    Ok(kept)
}

fn keep(topic: &Topic, stream: &str, raw: StreamMessage) -> Kept {
    let place = || format!("{stream}/{}", raw.sequence);
    let ms = u64::try_from(raw.time.unix_timestamp_nanos() / 1_000_000).unwrap_or_default();
    Kept {
        message: from_wire(topic, Some(&raw.headers), raw.payload, place),
        sequence: raw.sequence,
        at: Timestamp::from_millis(ms),
    }
}

fn letter(kept: Kept, group: &str) -> DeadLetter {
    let mut message = kept.message;
    let header = |name: &str| message.headers.get(name).map(str::to_owned);
    let reason = header(attributes::DEAD_REASON).unwrap_or_default();
    let attempts = header(DEAD_ATTEMPTS).and_then(|count| count.parse().ok()).unwrap_or(1);
    let at = header(DEAD_AT).and_then(|at| Timestamp::parse(&at)).unwrap_or(kept.at);
    message.headers = message.headers.without(&[DEAD_ATTEMPTS, DEAD_AT]);
    DeadLetter { message, reason, group: group.into(), attempts, at }
}

fn unanswered(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Retry, format!("NATS did not answer about {what}")).with_source(error)
}
