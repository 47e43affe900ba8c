//! What the books of all sub-cases have in common, and the check that they are as they must be.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::inventory::INVENTORY;
use crate::order::{Order, Quantities};
use crate::payment::PAYMENT;

/// What one sub-case has done, order by order.
///
/// It stands for the sub-case's own database or outside system. What it knows of an order is forgotten when the order has ended
/// and was checked, so that any number of orders fits into memory; what comes in later opens the page again and is found.
pub(crate) struct Book<E> {
    pages: Mutex<Pages<E>>,
}

struct Pages<E> {
    open: HashMap<String, OpenPage<E>>,
    entered: u64,
    struck: u64,
}

struct OpenPage<E> {
    /// Each with the key of the command that made it.
    entries: Vec<(String, E)>,
    refused: bool,
}

/// What a book says of an order that has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Page {
    /// How many entries stand: made and not undone.
    pub(crate) standing: usize,
    /// Whether the sub-case refused it for a reason of its own.
    pub(crate) refused: bool,
}

impl<E> Book<E> {
    pub(crate) fn new() -> Self {
        Self { pages: Mutex::new(Pages { open: HashMap::new(), entered: 0, struck: 0 }) }
    }

    /// Enters what was done, once for each key. Returns whether it is new.
    pub(crate) fn enter(&self, order_id: &str, key: &str, entry: E) -> bool {
        let mut pages = self.pages();
        let page = pages.page(order_id);
        if page.entries.iter().any(|(known, _)| known == key) {
            return false;
        }
        page.entries.push((key.to_owned(), entry));
        pages.entered += 1;
        true
    }

    /// Strikes out what was done for the order and returns it; `None` when nothing was.
    pub(crate) fn strike(&self, order_id: &str) -> Option<E> {
        let mut pages = self.pages();
        let (_, entry) = pages.open.get_mut(order_id)?.entries.pop()?;
        pages.struck += 1;
        Some(entry)
    }

    /// Notes that the order was refused.
    pub(crate) fn refuse(&self, order_id: &str) {
        self.pages().page(order_id).refused = true;
    }

    /// Closes the page of an order that has ended.
    pub(crate) fn close(&self, order_id: &str) -> Page {
        let page = self.pages().open.remove(order_id);
        page.map(|page| Page { standing: page.entries.len(), refused: page.refused }).unwrap_or_default()
    }

    /// The orders whose pages are open and that have entries standing: each as often as it has.
    pub(crate) fn standing(&self) -> Vec<String> {
        let pages = self.pages();
        let each = |(id, page): (&String, &OpenPage<E>)| vec![id.clone(); page.entries.len()];
        let mut standing: Vec<_> = pages.open.iter().flat_map(each).collect();
        standing.sort_unstable();
        standing
    }

    /// How many entries were made, and how many of them were struck out.
    pub(crate) fn entered_and_struck(&self) -> (u64, u64) {
        let pages = self.pages();
        (pages.entered, pages.struck)
    }

    fn pages(&self) -> MutexGuard<'_, Pages<E>> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<E> Pages<E> {
    fn page(&mut self, order_id: &str) -> &mut OpenPage<E> {
        let new = || OpenPage { entries: Vec::new(), refused: false };
        self.open.entry(order_id.to_owned()).or_insert_with(new)
    }
}

/// What the check needs of a sub-case.
pub(crate) trait Ledger: Send + Sync {
    /// The sub-case's name.
    fn name(&self) -> &'static str;

    /// Closes the page of an order that has ended.
    fn close(&self, order_id: &str) -> Page;

    /// The book, for people.
    fn lines(&self) -> Vec<String>;

    /// What it holds now, in total.
    fn holds(&self) -> Totals;

    /// The orders that stand in it, of those whose pages are open.
    fn standing(&self) -> Vec<String>;

    /// In what the book differs from what was sold, if it does.
    fn differs(&self, sales: &Sales) -> Option<String> {
        let (holds, due) = (self.holds(), sales.due(self.name()));
        (holds != due).then(|| format!("it holds {holds:?}, but the completed orders come to {due:?}"))
    }
}

/// What a book amounts to: amounts of whatever it counts, by name. What comes to nothing is left out.
pub(crate) type Totals = BTreeMap<String, u64>;

/// Totals of one kind.
pub(crate) fn total(of: &str, amount: u64) -> Totals {
    (amount > 0).then(|| (of.to_owned(), amount)).into_iter().collect()
}

/// What all completed orders amount to, counted apart from the sub-cases.
#[derive(Debug, Default)]
pub(crate) struct Sales {
    pub(crate) orders: u64,
    pub(crate) cents: u64,
    pub(crate) items: Quantities,
}

impl Sales {
    pub(crate) fn add(&mut self, order: &Order) {
        self.orders += 1;
        self.cents += order.price_cents();
        self.items.add(&order.quantities());
    }

    /// What the book of this name must hold.
    pub(crate) fn due(&self, name: &str) -> Totals {
        match name {
            _ if name == INVENTORY.name() => self.items.0.clone(),
            _ if name == PAYMENT.name() => total("cents", self.cents),
            _ => total("orders", self.orders),
        }
    }
}

/// The books of all sub-cases.
#[derive(Clone)]
pub(crate) struct Books(pub(crate) Vec<Arc<dyn Ledger>>);

impl Books {
    /// Closes the order's pages. Of a completed order each sub-case must hold one entry, of any other none: it must be as if nothing
    /// had happened. Returns what is wrong, and whether a sub-case refused the order for a reason of its own.
    pub(crate) fn close(&self, order: &Order, is_completed: bool) -> (Vec<String>, bool) {
        let expected = usize::from(is_completed);
        let (mut wrong, mut refused) = (Vec::new(), false);
        for book in &self.0 {
            let page = book.close(&order.order_id);
            refused |= page.refused;
            if page.standing != expected {
                let (id, name, standing) = (&order.order_id, book.name(), page.standing);
                wrong.push(format!("order {id}: {name} holds {standing} entries, not {expected}"));
            }
        }
        (wrong, refused)
    }

    /// The check over everything, once all orders have ended: whatever happened after an order's end shows here.
    pub(crate) fn differences(&self, sales: &Sales) -> Vec<String> {
        let differs = |book: &Arc<dyn Ledger>| Some(format!("{}: {}", book.name(), book.differs(sales)?));
        self.0.iter().filter_map(differs).collect()
    }

    /// All books, for people.
    pub(crate) fn lines(&self) -> Vec<String> {
        let named = |book: &Arc<dyn Ledger>| {
            let name = book.name();
            book.lines().into_iter().map(move |line| format!("  {name:<23}  {line}")).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(named).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stamps(Book<()>);

    impl Ledger for Stamps {
        fn name(&self) -> &'static str {
            "stamps"
        }

        fn close(&self, order_id: &str) -> Page {
            self.0.close(order_id)
        }

        fn lines(&self) -> Vec<String> {
            Vec::new()
        }

        fn holds(&self) -> Totals {
            let (entered, struck) = self.0.entered_and_struck();
            total("orders", entered - struck)
        }

        fn standing(&self) -> Vec<String> {
            self.0.standing()
        }
    }

    /// What the check says of an order that was stamped under these keys, and unstamped so many times.
    fn check(keys: &[&str], unstamped: usize, is_completed: bool) -> Vec<String> {
        let order = Order::read(crate::order::DEMONSTRATION.as_bytes()).unwrap();
        let stamps = Arc::new(Stamps(Book::new()));
        for key in keys {
            stamps.0.enter(&order.order_id, key, ());
        }
        for _ in 0..unstamped {
            stamps.0.strike(&order.order_id);
        }
        let mut sales = Sales::default();
        if is_completed {
            sales.add(&order);
        }
        let books = Books(vec![stamps]);
        let (mut wrong, _) = books.close(&order, is_completed);
        wrong.extend(books.differences(&sales));
        wrong
    }

    #[test]
    fn a_completed_order_has_one_entry_and_a_rolled_back_one_none() {
        let nothing = Vec::<String>::new();
        assert_eq!(check(&["run-1"], 0, true), nothing);
        assert_eq!(check(&["run-1", "run-1"], 0, true), nothing);
        assert_eq!(check(&["run-1"], 1, false), nothing);
        assert_eq!(check(&[], 1, false), nothing);

        assert_eq!(
            check(&[], 0, true),
            [
                "order 12345: stamps holds 0 entries, not 1",
                "stamps: it holds {}, but the completed orders come to {\"orders\": 1}"
            ]
        );
        assert_eq!(check(&["run-1"], 1, true).len(), 2);
        assert_eq!(check(&["run-1", "run-2"], 0, true).len(), 2);
        assert_eq!(check(&["run-1"], 0, false).len(), 2);
    }

    #[test]
    fn what_happens_after_an_orders_end_is_found() {
        let order = Order::read(crate::order::DEMONSTRATION.as_bytes()).unwrap();
        let stamps = Arc::new(Stamps(Book::new()));
        let books = Books(vec![Arc::clone(&stamps) as Arc<dyn Ledger>]);
        assert_eq!(books.close(&order, false).0, Vec::<String>::new());
        stamps.0.enter(&order.order_id, "late", ());
        let late = "stamps: it holds {\"orders\": 1}, but the completed orders come to {}";
        assert_eq!(books.differences(&Sales::default()), [late]);
    }
}
