use std::collections::VecDeque;

use crate::ports::DeadLetter;
use crate::record::Topic;
use crate::wire::Command;
use crate::wire::attributes::{DEAD_GROUP, DEAD_REASON, DEAD_TOPIC, TYPE};

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
        message.headers = message.clone().without_dead_attributes().headers.with(about);
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

    /// Takes at most `max` of a group out, the oldest first, as they were published. Commands of sagas stay, and are counted.
    pub(super) fn take(&mut self, topic: &Topic, group: &str, max: usize) -> (Vec<DeadLetter>, u64) {
        let (mut taken, mut kept) = (Vec::new(), 0);
        let all = std::mem::take(&mut self.0);
        for mut letter in all {
            let is_wanted = letter.message.topic == *topic && &*letter.group == group && taken.len() < max;
            if is_wanted && letter.message.headers.get(TYPE) != Some(Command::TYPE) {
                letter.message = letter.message.without_dead_attributes();
                taken.push(letter);
            } else {
                kept += u64::from(is_wanted);
                self.0.push_back(letter);
            }
        }
        (taken, kept)
    }

    /// Drops those of a topic that is deleted.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.0.retain(|letter| letter.message.topic != *topic);
    }
}
