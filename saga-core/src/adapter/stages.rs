use std::fmt;

use tokio::sync::watch;

/// How far a subscription is. It only goes on, never back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// It reads.
    Reading,
    /// Nothing more is delivered; what is delivered can still be settled.
    Closed,
    /// What was not settled is given back.
    Leaving,
    /// The group is left.
    Left,
}

/// The stage of a subscription, shared by whoever uses it and whoever does its work.
pub struct Stages(watch::Sender<Stage>);

impl Stages {
    /// Goes on to a stage; nothing happens when it is there or further already.
    pub fn advance(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let is_new = *stage < to;
            *stage = to.max(*stage);
            is_new
        });
    }

    /// Where it is.
    pub fn now(&self) -> Stage {
        *self.0.borrow()
    }

    /// Waits until it is there, or further. Cancel-safe.
    pub async fn reached(&self, wanted: Stage) {
        let mut stage = self.0.subscribe();
        // An error cannot come: the sender is here.
        let _reached = stage.wait_for(|stage| *stage >= wanted).await;
    }
}

impl Default for Stages {
    fn default() -> Self {
        Self(watch::Sender::new(Stage::Reading))
    }
}

impl fmt::Debug for Stages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.now().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_goes_on_and_never_back() {
        let stages = Stages::default();
        assert_eq!(stages.now(), Stage::Reading);
        stages.advance(Stage::Leaving);
        stages.advance(Stage::Closed);
        assert_eq!(stages.now(), Stage::Leaving);
        stages.reached(Stage::Closed).await;
        let left =
            tokio::time::timeout(std::time::Duration::from_millis(5), stages.reached(Stage::Left)).await;
        assert!(left.is_err());
    }
}
