use saga_core::{Contract, Saga};

const PAYMENT: Contract<u64, ()> = Contract::new("payment");

fn main() {
    let mut saga = Saga::<String>::builder("checkout", 1);
    saga.step(&PAYMENT, |order| order.clone());
}
