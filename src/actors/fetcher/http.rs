//! Asks a source, at an address that was vetted.
//!
//! Always holds: a name is resolved once for each request, and the connection goes to one of the
//! addresses that passed the policy; redirects are followed here, each vetted anew. A connection is
//! used again only for the host and port it was vetted for, and only by the same download; requests
//! ask for the bytes as they are. Never: decompresses.

use std::net::SocketAddr;
use std::pin::Pin;

use awc::error::{ConnectError, PayloadError, SendRequestError};
use awc::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use awc::http::{Method, StatusCode};
use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::{Instant, timeout};
use url::Url;

use super::plain::{self, Connections};
use super::throttle::Throttle;
use crate::actors::messages::Probed;
use crate::content::ContentHash;
use crate::transfer::{
    CHUNK_BYTES, ContentRange, Denied, Failure, Head, Limits, MAX_REDIRECTS, ProviderUrl, Target,
    UrlPolicy,
};

const USER_AGENT: &str = concat!("kad-actor/", env!("CARGO_PKG_VERSION"));

/// What is known of a source that does not answer.
pub(super) const DEAD: Probed = Probed { alive: false, size: None };

/// A client that keeps to the policy.
pub(super) struct Http {
    client: awc::Client,
    connections: Connections,
    policy: UrlPolicy,
    limits: Limits,
    throttle: Throttle,
}

/// A request, without its URL.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// First byte wanted, if not the first of all.
    pub(super) offset: u64,
    /// Where to end, if not at the end of all: one behind the last byte wanted.
    pub(super) end: Option<u64>,
    /// Whether more will be asked of the same source.
    pub(super) keeps: bool,
    /// Goes into `If-Range`.
    pub(super) if_range: Option<String>,
}

/// A response whose head has come.
pub(super) struct Response {
    head: Head,
    body: Body,
    throttle: Throttle,
}

enum Body {
    Plain(plain::Body),
    /// What awc has read, and what of that was not taken yet.
    Awc(Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>>, Bytes),
}

impl Response {
    /// What its head says.
    pub(super) const fn head(&self) -> &Head {
        &self.head
    }

    /// Puts the next bytes behind those that are there, `most` of them at most. How many; none at
    /// the end, which may come too early without any error. Nothing is lost when the future is
    /// dropped.
    pub(super) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Failure> {
        let most = self.throttle.part(most);
        let read = match &mut self.body {
            Body::Plain(body) => body.read(into, most).await?,
            Body::Awc(body, part) => {
                while part.is_empty() {
                    match body.next().await {
                        None => return Ok(0),
                        Some(bytes) => *part = bytes.map_err(|error| broken(&error))?,
                    }
                }
                let bytes = part.split_to(most.min(part.len()));
                into.extend_from_slice(&bytes);
                bytes.len()
            }
        };
        self.throttle.took(read as u64);
        Ok(read)
    }
}

fn broken(error: &PayloadError) -> Failure {
    match error {
        PayloadError::Incomplete(_) => Failure::Short,
        _ => Failure::Broken,
    }
}

impl Http {
    /// Must be called, used and dropped on one thread.
    pub(super) fn new(policy: UrlPolicy, limits: Limits, throttle: Throttle) -> Self {
        // The process may have several TLS providers compiled in, and then has no default. An
        // error says that one is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let connector = awc::Connector::new()
            .max_http_version(awc::http::Version::HTTP_11)
            .timeout(limits.connect)
            .handshake_timeout(limits.connect);
        let client = awc::Client::builder()
            .connector(connector)
            .timeout(limits.head)
            .disable_redirects()
            .finish();
        let connections = Connections::new(limits.connect);
        Self { client, connections, policy, limits, throttle }
    }

    /// Until when nothing more of a body is to be read, for the limit's sake.
    pub(super) fn closed_until(&self) -> Option<Instant> {
        self.throttle.closed_until()
    }

    /// See [`Limits::max_file_bytes`].
    pub(super) const fn max_file_bytes(&self) -> u64 {
        self.limits.max_file_bytes
    }

    /// Asks for the content.
    pub(super) async fn get(&self, url: &Url, ask: &Ask) -> Result<Response, Failure> {
        self.follow(&Method::GET, url, ask).await
    }

    /// The whole of something small, unless it can't be had, or is longer than it may be.
    pub(super) async fn small(&self, url: &Url, longest: u64) -> Result<Vec<u8>, Failure> {
        let mut response = self.get(url, &Ask { keeps: true, ..Ask::default() }).await?;
        match response.head() {
            head if head.encoded => return Err(Failure::Encoded),
            head if head.status != 200 => return Err(Failure::Http(head.status)),
            head if head.length.is_some_and(|told| told > longest) => return Err(Failure::TooLong),
            _ => {}
        }
        let mut bytes = Vec::new();
        while response.read(&mut bytes, (longest + 1).min(CHUNK_BYTES as u64) as usize).await? > 0 {
            if bytes.len() as u64 > longest {
                return Err(Failure::TooLong);
            }
        }
        Ok(bytes)
    }

    /// Whether the source would give the content, and how much of it. One that knows no HEAD is
    /// alive too. One whose entity tag is the hash of another content has that now: its publisher
    /// has replaced the file, and the earlier URL is still about.
    pub(super) async fn probe(&self, provider: &ProviderUrl) -> Probed {
        match self.follow(&Method::HEAD, provider.request_url(), &Ask::default()).await {
            Ok(response) if has_other_content(response.head(), provider.hash()) => DEAD,
            Ok(response) => match response.head.status {
                200..=299 => Probed { alive: true, size: response.head.length },
                405 | 501 => Probed { alive: true, size: None },
                _ => DEAD,
            },
            Err(_) => DEAD,
        }
    }

    async fn follow(&self, method: &Method, url: &Url, ask: &Ask) -> Result<Response, Failure> {
        let mut url = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let addresses = self.addresses(&url).await?;
            let mut failure = Failure::Unreachable;
            let mut answer = None;
            for address in addresses {
                match self.send(method, &url, ask, address).await {
                    Ok(response) => {
                        answer = Some(response);
                        break;
                    }
                    // Another address of the same host may do; after any other failure it won't.
                    Err(other @ (Failure::Refused | Failure::Unreachable)) => failure = other,
                    Err(other) => return Err(other),
                }
            }
            let (response, location) = answer.ok_or(failure)?;
            let Some(location) = location else {
                return Ok(response);
            };
            url = self.policy.redirect(&url, &location).map_err(Failure::Denied)?;
        }
        Err(Failure::Redirects)
    }

    /// The vetted addresses of a URL's host.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        match self.policy.target(url).map_err(Failure::Denied)? {
            Target::Address(address) => Ok(vec![address]),
            Target::Name(name, port) => {
                let lookup = tokio::net::lookup_host((name, port));
                let found = timeout(self.limits.connect, lookup).await;
                let found = found.ok().and_then(Result::ok);
                let found = found.ok_or(Failure::Unreachable)?;
                self.policy.vet_all(found).map_err(|denied| match denied {
                    Denied::NoAddress => Failure::Unreachable,
                    denied => Failure::Denied(denied),
                })
            }
        }
    }

    /// One request to one address; the second part is where it redirects to.
    async fn send(
        &self,
        method: &Method,
        url: &Url,
        ask: &Ask,
        address: SocketAddr,
    ) -> Result<(Response, Option<String>), Failure> {
        let (status, headers, body);
        if *method == Method::GET && url.scheme() == "http" {
            let plain = plain::Ask { url, wishes: wishes(ask), keeps: ask.keeps, address };
            let asked = timeout(self.limits.head, self.connections.get(plain)).await;
            let (head, plain) = asked.map_err(|_| Failure::Stalled)??;
            (status, headers, body) = (head.status, head.headers, Body::Plain(plain));
        } else {
            let request = self.client.request(method.clone(), url.as_str()).address(address);
            let request = if ask.keeps { request } else { request.force_close() };
            let request = wishes(ask).into_iter().fold(request, awc::ClientRequest::insert_header);
            let sent = request.no_decompress().send().await;
            let response = sent.map_err(|error| failure_of(&error))?;
            (status, headers) = (response.status(), response.headers().clone());
            body = Body::Awc(Box::pin(response), Bytes::new());
        }
        let location = redirects(status).then(|| text(&headers, &header::LOCATION)).flatten();
        let (head, throttle) = (head_of(status, &headers), self.throttle.clone());
        Ok((Response { head, body, throttle }, location))
    }
}

/// What a request says besides where it goes.
fn wishes(ask: &Ask) -> Vec<(HeaderName, HeaderValue)> {
    let range = match ask.end {
        Some(end) => Some(format!("bytes={}-{}", ask.offset, end.saturating_sub(1))),
        None => (ask.offset > 0).then(|| format!("bytes={}-", ask.offset)),
    };
    let tag = range.as_ref().and(ask.if_range.as_deref());
    let mut wishes = vec![
        (header::USER_AGENT, HeaderValue::from_static(USER_AGENT)),
        (header::ACCEPT_ENCODING, HeaderValue::from_static("identity")),
    ];
    let more = [(header::RANGE, range.as_deref()), (header::IF_RANGE, tag)];
    wishes.extend(more.into_iter().filter_map(|(name, value)| {
        // A tag that no header holds is none.
        Some((name, HeaderValue::from_str(value?).ok()?))
    }));
    wishes
}

/// Whether the entity tag is a hash, and not this one.
fn has_other_content(head: &Head, expected: Option<ContentHash>) -> bool {
    let tag = head.etag.as_deref().map(|tag| tag.trim_matches('"'));
    let hash = tag.and_then(|tag| ContentHash::from_hex(tag).ok());
    expected.is_some_and(|expected| hash.is_some_and(|hash| hash != expected))
}

fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn text(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.trim().to_owned())
}

fn head_of(status: StatusCode, headers: &HeaderMap) -> Head {
    let coded = headers.get_all(header::CONTENT_ENCODING);
    Head {
        status: status.as_u16(),
        length: text(headers, &header::CONTENT_LENGTH).and_then(|it| plain::digits(&it)),
        range: text(headers, &header::CONTENT_RANGE).and_then(|it| ContentRange::parse(&it)),
        etag: text(headers, &header::ETAG),
        encoded: coded
            .into_iter()
            .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")),
    }
}

fn failure_of(error: &SendRequestError) -> Failure {
    use std::io::ErrorKind as Kind;
    match error {
        SendRequestError::Timeout => Failure::Stalled,
        SendRequestError::Connect(ConnectError::Io(error)) => match error.kind() {
            Kind::ConnectionRefused => Failure::Refused,
            // Somebody was there, and spoke no TLS or a strange one.
            Kind::InvalidData | Kind::UnexpectedEof | Kind::ConnectionReset | Kind::BrokenPipe => {
                Failure::Broken
            }
            _ => Failure::Unreachable,
        },
        SendRequestError::Connect(ConnectError::Timeout) => Failure::Unreachable,
        _ => Failure::Broken,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// However a name resolves a moment later, the connection goes where the policy looked.
    #[actix_rt::test]
    async fn the_vetted_address_is_the_one_that_is_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut head = [0; 4096];
            let read = stream.read(&mut head).unwrap();
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").unwrap();
            String::from_utf8_lossy(&head[..read]).into_owned()
        });
        let http = Http::new(UrlPolicy::default(), Limits::default(), Throttle::default());
        let url = Url::parse("http://no-such-host.invalid:1/x").unwrap();
        let ask = Ask::default();
        let (mut response, _) = http.send(&Method::GET, &url, &ask, address).await.unwrap();
        let mut body = Vec::new();
        while response.read(&mut body, 64).await.unwrap() > 0 {}
        assert_eq!(body, b"ok");
        let head = server.join().unwrap().to_lowercase();
        assert!(head.contains("host: no-such-host.invalid:1\r\n"), "{head}");
    }
}
