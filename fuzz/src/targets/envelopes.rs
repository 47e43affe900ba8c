use saga::record::{Action, Topic};
use saga::wire::{Command, Known, Message, OUTPUT_BYTES_MAX, Reply};

use crate::written::Written;

pub(super) fn run(bytes: &[u8]) {
    let message = Written::read(bytes).into_message();
    command(&message);
    reply(&message);
    headers(&message);
}

fn topic() -> Topic {
    Topic::new("elsewhere").expect("it is a name")
}

fn command(message: &Message) {
    let Ok(mut command) = Command::parse(message) else { return };
    assert!(command.action != Action::Execute || command.known == Known::Unknown, "nothing is known before");
    let again = command.clone().into_message(topic(), "/fuzz");
    // A longer output stays with the participant.
    if let Known::Succeeded(output) = &mut command.known {
        *output = output.take().filter(|output| output.len() <= OUTPUT_BYTES_MAX);
    }
    assert_eq!(again.id, command.message_id());
    assert_eq!(Command::parse(&again).as_ref(), Ok(&command), "a command is not read as it was written");
}

fn reply(message: &Message) {
    let Ok(Some(reply)) = Reply::parse(message) else { return };
    let again = reply.clone().into_message(topic(), "/fuzz");
    assert_eq!(Reply::parse(&again), Ok(Some(reply)), "a reply is not read as it was written");
}

fn headers(message: &Message) {
    let pairs: Vec<_> = message.headers.iter().collect();
    let copy = message.headers.with([("more", "")]).without(&["more"]);
    assert!(copy.iter().eq(pairs.iter().copied().filter(|(name, _)| *name != "more")));
    for (name, _) in &pairs {
        let last = pairs.iter().rev().find(|(other, _)| other == name);
        assert_eq!(message.headers.get(name), last.map(|(_, value)| *value));
    }
}
