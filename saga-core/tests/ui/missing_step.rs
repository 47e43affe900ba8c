use saga_core::participant::ServedBy;
use saga_core::{Contract, NoUndo};

const MAIL: Contract<String, (), NoUndo> = Contract::new("mail");

struct Mailer;

fn serve<H, Input, Output, K: ServedBy<H, Input, Output>>(_: &Contract<Input, Output, K>, _: H) {}

fn main() {
    serve(&MAIL, Mailer);
}
