//! Publishing as both shells do it.

use std::time::Duration;

use crate::ports::{Clock, EventBus, Published};
use crate::wire::Message;

/// How often a message of which nobody knows whether it was published is sent again at once; after that, whoever owes it sends it again in
/// its own time.
const ATTEMPTS_MAX: u32 = 3;
const DELAY: Duration = Duration::from_millis(50);

/// Publishes, and tries what is in doubt again a few times, with the same ids.
pub(crate) async fn publish_surely(
    bus: &dyn EventBus,
    clock: &dyn Clock,
    messages: Vec<Message>,
) -> Vec<Published> {
    let mut published = bus.publish(messages.clone()).await;
    for attempt in 1..ATTEMPTS_MAX {
        let in_doubt: Vec<_> =
            (0..published.len()).filter(|&i| matches!(published[i], Published::Unknown(_))).collect();
        if in_doubt.is_empty() {
            break;
        }
        clock.sleep(DELAY * attempt).await;
        let again = in_doubt.iter().map(|&i| messages[i].clone()).collect();
        for (i, result) in in_doubt.into_iter().zip(bus.publish(again).await) {
            published[i] = result;
        }
    }
    published
}
