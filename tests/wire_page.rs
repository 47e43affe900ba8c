//! The examples of `docs/wire.md` are what they say they are.

use saga::Message;
use saga::record::{Action, Report, Topic};
use saga::wire::{Command, Reply};

/// The blocks of headers and a payload, as messages.
fn examples() -> Vec<Message> {
    let page = include_str!("../docs/wire.md");
    let blocks =
        page.split("```text\n").skip(1).filter_map(|rest| rest.split_once("```").map(|(block, _)| block));
    blocks.map(message).collect()
}

fn message(block: &str) -> Message {
    let (headers, payload) = block.split_once("\n\n").expect("an empty line is between headers and payload");
    let pairs: Vec<_> =
        headers.lines().map(|line| line.split_once(": ").expect("a name and a value")).collect();
    let value = |name| pairs.iter().find(|(found, _)| *found == name).expect("it is there").1;
    let others = pairs.iter().filter(|(name, _)| !["ce-id", "ce-partitionkey"].contains(name)).copied();
    Message::new(Topic::new("a").unwrap(), payload.trim_end().as_bytes().to_vec())
        .with_id(value("ce-id"))
        .keyed(value("ce-partitionkey"))
        .with_headers(others)
}

#[test]
fn the_examples_are_read_as_a_command_and_its_reply() {
    let [command, reply] = <[Message; 2]>::try_from(examples()).unwrap();
    let read = Command::parse(&command).unwrap();
    assert_eq!((read.action, read.round, read.message_id()), (Action::Execute, 1, command.id.clone()));
    assert_eq!((&*read.step, read.reply_to.as_str()), ("send-confirmation", "checkout.replies"));
    let answer = Reply::parse(&reply).unwrap().expect("it has attributes");
    assert_eq!((answer.run, &*answer.step, answer.round), (read.run, &*read.step, read.round));
    assert!(matches!(answer.report, Report::Succeeded { .. }), "{:?}", answer.report);
    assert_eq!(command.key, reply.key);
    // What the library writes has the attributes of the page.
    let written = read.into_message(command.topic.clone(), "/saga/checkout");
    assert_eq!(written, command);
}
