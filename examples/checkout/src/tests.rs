//! Whole runs, in this process.

mod orders;
mod topics;
mod troubles;

use crate::args::Args;
use crate::lines::Lines;
use crate::order::DEMONSTRATION;
use crate::run;
use crate::show::testing::Shown;

/// A run with these options, over these lines; its verdict, and what it showed.
async fn run(options: &str, lines: Option<String>) -> (bool, String) {
    let Ok(Some(args)) = Args::parse(options.split_whitespace()) else {
        panic!("{options} are not options of a run")
    };
    let shown = Shown::default();
    let screen = shown.screen(lines.is_none());
    let text = lines.unwrap_or_else(|| DEMONSTRATION.to_owned());
    let lines = Lines::new(tokio::io::BufReader::new(std::io::Cursor::new(text)));
    let is_right = run::run(args, lines, screen, std::future::pending()).await.unwrap();
    (is_right, shown.text())
}

/// The demonstration's one order.
async fn demonstration(options: &str) -> (bool, String) {
    run(options, None).await
}

fn order(id: &str, product: &str, quantity: u32) -> String {
    format!(
        r#"{{"event":"order-placed","order_id":"{id}","customer_id":"c","items":[{{"product_id":"{product}","quantity":{quantity}}}]}}"#
    )
}
