//! The requests of a connection, one at a time.
//!
//! What speaks HTTP here reads on while it answers, and goes by the last head that it has read when
//! it decides whether an answer has a body: a HEAD that was sent right behind a GET would take the
//! body of that away, and the other way round. So the connection passes on one head, and keeps what
//! follows until the answer has gone to its buffer.
//!
//! Always holds: every request is answered as if it had come alone, in order. Never: reads on while
//! it keeps anything: what is kept is one read at most.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker, ready};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, ReadBuf};

use crate::actors::keeping::keeping;

/// Whose turn it is on a connection; cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Rc<RefCell<State>>);

#[derive(Debug, Default)]
struct State {
    head: Head,
    /// A request has been passed on, and not been answered.
    answering: bool,
    /// What came behind it.
    kept: Bytes,
    /// Who waits for that.
    waker: Option<Waker>,
}

/// How much of a head has come.
#[derive(Debug, Default)]
struct Head {
    /// Something besides ends of lines, which may stand before it.
    begun: bool,
    /// Something of the present line.
    in_line: bool,
}

impl Head {
    /// Whether this byte is its last: the end of an empty line.
    fn ends_with(&mut self, byte: u8) -> bool {
        match byte {
            b'\r' => false,
            b'\n' => !std::mem::take(&mut self.in_line) && std::mem::take(&mut self.begun),
            _ => {
                (self.begun, self.in_line) = (true, true);
                false
            }
        }
    }
}

impl State {
    /// How many of these bytes may be passed on.
    fn pass(&mut self, bytes: &[u8]) -> usize {
        let last = bytes.iter().position(|byte| self.head.ends_with(*byte));
        self.answering = last.is_some();
        last.map_or(bytes.len(), |last| last + 1)
    }
}

impl Turns {
    /// Reads from a connection what may be passed on.
    pub(super) fn poll_read(
        &self,
        tcp: Pin<&mut impl AsyncRead>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        if state.kept.is_empty() {
            let before = buffer.filled().len();
            ready!(tcp.poll_read(context, buffer))?;
            let came = &buffer.filled()[before..];
            // That it ends is told at once.
            let passed = if state.answering { 0 } else { state.pass(came) };
            state.kept = Bytes::copy_from_slice(&came[passed..]);
            buffer.set_filled(before + passed);
            if passed > 0 || state.kept.is_empty() {
                return Poll::Ready(Ok(()));
            }
        } else if !state.answering {
            let kept = state.kept.clone();
            let passed = state.pass(&kept[..kept.len().min(buffer.remaining())]);
            buffer.put_slice(&kept[..passed]);
            state.kept.advance(passed);
            return Poll::Ready(Ok(()));
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }

    /// The request has been answered: the next one may come.
    fn next(&self) {
        let mut state = self.0.borrow_mut();
        state.answering = false;
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

/// Stands before everything that may answer.
pub(super) async fn one_at_a_time(
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let turn = request.conn_data::<Turns>().cloned().map(Turn);
    let alone = request.request().clone();
    let response = next.call(request).await;
    let response = response.unwrap_or_else(|error| ServiceResponse::from_err(error, alone));
    Ok(response.map_body(|_, body| keeping(body, turn)))
}

/// The turn of a request; over when dropped.
struct Turn(Turns);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_ends_with_an_empty_line_however_lines_end() {
        for (bytes, passed) in [
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\nHEAD", 27),
            ("GET / HTTP/1.1\nHost: x\n\nHEAD", 24),
            ("\r\n\r\nGET / HTTP/1.1\r\n\r\nHEAD", 22),
            ("GET / HTTP/1.1\r\nHost: x\r\n", 25),
            ("\r\n\r\n", 4),
        ] {
            for split in 0..bytes.len() {
                let mut state = State::default();
                let (first, second) = bytes.as_bytes().split_at(split);
                let mut all = state.pass(first);
                if all == first.len() && !state.answering {
                    all += state.pass(second);
                }
                assert_eq!(all, passed, "{bytes:?} at {split}");
                assert_eq!(state.answering, passed < bytes.len(), "{bytes:?} at {split}");
            }
        }
    }
}
