//! The audit, as the store takes and gives it.

use jiff::Timestamp;
use ocelot_model::AuditAction;

/// What somebody did.
#[derive(Debug, Clone, Copy)]
pub struct NewAudit<'a> {
    /// Who: the name of a token, or `build 7`.
    pub actor: &'a str,
    /// What.
    pub action: AuditAction,
    /// To what: the name of a token, the handle of a repository, `build 7`.
    pub subject: &'a str,
    /// In words; never a secret.
    pub detail: &'a str,
}

/// The same with its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number, rising.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What.
    pub action: AuditAction,
    /// To what.
    pub subject: String,
    /// In words.
    pub detail: String,
}

/// Which rows, newest first.
#[derive(Debug, Clone, Default)]
pub struct AuditFilter {
    /// Only of this actor.
    pub actor: Option<String>,
    /// Only this action.
    pub action: Option<AuditAction>,
    /// Only what was done to this.
    pub subject: Option<String>,
    /// Only from this time on.
    pub since: Option<Timestamp>,
    /// Only before this time.
    pub until: Option<Timestamp>,
    /// Only with a smaller number.
    pub before: Option<i64>,
}
