//! The check of all books together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use super::{Book, Failure, Sales, lock};
use crate::order::Order;

/// The books of all sub-cases.
pub(crate) struct Books {
    all: Vec<Arc<Book>>,
    /// The orders of this run. Only books that last hold any others, so only for those are they remembered.
    orders: Mutex<HashSet<String>>,
}

impl Books {
    pub(crate) fn new(all: Vec<Arc<Book>>) -> Self {
        Self { all, orders: Mutex::default() }
    }

    /// Remembers an order of this run, if the books last. Returns whether it did, and had not before.
    pub(crate) fn remember(&self, order_id: &str) -> bool {
        self.all.iter().any(|book| book.lasts()) && lock(&self.orders).insert(order_id.to_owned())
    }

    /// Closes the order's pages. Of a completed order each sub-case must hold one entry, of any other none: it must be as if nothing
    /// had happened. Returns what is wrong, and whether a sub-case refused the order for a reason of its own.
    pub(crate) async fn close(
        &self,
        order: &Order,
        is_completed: bool,
    ) -> Result<(Vec<String>, bool), Failure> {
        let mut sales = Sales::default();
        if is_completed {
            sales.add(order);
        }
        let (mut wrong, mut refused) = (Vec::new(), false);
        for book in &self.all {
            let page = book.close(&order.order_id).await?;
            refused |= page.refused;
            let (id, name, standing) = (&order.order_id, book.name, page.standing);
            if standing.count != sales.orders {
                wrong.push(format!(
                    "order {id}: {name} holds {} entries, not {}",
                    standing.count, sales.orders
                ));
            } else if standing.totals != sales.due(name) {
                let due = sales.due(name);
                wrong.push(format!("order {id}: {name} holds {:?}, not {due:?}", standing.totals));
            }
        }
        Ok((wrong, refused))
    }

    /// The check over everything, once all orders have ended: whatever happened after an order's end shows here.
    pub(crate) async fn differences(&self, sales: &Sales) -> Result<Vec<String>, Failure> {
        let orders = lock(&self.orders).clone();
        let mut differences = Vec::new();
        for book in &self.all {
            let differs = book.differs(sales, &orders).await?;
            differences.extend(differs.map(|differs| format!("{}: {differs}", book.name)));
        }
        Ok(differences)
    }

    /// All books, for people.
    pub(crate) async fn lines(&self) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        for book in &self.all {
            lines.extend(book.lines().await?.into_iter().map(|line| format!("  {:<23}  {line}", book.name)));
        }
        Ok(lines)
    }
}
