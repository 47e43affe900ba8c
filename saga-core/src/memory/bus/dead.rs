use std::collections::VecDeque;

use crate::ports::DeadLetter;
use crate::record::Topic;
use crate::wire::Message;
use crate::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC};

/// The dead letters of all topics, the oldest first.
#[derive(Default)]
pub(super) struct DeadLetters(VecDeque<DeadLetter>);

impl DeadLetters {
    /// Adds one; beyond `max` the oldest is lost.
    pub(super) fn push(&mut self, mut letter: DeadLetter, max: usize) {
        let message = &mut letter.message;
        let about = [
            (DEAD_REASON, &*letter.reason),
            (DEAD_TOPIC, message.topic.as_str()),
            (DEAD_GROUP, &*letter.group),
        ];
        message.headers = clean(message).headers.with(about);
        self.0.push_back(letter);
        while self.0.len() > max {
            let Some(lost) = self.0.pop_front() else { return };
            tracing::warn!(
                topic = %lost.message.topic,
                id = %lost.message.id,
                reason = lost.reason,
                "the in-memory bus holds {max} dead letters: the oldest is lost"
            );
        }
    }

    pub(super) fn of(&self, topic: &Topic) -> Vec<DeadLetter> {
        self.0.iter().filter(|letter| letter.message.topic == *topic).cloned().collect()
    }

    /// Takes those of a topic out, as they were published.
    pub(super) fn take(&mut self, topic: &Topic) -> Vec<DeadLetter> {
        let all = std::mem::take(&mut self.0);
        let (mut taken, kept): (VecDeque<_>, _) =
            all.into_iter().partition(|letter| letter.message.topic == *topic);
        self.0 = kept;
        taken.iter_mut().for_each(|letter| letter.message = clean(&letter.message));
        taken.into()
    }
}

/// The message without what an earlier stay among the dead letters added.
fn clean(message: &Message) -> Message {
    let mut message = message.clone();
    message.headers = message.headers.without(&[DEAD_REASON, DEAD_TOPIC, DEAD_GROUP]);
    message
}
