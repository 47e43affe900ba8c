//! Making callbacks.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;

use super::engine::{Engine, Happening};
use super::input::Input;
use crate::definition::panic_text;
use crate::machine::Event;
use crate::ports::CallbackError;
use crate::record::{MessageId, RunId, SagaKey, Status};

/// Whether it is what a callback's attempt came to.
const fn is_answer(input: &Input) -> bool {
    let Input::Did { event, .. } = input else { return false };
    matches!(event, Event::CallbackAnswered | Event::CallbackFailed { .. } | Event::CallbackRefused { .. })
}

/// What a callback's attempt came to.
pub(super) struct Called {
    key: SagaKey,
    run: RunId,
    event: Event,
}

impl Engine {
    /// Makes a saga's callback, unless it is under way, or answered and the answer not recorded yet; beyond the limit it waits for its turn.
    pub(super) fn call(&mut self, key: &SagaKey) {
        let Some(slot) = self.slots.get_mut(key) else { return };
        if !slot.is_calling && !slot.inputs.iter().any(is_answer) {
            slot.is_calling = true;
            self.callbacks_waiting.push_back(key.clone());
            self.call_next();
        }
    }

    fn call_next(&mut self) {
        while self.callbacks_in_flight < self.shared.options.callbacks_in_flight_max && !self.is_draining {
            let Some(key) = self.callbacks_waiting.pop_front() else { return };
            self.start_call(key);
        }
    }

    fn start_call(&mut self, key: SagaKey) {
        let Some(slot) = self.slots.get_mut(&key) else { return };
        let Some(instance) = &slot.instance else {
            // It was forgotten after a conflict; once read again it will still owe the callback.
            slot.is_calling = false;
            return;
        };
        let ending = match instance.status() {
            Status::Completed => crate::record::Ending::Completed,
            Status::RolledBack => crate::record::Ending::RolledBack,
            _ => crate::record::Ending::Abandoned,
        };
        let Some(callback) = instance.definition().callbacks.get(&ending).cloned() else { return };
        let run = instance.run();
        let id = MessageId::new(format!("{run}/callback/{ending}"));
        let ended = instance.ended(key.clone(), id);
        let clock = Arc::clone(&self.shared.clock);
        let time_max = self.shared.options.callback_time_max;
        self.callbacks_in_flight += 1;
        self.push_awaited(async move {
            let call = AssertUnwindSafe(async { callback.call(&ended).await }).catch_unwind();
            let event = tokio::select! {
                biased;
                result = call => match result {
                    Ok(Ok(())) => Event::CallbackAnswered,
                    Ok(Err(CallbackError::Retry(reason))) => Event::CallbackFailed { reason: reason.into() },
                    Ok(Err(CallbackError::Refused(reason))) => Event::CallbackRefused { reason: reason.into() },
                    Err(panic) => {
                        let reason = format!("the callback panicked: {}", panic_text(&*panic));
                        Event::CallbackFailed { reason: reason.into() }
                    }
                },
                () = clock.sleep(time_max) => {
                    Event::CallbackFailed { reason: format!("no answer within {time_max:?}").into() }
                }
            };
            Happening::Called(Called { key, run, event })
        });
    }

    pub(super) fn called(&mut self, called: Called) {
        self.under_way -= 1;
        self.callbacks_in_flight -= 1;
        let Called { key, run, event } = called;
        match &event {
            Event::CallbackRefused { reason } => {
                tracing::error!(saga = %key.saga, id = %key.id, %run, %reason, "the callback was refused; an operator's retry is needed");
            }
            Event::CallbackFailed { reason } => {
                tracing::warn!(saga = %key.saga, id = %key.id, %run, %reason, "the callback had no answer; trying again");
            }
            _ => {}
        }
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.is_calling = false;
        }
        self.input(key, Input::Did { run, event });
        self.call_next();
    }
}
