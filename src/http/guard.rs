//! Who may ask: this machine's own people and programs, but not the pages in their browsers; and
//! for what is the user's own, whoever holds the token.
//!
//! Always holds: a page of another origin is refused, and so is a name that was made to point here
//! (DNS rebinding): only literal addresses and `localhost` are this machine's. What isn't marked as
//! open needs the token. Never: believes a `Forwarded` header, or takes a token from a URL.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::failure::Failure;
use super::token::Token;
use crate::command::ErrorCode;

/// Says from what kind of page a browser asks.
static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// To whom a path answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Whoever reaches the port: says nothing but whether the node lives and is ready.
    Probe,
    /// Whoever is on this machine may look; a change needs the token.
    Open,
    /// Who holds the token.
    Private,
}

/// What requests are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guard {
    /// The address the admin API listens on.
    pub(super) bound: SocketAddr,
    /// Opens everything.
    pub(super) token: Token,
}

/// Stands before every path: lets a request through, or answers 403.
pub(super) async fn keep_strangers_out(
    guard: web::Data<Guard>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    match guard.estranged(request.headers()) {
        None => next.call(request).await,
        Some(reason) => Ok(refuse(request, &Failure::new(ErrorCode::Denied, reason))),
    }
}

/// Stands before each resource, behind the router, so that what a path leads to is guarded whatever
/// way it is spelt. Answers 405 to a method that is not among those allowed, 401 without the token.
pub(super) async fn admit(
    access: Access,
    allow: Rc<str>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    if allow.split(", ").any(|method| method == request.method().as_str()) {
        return lock(access, request, next).await;
    }
    let message = format!("only {allow} is possible here");
    let mut response = refuse(request, &Failure::request(StatusCode::METHOD_NOT_ALLOWED, message));
    if let Ok(allow) = HeaderValue::from_str(&allow) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    Ok(response)
}

/// Answers 401 where the token is needed and isn't given.
pub(super) async fn lock(
    access: Access,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let guard = request.app_data::<web::Data<Guard>>();
    let passes = guard.is_some_and(|guard| {
        !guard.is_locked(access, request.method()) || guard.is_opened_by(request.headers())
    });
    if passes {
        return next.call(request).await;
    }
    let message = "this needs the token in the data dir's admin.token: send it as \
                   'Authorization: Bearer TOKEN'";
    Ok(refuse(request, &Failure::request(StatusCode::UNAUTHORIZED, message)))
}

/// As an answer, not as an error: those would pass by the default headers.
fn refuse(request: ServiceRequest, failure: &Failure) -> ServiceResponse {
    request.into_response(failure.error_response().map_into_boxed_body())
}

impl Guard {
    /// Why a request comes from elsewhere, if it does.
    fn estranged(&self, headers: &HeaderMap) -> Option<&'static str> {
        let named = |host: &&str| self.is_named_by(host);
        let Some(host) = single(headers, &header::HOST).filter(named) else {
            return Some(
                "the Host header does not name this machine by its address or as localhost",
            );
        };
        let origin = single(headers, &header::ORIGIN);
        let own = |origin: &str| {
            let authority = origin.strip_prefix("http://");
            authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
        };
        if headers.contains_key(header::ORIGIN) && !origin.is_some_and(own) {
            return Some("pages of another origin are refused");
        }
        // Where a page has an image or a form point here, browsers send no origin, but this.
        let from = single(headers, &SEC_FETCH_SITE);
        let other =
            headers.contains_key(&SEC_FETCH_SITE) && !matches!(from, Some("same-origin" | "none"));
        other.then_some("pages of another origin are refused")
    }

    fn is_locked(&self, access: Access, method: &Method) -> bool {
        match access {
            Access::Probe => false,
            Access::Open => !self.bound.ip().to_canonical().is_loopback() || !method.is_safe(),
            Access::Private => true,
        }
    }

    fn is_opened_by(&self, headers: &HeaderMap) -> bool {
        let given = single(headers, &header::AUTHORIZATION).and_then(|value| value.split_once(' '));
        given.is_some_and(|(scheme, token)| {
            scheme.eq_ignore_ascii_case("Bearer") && self.token.is(token)
        })
    }

    /// Whether a `Host` is this machine: on whatever port, since it may be forwarded.
    fn is_named_by(&self, host: &str) -> bool {
        let name = without_port(host);
        let literal = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map_or_else(
            || name.parse::<Ipv4Addr>().map(IpAddr::V4).ok(),
            |inner| inner.parse::<Ipv6Addr>().map(IpAddr::V6).ok(),
        );
        let bound = self.bound.ip();
        match literal {
            // On all addresses at once, any literal will do: none can be rebound.
            Some(ip) => ip.is_loopback() || ip == bound || bound.is_unspecified(),
            None => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// A header that is there exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name);
    let value = values.next()?;
    values.next().is_none().then(|| value.to_str().ok())?
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(bound: &str) -> Guard {
        Guard { bound: bound.parse().unwrap(), token: Token::of("secret") }
    }

    fn map(headers: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.clone(), HeaderValue::from_static(value));
        }
        map
    }

    fn passes(bound: &str, headers: &[(HeaderName, &'static str)]) -> bool {
        guard(bound).estranged(&map(headers)).is_none()
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
            assert_eq!(passes("127.0.0.1:8469", &headers), good, "{host}");
        }
        assert!(!passes("127.0.0.1:8469", &[]), "no host at all");
        let twice = [(header::HOST, "localhost"), (header::HOST, "localhost")];
        assert!(!passes("127.0.0.1:8469", &twice));
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
            assert_eq!(passes("127.0.0.1:8469", &headers), good, "{origin}");
        }
        let own = (header::ORIGIN, "http://localhost:1");
        let twice = [(header::HOST, "localhost:1"), own.clone(), own];
        assert!(!passes("127.0.0.1:1", &twice));
        for (site, good) in
            [("same-origin", true), ("none", true), ("same-site", false), ("cross-site", false)]
        {
            let headers = [(header::HOST, "localhost:1"), (SEC_FETCH_SITE.clone(), site)];
            assert_eq!(passes("127.0.0.1:1", &headers), good, "{site}");
        }
    }

    #[test]
    fn a_token_is_asked_for_wherever_it_matters() {
        for (bound, access, method, locked) in [
            ("127.0.0.1:1", Access::Probe, Method::GET, false),
            ("127.0.0.1:1", Access::Open, Method::GET, false),
            ("127.0.0.1:1", Access::Open, Method::HEAD, false),
            ("127.0.0.1:1", Access::Open, Method::POST, true),
            ("127.0.0.1:1", Access::Open, Method::DELETE, true),
            ("127.0.0.1:1", Access::Private, Method::GET, true),
            ("[::1]:1", Access::Open, Method::GET, false),
            ("0.0.0.0:1", Access::Open, Method::GET, true),
            ("[::]:1", Access::Open, Method::GET, true),
            ("10.0.0.1:1", Access::Open, Method::GET, true),
            ("10.0.0.1:1", Access::Probe, Method::GET, false),
        ] {
            assert_eq!(guard(bound).is_locked(access, &method), locked, "{bound} {access:?}");
        }
    }

    #[test]
    fn on_another_address_its_literals_are_hosts() {
        for (bound, host, good) in [
            ("10.0.0.1:1", "10.0.0.1:1", true),
            ("10.0.0.1:1", "localhost:9", true),
            ("10.0.0.1:1", "10.0.0.2:1", false),
            ("0.0.0.0:1", "10.0.0.2:1", true),
            ("[::]:1", "[fe80::1]:1", true),
            ("0.0.0.0:1", "node1.example:1", false),
        ] {
            assert_eq!(passes(bound, &[(header::HOST, host)]), good, "{bound} {host}");
        }
    }

    #[test]
    fn only_the_token_itself_opens() {
        for (value, opens) in [
            ("Bearer secret", true),
            ("bearer secret", true),
            ("Bearer  secret", false),
            ("Bearer secret ", false),
            ("Bearer secre", false),
            ("Bearer secretx", false),
            ("Bearer Secret", false),
            ("Bearer", false),
            ("Bearer ", false),
            ("secret", false),
            ("Basic secret", false),
            ("Bearer other, Bearer secret", false),
        ] {
            let headers = map(&[(header::AUTHORIZATION, value)]);
            assert_eq!(guard("127.0.0.1:1").is_opened_by(&headers), opens, "{value}");
        }
        let once = (header::AUTHORIZATION, "Bearer secret");
        assert!(!guard("127.0.0.1:1").is_opened_by(&map(&[once.clone(), once])));
        assert!(!guard("127.0.0.1:1").is_opened_by(&map(&[])));
        assert_eq!(format!("{:?}", Token::of("secret")), "Token(…)");
    }
}
