//! Would the sagas of a log still run with the definitions of this build? Run before a new version is rolled out:
//!
//! ```text
//! cargo run --example check --features sqlite -- sqlite:shop.db
//! ```
//!
//! Without a URL it looks into an empty log. Exit code 1 says that some would not.

use std::process::ExitCode;

use saga::{Contract, NoUndo, Saga};

const MAIL: Contract<String, (), NoUndo> = Contract::new("mail");

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    // The definitions that the service registers: share them with this program by a library.
    let mut greeting = Saga::<String>::builder("greeting", 1);
    greeting.step(&MAIL, String::clone);
    let greeting = greeting.build()?;

    let url = std::env::args().nth(1).unwrap_or_else(|| "memory:".to_owned());
    let log = saga::log::connect(&url).await?;
    let checked = saga::check(&*log, &[greeting.definition()]).await?;
    for finding in &checked.findings {
        println!("{finding}");
    }
    println!("{} sagas looked at, {} findings", checked.sagas, checked.findings.len());
    Ok(if checked.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
