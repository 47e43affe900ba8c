//! A trip: a flight and a hotel are booked in parallel. When one fails, the other is undone.
//!
//! Run it: `cargo run --example quickstart`

use std::time::Duration;

use saga::{Contract, Saga, Service, StepContext, StepError, Undo, handler};
use serde::{Deserialize, Serialize};

#[derive(Clone, Serialize, Deserialize)]
struct Trip {
    from: String,
    to: String,
}

// The contracts: shared by the service that runs the saga and the services that do its steps.
const FLIGHT: Contract<Trip, String> = Contract::new("book-flight");
const HOTEL: Contract<Trip, String> = Contract::new("book-hotel");

// The participants: how each step is done, and undone. An undo must be safe when nothing had happened.
async fn book_flight(trip: Trip, _: StepContext) -> Result<String, StepError> {
    Ok(format!("a seat from {} to {}", trip.from, trip.to))
}

async fn book_hotel(trip: Trip, _: StepContext) -> Result<String, StepError> {
    match trip.to.as_str() {
        "Atlantis" => Err(StepError::reject("no room is above water")),
        city => Ok(format!("a room in {city}")),
    }
}

async fn cancel(undo: Undo<Trip, String>, ctx: StepContext) -> Result<(), StepError> {
    println!("  {} is undone: {}", ctx.step, undo.output.unwrap_or_else(|| "perhaps nothing".into()));
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // The saga: steps that wait for nothing run in parallel.
    let mut trip = Saga::<Trip>::builder("trip", 1);
    trip.step(&FLIGHT, Trip::clone);
    trip.step(&HOTEL, Trip::clone);
    trip.deadline(Duration::from_secs(60));
    let trip = trip.build()?;

    let service = Service::builder(saga::connect("memory:").await?)
        .coordinate(&trip)
        .serve(&FLIGHT, handler(book_flight).undo(cancel))
        .serve(&HOTEL, handler(book_hotel).undo(cancel))
        .build()?;
    let trips = service.sagas(&trip)?;
    tokio::spawn(service.run(std::future::pending()));

    for to in ["Lisbon", "Atlantis"] {
        let outcome = trips.run(to, &Trip { from: "Berlin".into(), to: to.into() }).await?;
        println!("Berlin to {to}: {} {}", outcome.status, outcome.reason.unwrap_or_default());
    }
    Ok(())
}
