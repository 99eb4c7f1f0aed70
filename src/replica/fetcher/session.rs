//! Owns a follower's side of its fetch session (KIP-227): the number that the next request carries. Kafka:
//! `FetchSessionHandler`, `FetchMetadata`. Pure.

use crate::common::ErrorCode;

const NO_SESSION: i32 = 0;
const INITIAL_EPOCH: i32 = 0;

/// The session part of the next request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Session {
    pub id: i32,
    pub epoch: i32,
}

impl Session {
    /// Asks for a session; there is none yet.
    pub(super) const INITIAL: Self = Self { id: NO_SESSION, epoch: INITIAL_EPOCH };

    /// The next request names every partition.
    pub(super) fn is_full(self) -> bool {
        self.epoch == INITIAL_EPOCH
    }

    /// After an answer that was in order.
    pub(super) fn after_answer(self, session_id: i32) -> Self {
        if session_id == NO_SESSION {
            return Self::INITIAL;
        }
        let epoch = if self.is_full() || self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
        Self { id: session_id, epoch }
    }

    /// After an answer that refused the whole request.
    pub(super) fn after_refusal(self, error: ErrorCode) -> Self {
        if error == ErrorCode::FetchSessionIdNotFound { Self::INITIAL } else { self.renewed() }
    }

    /// Closes the session with the next request, and asks for another one: no answer, or not one to this request.
    pub(super) fn renewed(self) -> Self {
        Self { id: self.id, epoch: INITIAL_EPOCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_counts_its_requests_and_starts_anew_after_a_failure() {
        let first = Session::INITIAL.after_answer(77);
        assert_eq!(first, Session { id: 77, epoch: 1 });
        assert_eq!(first.after_answer(77), Session { id: 77, epoch: 2 });
        assert_eq!(Session { id: 77, epoch: i32::MAX }.after_answer(77).epoch, 1, "0 and below have a meaning");
        assert_eq!(first.after_answer(0), Session::INITIAL, "the leader has closed it");
        assert_eq!(first.renewed(), Session { id: 77, epoch: 0 });
        assert_eq!(first.after_refusal(ErrorCode::FetchSessionIdNotFound), Session::INITIAL);
        assert_eq!(first.after_refusal(ErrorCode::InvalidFetchSessionEpoch), Session { id: 77, epoch: 0 });
    }
}
