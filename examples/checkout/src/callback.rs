//! The completion call: the POST of `all task complete`, and who has answered it.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use saga::ports::{Callback, CallbackError, Ended};
use saga::webhook::Webhook;
use tokio::sync::watch;

use crate::checkout;

/// The webhook of the library, and the bookkeeping that this example needs to know when it may exit.
///
/// A service that runs for ever needs no more than the webhook: the saga itself repeats the call until it is answered.
#[derive(Clone, Debug)]
pub(crate) struct CompletionCall {
    webhook: Webhook,
    calls: Arc<watch::Sender<Calls>>,
}

/// The calls so far.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    /// Completed orders whose call has no answer yet.
    waiting: HashSet<String>,
    /// Answered before the example itself heard of the order's end.
    early: HashSet<String>,
    /// Calls that were answered.
    pub(crate) answered: u64,
    /// Calls that were refused for good.
    pub(crate) refused: u64,
    /// Why the last unanswered or refused call was so.
    pub(crate) problem: Option<String>,
}

impl CompletionCall {
    /// POSTs to `url`.
    pub(crate) fn new(url: &str) -> Result<Self, saga::Error> {
        let webhook = Webhook::post(url)?.body(checkout::all_task_complete);
        Ok(Self { webhook, calls: Arc::default() })
    }

    /// The order is complete: its call is made, or about to be.
    pub(crate) fn expect(&self, order_id: &str) {
        self.calls.send_modify(|calls| {
            if !calls.early.remove(order_id) {
                calls.waiting.insert(order_id.to_owned());
            }
        });
    }

    /// Waits until every call that was expected has been answered or refused.
    pub(crate) async fn all_answered(&self) {
        let mut calls = self.calls.subscribe();
        // The sender is here, so there is no other end than the one waited for.
        drop(calls.wait_for(|calls| calls.waiting.is_empty()).await);
    }

    /// How many calls wait for an answer.
    pub(crate) fn waiting(&self) -> usize {
        self.calls.borrow().waiting.len()
    }

    pub(crate) fn with<T>(&self, read: impl FnOnce(&Calls) -> T) -> T {
        read(&self.calls.borrow())
    }
}

#[async_trait]
impl Callback for CompletionCall {
    async fn call(&self, ended: &Ended) -> Result<(), CallbackError> {
        let result = self.webhook.call(ended).await;
        self.calls.send_modify(|calls| match &result {
            Ok(()) => {
                calls.answered += 1;
                calls.is_over(ended.key.id.as_str());
            }
            Err(CallbackError::Retry(problem)) => calls.problem = Some(problem.clone()),
            Err(CallbackError::Refused(problem)) => {
                calls.refused += 1;
                calls.problem = Some(problem.clone());
                calls.is_over(ended.key.id.as_str());
            }
        });
        result
    }
}

impl Calls {
    fn is_over(&mut self, order_id: &str) {
        if !self.waiting.remove(order_id) {
            self.early.insert(order_id.to_owned());
        }
    }
}
