//! The body of an answer, and something that lives as long: until it has gone to the connection's
//! buffer, or nobody wants it any more.
//!
//! Always holds: the bytes are those of the body. Never: looks at what is kept.

use std::pin::Pin;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use bytes::Bytes;

/// The same body, which drops this with itself.
pub(super) fn keeping<T: Unpin + 'static>(body: BoxBody, kept: T) -> BoxBody {
    Keeping { body, _kept: kept }.boxed()
}

struct Keeping<T> {
    body: BoxBody,
    _kept: T,
}

impl<T: Unpin> MessageBody for Keeping<T> {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.body.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        Pin::new(&mut self.get_mut().body).poll_next(context)
    }
}
