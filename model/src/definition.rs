//! From shapes to the real definition.

use std::sync::Arc;

use async_trait::async_trait;
use saga_core::definition::{Definition, StepRef};
use saga_core::ports::{CallbackError, Ended};
use saga_core::{
    Callback, Compensatable, Contract, Ending, Kind, NoUndo, Pivot, Retriable, Retry, Saga, SagaBuilder,
    StepKind,
};

use crate::config::Config;
use crate::mutants::Mutant;

const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

/// The definition that a configuration explores.
pub(crate) fn define(config: &Config, mutant: Option<Mutant>) -> Arc<Definition> {
    let mut saga = Saga::<u64>::builder("model", 1);
    let mut steps: Vec<StepRef<u64>> = Vec::new();
    for (at, shape) in config.steps.iter().enumerate() {
        let after: Vec<_> = shape.after.iter().map(|earlier| steps[*earlier]).collect();
        let kind = match shape.kind {
            Kind::Pivot if mutant == Some(Mutant::PivotForgotten) => Kind::NoUndo,
            kind => kind,
        };
        let step = add(&mut saga, at, kind, &after);
        if let Some(deadline) = shape.deadline {
            saga.configure(&step).deadline(deadline);
        }
        steps.push(step);
    }
    saga.on_first_failure(config.policy);
    if let Some(deadline) = config.deadline {
        saga.deadline(deadline);
    }
    if config.has_callback {
        for ending in [Ending::Completed, Ending::RolledBack, Ending::Abandoned] {
            saga.callback(ending, Arc::new(Told));
        }
        saga.callback_retry(Retry::FOREVER);
    }
    let saga = saga.build().unwrap_or_else(|error| panic!("configuration {}: {error}", config.name));
    Arc::clone(saga.definition())
}

fn add(saga: &mut SagaBuilder<u64>, at: usize, kind: Kind, after: &[StepRef<u64>]) -> StepRef<u64> {
    match kind {
        Kind::Compensatable => add_as::<Compensatable>(saga, at, after),
        Kind::Pivot => add_as::<Pivot>(saga, at, after),
        Kind::Retriable => add_as::<Retriable>(saga, at, after),
        Kind::NoUndo => add_as::<NoUndo>(saga, at, after),
    }
}

fn add_as<K: StepKind>(saga: &mut SagaBuilder<u64>, at: usize, after: &[StepRef<u64>]) -> StepRef<u64> {
    let contract = Contract::<u64, u64, K>::new(NAMES[at]);
    saga.step_after(after, &contract, |input, outputs: Vec<u64>| input + outputs.iter().sum::<u64>())
}

/// The model makes the calls itself.
#[derive(Debug)]
struct Told;

#[async_trait]
impl Callback for Told {
    async fn call(&self, _: &Ended) -> Result<(), CallbackError> {
        Ok(())
    }
}
