//! The completion call, and who hears it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use saga_core::{Callback, CallbackError, Ended};
use tokio::time::sleep;

use crate::chance::{chance, happens};
use crate::coverage::{Fault, Sight};
use crate::mutants::Mutant;
use crate::process::{Edge, Port, Process};

/// Longer than anybody waits.
const HANGS_FOR: Duration = Duration::from_secs(20);

/// Called by a process.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) process: Arc<Process>,
}

#[async_trait]
impl Callback for Told {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let world = &self.process.world;
        self.process.pass(Port::Callback, Edge::Before).await;
        let nth = world.called(&self.process.name, ended, world.mutant == Some(Mutant::CallbackIdPerAttempt));
        let mut rng = chance(world.plan.seed, ("callback", ended.key.id.as_str(), nth));
        if nth < 4 && happens(&mut rng, 100) {
            world.coverage.fault(Fault::CallbackHangs);
            sleep(HANGS_FOR).await;
        }
        let answer = if nth < 3 && happens(&mut rng, 300) {
            Err(CallbackError::Retry("busy".to_owned()))
        } else if nth < 6 && happens(&mut rng, 100) {
            world.coverage.sight(Sight::CallbackRefused);
            Err(CallbackError::Refused("no".to_owned()))
        } else {
            Ok(())
        };
        self.process.pass(Port::Callback, Edge::After).await;
        answer
    }
}
