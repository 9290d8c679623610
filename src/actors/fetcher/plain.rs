//! Requests over plain TCP, whose bodies are read straight into their reader's buffers: at a fast
//! network's speed, what a general client does with each of its parts costs more than the network.
//!
//! Always holds: heads are written and understood by the HTTP library's codec; a connection is used
//! again only after a body that was read to its end, for the host, port and address it was made for.
//! Never: takes what comes behind a body for a part of it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use actix_http::body::BodySize;
use actix_http::h1::{ClientCodec, ClientPayloadCodec, Message, MessageType};
use actix_http::header::{self, HeaderName, HeaderValue};
use actix_http::{ConnectionType, RequestHead, RequestHeadType, ResponseHead, StatusCode};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::codec::{Decoder as _, Encoder as _};
use url::{Position, Url};

use crate::transfer::Failure;

/// Connections kept for the next request of a download.
const MAX_IDLE: usize = 64;
/// And for how long: servers close them about then.
const IDLE_FOR: Duration = Duration::from_secs(15);
/// Room for a usual head, and for what comes with it.
const HEAD_BYTES: usize = 16 * 1024;

/// Connections of a download that wait for their next request; cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Connections {
    idle: Rc<RefCell<VecDeque<Idle>>>,
    connect_within: Duration,
}

/// A GET.
pub(super) struct Ask<'a> {
    pub(super) url: &'a Url,
    pub(super) wishes: Vec<(HeaderName, HeaderValue)>,
    /// Whether more will be asked of the same source.
    pub(super) keeps: bool,
    /// Where it goes.
    pub(super) address: SocketAddr,
}

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    to: To,
    since: Instant,
}

/// Whom a connection is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct To {
    /// As in a URL: the host, and the port where it is not the usual one.
    authority: String,
    /// Where that is.
    address: SocketAddr,
}

impl Connections {
    /// None so far.
    pub(super) fn new(connect_within: Duration) -> Self {
        Self { idle: Rc::default(), connect_within }
    }

    /// One that is still open, and on which nobody has said anything unasked.
    fn take(&self, to: &To) -> Option<TcpStream> {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|it| it.since.elapsed() < IDLE_FOR);
        while let Some(found) = idle.iter().rposition(|it| it.to == *to) {
            let stream = idle.remove(found)?.stream;
            let unread = stream.try_read(&mut [0]);
            if unread.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Some(stream);
            }
        }
        None
    }

    fn keep(&self, stream: TcpStream, to: To) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= MAX_IDLE {
            idle.pop_front();
        }
        idle.push_back(Idle { stream, to, since: Instant::now() });
    }

    /// Asks, and waits for the head of the answer.
    pub(super) async fn get(&self, ask: Ask<'_>) -> Result<(ResponseHead, Body), Failure> {
        let authority = ask.url[Position::BeforeHost..Position::AfterPort].to_owned();
        let mut head = RequestHead::default();
        head.uri = ask.url.as_str().parse().map_err(|_| Failure::Broken)?;
        let host = authority.parse().map_err(|_| Failure::Broken)?;
        head.headers.insert(header::HOST, host);
        for (name, value) in ask.wishes {
            head.headers.insert(name, value);
        }
        let close = (!ask.keeps).then_some(ConnectionType::Close);
        head.set_connection_type(close.unwrap_or(ConnectionType::KeepAlive));
        let request = Rc::new(head);
        let to = To { authority, address: ask.address };
        if let Some(stream) = self.take(&to) {
            match self.talk(stream, &to, Rc::clone(&request)).await {
                // It was closed just then: that says nothing of the source.
                Err(None) => {}
                other => return other.map_err(|failure| failure.unwrap_or(Failure::Broken)),
            }
        }
        let connecting = timeout(self.connect_within, TcpStream::connect(to.address)).await;
        let stream = connecting.map_err(|_| Failure::Unreachable)?.map_err(|e| unconnected(&e))?;
        // A request goes out whole.
        let _ = stream.set_nodelay(true);
        self.talk(stream, &to, request).await.map_err(|failure| failure.unwrap_or(Failure::Broken))
    }

    /// An error is none when the connection ended before an answer began.
    async fn talk(
        &self,
        mut stream: TcpStream,
        to: &To,
        request: Rc<RequestHead>,
    ) -> Result<(ResponseHead, Body), Option<Failure>> {
        let (mut codec, mut bytes) = (ClientCodec::default(), BytesMut::with_capacity(HEAD_BYTES));
        let message = Message::Item((RequestHeadType::Rc(request, None), BodySize::None));
        codec.encode(message, &mut bytes).map_err(|_| Some(Failure::Broken))?;
        stream.write_all_buf(&mut bytes).await.map_err(|_| None)?;
        bytes.clear();
        let head = loop {
            match codec.decode(&mut bytes) {
                // What comes before the answer, as 103 Early Hints do, has no body.
                Ok(Some(head)) if head.status.is_informational() => {
                    if !matches!(codec.message_type(), MessageType::None) {
                        return Err(Some(Failure::Broken));
                    }
                }
                Ok(Some(head)) => break head,
                Ok(None) => {
                    bytes.reserve(HEAD_BYTES);
                    let read = stream.read_buf(&mut bytes).await;
                    if read.is_ok_and(|read| read > 0) {
                        continue;
                    }
                    return Err((!bytes.is_empty()).then_some(Failure::Broken));
                }
                Err(_) => return Err(Some(Failure::Broken)),
            }
        };
        let kept = codec.keep_alive().then(|| (self.clone(), to.clone()));
        let body = match (codec.message_type(), framing_of(&head)) {
            (MessageType::None, Framing::Told(0)) if bytes.is_empty() => {
                if let Some((connections, to)) = kept {
                    connections.keep(stream, to);
                }
                Body::Ended
            }
            (_, Framing::None | Framing::Told(0)) => Body::Ended,
            (_, Framing::Told(left)) => Body::Told(Told { stream, first: bytes, left, kept }),
            (MessageType::None, _) => {
                Body::Told(Told { stream, first: bytes, left: u64::MAX, kept: None })
            }
            _ => Body::Coded(Coded {
                stream,
                codec: codec.into_payload_codec(),
                read: bytes,
                part: Bytes::new(),
                whole: false,
                kept,
            }),
        };
        Ok((head, body))
    }
}

/// How the end of a body is known.
enum Framing {
    /// There is none.
    None,
    /// Sent as it is, so many bytes.
    Told(u64),
    /// In another way.
    Other,
}

fn framing_of(head: &ResponseHead) -> Framing {
    let length = || digits(head.headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.trim());
    match head.status {
        StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED => Framing::None,
        _ if head.headers.contains_key(header::TRANSFER_ENCODING) => Framing::Other,
        _ => length().map_or(Framing::Other, Framing::Told),
    }
}

/// A number without a sign.
pub(super) fn digits(text: &str) -> Option<u64> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| text.parse().ok()).flatten()
}

fn unconnected(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Failure::Refused,
        _ => Failure::Unreachable,
    }
}

/// What follows a head.
pub(super) enum Body {
    Ended,
    Told(Told),
    Coded(Coded),
}

/// So many bytes, or as many as come.
#[derive(Debug)]
pub(super) struct Told {
    stream: TcpStream,
    /// What came with the head.
    first: BytesMut,
    left: u64,
    /// Where the connection goes afterwards.
    kept: Option<(Connections, To)>,
}

/// In chunks, or as HTTP/1.0 has it.
pub(super) struct Coded {
    stream: TcpStream,
    codec: ClientPayloadCodec,
    read: BytesMut,
    part: Bytes,
    /// Its end was told.
    whole: bool,
    kept: Option<(Connections, To)>,
}

impl Body {
    /// Puts the next bytes behind those that are there, `most` of them at most; how many, and none
    /// at the end, which may come too early. Nothing is lost when the future is dropped.
    pub(super) async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Failure> {
        let read = match self {
            Self::Ended => 0,
            Self::Told(told) => told.read(into, most).await.map_err(|_| Failure::Broken)?,
            Self::Coded(coded) => coded.read(into, most).await?,
        };
        let over = read == 0 || matches!(self, Self::Told(told) if told.left == 0);
        if over {
            std::mem::replace(self, Self::Ended).release();
        }
        Ok(read)
    }

    /// Gives the connection back, if another answer may follow on it.
    fn release(self) {
        let (stream, kept) = match self {
            Self::Told(it) if it.left == 0 && it.first.is_empty() => (it.stream, it.kept),
            Self::Coded(it) if it.whole && it.read.is_empty() => (it.stream, it.kept),
            _ => return,
        };
        if let Some((connections, to)) = kept {
            connections.keep(stream, to);
        }
    }
}

impl Told {
    async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> io::Result<usize> {
        let most = self.left.min(most as u64) as usize;
        let read = if self.first.is_empty() {
            into.reserve(most);
            loop {
                self.stream.readable().await?;
                match self.stream.try_read_buf(&mut into.limit(most)) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => break other?,
                }
            }
        } else {
            take(&mut self.first, into, most)
        };
        self.left -= read as u64;
        Ok(read)
    }
}

impl Coded {
    async fn read(&mut self, into: &mut Vec<u8>, most: usize) -> Result<usize, Failure> {
        while self.part.is_empty() {
            match self.codec.decode(&mut self.read) {
                Ok(Some(Some(part))) => self.part = part,
                Ok(Some(None)) => {
                    self.whole = true;
                    return Ok(0);
                }
                Ok(None) => {
                    self.read.reserve(HEAD_BYTES);
                    let read = self.stream.read_buf(&mut self.read).await;
                    if read.map_err(|_| Failure::Broken)? == 0 {
                        return Ok(0);
                    }
                }
                Err(_) => return Err(Failure::Broken),
            }
        }
        Ok(take(&mut self.part, into, most))
    }
}

fn take(from: &mut impl Buf, into: &mut Vec<u8>, most: usize) -> usize {
    let length = from.remaining().min(most);
    into.put(from.take(length));
    length
}

#[cfg(test)]
mod tests;
