//! The rules of families of tokens: a refresh token is good for one use, a replay ends its family,
//! and no token outlives its key.

use model::Timestamp;

use crate::management::ManagementKey;
use crate::sessions::{NewTokens, RefreshOutcome, StoredRefreshToken};

/// Returns the outcome of using a refresh token; `None`: it is good, and is used up by this.
///
/// `asked_at` is when the request came in, `now` when it is its turn: a request that came before
/// another used the token lost a race, one that came later is a replay.
pub(crate) fn refused(
    token: &StoredRefreshToken,
    asked_at: Timestamp,
    now: Timestamp,
) -> Option<RefreshOutcome> {
    if token.session.ended_at.is_some() {
        return Some(RefreshOutcome::Refused);
    }
    match token.used_at {
        Some(used_at) if asked_at <= used_at => Some(RefreshOutcome::Lost),
        Some(_) => Some(RefreshOutcome::Replayed),
        None => (token.expires_at <= now).then_some(RefreshOutcome::Refused),
    }
}

/// Returns when a key ends, the end of time if never; `None`: it has ended.
pub(crate) fn end_of(key: &ManagementKey, now: Timestamp) -> Option<Timestamp> {
    let ends = [key.expires_at, key.revoked_at].into_iter().flatten();
    let end = ends.min().unwrap_or(Timestamp::from_micros(i64::MAX));
    (now < end).then_some(end)
}

/// Returns when the last of two tokens ends.
pub(crate) fn last_end(tokens: &NewTokens) -> Timestamp {
    tokens.refresh_expires_at.max(tokens.access_expires_at)
}

#[cfg(test)]
mod tests {
    use model::{ManagementKeyId, Session, SessionId};

    use super::*;

    const fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    fn token(ended_at: Option<i64>, used_at: Option<i64>) -> StoredRefreshToken {
        StoredRefreshToken {
            session: Session {
                id: SessionId::from_u128(1),
                key_id: ManagementKeyId::from_u128(2),
                license_id: None,
                created_at: at(0),
                ended_at: ended_at.map(at),
            },
            expires_at: at(100),
            used_at: used_at.map(at),
        }
    }

    #[test]
    fn a_token_is_good_once_and_what_comes_later_is_lost_or_a_replay() {
        for (token, asked_at, now, outcome) in [
            (token(None, None), 10, 20, None),
            (token(None, None), 10, 100, Some(RefreshOutcome::Refused)),
            (token(Some(5), None), 10, 20, Some(RefreshOutcome::Refused)),
            (
                token(Some(5), Some(5)),
                10,
                20,
                Some(RefreshOutcome::Refused),
            ),
            (token(None, Some(10)), 10, 20, Some(RefreshOutcome::Lost)),
            (token(None, Some(9)), 10, 20, Some(RefreshOutcome::Replayed)),
            (
                token(None, Some(9)),
                10,
                200,
                Some(RefreshOutcome::Replayed),
            ),
        ] {
            assert_eq!(refused(&token, at(asked_at), at(now)), outcome, "{token:?}");
        }
    }
}
