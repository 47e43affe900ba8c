//! Order per key among several consumers: one of them reads, the others wait. Who reads holds a lease in a key-value bucket.
//!
//! The server's own pinned clients need a consumer that was made for them, and order is asked for only by the subscription.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::kv::{Config, Store};
use async_nats::jetstream::stream::StorageType;
use saga_core::adapter::Stage;
use saga_core::record::MessageId;
use saga_core::{Error, ErrorKind};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::Reading;
use super::pull::End;
use crate::names::{entity, subject};

const BUCKET: &str = "saga-leases";
/// After so long without being prolonged a lease is free: a reader that crashed is followed by another after this time.
const TTL: Duration = Duration::from_secs(10);
/// How often it is prolonged, and tried for.
const STEP: Duration = Duration::from_secs(2);

/// The right to read. It is given back once the subscription has given back its deliveries, or ends by itself.
pub(super) struct Lease {
    lost: watch::Receiver<bool>,
}

impl Lease {
    /// Waits until nobody else reads.
    pub(super) async fn acquire(reading: &Arc<Reading>) -> Result<Self, Error> {
        let store = store(reading).await?;
        let stream = entity(&subject(&reading.link.config.prefix, &reading.spec.topic)?);
        // A slash is in no entity, and a percent sign in no key.
        let key = format!("{stream}.{}", entity(&reading.spec.group)).replace('%', "/");
        let owner = MessageId::random();
        let (revision, asked_at) = loop {
            let asked_at = Instant::now();
            match store.create(&key, owner.as_str().to_owned().into()).await {
                Ok(revision) => break (revision, asked_at),
                Err(error) if error.kind() == async_nats::jetstream::kv::CreateErrorKind::AlreadyExists => {
                    reading.recovered();
                    sleep(STEP / 4).await;
                }
                Err(error) => {
                    let message = format!("the lease of {} cannot be had", reading.part());
                    return Err(Error::new(ErrorKind::Retry, message).with_source(error));
                }
            }
        };
        let (lose, lost) = watch::channel(false);
        tokio::spawn(keep(Arc::clone(reading), store, Held { key, owner, revision, asked_at }, lose));
        Ok(Self { lost })
    }

    /// Resolves when it is lost: somebody else may read now.
    pub(super) async fn lost(&self) -> End {
        // An error means that it was given back.
        let mut lost = self.lost.clone();
        let _lost = lost.wait_for(|lost| *lost).await;
        End::Again
    }
}

async fn store(reading: &Reading) -> Result<Store, Error> {
    let jetstream = &reading.link.jetstream;
    if let Ok(store) = jetstream.get_key_value(BUCKET).await {
        return Ok(store);
    }
    let config = Config {
        bucket: BUCKET.to_owned(),
        description: "Who reads for a group that is to keep the order of its keys.".to_owned(),
        max_age: TTL,
        history: 1,
        storage: StorageType::File,
        num_replicas: reading.link.config.replication,
        ..Config::default()
    };
    jetstream.create_key_value(config).await.map_err(|error| {
        Error::new(ErrorKind::Retry, format!("the bucket {BUCKET} for leases cannot be had"))
            .with_source(error)
    })
}

/// A lease as it was given.
struct Held {
    key: String,
    owner: MessageId,
    revision: u64,
    /// It runs from some time after this, since the server counts from when it was asked.
    asked_at: Instant,
}

/// Prolongs the lease until the subscription has left, then gives it back; or until it is lost.
async fn keep(reading: Arc<Reading>, store: Store, held: Held, lose: watch::Sender<bool>) {
    let Held { key, owner, mut revision, asked_at } = held;
    let mut valid_until = asked_at + TTL - STEP;
    loop {
        tokio::select! {
            () = reading.stages.reached(Stage::Left) => {
                let _expires_by_itself = store.delete_expect_revision(&key, Some(revision)).await;
                return;
            }
            () = lose.closed() => {
                // Nobody pulls by it any more. What was delivered is settled or given back before anybody else reads.
                if reading.is_closed() {
                    reading.stages.reached(Stage::Left).await;
                }
                reading.deliveries.settled().await;
                let _expires_by_itself = store.delete_expect_revision(&key, Some(revision)).await;
                return;
            }
            () = sleep(STEP) => {}
        }
        let asked_at = Instant::now();
        let update = store.update(&key, owner.as_str().to_owned().into(), revision);
        match timeout_at(valid_until, update).await {
            Ok(Ok(next)) => {
                revision = next;
                valid_until = asked_at + TTL - STEP;
            }
            Ok(Err(error)) if Instant::now() < valid_until && error.kind() != WRONG => {
                tracing::debug!(%error, "the lease of an ordered group is not prolonged yet");
            }
            Ok(Err(_)) | Err(_) => {
                tracing::warn!(topic = %reading.spec.topic, group = %reading.spec.group, "the lease of an ordered group is lost");
                // Somebody else reads on: what is here was given to them, or will be.
                reading.deliveries.revoke(|_| true);
                lose.send_replace(true);
                return;
            }
        }
    }
}

const WRONG: async_nats::jetstream::kv::UpdateErrorKind =
    async_nats::jetstream::kv::UpdateErrorKind::WrongLastRevision;
