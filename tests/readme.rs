//! What the README shows is what there is.

use saga::{Contract, Saga};

const README: &str = include_str!("../README.md");

#[test]
fn the_readme_shows_the_quickstart() {
    assert!(
        README.contains(include_str!("../examples/quickstart.rs").trim_end()),
        "paste examples/quickstart.rs"
    );
}

#[test]
fn the_readme_shows_the_diagram_of_its_saga() {
    const FLIGHT: Contract<(), ()> = Contract::new("book-flight");
    const HOTEL: Contract<(), ()> = Contract::new("book-hotel");
    let mut trip = Saga::<()>::builder("trip", 1);
    trip.step(&FLIGHT, |()| ());
    trip.step(&HOTEL, |()| ());
    let diagram = trip.build().expect("the saga can run").to_mermaid();
    assert!(README.contains(diagram.trim_end()), "paste this:\n{diagram}");
}
