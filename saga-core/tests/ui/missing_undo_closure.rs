use saga_core::participant::ServedBy;
use saga_core::{Contract, handler};

const INVENTORY: Contract<u32, u64> = Contract::new("inventory");

fn serve<H, Input, Output, K: ServedBy<H, Input, Output>>(_: &Contract<Input, Output, K>, _: H) {}

fn main() {
    serve(&INVENTORY, handler(|quantity: u32, _| async move { Ok(u64::from(quantity)) }));
}
