//! The bus that the checkout runs over: in memory, or the broker that `--bus` names.

use std::sync::Arc;
use std::time::{Duration, Instant};

use saga::memory::MemoryBus;
use saga::ports::{BusAdmin, EventBus};
use saga::record::Topic;

use crate::desk::Desk;
use crate::shop::{GROUP, ORDER_PLACED};

/// The URL of the bus without a broker.
pub(crate) const IN_MEMORY: &str = "memory:";
/// How many dead letters are counted, and how many the in-memory bus keeps; of more, the newest.
const DEAD_LETTERS_MAX: usize = 10_000;

/// A bus, and what is needed to look into it.
#[derive(Clone)]
pub(crate) struct Transport {
    pub(crate) bus: Arc<dyn EventBus>,
    admin: Arc<dyn BusAdmin>,
}

impl Transport {
    /// Opens what the URL names.
    pub(crate) async fn open(url: &str) -> Result<Self, saga::Error> {
        if url == IN_MEMORY {
            let bus = Arc::new(MemoryBus::builder().dead_letters_max(DEAD_LETTERS_MAX).build());
            return Ok(Self { bus: Arc::clone(&bus) as Arc<dyn EventBus>, admin: bus });
        }
        Ok(Self { bus: saga::connect(url).await?, admin: saga::admin(url).await? })
    }

    /// How many dead letters there are on the topic of the orders; none before anybody has read it.
    pub(crate) async fn dead_letters(&self) -> usize {
        let topic = Topic::new(ORDER_PLACED).expect("it is a name");
        self.admin.dead_letters(&topic, GROUP, DEAD_LETTERS_MAX).await.map_or(0, |letters| letters.len())
    }

    /// How many dead letters there are more than `before`: one for each bad line. The coordinator reads them some time after they were
    /// published, so they are waited for.
    pub(crate) async fn new_dead_letters(&self, before: usize, desk: &Desk) -> usize {
        const WAIT_MAX: Duration = Duration::from_secs(10);
        let expected =
            usize::try_from(desk.tally().bad_lines).unwrap_or(usize::MAX).min(DEAD_LETTERS_MAX - before);
        let begun = Instant::now();
        loop {
            let found = self.dead_letters().await - before;
            if found >= expected {
                return found;
            }
            if begun.elapsed() > WAIT_MAX {
                desk.tally().fault(format!("{expected} dead letters were expected, and {found} are there"));
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
