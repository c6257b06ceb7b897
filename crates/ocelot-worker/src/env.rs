//! The variables of a stage. Pure.

use ocelot_api::proto::Variable;

/// Longest value, in bytes.
const LONGEST: usize = 64 << 10;

/// What only the worker knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// The workspace as the stage sees it.
    pub(crate) workspace: &'a str,
    /// The stage's name.
    pub(crate) stage: &'a str,
    /// Number of the attempt.
    pub(crate) attempt: u32,
}

/// Job, stage, secrets, built-in: what comes later wins, and each name is there once.
pub(crate) fn variables(
    job: &[(String, String)],
    stage: &[(String, String)],
    secrets: &[(String, String)],
    builtin: &[Variable],
    known: Known<'_>,
) -> Vec<(String, String)> {
    let attempt = known.attempt.to_string();
    let ours = [
        ("CI", "true"),
        ("OCELOT", "true"),
        ("WORKSPACE", known.workspace),
        ("OCELOT_STAGE", known.stage),
        ("OCELOT_ATTEMPT", &attempt),
    ];
    let users = job.iter().chain(stage).chain(secrets).map(|(name, value)| (name.as_str(), value.as_str()));
    let builtin = builtin.iter().map(|variable| (variable.name.as_str(), variable.value.as_str()));
    let mut all: Vec<(String, String)> = Vec::new();
    for (name, value) in users.chain(builtin).chain(ours) {
        let value = cut(value).to_owned();
        match all.iter_mut().find(|(known, _)| known == name) {
            Some(known) => known.1 = value,
            None => all.push((name.to_owned(), value)),
        }
    }
    all
}

fn cut(value: &str) -> &str {
    &value[..value.floor_char_boundary(LONGEST)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find<'a>(all: &'a [(String, String)], name: &str) -> Vec<&'a str> {
        all.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    #[test]
    fn later_wins_and_built_in_ones_are_protected() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let job = [pair("A", "job"), pair("B", "job"), pair("GIT_HASH", "mine"), pair("CI", "no")];
        let builtin = [Variable { name: "GIT_HASH".into(), value: "abc".into() }];
        let known = Known { workspace: "/workspace", stage: "test", attempt: 2 };
        let secrets = [pair("B", "secret"), pair("C", "secret"), pair("CI", "secret")];
        let all = variables(&job, &[pair("B", "stage"), pair("D", "stage")], &secrets, &builtin, known);
        let check = |name: &str, want: &str| assert_eq!(find(&all, name), [want], "{name}");
        check("A", "job");
        check("B", "secret");
        check("C", "secret");
        check("D", "stage");
        check("GIT_HASH", "abc");
        check("CI", "true");
        check("WORKSPACE", "/workspace");
        check("OCELOT_STAGE", "test");
        check("OCELOT_ATTEMPT", "2");
    }

    #[test]
    fn long_values_are_cut_between_characters() {
        let value = format!("a{}", "é".repeat(LONGEST / 2));
        assert_eq!(cut(&value).len(), LONGEST - 1);
        assert_eq!(cut("short"), "short");
    }
}
