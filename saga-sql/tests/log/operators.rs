use saga_core::ports::{Append, AppendError};
use saga_core::record::{Entry, Fact, HeldInput, NamedVerb, Resolution, RunId, StepIndex, Timestamp};
use saga_core::{Contract, NoUndo, Saga};

use crate::stand::{Stand, WINDOW, at, definition, key, settling};

const MAIL: Contract<u64, (), NoUndo> = Contract::new("mail");

fn saga(version: u32, step: &str) -> Saga<u64> {
    let mut saga = Saga::<u64>::builder("greeting", version);
    let mail = saga.step(&MAIL, |n| *n);
    saga.configure(&mail).named(step).deadline(WINDOW);
    saga.deadline(WINDOW);
    saga.build().unwrap()
}

pub(crate) async fn outlines_of_definitions_are_kept(stand: Stand) {
    assert_eq!(stand.log.outlines().await.unwrap(), []);
    let of = |saga: &Saga<u64>| saga.definition().outline();
    let (first, second) = (of(&saga(1, "a")), of(&saga(2, "b")));
    stand.log.describe(&[second.clone(), first.clone()]).await.unwrap();
    stand.again().await.describe(std::slice::from_ref(&first)).await.unwrap();
    assert_eq!(stand.log.outlines().await.unwrap(), [first.clone(), second.clone()]);
    // What is not part of the digest may change, and replaces what was kept.
    let mut slower = Saga::<u64>::builder("greeting", 1);
    let mail = slower.step(&MAIL, |n| *n);
    slower.configure(&mail).named("a");
    let slower = of(&slower.build().unwrap());
    assert_eq!(slower.definition, first.definition);
    stand.log.describe(std::slice::from_ref(&slower)).await.unwrap();
    assert_eq!(stand.log.outlines().await.unwrap(), [slower, second]);
    assert_eq!(stand.log.census().await.unwrap(), [], "a definition is no saga");
}

fn asked() -> Entry {
    let verb = NamedVerb::Retry { step: Some("mail".into()) };
    let input = HeldInput::Operate { verb, who: "ann".into(), why: "it is \"back\"".into() };
    Entry { at: Timestamp::from_millis(1), fact: Fact::Held { input } }
}

pub(crate) async fn what_operators_did_outlives_the_record(stand: Stand) {
    let refused = Fact::OperationRefused { who: "ann".into(), why: "x".into(), reason: "no".into() };
    let resolved = Fact::Resolved { step: StepIndex(0), resolution: Resolution::Undone };
    let later =
        [refused, Fact::HeldTaken, resolved].map(|fact| Entry { at: Timestamp::from_millis(2), fact });
    stand.append(Append { entries: vec![asked()], ..at("a", 0) }).await.unwrap();
    // What is not appended is not filed.
    let lost = Append { entries: vec![asked()], ..at("a", 0) };
    assert!(matches!(stand.append(lost).await, Err(AppendError::Conflict)));
    stand.append(at("b", 0)).await.unwrap();
    let batch = vec![
        Append { entries: later.to_vec(), ..at("a", 1) },
        Append { entries: vec![asked()], run: RunId::from_u128(3), ..at("c", 0) },
    ];
    assert!(stand.log.append(batch).await.iter().all(Result::is_ok));
    stand.append(settling("a", 4)).await.unwrap();
    stand.advance(WINDOW).await;
    assert_eq!(stand.load("a").await, None);

    let audit = stand.again().await.audit(Some(key("a")), 10).await.unwrap();
    let entries: Vec<_> = audit.iter().map(|line| line.entry.clone()).collect();
    assert_eq!(entries, [asked(), later[0].clone(), later[2].clone()]);
    let [first, ..] = &audit[..] else { panic!("there are three") };
    assert_eq!((&first.key, first.run, &first.definition), (&key("a"), RunId::from_u128(1), &definition(1)));
    let all = stand.log.audit(None, 10).await.unwrap();
    assert_eq!((all.len(), all[3].run), (4, RunId::from_u128(3)));
    assert_eq!(stand.log.audit(None, 2).await.unwrap().len(), 2);
    assert_eq!(stand.log.audit(Some(key("b")), 10).await.unwrap(), []);
}
