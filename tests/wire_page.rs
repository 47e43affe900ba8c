//! The examples of `docs/wire.md` are what they say they are.

use saga::Message;
use saga::record::{Action, Report, Topic};
use saga::wire::{Command, Reply};

/// How a broker spells what every message has: what attributes begin with, what is called otherwise, and what has no place in a message.
struct Binding {
    attributes: &'static str,
    renamed: &'static [(&'static str, &'static str)],
    own: &'static [&'static str],
}

const KAFKA: Binding = Binding {
    attributes: "ce_",
    renamed: &[("key", "ce-partitionkey"), ("content-type", "ce-datacontenttype")],
    own: &[],
};
const RABBIT: Binding = Binding {
    attributes: "cloudEvents:",
    renamed: &[("content-type", "ce-datacontenttype")],
    own: &["delivery-mode", "message-id", "timestamp"],
};
const NATS: Binding = Binding { attributes: "ce-", renamed: &[], own: &[] };

/// The blocks of headers and a payload, as messages, with the broker that spells them so.
fn examples() -> Vec<(&'static str, Message)> {
    let page = include_str!("../docs/wire.md");
    let blocks =
        page.split("```text\n").skip(1).filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    let read = |block: &str| {
        let (name, binding) = [("kafka", KAFKA), ("rabbit", RABBIT), ("nats", NATS)]
            .into_iter()
            .find(|(_, binding)| block.contains(&format!("\n{}specversion: ", binding.attributes)))
            .expect("it is spelled as on one of the brokers");
        (name, binding.message(block))
    };
    blocks.map(read).collect()
}

impl Binding {
    fn message(&self, block: &str) -> Message {
        let (headers, payload) =
            block.split_once("\n\n").expect("an empty line is between headers and payload");
        let lines = headers.lines().map(|line| line.split_once(": ").expect("a name and a value"));
        let mut pairs: Vec<_> = lines
            .filter(|(name, _)| !self.own.contains(name))
            .map(|(name, value)| (self.port_name(name), value))
            .collect();
        // A broker may keep them in another order.
        pairs.sort_unstable();
        let value = |name| pairs.iter().find(|(found, _)| found == name).expect("it is there").1;
        let others = pairs.iter().filter(|(name, _)| !["ce-id", "ce-partitionkey"].contains(&&**name));
        Message::new(Topic::new("a").unwrap(), payload.trim_end().as_bytes().to_vec())
            .with_id(value("ce-id"))
            .keyed(value("ce-partitionkey"))
            .with_headers(others.map(|(name, value)| (&**name, *value)))
    }

    fn port_name(&self, name: &str) -> String {
        if let Some((_, port)) = self.renamed.iter().find(|(wire, _)| *wire == name) {
            return (*port).to_owned();
        }
        let attribute = name.strip_prefix(self.attributes).expect("there are only attributes");
        format!("ce-{attribute}")
    }
}

/// The same message, its headers in the order of the page.
fn sorted(message: Message) -> Message {
    let mut pairs: Vec<_> =
        message.headers.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    pairs.sort_unstable();
    Message::new(message.topic, message.payload.to_vec())
        .with_id(&*message.id.to_string())
        .keyed(&*message.key.expect("it has one"))
        .with_headers(pairs.iter().map(|(name, value)| (&**name, &**value)))
}

#[test]
fn the_examples_are_read_as_a_command_and_its_reply() {
    let examples = examples();
    let (commands, replies) = examples.split_at(3);
    let brokers =
        |messages: &[(&'static str, Message)]| messages.iter().map(|(name, _)| *name).collect::<Vec<_>>();
    assert_eq!(
        (brokers(commands), brokers(replies)),
        (vec!["kafka", "rabbit", "nats"], vec!["kafka", "rabbit", "nats"])
    );
    for ((broker, command), (_, reply)) in commands.iter().zip(replies) {
        let read = Command::parse(command).unwrap();
        assert_eq!((read.action, read.round, read.message_id()), (Action::Execute, 1, command.id.clone()));
        assert_eq!(
            (&*read.step, read.reply_to.as_str()),
            ("send-confirmation", "checkout.replies"),
            "{broker}"
        );
        let answer = Reply::parse(reply).unwrap().expect("it has attributes");
        assert_eq!((answer.run, &*answer.step, answer.round), (read.run, &*read.step, read.round));
        assert!(matches!(answer.report, Report::Succeeded { .. }), "{broker}: {:?}", answer.report);
        assert_eq!(command.key, reply.key);
        // What the library writes has the attributes of the page.
        assert_eq!(sorted(read.into_message(command.topic.clone(), "/saga/checkout")), *command, "{broker}");
        // It is the same message on all brokers, however it is spelled there.
        assert_eq!((command, reply), (&commands[0].1, &replies[0].1), "{broker}");
    }
}
