//! What a worker is told about a job.

use ocelot_api::proto::{Lease as ProtoLease, Offer, StageRef, Variable};
use ocelot_model::Status;
use ocelot_model::pipeline::variable_names;
use ocelot_store::{BuildFilter, Claimed, Lease, StoreError, Upstream};

use crate::App;
use crate::builds::clone;
use crate::builds::secrets::{Refused, give};

/// Longest value of a variable, in bytes.
const VALUE_MAX: usize = 64 << 10;

/// The offer of a claimed job.
pub(super) async fn of(app: &App, claimed: &Claimed) -> Result<Offer, Refused> {
    let build = &claimed.build;
    let variables = variables(app, claimed).await?;
    let given = give(app, claimed).await?;
    let mut notes = given.notes;
    let (origin, spec) = (build.trust.origin, &claimed.spec);
    if origin.priority(spec) != spec.priority {
        notes.push(format!("This build is not trusted, so its priority of {} did not count", spec.priority));
    }
    Ok(Offer {
        lease: Some(to_proto(&claimed.lease)),
        build_number: build.number.0,
        job_id: claimed.job_id.0,
        repo: build.repo.name.to_string(),
        clone_url: build.repo.clone_url.clone(),
        commit: build.commit.clone(),
        branch: build.branch.clone(),
        job_json: serde_json::to_string(spec).map_err(|e| StoreError::Corrupt(e.to_string()))?,
        stages: claimed.stages.iter().map(|(id, name)| StageRef { id: id.0, name: name.clone() }).collect(),
        variables,
        allow_local: app.config.allow_local_repos,
        ca: clone::ca(app, &build.repo.name).await?.unwrap_or_default(),
        untrusted: !origin.is_trusted(),
        credentials: given.credentials,
        notes,
    })
}

/// A lease as the protocol writes it.
pub(super) fn to_proto(lease: &Lease) -> ProtoLease {
    ProtoLease { attempt_id: lease.attempt_id.0, attempt: lease.attempt, token: lease.token.clone().into() }
}

async fn variables(app: &App, claimed: &Claimed) -> Result<Vec<Variable>, StoreError> {
    let build = &claimed.build;
    let last_good = BuildFilter {
        repo: Some(build.repo.id),
        branch: Some(build.branch.clone()),
        status: Some(Status::Passed),
        // A fork's branch may have the same name.
        trusted: Some(true),
        before: Some(build.number),
        ..BuildFilter::default()
    };
    let last_good = app.store.list_builds(&last_good, 1).await?.pop().map(|b| b.commit).unwrap_or_default();
    let short: String = build.commit.chars().take(7).collect();
    let number = build.number.to_string();
    let attempt = claimed.lease.attempt.to_string();
    let page = format!("{}/builds/{number}", app.public_url);
    let repo = build.repo.name.to_string();
    let request = build.pull_request.map(|number| number.to_string());
    let only_some = [("OCELOT_PR", request.as_deref()), ("OCELOT_TAG", build.tag.as_deref())];
    let all = [
        ("CI", "true"),
        ("OCELOT", "true"),
        ("GIT_HASH", &build.commit),
        ("GIT_HASH_SHORT", &short),
        ("GIT_BRANCH", &build.branch),
        ("GIT_PREVIOUS_SUCCESSFUL_COMMIT", &last_good),
        ("BUILD_ID", &number),
        ("OCELOT_REPO", &repo),
        ("OCELOT_EVENT", build.event.as_str()),
        ("OCELOT_BUILD_URL", &page),
        ("OCELOT_JOB", &claimed.spec.name),
        ("OCELOT_ATTEMPT", &attempt),
        ("OCELOT_COMMIT_MESSAGE", &build.message),
        ("OCELOT_AUTHOR", &build.author),
    ];
    let only_some = only_some.into_iter().filter_map(|(name, value)| Some((name, value?)));
    let mut variables: Vec<Variable> = all
        .into_iter()
        .chain(only_some)
        .map(|(name, value)| Variable { name: name.to_owned(), value: cut(value) })
        .collect();
    for upstream in app.store.upstreams_of(&[build.number]).await?.into_values() {
        variables.extend(of_upstream(&upstream));
    }
    Ok(variables)
}

/// What a build is told of the one that it follows.
fn of_upstream(upstream: &Upstream) -> impl Iterator<Item = Variable> {
    let short: String = upstream.commit.chars().take(7).collect();
    let values = [upstream.commit.clone(), short, upstream.branch.clone(), upstream.build.to_string()];
    let names = variable_names(&upstream.alias);
    names.into_iter().zip(values).map(|(name, value)| Variable { name, value: cut(&value) })
}

/// No NUL, and at most [`VALUE_MAX`] bytes, cut between characters.
fn cut(value: &str) -> String {
    let mut end = value.len().min(VALUE_MAX);
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    value[..end].replace('\0', "")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_values_are_cut_between_characters() {
        let long = "é".repeat(VALUE_MAX);
        assert_eq!(cut(&long).len(), VALUE_MAX);
        assert_eq!(cut(&format!("a{long}")).len(), VALUE_MAX - 1);
        assert_eq!(cut("a\0b"), "ab");
    }
}
