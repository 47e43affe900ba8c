use super::demonstration;

const POST: &str = "received POST \"all task complete\"";
const RIGHT: &str = "the books are right";
/// What each sub-case shows when it undoes what it did.
const UNDONE: [(&str, &str); 4] = [
    ("inventory", "undone: put 2 × p001, 1 × p002 back"),
    ("payment", "undone: refunded 42.00 to abc123"),
    ("history", "undone: order 12345 removed from the history of abc123"),
    ("confirmation", "undone: told abc123 that order 12345 is cancelled"),
];

#[tokio::test]
async fn when_all_succeed_the_endpoint_is_told_once() {
    let (is_right, text) = demonstration("").await;
    assert!(is_right, "{text}");
    assert_eq!(text.matches(POST).count(), 1, "{text}");
    assert!(text.contains(r#"announced {"event":"order-complete","order_id":"12345","status":"success"}"#));
    assert!(text.contains("p001: 999,998 in stock, 2 sold"), "{text}");
    assert!(!text.contains("undone") && text.contains(RIGHT), "{text}");
    assert!(text.contains("charged 42.00 to abc123"), "{text}");
}

/// Runs with one or several failures: what the others did must be undone, after the failure, and nobody be told of a completion.
async fn rolls_back(options: &str, failing: &[&str], reason: &str) {
    let (is_right, text) = demonstration(options).await;
    assert!(is_right, "{options}: {text}");
    assert!(text.contains(&format!("order 12345 rolled back: {reason}")), "{options}: {text}");
    assert_eq!(
        text.matches(r#"announced {"event":"rollback-order","order_id":"12345","status":"failure"}"#).count(),
        1
    );
    assert!(!text.contains(POST) && text.contains(RIGHT), "{options}: {text}");
    for (name, undone) in UNDONE {
        let times = usize::from(!failing.contains(&name));
        assert_eq!(text.matches(undone).count(), times, "{options}: {name}: {text}");
    }
    assert!(!text.contains(" in stock, 2 sold"), "{options}: {text}");
}

#[tokio::test]
async fn out_of_stock() {
    rolls_back("--fail inventory", &["inventory"], "inventory-check was refused: out of stock").await;
}

#[tokio::test]
async fn card_declined() {
    rolls_back("--fail payment", &["payment"], "payment-validation was refused: card declined").await;
}

#[tokio::test]
async fn history_store_down() {
    let reason = "customer-history-update failed: 3 attempts: the history store is down";
    rolls_back("--fail history", &["history"], reason).await;
}

#[tokio::test]
async fn mail_server_down() {
    let reason = "send-confirmation failed: 3 attempts: the mail server is down";
    rolls_back("--fail confirmation", &["confirmation"], reason).await;
}

#[tokio::test]
async fn two_at_once() {
    let reason = "inventory-check was refused: out of stock";
    rolls_back("--fail inventory,payment", &["inventory", "payment"], reason).await;
}

#[tokio::test]
async fn lost_answers_are_undone_although_nobody_knows_what_was_done() {
    for (name, step) in [("payment", "payment-validation"), ("inventory", "inventory-check")] {
        let reason = format!("{step} did not answer before its deadline");
        rolls_back(&format!("--silent {name}"), &[], &reason).await;
    }
}

#[tokio::test]
async fn what_finishes_after_the_first_failure_is_undone_under_every_policy() {
    for policy in ["fail-fast", "wait-all", "grace=10ms", "grace=2s"] {
        let options = format!("--fail payment --slow history=150ms --policy {policy}");
        rolls_back(&options, &["payment"], "payment-validation was refused: card declined").await;
    }
}

#[tokio::test]
async fn slowness_alone_is_no_failure() {
    let (is_right, text) = demonstration("--slow payment=700ms").await;
    assert!(is_right && text.contains(POST), "{text}");
}
