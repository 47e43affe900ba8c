use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::recorder::Recorder;
use crate::definition::Saga;
use crate::memory::lock;
use crate::ports::{Callback, CallbackError, Ended};
use crate::record::MessageId;

/// A scripted receiver of the completion call. Given to [`Harness::callback`](super::Harness::callback).
#[derive(Debug, Default)]
#[must_use = "give it to `Harness::callback`"]
pub struct CallbackScript {
    errors: u32,
    refusal: Option<String>,
    calls: Mutex<HashMap<MessageId, u32>>,
}

impl CallbackScript {
    /// Answers every call.
    pub fn answers() -> Self {
        Self::default()
    }

    /// Refuses for good: an operator's `retry` is needed.
    pub fn refuses(reason: impl Into<String>) -> Self {
        Self { refusal: Some(reason.into()), ..Self::default() }
    }

    /// The first calls of each saga have no answer.
    pub const fn after_errors(mut self, errors: u32) -> Self {
        self.errors = errors;
        self
    }
}

#[async_trait]
impl Callback for CallbackScript {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let call = {
            let mut calls = lock(&self.calls);
            let call = calls.entry(ended.id.clone()).or_default();
            *call = call.saturating_add(1);
            *call
        };
        match &self.refusal {
            _ if call <= self.errors => Err(CallbackError::Retry(format!("scripted error {call}"))),
            Some(reason) => Err(CallbackError::Refused(reason.clone())),
            None => Ok(()),
        }
    }
}

/// In place of each of the saga's callbacks: writes the call down and passes it on.
#[derive(Debug)]
struct Recorded {
    own: Arc<dyn Callback>,
    script: Arc<ScriptSlot>,
    recorder: Arc<Recorder>,
}

/// The script that answers in place of the saga's own callbacks, if there is one.
pub(super) type ScriptSlot = Mutex<Option<Arc<dyn Callback>>>;

#[async_trait]
impl Callback for Recorded {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let callback = lock(&self.script).clone().unwrap_or_else(|| Arc::clone(&self.own));
        let result = callback.call(ended).await;
        self.recorder.called_back(ended);
        result
    }
}

/// The same saga, with callbacks that write down who was called.
pub(super) fn with_recorded_callbacks<In>(
    saga: &Saga<In>,
    script: &Arc<ScriptSlot>,
    recorder: &Arc<Recorder>,
) -> Saga<In> {
    let mut definition = (**saga.definition()).clone();
    let callbacks = std::mem::take(&mut definition.callbacks);
    let recorded = callbacks.into_iter().map(|(ending, own)| {
        let recorded = Recorded { own, script: Arc::clone(script), recorder: Arc::clone(recorder) };
        (ending, Arc::new(recorded) as Arc<dyn Callback>)
    });
    definition.callbacks = recorded.collect::<BTreeMap<_, _>>();
    Saga::new(definition)
}
