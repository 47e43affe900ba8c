use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, ErrorKind};
use crate::memory::hash::FastHash;
use crate::ports::Lease;
use crate::record::Timestamp;

/// The coordinators and their leases. Only an owner's newest epoch can be alive.
#[derive(Default)]
pub(super) struct Owners {
    numbers: HashMap<Arc<str>, u32, FastHash>,
    all: Vec<OwnerState>,
    /// Appends come in batches of one owner.
    last: u32,
}

/// Whose a saga is: an owner by its number, and the epoch of its lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Owner {
    number: u32,
    epoch: u64,
}

struct OwnerState {
    name: Arc<str>,
    /// 0 before the first lease.
    epoch: u64,
    until: Timestamp,
}

impl Owners {
    pub(super) fn owner(&mut self, name: &str, epoch: u64) -> Owner {
        Owner { number: self.number(name), epoch }
    }

    pub(super) fn lease(
        &mut self,
        name: &str,
        epoch: Option<u64>,
        ttl: Duration,
        now: Timestamp,
    ) -> Result<Lease, Error> {
        let owner = match epoch {
            Some(epoch) => self.alive(name, epoch, now)?,
            None => {
                let number = self.number(name);
                let state = &mut self.all[number as usize];
                state.epoch += 1;
                Owner { number, epoch: state.epoch }
            }
        };
        let until = now.after(ttl);
        self.all[owner.number as usize].until = until;
        Ok(Lease { epoch: owner.epoch, now, until })
    }

    pub(super) fn release(&mut self, name: &str, epoch: u64, now: Timestamp) {
        if let Ok(owner) = self.alive(name, epoch, now) {
            self.all[owner.number as usize].until = now;
        }
    }

    /// The owner, if its lease has not run out.
    pub(super) fn alive(&mut self, name: &str, epoch: u64, now: Timestamp) -> Result<Owner, Error> {
        let owner = self.owner(name, epoch);
        if self.is_alive(owner, now) {
            return Ok(owner);
        }
        let message = format!("lease {epoch} of coordinator {name} has run out: begin a new one");
        Err(Error::new(ErrorKind::Conflict, message))
    }

    pub(super) fn is_alive(&self, owner: Owner, now: Timestamp) -> bool {
        let state = &self.all[owner.number as usize];
        state.epoch == owner.epoch && now < state.until
    }

    fn number(&mut self, name: &str) -> u32 {
        if self.all.get(self.last as usize).is_some_and(|state| *state.name == *name) {
            return self.last;
        }
        self.last = if let Some(&number) = self.numbers.get(name) {
            number
        } else {
            let number = u32::try_from(self.all.len()).expect("fewer than 2^32 coordinators");
            let name: Arc<str> = name.into();
            self.numbers.insert(Arc::clone(&name), number);
            self.all.push(OwnerState { name, epoch: 0, until: Timestamp::default() });
            number
        };
        self.last
    }
}
