//! Two processes with one worker's identity, such as two containers with one data folder. A process that comes back after
//! another one took its place shows that both are there: then the one that came first has the place, and the other one is
//! told. Without this they would take the place from each other for ever, and jobs with it.

use ocelot_model::WorkerId;

use super::enrolments::OWN;
use super::{Core, Tx};
use crate::raw::clean;
use crate::{Hello, Identity, StoreError, Wake};

/// A worker that was not heard for so long is taken as gone.
const SILENT_US: i64 = 60_000_000;

/// Who has a worker's place now, as far as it is connected.
#[derive(Debug, Default, Clone, PartialEq, Eq, sqlx::FromRow)]
struct Place {
    process: Option<String>,
    /// Whose place that one took.
    former: Option<String>,
    /// One that is kept out.
    twin: Option<String>,
}

/// A worker that is connected.
#[derive(Debug, sqlx::FromRow)]
struct There {
    id: i64,
    name: String,
    #[sqlx(flatten)]
    place: Place,
}

/// The place after this process has come; `None` when it is refused.
fn meet(place: &Place, process: &str) -> Option<Place> {
    let came = Some(process.to_owned());
    if place.process == came {
        return Some(place.clone());
    }
    if place.twin == came {
        return None;
    }
    if place.former == came {
        return Some(Place { process: came, former: None, twin: place.process.clone() });
    }
    Some(Place { process: came, former: place.process.clone(), twin: None })
}

fn refused(name: &str) -> StoreError {
    StoreError::Conflict(format!(
        "another process is connected as worker {name}, with the same token and name or a copy of the same data folder. Stop \
         one of them, or give this one a name and a data folder (--name, --data) of its own"
    ))
}

impl Core {
    /// Whether this process may have the worker's place. To be asked before its greeting is written.
    pub(super) async fn meet(&self, tx: &mut Tx, hello: &Hello) -> Result<Option<Meeting>, StoreError> {
        if hello.process.is_empty() {
            return Ok(None);
        }
        let (own, token) = match hello.identity {
            Identity::Own(id) => (id.0, -1),
            Identity::Token(token) => (OWN, token.0),
        };
        let since = tx.now - SILENT_US;
        let there: Option<There> = sqlx::query_as(
            "SELECT id, name, process, former, twin FROM workers
             WHERE (id = $1 OR (token_id = $2 AND name = $3)) AND connected AND last_seen_at > $4",
        )
        .bind(own)
        .bind(token)
        .bind(clean(&hello.name))
        .bind(since)
        .fetch_optional(tx.conn())
        .await?;
        let (place, id, name) = match there {
            Some(There { id, name, place }) => (place, Some(WorkerId(id)), name),
            None => (Place::default(), None, String::new()),
        };
        Ok(Some(Meeting { place: meet(&place, &hello.process), id, name }))
    }
}

impl Core {
    /// Lets all servers look how this worker stands.
    pub(crate) async fn look_at_worker(&self, id: WorkerId) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.wake(Wake::Worker(id));
        self.commit(tx).await
    }
}

/// What came of it.
pub(super) struct Meeting {
    place: Option<Place>,
    /// The worker, when a process was there.
    id: Option<WorkerId>,
    name: String,
}

impl Meeting {
    /// The error of one that is refused, which is to be answered once this is committed.
    pub(super) async fn refusal(&self, tx: &mut Tx) -> Result<Option<StoreError>, StoreError> {
        let (None, Some(id)) = (&self.place, self.id) else { return Ok(None) };
        let now = tx.now;
        sqlx::query("UPDATE workers SET twin_at = $2 WHERE id = $1")
            .bind(id.0)
            .bind(now)
            .execute(tx.conn())
            .await?;
        Ok(Some(refused(&self.name)))
    }

    /// Writes down who has the place of this worker.
    pub(super) async fn write(self, tx: &mut Tx, id: WorkerId) -> Result<(), StoreError> {
        let Some(Place { process, former, twin }) = self.place else { return Ok(()) };
        let twin_at = twin.is_some().then_some(tx.now);
        sqlx::query(
            "UPDATE workers SET process = $2, former = $3, twin = $4, twin_at = coalesce($5, twin_at) WHERE id = $1",
        )
        .bind(id.0)
        .bind(process)
        .bind(former)
        .bind(twin)
        .bind(twin_at)
        .execute(tx.conn())
        .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Processes that come one after the other, with `x` for those that are refused.
    fn check(come: &str, want: &str) {
        let mut place = Place::default();
        let got: String = come
            .chars()
            .map(|process| match meet(&place, &process.to_string()) {
                Some(after) => {
                    place = after;
                    process
                }
                None => 'x',
            })
            .collect();
        assert_eq!(got, want, "{come}: {place:?}");
    }

    #[test]
    fn who_came_first_has_the_place() {
        // The same one after a lost connection; another one after a restart, and after one more.
        check("aaa", "aaa");
        check("abbcc", "abbcc");
        // Both are there.
        check("abab", "abax");
        check("abababab", "abaxaxax");
        // The first one was started anew in between.
        check("ababcbcb", "abaxcbcx");
    }
}
