//! Credentials as the files that tools read. Pure: a list of paths and what stands there.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ocelot_api::proto::Credential;
use ocelot_model::secret::Kind;
use serde_json::{Value, json};

use crate::executor::File;

/// The files of these credentials; those of one kind share a file where the tool has only one.
pub(crate) fn files(credentials: &[&Credential]) -> Vec<File> {
    let mut files = Vec::new();
    for kind in Kind::ALL {
        let of: Vec<&Credential> =
            credentials.iter().copied().filter(|one| one.kind == kind.as_str()).collect();
        if !of.is_empty() {
            files.extend(of_kind(kind, &of));
        }
    }
    files
}

/// What each tool reads, and where.
fn of_kind(kind: Kind, of: &[&Credential]) -> Vec<File> {
    match kind {
        Kind::File => of.iter().map(|one| file(field(one, "path"), &one.value)).collect(),
        Kind::Ssh => {
            let key = |one: &&Credential| file(&format!("~/.ssh/{}", id(one)), with_end(&one.value));
            of.iter().map(key).collect()
        }
        Kind::Kubeconfig => {
            let path = |one: &Credential| match one.fields.get("id").map(String::as_str) {
                None | Some("THERECANONLYBEONE") => "~/.kube/config".to_owned(),
                Some(id) => format!("~/.kube/{id}"),
            };
            of.iter().map(|one| file(&path(one), &one.value)).collect()
        }
        Kind::Docker => vec![file("~/.docker/config.json", json(&docker(of)))],
        Kind::Maven => vec![file("~/.m2/settings.xml", maven(of))],
        Kind::Npm => vec![file("~/.npmrc", lines(of, npm))],
        Kind::Pypi => vec![file("~/.pypirc", pypirc(of)), file("~/.config/pip/pip.conf", pip(of))],
        Kind::Helm => vec![file("~/.config/helm/repositories.yaml", json(&helm(of)))],
        Kind::S3 => vec![file("~/.mc/config.json", json(&mc(of)))],
        Kind::Env | Kind::Vcs | Kind::Notify => Vec::new(),
    }
}

fn file(path: &str, content: impl AsRef<[u8]>) -> File {
    File { path: path.to_owned(), content: content.as_ref().to_vec() }
}

fn field<'c>(one: &'c Credential, name: &str) -> &'c str {
    one.fields.get(name).map(String::as_str).unwrap_or_default()
}

/// What the tool calls it.
fn id(one: &Credential) -> &str {
    one.fields.get("id").unwrap_or(&one.name)
}

fn text(one: &Credential) -> String {
    String::from_utf8_lossy(&one.value).into_owned()
}

/// ssh reads no key whose last line has no end.
fn with_end(value: &[u8]) -> Vec<u8> {
    [value.trim_ascii_end(), b"\n"].concat()
}

fn lines(of: &[&Credential], each: impl Fn(&Credential) -> String) -> String {
    of.iter().map(|one| each(one)).collect()
}

fn json(value: &Value) -> String {
    format!("{value:#}\n")
}

/// A map with an entry for each.
fn each(of: &[&Credential], entry: impl Fn(&Credential) -> (String, Value)) -> Value {
    Value::Object(of.iter().map(|one| entry(one)).collect())
}

fn docker(of: &[&Credential]) -> Value {
    let auths = each(of, |one| {
        let pair = format!("{}:{}", field(one, "username"), text(one));
        (registry(field(one, "url")).to_owned(), json!({ "auth": STANDARD.encode(pair) }))
    });
    json!({ "auths": auths })
}

/// A registry as Docker names it.
pub(super) fn registry(url: &str) -> &str {
    const HUB: &str = "https://index.docker.io/v1/";
    let host = host(url);
    if matches!(host, "docker.io" | "index.docker.io" | "registry-1.docker.io" | "hub.docker.com") {
        HUB
    } else {
        host
    }
}

/// `host:port` of a URL, or of a bare host.
pub(super) fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap_or(rest)
}

fn mc(of: &[&Credential]) -> Value {
    let hosts = each(of, |one| {
        let host = json!({ "url": field(one, "url"), "accessKey": field(one, "username"), "secretKey": text(one),
            "api": "s3v4", "lookup": "auto" });
        (id(one).to_owned(), host)
    });
    json!({ "version": "9", "hosts": hosts })
}

/// JSON is YAML.
fn helm(of: &[&Credential]) -> Value {
    let repository = |one: &&Credential| {
        let (username, password) = match field(one, "username") {
            "" => (String::new(), String::new()),
            user => (user.to_owned(), text(one)),
        };
        json!({ "name": id(one), "url": field(one, "url"), "username": username, "password": password })
    };
    let repositories: Vec<Value> = of.iter().map(repository).collect();
    json!({ "apiVersion": "v1", "repositories": repositories })
}

/// `//host/path/:_authToken=…`, and the registry itself: of one scope, or of all.
fn npm(one: &Credential) -> String {
    let url = match field(one, "url") {
        "" => "https://registry.npmjs.org",
        url => url.trim_end_matches('/'),
    };
    let place = url.split_once(':').map_or(url, |(_, place)| place);
    let of = match field(one, "scope") {
        "" => "registry".to_owned(),
        scope => format!("@{}:registry", scope.trim_start_matches('@')),
    };
    format!("{of}={url}/\n{place}/:_authToken={}\n", text(one))
}

fn python_user(one: &Credential) -> &str {
    match field(one, "username") {
        "" => "__token__",
        user => user,
    }
}

fn pypirc(of: &[&Credential]) -> String {
    let servers: Vec<&str> = of.iter().map(|one| python_id(one)).collect();
    let entries = lines(of, |one| {
        let url = match field(one, "url") {
            "" => String::new(),
            url => format!("repository = {url}\n"),
        };
        let (id, user) = (python_id(one), python_user(one));
        format!("\n[{id}]\n{url}username = {user}\npassword = {}\n", text(one).replace('%', "%%"))
    });
    format!("[distutils]\nindex-servers =\n    {}\n{entries}", servers.join("\n    "))
}

/// Tools know the public index by this name.
fn python_id(one: &Credential) -> &str {
    let public = !one.fields.contains_key("url") && !one.fields.contains_key("id");
    if public { "pypi" } else { id(one) }
}

/// The public index stays the first one.
fn pip(of: &[&Credential]) -> String {
    let indexes = lines(of, |one| match field(one, "url").split_once("://") {
        Some((scheme, rest)) => {
            let (user, password) = (percent(python_user(one)), percent(&text(one)));
            format!("    {scheme}://{user}:{password}@{rest}\n")
        }
        None => String::new(),
    });
    if indexes.is_empty() { String::new() } else { format!("[global]\nextra-index-url =\n{indexes}") }
}

fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

fn maven(of: &[&Credential]) -> String {
    let servers = lines(of, |one| {
        format!(
            "    <server>\n      <id>{}</id>\n      <username>{}</username>\n      <password>{}</password>\n    </server>\n",
            xml(id(one)),
            xml(field(one, "username")),
            xml(&text(one))
        )
    });
    let repositories = lines(of, |one| match field(one, "url") {
        "" => String::new(),
        url => format!(
            "        <repository>\n          <id>{}</id>\n          <url>{}</url>\n        </repository>\n",
            xml(id(one)),
            xml(url)
        ),
    });
    format!(
        "<settings>\n  <servers>\n{servers}  </servers>\n  <profiles>\n    <profile>\n      <id>ocelot</id>\n      \
         <repositories>\n{repositories}      </repositories>\n    </profile>\n  </profiles>\n  <activeProfiles>\n    \
         <activeProfile>ocelot</activeProfile>\n  </activeProfiles>\n</settings>\n"
    )
}

fn xml(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&apos;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: Kind, name: &str, fields: &[(&str, &str)], value: &str) -> Credential {
        Credential {
            name: name.into(),
            kind: kind.as_str().into(),
            fields: fields.iter().map(|(a, b)| ((*a).into(), (*b).into())).collect(),
            value: value.as_bytes().to_vec().into(),
            for_worker: false,
            for_stages: true,
        }
    }

    #[track_caller]
    fn check(of: &[Credential], want: &[(&str, &[&str])]) {
        let found = files(&of.iter().collect::<Vec<_>>());
        let paths: Vec<&str> = found.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, want.iter().map(|(path, _)| *path).collect::<Vec<_>>());
        for (file, (path, parts)) in found.iter().zip(want) {
            let text = String::from_utf8(file.content.clone()).unwrap();
            for part in *parts {
                assert!(text.contains(part), "{path} has no {part}:\n{text}");
            }
        }
    }

    #[test]
    fn what_tools_read() {
        let at = |url: &'static str| [("url", url), ("username", "ci")];
        check(&[one(Kind::Env, "A", &[], "hunter2")], &[]);
        check(&[one(Kind::File, "A", &[("path", "~/.a")], "x\0y")], &[("~/.a", &["x\0y"])]);
        check(&[one(Kind::Ssh, "DEPLOY", &[], "KEY")], &[("~/.ssh/DEPLOY", &["KEY\n"])]);
        check(
            &[one(Kind::Kubeconfig, "A", &[], "a: b"), one(Kind::Kubeconfig, "B", &[("id", "prod")], "c: d")],
            &[("~/.kube/config", &["a: b"]), ("~/.kube/prod", &["c: d"])],
        );
        check(
            &[
                one(Kind::Docker, "A", &at("https://r.example:5000/v2/"), "pass"),
                one(Kind::Docker, "B", &at("docker.io"), "pass"),
            ],
            &[(
                "~/.docker/config.json",
                &["\"r.example:5000\"", "\"Y2k6cGFzcw==\"", "https://index.docker.io/v1/"],
            )],
        );
        check(
            &[one(
                Kind::Maven,
                "NEXUS",
                &[("username", "ci"), ("id", "my-nexus"), ("url", "https://n/r")],
                "a<b&c",
            )],
            &[(
                "~/.m2/settings.xml",
                &["<id>my-nexus</id>", "<password>a&lt;b&amp;c</password>", "<url>https://n/r</url>"],
            )],
        );
        check(
            &[
                one(Kind::Npm, "A", &[], "token1"),
                one(Kind::Npm, "B", &[("url", "https://n.example/npm/"), ("scope", "@acme")], "token2"),
            ],
            &[(
                "~/.npmrc",
                &[
                    "registry=https://registry.npmjs.org/\n//registry.npmjs.org/:_authToken=token1\n",
                    "@acme:registry=https://n.example/npm/\n//n.example/npm/:_authToken=token2\n",
                ],
            )],
        );
        check(
            &[
                one(Kind::Pypi, "A", &[], "pypi-x"),
                one(Kind::Pypi, "OURS", &at("https://p.example/simple"), "a/b%"),
            ],
            &[
                (
                    "~/.pypirc",
                    &[
                        "[pypi]\nusername = __token__\npassword = pypi-x",
                        "[OURS]\nrepository = https://p.example/simple\nusername = ci\npassword = a/b%%",
                    ],
                ),
                (
                    "~/.config/pip/pip.conf",
                    &["extra-index-url =\n    https://ci:a%2Fb%25@p.example/simple\n"],
                ),
            ],
        );
        check(
            &[one(Kind::Helm, "CHARTS", &at("https://c.example"), "pass")],
            &[("~/.config/helm/repositories.yaml", &["\"name\": \"CHARTS\"", "\"password\": \"pass\""])],
        );
        check(
            &[one(Kind::S3, "STORE", &at("https://s3.example"), "key1")],
            &[(
                "~/.mc/config.json",
                &["\"version\": \"9\"", "\"STORE\"", "\"accessKey\": \"ci\"", "\"secretKey\": \"key1\""],
            )],
        );
    }
}
