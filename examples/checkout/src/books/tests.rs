use saga::StepContext;
use saga::record::{Action, RunId, SagaKey};
use serde::Deserialize;

use super::*;

#[derive(Serialize, Deserialize)]
struct Stamp;

impl Entry for Stamp {
    fn totals(&self) -> Totals {
        total("orders", 1)
    }

    fn show(_: &Sum, _: &Sum) -> Vec<String> {
        Vec::new()
    }
}

fn run(number: u128, order: &Order) -> StepContext {
    let saga = SagaKey { saga: "checkout".into(), id: order.order_id.parse().unwrap() };
    StepContext::new(saga, RunId::from_u128(number), "stamps", Action::Execute)
}

async fn enter(book: &Book, memory: &Arc<Memory>, number: u128, order: &Order) {
    let mut pages = Arc::clone(memory);
    let mut open = OpenBook::new(book, &mut pages);
    open.enter(&run(number, order), &order.order_id, &Stamp).await.unwrap();
}

/// What the check says of an order that was stamped in these runs, and unstamped so many times.
async fn check(runs: &[u128], unstamped: usize, is_completed: bool) -> Vec<String> {
    let order = Order::read(crate::order::DEMONSTRATION.as_bytes()).unwrap();
    let (book, memory) = Book::in_memory::<Stamp>("stamps");
    for number in runs {
        enter(&book, &memory, *number, &order).await;
    }
    for _ in 0..unstamped {
        let mut pages = Arc::clone(&memory);
        let mut open = OpenBook::new(&book, &mut pages);
        open.strike::<Stamp>(&run(1, &order), &order.order_id).await.unwrap();
    }
    let mut sales = Sales::default();
    if is_completed {
        sales.add(&order);
    }
    let books = Books::new(vec![Arc::new(book)]);
    let (mut wrong, _) = books.close(&order, is_completed).await.unwrap();
    wrong.extend(books.differences(&sales).await.unwrap());
    wrong
}

#[tokio::test]
async fn a_completed_order_has_one_entry_and_a_rolled_back_one_none() {
    let nothing = Vec::<String>::new();
    assert_eq!(check(&[1], 0, true).await, nothing);
    assert_eq!(check(&[1, 1], 0, true).await, nothing);
    assert_eq!(check(&[1], 1, false).await, nothing);
    assert_eq!(check(&[], 1, false).await, nothing);

    assert_eq!(
        check(&[], 0, true).await,
        [
            "order 12345: stamps holds 0 entries, not 1",
            "stamps: it holds {}, but the completed orders come to {\"orders\": 1}"
        ]
    );
    assert_eq!(check(&[1], 1, true).await.len(), 2);
    assert_eq!(check(&[1, 2], 0, true).await.len(), 2);
    assert_eq!(check(&[1], 0, false).await.len(), 2);
}

#[tokio::test]
async fn what_happens_after_an_orders_end_is_found() {
    let order = Order::read(crate::order::DEMONSTRATION.as_bytes()).unwrap();
    let (book, memory) = Book::in_memory::<Stamp>("stamps");
    let book = Arc::new(book);
    let books = Books::new(vec![Arc::clone(&book)]);
    assert_eq!(books.close(&order, false).await.unwrap().0, Vec::<String>::new());
    enter(&book, &memory, 7, &order).await;
    let late = "stamps: it holds {\"orders\": 1}, but the completed orders come to {}";
    assert_eq!(books.differences(&Sales::default()).await.unwrap(), [late]);
}
