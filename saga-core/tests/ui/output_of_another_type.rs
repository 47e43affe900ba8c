use saga_core::{Contract, Saga};

const INVENTORY: Contract<(), u32> = Contract::new("inventory");
const PAYMENT: Contract<(), bool> = Contract::new("payment");
const SHIPPING: Contract<(u32, u32), ()> = Contract::new("shipping");

fn main() {
    let mut saga = Saga::<String>::builder("checkout", 1);
    let stock = saga.step(&INVENTORY, |_| ());
    let charge = saga.step(&PAYMENT, |_| ());
    saga.step_after((&stock, &charge), &SHIPPING, |_, (stock, charge)| (stock, charge));
}
