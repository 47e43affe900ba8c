use saga_core::Contract;
use saga_core::participant::ServedBy;
use saga_core::ports::{Step, StepContext, StepError};

const INVENTORY: Contract<u32, u64> = Contract::new("inventory");

struct Inventory;

#[async_trait::async_trait]
impl Step<u32, u64> for Inventory {
    async fn execute(&self, quantity: u32, _: &StepContext) -> Result<u64, StepError> {
        Ok(u64::from(quantity))
    }
}

fn serve<H, Input, Output, K: ServedBy<H, Input, Output>>(_: &Contract<Input, Output, K>, _: H) {}

fn main() {
    serve(&INVENTORY, Inventory);
}
