use saga_core::{Contract, Saga};

const SHIPPING: Contract<(), ()> = Contract::new("shipping");

fn main() {
    let mut saga = Saga::<String>::builder("checkout", 1);
    saga.step_after("inventory", &SHIPPING, |_, _| ());
}
