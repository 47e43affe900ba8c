//! Running the topics: what there is, how far groups are, dead letters.

mod look;

use async_trait::async_trait;
use futures::{StreamExt, TryStreamExt, stream};
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use lapin::types::ShortString;
use saga_core::ports::{
    BusAdmin, DeadLetter, GroupDescription, GroupMember, PeekFrom, Peeked, Redriven, TopicDescription,
    TopicKind, TopicSpec,
};
use saga_core::record::{Timestamp, Topic};
use saga_core::wire::{Command, attributes};
use saga_core::{Error, ErrorKind};

use self::look::{LOOKED_AT_MAX, Look, Seen};
use crate::bus::RabbitBus;
use crate::error;
use crate::names::{GroupName, TIERS_MS, TopicName};
use crate::publish::{Outcome, Target, missing, send};
use crate::registry::{self, Note};
use crate::topology::{self, stat, undeclared};
use crate::wire::copy;

/// How many topics are looked at at once.
const AT_ONCE: usize = 8;

#[async_trait]
impl BusAdmin for RabbitBus {
    async fn create_topic(&self, spec: &TopicSpec) -> Result<(), Error> {
        self.link.check_open()?;
        topology::create(&self.link, spec).await
    }

    async fn delete_topic(&self, topic: &Topic) -> Result<(), Error> {
        let (kind, name) = self.existing(topic).await?;
        let groups = self.written_groups(topic).await?;
        self.link.kinds().remove(topic);
        // The topic first: then nothing is published to what goes after it.
        match kind {
            TopicKind::Commands => self.delete_queue(name.name()).await?,
            TopicKind::Events => self.delete_exchange(name.name()).await?,
        }
        for group in groups {
            let own = name.group(topic, &group)?;
            let queues = TIERS_MS.iter().map(|tier_ms| own.retry(*tier_ms)).chain([own.reader(), own.dead()]);
            for queue in queues.chain((kind == TopicKind::Events).then(|| own.queue())) {
                self.delete_queue(queue).await?;
            }
        }
        if kind == TopicKind::Commands {
            self.delete_queue(name.owner()).await?;
            self.delete_exchange(name.dead_exchange()).await?;
        }
        registry::note(&self.link, Note::Gone(topic)).await
    }

    async fn topics(&self) -> Result<Vec<Topic>, Error> {
        self.link.check_open()?;
        let written = registry::read(&self.link).await?;
        let look = |topic: Topic| async move {
            self.link.kinds().remove(&topic);
            let kind = topology::kind(&self.link, &topic).await?;
            Ok::<_, Error>(kind.map(|_| topic))
        };
        // What is written down may have been deleted by other means.
        let found = stream::iter(written.into_keys()).map(look).buffered(AT_ONCE);
        let found: Vec<Option<Topic>> = found.try_collect().await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn describe_topic(&self, topic: &Topic) -> Result<TopicDescription, Error> {
        let (kind, name) = self.existing(topic).await?;
        let mut description = TopicDescription::new(TopicSpec::new(topic.clone(), kind));
        let shown = name.name().to_string();
        match kind {
            TopicKind::Commands => {
                let now = stat(&self.link, name.name()).await?.ok_or_else(|| missing(topic))?;
                description.messages = Some(now.ready);
                description.settings.insert("queue".to_owned(), shown);
                description.settings.insert("consumers".to_owned(), now.consumers.to_string());
            }
            // It keeps nothing itself; its groups do.
            TopicKind::Events => {
                description.settings.insert("exchange".to_owned(), shown);
            }
        }
        Ok(description)
    }

    async fn peek(&self, topic: &Topic, from: PeekFrom, max: usize) -> Result<Vec<Peeked>, Error> {
        let (kind, name) = self.existing(topic).await?;
        self.check_peek(topic, kind, &name).await?;
        let look = Look::begin(&self.link, topic).await?;
        let seen = match from {
            PeekFrom::Earliest => look.see(&name.name(), max).await,
            PeekFrom::Latest => look.see(&name.name(), LOOKED_AT_MAX + 1).await,
        };
        look.give_back().await;
        let mut seen = seen?;
        if from == PeekFrom::Latest {
            if seen.len() > LOOKED_AT_MAX {
                let message = format!(
                    "topic {topic}: RabbitMQ shows a queue from its oldest message on, and it has more than {LOOKED_AT_MAX}; peek from the earliest"
                );
                return Err(Error::new(ErrorKind::NotAllowed, message));
            }
            seen.drain(..seen.len().saturating_sub(max));
        }
        let peeked = (1..).zip(seen).map(|(nth, seen): (u64, Seen)| Peeked {
            place: format!("{}/{nth}", name.name()),
            at: seen.published_at(),
            message: seen.message,
        });
        Ok(peeked.collect())
    }

    async fn groups(&self, topic: &Topic) -> Result<Vec<GroupDescription>, Error> {
        let (kind, name) = self.existing(topic).await?;
        let mut groups = Vec::new();
        for group in self.written_groups(topic).await? {
            let own = name.group(topic, &group)?;
            let (sign, queue) = match kind {
                TopicKind::Commands => (own.dead(), name.name()),
                TopicKind::Events => (own.queue(), own.queue()),
            };
            if stat(&self.link, sign).await?.is_some() {
                groups.extend(self.describe_group(topic, &group, queue).await?);
            }
        }
        Ok(groups)
    }

    async fn dead_letters(&self, topic: &Topic, group: &str, max: usize) -> Result<Vec<DeadLetter>, Error> {
        let own = self.existing_group(topic, group).await?;
        let look = Look::begin(&self.link, topic).await?;
        let seen = look.oldest(&own.dead(), max).await;
        look.give_back().await;
        Ok(seen?.into_iter().map(|seen| letter(seen, topic, group)).collect())
    }

    async fn redrive(&self, topic: &Topic, group: &str, max: usize) -> Result<Redriven, Error> {
        let own = self.existing_group(topic, group).await?;
        let (_, queue) = topology::group_queue(&self.link, topic, group).await?;
        let look = Look::begin(&self.link, topic).await?;
        let redriven = self.redrive_by(&look, &own, &queue, max).await;
        // With it the commands that stay.
        look.give_back().await;
        redriven
    }
}

impl RabbitBus {
    /// A topic as the server has it now, if it is there.
    async fn existing(&self, topic: &Topic) -> Result<(TopicKind, TopicName), Error> {
        self.link.check_open()?;
        let name = TopicName::new(&self.link.config.prefix, topic)?;
        self.link.kinds().remove(topic);
        let kind = topology::kind(&self.link, topic).await?.ok_or_else(|| missing(topic))?;
        Ok((kind, name))
    }

    async fn existing_group(&self, topic: &Topic, group: &str) -> Result<GroupName, Error> {
        let (_, name) = self.existing(topic).await?;
        let own = name.group(topic, group)?;
        match stat(&self.link, own.dead()).await? {
            Some(_) => Ok(own),
            None => Err(undeclared(topic, group)),
        }
    }

    async fn written_groups(&self, topic: &Topic) -> Result<Vec<String>, Error> {
        let mut written = registry::read(&self.link).await?;
        Ok(written.remove(topic).unwrap_or_default().into_iter().collect())
    }

    /// Looking puts what was seen behind the rest, which only commands without order do not mind.
    async fn check_peek(&self, topic: &Topic, kind: TopicKind, name: &TopicName) -> Result<(), Error> {
        let refused = |why: &str| Err(Error::new(ErrorKind::NotAllowed, format!("topic {topic}: {why}")));
        if kind == TopicKind::Events {
            return refused(
                "RabbitMQ keeps no messages of a topic of events but in the queues of its groups, each in the group's order",
            );
        }
        for group in self.written_groups(topic).await? {
            if stat(&self.link, name.group(topic, &group)?.reader()).await?.is_some() {
                return refused(
                    "its group keeps the order of keys, which looking at a queue of RabbitMQ would change",
                );
            }
        }
        Ok(())
    }

    async fn describe_group(
        &self,
        topic: &Topic,
        group: &str,
        queue: ShortString,
    ) -> Result<Option<GroupDescription>, Error> {
        let Some(now) = stat(&self.link, queue).await? else { return Ok(None) };
        // What other processes hold is not told.
        let readings = self.link.readings();
        let own =
            readings.iter().filter(|reading| reading.spec.topic == *topic && *reading.spec.group == *group);
        let held: usize = own.map(|reading| reading.deliveries.held()).sum();
        let mut description = GroupDescription::new(group);
        description.state = if now.consumers > 0 { "active" } else { "empty" }.to_owned();
        description.members = vec![GroupMember::default(); now.consumers as usize];
        description.lag = now.ready + held as u64;
        Ok(Some(description))
    }

    async fn redrive_by(
        &self,
        look: &Look<'_>,
        own: &GroupName,
        queue: &ShortString,
        max: usize,
    ) -> Result<Redriven, Error> {
        let mut redriven = Redriven::default();
        for seen in look.oldest(&own.dead(), max).await? {
            if seen.message.headers.get(attributes::TYPE) == Some(Command::TYPE) {
                redriven.kept += 1;
                continue;
            }
            let properties = copy(&seen.properties, &seen.message.id, &[]);
            let payload = seen.message.payload.bytes().clone();
            match send(&self.link, Target::queue(queue.clone()), properties, payload).await {
                Outcome::Acked => look.take(&seen).await?,
                failed => {
                    let text =
                        format!("dead letter {} is not sent again to {queue}: {failed:?}", seen.message.id);
                    return Err(Error::new(ErrorKind::Retry, text));
                }
            }
            redriven.sent += 1;
        }
        Ok(redriven)
    }

    async fn delete_queue(&self, name: ShortString) -> Result<(), Error> {
        let what = format!("queue {name} cannot be deleted");
        let deleted = self.link.ask(&what, |channel| async move {
            channel.queue_delete(name, QueueDeleteOptions::default()).await
        });
        deleted.await?.map(drop).map_err(|error| error::of(error, what.clone()))
    }

    async fn delete_exchange(&self, name: ShortString) -> Result<(), Error> {
        let what = format!("exchange {name} cannot be deleted");
        let deleted = self.link.ask(&what, |channel| async move {
            channel.exchange_delete(name, ExchangeDeleteOptions::default()).await
        });
        deleted.await?.map_err(|error| error::of(error, what.clone()))
    }
}

fn letter(seen: Seen, topic: &Topic, group: &str) -> DeadLetter {
    let at = seen.given_up_at();
    let mut message = seen.message;
    if message.headers.get(attributes::DEAD_REASON).is_none() {
        // The server itself gave it up.
        let reason =
            format!("RabbitMQ gave it up: {}", seen.own.died.as_deref().unwrap_or("it does not say why"));
        message = message.with_headers([
            (attributes::DEAD_REASON, &*reason),
            (attributes::DEAD_TOPIC, topic.as_str()),
            (attributes::DEAD_GROUP, group),
        ]);
    }
    DeadLetter {
        reason: message.headers.get(attributes::DEAD_REASON).unwrap_or_default().to_owned(),
        group: group.into(),
        attempts: seen.own.dead_attempts.unwrap_or(1),
        at: Timestamp::from_millis(at),
        message,
    }
}
