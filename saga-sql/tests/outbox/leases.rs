//! Keyed leases: never two at once, numbers that grow, take-over, and nothing left to whoever has lost one.

use std::time::{Duration, Instant};

use saga_core::ErrorKind;
use saga_sql::sqlx::raw_sql;

use super::stand::{DatabaseLeases, Stand};

const LONG: Duration = Duration::from_secs(600);

async fn taken(leases: &DatabaseLeases, key: &str, ttl: Duration) -> saga_sql::KeyLease<super::stand::Database> {
    leases.acquire(key, ttl).await.unwrap().expect("nobody holds it")
}

/// Many want one key, from several processes; whoever has it writes down when it has come and gone.
pub(super) async fn two_never_hold_one_key(stand: Stand) {
    const TURNS: usize = 5;
    let inside = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut tasks = Vec::new();
    for _ in 0..8 {
        let leases = stand.leases_again().await;
        let inside = std::sync::Arc::clone(&inside);
        tasks.push(tokio::spawn(async move {
            let mut numbers = Vec::new();
            while numbers.len() < TURNS {
                let Some(lease) = leases.acquire("order-12345", LONG).await.unwrap() else {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    continue;
                };
                assert!(!inside.swap(true, std::sync::atomic::Ordering::SeqCst), "two hold it");
                tokio::time::sleep(Duration::from_millis(2)).await;
                numbers.push((Instant::now(), lease.fencing()));
                inside.store(false, std::sync::atomic::Ordering::SeqCst);
                lease.release().await.unwrap();
            }
            numbers
        }));
    }
    let mut all = Vec::new();
    for task in tasks {
        // One that fails leaves the others waiting for its lease.
        all.extend(tokio::time::timeout(Duration::from_secs(60), task).await.unwrap().unwrap());
    }
    all.sort();
    assert_eq!(all.len(), 8 * TURNS);
    assert!(all.is_sorted_by(|a, b| a.1 < b.1), "the numbers grow from holder to holder: {all:?}");
}

pub(super) async fn one_that_ran_out_is_taken_over(stand: Stand) {
    let other = stand.leases_again().await;
    let asked = Instant::now();
    let first = taken(&stand.leases, "a", Duration::from_millis(500)).await;
    assert!(first.remaining() > Duration::ZERO);
    let mut refusals = 0;
    let second = loop {
        match other.acquire("a", LONG).await.unwrap() {
            Some(lease) => break lease,
            None => refusals += 1,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    assert!(asked.elapsed() >= Duration::from_millis(499), "it held for {:?}", asked.elapsed());
    assert!(refusals > 0);
    assert!(second.fencing() > first.fencing());
    assert_eq!(first.remaining(), Duration::ZERO);
    taken(&other, "b", LONG).await;
}

/// Over its holder's death, its release, and the row's being dropped.
pub(super) async fn the_number_grows_over_everything(stand: Stand) {
    let mut last = taken(&stand.leases, "a", Duration::from_millis(1)).await.fencing();
    for forgotten in [false, true, false] {
        tokio::time::sleep(Duration::from_millis(5)).await;
        if forgotten {
            stand.run("DELETE FROM saga_leases").await;
        }
        let leases = stand.leases_again().await.named("worker 7");
        let lease = taken(&leases, "a", Duration::from_millis(1)).await;
        assert!(lease.fencing() > last);
        last = lease.fencing();
    }
    assert_eq!(stand.number("SELECT count(*) FROM saga_leases WHERE holder = 'worker 7'").await, 1);
    let lease = taken(&stand.leases, "b", LONG).await;
    lease.release().await.unwrap();
    assert!(taken(&stand.leases, "b", LONG).await.fencing() > last);
}

pub(super) async fn who_has_lost_it_can_do_nothing(stand: Stand) {
    let mut stale = taken(&stand.leases, "a", Duration::from_millis(5)).await;
    tokio::time::sleep(Duration::from_millis(20)).await;
    let error = stale.renew(LONG).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "run out, though nobody has taken it");
    assert!(error.to_string().contains("\"a\" has run out"), "{error}");
    let other = stand.leases_again().await;
    let current = taken(&other, "a", LONG).await;
    assert_eq!(stale.renew(LONG).await.unwrap_err().kind(), ErrorKind::Conflict);
    let mut transaction = Stand::begin(&stand.outbox).await;
    assert_eq!(stale.check(&mut transaction).await.unwrap_err().kind(), ErrorKind::Conflict);
    drop(transaction);
    stale.release().await.unwrap();
    assert!(other.acquire("a", LONG).await.unwrap().is_none(), "the other's lease stays");
    current.release().await.unwrap();
}

pub(super) async fn it_can_be_renewed_and_given_back(stand: Stand) {
    let other = stand.leases_again().await;
    let mut lease = taken(&stand.leases, "a", Duration::from_millis(300)).await;
    let number = lease.fencing();
    for _ in 0..4 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        lease.renew(Duration::from_millis(300)).await.unwrap();
        assert!(other.acquire("a", LONG).await.unwrap().is_none());
    }
    assert_eq!(lease.fencing(), number);
    lease.release().await.unwrap();
    taken(&other, "a", LONG).await;
}

/// The lease runs out in the middle of a transaction that has checked it: whoever takes the key comes after the commit.
pub(super) async fn nobody_takes_what_a_transaction_has_checked(stand: Stand) {
    let lease = taken(&stand.leases, "a", Duration::from_millis(200)).await;
    let mut transaction = Stand::begin(&stand.outbox).await;
    lease.check(&mut transaction).await.unwrap();
    let insert = "INSERT INTO ledger VALUES ('1', 'a', 1)";
    raw_sql(insert).execute(&mut *transaction).await.unwrap();
    let other = stand.leases_again().await;
    let next = tokio::spawn(async move {
        loop {
            if let Some(lease) = other.acquire("a", LONG).await.unwrap() {
                return lease.fencing();
            }
        }
    });
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(!next.is_finished(), "it was taken while a transaction relied on it");
    transaction.commit().await.unwrap();
    assert!(next.await.unwrap() > lease.fencing());
    assert_eq!(stand.number("SELECT count(*) FROM ledger").await, 1);
}

pub(super) async fn one_that_ran_out_is_shown_for_a_day(stand: Stand) {
    let rows = async |key: &str| {
        stand.number(&format!("SELECT count(*) FROM saga_leases WHERE key = '{key}'")).await
    };
    for (key, hours) in [("younger", 23), ("older", 25)] {
        taken(&stand.leases, key, Duration::ZERO).await;
        let age = format!("UPDATE saga_leases SET until = until - {hours} * 3600000 WHERE fencing = ");
        stand.run(&format!("{age} (SELECT max(fencing) FROM saga_leases)")).await;
    }
    taken(&stand.leases, "a", LONG).await;
    assert_eq!(stand.number("SELECT count(*) FROM saga_leases").await, 3, "it is not looked for all the time");
    taken(&stand.leases_again().await, "b", LONG).await;
    assert_eq!([rows("younger").await, rows("older").await, rows("a").await], [1, 0, 1]);
}

pub(super) async fn people_are_shown_the_key_and_who_holds_it(stand: Stand) {
    let leases = stand.leases_again().await.named("worker 7");
    let lease = taken(&leases, "order-12345", Duration::MAX).await;
    assert_eq!(&**lease.key(), "order-12345");
    assert!(lease.remaining() > Duration::from_secs(99 * 365 * 24 * 3_600), "it is not cut short");
    assert!(format!("{lease:?}").contains("order-12345") && format!("{leases:?}").contains("worker 7"));
}
