//! Reading topics: replies, triggers, cancellations.

use std::sync::Arc;

use super::engine::{Engine, Happening, RETRY_DELAY, Shared};
use super::input::{CancelInput, From, Input, Letter, ReplyInput, StartInput};
use super::run_ids::RunIds;
use crate::definition::Definition;
use crate::error::{Error, ErrorKind};
use crate::ports::{Declaration, Delivery, Group, GroupStart, Subscription, SubscriptionSpec, TopicKind};
use crate::record::{RunId, SagaKey, Topic};
use crate::wire::{Message, Reply, attributes};

/// A topic that a coordinator reads.
pub(super) struct Reader {
    pub(super) topic: Topic,
    pub(super) subscription: Arc<dyn Subscription>,
    purpose: Purpose,
    /// Whether its last read failed, so that a failure is logged once.
    is_failing: bool,
}

/// What a topic's messages are.
#[derive(Clone)]
enum Purpose {
    Replies(Arc<Definition>),
    Trigger(Arc<Definition>, usize),
    Cancel(Arc<Definition>, usize),
}

impl Reader {
    /// Only what starts new sagas waits for room.
    pub(super) const fn admits(&self) -> bool {
        matches!(self.purpose, Purpose::Trigger(..))
    }

    pub(super) const fn reads_replies(&self) -> bool {
        matches!(self.purpose, Purpose::Replies(_))
    }
}

/// Declares every topic that the definitions use, and subscribes to those that a coordinator reads.
pub(super) async fn readers(shared: &Shared) -> Result<Vec<Reader>, Error> {
    let mut declarations = Vec::<Declaration>::new();
    let mut purposes = Vec::new();
    for definition in shared.registry.newest_of_each() {
        let group = definition.group();
        let mut read = |topic: &Topic, kind: TopicKind, purpose: Purpose| {
            declare(&mut declarations, topic, kind, Some(&group));
            purposes.push((topic.clone(), Arc::clone(&group.name), purpose));
        };
        for (index, trigger) in definition.triggers.iter().enumerate() {
            read(&trigger.topic, TopicKind::Events, Purpose::Trigger(Arc::clone(definition), index));
        }
        for (index, cancel) in definition.cancels.iter().enumerate() {
            read(&cancel.topic, TopicKind::Events, Purpose::Cancel(Arc::clone(definition), index));
        }
    }
    for definition in shared.registry.all() {
        // Versions may differ in their topic for replies; instances of the older ones still get theirs.
        let reader = definition.group();
        if !purposes.iter().any(|(topic, _, _)| *topic == definition.replies) {
            declare(&mut declarations, &definition.replies, TopicKind::Commands, Some(&reader));
            purposes.push((
                definition.replies.clone(),
                reader.name,
                Purpose::Replies(Arc::clone(definition)),
            ));
        }
        for announcement in definition.announcements.values() {
            declare(&mut declarations, &announcement.topic, TopicKind::Events, None);
        }
        for step in &definition.steps {
            let declaration = Declaration {
                topic: step.topic.clone(),
                kind: TopicKind::Commands,
                groups: vec![group(step.contract)],
            };
            if !declarations.contains(&declaration) {
                declarations.push(declaration);
            }
        }
    }
    shared.bus.declare(&declarations).await?;
    let mut readers = Vec::new();
    for (topic, group, purpose) in purposes {
        let spec = SubscriptionSpec {
            topic: topic.clone(),
            group,
            in_flight_max: shared.options.unsettled_max,
            key_order: false,
        };
        let subscription = shared.bus.subscribe(spec).await?;
        readers.push(Reader { topic, subscription, purpose, is_failing: false });
    }
    Ok(readers)
}

fn group(name: &str) -> Group {
    Group { name: name.into(), start: GroupStart::Earliest }
}

/// A topic that is announced on and read is declared once, with its reader.
fn declare(all: &mut Vec<Declaration>, topic: &Topic, kind: TopicKind, reader: Option<&Group>) {
    let groups = reader.cloned();
    match all.iter_mut().find(|known| known.topic == *topic) {
        Some(known) => known.groups.extend(groups.filter(|group| !known.groups.contains(group))),
        None => all.push(Declaration { topic: topic.clone(), kind, groups: groups.into_iter().collect() }),
    }
}

impl Engine {
    pub(super) fn read_all(&mut self) {
        for reader in 0..self.readers.len() {
            self.read_next(reader);
        }
    }

    /// Reads on. What starts sagas is read only when all that was read of its kind has been admitted.
    pub(super) fn read_next(&mut self, reader: usize) {
        if self.is_draining {
            return;
        }
        if self.readers[reader].admits() && !self.admission.is_empty() {
            self.held_back.push(reader);
            return;
        }
        let max = self.shared.options.read_batch_max;
        let subscription = Arc::clone(&self.readers[reader].subscription);
        let clock = Arc::clone(&self.shared.clock);
        let was_failing = self.readers[reader].is_failing;
        self.push(async move {
            if was_failing {
                clock.sleep(RETRY_DELAY).await;
            }
            Happening::Read { reader, result: subscription.next(max).await }
        });
    }

    pub(super) fn read(&mut self, reader: usize, result: Result<Vec<Delivery>, Error>) -> Result<(), Error> {
        let topic = self.readers[reader].topic.clone();
        let was_failing = self.readers[reader].is_failing;
        match result {
            Ok(deliveries) => {
                self.readers[reader].is_failing = false;
                for delivery in deliveries {
                    self.delivered(reader, delivery);
                }
            }
            Err(_) if self.is_draining => return Ok(()),
            Err(error) if error.is_retryable() => {
                if !was_failing {
                    tracing::warn!(%topic, %error, "cannot read; trying on");
                }
                self.readers[reader].is_failing = true;
            }
            Err(error) => {
                let message = format!("the coordinator cannot read topic {topic}");
                return Err(Error::new(error.kind(), message).with_source(error));
            }
        }
        self.read_next(reader);
        Ok(())
    }

    fn delivered(&mut self, reader: usize, delivery: Delivery) {
        let purpose = self.readers[reader].purpose.clone();
        let read = match &purpose {
            Purpose::Replies(definition) => self.read_reply(definition, &delivery.message),
            Purpose::Trigger(definition, index) => read_start(definition, *index, &delivery.message),
            Purpose::Cancel(definition, index) => read_cancel(definition, *index, &delivery.message),
        };
        let letter = Letter { reader, delivery };
        match read {
            Ok((key, read)) => {
                let input = read.from(letter, &self.shared.run_ids);
                if self.readers[reader].admits() {
                    self.admission.push_back((key, input));
                } else {
                    self.input(key, input);
                }
            }
            Err(reason) => {
                let topic = &self.readers[reader].topic;
                tracing::warn!(%topic, id = %letter.delivery.message.id, %reason, "dead letter");
                self.to_settle.push(letter.dead(reason));
            }
        }
    }

    fn read_reply(&self, definition: &Definition, message: &Message) -> Result<(SagaKey, Read), String> {
        if let Some(reply) = Reply::parse(message).map_err(|malformed| malformed.to_string())? {
            if !self.shared.registry.knows(&reply.key.saga) {
                return Err(format!("saga {} is not known here", reply.key.saga));
            }
            let read = Read::Reply {
                run: Some((reply.run, reply.round)),
                step: reply.step,
                action: reply.action,
                report: reply.report,
            };
            return Ok((reply.key, read));
        }
        let Some(edge) = &definition.reply_codec else {
            return Err("a reply without attributes, and the saga has no codec for such".to_owned());
        };
        let reply = (edge.codec)(message)?;
        let key = SagaKey { saga: Arc::clone(&definition.id.name), id: reply.id };
        Ok((key, Read::Reply { run: None, step: reply.step, action: reply.action, report: reply.report }))
    }
}

/// What was read from a message, before the message itself is joined to it.
enum Read {
    Reply {
        run: Option<(RunId, u32)>,
        step: Arc<str>,
        action: crate::record::Action,
        report: crate::record::Report,
    },
    Start {
        definition: Arc<Definition>,
        input: crate::record::Payload,
        traceparent: Option<Arc<str>>,
    },
    Cancel {
        run: Option<RunId>,
        who: Arc<str>,
        why: Arc<str>,
    },
}

impl Read {
    fn from(self, letter: Letter, run_ids: &RunIds) -> Input {
        match self {
            Self::Reply { run, step, action, report } => {
                Input::Reply(ReplyInput { run, step, action, report, from: letter })
            }
            Self::Start { definition, input, traceparent } => Input::Start(StartInput {
                definition,
                run: run_ids.draw(),
                input,
                traceparent,
                from: From::Letter(letter),
                waiter: None,
            }),
            Self::Cancel { run, who, why } => {
                Input::Cancel(CancelInput { run, who, why, from: From::Letter(letter) })
            }
        }
    }
}

fn read_start(
    definition: &Arc<Definition>,
    index: usize,
    message: &Message,
) -> Result<(SagaKey, Read), String> {
    let start = (definition.triggers[index].codec)(message)?;
    let key = SagaKey { saga: Arc::clone(&definition.id.name), id: start.id };
    let traceparent = message.headers.get(attributes::TRACEPARENT).map(Into::into);
    Ok((key, Read::Start { definition: Arc::clone(definition), input: start.input, traceparent }))
}

fn read_cancel(definition: &Definition, index: usize, message: &Message) -> Result<(SagaKey, Read), String> {
    let cancel = (definition.cancels[index].codec)(message)?;
    let key = SagaKey { saga: Arc::clone(&definition.id.name), id: cancel.id };
    // Our own announcement that a saga unwinds may come back on this topic; it names its run.
    let run = message.headers.get(attributes::RUN).and_then(|run| run.parse().ok());
    let who = message.headers.get(attributes::SOURCE).unwrap_or(message.topic.as_str()).into();
    Ok((key, Read::Cancel { run, who, why: cancel.why }))
}

/// Whether an error of the bus will not go away by waiting.
pub(super) const fn is_final(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Permanent)
}
