use std::cmp::Ordering;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use super::Limits;
use super::sagas::Stored;
use super::state::{State, is_over};
use super::tombs::Tomb;
use crate::ports::{Census, Query, Summary};
use crate::record::{SagaId, SagaKey, Status, Timestamp};

/// A saga in the order of keys, which are unique.
struct Ordered<'a> {
    saga: &'a Arc<str>,
    id: &'a SagaId,
    row: Row<'a>,
}

enum Row<'a> {
    Live(&'a Stored),
    Tomb(&'a Tomb),
}

impl State {
    /// A page of sagas. It passes over all of them: nothing on the hot path pays for the order.
    pub(super) fn list(&self, query: &Query, now: Timestamp, limits: &Limits) -> Vec<Summary> {
        let live = self.sagas.iter().map(|saga| Ordered {
            saga: &saga.key.saga,
            id: &saga.key.id,
            row: Row::Live(saga),
        });
        let tombs = self.tombs.iter().filter(|(_, tomb)| !is_over(tomb, now, limits));
        let tombs = tombs.map(|(_, tomb)| Ordered {
            saga: self.names.get(tomb.saga),
            id: &tomb.id,
            row: Row::Tomb(tomb),
        });
        let mut page = BinaryHeap::new();
        for line in live.chain(tombs).filter(|line| line.answers(query)) {
            if page.len() < query.limit {
                page.push(line);
            } else if let Some(mut last) = page.peek_mut()
                && line < *last
            {
                *last = line;
            }
        }
        page.into_sorted_vec().iter().map(|line| self.summary(line)).collect()
    }

    pub(super) fn census(&self) -> Vec<Census> {
        let mut counts: BTreeMap<(u32, Status), u64> = BTreeMap::new();
        for saga in self.sagas.iter() {
            *counts.entry((saga.definition, saga.status)).or_default() += 1;
        }
        let census = counts.into_iter().map(|((definition, status), count)| {
            let definition = self.definitions.get(definition).clone();
            Census { definition, status, count }
        });
        census.collect()
    }

    fn summary(&self, line: &Ordered<'_>) -> Summary {
        let key = SagaKey { saga: Arc::clone(line.saga), id: line.id.clone() };
        match line.row {
            Row::Live(saga) => Summary {
                key,
                run: saga.run,
                definition: Some(self.definitions.get(saga.definition).clone()),
                status: saga.status,
                changed_at: saga.changed_at(),
                wake_at: saga.wake_at,
            },
            Row::Tomb(tomb) => {
                let tombstone = tomb.tombstone();
                Summary {
                    key,
                    run: tombstone.run,
                    definition: None,
                    status: tombstone.ending.into(),
                    changed_at: tombstone.ended_at,
                    wake_at: None,
                }
            }
        }
    }
}

impl Ordered<'_> {
    fn answers(&self, query: &Query) -> bool {
        let status = match self.row {
            Row::Live(saga) => saga.status,
            Row::Tomb(tomb) => tomb.ending.into(),
        };
        query.saga.as_ref().is_none_or(|saga| saga == self.saga)
            && query.status.is_none_or(|wanted| wanted == status)
            && query.after.as_ref().is_none_or(|after| (self.saga, self.id) > (&after.saga, &after.id))
    }
}

impl Ord for Ordered<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.saga, self.id).cmp(&(other.saga, other.id))
    }
}

impl PartialOrd for Ordered<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ordered<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Ordered<'_> {}
