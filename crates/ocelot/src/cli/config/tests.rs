use std::collections::BTreeMap;

use super::*;

/// A good value of each option that takes one, three times over.
const SAMPLES: &[(&str, [&str; 3])] = &[
    ("address_file", ["/a/flag", "/a/variable", "/a/file"]),
    ("ca_cert", ["/c/flag", "/c/variable", "/c/file"]),
    ("data", ["/d/flag", "/d/variable", "/d/file"]),
    ("database_url", ["sqlite:///flag.db", "postgres://variable/d", "sqlite:///file.db"]),
    ("executor", ["host", "docker", "host"]),
    ("images_max", ["1GiB", "0", "3GiB"]),
    ("keep_builds", ["1y", "3y", "forever"]),
    ("keep_images", ["1d", "2w", "forever"]),
    ("keep_last", ["1", "0", "3"]),
    ("keep_logs", ["1d", "36h", "0"]),
    ("keep_mirrors", ["1d", "2w", "forever"]),
    ("keep_workers", ["1d", "2w", "forever"]),
    ("key_file", ["/k/flag", "/k/variable", "/k/file"]),
    ("label", ["from=flag", "from=variable", "from=file"]),
    ("lease_grace", ["1s", "2s", "3s"]),
    ("lease_hard_limit", ["1m", "2m", "3m"]),
    ("listen", ["127.0.0.1:1", "127.0.0.1:2", "[::1]:3"]),
    ("log", ["info", "debug", "ocelot_server=trace"]),
    ("log_cap", ["1MiB", "2MiB", "3MiB"]),
    ("log_store", ["file:///l/flag", "s3://bucket/variable", "file:///l/file?shared=true"]),
    ("max_cpu", ["1", "0.5", "16"]),
    ("max_jobs_per_repo", ["1", "2", "3"]),
    ("max_memory", ["1GiB", "2GiB", "512MiB"]),
    ("max_timeout", ["1h", "2h", "90m"]),
    ("metrics_listen", ["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"]),
    ("min_free", ["1GiB", "0", "3GiB"]),
    ("min_free_percent", ["1", "0", "90"]),
    ("mirrors_max", ["1GiB", "0", "3GiB"]),
    ("name", ["flag", "variable", "file"]),
    ("public_url", ["http://flag", "https://variable", "https://file"]),
    ("queue_timeout", ["1h", "2h", "3h"]),
    ("approval_timeout", ["1h", "2h", "3h"]),
    ("reconcile_every", ["1m", "2m", "3m"]),
    ("server", ["http://flag", "https://variable", "https://file"]),
    ("slots", ["1", "2", "3"]),
    ("stop_delay", ["1s", "2s", "3s"]),
    ("tls_cert", ["/tc/flag", "/tc/variable", "/tc/file"]),
    ("tls_key", ["/tk/flag", "/tk/variable", "/tk/file"]),
    ("token", ["flag", "variable", "file"]),
    ("token_file", ["/t/flag", "/t/variable", "/t/file"]),
    ("trusted_proxy", ["10.0.0.1", "10.0.0.2/31", "::1"]),
    ("worker_token_file", ["/w/flag", "/w/variable", "/w/file"]),
];

struct World {
    variables: BTreeMap<String, String>,
    file: String,
}

impl World {
    fn matches(&self, words: &[&str]) -> anyhow::Result<ArgMatches> {
        let words: Vec<OsString> = std::iter::once(&"ocelot").chain(words).map(OsString::from).collect();
        let variable = |name: &OsStr| self.variables.get(name.to_str()?).map(OsString::from);
        let given = flags(&words)?;
        let file = File::parse(Path::new("ocelot.toml"), &self.file)?;
        complete(&words, &path(&given), &variable, &file)
    }

    /// What an option of the chosen command is, as it was written.
    fn value(&self, words: &[&str], id: &str) -> Vec<String> {
        let matches = self.matches(words).expect("good options");
        let mut leaf = &matches;
        while let Some((_, inner)) = leaf.subcommand() {
            leaf = inner;
        }
        leaf.get_raw(id).into_iter().flatten().map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

fn world(variables: &[(&str, &str)], file: &str) -> World {
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    World { variables: variables.collect(), file: file.to_owned() }
}

#[track_caller]
fn refused(variables: &[(&str, &str)], file: &str, words: &[&str], parts: &[&str]) {
    let error = world(variables, file).matches(words).expect_err("it is wrong");
    let said = format!("{error:#}");
    for part in parts {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert_eq!(crate::exit::code(&error), crate::exit::USAGE, "{said}");
}

#[test]
fn every_option_of_a_role_comes_from_flag_variable_and_file() {
    let whole = Cli::command();
    let mut walked = 0;
    for role in ROLES {
        for arg in at(&whole, &[role.to_owned()]).get_arguments() {
            let Some(key) = key(arg) else { continue };
            let variable = format!("OCELOT_{}", key.to_uppercase());
            assert_eq!(arg.get_env(), Some(OsStr::new(&variable)), "the variable of --{key} of {role}");
            walked += 1;
            let id = arg.get_id().as_str();
            let long = arg.get_long().expect("a flag");
            if arg.get_action().takes_values() {
                let found = SAMPLES.iter().find(|(name, _)| *name == key);
                let (_, [flag, by_variable, by_file]) =
                    found.unwrap_or_else(|| panic!("give an example of {key} to SAMPLES"));
                let with = world(&[(&variable, by_variable)], &format!("{key} = \"{by_file}\"\n"));
                let word = format!("--{long}={flag}");
                assert_eq!(with.value(&[role, &word], id), [*flag], "{role} {word}");
                assert_eq!(with.value(&[role], id), [*by_variable], "{role} {variable}");
                let with = world(&[(&variable, "")], &with.file);
                assert_eq!(with.value(&[role], id), [*by_file], "{role} {key}");
            } else {
                let with = world(&[(&variable, "false")], &format!("{key} = true\n"));
                assert_eq!(with.value(&[role, &format!("--{long}")], id), ["true"], "{role} --{long}");
                assert_eq!(with.value(&[role], id), ["false"], "{role} {variable}");
                assert_eq!(world(&[], &with.file).value(&[role], id), ["true"], "{role} {key}");
                assert_eq!(world(&[], "").value(&[role], id), ["false"], "{role} {key}");
            }
        }
    }
    assert!(walked > 30, "{walked} options were walked");
}

#[test]
fn what_is_wrong_is_named_by_its_place() {
    for (key, bad) in [
        ("public_url", "nonsense"),
        ("public_url", "ftp://h"),
        ("public_url", "http://h/?q"),
        ("label", "novalue"),
        ("label", "os=plan9"),
        ("listen", "nowhere"),
        ("slots", "many"),
        ("trusted_proxy", "10.0.0.0/33"),
        ("trusted_proxy", "proxy.example.org"),
        ("lease_hard_limit", "soon"),
        ("executor", "podman"),
        ("keep_logs", "soon"),
        ("keep_builds", "2m"),
        ("keep_last", "some"),
        ("log_cap", "1MB"),
        ("min_free", "1GB"),
        ("min_free_percent", "91"),
        ("keep_images", "14"),
        ("mirrors_max", "-1"),
        ("log", "a=b=c"),
        ("log_store", "/var/log"),
        ("log_store", "s3://key:secret@bucket/a"),
        ("metrics_listen", ":9"),
    ] {
        let (variable, flag) = (format!("OCELOT_{}", key.to_uppercase()), key.replace('_', "-"));
        refused(&[], "", &["up", &format!("--{flag}={bad}")], &[&format!("--{flag}"), bad]);
        refused(&[(&variable, bad)], "", &["up"], &[&variable, bad]);
        let line = format!("# a comment\n\n{key} = \"{bad}\"\n");
        refused(&[], &line, &["up"], &["ocelot.toml, line 3", key, bad]);
    }
    refused(&[], "", &["worker", "--server=host:80"], &["--server"]);
    refused(&[("OCELOT_DATABASE_URL", "mysql://h")], "", &["server"], &["OCELOT_DATABASE_URL"]);
    refused(&[("OCELOT_ALLOW_LOCAL_REPOS", "maybe")], "", &["up"], &["OCELOT_ALLOW_LOCAL_REPOS", "maybe"]);
    refused(&[("OCELOT_URL", "nonsense")], "", &["status"], &["OCELOT_URL", "nonsense"]);
}

#[test]
fn a_key_that_is_none_is_refused_with_a_suggestion() {
    refused(
        &[],
        "slots = 1\nlog-cap = \"1GiB\"\n",
        &["up"],
        &["line 2", "log-cap", "did you mean `log_cap`"],
    );
    refused(&[], "lissten = 1\n", &["server"], &["line 1", "lissten", "did you mean `listen`"]);
    refused(&[], "config = \"x\"\n", &["up"], &["line 1", "config"]);
    refused(&[], "json = true\n", &["up"], &["line 1", "json"]);
    refused(&[], "slots = [\"1\"]\n", &["up"], &["line 1", "slots", "not a list"]);
    refused(&[], "[up]\nslots = 1\n", &["up"], &["line 1", "up"]);
    refused(&[], "slots = \n", &["up"], &["line 1"]);
    refused(&[], "slots = 1\nslots = 2\n", &["up"], &["line 2", "duplicate key"]);
}

#[test]
fn one_file_may_serve_all_roles() {
    let with =
        world(&[], "url = \"http://h\"\nserver = \"http://s\"\nslots = 3\nlabel = [\"a=b\", \"c=d\"]\n");
    assert_eq!(with.value(&["up"], "slots"), ["3"]);
    assert_eq!(with.value(&["up"], "labels"), ["a=b", "c=d"]);
    assert_eq!(with.value(&["status"], "url"), ["http://h"]);
    // What stands there for another role is checked all the same.
    refused(&[], "server = \"nonsense\"\n", &["up"], &["line 1", "server"]);
    refused(&[], "slots = \"x\"\n", &["status"], &["line 1", "slots"]);
}

#[test]
fn a_role_key_means_nothing_to_a_client_command() {
    let with = world(&[], "name = \"worker-1\"\ndata = \"/x\"\n");
    assert_eq!(with.value(&["repo", "add", "https://h/r.git"], "name"), Vec::<String>::new());
}
