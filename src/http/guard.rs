//! Who may ask: this machine's own people and programs, but not the pages in their browsers.
//!
//! Always holds: a page of another origin is refused, and so is a name that was made to point here
//! (DNS rebinding): only literal addresses and `localhost` are this machine's. Never: believes a
//! `Forwarded` header.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::admin::{self, Failure};
use crate::command::{CommandError, ErrorCode};

/// The address the admin API listens on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound(pub(super) SocketAddr);

/// Lets a request through, or answers 403.
pub(super) async fn check(
    bound: web::Data<Bound>,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    match refusal(**bound, request.path(), request.headers()) {
        None => Ok(next.call(request).await?.map_into_left_body()),
        Some(reason) => {
            let failure = Failure(CommandError::new(ErrorCode::Denied, reason));
            // As an answer, not as an error: those would pass by the default headers.
            Ok(request.into_response(failure.error_response().map_into_right_body()))
        }
    }
}

fn refusal(bound: Bound, path: &str, headers: &HeaderMap) -> Option<&'static str> {
    let Some(host) = single(headers, &header::HOST).filter(|host| bound.is_named_by(host)) else {
        return Some("the Host header does not name this machine's loopback address");
    };
    let origin = single(headers, &header::ORIGIN);
    let own = |origin: &str| {
        let authority = origin.strip_prefix("http://");
        authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
    };
    if headers.contains_key(header::ORIGIN) && !origin.is_some_and(own) {
        return Some("pages of another origin are refused");
    }
    let open = bound.0.ip().is_loopback() || admin::PROBES.contains(&path);
    (!open).then_some("only the probes are answered on an address that other machines reach")
}

/// A header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

impl Bound {
    /// Whether a `Host` is this machine: on whatever port, since it may be forwarded.
    fn is_named_by(self, host: &str) -> bool {
        let name = without_port(host);
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map_or_else(
            || name.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            |inner| inner.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        );
        match literal {
            // On all addresses at once, any literal will do: none can be rebound.
            Some(ip) => ip.is_loopback() || ip == self.0.ip() || self.0.ip().is_unspecified(),
            None => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn passes(bound: &str, path: &str, headers: &[(HeaderName, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        refusal(Bound(bound.parse().unwrap()), path, &map).is_none()
    }

    #[test]
    fn only_names_of_this_machine_are_hosts() {
        for (host, good) in [
            ("127.0.0.1:8469", true),
            ("127.0.0.1", true),
            ("127.8.9.1:1", true),
            ("localhost:8469", true),
            ("LOCALHOST", true),
            ("[::1]:8469", true),
            ("[::1]", true),
            ("evil.example", false),
            ("evil.example:8469", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("evil.localhost.", false),
            ("10.0.0.1:8469", false),
            ("0.0.0.0:8469", false),
            ("::1", false),
            ("[::1", false),
            ("user@127.0.0.1", false),
            ("127.0.0.1:x", false),
            ("127.1", false),
            ("2130706433", false),
            ("", false),
        ] {
            let headers = [(header::HOST, host)];
            assert_eq!(passes("127.0.0.1:8469", "/api/v1/node", &headers), good, "{host}");
        }
        assert!(!passes("127.0.0.1:8469", "/livez", &[]), "no host at all");
        let twice = [(header::HOST, "localhost"), (header::HOST, "localhost")];
        assert!(!passes("127.0.0.1:8469", "/livez", &twice));
    }

    #[test]
    fn pages_of_other_origins_are_refused() {
        for (origin, good) in [
            ("http://127.0.0.1:8469", true),
            ("http://localhost:8469", false),
            ("http://127.0.0.1", false),
            ("http://127.0.0.1:8470", false),
            ("https://127.0.0.1:8469", false),
            ("http://evil.example", false),
            ("http://127.0.0.1:8469.evil.example", false),
            ("null", false),
            ("", false),
        ] {
            let headers = [(header::HOST, "127.0.0.1:8469"), (header::ORIGIN, origin)];
            assert_eq!(passes("127.0.0.1:8469", "/api/v1/node", &headers), good, "{origin}");
        }
        let own = (header::ORIGIN, "http://localhost:1");
        let twice = [(header::HOST, "localhost:1"), own.clone(), own];
        assert!(!passes("127.0.0.1:1", "/livez", &twice));
    }

    #[test]
    fn other_machines_see_the_probes_alone() {
        for (bound, host) in [("0.0.0.0:1", "10.0.0.1:1"), ("10.0.0.1:1", "10.0.0.1:1")] {
            let headers = [(header::HOST, host)];
            assert!(passes(bound, "/livez", &headers));
            assert!(passes(bound, "/readyz", &headers));
            assert!(!passes(bound, "/api/v1/node", &headers));
            assert!(!passes(bound, "/readyz/", &headers));
        }
        assert!(!passes("0.0.0.0:1", "/livez", &[(header::HOST, "evil.example")]));
    }
}
