//! What the participants of the storm write down, each for itself, and what must be true of it in the end.

use std::collections::HashMap;
use std::sync::Mutex;

use async_trait::async_trait;
use saga::{Callback, CallbackError, Ended, Ending, Status, StepContext};

/// The steps that leave an effect when the saga completes.
const STEPS: [&str; 4] = ["stock", "payment", "booking", "mail"];

/// The books of all participants, and of the receiver of the completion call.
#[derive(Debug)]
pub(crate) struct Books {
    seed: u64,
    pages: Mutex<HashMap<(String, String), Page>>,
    calls: Mutex<HashMap<String, Vec<(String, Ending)>>>,
}

/// What happened outside for one step of one saga.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    /// How often a handler came to the point of doing it.
    done: u32,
    undone: u32,
    /// Whether the effect is there now.
    in_effect: bool,
    /// It was to be done after it had been undone.
    came_back: bool,
}

impl Books {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, pages: Mutex::default(), calls: Mutex::default() }
    }

    /// A number that decides how this step of this saga behaves, whatever else happens.
    pub(crate) fn fate(&self, ctx: &StepContext, salt: u64) -> u64 {
        let text = format!("{}/{}/{salt}", ctx.saga.id, ctx.step);
        let hash = text.bytes().fold(self.seed ^ 0xCBF2_9CE4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Dice::new(hash).below(1_000)
    }

    /// The effect, under its idempotency key: doing it again changes nothing.
    pub(crate) fn execute(&self, ctx: &StepContext) {
        self.turn_to(ctx, |page| {
            page.done += 1;
            page.came_back |= page.undone > 0;
            page.in_effect = true;
        });
    }

    pub(crate) fn undo(&self, ctx: &StepContext) {
        self.turn_to(ctx, |page| {
            page.undone += 1;
            page.in_effect = false;
        });
    }

    fn turn_to(&self, ctx: &StepContext, write: impl FnOnce(&mut Page)) {
        let key = (ctx.saga.id.to_string(), ctx.step.to_string());
        write(self.pages.lock().unwrap().entry(key).or_default());
    }

    /// All of it or nothing of it, and the call was about that.
    pub(crate) fn check(&self, id: &str, status: Status) {
        let pages = self.pages.lock().unwrap();
        for step in STEPS {
            let page = pages.get(&(id.to_owned(), step.to_owned())).cloned().unwrap_or_default();
            let seed = self.seed;
            assert_eq!(
                page.in_effect,
                status == Status::Completed,
                "seed {seed}: {id} {step} {status}: {page:?}"
            );
            assert!(!page.came_back, "seed {seed}: {id} {step} was done after it was undone: {page:?}");
            assert!(status == Status::RolledBack || page.undone == 0, "seed {seed}: {id} {step}: {page:?}");
        }
        let calls = self.calls.lock().unwrap();
        let calls = calls.get(id).unwrap_or_else(|| panic!("seed {}: no call for {id}", self.seed));
        assert!(
            calls.iter().all(|call| *call == calls[0] && Status::from(call.1) == status),
            "{id}: {calls:?}"
        );
    }

    pub(crate) fn check_that_nothing_ran_twice(&self) {
        for (step, page) in self.pages.lock().unwrap().iter() {
            assert!(page.done <= 1 && page.undone <= 1, "seed {}: {step:?}: {page:?}", self.seed);
        }
    }
}

#[async_trait]
impl Callback for Books {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let mut calls = self.calls.lock().unwrap();
        let calls = calls.entry(ended.key.id.to_string()).or_default();
        calls.push((ended.id.to_string(), ended.ending));
        if calls.len() == 1 {
            return Err(CallbackError::Retry("the receiver is away".to_owned()));
        }
        Ok(())
    }
}

/// Numbers from a seed (xorshift).
#[derive(Debug)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        dice.below(1);
        dice
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }
}
