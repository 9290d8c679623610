//! The public HTTP service: what other nodes, browsers and download tools see of a node.
//!
//! Always holds: one name leads to one share, and only the very file that was shared is sent, with
//! its BLAKE3 as entity tag. Never: lists anything, maps a request path onto the file system,
//! follows a link, or changes the bytes (no content coding).
//!
//! Preconditions and ranges follow RFC 9110, sections 13 and 14. The entity tag is the only
//! validator: dates are neither sent nor looked at. Several ranges in one request are answered with
//! the whole file, as section 14.2 allows: no download tool asks for them.

mod connections;

use std::io;
use std::net::TcpListener;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Duration;

use actix::Recipient;
use actix_files::NamedFile;
use actix_web::dev::{Server, ServiceRequest, ServiceResponse, fn_service};
use actix_web::error::{ErrorInternalServerError, ParseError};
use actix_web::http::header::{
    self, EntityTag, Header, HeaderValue, IfMatch, IfNoneMatch, IfRange,
};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::from_fn;
use actix_web::{App, HttpResponse, HttpServer, web};

use self::connections::{Connections, cut_stalled};
use super::link::Link;
use super::messages::{FindShare, Withdraw};
use super::panics;
use super::unread;
use super::vitals::Health;
use crate::content::{FileName, OpenError, ShareEntry};
use crate::faults;

/// Threads that serve: two keep a fast network busy, and a slow disk stalls only half of them.
const WORKERS: usize = 2;

/// Connections at once, over all workers; further ones wait in the kernel. Each takes a descriptor,
/// and a second one while a file is being sent.
const MAX_CONNECTIONS: usize = 512;

/// A request's head must be here within this time: what takes longer holds a connection hostage.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection without requests is kept this long: a downloader asks again at once or never.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A client that is told goodbye has this long to leave.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// At shutdown, downloads under way get this long: the other side has other sources.
const SHUTDOWN_TIMEOUT_S: u64 = 1;

/// What the workers need of the actor that owns the shares.
#[derive(Debug, Clone)]
struct Links {
    find: Link<FindShare>,
    withdraw: Recipient<Withdraw>,
}

/// Serves the shares that `find` knows on a bound listener, until the server is stopped by its
/// handle. What turns out to have changed or gone away is reported to `withdraw`. A request that
/// makes it fail is answered with 500, and noted in `health`.
///
/// Must be called within an actix system; the server runs only while it is awaited or spawned.
pub fn serve(
    listener: TcpListener,
    find: Link<FindShare>,
    withdraw: Recipient<Withdraw>,
    health: Health,
) -> io::Result<Server> {
    let links = Links { find, withdraw };
    let noted = health.clone();
    let factory = move || {
        let (links, health) = (links.clone(), health.clone());
        // One service for every path, and the path as it came: a router would decode it first.
        App::new().wrap(from_fn(unread::close)).default_service(fn_service(
            move |request: ServiceRequest| {
                let (links, health) = (links.clone(), health.clone());
                async move {
                    let answer = health.catch(answer(&links, request)).await;
                    answer.ok_or_else(|| ErrorInternalServerError("this made the node fail"))
                }
            },
        ))
    };
    cut_stalled(&listener)?;
    let connections = Connections::new(listener.local_addr()?.ip().is_loopback());
    let server = HttpServer::new(factory)
        .on_connect(move |stream, data| {
            let admit = AssertUnwindSafe(|| connections.admit(stream, data));
            if let Err(panic) = catch_unwind(admit) {
                // Whoever could not be counted is not served: this ends the one connection.
                noted.failed(panics::last());
                resume_unwind(panic);
            }
        })
        .workers(WORKERS)
        .max_connections(MAX_CONNECTIONS / WORKERS)
        .client_request_timeout(HEAD_TIMEOUT)
        .keep_alive(KEEP_ALIVE)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .shutdown_timeout(SHUTDOWN_TIMEOUT_S)
        .tcp_nodelay(true)
        .disable_signals()
        .listen(listener)?;
    Ok(server.run())
}

async fn answer(links: &Links, mut request: ServiceRequest) -> ServiceResponse {
    faults::point("http", "request");
    let response = match name_in(request.path()) {
        None => refusal(StatusCode::NOT_FOUND, "not found"),
        Some(_) if !matches!(*request.method(), Method::GET | Method::HEAD) => {
            let mut response = refusal(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD");
            let allowed = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(header::ALLOW, allowed);
            response
        }
        Some(name) => send(links, &name, &mut request).await.unwrap_or_else(std::convert::identity),
    };
    request.into_response(response)
}

/// The name in `/files/NAME`; none in any other path.
fn name_in(path: &str) -> Option<FileName> {
    FileName::from_url_segment(path.strip_prefix("/files/")?).ok()
}

/// The file, or why not.
async fn send(
    links: &Links,
    name: &FileName,
    request: &mut ServiceRequest,
) -> Result<HttpResponse, HttpResponse> {
    let find = FindShare { name: name.as_str().to_owned() };
    let entry = match links.find.send(find).await {
        Ok(Some(entry)) => entry,
        Ok(None) => return Err(refusal(StatusCode::NOT_FOUND, "not found")),
        Err(_) => return Err(unavailable()),
    };
    let entity_tag = EntityTag::new_strong(entry.verified.hash().to_string());
    let size = entry.verified.size();
    // Before any answer: none may be given for a content that is no longer there.
    let file = open(links, entry).await?;
    if let Some(status) = precondition(request, &entity_tag) {
        let mut response = HttpResponse::build(status);
        return Err(response.insert_header(header::ETag(entity_tag)).finish());
    }
    narrow_range(request, &entity_tag, size);
    // Reads are made on the worker's own thread: the page cache answers them faster than another
    // thread could, several times so for small files.
    let file = file
        .read_mode_threshold(u64::MAX)
        .use_etag(false)
        .use_last_modified(false)
        .prefer_utf8(false)
        .disable_content_disposition();
    let mut response = file.into_response(request.request());
    let headers = response.headers_mut();
    for (name, value) in
        [(header::ETAG, entity_tag.to_string()), (header::CONTENT_DISPOSITION, attachment(name))]
    {
        // Hexadecimal digits and escaped names are always valid in a header.
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    for (name, value) in [
        // A name may mean another content tomorrow: caches are to ask, with the entity tag.
        (header::CACHE_CONTROL, "no-cache"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    Ok(response)
}

/// Opens a share off this thread, since a disk or a file server may take its time.
async fn open(links: &Links, entry: ShareEntry) -> Result<NamedFile, HttpResponse> {
    let opened = web::block(move || {
        let file = entry.open().and_then(|file| {
            let file = NamedFile::from_file(file, entry.name.as_str())?;
            // The length is taken anew here: it is promised to the client together with the hash.
            if file.metadata().len() == entry.verified.size() {
                Ok(file)
            } else {
                Err(OpenError::Changed)
            }
        });
        (entry, file)
    });
    match opened.await {
        Ok((_, Ok(file))) => Ok(file),
        Ok((entry, Err(error))) => {
            let Some(loss) = error.loss() else {
                log::debug!("{} cannot be served for now: {error}", entry.name);
                return Err(unavailable());
            };
            // Without the actor there is nothing left to withdraw it from.
            let _ = links.withdraw.send(Withdraw { entry, loss }).await;
            Err(refusal(StatusCode::GONE, "the file has changed or gone away"))
        }
        Err(_) => Err(unavailable()),
    }
}

/// Evaluates `If-Match` and `If-None-Match` (RFC 9110, section 13.2.2), and takes them out of the
/// request: what sends the file doesn't know the entity tag.
fn precondition(request: &mut ServiceRequest, entity_tag: &EntityTag) -> Option<StatusCode> {
    if let Some(condition) = take::<IfMatch>(request) {
        let matches = match condition {
            Ok(IfMatch::Any) => true,
            Ok(IfMatch::Items(tags)) => tags.iter().any(|tag| tag.strong_eq(entity_tag)),
            Err(_) => false,
        };
        if !matches {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    }
    let matches = match take::<IfNoneMatch>(request)?.ok()? {
        IfNoneMatch::Any => true,
        IfNoneMatch::Items(tags) => tags.iter().any(|tag| tag.weak_eq(entity_tag)),
    };
    matches.then_some(StatusCode::NOT_MODIFIED)
}

/// Takes a header out of the request: none when it is absent.
fn take<H: Header>(request: &mut ServiceRequest) -> Option<Result<H, ParseError>> {
    let name = H::name();
    request.headers().contains_key(&name).then(|| {
        let parsed = H::parse(request);
        request.headers_mut().remove(&name);
        parsed
    })
}

/// Leaves `Range` in the request only if it is to be honoured, and then as one plain range.
fn narrow_range(request: &mut ServiceRequest, entity_tag: &EntityTag, size: u64) {
    let unchanged = match take::<IfRange>(request) {
        None => true,
        Some(Ok(IfRange::EntityTag(tag))) => tag.strong_eq(entity_tag),
        Some(_) => false,
    };
    let mut ranges = request.headers_mut().remove(header::RANGE);
    let range = match (ranges.next(), ranges.next()) {
        // No range of an empty file can be satisfied, but asking for its start is no mistake.
        (Some(range), None) if unchanged && size > 0 => plain_range(&range),
        _ => None,
    };
    drop(ranges);
    if let Some(range) = range {
        request.headers_mut().insert(header::RANGE, range);
    }
}

/// A single valid `bytes` range with numbers that fit; none for what is to be ignored: another
/// unit, several ranges, bad syntax (RFC 9110, section 14.1.1 and 14.2).
fn plain_range(range: &HeaderValue) -> Option<HeaderValue> {
    let (unit, range) = range.to_str().ok()?.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = range.trim().split_once('-')?;
    let number = |digits: &str| {
        let valid = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| digits.parse().unwrap_or(u64::MAX))
    };
    let range = match (number(first), number(last)) {
        (Some(first), Some(last)) if first <= last => format!("bytes={first}-{last}"),
        (Some(first), None) if last.is_empty() => format!("bytes={first}-"),
        (None, Some(length)) if first.is_empty() => format!("bytes=-{length}"),
        _ => return None,
    };
    HeaderValue::from_str(&range).ok()
}

/// Always saved, never shown: a page from here must not run in a browser (RFC 6266, RFC 8187).
fn attachment(name: &FileName) -> String {
    let encoded = name.percent_encoded();
    if encoded == name.as_str() {
        return format!("attachment; filename=\"{encoded}\"");
    }
    // For those that read the plain form only, and decode what looks percent-encoded in it.
    let safe = |c: char| c.is_ascii() && !matches!(c, '"' | '%');
    let fallback = name.as_str().replace(|c| !safe(c), "_");
    format!("attachment; filename=\"{fallback}\"; filename*=UTF-8''{encoded}")
}

fn unavailable() -> HttpResponse {
    refusal(StatusCode::SERVICE_UNAVAILABLE, "try again later")
}

fn refusal(status: StatusCode, reason: &'static str) -> HttpResponse {
    HttpResponse::build(status)
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .body(format!("{reason}\n"))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderName;
    use actix_web::test::TestRequest;

    use super::*;

    fn narrowed(headers: &[(HeaderName, &str)], size: u64) -> Option<String> {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(header.clone());
        }
        let mut request = request.to_srv_request();
        narrow_range(&mut request, &EntityTag::new_strong("hash".to_owned()), size);
        assert!(!request.headers().contains_key(header::IF_RANGE));
        let range = request.headers().get(header::RANGE)?;
        Some(range.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_one_plain_range_is_honoured() {
        for (range, expected) in [
            ("bytes=0-9", Some("bytes=0-9")),
            ("BYTES=5-", Some("bytes=5-")),
            ("bytes= -5 ", Some("bytes=-5")),
            ("bytes=0-99999999999999999999999", Some("bytes=0-18446744073709551615")),
            ("bytes=9-0", None),
            ("bytes=0-1,3-4", None),
            ("bytes=0-1,", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes", None),
            ("bytes=a-b", None),
            ("bytes=+1-2", None),
            ("bytes=1--2", None),
            ("items=0-1", None),
        ] {
            assert_eq!(narrowed(&[(header::RANGE, range)], 10).as_deref(), expected, "{range}");
        }
        assert_eq!(narrowed(&[(header::RANGE, "bytes=0-")], 0), None);
        let twice = [(header::RANGE, "bytes=0-1"), (header::RANGE, "bytes=0-1")];
        assert_eq!(narrowed(&twice, 10), None);
        assert_eq!(narrowed(&[], 10), None);
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
            assert_eq!(narrowed(&headers, 10).is_some(), honoured, "{validator}");
        }
    }

    #[test]
    fn names_in_headers_cannot_be_misread() {
        let header = |name| attachment(&FileName::parse(name).unwrap());
        for (name, expected) in [
            ("a-b.txt", r#"attachment; filename="a-b.txt""#),
            ("a\"b", r#"attachment; filename="a_b"; filename*=UTF-8''a%22b"#),
            ("a%41", r#"attachment; filename="a_41"; filename*=UTF-8''a%2541"#),
            ("ñ;x=1", r#"attachment; filename="_;x=1"; filename*=UTF-8''%C3%B1%3Bx%3D1"#),
        ] {
            assert_eq!(header(name), expected);
        }
    }

    #[test]
    fn only_one_segment_below_files_is_a_name() {
        assert_eq!(name_in("/files/a%20b").unwrap().as_str(), "a b");
        for path in [
            "",
            "/",
            "*",
            "/files",
            "/files/",
            "/files//a",
            "/files/a/",
            "/files/a/b",
            "//files/a",
            "/Files/a",
        ] {
            assert_eq!(name_in(path), None, "{path}");
        }
    }
}
