//! Asking another actor and waiting for its answer, never longer than a deadline.
//!
//! A full mailbox makes the asker wait, within the same deadline; the number of askers is bounded
//! by the number of connections, each of which has one question open at a time.

use std::fmt;
use std::time::Duration;

use actix::{MailboxError, Message, Recipient};

/// Why there was no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AskError {
    /// None came in time: the actor is overloaded, or what it waits for is.
    Deadline,
    /// The actor is gone, or it dropped the question.
    Gone,
}

impl fmt::Display for AskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Deadline => "no answer within the deadline",
            Self::Gone => "the actor that should answer is gone",
        })
    }
}

impl std::error::Error for AskError {}

/// Sends `question` and waits for the answer, at most until `deadline`.
///
/// # Errors
/// [`AskError`]; the question may have been acted upon all the same.
pub async fn ask<M>(
    whom: &Recipient<M>,
    question: M,
    deadline: Duration,
) -> Result<M::Result, AskError>
where
    M: Message + Send + 'static,
    M::Result: Send,
{
    match tokio::time::timeout(deadline, whom.send(question)).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(MailboxError::Closed)) => Err(AskError::Gone),
        Ok(Err(MailboxError::Timeout)) | Err(_) => Err(AskError::Deadline),
    }
}
