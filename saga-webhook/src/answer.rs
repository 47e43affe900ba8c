use std::time::Duration;

use http::StatusCode;
use http::header::LOCATION;
use http::response::Parts;
use http::uri::Uri;
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use saga_core::ports::CallbackError;
use saga_core::record::SagaKey;

use crate::target::{Target, shown};

const DISCARDED_BYTES_MAX: usize = 16 * 1024;
const DISCARD_TIME_MS_MAX: u64 = 250;

/// What the saga makes of an answer's head.
pub(crate) fn judge(head: &Parts, target: &Target, key: &SagaKey) -> Result<(), CallbackError> {
    let status = head.status;
    let answered = format!("{target} answered {status} ({key})");
    match status {
        _ if status.is_success() => Ok(()),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            Err(CallbackError::Retry(answered))
        }
        _ if status.is_server_error() => Err(CallbackError::Retry(answered)),
        _ if status.is_redirection() => Err(CallbackError::Refused(format!(
            "{answered}; redirects are not followed, give the webhook the address that it names: {}",
            location(head)
        ))),
        _ => Err(CallbackError::Refused(answered)),
    }
}

/// Where a redirect points, as far as it may be shown.
fn location(head: &Parts) -> String {
    let uri = head.headers.get(LOCATION).and_then(|value| Uri::try_from(value.as_bytes()).ok());
    uri.map_or_else(|| "none that could be read".to_owned(), |uri| shown(&uri))
}

/// Reads the rest of a short answer, so that its connection can be used again. A long or slow one is cut off with its connection: the
/// status has said all there is to know.
pub(crate) async fn discard(body: Incoming) {
    let rest = Limited::new(body, DISCARDED_BYTES_MAX).collect();
    let _ = tokio::time::timeout(Duration::from_millis(DISCARD_TIME_MS_MAX), rest).await;
}
