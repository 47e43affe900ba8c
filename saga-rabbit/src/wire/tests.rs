use super::*;

fn topic() -> Topic {
    Topic::new("t").unwrap()
}

fn sorted(message: &Message) -> Vec<(String, String)> {
    let mut pairs: Vec<_> = message.headers.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    pairs.sort_by(|a, b| a.0.cmp(&b.0));
    pairs
}

fn odd() -> Message {
    Message::new(topic(), "{}").with_id("run/step/execute/1 ü%").keyed("a key.*>\" ü").with_headers([
        ("ce-output", "{\"a\":\"1\r\n\"}"),
        ("ce-datacontenttype", "application/json"),
        ("plain", "grüße"),
        ("twice", "one"),
        ("twice", "two"),
        ("twice", "three"),
        ("CC", "not for the server"),
        ("x-death", "mine"),
        ("saga-attempt", "mine"),
        ("saga-encoded-x", "mine"),
        ("cloudEvents:id", "mine"),
        ("empty", ""),
    ])
}

#[test]
fn what_is_sent_arrives() {
    let message = odd();
    let properties = to_wire(&message).unwrap();
    let (arrived, own) = from_wire(&topic(), &properties, message.payload.bytes().clone());
    assert_eq!((&arrived.id, &arrived.key, &arrived.payload), (&message.id, &message.key, &message.payload));
    assert_eq!(sorted(&arrived), sorted(&message));
    assert_eq!(own, Own::default());
    let table = properties.headers().as_ref().unwrap();
    assert!(!table.contains_key("CC"), "the server would route by it");
    assert_eq!(properties.content_type().as_ref().map(|text| text.as_str()), Some("application/json"));
}

#[test]
fn a_copy_keeps_what_arrived_and_what_is_added_does_not_pile_up() {
    let message = odd();
    let first = copy(&to_wire(&message).unwrap(), &message.id, &[(ATTEMPT, "2"), (DEAD_REASON, "why")]);
    let (arrived, own) = from_wire(&topic(), &first, Bytes::new());
    assert_eq!((own.attempt(), arrived.headers.get(DEAD_REASON)), (2, Some("why")));
    let (again, own) = from_wire(&topic(), &copy(&first, &message.id, &[]), Bytes::new());
    assert_eq!(own, Own::default());
    assert_eq!(sorted(&again), sorted(&message));
}

#[test]
fn id_and_key_among_the_headers_are_not_taken_for_the_messages_own() {
    let headers =
        [("ce-id", "2"), ("ce-partitionkey", "b"), ("ce-datacontenttype", "a"), ("ce-datacontenttype", "b")];
    let message = Message::new(topic(), "").with_id("1").keyed("a").with_headers(headers);
    let (arrived, _) = from_wire(&topic(), &to_wire(&message).unwrap(), Bytes::new());
    assert_eq!((arrived.id.as_str(), arrived.key.as_deref()), ("1", Some("a")));
    assert_eq!(arrived.headers.iter().collect::<Vec<_>>(), headers[2..]);
}

#[test]
fn an_id_that_is_no_text_is_replaced_in_copies() {
    let mut table = FieldTable::default();
    table.insert("cloudEvents:id".into(), AMQPValue::FieldTable(FieldTable::default()));
    let foreign = BasicProperties::default().with_headers(table);
    let (arrived, _) = from_wire(&topic(), &foreign, Bytes::new());
    let (again, _) = from_wire(&topic(), &copy(&foreign, &arrived.id, &[]), Bytes::new());
    assert_eq!(arrived.id, again.id);
}

#[test]
fn a_bare_message_is_called_by_its_property_and_its_retries_keep_its_id() {
    let foreign = BasicProperties::default().with_message_id("7".into()).with_user_id("somebody".into());
    let (arrived, _) = from_wire(&topic(), &foreign, Bytes::new());
    assert_eq!((arrived.id.as_str(), arrived.headers.iter().count()), ("7", 0));
    let (bare, _) = from_wire(&topic(), &BasicProperties::default(), Bytes::new());
    let (again, _) = from_wire(&topic(), &copy(&BasicProperties::default(), &bare.id, &[]), Bytes::new());
    assert_eq!(bare.id, again.id);
    assert!(copy(&foreign, &arrived.id, &[]).user_id().is_none(), "the server would refuse it");
}

#[test]
fn numbers_of_others_are_read_and_the_servers_count_is_not_shown() {
    let mut table = FieldTable::default();
    table.insert("cloudEvents_type".into(), AMQPValue::LongString("news".into()));
    table.insert("count".into(), AMQPValue::LongInt(-7));
    table.insert("nested".into(), AMQPValue::FieldTable(FieldTable::default()));
    table.insert(DELIVERY_COUNT.into(), AMQPValue::LongLongInt(2));
    table.insert(FIRST_DEATH.into(), AMQPValue::LongString("delivery_limit".into()));
    let properties = BasicProperties::default().with_headers(table);
    let (arrived, own) = from_wire(&topic(), &properties, Bytes::new());
    assert_eq!(arrived.headers.iter().collect::<Vec<_>>(), [("ce-type", "news"), ("count", "-7")]);
    assert_eq!((own.attempt(), own.died.as_deref()), (3, Some("delivery_limit")));
}

#[test]
fn a_name_that_is_too_long_is_refused() {
    let name = "n".repeat(300);
    let error = to_wire(&Message::new(topic(), "").with_headers([(&*name, "v")])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
