//! What the head of a response means to a swarm.
//!
//! Always holds: a body is taken only from where it was asked for, or from its start. Never: holds
//! it against a source that it knows no ranges.

use std::time::Duration;

use super::{Phase, Request, Swarm};
use crate::transfer::{Failure, Head};

impl Swarm {
    /// The head of a response. Says at which offset its body begins; none if it is no use.
    pub fn answered(&mut self, id: u64, head: &Head, now: Duration) -> Option<u64> {
        let request = self.requests.get(&id)?;
        let source = request.source;
        match self.judge(request, head) {
            Ok(at) => {
                let whole = self.pieces;
                let request = self.requests.get_mut(&id)?;
                (request.phase, request.heard, request.at) = (Phase::Answered, now, at);
                self.peers[source].answered = true;
                if head.status == 200 {
                    request.stream = true;
                    request.pieces = 0..whole;
                    self.peers[source].sequential = true;
                }
                Some(at)
            }
            // It may be asked again, for all of it.
            Err(None) => {
                self.peers[source].sequential = true;
                self.close(id);
                self.requests.remove(&id);
                None
            }
            Err(Some(failure)) => {
                self.failed(id, failure, now);
                None
            }
        }
    }

    /// Where the body begins; or what is wrong, which is nothing if ranges are just not known.
    fn judge(&self, request: &Request, head: &Head) -> Result<u64, Option<Failure>> {
        if head.encoded {
            return Err(Some(Failure::Encoded));
        }
        match head.status {
            200 if head.length.is_some_and(|length| length != self.size) => {
                Err(Some(Failure::WrongSize))
            }
            200 if request.at == 0 => Ok(0),
            200 => Err(None),
            206 => {
                let asked = self.bytes(&request.pieces);
                let range = head.range.ok_or(Failure::BadRange)?;
                if range.total != self.size {
                    return Err(Some(Failure::WrongSize));
                }
                let length = range.last + 1 - range.first;
                let agrees = head.length.is_none_or(|told| told == length);
                // It was asked for no less; what it was asked for may have become less since.
                if range.first != request.at || range.last + 1 < asked.end || !agrees {
                    return Err(Some(Failure::BadRange));
                }
                Ok(range.first)
            }
            416 => Err(Some(Failure::BadRange)),
            status => Err(Some(Failure::Http(status))),
        }
    }
}
