//! A book in memory: gone with the process.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use saga::{StepContext, StepError};

use super::{Entries, Pages, Sum, TotalsOf, shortage};
use crate::order::Quantities;

/// It stands for the sub-case's own database or outside system. What it knows of an order is forgotten when the order has ended
/// and was checked, so that any number of orders fits into memory; what comes in later opens the page again and is found.
pub(crate) struct Memory {
    totals_of: TotalsOf,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The entries of each order, each with the key of the command that made it.
    open: HashMap<String, Vec<(String, String)>>,
    entered: Sum,
    struck: Sum,
    /// What has been taken from the shelves.
    taken: BTreeMap<String, u64>,
}

impl Memory {
    pub(crate) fn new(totals_of: TotalsOf) -> Self {
        Self { totals_of, state: Mutex::default() }
    }

    /// Closes the page of an order that has ended.
    pub(super) fn close(&self, order_id: &str) -> Entries {
        let entries = self.state().open.remove(order_id).unwrap_or_default();
        entries.into_iter().map(|(_, entry)| (order_id.to_owned(), entry)).collect()
    }

    /// What stands in the open pages.
    pub(super) fn standing(&self) -> Entries {
        let state = self.state();
        let each = |(id, entries): (&String, &Vec<(String, String)>)| {
            entries.iter().map(|(_, entry)| (id.clone(), entry.clone())).collect::<Vec<_>>()
        };
        state.open.iter().flat_map(each).collect()
    }

    pub(super) fn entered_and_struck(&self) -> (Sum, Sum) {
        let state = self.state();
        (state.entered.clone(), state.struck.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Pages for Arc<Memory> {
    async fn enter(&mut self, ctx: &StepContext, order_id: &str, entry: &str) -> Result<bool, StepError> {
        let totals = (self.totals_of)(entry)?;
        let mut state = self.state();
        let (page, key) = (state.open.entry(order_id.to_owned()).or_default(), ctx.idempotency_key());
        // An attempt that was cut off comes again with the same key.
        if page.iter().any(|(known, _)| *known == key) {
            return Ok(false);
        }
        page.push((key, entry.to_owned()));
        state.entered.add(&totals);
        Ok(true)
    }

    async fn strike(&mut self, _: &StepContext, order_id: &str) -> Result<Option<String>, StepError> {
        let mut state = self.state();
        let entry = state.open.get_mut(order_id).and_then(Vec::pop);
        let Some((_, entry)) = entry else { return Ok(None) };
        let totals = (self.totals_of)(&entry)?;
        state.struck.add(&totals);
        Ok(Some(entry))
    }

    async fn take(&mut self, items: &Quantities) -> Result<Option<String>, StepError> {
        let mut state = self.state();
        let taken = |product: &String| state.taken.get(product).copied().unwrap_or_default();
        if let Some(missing) =
            items.0.iter().find_map(|(product, wanted)| shortage(product, *wanted, taken(product)))
        {
            return Ok(Some(missing));
        }
        for (product, quantity) in &items.0 {
            *state.taken.entry(product.clone()).or_default() += quantity;
        }
        Ok(None)
    }

    async fn put_back(&mut self, items: &Quantities) -> Result<(), StepError> {
        let mut state = self.state();
        for (product, quantity) in &items.0 {
            *state.taken.get_mut(product).expect("it was taken from there") -= quantity;
        }
        Ok(())
    }
}
