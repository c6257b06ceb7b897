//! What a job may know: the secrets and credentials that came with its offer, and how each reaches its stages.

use std::collections::BTreeMap;
use std::sync::Arc;

use ocelot_api::proto::{Credential, Offer};
use ocelot_model::login::{Candidate, Login};
use ocelot_model::secret::Kind;

mod files;

use crate::executor::{File, RegistryLogin};
use crate::mask::Patterns;

/// See the module.
pub(crate) struct Secrets {
    all: Vec<Credential>,
    patterns: Option<Arc<Patterns>>,
    untrusted: bool,
}

impl Secrets {
    pub(crate) fn of(offer: &Offer) -> Secrets {
        let all = offer.credentials.clone();
        let patterns = Patterns::of(all.iter().map(|one| &one.value[..]));
        Secrets { all, patterns, untrusted: offer.untrusted }
    }

    /// What is hidden in logs; `None` when there is nothing.
    pub(crate) fn patterns(&self) -> Option<Arc<Patterns>> {
        self.patterns.clone()
    }

    /// The same for the logs of stages. One that is not trusted knows nothing that is worth hiding, and stars in its log
    /// would tell it whether it has guessed the password with which its commit was cloned.
    pub(crate) fn patterns_of_stages(&self) -> Option<Arc<Patterns>> {
        if self.untrusted { None } else { self.patterns() }
    }

    /// The same text without secrets.
    pub(crate) fn hide(&self, text: String) -> String {
        match &self.patterns {
            Some(patterns) => patterns.hide(&text),
            None => text,
        }
    }

    /// With what the repository at this address is cloned.
    pub(crate) fn login(&self, url: &str) -> Option<Login> {
        let of = |kind: Kind| self.all.iter().find(|one| one.for_worker && one.kind == kind.as_str());
        let (kind, one) = [Kind::Vcs, Kind::Ssh].into_iter().find_map(|kind| Some((kind, of(kind)?)))?;
        let fields: BTreeMap<String, String> = one.fields.clone().into_iter().collect();
        let candidate = Candidate { kind, fields: &fields };
        Some(candidate.login(&one.name, url, &String::from_utf8_lossy(&one.value)))
    }

    /// With what an image is pulled.
    pub(crate) fn registry(&self, image: &str) -> Option<RegistryLogin> {
        let server = files::registry(registry_of(image));
        let here = |one: &&Credential| {
            one.for_worker
                && one.kind == Kind::Docker.as_str()
                && files::registry(field(one, "url")) == server
        };
        self.all.iter().find(here).map(|one| RegistryLogin {
            name: one.name.clone(),
            server: server.to_owned(),
            user: field(one, "username").to_owned(),
            password: String::from_utf8_lossy(&one.value).into_owned(),
        })
    }

    /// Files of a stage that names these; `~/…` is its home folder.
    pub(crate) fn files(&self, names: &[&str]) -> Vec<File> {
        files::files(&self.named(names).collect::<Vec<_>>())
    }

    /// Variables of a stage that names these.
    pub(crate) fn variables(&self, names: &[&str]) -> Vec<(String, String)> {
        let named = self.named(names).filter(|one| one.kind == Kind::Env.as_str());
        named.map(|one| (one.name.clone(), String::from_utf8_lossy(&one.value).into_owned())).collect()
    }

    /// Those that a stage which names these may have. What the worker clones with may bear a name that a stage names.
    fn named(&self, names: &[&str]) -> impl Iterator<Item = &Credential> {
        self.all.iter().filter(move |one| one.for_stages && names.contains(&one.name.as_str()))
    }
}

/// The same files in a home folder.
pub(crate) fn placed(files: Vec<File>, home: &str) -> Vec<File> {
    let home = home.trim_end_matches('/');
    let place = |file: File| match file.path.strip_prefix("~/") {
        Some(rest) => File { path: format!("{home}/{rest}"), ..file },
        None => file,
    };
    files.into_iter().map(place).collect()
}

fn field<'c>(one: &'c Credential, name: &str) -> &'c str {
    one.fields.get(name).map(String::as_str).unwrap_or_default()
}

/// The registry of an image: a first part that looks like a host, else Docker's own.
fn registry_of(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => host,
        Some(_) | None => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registries() {
        let check = |image: &str, want: &str| assert_eq!(registry_of(image), want);
        check("busybox", "docker.io");
        check("library/busybox:1.36", "docker.io");
        check("docker.io/library/busybox", "docker.io");
        check("localhost/a", "localhost");
        check("127.0.0.1:5000/team/app:1", "127.0.0.1:5000");
        check("registry.example.org/app@sha256:00", "registry.example.org");
    }

    #[test]
    fn what_the_worker_clones_with_is_nothing_for_stages() {
        let key = |for_stages: bool| Credential {
            name: "DEPLOY".into(),
            kind: "ssh".into(),
            fields: std::collections::HashMap::default(),
            value: b"PRIVATE KEY".to_vec().into(),
            for_worker: true,
            for_stages,
        };
        let check = |untrusted: bool, for_stages: bool, files: usize| {
            let offer = Offer { untrusted, credentials: vec![key(for_stages)], ..Offer::default() };
            let secrets = Secrets::of(&offer);
            assert!(secrets.login("ssh://git@host/a.git").is_some());
            assert_eq!(secrets.files(&["DEPLOY"]).len(), files);
            assert!(secrets.variables(&["DEPLOY"]).is_empty());
            // The setup may speak of it, so its log is always masked.
            assert_eq!(secrets.hide("PRIVATE KEY".into()), "***");
            assert_eq!(secrets.patterns_of_stages().is_some(), !untrusted);
        };
        check(false, true, 1);
        check(false, false, 0);
        check(true, false, 0);
    }

    #[test]
    fn files_go_home() {
        let file = |path: &str| File { path: path.to_owned(), content: Vec::new() };
        let check = |path: &str, home: &str, want: &str| {
            assert_eq!(placed(vec![file(path)], home), [file(want)]);
        };
        check("~/.npmrc", "/root", "/root/.npmrc");
        check("~/.npmrc", "/", "/.npmrc");
        check("/etc/x", "/root", "/etc/x");
    }
}
