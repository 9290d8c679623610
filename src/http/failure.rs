//! A command or a request that failed, as HTTP says it.
//!
//! Always holds: the body is `{"error":{"code","message"}}`, and the status fits the code, or says
//! more exactly what was wrong with the request. Never: tells a secret.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpResponse, ResponseError};
use serde::Serialize;

use crate::command::{CommandError, ErrorCode};

/// Why there is no other answer.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    error: CommandError,
}

impl Failure {
    /// A failure with the status that fits its code.
    pub(super) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        CommandError::new(code, message).into()
    }

    /// A request that is wrong in a way HTTP has a status for.
    pub(super) fn request(status: StatusCode, message: impl Into<String>) -> Self {
        let code = match status {
            StatusCode::UNAUTHORIZED => ErrorCode::Denied,
            StatusCode::REQUEST_TIMEOUT => ErrorCode::Timeout,
            _ => ErrorCode::Usage,
        };
        Self { status, error: CommandError::new(code, message) }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let status = match error.code {
            ErrorCode::Usage => StatusCode::BAD_REQUEST,
            ErrorCode::Denied => StatusCode::FORBIDDEN,
            ErrorCode::NotFound => StatusCode::NOT_FOUND,
            ErrorCode::Exists | ErrorCode::Ambiguous => StatusCode::CONFLICT,
            ErrorCode::SourcesFailed | ErrorCode::Mismatch => StatusCode::BAD_GATEWAY,
            ErrorCode::NoPeers | ErrorCode::NoDaemon | ErrorCode::Interrupted => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorCode::NoSpace => StatusCode::INSUFFICIENT_STORAGE,
            ErrorCode::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self { status, error }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        #[derive(Serialize)]
        struct Body<'a> {
            error: &'a CommandError,
        }
        let mut response = HttpResponse::build(self.status).json(Body { error: &self.error });
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response
    }
}
