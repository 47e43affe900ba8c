//! Performing what is owed: commands and announcements in one batched publish, and then the settling of the inputs that led to them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::engine::{Engine, Happening};
use super::input::{Input, Settling};
use super::intake::is_final;
use crate::error::Error;
use crate::machine::{Effect, Event, Instance};
use crate::ports::{Published, Settlement, Subscription};
use crate::publish::publish_surely;
use crate::record::{Action, Announcement, MessageId, Report, RunId, SagaKey, StepIndex};
use crate::wire::{Command, Known, Message, attributes};

/// Messages to be published, and the inputs to be settled after that.
#[derive(Default)]
pub(super) struct Batch {
    messages: Vec<Message>,
    sent: Vec<Sent>,
    pub(super) settlings: Vec<Settling>,
}

/// What a message of a batch performs.
pub(super) struct Sent {
    key: SagaKey,
    run: RunId,
    effect: Effect,
    /// Nobody can have performed it before.
    is_first: bool,
}

/// What became of a batch.
pub(super) struct Performed {
    sent: Vec<Sent>,
    published: Vec<Published>,
}

impl Engine {
    /// Adds what performs an effect to the batch. Callbacks go their own way.
    pub(super) fn owe(&mut self, key: &SagaKey, effect: Effect, is_first: bool, batch: &mut Batch) {
        let now = self.now();
        let Some(instance) = self.slots.get(key).and_then(|slot| slot.instance.as_ref()) else { return };
        let run = instance.run();
        let message = match effect {
            Effect::Command { step, action, round } => {
                if now.since(instance.owed_since(effect)) >= self.shared.options.stalled_after {
                    let step = instance.definition().step_name(step);
                    tracing::warn!(saga = %key.saga, id = %key.id, %run, %step, %action, "stalled: no answer yet; sending again");
                }
                command(instance, key, step, action, round)
            }
            Effect::Announce(announcement) => match announce(instance, key, announcement) {
                Ok(message) => message,
                Err(reason) => return self.announcement_refused(key.clone(), run, announcement, &reason),
            },
            Effect::Callback { not_before, .. } if not_before <= now => return self.call(key),
            Effect::Callback { .. } => return,
        };
        batch.messages.push(message);
        batch.sent.push(Sent { key: key.clone(), run, effect, is_first });
    }

    /// Publishes a batch, then settles its inputs: a crash in between brings them again, and what they owe is performed again.
    pub(super) fn perform(&mut self, batch: Batch) {
        let Batch { messages, sent, settlings } = batch;
        if messages.is_empty() {
            self.to_settle.extend(settlings);
            return;
        }
        let bus = Arc::clone(&self.shared.bus);
        let clock = Arc::clone(&self.shared.clock);
        let groups = self.by_subscription(settlings);
        self.publishes_in_flight += 1;
        self.push_awaited(async move {
            let published = publish_surely(&*bus, &*clock, messages).await;
            for (subscription, settlements) in groups {
                let _stale_ones_come_again = subscription.settle(settlements).await;
            }
            Happening::Performed(Performed { sent, published })
        });
    }

    pub(super) fn settle_queued(&mut self) {
        let settlings = std::mem::take(&mut self.to_settle);
        for (subscription, settlements) in self.by_subscription(settlings) {
            self.push_awaited(async move {
                let _stale_ones_come_again = subscription.settle(settlements).await;
                Happening::Settled
            });
        }
    }

    fn by_subscription(&self, settlings: Vec<Settling>) -> Vec<(Arc<dyn Subscription>, Vec<Settlement>)> {
        let mut groups = BTreeMap::<usize, Vec<Settlement>>::new();
        for (reader, settlement) in settlings {
            groups.entry(reader).or_default().push(settlement);
        }
        groups
            .into_iter()
            .map(|(reader, settlements)| (Arc::clone(&self.readers[reader].subscription), settlements))
            .collect()
    }

    pub(super) fn performed(&mut self, performed: Performed) {
        self.under_way -= 1;
        self.publishes_in_flight -= 1;
        for (sent, published) in performed.sent.into_iter().zip(performed.published) {
            match (published, sent.effect) {
                (Published::Acked, Effect::Announce(announcement)) => {
                    self.input(sent.key, Input::Did { run: sent.run, event: Event::Announced(announcement) });
                }
                (Published::Acked, _) => {}
                (Published::Rejected(error), _) if is_final(&error) => self.refused(sent, &error),
                (Published::Rejected(error) | Published::Unknown(error), _) => {
                    tracing::warn!(saga = %sent.key.saga, id = %sent.key.id, run = %sent.run, %error, "not published; it will be sent again");
                    if let Some(slot) = self.slots.get_mut(&sent.key) {
                        slot.is_unpublished = true;
                    }
                }
            }
        }
    }

    /// The bus will never take this message, for example because it is too large. The saga is told as if its participant had said so.
    fn refused(&mut self, sent: Sent, error: &Error) {
        tracing::error!(saga = %sent.key.saga, id = %sent.key.id, run = %sent.run, %error, "the bus refuses the message for good");
        let reason: Arc<str> = format!("its message cannot be sent: {error}").into();
        let (step, action, round) = match sent.effect {
            Effect::Command { step, action, round } => (step, action, round),
            Effect::Announce(announcement) => {
                return self.announcement_refused(sent.key, sent.run, announcement, &reason);
            }
            Effect::Callback { .. } => return,
        };
        let report = match action {
            // Nothing of it was ever sent: it had no effect.
            Action::Execute if sent.is_first => Report::Rejected { reason },
            Action::Execute => Report::Failed { reason },
            Action::Undo => Report::UndoFailed { reason },
            Action::Fence => return,
        };
        let event = Event::Reply { step, action, round, report };
        self.input(sent.key, Input::Did { run: sent.run, event });
    }

    fn announcement_refused(&mut self, key: SagaKey, run: RunId, announcement: Announcement, reason: &str) {
        tracing::error!(saga = %key.saga, id = %key.id, %run, %announcement, %reason, "the announcement cannot be made");
        let event = Event::AnnouncementRefused { announcement, reason: reason.into() };
        self.input(key, Input::Did { run, event });
    }
}

fn command(instance: &Instance, key: &SagaKey, step: StepIndex, action: Action, round: u32) -> Message {
    let definition = instance.definition();
    let to = definition.step(step);
    let (input, dispatched_at) = instance.step_input(step);
    let known = if action == Action::Execute { Known::Unknown } else { instance.known(step) };
    let command = Command {
        key: key.clone(),
        run: instance.run(),
        step: Arc::clone(&to.name),
        action,
        round,
        dispatched_at,
        known,
        retry: to.retry,
        reply_to: definition.replies.clone(),
        traceparent: instance.traceparent().cloned(),
        input: input.clone(),
    };
    command.into_message(to.topic.clone(), &definition.source)
}

fn announce(instance: &Instance, key: &SagaKey, announcement: Announcement) -> Result<Message, String> {
    let definition = instance.definition();
    let edge = definition.announcements.get(&announcement).ok_or("it is not in the definition")?;
    let id = MessageId::new(format!("{}/announce/{announcement}", instance.run()));
    let ended = instance.ended(key.clone(), id.clone());
    let payload = (edge.body)(&ended)?;
    let run = instance.run().to_string();
    let mut headers = vec![
        (attributes::SPECVERSION, "1.0"),
        (attributes::TYPE, "saga.announcement"),
        (attributes::SOURCE, &*definition.source),
        (attributes::SUBJECT, key.id.as_str()),
        (attributes::CONTENT_TYPE, "application/json"),
        (attributes::SAGA, &*key.saga),
        (attributes::RUN, &*run),
    ];
    headers.extend(instance.traceparent().map(|traceparent| (attributes::TRACEPARENT, &**traceparent)));
    let mut message = Message::new(edge.topic.clone(), payload).keyed(key.id.shared());
    message.id = id;
    message.headers = headers.into_iter().collect();
    Ok(message)
}
