//! Images: there already, or pulled with the progress in the log.
//!
//! An image that was pulled with a credential is asked for again each time: who has no credential for it gets it from no one,
//! even when it is there.

use std::time::Duration;

use bollard::auth::DockerCredentials;
use bollard::query_parameters::CreateImageOptionsBuilder;
use futures_util::TryStreamExt as _;
use ocelot_model::pipeline::spec::Pull;

use super::Docker;
use crate::executor::error::engine_words;
use crate::executor::{ExecutorError, RegistryLogin, SetupLog};

/// A registry that says nothing for so long is given up.
const SILENCE: Duration = Duration::from_mins(5);

/// What a registry or engine says when another try would say the same.
const FINAL: [&str; 8] = [
    "manifest unknown",
    "not found",
    "pull access denied",
    "repository does not exist",
    "unauthorized",
    "denied:",
    "invalid reference format",
    "no matching manifest",
];

impl Docker {
    /// Makes sure of the image; answers its variables.
    pub(in crate::executor) async fn have_image(
        &self,
        image: &str,
        pull: Pull,
        login: Option<&RegistryLogin>,
        log: &SetupLog,
    ) -> Result<Vec<(String, String)>, ExecutorError> {
        let there = match self.0.api.inspect_image(image).await {
            Ok(there) => Some(there),
            Err(bollard::errors::Error::DockerResponseServerError { status_code: 404, .. }) => None,
            Err(error) => return Err(refused(image, &error)),
        };
        let before = there.as_ref().and_then(|there| there.id.clone());
        let (there, pulled) = match (there, pull) {
            (Some(there), Pull::IfMissing) if !self.0.images.is_private(image) => (there, false),
            (_, Pull::IfMissing | Pull::Always) => {
                self.pull(image, login, log).await?;
                let there = self.0.api.inspect_image(image).await;
                (there.map_err(|error| refused(image, &error))?, true)
            }
        };
        let id = there.id.unwrap_or_default();
        self.0.images.used(image, before.as_deref(), pulled, &id);
        if pulled && login.is_some() {
            self.0.images.make_private(image);
        }
        let short = id.strip_prefix("sha256:").unwrap_or(&id).get(..12).unwrap_or_default();
        let _ = log.send(format!("Image {image} ({short})\n").into_bytes()).await;
        Ok(pairs(there.config.and_then(|config| config.env)))
    }

    async fn pull(
        &self,
        image: &str,
        login: Option<&RegistryLogin>,
        log: &SetupLog,
    ) -> Result<(), ExecutorError> {
        let refused = |image: &str, error: &bollard::errors::Error| match login {
            Some(login) => explained(refused(image, error), login),
            None => refused(image, error),
        };
        let credentials = login.map(|login| DockerCredentials {
            username: Some(login.user.clone()),
            password: Some(login.password.clone()),
            serveraddress: Some(login.server.clone()),
            ..DockerCredentials::default()
        });
        let _ = log.send(format!("Pulling {image}\n").into_bytes()).await;
        let options = CreateImageOptionsBuilder::new().from_image(&with_tag(image)).build();
        let mut news = self.0.api.create_image(Some(options), None, credentials);
        loop {
            let Ok(next) = tokio::time::timeout(SILENCE, news.try_next()).await else {
                let message = format!("the registry said nothing for {} s", SILENCE.as_secs());
                return Err(ExecutorError::Image { image: image.into(), message, transient: true });
            };
            let Some(item) = next.map_err(|error| refused(image, &error))? else { return Ok(()) };
            if let Some(message) = item.error_detail.and_then(|detail| detail.message) {
                let transient = is_transient(&message);
                let error = ExecutorError::Image { image: image.into(), message, transient };
                return Err(match login {
                    Some(login) => explained(error, login),
                    None => error,
                });
            }
            // Only what happened, not how far it got: a log is not a progress bar.
            let status = item.status.unwrap_or_default();
            if item.progress_detail.is_none_or(|detail| detail.total.is_none()) && !status.is_empty() {
                let layer = item.id.map(|id| format!("{id}: ")).unwrap_or_default();
                let _ = log.send(format!("{layer}{status}\n").into_bytes()).await;
            }
        }
    }
}

fn refused(image: &str, error: &bollard::errors::Error) -> ExecutorError {
    let message = engine_words(error);
    ExecutorError::Image { image: image.into(), transient: is_transient(&message), message }
}

/// A registry's refusal, and which credential it refused.
fn explained(error: ExecutorError, login: &RegistryLogin) -> ExecutorError {
    match error {
        ExecutorError::Image { image, message, transient: false } => {
            let name = &login.name;
            let message = format!(
                "{message} (with the credential {name}: it is wrong or has expired, or may not read this image; \
                 `ocelot creds docker add {name}` changes it)"
            );
            ExecutorError::Image { image, message, transient: false }
        }
        other => other,
    }
}

fn is_transient(message: &str) -> bool {
    let message = message.to_lowercase();
    !FINAL.iter().any(|words| message.contains(words))
}

/// Without a tag or digest the engine would pull every tag there is.
pub(super) fn with_tag(image: &str) -> String {
    let name = image.rsplit('/').next().unwrap_or(image);
    if name.contains(':') || name.contains('@') { image.to_owned() } else { format!("{image}:latest") }
}

/// `NAME=VALUE` words as pairs.
pub(super) fn pairs(env: Option<Vec<String>>) -> Vec<(String, String)> {
    let split = |pair: &String| pair.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
    env.unwrap_or_default().iter().filter_map(split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags() {
        let check = |image: &str, want: &str| assert_eq!(with_tag(image), want);
        check("busybox", "busybox:latest");
        check("busybox:1", "busybox:1");
        check("localhost:5000/a/b", "localhost:5000/a/b:latest");
        check("a@sha256:00", "a@sha256:00");
    }

    #[test]
    fn what_may_help_again() {
        let check = |message: &str, want: bool| assert_eq!(is_transient(message), want, "{message}");
        check("manifest for x:latest not found: manifest unknown: manifest unknown", false);
        check("pull access denied for x, repository does not exist or may require 'docker login'", false);
        check("Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused", true);
        check("received unexpected HTTP status: 500 Internal Server Error", true);
    }
}
