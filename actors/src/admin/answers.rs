//! Asking the actors from a request, with a deadline, and the errors that a request can end in.

use std::fmt;
use std::time::Duration;

use actix::{Message, Recipient};
use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};
use flare_core::topology::Refusal;
use serde_json::json;
use tokio::time::timeout;

use super::guard::Forbidden;
use super::sentence;
use crate::logs::LogError;
use crate::overview::ANSWER_DEADLINE;

/// Why a request was not answered with what was asked for.
#[derive(Debug)]
pub(super) enum Failure {
    /// Not for that asker.
    Forbidden(Forbidden),
    /// The topology refused the change.
    Refused(Refusal),
    /// The log could not be changed.
    Log(LogError),
    /// This index has no such part.
    Absent(&'static str),
    /// The request cannot be understood.
    Bad(String),
    /// So many read events already.
    Readers(usize),
    /// An actor did not answer in time; its name, and the time.
    Stuck(&'static str, Duration),
    /// An actor did not say in time whether it carried an order out; its name, and the time.
    Unanswered(&'static str, Duration),
    /// An actor has ended; its name.
    Ended(&'static str),
    /// The sandbox refused, or could not be asked.
    Sandbox(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden(why) => why.fmt(f),
            Self::Refused(refusal) => f.write_str(&sentence::of_refusal(refusal)),
            Self::Log(error) => error.fmt(f),
            Self::Absent(what) => write!(f, "this index has no {what}"),
            Self::Bad(why) => f.write_str(why),
            Self::Readers(most) => write!(
                f,
                "there may be {most} readers of events at a time, and there are: close some pages"
            ),
            Self::Stuck(who, deadline) => {
                let seconds = deadline.as_secs();
                write!(f, "the {who} did not answer within {seconds} s")
            }
            Self::Unanswered(who, deadline) => write!(
                f,
                "the {who} did not answer within {} s: it is not known whether the order was done",
                deadline.as_secs()
            ),
            Self::Ended(who) => write!(f, "the {who} has ended"),
            Self::Sandbox(why) => f.write_str(why),
        }
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::Forbidden(_) => StatusCode::FORBIDDEN,
            Self::Refused(Refusal::UnknownNode) | Self::Absent(_) => StatusCode::NOT_FOUND,
            Self::Refused(Refusal::Store(_) | Refusal::StoodDown) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused(_) | Self::Sandbox(_) => StatusCode::CONFLICT,
            Self::Log(LogError::TooManyConnections) => StatusCode::CONFLICT,
            Self::Log(_) | Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Unanswered(..) => StatusCode::GATEWAY_TIMEOUT,
            Self::Readers(_) | Self::Stuck(..) | Self::Ended(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    fn error_response(&self) -> HttpResponse {
        HttpResponse::build(self.status_code()).json(json!({ "error": self.to_string() }))
    }
}

impl From<Forbidden> for Failure {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

/// Asks an actor, called `who` in an error.
pub(super) async fn ask<M>(
    actor: &Recipient<M>,
    who: &'static str,
    message: M,
) -> Result<M::Result, Failure>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    ask_within(ANSWER_DEADLINE, actor, who, message).await
}

/// Orders something of an actor. One that does not answer in time may carry it out all the same.
pub(super) async fn order<M>(
    deadline: Duration,
    actor: &Recipient<M>,
    who: &'static str,
    message: M,
) -> Result<M::Result, Failure>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    ask_within(deadline, actor, who, message).await.map_err(|failure| match failure {
        Failure::Stuck(who, deadline) => Failure::Unanswered(who, deadline),
        other => other,
    })
}

async fn ask_within<M>(
    deadline: Duration,
    actor: &Recipient<M>,
    who: &'static str,
    message: M,
) -> Result<M::Result, Failure>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    match timeout(deadline, actor.send(message)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Err(Failure::Ended(who)),
        Err(_) => Err(Failure::Stuck(who, deadline)),
    }
}
