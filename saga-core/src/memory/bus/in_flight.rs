use super::group::Queued;

/// The deliveries of a group that are not settled yet, found by their token in one step.
pub(super) struct InFlight {
    slots: Vec<Slot>,
    free: Vec<u32>,
    serial: u32,
}

struct Slot {
    serial: u32,
    held: Option<Held>,
}

/// A delivered message, kept until it is settled.
pub(super) struct Held {
    pub(super) queued: Queued,
    pub(super) member: u32,
}

impl InFlight {
    /// `salt` keeps the tokens of different groups apart, so that a receipt given to the wrong one is found out.
    pub(super) const fn new(salt: u32) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), serial: salt.wrapping_mul(0x9E37_79B9) }
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Keeps a delivered message, and returns the token of this delivery.
    pub(super) fn insert(&mut self, held: Held) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let slot = Slot { serial: self.serial, held: Some(held) };
        let at = if let Some(at) = self.free.pop() {
            self.slots[at as usize] = slot;
            at
        } else {
            let at = u32::try_from(self.slots.len()).expect("fewer than 2^32 deliveries in flight");
            self.slots.push(slot);
            at
        };
        u64::from(self.serial) << 32 | u64::from(at)
    }

    /// Takes a delivery of this member out; `None` when it was taken back or settled before.
    pub(super) fn remove(&mut self, token: u64, member: u32) -> Option<Held> {
        let (serial, at) = ((token >> 32) as u32, token as u32);
        let slot = self.slots.get_mut(at as usize).filter(|slot| slot.serial == serial)?;
        let held = slot.held.take_if(|held| held.member == member)?;
        self.free.push(at);
        Some(held)
    }

    /// Takes out all deliveries of a member, in no particular order.
    pub(super) fn remove_all(&mut self, member: u32) -> Vec<Held> {
        let mut taken = Vec::new();
        for (at, slot) in (0_u32..).zip(&mut self.slots) {
            if let Some(held) = slot.held.take_if(|held| held.member == member) {
                taken.push(held);
                self.free.push(at);
            }
        }
        taken
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().filter_map(|slot| slot.held.as_ref())
    }
}
