use saga_core::ports::{Append, Census, Query};
use saga_core::record::{Status, Timestamp};

use crate::stand::{Stand, WINDOW, at, definition, entry, key, settling, tombstone, waking};

pub(crate) async fn sagas_are_listed_in_the_order_of_their_keys(stand: Stand) {
    let parked = Append { status: Status::Parked, entries: vec![entry(1), entry(2)], ..at("c", 0) };
    let mut other = at("a", 0);
    other.key.saga = "another".into();
    let umlaut = at("ä", 0);
    for append in [
        settling("b", 0),
        parked,
        waking("d", Timestamp::from_millis(9)),
        at("a", 0),
        at("B", 0),
        umlaut,
        other,
    ] {
        stand.append(append).await.unwrap();
    }
    let list = async |query| {
        let summaries = stand.log.list(query).await.unwrap();
        summaries.iter().map(|summary| summary.key.to_string()).collect::<Vec<_>>()
    };
    let all = Query { limit: 9, ..Query::default() };
    assert_eq!(
        list(all.clone()).await,
        ["another/a", "checkout/B", "checkout/a", "checkout/b", "checkout/c", "checkout/d", "checkout/ä"]
    );
    let page = Query { after: Some(key("a")), limit: 2, ..Query::default() };
    assert_eq!(list(page).await, ["checkout/b", "checkout/c"]);
    assert_eq!(list(Query { status: Some(Status::Completed), ..all.clone() }).await, ["checkout/b"]);
    assert_eq!(list(Query { saga: Some("another".into()), ..all.clone() }).await, ["another/a"]);
    assert_eq!(list(Query::default()).await, Vec::<String>::new());

    let summaries =
        stand.log.list(Query { after: Some(key("a")), limit: 3, ..Query::default() }).await.unwrap();
    let [settled, parked, waiting] = &summaries[..] else { panic!("{summaries:?}") };
    assert_eq!((settled.definition.as_ref(), settled.changed_at), (None, tombstone().ended_at));
    assert_eq!((parked.definition.as_ref(), parked.changed_at), (Some(&definition(1)), entry(2).at));
    assert_eq!(waiting.wake_at, Some(Timestamp::from_millis(9)));
    stand.advance(WINDOW).await;
    assert!(!list(all).await.contains(&"checkout/b".to_owned()), "its window is over");
}

pub(crate) async fn the_census_counts_what_is_kept(stand: Stand) {
    let parked = |id| Append { status: Status::Parked, ..at(id, 0) };
    let newer = Append { definition: definition(2), ..at("e", 0) };
    for append in [at("a", 0), at("b", 0), parked("c"), settling("d", 0), newer] {
        stand.append(append).await.unwrap();
    }
    stand.append(Append { status: Status::Parked, ..at("b", 1) }).await.unwrap();
    let line = |version, status, count| Census { definition: definition(version), status, count };
    assert_eq!(
        stand.log.census().await.unwrap(),
        [line(1, Status::Running, 1), line(1, Status::Parked, 2), line(2, Status::Running, 1)]
    );
}
