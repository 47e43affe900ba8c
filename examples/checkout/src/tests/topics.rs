//! The topics as others see them: plain JSON without any header.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use saga::memory::{MemoryBus, MemoryLog};
use saga::participant::ServeOptions;
use saga::ports::{EventBus, Subscription, SubscriptionSpec};
use saga::record::{Status, Topic};
use saga::wire::Message;
use saga::{ErrorKind, FailurePolicy, Service};
use tokio::sync::watch;

use super::order;
use crate::books::Place;
use crate::callback::CompletionCall;
use crate::checkout::{self, Rules};
use crate::desk::Desk;
use crate::run::{open, serve_all};
use crate::show::testing::Shown;
use crate::sub_case::Stand;
use crate::trouble::{Plan, SubCase, Troubles};

const RULES: Rules = Rules { policy: FailurePolicy::WaitAll, step_deadline: Duration::from_secs(30) };

fn stand(plan: Plan, bus: &MemoryBus) -> Stand {
    Stand {
        bus: Arc::new(bus.clone()),
        place: Place::new("memory:".to_owned()).unwrap(),
        troubles: Arc::new(Troubles::new(plan, false)),
        screen: Shown::default().screen(false),
        serve: ServeOptions::default(),
    }
}

async fn whole(plan: Plan, bus: &MemoryBus) -> Arc<Desk> {
    let call = CompletionCall::new("http://127.0.0.1:9/").unwrap();
    let (desk, services) = open(RULES, stand(plan, bus), Arc::new(MemoryLog::new()), call).await.unwrap();
    // For as long as the test lasts.
    let (stop, stopped) = watch::channel(());
    tokio::spawn(async move {
        let _stop = stop;
        serve_all(services, stopped).await
    });
    desk
}

async fn publish(bus: &MemoryBus, topic: &str, json: &str) {
    let message = Message::new(Topic::new(topic).unwrap(), json.as_bytes().to_vec());
    bus.publish(vec![message]).await;
}

/// The saga's outcome, once the message that starts it has been read.
async fn outcome(desk: &Desk, id: &str) -> saga::coordinator::Outcome {
    loop {
        match desk.sagas.outcome(id).await {
            Err(error) if error.kind() == ErrorKind::NotFound => tokio::task::yield_now().await,
            outcome => return outcome.unwrap(),
        }
    }
}

#[tokio::test]
async fn an_order_typed_into_a_console_producer_is_an_order() {
    let bus = MemoryBus::new();
    let desk = whole(Plan::default(), &bus).await;
    desk.declare().await.unwrap();
    publish(&bus, "order-placed", &order("1", "p", 1)).await;
    assert!(outcome(&desk, "1").await.is_completed());
}

#[tokio::test]
async fn rollback_order_from_outside_undoes_a_running_order() {
    let bus = MemoryBus::new();
    let slow = [0, 300, 0, 0].map(Duration::from_millis);
    let desk = whole(Plan { slow, ..Plan::default() }, &bus).await;
    let order = crate::order::Order::read(order("1", "p", 1).as_bytes()).unwrap();
    desk.sagas.start("1", &order).await.unwrap();
    publish(&bus, "rollback-order", r#"{"event":"rollback-order","order_id":"1","status":"failure"}"#).await;
    let outcome = outcome(&desk, "1").await;
    assert_eq!(outcome.status, Status::RolledBack);
    assert!(outcome.reason.unwrap().starts_with("cancelled by"));
    assert_eq!(desk.books.close(&order, false).await.unwrap().0, Vec::<String>::new());
}

/// The payment service as written by somebody who knows nothing of this library but the topics.
async fn foreign_payment(bus: MemoryBus, subscription: Arc<dyn Subscription>, status: &'static str) {
    while let Ok(deliveries) = subscription.next(1).await {
        for delivery in deliveries {
            let is_undo = delivery.message.headers.get("ce-action") == Some("undo");
            let (status, action) = if is_undo { ("success", "undo") } else { (status, "execute") };
            let id = delivery.message.key.as_deref().unwrap();
            let reply = format!(
                r#"{{"event":"payment-validated","order_id":"{id}","status":"{status}","action":"{action}"}}"#
            );
            // Without saying so, an answer is one to the command to execute.
            let reply = reply.replace(r#","action":"execute""#, "");
            publish(&bus, "checkout.replies", &reply).await;
            subscription.settle(vec![delivery.ack()]).await;
        }
    }
}

async fn with_foreign_payment(status: &'static str) -> Status {
    let bus = MemoryBus::new();
    let call = CompletionCall::new("http://127.0.0.1:9/").unwrap();
    let saga = checkout::definition(RULES, Arc::new(call)).unwrap();
    let stand = stand(Plan::default(), &bus);
    for case in [SubCase::Inventory, SubCase::History, SubCase::Confirmation] {
        let (service, _) = stand.open(case).await.unwrap();
        tokio::spawn(service.run(pending()));
    }
    let service = Service::builder(Arc::new(bus.clone())).coordinate(&saga).build().unwrap();
    let sagas = service.sagas(&saga).unwrap();
    tokio::spawn(service.run(pending()));
    let order = crate::order::Order::read(order("1", "p", 1).as_bytes()).unwrap();
    // The coordinator has declared the topics once this returns.
    sagas.start("1", &order).await.unwrap();
    let name = "payment-validation";
    let spec = SubscriptionSpec {
        topic: Topic::new(name).unwrap(),
        group: name.into(),
        in_flight_max: 1,
        key_order: false,
    };
    let subscription = bus.subscribe(spec).await.unwrap();
    tokio::spawn(foreign_payment(bus.clone(), subscription, status));
    sagas.outcome("1").await.unwrap().status
}

#[tokio::test]
async fn a_sub_case_that_only_speaks_json_is_understood() {
    assert_eq!(with_foreign_payment("success").await, Status::Completed);
    assert_eq!(with_foreign_payment("failure").await, Status::RolledBack);
}
