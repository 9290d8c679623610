//! A request that makes the program fail is answered, and the next one served.
//!
//! Always holds: whoever asked hears so, as JSON like any failure. Never: hides it: what panicked
//! is in the log, and `actors` shows that something did.

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::middleware::Next;
use actix_web::{Error, web};

use super::failure::Failure;
use crate::actors::vitals::Health;
use crate::command::CommandError;
use crate::faults;

/// Answers a panic in whatever comes after.
pub(super) async fn answer(
    health: web::Data<Health>,
    request: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse, Error> {
    let answer = async move {
        faults::point("admin", "request");
        next.call(request).await
    };
    health.catch(answer).await.unwrap_or_else(|| {
        let message = "this request made the node fail, which is a fault of the program: try again";
        Err(Failure::from(CommandError::failed(message)).into())
    })
}
