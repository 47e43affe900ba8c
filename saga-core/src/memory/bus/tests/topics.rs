use super::*;
use crate::ErrorKind;

const COMMANDS: TopicKind = TopicKind::Commands;
const EVENTS: TopicKind = TopicKind::Events;

#[tokio::test]
async fn declaring_again_changes_nothing_and_differently_is_refused() {
    let bus = MemoryBus::new();
    let commands = declaration("c", COMMANDS, &[("g", GroupStart::Earliest)]);
    let events = declaration("e", EVENTS, &[("g", GroupStart::Earliest)]);
    bus.declare(&[commands.clone(), events.clone()]).await.unwrap();
    publish(&bus, vec![message("c", "1"), message("e", "1")]).await;
    bus.declare(&[commands, events]).await.unwrap();
    let subscription = bus.subscribe(spec("c", "g")).await.unwrap();
    assert_eq!(ready(&subscription, 9).await.len(), 1);

    for (wrong, says) in [
        (declaration("c", EVENTS, &[]), "is one of Commands"),
        (declaration("c", COMMANDS, &[("h", GroupStart::Latest)]), "has the group g"),
        (
            declaration("n", COMMANDS, &[("g", GroupStart::Latest), ("h", GroupStart::Latest)]),
            "more than one",
        ),
    ] {
        let error = bus.declare(&[wrong]).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Permanent);
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn what_was_not_declared_is_named() {
    let bus = with_commands(MemoryBus::new()).await;
    let published = bus.publish(vec![message("missing", "1"), message("t", "2")]).await;
    assert!(
        matches!(&published[..], [Published::Rejected(error), Published::Acked]
            if error.kind() == ErrorKind::NotFound && error.to_string().contains("topic missing")),
        "{published:?}"
    );
    for spec in [spec("missing", "g"), spec("t", "missing")] {
        let error = bus.subscribe(spec).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.to_string().contains("missing"), "{error}");
    }
}

#[tokio::test]
async fn commands_wait_for_their_group() {
    let bus = MemoryBus::new();
    bus.declare(&[declaration("t", COMMANDS, &[])]).await.unwrap();
    publish(&bus, messages("t", 3)).await;
    let (_bus, subscription) = with_subscription(bus).await;
    assert_eq!(texts(&ready(&subscription, 9).await), ["0", "1", "2"]);
}

#[tokio::test]
async fn each_group_of_events_gets_all_from_its_declaration_on() {
    let bus = MemoryBus::builder().retained_messages_max(2).build();
    bus.declare(&[declaration("t", EVENTS, &[("first", GroupStart::Latest)])]).await.unwrap();
    publish(&bus, messages("t", 3)).await;
    let later = [("earliest", GroupStart::Earliest), ("latest", GroupStart::Latest)];
    bus.declare(&[declaration("t", EVENTS, &later)]).await.unwrap();
    publish(&bus, vec![message("t", "new")]).await;
    for (group, expected) in
        [("first", &["0", "1", "2", "new"][..]), ("earliest", &["1", "2", "new"]), ("latest", &["new"])]
    {
        let subscription = bus.subscribe(spec("t", group)).await.unwrap();
        assert_eq!(texts(&ready(&subscription, 9).await), expected, "{group}");
    }
}

#[tokio::test]
async fn a_batch_over_many_topics_reaches_each_in_order() {
    let bus = MemoryBus::new();
    let names: Vec<String> = (0..40).map(|n| format!("t{n}")).collect();
    for name in &names {
        bus.declare(&[declaration(name, COMMANDS, &[("g", GroupStart::Earliest)])]).await.unwrap();
    }
    let batch = (0..400).map(|n: usize| message(&names[n * 7 % 40], &n.to_string())).collect();
    publish(&bus, batch).await;
    for (at, name) in names.iter().enumerate() {
        let subscription = bus.subscribe(spec(name, "g")).await.unwrap();
        let expected: Vec<String> = (0..400).filter(|n| n * 7 % 40 == at).map(|n| n.to_string()).collect();
        assert_eq!(texts(&ready(&subscription, 100).await), expected);
    }
}

#[tokio::test]
async fn the_same_id_arrives_again() {
    let (bus, subscription) = with_subscription(MemoryBus::new()).await;
    for _ in 0..2 {
        publish(&bus, vec![message("t", "same")]).await;
        settle(&subscription, ready(&subscription, 9).await.into_iter().map(Delivery::ack)).await;
    }
    publish(&bus, vec![message("t", "same"), message("t", "same")]).await;
    assert_eq!(texts(&ready(&subscription, 9).await), ["same", "same"]);
}
