//! An upload by multipart: the file flows through to the node, and nowhere rests here.
//!
//! Always holds: what is in memory is a few chunks, however long the file is; the node is told of
//! the end only once the whole request is right. Never: waits for ever for a client.

use std::pin::pin;

use actix_multipart::{Field, Multipart, MultipartError};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::admin::{Answer, Executor, send};
use super::body::{Patience, is_of_type, usage};
use super::failure::Failure;
use crate::actors::messages::{CONTENT_CHUNK_BYTES, CONTENT_QUEUE, Content, EventSink, Execute};
use crate::command::{Command, Reply};

/// Longest name that is read; the node takes shorter ones still.
const MAX_NAME_BYTES: usize = 1_024;

pub(super) async fn upload(
    executor: Executor,
    request: HttpRequest,
    payload: web::Payload,
) -> Answer {
    if !is_of_type(&request, "multipart/form-data") {
        return Err(Failure::request(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be a form with a file, of type multipart/form-data",
        ));
    }
    let mut form =
        Form { parts: Multipart::new(request.headers(), payload), patience: Patience::default() };
    let (name, file) = form.begin().await?;
    let (sender, receiver) = mpsc::channel(CONTENT_QUEUE);
    // Cancels when this future ends early: the client has left, or sent something wrong.
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    let command = Command::UploadStream { name };
    let mut order = Execute::new(command, EventSink::none(), cancel);
    order.input = Some(receiver);
    let mut reply = pin!(send(&executor, order));
    let reply = tokio::select! {
        biased;
        // Before the content's end: refused.
        reply = &mut reply => reply?,
        passed = form.pass_on(file, sender) => {
            passed?;
            reply.await?
        }
    };
    Ok(created(&reply))
}

fn created(reply: &Reply) -> HttpResponse {
    HttpResponse::Created().json(reply)
}

/// The form as it comes.
struct Form {
    parts: Multipart,
    patience: Patience,
}

impl Form {
    /// Reads up to the file: what to call it, and its content to come.
    async fn begin(&mut self) -> Result<(String, Field), Failure> {
        let mut name = None;
        while let Some(mut part) = self.next_part().await? {
            match part.name() {
                Some("name") if name.is_none() => name = Some(self.text(&mut part).await?),
                Some("file") => {
                    let own = part.content_disposition().and_then(|about| about.get_filename());
                    let name = name.or_else(|| own.map(str::to_owned));
                    let name = name.filter(|name| !name.is_empty());
                    let name =
                        name.ok_or_else(|| usage("the file has no name: give a field 'name'"))?;
                    return Ok((name, part));
                }
                _ => return Err(unexpected(&part)),
            }
        }
        Err(usage("the form has no field 'file'"))
    }

    /// Sends the content to the node; its end only when nothing else comes behind it.
    async fn pass_on(
        &mut self,
        mut file: Field,
        sender: mpsc::Sender<Content>,
    ) -> Result<(), Failure> {
        while let Some(mut chunk) = self.next_chunk(&mut file).await? {
            while !chunk.is_empty() {
                let next = chunk.split_to(chunk.len().min(CONTENT_CHUNK_BYTES));
                if sender.send(Content::Bytes(next)).await.is_err() {
                    // The node wants no more, and says why in its reply.
                    return Ok(());
                }
            }
        }
        drop(file);
        if let Some(part) = self.next_part().await? {
            return Err(unexpected(&part));
        }
        let _ = sender.send(Content::End).await;
        Ok(())
    }

    async fn next_part(&mut self) -> Result<Option<Field>, Failure> {
        let next = self.patience.wait(self.parts.next()).await?;
        next.transpose().map_err(|error| broken(&error))
    }

    async fn next_chunk(&mut self, field: &mut Field) -> Result<Option<Bytes>, Failure> {
        let next = self.patience.wait(field.next()).await?;
        let chunk = next.transpose().map_err(|error| broken(&error))?;
        self.patience.got(chunk.as_ref().map_or(0, Bytes::len));
        Ok(chunk)
    }

    /// A field of text.
    async fn text(&mut self, field: &mut Field) -> Result<String, Failure> {
        let mut text = Vec::new();
        while let Some(chunk) = self.next_chunk(field).await? {
            if text.len() + chunk.len() > MAX_NAME_BYTES {
                return Err(usage(format!("the name has more than {MAX_NAME_BYTES} bytes")));
            }
            text.extend_from_slice(&chunk);
        }
        String::from_utf8(text).map_err(|_| usage("the name is not UTF-8"))
    }
}

fn unexpected(part: &Field) -> Failure {
    let name = part.name().unwrap_or_default();
    usage(format!("the field {name:?} is not expected here: 'name' if any, then 'file', each once"))
}

fn broken(error: &MultipartError) -> Failure {
    usage(format!("the form broke off or is malformed: {error}"))
}
