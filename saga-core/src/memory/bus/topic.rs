use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::faults::Fate;
use super::group::{GroupState, Queued};
use crate::error::{Error, ErrorKind};
use crate::memory::lock;
use crate::ports::{Declaration, GroupStart, TopicKind};
use crate::record::{Timestamp, Topic};
use crate::wire::Message;

/// A topic: its groups and what it retains, behind one lock that is taken once for a batch and never held across an await.
pub(super) struct TopicCell {
    pub(super) name: Topic,
    pub(super) kind: TopicKind,
    pub(super) state: Mutex<TopicState>,
    /// Something may have become ready, or a member may go on or stop.
    pub(super) wake: Notify,
}

pub(super) struct TopicState {
    pub(super) groups: Vec<GroupState>,
    /// Its subscriptions still know it, and nobody else.
    pub(super) is_deleted: bool,
    /// The newest messages of an events topic, for groups that come late.
    retained: VecDeque<Queued>,
    retained_max: usize,
}

impl TopicCell {
    pub(super) fn new(name: Topic, kind: TopicKind, retained_max: usize, salt: u32) -> Self {
        // The messages of a commands topic wait for its one group, whatever that will be called.
        let (groups, retained_max) = match kind {
            TopicKind::Commands => (vec![GroupState::new(None, salt)], 0),
            TopicKind::Events => (Vec::new(), retained_max),
        };
        let state = TopicState { groups, is_deleted: false, retained: VecDeque::new(), retained_max };
        Self { name, kind, state: Mutex::new(state), wake: Notify::new() }
    }

    /// Adds the groups that are missing.
    pub(super) fn declare(
        &self,
        declaration: &Declaration,
        mut salt: impl FnMut() -> u32,
    ) -> Result<(), Error> {
        if self.kind != declaration.kind {
            let (topic, is, asked) = (&self.name, self.kind, declaration.kind);
            let message =
                format!("topic {topic} is one of {is:?} and cannot be declared as one of {asked:?}");
            return Err(Error::new(ErrorKind::Permanent, message));
        }
        let mut state = lock(&self.state);
        for group in &declaration.groups {
            if state.position(&group.name).is_some() {
                continue;
            }
            match self.kind {
                TopicKind::Events => {
                    let mut created = GroupState::new(Some(Arc::clone(&group.name)), salt());
                    if group.start == GroupStart::Earliest {
                        state.retained.iter().for_each(|queued| created.admit(queued.clone()));
                    }
                    state.groups.push(created);
                }
                TopicKind::Commands => self.name_group(&mut state.groups[0], &group.name)?,
            }
        }
        Ok(())
    }

    fn name_group(&self, group: &mut GroupState, name: &Arc<str>) -> Result<(), Error> {
        if let Some(known) = &group.name {
            let message = format!(
                "commands topic {} has the group {known}: a second one, {name}, would do the same work again; \
                 share the group or declare a topic of events",
                self.name
            );
            return Err(Error::new(ErrorKind::Permanent, message));
        }
        group.name = Some(Arc::clone(name));
        Ok(())
    }
}

impl TopicState {
    /// Where the group of this name is; groups are never removed.
    pub(super) fn position(&self, group: &str) -> Option<usize> {
        self.groups.iter().position(|state| state.name.as_deref() == Some(group))
    }

    /// The messages it keeps, as far as it can be told: what a topic of events retains, or what waits for the group of a topic of commands.
    pub(super) fn kept(&self) -> impl Iterator<Item = &Queued> {
        let commands = if self.retained_max == 0 { self.groups.first() } else { None };
        self.retained.iter().chain(commands.into_iter().flat_map(GroupState::all))
    }

    /// How many more messages every group can take.
    pub(super) fn room(&self, messages_max: usize) -> usize {
        let fullest = self.groups.iter().map(GroupState::waiting).max();
        // Without groups nothing waits: what is retained makes room by itself.
        fullest.map_or(usize::MAX, |fullest| messages_max.saturating_sub(fullest))
    }

    /// Hands a message to all groups. `fate` is what an injected fault does to it.
    pub(super) fn publish(&mut self, message: Message, now: Timestamp, fate: Option<&Fate>) {
        let queued = Queued { message, attempts: 0, published_at: now };
        if self.retained_max > 0 {
            if self.retained.len() == self.retained_max {
                self.retained.pop_front();
            }
            self.retained.push_back(queued.clone());
        }
        if let Some((last, others)) = self.groups.split_last_mut() {
            others.iter_mut().for_each(|group| admit(group, queued.clone(), now, fate));
            admit(last, queued, now, fate);
        }
    }
}

fn admit(group: &mut GroupState, queued: Queued, now: Timestamp, fate: Option<&Fate>) {
    let Some(fate) = fate else { return group.admit(queued) };
    for delay in fate.copies() {
        match delay {
            Some(delay) => group.admit_late(queued.clone(), now.after(delay)),
            None => group.admit(queued.clone()),
        }
    }
    if let Some(back) = fate.swap_back {
        group.swap_newest(back);
    }
}
