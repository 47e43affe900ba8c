use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;

use futures::StreamExt;
use futures::stream;

use crate::error::{Error, ErrorKind};
use crate::ports::Published;
use crate::record::Topic;
use crate::wire::Message;

/// Publishes a batch with at most `concurrency` messages under way, for brokers that do not keep order by themselves: of the messages of one
/// topic and key, each is sent only once the one before it is acknowledged, and when one is not, those behind it are not sent and
/// answered [`Unknown`](Published::Unknown). Returns an answer for each, in the order given.
pub async fn publish_in_order<Fut>(
    batch: Vec<Message>,
    concurrency: usize,
    publish: impl Fn(Message) -> Fut,
) -> Vec<Published>
where
    Fut: Future<Output = Published>,
{
    let mut answers: Vec<Option<Published>> = batch.iter().map(|_| None).collect();
    let publish = &publish;
    let chains = chains(batch).into_iter().map(|chain| publish_chain(chain, publish));
    let mut answered = stream::iter(chains).buffer_unordered(concurrency.max(1));
    while let Some(chain) = answered.next().await {
        for (at, answer) in chain {
            answers[at] = Some(answer);
        }
    }
    answers.into_iter().map(|answer| answer.expect("every chain answers for all of its messages")).collect()
}

type Chain = Vec<(usize, Message)>;

/// The messages of each topic and key, with their places; one without a key is alone.
fn chains(batch: Vec<Message>) -> Vec<Chain> {
    let mut chains: Vec<Chain> = Vec::with_capacity(batch.len());
    let mut places = HashMap::<(Topic, Arc<str>), usize>::new();
    for (at, message) in batch.into_iter().enumerate() {
        let place = match &message.key {
            None => chains.len(),
            Some(key) => *places.entry((message.topic.clone(), Arc::clone(key))).or_insert(chains.len()),
        };
        match chains.get_mut(place) {
            Some(chain) => chain.push((at, message)),
            None => chains.push(vec![(at, message)]),
        }
    }
    chains
}

async fn publish_chain<Fut>(chain: Chain, publish: &impl Fn(Message) -> Fut) -> Vec<(usize, Published)>
where
    Fut: Future<Output = Published>,
{
    let mut answers = Vec::with_capacity(chain.len());
    let mut is_broken = false;
    for (at, message) in chain {
        let answer = if is_broken {
            let text = format!(
                "message {} to topic {} was not sent: one of its key before it was not acknowledged",
                message.id, message.topic
            );
            Published::Unknown(Error::new(ErrorKind::Retry, text))
        } else {
            publish(message).await
        };
        // One that is refused for good never comes; those behind it need not wait.
        is_broken |= matches!(answer, Published::Unknown(_));
        answers.push((at, answer));
    }
    answers
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn message(n: usize, key: Option<&str>) -> Message {
        let message = Message::new(Topic::new("t").unwrap(), "x").with_id(n.to_string());
        match key {
            Some(key) => message.keyed(key),
            None => message,
        }
    }

    #[tokio::test]
    async fn a_key_stops_at_its_first_failure_and_others_go_on() {
        let keys = [Some("a"), Some("b"), Some("a"), None, Some("a"), Some("b")];
        let batch: Vec<_> = keys.into_iter().enumerate().map(|(n, key)| message(n, key)).collect();
        let sent = Mutex::new(Vec::new());
        let answers = publish_in_order(batch, 10, |message| {
            let n: usize = message.id.as_str().parse().unwrap();
            sent.lock().unwrap().push(n);
            async move {
                tokio::task::yield_now().await;
                match n {
                    2 => Published::Unknown(Error::new(ErrorKind::Unknown, "lost")),
                    _ => Published::Acked,
                }
            }
        })
        .await;
        let acked: Vec<_> = answers.iter().map(|answer| matches!(answer, Published::Acked)).collect();
        assert_eq!(acked, [true, true, false, true, false, true]);
        let mut sent = sent.into_inner().unwrap();
        sent.sort_unstable();
        assert_eq!(sent, [0, 1, 2, 3, 5]);
    }
}
