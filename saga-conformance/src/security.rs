//! What must hold where a server demands encryption and credentials, for tests of an adapter's own: which of them there are differs from
//! one broker to the next.

use std::error::Error as StdError;
use std::fmt::Debug;
use std::io;
use std::sync::{Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

use saga_core::ports::{
    BusAdmin, Declaration, Delivery, EventBus, Group, GroupStart, Published, SubscriptionSpec, TopicKind,
};
use saga_core::record::Topic;
use saga_core::{Error, ErrorKind, Message};
use tracing_subscriber::filter::LevelFilter;

/// How long a refusal may take.
pub const REFUSAL_MAX: Duration = Duration::from_secs(5);

/// A message goes there and back over a bus that connects like this, and the secrets are in nothing that is logged.
///
/// # Panics
/// If any of it fails.
pub async fn works<B: EventBus + BusAdmin>(
    connecting: impl Future<Output = Result<B, Error>>,
    secrets: &[&str],
) {
    watch_logs();
    let bus = connecting.await.expect("the server lets this client in");
    let topic = topic();
    let group = Group { name: "readers".into(), start: GroupStart::Earliest };
    let declaration =
        Declaration { topic: topic.clone(), kind: TopicKind::Commands, groups: vec![group.clone()] };
    bus.declare(&[declaration]).await.expect("the topic is declared");
    let answers = bus.publish(vec![Message::new(topic.clone(), "hello")]).await;
    assert!(matches!(answers[..], [Published::Acked]), "{answers:?}");
    let spec =
        SubscriptionSpec { topic: topic.clone(), group: group.name, in_flight_max: 1, key_order: false };
    let subscription = bus.subscribe(spec).await.expect("the group is there");
    let deliveries = subscription.next(1).await.expect("the message comes back");
    assert_eq!(&deliveries[0].message.payload[..], b"hello");
    subscription.settle(deliveries.into_iter().map(Delivery::ack).collect()).await;
    subscription.close().await;
    bus.delete_topic(&topic).await.expect("the topic is deleted");
    hidden(&format!("{bus:?} {:?}", bus.health()), secrets);
    bus.close(Duration::from_secs(5)).await.expect("the bus is closed");
    logs_hide(secrets);
}

/// Connecting is refused soon and [for good](ErrorKind::Permanent), and the secrets are neither in the error nor in anything that is logged.
/// Returns what the error says.
///
/// # Panics
/// If it is not so.
pub async fn is_refused<B: Debug>(
    connecting: impl Future<Output = Result<B, Error>>,
    secrets: &[&str],
) -> String {
    watch_logs();
    let begun = Instant::now();
    let error = connecting.await.expect_err("the server must refuse this client");
    let took = begun.elapsed();
    assert_eq!(error.kind(), ErrorKind::Permanent, "{error}");
    assert!(took < REFUSAL_MAX, "it took {took:?}: {error}");
    hidden(&told(&error), secrets);
    logs_hide(secrets);
    error.to_string()
}

/// A topic that nobody else has.
fn topic() -> Topic {
    let id = Message::new(Topic::new("t").expect("it is a name"), "").id;
    Topic::new(format!("security-{id}")).expect("it is a name")
}

/// All that an error can show, of its causes, too.
fn told(error: &Error) -> String {
    let mut told = format!("{error} {error:?}");
    let mut cause = StdError::source(error);
    while let Some(found) = cause {
        told += &format!(" {found} {found:?}");
        cause = found.source();
    }
    told
}

fn hidden(text: &str, secrets: &[&str]) {
    for secret in secrets {
        // Only what is around it, so that the failure does not tell it either.
        if let Some((before, _)) = text.split_once(secret) {
            let line = before.lines().next_back().unwrap_or_default();
            panic!("a secret is shown behind: {line}");
        }
    }
}

/// All that this process has logged, of the clients' libraries, too, since it was first watched.
static LOGGED: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Keep;

impl io::Write for Keep {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn watch_logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let builder = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
        builder.with_writer(|| Keep).try_init().expect("nobody else takes the logs of this process");
    });
}

fn logs_hide(secrets: &[&str]) {
    let logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    assert!(!logged.is_empty(), "nothing was logged, so nothing is proven");
    hidden(&String::from_utf8_lossy(&logged), secrets);
}
