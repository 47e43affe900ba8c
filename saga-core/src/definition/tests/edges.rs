use std::sync::Arc;

use super::*;
use crate::definition::{CancelRequest, ForeignReply, StartRequest};
use crate::ports::{Ended, Group, GroupStart, TopicKind};
use crate::record::{
    Action, Announcement, Ending, MessageId, Report, RunId, SagaId, SagaKey, Timestamp, Topic,
};
use crate::wire::Message;
use crate::wire::attributes::SUBJECT;

fn message(payload: &'static str) -> Message {
    Message::new(Topic::new("order-placed").unwrap(), Payload::from(payload))
}

fn with(build: impl FnOnce(&mut SagaBuilder<Order>)) -> Saga<Order> {
    let mut saga = builder();
    saga.step(&A, |order| order.cents);
    build(&mut saga);
    saga.build().unwrap()
}

fn ended(input: &'static str) -> Ended {
    Ended {
        id: MessageId::new("end"),
        key: SagaKey { saga: "checkout".into(), id: SagaId::new("12345").unwrap() },
        run: RunId::from_u128(7),
        ending: Ending::Completed,
        cause: None,
        input: Payload::from(input),
        started_at: Timestamp::default(),
        at: Timestamp::default(),
        traceparent: None,
    }
}

#[test]
fn the_default_trigger_takes_the_subject_or_the_key() {
    let saga = with(|saga| {
        saga.trigger_default("order-placed");
    });
    let trigger = |message: &Message| (saga.definition().triggers[0].codec)(message);
    let canonical = Payload::from(r#"{"cents":250,"id":"12345"}"#);
    let spaced = message("{ \"id\": \"12345\",\n \"extra\": 1, \"cents\": 250 }").keyed("by-key");
    let started = trigger(&spaced).unwrap();
    assert_eq!(started, StartRequest { id: SagaId::new("by-key").unwrap(), input: canonical });
    let started = trigger(&spaced.with_headers([(SUBJECT, "by-subject")])).unwrap();
    assert_eq!(started.id.as_str(), "by-subject");
    let nameless = trigger(&message(r#"{"cents":250,"id":"12345"}"#)).unwrap_err();
    assert!(nameless.contains("neither a CloudEvents subject nor a key"), "{nameless}");
    let unreadable = trigger(&message("{").keyed("by-key")).unwrap_err();
    assert!(unreadable.contains("it is not a "), "{unreadable}");
}

#[test]
fn a_start_message_is_what_the_default_trigger_reads() {
    let saga = with(|saga| {
        saga.trigger("orders", |_| Err("not this one".into()));
        saga.trigger_default("checkout.start");
    });
    let message = saga.start_message("12345", &order()).unwrap();
    assert_eq!((message.topic.as_str(), message.key.as_deref()), ("checkout.start", Some("12345")));
    let started = (saga.definition().triggers[1].codec)(&message).unwrap();
    let expected =
        StartRequest { id: SagaId::new("12345").unwrap(), input: saga.encode_input(&order()).unwrap() };
    assert_eq!(started, expected);
    let refused = |saga: &Saga<Order>, id| saga.start_message(id, &order()).unwrap_err().to_string();
    assert!(refused(&saga, "").contains("saga id \"\" is empty"));
    assert!(refused(&with(|_| ()), "1").contains("add trigger_default(\"checkout.start\")"));
}

#[test]
fn what_starts_and_cancels_it_can_be_declared_by_whoever_publishes_first() {
    let saga = with(|saga| {
        saga.trigger_default("checkout.start");
        saga.cancel_on("checkout.cancel", |_| Err("not this one".into()));
        saga.announce(Announcement::Completed, "checkout.done", |_, _| "done");
    });
    let declarations = saga.declarations();
    let topics: Vec<_> = declarations.iter().map(|declaration| declaration.topic.as_str()).collect();
    assert_eq!(topics, ["checkout.cancel", "checkout.start"]);
    let group = Group { name: "checkout.coordinator".into(), start: GroupStart::Earliest };
    for declaration in declarations {
        assert_eq!((declaration.kind, declaration.groups), (TopicKind::Events, vec![group.clone()]));
    }
}

#[test]
fn a_codec_of_the_user_s_reads_triggers_and_its_panic_is_a_refusal() {
    let saga = with(|saga| {
        saga.trigger("order-placed", |message| {
            let input: Order = message.payload.parse()?;
            assert!(input.cents > 0, "free orders are not foreseen");
            Ok(StartRequest { id: input.id.parse()?, input })
        });
    });
    let trigger = |payload| (saga.definition().triggers[0].codec)(&message(payload));
    let started = trigger(r#"{"id": "12345", "cents": 250}"#).unwrap();
    assert_eq!(started.id.as_str(), "12345");
    assert_eq!(started.input, saga.encode_input(&order()).unwrap());
    let refused = |payload| trigger(payload).unwrap_err();
    assert!(refused(r#"{"id": "", "cents": 250}"#).contains("saga id \"\" is empty"));
    assert!(refused("[]").contains("invalid length 0"));
    let panicked = refused(r#"{"id": "1", "cents": 0}"#);
    assert!(panicked.contains("panicked: free orders are not foreseen"), "{panicked}");
}

#[test]
fn cancels_and_replies_are_read_by_their_codecs() {
    let saga = with(|saga| {
        saga.cancel_on("rollback-order", |message| {
            Ok(CancelRequest { id: message.payload.parse::<String>()?.parse()?, why: "asked".into() })
        });
        saga.reply_codec(|message| {
            let report = Report::Succeeded { output: message.payload.clone() };
            Ok(ForeignReply { id: "1".parse()?, step: "a".into(), action: Action::Execute, report })
        });
    });
    let definition = saga.definition();
    let cancel = (definition.cancels[0].codec)(&message("\"12345\"")).unwrap();
    assert_eq!((cancel.id.as_str(), &*cancel.why), ("12345", "asked"));
    assert!((definition.cancels[0].codec)(&message("\"\"")).is_err());
    let reply = (definition.reply_codec.as_ref().unwrap().codec)(&message("7")).unwrap();
    assert_eq!(reply.report, Report::Succeeded { output: Payload::from("7") });
}

#[test]
fn announcements_say_what_the_closure_makes_of_the_input() {
    #[derive(Serialize)]
    struct Body {
        order_id: String,
        status: Arc<str>,
    }
    let saga = with(|saga| {
        saga.announce(Announcement::Completed, "order-complete", |order, ended| Body {
            order_id: order.id.clone(),
            status: ended.ending.to_string().into(),
        });
        saga.announce(Announcement::Abandoned, "trouble", |_, _| -> () { panic!("no words") });
    });
    let said = |which: &Announcement, input| (saga.definition().announcements[which].body)(&ended(input));
    let body = said(&Announcement::Completed, r#"{"cents":250,"id":"12345"}"#).unwrap();
    assert_eq!(body, Payload::from(r#"{"order_id":"12345","status":"completed"}"#));
    let panicked = said(&Announcement::Abandoned, r#"{"cents":250,"id":"12345"}"#).unwrap_err();
    assert!(panicked.contains("panicked: no words"), "{panicked}");
    assert!(said(&Announcement::Completed, "{}").unwrap_err().contains("missing field"));
}
