//! Who is rebuilt after whom, seen as a whole: no circles, and no chains without end. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Most builds that follow one another.
pub const MAX_DEPTH: usize = 10;

/// Why a subscription is not in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refused {
    /// Builds would go round for ever, by way of these repositories; the first one is the last one too.
    Cycle(Vec<String>),
    /// Too many builds would follow one another, by way of these repositories.
    Deep(Vec<String>),
}

impl Refused {
    /// The same, with the handles that `shown` does not let pass left out.
    #[must_use]
    pub fn filtered(&self, shown: impl Fn(&str) -> bool) -> Refused {
        let blur = |path: &[String]| {
            path.iter()
                .map(|it| if shown(it) { it.clone() } else { "another repository".to_owned() })
                .collect()
        };
        match self {
            Refused::Cycle(path) => Refused::Cycle(blur(path)),
            Refused::Deep(path) => Refused::Deep(blur(path)),
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Cycle(path) => write!(
                f,
                "builds would go round for ever: {}; take one of these subscriptions out of its ocelot.yml",
                path.join(" → ")
            ),
            Refused::Deep(path) => write!(
                f,
                "more than {MAX_DEPTH} builds would follow one another: {}; take one of these subscriptions out of its ocelot.yml",
                path.join(" → ")
            ),
        }
    }
}

type Next<'a> = BTreeMap<&'a str, Vec<&'a str>>;

/// Whether builds of `repo` may follow those of `upstream`, beside those that follow already: pairs of a repository and
/// one whose builds it follows.
pub fn check(edges: &[(String, String)], repo: &str, upstream: &str) -> Result<(), Refused> {
    let (mut down, mut up) = (Next::new(), Next::new());
    for (follower, followed) in edges {
        down.entry(followed).or_default().push(follower);
        up.entry(follower).or_default().push(followed);
    }
    if let Some(path) = way(&down, repo, upstream) {
        return Err(Refused::Cycle(owned(path.into_iter().chain([repo]))));
    }
    let (before, after) = (longest(&up, upstream), longest(&down, repo));
    // Both begin with where they begin from, and the new one lies between.
    if before.len() + after.len() - 1 > MAX_DEPTH {
        return Err(Refused::Deep(owned(before.into_iter().rev().chain(after))));
    }
    Ok(())
}

fn owned<'a>(path: impl Iterator<Item = &'a str>) -> Vec<String> {
    path.map(str::to_owned).collect()
}

/// The shortest way from one to the other.
fn way<'a>(next: &Next<'a>, from: &'a str, to: &'a str) -> Option<Vec<&'a str>> {
    let mut came: BTreeMap<&str, &str> = BTreeMap::from([(from, from)]);
    let mut open = std::collections::VecDeque::from([from]);
    while let Some(at) = open.pop_front() {
        if at == to {
            let mut path = vec![at];
            let mut at = at;
            while at != from {
                at = came[at];
                path.push(at);
            }
            path.reverse();
            return Some(path);
        }
        for &one in next.get(at).into_iter().flatten() {
            if !came.contains_key(one) {
                came.insert(one, at);
                open.push_back(one);
            }
        }
    }
    None
}

/// The longest chain from here, no longer than it takes to be too long: so it ends even where there are circles.
fn longest<'a>(next: &Next<'a>, from: &'a str) -> Vec<&'a str> {
    let mut levels: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::from([(from, from)])];
    while levels.len() <= MAX_DEPTH + 1 {
        let mut level = BTreeMap::new();
        for &at in levels.last().into_iter().flat_map(BTreeMap::keys) {
            for &one in next.get(at).into_iter().flatten() {
                level.entry(one).or_insert(at);
            }
        }
        if level.is_empty() {
            break;
        }
        levels.push(level);
    }
    let mut at = levels.last().and_then(|level| level.keys().next()).copied().unwrap_or(from);
    let mut path = vec![at];
    for level in levels.iter().skip(1).rev() {
        at = level[at];
        path.push(at);
    }
    path.reverse();
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `edges` like `b<a c<b`: b follows a; `new` likewise. `want` is the path, with `!` before one that goes round.
    fn check(edges: &str, new: &str, want: &str) {
        let pair = |text: &str| {
            let (follower, followed) = text.split_once('<').unwrap();
            (follower.to_owned(), followed.to_owned())
        };
        let edges: Vec<_> = edges.split_whitespace().map(pair).collect();
        let (repo, upstream) = pair(new);
        let found = match super::check(&edges, &repo, &upstream) {
            Ok(()) => String::new(),
            Err(Refused::Cycle(path)) => format!("!{}", path.join(" ")),
            Err(Refused::Deep(path)) => path.join(" "),
        };
        assert_eq!(found, want, "{new} beside {edges:?}");
    }

    #[test]
    fn circles_are_found_with_their_path() {
        check("", "a<b", "");
        check("", "a<a", "!a a");
        check("b<a", "a<b", "!a b a");
        check("b<a c<b", "a<c", "!a b c a");
        check("b<a c<b", "c<a", "");
        check("b<a c<b d<b", "e<d", "");
        check("b<a c<a d<b d<c", "a<d", "!a b d a");
        // One that is there already is nobody's fault.
        check("b<a a<b", "d<c", "");
    }

    #[test]
    fn chains_have_an_end() {
        let chain = |names: &str| {
            let names: Vec<char> = names.chars().collect();
            names.windows(2).map(|two| format!("{}<{}", two[1], two[0])).collect::<Vec<_>>().join(" ")
        };
        // Ten follow `a`.
        check(&chain("abcdefghij"), "k<j", "");
        check(&chain("abcdefghijk"), "l<k", "a b c d e f g h i j k l");
        check(&chain("bcdefghijk"), "b<a", "");
        check(&chain("bcdefghijkl"), "b<a", "a b c d e f g h i j k l");
        check(&format!("{} {}", chain("abcdef"), chain("ghijkl")), "g<f", "a b c d e f g h i j k l");
        check(&format!("{} {}", chain("abcdef"), chain("ghijk")), "g<f", "");
        // A circle that is there already ends too.
        let found = super::check(&[("a".into(), "b".into()), ("b".into(), "a".into())], "c", "a");
        assert!(matches!(found, Err(Refused::Deep(_))), "{found:?}");
    }

    #[test]
    fn what_one_may_not_see_is_not_in_the_path() {
        let refused = Refused::Cycle(vec!["git/a".into(), "git/secret".into(), "git/a".into()]);
        let words = refused.filtered(|handle| handle != "git/secret").to_string();
        assert!(words.contains("git/a → another repository → git/a"), "{words}");
    }
}
