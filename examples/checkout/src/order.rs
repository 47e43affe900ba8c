//! An order as it arrives, and what it comes to.

use std::collections::BTreeMap;
use std::fmt;

use saga::definition::CodecError;
use saga::record::SagaId;
use serde::{Deserialize, Serialize};

/// The order of the demonstration, as it stands on `order-placed`.
pub(crate) const DEMONSTRATION: &str = r#"{"event":"order-placed","order_id":"12345","customer_id":"abc123","items":[{"product_id":"p001","quantity":2},{"product_id":"p002","quantity":1}]}"#;

/// An order: the saga's input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) order_id: String,
    pub(crate) customer_id: String,
    pub(crate) items: Vec<Item>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Item {
    pub(crate) product_id: String,
    pub(crate) quantity: u32,
}

/// The message on `order-placed`: an order that says so.
#[derive(Serialize, Deserialize)]
#[serde(tag = "event")]
enum Placed {
    #[serde(rename = "order-placed")]
    OrderPlaced(Order),
}

/// How an event says how it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Success,
    Failure,
}

impl Order {
    /// Reads an `order-placed` message, and refuses what nobody could deliver. What is refused here goes to the dead letters.
    pub(crate) fn read(json: &[u8]) -> Result<Self, CodecError> {
        let Placed::OrderPlaced(order) = saga::record::Payload::from(json.to_vec()).parse()?;
        SagaId::new(&*order.order_id)?;
        if order.customer_id.is_empty() {
            return Err("customer_id is empty".into());
        }
        if order.items.is_empty() {
            return Err("the order has no items".into());
        }
        if let Some(item) = order.items.iter().find(|item| item.quantity == 0) {
            return Err(format!("the quantity of {:?} is 0", item.product_id).into());
        }
        Ok(order)
    }

    /// How many of each product. A product may stand on several lines of the order.
    pub(crate) fn quantities(&self) -> Quantities {
        let mut quantities = BTreeMap::new();
        for item in &self.items {
            *quantities.entry(item.product_id.clone()).or_default() += u64::from(item.quantity);
        }
        Quantities(quantities)
    }

    /// What it costs, in cents.
    pub(crate) fn price_cents(&self) -> u64 {
        self.items.iter().map(|item| price_cents(&item.product_id) * u64::from(item.quantity)).sum()
    }
}

fn price_cents(product_id: &str) -> u64 {
    match product_id {
        "p001" => 15_00,
        "p002" => 12_00,
        _ => 10_00,
    }
}

/// How many of each product; shown as `2 × p001, 1 × p002`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Quantities(pub(crate) BTreeMap<String, u64>);

impl Quantities {
    pub(crate) fn add(&mut self, more: &Self) {
        for (product, quantity) in &more.0 {
            *self.0.entry(product.clone()).or_default() += quantity;
        }
    }
}

impl fmt::Display for Quantities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (product, quantity)) in self.0.iter().enumerate() {
            let separator = if at == 0 { "" } else { ", " };
            write!(f, "{separator}{quantity} × {product}")?;
        }
        Ok(())
    }
}

/// An amount of money; shown as `42.00`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cents(pub(crate) u64);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_as_it_stands() {
        let order = Order::read(DEMONSTRATION.as_bytes()).unwrap();
        assert_eq!((&*order.order_id, &*order.customer_id), ("12345", "abc123"));
        assert_eq!(Cents(order.price_cents()).to_string(), "42.00");
        assert_eq!(order.quantities().to_string(), "2 × p001, 1 × p002");
    }

    #[test]
    fn what_nobody_could_deliver_is_refused_with_the_reason() {
        let refused = [
            ("", "null"),
            ("{", "EOF"),
            (r#"{"order_id":"1","customer_id":"c","items":[]}"#, "event"),
            (r#"{"event":"order-lost","order_id":"1","customer_id":"c","items":[]}"#, "order-lost"),
            (r#"{"event":"order-placed","order_id":"1","customer_id":"c","items":[]}"#, "no items"),
            (
                r#"{"event":"order-placed","order_id":"1","customer_id":"c","items":[{"product_id":"p","quantity":0}]}"#,
                "quantity",
            ),
            (
                r#"{"event":"order-placed","order_id":"1","customer_id":"c","items":[{"product_id":"p","quantity":-1}]}"#,
                "-1",
            ),
            (
                r#"{"event":"order-placed","order_id":"1","customer_id":"","items":[{"product_id":"p","quantity":1}]}"#,
                "customer_id",
            ),
            (
                r#"{"event":"order-placed","order_id":"","customer_id":"c","items":[{"product_id":"p","quantity":1}]}"#,
                "empty",
            ),
        ];
        for (json, expected) in refused {
            let reason = Order::read(json.as_bytes()).unwrap_err().to_string();
            assert!(reason.contains(expected), "{json}: {reason}");
        }
    }
}
