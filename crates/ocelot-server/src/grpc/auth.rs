//! Who calls: a worker's token in the metadata of each call.

use ocelot_model::access::Role;
use ocelot_store::Token;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::refusal;
use crate::App;

/// The token of role `worker` that came with the call.
pub(super) async fn worker_token(app: &App, metadata: &MetadataMap) -> Result<Token, Status> {
    let secret = metadata
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .ok_or_else(|| Status::unauthenticated("a worker's token is missing"))?;
    match app.store.find_token(secret).await.map_err(|error| refusal(&error))? {
        Some(token) if token.role == Role::Worker => Ok(token),
        Some(token) => Err(Status::unauthenticated(format!(
            "the token `{}` has role {}, a worker needs one of role worker",
            token.name, token.role
        ))),
        None => Err(no_token()),
    }
}

/// The answer to who is not known, or not any more.
pub(super) fn no_token() -> Status {
    Status::unauthenticated("no worker's token has this secret, or it has ended")
}
