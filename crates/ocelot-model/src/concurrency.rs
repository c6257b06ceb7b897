//! Groups of builds of which only so many go on at once.
//!
//! Who holds a group is always told from the builds that are not over, never counted: nothing can be left behind when
//! a process dies.

use serde::{Deserialize, Serialize};

use crate::BuildNumber;

/// What may stand for the branch in the name of a group.
const BRANCH: &str = "branch";

/// Which group a build belongs to. Groups of different repositories have nothing to do with each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Concurrency {
    /// Its name; in an `ocelot.yml` it may hold `${{ branch }}`.
    pub group: String,
    /// How many builds of the group may go on at once; at least 1.
    pub limit: u32,
    /// This build cancels the older ones that leave it no room.
    pub cancel_running: bool,
}

impl Concurrency {
    /// The group of a build of this branch.
    #[must_use]
    pub fn of_branch(&self, branch: &str) -> Concurrency {
        let group = placeholders(&self.group).fold(String::new(), |text, part| match part {
            Part::Text(piece) | Part::Open(piece) => text + piece,
            Part::Placeholder(_) => text + branch,
        });
        Concurrency { group, ..self.clone() }
    }
}

/// The first placeholder in the name of a group that means nothing, or has no end.
pub fn unknown_placeholder(group: &str) -> Option<&str> {
    placeholders(group).find_map(|part| match part {
        Part::Placeholder(name) if name != BRANCH => Some(name),
        Part::Open(rest) => Some(rest),
        Part::Placeholder(_) | Part::Text(_) => None,
    })
}

enum Part<'a> {
    Text(&'a str),
    Placeholder(&'a str),
    /// What follows a `${{` without its `}}`.
    Open(&'a str),
}

fn placeholders(group: &str) -> impl Iterator<Item = Part<'_>> {
    let mut pieces = group.split("${{");
    let first = pieces.next().map(Part::Text);
    let rest = pieces.flat_map(|piece| match piece.split_once("}}") {
        Some((name, text)) => [Part::Placeholder(name.trim()), Part::Text(text)],
        None => [Part::Open(piece), Part::Text("")],
    });
    first.into_iter().chain(rest)
}

/// A build of a group that is not over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// Which.
    pub number: BuildNumber,
    /// It holds a place; else it waits for one.
    pub admitted: bool,
    /// Its own word on how many may go on.
    pub limit: u32,
    /// It cancels older ones.
    pub cancel_running: bool,
    /// Someone asked to cancel it already.
    pub cancel_requested: bool,
}

/// What to do with a build of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It gets a place.
    Admit(BuildNumber),
    /// It makes room for the second one.
    Cancel(BuildNumber, BuildNumber),
}

/// What follows for the members of one group, given from old to new. The oldest one that waits is next, and nobody
/// overtakes it.
pub fn settle(members: &[Member]) -> Vec<Step> {
    let mut steps = Vec::new();
    let newest = members.iter().rposition(|member| member.cancel_running);
    let mut out = 0;
    if let Some(newest) = newest {
        // So many of those before it may stay beside it.
        out = (newest + 1).saturating_sub(members[newest].limit as usize);
        let leaving = members[..out].iter().filter(|member| !member.cancel_requested);
        steps.extend(leaving.map(|member| Step::Cancel(member.number, members[newest].number)));
    }
    // One that was told to stop holds its place until it has stopped.
    let held = members.iter().filter(|member| member.admitted).count();
    let waiting = members[out..].iter().filter(|member| !member.admitted && !member.cancel_requested);
    let places = (held..).zip(waiting).take_while(|(held, member)| *held < member.limit as usize);
    steps.extend(places.map(|(_, member)| Step::Admit(member.number)));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Members such as `1+` (holds a place), `2` (waits), `3!` (cancels older ones), `4+x` (was cancelled).
    fn check(limit: u32, members: &str, want: &str) {
        let members: Vec<Member> = members
            .split(' ')
            .map(|text| Member {
                number: BuildNumber(text.trim_end_matches(['+', '!', 'x']).parse().unwrap()),
                admitted: text.contains('+'),
                limit,
                cancel_running: text.contains('!'),
                cancel_requested: text.contains('x'),
            })
            .collect();
        let steps: Vec<String> = settle(&members)
            .into_iter()
            .map(|step| match step {
                Step::Admit(number) => format!("+{number}"),
                Step::Cancel(number, cause) => format!("-{number} for {cause}"),
            })
            .collect();
        assert_eq!(steps.join(", "), want);
    }

    #[test]
    fn the_oldest_are_admitted_up_to_the_limit() {
        check(1, "1 2", "+1");
        check(1, "1+ 2", "");
        check(2, "1+ 2 3", "+2");
        check(3, "1 2 3 4", "+1, +2, +3");
    }

    #[test]
    fn the_newest_may_cancel_the_others() {
        check(1, "1+ 2!", "-1 for 2");
        check(1, "1+x 2!", "");
        check(1, "1+ 2! 3!", "-1 for 3, -2 for 3");
        check(1, "1! 2", "+1");
        check(1, "1+x 2 3!", "-2 for 3");
        check(2, "1+ 2+ 3!", "-1 for 3");
        check(2, "1+ 2!", "+2");
        check(1, "1!", "+1");
    }

    #[test]
    fn names_of_groups() {
        let of = |group: &str| {
            let it = Concurrency { group: group.to_owned(), limit: 1, cancel_running: false };
            it.of_branch("release/${{ x }}").group
        };
        assert_eq!(of("deploy"), "deploy");
        assert_eq!(of("a-${{ branch }}-${{branch}}"), "a-release/${{ x }}-release/${{ x }}");
        assert_eq!(unknown_placeholder("deploy-${{ branch }}"), None);
        assert_eq!(unknown_placeholder("deploy-${{ matrix.rust }}"), Some("matrix.rust"));
        assert_eq!(unknown_placeholder("deploy-${{ branch"), Some(" branch"));
        assert_eq!(unknown_placeholder("deploy-${{ branch }"), Some(" branch }"));
    }
}
