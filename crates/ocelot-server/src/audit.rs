//! Writes down what was done without a change to the database: tests that were sent, webhooks that were refused. What changes
//! something is written down by the store, with the change.

use ocelot_model::AuditAction;
use ocelot_store::NewAudit;

use crate::App;

/// Writes it down. `subject` is what it was done to; `detail` is in words and holds no secret.
pub(crate) async fn note(app: &App, actor: &str, action: AuditAction, subject: &str, detail: &str) {
    if let Err(error) = app.store.note(&NewAudit { actor, action, subject, detail }).await {
        tracing::error!(%error, actor, subject, "the audit misses a row: {actor}: {action} {subject} {detail}");
    }
}
