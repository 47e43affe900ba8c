//! The webhook against real servers on this machine.

mod server;

use std::time::Duration;

use saga_core::ErrorKind;
use saga_core::ports::{Callback, CallbackError, Ended};
use saga_core::record::{Ending, MessageId, Payload, RunId, SagaId, SagaKey, Timestamp};
use saga_webhook::Webhook;
use server::Server;
use tokio::net::TcpListener;

fn ended() -> Ended {
    let key = SagaKey { saga: "checkout".into(), id: SagaId::new("order-17").unwrap() };
    let id = MessageId::new("4bf9/callback/completed");
    let at = Timestamp::from_millis(1);
    Ended::new(id, key, RunId::from_u128(7), Ending::Completed, Payload::from("{}"), at, at)
}

async fn refused(webhook: &Webhook) -> String {
    match webhook.call(&ended()).await {
        Err(CallbackError::Refused(reason)) => reason,
        other => panic!("not refused: {other:?}"),
    }
}

async fn to_be_repeated(webhook: &Webhook) -> String {
    match webhook.call(&ended()).await {
        Err(CallbackError::Retry(reason)) => reason,
        other => panic!("not to be repeated: {other:?}"),
    }
}

#[tokio::test]
async fn the_call_carries_id_trace_headers_and_body() {
    let server = Server::status("200 OK").await;
    let webhook = Webhook::post(&server.url("/done?shop=1"))
        .unwrap()
        .header("content-type", "application/json")
        .unwrap()
        .header("X-Shop", "seven")
        .unwrap()
        .body(|ended: &Ended| format!("{{\"order\":\"{}\"}}", ended.key.id));
    let mut ended = ended();
    ended.traceparent = Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".into());
    webhook.call(&ended).await.unwrap();

    let request = server.requests().pop().unwrap();
    assert!(request.starts_with("POST /done?shop=1 HTTP/1.1\r\n"), "{request}");
    let expected = [
        "idempotency-key: 4bf9/callback/completed\r\n",
        "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n",
        "content-type: application/json\r\n",
        "x-shop: seven\r\n",
        "\r\n\r\n{\"order\":\"order-17\"}",
    ];
    for part in expected {
        assert!(request.contains(part), "{part:?} is not in {request}");
    }
    assert_eq!(request.matches("content-type").count(), 1, "{request}");
}

#[tokio::test]
async fn a_repeat_has_the_same_id_and_plain_text_is_the_default() {
    let server = Server::status("204 No Content").await;
    let webhook = Webhook::post(&server.url("/")).unwrap();
    webhook.call(&ended()).await.unwrap();
    webhook.call(&ended()).await.unwrap();

    let [first, second] = server.requests().try_into().unwrap();
    assert_eq!(first, second);
    assert!(first.contains("content-type: text/plain; charset=utf-8\r\n"), "{first}");
    assert!(first.ends_with("\r\n\r\ncheckout/order-17 completed"), "{first}");
    assert!(!first.contains("traceparent"), "{first}");
}

#[tokio::test]
async fn permanent_answers_are_refusals() {
    for status in ["400 Bad Request", "401 Unauthorized", "404 Not Found", "410 Gone"] {
        let server = Server::status(status).await;
        let reason = refused(&Webhook::post(&server.url("/done")).unwrap()).await;
        assert_eq!(reason, format!("{} answered {status} (checkout/order-17)", server.url("/done")));
    }
}

#[tokio::test]
async fn passing_answers_are_repeated() {
    let passing = [
        "408 Request Timeout",
        "425 Too Early",
        "429 Too Many Requests",
        "500 Internal Server Error",
        "503 Service Unavailable",
    ];
    for status in passing {
        let server = Server::status(status).await;
        let reason = to_be_repeated(&Webhook::post(&server.url("/done")).unwrap()).await;
        assert_eq!(reason, format!("{} answered {status} (checkout/order-17)", server.url("/done")));
    }
}

#[tokio::test]
async fn a_redirect_is_refused_and_not_followed() {
    for status in ["301 Moved Permanently", "307 Temporary Redirect"] {
        let elsewhere = Server::status("200 OK").await;
        let location = elsewhere.url("/new?token=s3cret");
        let answer = format!("HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let server = Server::answering(answer, None).await;
        let reason = refused(&Webhook::post(&server.url("/done")).unwrap()).await;
        assert!(reason.contains(status) && reason.ends_with(&elsewhere.url("/new")), "{reason}");
        assert_eq!(elsewhere.requests(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_closed_port_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    drop(listener);
    let reason = to_be_repeated(&Webhook::post(&url).unwrap()).await;
    assert!(reason.starts_with(&format!("{url} could not be called")), "{reason}");
    assert!(reason.to_lowercase().contains("refused"), "{reason}");
}

#[tokio::test]
async fn a_server_that_hangs_up_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    tokio::spawn(async move { while listener.accept().await.is_ok() {} });
    let reason = to_be_repeated(&Webhook::post(&url).unwrap()).await;
    assert!(reason.starts_with(&format!("{url} could not be called")), "{reason}");
}

/// The server accepts and says nothing, so only the webhook's own limit can end the call.
#[tokio::test]
async fn a_silent_server_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/done", listener.local_addr().unwrap());
    let webhook = Webhook::post(&url).unwrap().timeout(Duration::from_millis(50));
    let reason = to_be_repeated(&webhook).await;
    assert_eq!(reason, format!("{url} did not answer within 50ms (checkout/order-17)"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endless_answer_is_cut_off() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n".to_owned();
    let server = Server::answering(head, Some("0123456789abcdef".repeat(4096))).await;
    Webhook::post(&server.url("/done")).unwrap().call(&ended()).await.unwrap();
    // What is written beyond the limit sits in the buffers of the two sockets, a few megabytes at most.
    assert!(server.bytes_written() < 16 * 1024 * 1024, "{} bytes were taken", server.bytes_written());
}

/// The status has come and the body never does: the call is answered.
#[tokio::test]
async fn an_answer_without_its_end_counts() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n".to_owned(), None).await;
    let webhook = Webhook::post(&server.url("/done")).unwrap();
    let long = Duration::from_secs(30);
    tokio::time::timeout(long, webhook.call(&ended())).await.expect("it waits for the body").unwrap();
}

#[tokio::test]
async fn secrets_are_sent_and_never_shown() {
    let server = Server::status("410 Gone").await;
    let url = format!("http://ann:s3cret@{}/done?token=s3cret", server.address);
    let webhook = Webhook::post(&url).unwrap().header("x-key", "s3cret").unwrap();
    let reason = refused(&webhook).await;
    let request = server.requests().pop().unwrap();
    assert!(request.contains("authorization: Basic YW5uOnMzY3JldA==\r\n"), "{request}");
    assert!(request.contains("x-key: s3cret\r\n") && request.contains("token=s3cret"), "{request}");

    let url = format!("http://ann:s3cret@{}/", {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        listener.local_addr().unwrap()
    });
    let unreachable = to_be_repeated(&Webhook::post(&url).unwrap()).await;
    for text in [reason, unreachable, format!("{webhook:?}")] {
        assert!(text.contains("127.0.0.1") && !text.contains("s3cret"), "{text}");
        assert!(!text.contains("YW5uOnMzY3JldA"), "{text}");
    }
}

#[test]
fn headers_that_cannot_be_sent_are_errors_without_their_value() {
    let bad = [
        ("x-key", "s3cret\r\nx-other: 1"),
        ("x-key: s3cret", ""),
        ("idempotency-key", "s3cret"),
        ("Content-Length", "3"),
    ];
    for (name, value) in bad {
        let webhook = Webhook::post("http://shop.example/done").unwrap();
        let error = webhook.header(name, value).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
        assert!(
            error.to_string().contains("shop.example") && !error.to_string().contains("s3cret"),
            "{error}"
        );
    }
}

#[cfg(not(feature = "tls"))]
#[test]
fn https_without_tls_names_the_feature() {
    let error = Webhook::post("https://shop.example/done").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("`webhook-tls`"), "{error}");
}
