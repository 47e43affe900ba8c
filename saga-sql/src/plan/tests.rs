use super::*;
use saga_core::record::{Digest, Ending, Entry, Fact, SagaId, StepIndex};

fn append(id: &str, expected: Version) -> Append {
    let fact = Fact::TimedOut { step: StepIndex(0) };
    Append {
        key: SagaKey { saga: "checkout".into(), id: SagaId::new(id).unwrap() },
        run: RunId::from_u128(1),
        definition: DefinitionRef { name: "checkout".into(), version: 1, digest: Digest(7) },
        expected,
        entries: vec![Entry { at: Timestamp::from_millis(9), fact }],
        status: Status::Running,
        wake_at: Some(Timestamp::from_millis(150)),
        owner: Some(("me".into(), 3)),
        settled: None,
    }
}

fn plan(batch: &[Append], filed: Vec<Filed>) -> Plan {
    let key = append("a", 0).key;
    let filed = filed.into_iter().map(|filed| (key.clone(), filed)).collect();
    let now = Timestamp::from_millis(100);
    Plan::of(
        batch,
        Before { filed, now, idempotency_window: Duration::from_millis(10), owner: &|_, epoch| epoch },
    )
}

fn live(version: Version, line_ms: u64) -> Filed {
    let Append { run, definition, .. } = append("a", 0);
    let line = Line { at: Some(Timestamp::from_millis(line_ms)), owner: 3 };
    Filed {
        no: 4,
        what: What::Live(Live { run, definition, version, changed_at: Timestamp::default(), line }),
    }
}

fn kept(plan: &Plan) -> &Kept {
    match &plan.changes[0].fate {
        Fate::Live(kept) => kept,
        Fate::Settled(_) => panic!("{plan:?}"),
    }
}

#[test]
fn a_saga_that_is_put_off_keeps_its_line() {
    let put_off = plan(&[append("a", 2)], vec![live(2, 120)]);
    assert_eq!(
        (kept(&put_off).is_refiled, kept(&put_off).line.at),
        (false, Some(Timestamp::from_millis(120)))
    );
    let sooner = plan(&[append("a", 2)], vec![live(2, 160)]);
    assert_eq!((kept(&sooner).is_refiled, kept(&sooner).line.at), (true, Some(Timestamp::from_millis(150))));
    let come_up = plan(&[append("a", 2)], vec![live(2, 100)]);
    assert_eq!(
        (kept(&come_up).is_refiled, kept(&come_up).line.at),
        (true, Some(Timestamp::from_millis(150)))
    );
    let never = plan(&[Append { wake_at: None, ..append("a", 2) }], vec![live(2, 120)]);
    assert_eq!((kept(&never).is_refiled, kept(&never).line.at), (true, None));
    let other = plan(&[Append { owner: None, ..append("a", 2) }], vec![live(2, 120)]);
    assert!(kept(&other).is_refiled);
}

#[test]
fn several_appends_to_one_saga_are_one_change() {
    let settled = Tombstone {
        run: RunId::from_u128(1),
        input_digest: 1,
        ending: Ending::Completed,
        cause: None,
        ended_at: Timestamp::default(),
    };
    let mut plan = plan(
        &[
            append("a", 0),
            append("a", 1),
            append("a", 1),
            Append { settled: Some(settled), ..append("a", 2) },
        ],
        vec![],
    );
    let answers: Vec<_> = plan.answers.iter().map(|answer| answer.as_ref().ok().copied()).collect();
    assert_eq!(answers, [Some(1), Some(2), None, Some(3)]);
    let change = plan.changes.remove(0);
    assert!(plan.changes.is_empty() && !change.had_entries);
    assert!(matches!(change.fate, Fate::Settled(_)));
    assert_eq!(change.appends, [0, 1, 3]);
    #[cfg(feature = "postgres")]
    {
        plan.lost(&change);
        assert!(plan.answers.iter().all(|answer| matches!(answer, Err(AppendError::Conflict))));
    }
}

#[test]
fn a_tombstone_holds_for_the_window() {
    let tomb = |ms| vec![Filed { no: 4, what: What::Tomb(Timestamp::from_millis(ms)) }];
    assert!(matches!(plan(&[append("a", 0)], tomb(91)).answers[0], Err(AppendError::Conflict)));
    let again = plan(&[append("a", 0)], tomb(90));
    assert!(matches!(again.answers[0], Ok(1)));
    assert_eq!(again.changes[0].no, Some(4), "its row is used again");
}
