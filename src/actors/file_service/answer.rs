//! The answer to a request for one content: conditions, ranges, what is told of it.
//!
//! Always holds: preconditions and ranges are judged here and nowhere else, by RFC 9110, sections 13
//! and 14, whatever is sent and however it is sent. The entity tag is the only validator: dates are
//! neither sent nor looked at. Several ranges in one request are answered with the whole content, as
//! section 14.2 allows: no download tool asks for them. Never: looks at a path.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::body::SizedStream;
use actix_web::dev::ServiceRequest;
use actix_web::error::ParseError;
use actix_web::http::header::{
    self, EntityTag, Header, HeaderName, HeaderValue, IfMatch, IfNoneMatch, IfRange,
};
use actix_web::http::{Method, StatusCode};
use actix_web::mime::Mime;
use bytes::Bytes;
use futures_util::stream;

use super::body::FileBody;
use super::stream::Gap;
use super::throttle::Throttle;
use super::unavailable;
use crate::content::Have;

/// Where the bytes are.
pub(super) enum Source {
    /// From the beginning of a file.
    File(Arc<File>),
    /// Few, in memory.
    Bytes(Bytes),
}

/// A content that is asked for.
pub(super) struct Representation {
    pub(super) source: Source,
    pub(super) size: u64,
    pub(super) entity_tag: EntityTag,
    pub(super) mime: Mime,
    /// Sent with 200, 206 and 304.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// Which bytes are there, if not all are.
    pub(super) have: Option<Have>,
}

/// What of it is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Selected {
    Whole,
    Part(Range<u64>),
    /// Nothing of it is in the range.
    Unsatisfiable,
}

/// Answers.
pub(super) fn respond(
    request: &ServiceRequest,
    content: Representation,
    throttle: Option<&Throttle>,
) -> HttpResponse {
    let Representation { source, size, entity_tag, mime, headers, have } = content;
    let mut response = HttpResponse::Ok();
    response.insert_header(header::ETag(entity_tag.clone()));
    let condition = precondition(request, &entity_tag);
    if condition == Some(StatusCode::PRECONDITION_FAILED) {
        return response.status(StatusCode::PRECONDITION_FAILED).finish();
    }
    for header in headers {
        response.append_header(header);
    }
    if let Some(status) = condition {
        return response.status(status).finish();
    }
    response.insert_header((header::ACCEPT_RANGES, "bytes"));
    response.insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"));
    response.content_type(mime);
    let range = match selected(request, &entity_tag, size) {
        Selected::Whole => 0..size,
        Selected::Part(range) => {
            let (first, last) = (range.start, range.end - 1);
            response.status(StatusCode::PARTIAL_CONTENT);
            response.insert_header((header::CONTENT_RANGE, format!("bytes {first}-{last}/{size}")));
            range
        }
        Selected::Unsatisfiable => {
            response.insert_header((header::CONTENT_RANGE, format!("bytes */{size}")));
            return response.status(StatusCode::RANGE_NOT_SATISFIABLE).finish();
        }
    };
    if have.is_some_and(|have| !have.has_bytes(&range)) {
        return unavailable();
    }
    if *request.method() == Method::HEAD {
        let nothing = stream::empty::<io::Result<Bytes>>();
        return response.body(SizedStream::new(range.end - range.start, nothing));
    }
    match source {
        Source::Bytes(bytes) => {
            response.body(bytes.slice(range.start as usize..range.end as usize))
        }
        Source::File(file) => {
            // Every connection has one: without it stand-ins would be sent.
            let Some(gap) = request.conn_data::<Gap>().cloned() else { return unavailable() };
            let throttle = throttle.cloned();
            response.body(FileBody::new(file, range.start, range.end, gap, throttle))
        }
    }
}

/// Evaluates `If-Match` and `If-None-Match` (RFC 9110, section 13.2.2).
fn precondition(request: &ServiceRequest, entity_tag: &EntityTag) -> Option<StatusCode> {
    if let Some(condition) = parsed::<IfMatch>(request) {
        let matches = match condition {
            Ok(IfMatch::Any) => true,
            Ok(IfMatch::Items(tags)) => tags.iter().any(|tag| tag.strong_eq(entity_tag)),
            Err(_) => false,
        };
        if !matches {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    }
    let matches = match parsed::<IfNoneMatch>(request)?.ok()? {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(entity_tag)),
    };
    matches.then_some(StatusCode::NOT_MODIFIED)
}

/// A header of the request: none when it is absent.
fn parsed<H: Header>(request: &ServiceRequest) -> Option<Result<H, ParseError>> {
    request.headers().contains_key(H::name()).then(|| H::parse(request))
}

/// What of a content of this size the request wants.
fn selected(request: &ServiceRequest, entity_tag: &EntityTag, size: u64) -> Selected {
    let unchanged = match parsed::<IfRange>(request) {
        None => true,
        Some(Ok(IfRange::EntityTag(tag))) => tag.strong_eq(entity_tag),
        Some(_) => false,
    };
    let mut ranges = request.headers().get_all(header::RANGE);
    match (ranges.next(), ranges.next()) {
        // No range of an empty content can be satisfied, but asking for its start is no mistake.
        (Some(range), None) if unchanged && size > 0 && *request.method() == Method::GET => {
            range.to_str().ok().and_then(|range| part(range, size)).unwrap_or(Selected::Whole)
        }
        _ => Selected::Whole,
    }
}

/// What a single valid `bytes` range selects; none for what is to be ignored: another unit, several
/// ranges, bad syntax (RFC 9110, section 14.1.1 and 14.2).
fn part(range: &str, size: u64) -> Option<Selected> {
    let (unit, range) = range.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |digits: &str| {
        let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        (Some(first), None) if last.is_empty() => first..size,
        (None, Some(length)) if first.is_empty() => size.saturating_sub(length)..size,
        _ => return None,
    };
    Some(if range.is_empty() { Selected::Unsatisfiable } else { Selected::Part(range) })
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use actix_web::test::TestRequest;

    use super::*;

    fn of(headers: &[(HeaderName, &str)], size: u64) -> Selected {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(header.clone());
        }
        selected(&request.to_srv_request(), &EntityTag::new_strong("hash".to_owned()), size)
    }

    #[test]
    fn only_one_plain_range_is_honoured() {
        for (range, expected) in [
            ("bytes=0-9", Selected::Part(0..10)),
            ("BYTES=5-", Selected::Part(5..10)),
            ("bytes= -5 ", Selected::Part(5..10)),
            ("bytes=-50", Selected::Part(0..10)),
            ("bytes=3-3", Selected::Part(3..4)),
            ("bytes=0-99999999999999999999999", Selected::Part(0..10)),
            ("bytes=10-", Selected::Unsatisfiable),
            ("bytes=-0", Selected::Unsatisfiable),
            ("bytes=99999999999999999999999-", Selected::Unsatisfiable),
            ("bytes=9-0", Selected::Whole),
            ("bytes=0-1,3-4", Selected::Whole),
            ("bytes=0-1,", Selected::Whole),
            ("bytes=-", Selected::Whole),
            ("bytes=", Selected::Whole),
            ("bytes", Selected::Whole),
            ("bytes=a-b", Selected::Whole),
            ("bytes=+1-2", Selected::Whole),
            ("bytes=1--2", Selected::Whole),
            ("items=0-1", Selected::Whole),
        ] {
            assert_eq!(of(&[(header::RANGE, range)], 10), expected, "{range}");
        }
        assert_eq!(of(&[(header::RANGE, "bytes=0-")], 0), Selected::Whole);
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=0-1")];
        assert_eq!(of(&twice, 10), Selected::Whole);
        assert_eq!(of(&[], 10), Selected::Whole);
    }

    #[test]
    fn a_range_of_another_content_is_not_honoured() {
        for (validator, honoured) in [
            ("\"hash\"", true),
            ("\"other\"", false),
            ("W/\"hash\"", false),
            ("Sat, 29 Oct 1994 19:43:31 GMT", false),
            ("rubbish", false),
        ] {
            let headers = [(header::RANGE, "bytes=0-1"), (header::IF_RANGE, validator)];
            assert_eq!(of(&headers, 10) == Selected::Part(0..2), honoured, "{validator}");
        }
    }
}
