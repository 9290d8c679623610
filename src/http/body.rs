//! What a request brings besides its path, taken within bounds: queries, JSON bodies, and how long
//! a client may take to send something.
//!
//! Always holds: memory and time are bounded whatever a client sends or holds back. Never: reads
//! text that is not UTF-8 as some other text.

use std::time::Duration;

use actix_web::error::QueryPayloadError;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::{HttpRequest, web};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout};

use super::failure::Failure;
use crate::command::ErrorCode;

/// Longest JSON body: the largest value and its escapes fit.
const MAX_JSON_BYTES: usize = 64 * 1024;
/// A JSON body must be here within this time.
const JSON_TIMEOUT: Duration = Duration::from_secs(5);
/// An upload must bring [`PROGRESS_BYTES`] each time it was waited for so long: slower than the
/// slowest network that files are sent over, and none for ever.
const STALL: Duration = Duration::from_secs(30);
const PROGRESS_BYTES: usize = 64 * 1024;

/// The query of a request; a key it doesn't know, or one given twice, is an error.
pub(super) fn query<T: DeserializeOwned>(request: &HttpRequest) -> Result<T, Failure> {
    let text = request.query_string();
    // The parser would read other bytes as replacement characters.
    percent_decode_str(text).decode_utf8().map_err(|_| usage("the query is not UTF-8"))?;
    match web::Query::<T>::from_query(text) {
        Ok(query) => Ok(query.into_inner()),
        Err(QueryPayloadError::Deserialize(error)) => Err(usage(format!("bad query: {error}"))),
        Err(error) => Err(usage(format!("bad query: {error}"))),
    }
}

/// A body of JSON. Only what says that it is JSON is taken for it: forms of other pages can't.
pub(super) async fn json<T: DeserializeOwned>(
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<T, Failure> {
    if !is_of_type(request, "application/json") {
        return Err(Failure::request(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON, with 'Content-Type: application/json'",
        ));
    }
    let body = match timeout(JSON_TIMEOUT, payload.to_bytes_limited(MAX_JSON_BYTES)).await {
        Ok(Ok(Ok(body))) => body,
        Ok(Ok(Err(error))) => return Err(usage(format!("the body broke off: {error}"))),
        Ok(Err(_)) => {
            let message = format!("the body has more than {MAX_JSON_BYTES} bytes");
            return Err(Failure::request(StatusCode::PAYLOAD_TOO_LARGE, message));
        }
        Err(_) => return Err(too_slow()),
    };
    serde_json::from_slice(&body).map_err(|error| usage(format!("bad body: {error}")))
}

/// Whether a request says, once, that its body is of this type.
pub(super) fn is_of_type(request: &HttpRequest, wanted: &str) -> bool {
    let mut types = request.headers().get_all(CONTENT_TYPE);
    let given = types.next().and_then(|value| value.to_str().ok());
    let essence = given.and_then(|value| value.split(';').next()).unwrap_or_default();
    types.next().is_none() && essence.trim().eq_ignore_ascii_case(wanted)
}

/// A request that is not as it should be.
pub(super) fn usage(message: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::Usage, message)
}

fn too_slow() -> Failure {
    Failure::request(StatusCode::REQUEST_TIMEOUT, "the body did not come fast enough")
}

/// How long a body of any length is waited for. Only the client's time counts, not the node's.
#[derive(Debug, Default)]
pub(super) struct Patience {
    waited: Duration,
    bytes: usize,
}

impl Patience {
    /// Waits for what comes next from the client.
    pub(super) async fn wait<T>(&mut self, next: impl Future<Output = T>) -> Result<T, Failure> {
        let since = Instant::now();
        let came = timeout(STALL.saturating_sub(self.waited), next).await;
        self.waited += since.elapsed();
        came.map_err(|_| too_slow())
    }

    /// Bytes of the body's content have come.
    pub(super) fn got(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.bytes >= PROGRESS_BYTES {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Key {
        key: String,
    }

    #[test]
    fn queries_are_taken_as_they_were_meant_or_not_at_all() {
        let key = |text: &str| {
            let request = TestRequest::with_uri(&format!("/?{text}")).to_http_request();
            query::<Key>(&request).ok().map(|query| query.key)
        };
        assert_eq!(key("key=a%20%C3%B1+b").as_deref(), Some("a ñ b"));
        for bad in ["key=%ff", "key=a&key=b", "key=a&x=b", "", "%ff=a&key=b"] {
            assert_eq!(key(bad), None, "{bad}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_drips_is_cut_and_who_is_merely_slow_is_not() {
        let drip = |bytes, pause| async move {
            let mut patience = Patience::default();
            for sent in 0..1_000 {
                if patience.wait(tokio::time::sleep(pause)).await.is_err() {
                    return Some(sent * bytes);
                }
                patience.got(bytes);
            }
            None
        };
        assert_eq!(drip(1, Duration::from_secs(40)).await, Some(0));
        assert!(drip(1, Duration::from_secs(1)).await.is_some_and(|bytes| bytes <= 30));
        assert!(drip(1_000, Duration::from_secs(1)).await.is_some());
        assert_eq!(drip(4_000, Duration::from_secs(1)).await, None);
        assert_eq!(drip(70_000, Duration::from_secs(20)).await, None);
    }
}
