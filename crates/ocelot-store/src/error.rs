//! Why calls fail. Decides which database errors heal by themselves; says nothing about HTTP.

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// It does not exist.
    #[error("{0} does not exist")]
    NotFound(String),
    /// Another one has that name.
    #[error("{0}")]
    Conflict(String),
    /// The lease is over: another attempt took its place, or the build is done.
    #[error("this attempt is over, or a newer one took its place")]
    Stale,
    /// Another build of the default branch came in between: look again which commit is the newest.
    #[error("another build of the same branch came in between: try again")]
    Overtaken,
    /// The database cannot be reached or refuses to write (full disk, read only): try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The log store cannot be reached or written: try again later.
    #[error("the log store does not answer: {0}")]
    LogStore(String),
    /// A log that should be in the log store is not there.
    #[error("{0}")]
    LogMissing(String),
    /// Our own fault.
    #[error(transparent)]
    Sql(sqlx::Error),
    /// Stored data cannot be read.
    #[error("stored data cannot be read: {0}")]
    Corrupt(String),
}

/// Why log bytes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The bytes begin behind the durable end: send from here on.
    #[error("bytes are missing before this piece; the log ends at {durable}")]
    Gap {
        /// Durable bytes.
        durable: u64,
    },
    /// The bytes differ from what is stored at the same place, or length or SHA-256 at the end do.
    #[error("the log does not agree with what is stored: {0}")]
    Conflict(String),
    /// Anything else.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What of the store takes nothing now, in words for everyone: no address, no name, no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {part} {fault}")]
pub struct NotReady {
    part: &'static str,
    fault: &'static str,
}

impl NotReady {
    /// The state; `None` when there was no answer in time.
    pub(crate) fn database(error: Option<&sqlx::Error>) -> NotReady {
        NotReady { part: "database", fault: error.map_or("does not answer", fault) }
    }

    /// The logs, where they are kept apart from the state.
    pub(crate) fn logs(error: &sqlx::Error) -> NotReady {
        NotReady { part: "log store", fault: fault(error) }
    }
}

fn fault(error: &sqlx::Error) -> &'static str {
    let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code).unwrap_or_default();
    match (&*code, code.len() < 5, code.parse::<u32>().map(|code| code & 0xff)) {
        ("53100", ..) | (_, true, Ok(13)) => "takes nothing: its disk is full",
        ("25006", ..) | (_, true, Ok(8)) => "takes nothing: it is read only",
        (_, true, Ok(10 | 14)) => "takes nothing: its files cannot be written",
        _ => "does not answer",
    }
}

impl From<sqlx::Error> for LogError {
    fn from(error: sqlx::Error) -> Self {
        LogError::Store(error.into())
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let heals = match &error {
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::Io(_)
            | sqlx::Error::Tls(_) => true,
            sqlx::Error::Database(of) => of.code().is_some_and(|code| code_heals(&code)),
            _ => false,
        };
        if heals { StoreError::Unavailable(error.to_string()) } else { StoreError::Sql(error) }
    }
}

impl From<sqlx::migrate::MigrateError> for StoreError {
    fn from(error: sqlx::migrate::MigrateError) -> Self {
        match error {
            sqlx::migrate::MigrateError::Execute(error) => error.into(),
            other => StoreError::Sql(other.into()),
        }
    }
}

impl StoreError {
    /// What of the store does not work, and how, in words for everyone: no address, no name, no path. `None` for other
    /// errors.
    pub fn outage(&self) -> Option<String> {
        let (part, why) = match self {
            StoreError::Unavailable(why) => ("database", why),
            StoreError::LogStore(why) => ("log store", why),
            _ => return None,
        };
        let says = |signs: &[&str]| signs.iter().any(|sign| why.contains(sign));
        let fault = if says(&["is full", "No space left", "could not extend file", "os error 28"]) {
            "takes nothing: its disk is full"
        } else if says(&["readonly", "read-only", "Read-only"]) {
            "takes nothing: it is read only"
        } else if says(&["is it mounted"]) {
            "is not what it was at the server's start: its folder may not be mounted"
        } else if says(&["no answer within", "timed out", "locked"]) {
            "did not answer in time"
        } else if says(&["Permission denied", "AccessDenied", "Forbidden", "403"]) {
            "refuses the server"
        } else {
            "does not answer"
        };
        Some(format!("The {part} {fault}."))
    }

    /// True when PostgreSQL undid the transaction because it collided with another one: the same call, made again,
    /// works.
    pub(crate) fn is_collision(&self) -> bool {
        let StoreError::Sql(sqlx::Error::Database(error)) = self else { return false };
        error.code().is_some_and(|code| matches!(&*code, "40001" | "40P01"))
    }
}

/// Codes of `PostgreSQL` have five characters, those of `SQLite` are decimal numbers of up to four, whose low byte
/// is the kind.
fn code_heals(code: &str) -> bool {
    if code.len() == 5 {
        // Connection, out of resources (disk, memory, connections), administrator, read only, input and output.
        return matches!(&code[..2], "08" | "53" | "58") || code.starts_with("57P") || code == "25006";
    }
    // Busy, locked, no memory, read only, input and output, full, cannot open.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, 5 | 6 | 7 | 8 | 10 | 13 | 14))
}

#[cfg(test)]
mod tests {
    use super::{StoreError, code_heals};

    #[test]
    fn an_outage_is_told_without_addresses() {
        let check =
            |error: StoreError, want: &str| assert_eq!(error.outage().as_deref(), Some(want), "{error}");
        let database = |why: &str| StoreError::Unavailable(why.to_owned());
        check(
            database("error returned from database: (code: 13) database or disk is full"),
            "The database takes nothing: its disk is full.",
        );
        check(database("no answer within 20 s (claim)"), "The database did not answer in time.");
        check(
            database("attempt to write a readonly database"),
            "The database takes nothing: it is read only.",
        );
        check(
            database("error communicating with database: 10.0.0.7 Connection refused"),
            "The database does not answer.",
        );
        let store =
            StoreError::LogStore("file:///srv/x is not what it was at the start: is it mounted?".to_owned());
        check(
            store,
            "The log store is not what it was at the server's start: its folder may not be mounted.",
        );
        assert_eq!(StoreError::Stale.outage(), None);
    }

    #[test]
    fn what_heals() {
        // PostgreSQL: connection gone, disk full, shutdown, read only. SQLite: busy, busy snapshot, full, read only.
        for code in ["08006", "53100", "57P01", "25006", "5", "517", "13", "8", "1032"] {
            assert!(code_heals(code), "{code}");
        }
        // PostgreSQL: unique, deadlock, syntax. SQLite: unique, foreign key, error.
        for code in ["23505", "40P01", "42601", "2067", "787", "1"] {
            assert!(!code_heals(code), "{code}");
        }
    }
}
