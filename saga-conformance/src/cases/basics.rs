//! What goes in comes out.

use saga_core::ports::{Cleanup, GroupStart, Published, TopicKind, TopicSpec};
use saga_core::record::Topic;
use saga_core::{ErrorKind, Message};

use crate::check::{Check, Stop};
use crate::client::{
    ARRIVES_WITHIN, Client, Reader, ack, drain, message, messages, numbers, quiet, take, take_one,
};
use crate::stand::Stand;

/// 1: id, key, headers and payload arrive as they were sent; headers of one name keep their order.
pub async fn round_trip(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let sent = message(&topic, "run/step/execute/1").keyed("order 12345").with_headers([
        ("ce-type", "saga.command"),
        ("ce-source", "/conformance"),
        ("ce-output", "{\"a\":\"grün\",\"b\":\"50 %\"}"),
        ("ce-datacontenttype", "application/json"),
        ("traceparent-like", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("twice", "one"),
        ("twice", "two"),
        ("empty", ""),
    ]);
    client.publish(vec![sent.clone()]).await?;
    same(&client.read(&topic).await?, &sent).await?;
    client.close().await
}

/// 2: empty, binary and Unicode payloads and header values arrive as they were sent.
pub async fn odd_payloads(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    let binary: Vec<u8> = (0..=255).cycle().take(1_000).collect();
    for (nth, payload) in [Vec::new(), binary, "grüße 🦀\r\n".as_bytes().to_vec()].into_iter().enumerate()
    {
        let sent = Message::new(topic.clone(), payload).with_id(nth.to_string()).with_headers([
            ("unicode", "grüße 🦀"),
            ("lines", "one\r\ntwo\n"),
            ("percent", "%41 100 %"),
        ]);
        client.publish(vec![sent.clone()]).await?;
        same(&reader, &sent).await?;
    }
    client.close().await
}

/// The next delivery is this message, to the byte.
async fn same(reader: &Reader, sent: &Message) -> Check {
    let delivery = take_one(reader).await?;
    let got = &delivery.message;
    ensure!(
        got.topic == sent.topic && got.id == sent.id && got.key == sent.key,
        "{sent:?} arrived as {got:?}"
    );
    ensure!(got.payload == sent.payload, "the payload of {} arrived changed", sent.id);
    let sorted = |message: &Message| {
        let mut pairs: Vec<_> =
            message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        pairs.sort_by(|a, b| a.0.cmp(&b.0));
        pairs
    };
    ensure!(sorted(got) == sorted(sent), "headers {:?} arrived as {:?}", sorted(sent), sorted(got));
    ensure!(delivery.attempt == 1, "the first delivery is attempt {}", delivery.attempt);
    ack(reader, vec![delivery]).await
}

/// 3: a message of the declared maximum passes, and one with a byte more is refused for good.
pub async fn largest_message(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let Some(max) = client.bus.capabilities().message_bytes_max else {
        return Err(Stop::does_not_apply("the bus declares no largest message"));
    };
    let topic = client.commands(stand).await?;
    let sized =
        |id: &str, bytes: usize| Message::new(topic.clone(), vec![b'x'; bytes - id.len()]).with_id(id);
    let (largest, larger) = (sized("a", max), sized("b", max + 1));
    ensure!(largest.size_bytes() == max, "the case miscounts");
    client.publish(vec![largest.clone()]).await?;
    let answer = client.bus.publish(vec![larger]).await.remove(0);
    ensure!(
        matches!(&answer, Published::Rejected(error) if error.kind() == ErrorKind::Permanent),
        "a message of {} bytes where {max} are the most is answered {answer:?}",
        max + 1
    );
    same(&client.read(&topic).await?, &largest).await?;
    client.close().await
}

/// 4: what is published to one topic is not delivered on another, whatever their names have in common.
pub async fn topics_apart(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let longer = Topic::new(format!("{topic}.more")).map_err(Stop::failed)?;
    client.declare(&longer, TopicKind::Commands, &["workers"], GroupStart::Earliest).await?;
    let outcome = apart(&client, &topic, &longer).await;
    client.admin.delete_topic(&longer).await?;
    outcome?;
    client.close().await
}

async fn apart(client: &Client, topic: &Topic, longer: &Topic) -> Check {
    let (here, there) = (client.read(topic).await?, client.read(longer).await?);
    client.publish(vec![message(topic, "here")]).await?;
    let delivery = take_one(&here).await?;
    ensure!(delivery.message.id.as_str() == "here", "another message came: {}", delivery.message.id);
    ack(&here, vec![delivery]).await?;
    quiet(&there).await
}

/// 5: many topics are used at once over one connection, and each has its own messages.
pub async fn many_topics(stand: &Stand) -> Check {
    const TOPICS: usize = 12;
    let client = stand.connect().await?;
    let mut topics = Vec::new();
    for _ in 0..TOPICS {
        topics.push(client.commands(stand).await?);
    }
    let batch = topics
        .iter()
        .flat_map(|topic| (0..20).map(move |n| message(topic, format!("{topic}/{n}"))))
        .collect();
    client.publish(batch).await?;
    let client_ref = &client;
    let drained = topics.iter().map(|topic| async move {
        let reader = client_ref.read(topic).await?;
        drain(&reader, (0..20).map(|n| format!("{topic}/{n}")), ARRIVES_WITHIN).await
    });
    futures::future::try_join_all(drained).await?;
    client.close().await
}

/// 6: a client that only sends needs no group and no declaration of its own.
pub async fn send_only_client(stand: &Stand) -> Check {
    let (client, sender) = (stand.connect().await?, stand.connect().await?);
    let topic = client.commands(stand).await?;
    sender.publish(messages(&topic, 10)).await?;
    sender.close().await?;
    drain(&client.read(&topic).await?, numbers(10), ARRIVES_WITHIN).await?;
    client.close().await
}

/// 7: publishing to a topic that is not there is refused, as reading it is, and does not harm what else is sent.
pub async fn missing_topic(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let (topic, missing) = (client.commands(stand).await?, stand.topic());
    let batch = vec![message(&topic, 0), message(&missing, "lost"), message(&topic, 1)];
    let answers = client.bus.publish(batch).await;
    ensure!(
        matches!(&answers[1], Published::Rejected(error) if error.kind() == ErrorKind::NotFound),
        "publishing to a missing topic is answered {:?}",
        answers[1]
    );
    ensure!(
        matches!((&answers[0], &answers[2]), (Published::Acked, Published::Acked)),
        "its neighbours are answered {:?} and {:?}",
        answers[0],
        answers[2]
    );
    match client.read(&missing).await {
        Err(Stop::Failed(error)) if error.starts_with("NotFound") => {}
        other => return Err(Stop::failed(format!("reading a missing topic is answered {other:?}"))),
    }
    drain(&client.read(&topic).await?, numbers(2), ARRIVES_WITHIN).await?;
    client.close().await
}

/// 8: declaring twice is declaring once, also at the same time; what differs from what is there is refused for good, and says what differs.
pub async fn declared_twice(stand: &Stand) -> Check {
    let (client, other) = (stand.connect().await?, stand.connect().await?);
    let topic = stand.topic();
    let declare = |client: Client| {
        let topic = topic.clone();
        async move { client.declare(&topic, TopicKind::Commands, &["workers"], GroupStart::Earliest).await }
    };
    futures::future::try_join(declare(client.clone()), declare(other.clone())).await?;
    declare(client.clone()).await?;
    client.publish(messages(&topic, 3)).await?;
    declare(other.clone()).await?;
    drain(&client.read(&topic).await?, numbers(3), ARRIVES_WITHIN).await?;

    let second = other.declare(&topic, TopicKind::Commands, &["others"], GroupStart::Earliest).await;
    refused(second, "a second group of a topic of commands")?;
    let spec =
        TopicSpec { cleanup: Some(Cleanup::Compact), ..TopicSpec::new(topic.clone(), TopicKind::Commands) };
    match other.admin.create_topic(&spec).await {
        Err(error) if matches!(error.kind(), ErrorKind::Permanent | ErrorKind::NotAllowed) => {}
        answer => {
            return Err(Stop::failed(format!("another setting of an existing topic is answered {answer:?}")));
        }
    }
    client.close().await?;
    other.close().await
}

fn refused(answer: Check, what: &str) -> Check {
    match answer {
        Err(Stop::Failed(error)) if error.starts_with("Permanent") => Ok(()),
        other => Err(Stop::failed(format!("{what} is answered {other:?}"))),
    }
}

/// 51: a message sent again with the same id after the first copy was consumed arrives again: the bus does not deduplicate.
pub async fn sent_again(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    for _ in 0..3 {
        client.publish(vec![message(&topic, "same").keyed("k")]).await?;
        let delivery = take_one(&reader).await?;
        ensure!(delivery.message.id.as_str() == "same", "another message came: {}", delivery.message.id);
        ack(&reader, vec![delivery]).await?;
    }
    client.publish(vec![message(&topic, "same"), message(&topic, "same")]).await?;
    let both = take(&reader, 2).await?;
    ack(&reader, both).await?;
    client.close().await
}

/// 53: keys with spaces, dots, `*`, `>`, quotes, percent signs and letters of any alphabet arrive as they were sent.
pub async fn odd_keys(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let topic = client.commands(stand).await?;
    let reader = client.read(&topic).await?;
    for key in
        ["a b", "a.b..c", "*", ">", "a.*.>", "grün/東京", "%41", "\"quoted\"", "$JS.API", " edge ", "🦀"]
    {
        let sent = message(&topic, key).keyed(key);
        client.publish(vec![sent.clone()]).await?;
        same(&reader, &sent).await?;
    }
    client.close().await
}

/// 54: a batch over two topics is seen whole or not at all, where the bus declares that it can; where not, it is refused and nothing is sent.
pub async fn atomic_batch(stand: &Stand) -> Check {
    let client = stand.connect().await?;
    let (one, two) = (client.commands(stand).await?, client.commands(stand).await?);
    let (read_one, read_two) = (client.read(&one).await?, client.read(&two).await?);
    let missing = stand.topic();
    let broken = vec![message(&one, "broken"), message(&two, "broken"), message(&missing, "broken")];
    let answer = client.bus.publish_atomic(broken).await;
    ensure!(matches!(answer, Published::Rejected(_)), "a batch with a missing topic is answered {answer:?}");
    quiet(&read_one).await?;
    quiet(&read_two).await?;
    let whole = vec![message(&one, "whole"), message(&two, "whole")];
    let answer = client.bus.publish_atomic(whole).await;
    if !client.bus.capabilities().atomic_publish {
        ensure!(
            matches!(&answer, Published::Rejected(error) if error.kind() == ErrorKind::NotAllowed),
            "an atomic batch where the bus has none is answered {answer:?}"
        );
        quiet(&read_one).await?;
        return Err(Stop::does_not_apply("the bus cannot publish over several topics at once, and says so"));
    }
    ensure!(matches!(answer, Published::Acked), "the batch is answered {answer:?}");
    for reader in [&read_one, &read_two] {
        let delivery = take_one(reader).await?;
        ensure!(delivery.message.id.as_str() == "whole", "{} came", delivery.message.id);
        ack(reader, vec![delivery]).await?;
    }
    client.close().await
}
