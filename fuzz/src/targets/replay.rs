use std::sync::Arc;
use std::time::Duration;

use saga::definition::Definition;
use saga::machine::{Event, Instance, Resend};
use saga::record::{Entry, Operation, Outline, Timestamp, Verb};
use saga_core::fuzz::told;

/// The first line is a definition's outline, each other one an entry, both as JSON. What is wrong with them is refused; what is taken can be
/// shown, and goes on without a panic whatever happens to it.
pub(super) fn run(bytes: &[u8]) {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let Some(Ok(outline)) = lines.next().map(serde_json::from_slice::<Outline>) else { return };
    let Ok(definition) = Definition::of_outline(&outline) else { return };
    let entries: Vec<Entry> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
    for entry in &entries {
        assert!(!told(&entry.fact, &definition).is_empty());
    }
    let Ok(instance) = Instance::replay(Arc::new(definition), &entries) else { return };
    let now = Timestamp::from_millis(1_795_335_330_250);
    shown(&instance, now);
    let (who, why) = (Arc::<str>::from("fuzz"), Arc::<str>::from("to see"));
    let operate = |verb| Event::Operate(Operation { verb, who: Arc::clone(&who), why: Arc::clone(&why) });
    let events = [
        Event::Wake { deadlines_until: Timestamp::MAX },
        Event::Cancel { who: Arc::clone(&who), why: Arc::clone(&why) },
        Event::CallbackAnswered,
        operate(Verb::Retry { step: None }),
        operate(Verb::Abandon),
    ];
    for event in events {
        let mut instance = instance.clone();
        let version = instance.version();
        let Ok(decided) = instance.decide(event, now) else { continue };
        assert_eq!(instance.version(), version + decided.len() as u64);
        let replayed = Instance::replay(Arc::clone(instance.definition()), entries.iter().chain(&decided));
        let replayed = replayed.expect("what was decided can follow");
        assert_eq!(replayed.view(), instance.view(), "replayed it is another saga than live");
        assert_eq!(replayed.owed(), instance.owed());
        shown(&instance, now);
    }
}

fn shown(instance: &Instance, now: Timestamp) {
    let resend = Resend { first: Duration::from_secs(5), max: Duration::from_secs(60) };
    let _shown = (instance.view(), instance.status(), instance.settled(), instance.next_deadline());
    for effect in instance.owed() {
        let _due = instance.is_due_again(effect, Some(now), now, &resend);
    }
    let _wake_at = instance.wake_at(now, &resend);
}
