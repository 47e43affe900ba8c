//! What participants do: by the seed they succeed, refuse, fail, try again, take too long or panic; and their effects are in the ledger.

use std::sync::Arc;

use async_trait::async_trait;
use saga_core::ports::{Clock, Effects, Performed, Task};
use saga_core::record::{Action, Report};
use saga_core::{Compensation, Kind, Payload, Step, StepContext, StepError, Undo};

use crate::chance::{between, chance, happens};
use crate::coverage::{Fault, Sight};
use crate::definitions::Ask;
use crate::laws::Law;
use crate::ledger::Answer;
use crate::process::{Edge, Port, Process};
use crate::world::{World, lock};

/// A handler of one contract in one process.
#[derive(Clone)]
pub(crate) struct Worker {
    pub(crate) process: Arc<Process>,
    pub(crate) kind: Kind,
    pub(crate) system: System,
}

/// Where effects are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum System {
    /// In one transaction with the barrier's row.
    Bound,
    /// Outside, where an execution is refused after its undo.
    Strict,
    /// Outside, where an execution that comes after its undo has its effect all the same. Then the undo must never be given up.
    Lenient,
}

/// How a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Fine,
    Reject,
    /// Gives up, having done nothing.
    FailBefore,
    /// Gives up, having done it.
    FailAfter,
    /// Some attempts fail before they have an effect.
    RetryBefore(u32),
    /// Some attempts fail although they have had one.
    RetryAfter(u32),
    /// Refuses after an attempt that had an effect.
    RefuseLate,
    /// The first attempt takes too long.
    Slow,
    Panic,
}

/// What a step returns.
pub(crate) fn output(seed: u64, n: u32, step: &str) -> u64 {
    chance(seed, ("output", n, step)).u64(..)
}

impl Worker {
    fn is_bound(&self) -> bool {
        self.system == System::Bound
    }

    fn way(&self, ctx: &StepContext, n: u32) -> Way {
        let undo = ctx.action == Action::Undo;
        let mut rng = chance(self.process.world.plan.seed, ("way", n, &*ctx.step, undo));
        let (roll, times) = (rng.u32(0..100), rng.u32(1..=2));
        if ctx.round > 2 {
            return Way::Fine;
        }
        let way = match roll {
            0..55 => Way::Fine,
            55..63 => Way::RetryBefore(times),
            63..70 => Way::RetryAfter(times),
            70..74 => Way::Slow,
            74..77 => Way::Panic,
            77..81 => Way::FailBefore,
            81..85 => Way::FailAfter,
            85..90 => Way::RefuseLate,
            _ => Way::Reject,
        };
        match way {
            // An undo cannot be refused, and what comes after the pivot is not meant to be.
            Way::Reject | Way::RefuseLate if undo || self.kind == Kind::Retriable => Way::Fine,
            Way::FailBefore | Way::FailAfter if undo && self.system == System::Lenient => Way::Fine,
            way => way,
        }
    }

    async fn work(&self, ctx: &StepContext, n: u32) -> Result<u64, StepError> {
        let world = &self.process.world;
        self.process.pass(Port::Handler, Edge::Before).await;
        let what = (n, &*ctx.step, ctx.action == Action::Undo, ctx.round, ctx.attempt);
        let mut rng = chance(world.plan.seed, ("work", what));
        let way = self.way(ctx, n);
        world.trace.say(&self.process.name, || {
            format!("{} {}/{} attempt {}: {way:?}", ctx.action, ctx.run, ctx.step, ctx.attempt)
        });
        let mut time = between(&mut rng, 0, 300);
        if way == Way::Slow && ctx.attempt == 1 {
            world.coverage.sight(Sight::CutOff);
            time = world.plan.setup.claim_hold * 2;
        }
        if happens(&mut rng, 700) {
            world.clock.sleep(time).await;
            self.process.pass(Port::Handler, Edge::Before).await;
        }
        match way {
            Way::Reject => return Err(StepError::reject("refused")),
            Way::FailBefore => return Err(StepError::fail("failed before")),
            Way::RefuseLate if ctx.attempt > 1 => return Err(StepError::reject("refused at last")),
            Way::RetryBefore(times) if ctx.attempt <= times => return Err(StepError::retry("not yet")),
            Way::Panic if ctx.attempt == 1 => {
                world.coverage.sight(Sight::HandlerPanicked);
                // As `panic!` does, but without telling anybody: it is part of the plan.
                std::panic::resume_unwind(Box::new("a handler panics, as planned"));
            }
            _ => {}
        }
        let is_repeated = match way {
            Way::RetryAfter(times) => ctx.attempt <= times,
            Way::RefuseLate | Way::FailAfter => true,
            _ => false,
        };
        // In a transaction, nothing is done by an attempt that fails.
        if !(is_repeated && self.is_bound()) {
            self.act(ctx, n).await?;
        }
        self.process.pass(Port::Handler, Edge::After).await;
        match way {
            Way::FailAfter => Err(StepError::fail("failed after")),
            _ if is_repeated => Err(StepError::retry("done, and does not know it")),
            _ => Ok(output(world.plan.seed, n, &ctx.step)),
        }
    }

    /// Has the effect.
    async fn act(&self, ctx: &StepContext, n: u32) -> Result<(), StepError> {
        let world = &self.process.world;
        if self.is_bound() {
            return self.commit(ctx, n);
        }
        if ctx.action == Action::Undo {
            lock(&world.ledger).undo(ctx.run, &ctx.step, &ctx.saga);
            self.say(ctx);
            return Ok(());
        }
        let is_strict = self.system == System::Strict;
        let answer = lock(&world.ledger).execute_keyed(ctx.run, &ctx.step, &ctx.saga, is_strict);
        if answer == Answer::Refused {
            world.coverage.sight(Sight::KeyRefused);
            return Err(StepError::fail("its undo was here before"));
        }
        self.say(ctx);
        Ok(())
    }

    /// Has the effect and stores the verdict, both or neither.
    fn commit(&self, ctx: &StepContext, n: u32) -> Result<(), StepError> {
        let world = &self.process.world;
        let task = Task { run: ctx.run, step: Arc::clone(&ctx.step) };
        let token = ctx.claim.expect("participants give their handlers a claim");
        if !lock(&world.store).is_held_by(&task, token) {
            world.coverage.sight(Sight::RolledBackCommit);
            return Err(StepError::retry("another has the row"));
        }
        let report = if ctx.action == Action::Undo {
            lock(&world.ledger).undo(ctx.run, &ctx.step, &ctx.saga);
            Report::Undone
        } else {
            let executed = lock(&world.ledger).execute_bound(ctx.run, &ctx.step, &ctx.saga);
            executed.unwrap_or_else(|broken| world.breaks(broken));
            let output = Payload::json(&output(world.plan.seed, n, &ctx.step)).expect("a number is JSON");
            Report::Succeeded { output }
        };
        let now = world.clock.now();
        let completed = lock(&world.store).complete(&task, token, Performed::Final(report), now);
        self.say(ctx);
        if let Some((per_mille, mut rng)) = world.inbox_storm()
            && happens(&mut rng, per_mille)
        {
            world.coverage.fault(Fault::CommitUnknown);
            return Err(StepError::retry("no answer to the commit"));
        }
        ctx.completed(completed);
        Ok(())
    }

    fn say(&self, ctx: &StepContext) {
        self.process.world.trace.say(&self.process.name, || {
            format!("LEDGER {} {}/{} of {}", ctx.action, ctx.run, ctx.step, ctx.saga)
        });
    }
}

#[async_trait]
impl Step<Ask, u64> for Worker {
    async fn execute(&self, ask: Ask, ctx: &StepContext) -> Result<u64, StepError> {
        check_dependencies(&self.process.world, &ask, ctx);
        self.work(ctx, ask.n).await
    }

    fn effects(&self) -> Effects {
        if self.is_bound() { Effects::InTransaction } else { Effects::Anywhere }
    }
}

#[async_trait]
impl Compensation<Ask, u64> for Worker {
    async fn undo(&self, undo: Undo<Ask, u64>, ctx: &StepContext) -> Result<(), StepError> {
        let world = &self.process.world;
        if let Some(told) =
            undo.output.filter(|told| *told != output(world.plan.seed, undo.input.n, &ctx.step))
        {
            world.breaks(
                Law::NothingMissing.broken(format!("{} {}: its undo was told {told}", ctx.saga, ctx.step)),
            );
        }
        self.work(ctx, undo.input.n).await.map(drop)
    }
}

/// What a step is given by others must have been done by them.
fn check_dependencies(world: &World, ask: &Ask, ctx: &StepContext) {
    for got in &ask.got {
        let is_it = |step: &str| output(world.plan.seed, ask.n, step) == *got;
        if !lock(&world.ledger).was_executed(ctx.run, is_it) {
            let how = format!("{} {} was given {got}, which nobody had done", ctx.saga, ctx.step);
            world.breaks(Law::Dependencies.broken(how));
        }
    }
}
