//! Bodies of HTTP requests that nobody reads, for both servers.
//!
//! Always holds: a connection whose request was answered before its body had ended is closed within
//! the time for goodbyes. Never: reads a body itself.
//!
//! The server closes by itself where a body of known length is left. One in chunks it would read
//! on for ever once its reader is gone, so the reader is kept until the answer is sent.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::BoxBody;
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage};
use bytes::Bytes;
use futures_util::Stream;

use super::keeping::keeping;

/// Stands before everything that may answer.
pub async fn close(
    mut request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    // What can't be told counts as chunks.
    if matches!(request.chunked(), Ok(false)) {
        return next.call(request).await;
    }
    let reader = Reader(Rc::new(RefCell::new(request.take_payload())));
    request.set_payload(Payload::Stream { payload: Box::pin(reader.clone()) });
    let response = next.call(request).await?;
    Ok(response.map_body(|_, body| keeping(body, reader)))
}

/// Reads the body, for whoever still wants it.
#[derive(Clone)]
struct Reader(Rc<RefCell<Payload>>);

impl Stream for Reader {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}
