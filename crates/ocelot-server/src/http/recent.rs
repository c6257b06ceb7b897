//! Lists that many look at again and again: an answer is given once more as it was, as long as the database says that nothing has
//! changed, to whoever may see the same and asks the same.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use ocelot_model::access::Actor;

/// Bytes of bodies that are kept at most.
const ROOM: usize = 8 << 20;

/// Who asks, and the query.
pub(super) type Asked = (Actor, String);

/// The answers of the last state of the database that was asked about.
#[derive(Debug, Clone, Default)]
pub struct Recent(Arc<Mutex<Answers>>);

#[derive(Debug, Default)]
struct Answers {
    state: String,
    bytes: usize,
    bodies: HashMap<Asked, Bytes>,
}

impl Recent {
    pub(super) fn get(&self, state: Option<&str>, asked: &Asked) -> Option<Bytes> {
        let answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        answers.bodies.get(asked).filter(|_| state == Some(answers.state.as_str())).cloned()
    }

    /// `state` was read before the answer was.
    pub(super) fn keep(&self, state: Option<String>, asked: Asked, body: &Bytes) {
        let Some(state) = state else { return };
        let mut answers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.state != state || answers.bytes + body.len() > ROOM {
            *answers = Answers { state, ..Answers::default() };
        }
        if body.len() <= ROOM && answers.bodies.insert(asked, body.clone()).is_none() {
            answers.bytes += body.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(query: &str) -> Asked {
        (Actor::Anonymous, query.to_owned())
    }

    #[test]
    fn an_answer_is_of_one_state_and_one_asker() {
        let recent = Recent::default();
        let body = Bytes::from_static(b"a");
        recent.keep(None, asked("q"), &body);
        assert_eq!(recent.get(None, &asked("q")), None);
        recent.keep(Some("1".into()), asked("q"), &body);
        assert_eq!(recent.get(Some("1"), &asked("q")), Some(body.clone()));
        let other = Actor::Worker(ocelot_model::WorkerId(1));
        assert_eq!(recent.get(Some("1"), &(other, "q".to_owned())), None);
        assert_eq!(recent.get(Some("1"), &asked("r")), None);
        assert_eq!(recent.get(Some("2"), &asked("q")), None);
        assert_eq!(recent.get(None, &asked("q")), None);
        recent.keep(Some("2".into()), asked("r"), &body);
        assert_eq!(recent.get(Some("2"), &asked("q")), None);
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let recent = Recent::default();
        let body = Bytes::from(vec![0; ROOM / 2]);
        for query in ["a", "b", "c"] {
            recent.keep(Some("1".into()), asked(query), &body);
        }
        let kept = ["a", "b", "c"].map(|query| recent.get(Some("1"), &asked(query)).is_some());
        assert_eq!(kept, [false, false, true]);
    }
}
