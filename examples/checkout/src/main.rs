//! The shopping-cart checkout.
fn main() {}
