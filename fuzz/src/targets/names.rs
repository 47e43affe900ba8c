use std::fmt::Debug;

use saga::record::{Action, MessageId, Payload, RunId, SagaId, SagaKey, Timestamp, Topic};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) fn run(bytes: &[u8]) {
    payload(bytes);
    let text = String::from_utf8_lossy(bytes);
    if let Some(moment) = Timestamp::parse(&text) {
        assert_eq!(Timestamp::parse(&moment.to_string()), Some(moment), "{text:?}");
    }
    if let Ok(run) = text.parse::<RunId>() {
        assert_eq!(run.to_string().parse(), Ok(run));
    }
    if let Ok(id) = SagaId::new(&*text) {
        assert_eq!(id.as_str(), text);
        stored(&SagaKey { saga: text.as_ref().into(), id });
    }
    if let Ok(topic) = Topic::new(&*text) {
        stored(&topic);
    }
    stored(&MessageId::new(&*text));
    assert!(Action::from_name(&text).is_none_or(|action| action.as_str() == text));
}

fn payload(bytes: &[u8]) {
    let payload = Payload::from(bytes.to_vec());
    stored(&payload);
    // As user code reads it, and as it is stored. What becomes of a number is for the user's types.
    if let Ok(value) = payload.parse::<serde_json::Value>() {
        assert!(!Payload::json(&value).expect("JSON can be written").is_empty());
    }
    if let Ok(read) = serde_json::from_slice::<Payload>(bytes) {
        stored(&read);
    }
}

/// What is written to a store comes back from it.
fn stored<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T) {
    let text = serde_json::to_string(value).expect("it can be stored");
    assert_eq!(&serde_json::from_str::<T>(&text).expect("it was just stored"), value);
}
