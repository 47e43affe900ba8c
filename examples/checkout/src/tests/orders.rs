use std::time::Duration;

use super::{order, run};
use crate::endpoint::Endpoint;
use crate::show::testing::Shown;

#[tokio::test]
async fn every_tenth_order_is_refused_and_the_rest_completes() {
    let orders = (1..=200).map(|n| order(&format!("o{n}"), "p001", 1) + "\n").collect::<String>();
    let (is_right, text) = run("--fail payment:10 --orders -", Some(orders)).await;
    assert!(is_right, "{text}");
    for expected in
        ["180  completed", "20  rolled back", "20    because payment-validation was refused: card declined"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(text.contains("p001: 999,820 in stock, 180 sold"), "{text}");
}

#[tokio::test]
async fn a_bad_line_is_reported_and_costs_no_other_order_anything() {
    let lines = [
        order("1", "p001", 1),
        "not an order".to_owned(),
        String::new(),
        order("2", "p001", 1),
        order("1", "p001", 1),
        order("1", "p001", 2),
        order("3", "p001", 2_000_000),
        order("4", "p001", 1) + &" ".repeat(300_000),
    ];
    let (is_right, text) = run("--orders -", Some(lines.join("\n"))).await;
    assert!(!is_right, "{text}");
    let expected = [
        "line 2: expected",
        "line 6: there is a saga of that id with another input",
        "line 8: it is longer than",
        " 2  completed",
        " 1    because inventory-check was refused: out of stock: 2000000 of p001 asked for",
        " 1  repeated",
        " 3  bad lines; dead letters on order-placed: 3",
        "999,998 in stock, 2 sold",
        "the books are right",
    ];
    for expected in expected {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    assert!(!text.contains("wrong:"), "{text}");
}

#[tokio::test]
async fn calls_to_an_endpoint_that_is_down_arrive_once_each_when_it_is_back() {
    let shown = Shown::default();
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let orders = (1..=20).map(|n| order(&n.to_string(), "p001", 1) + "\n").collect();
    let options = format!("--orders - --callback http://{address}/");
    let running = tokio::spawn(async move { run(&options, Some(orders)).await });
    // Long enough for the first calls to find nobody; the run itself cannot end before somebody answers.
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(!running.is_finished());
    let endpoint = Endpoint::listen(&address, shown.screen(true)).await.unwrap();
    let (is_right, text) = running.await.unwrap();
    assert!(is_right && text.contains("20  completed"), "{text}");
    assert_eq!(endpoint.received(), 20);
    assert_eq!(shown.text().matches("received POST \"all task complete\"").count(), 20);
}
