//! Who calls: a worker's token, or a secret of its own, in the metadata of each call.

use ocelot_model::access::Role;
use ocelot_store::{Enrolment, Identity, Lease};
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{hello, refusal};
use crate::App;

/// The secret of a call.
pub(super) fn secret(metadata: &MetadataMap) -> Result<&str, Status> {
    metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Status::unauthenticated("a worker's token is missing"))
}

/// The worker, or the token of role `worker`, that a call came with.
pub(super) async fn caller(app: &App, metadata: &MetadataMap) -> Result<Identity, Status> {
    let secret = secret(metadata)?;
    if secret.starts_with(hello::OWN) {
        let worker = app.store.find_worker(secret).await.map_err(|error| refusal(&error))?;
        return worker
            .map(Identity::Own)
            .ok_or_else(|| Status::unauthenticated("no worker has this identity (any more)"));
    }
    match app.store.find_token(secret).await.map_err(|error| refusal(&error))? {
        Some(token) if token.role == Role::Worker => Ok(Identity::Token(token.id)),
        Some(token) => Err(Status::unauthenticated(format!(
            "the token `{}` has role {}, a worker needs one of role worker",
            token.name, token.role
        ))),
        None if secret.starts_with(Enrolment::PREFIX) => Err(Status::unauthenticated(
            "this is an enrolment token, and the worker is too old to enrol with it: bring it up to date",
        )),
        None => Err(unknown()),
    }
}

/// The answer to who is not known, or not any more.
pub(super) fn unknown() -> Status {
    Status::unauthenticated("no worker's token has this secret, or it has ended")
}

/// A worker writes about what it was given itself. A lease that is nobody's any more is for others to refuse.
pub(super) async fn check_own(app: &App, caller: Identity, lease: &Lease) -> Result<(), Status> {
    match app.store.is_anothers(lease, caller).await {
        Ok(false) => Ok(()),
        Ok(true) => Err(Status::permission_denied("this attempt was leased to another worker")),
        Err(error) => Err(refusal(&error)),
    }
}
