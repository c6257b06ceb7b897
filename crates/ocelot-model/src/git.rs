//! How git reaches other hosts, and what of its words a person needs when it fails. Pure text; server and
//! worker start git each in its own way.

/// The command by which git starts ssh, for `GIT_SSH_COMMAND`. It never asks anybody anything.
///
/// The key of a host that was never met is written into the file that [`KNOWN_HOSTS`] names; a key that
/// differs from what stands there, or in the known hosts of the user or the machine, ends the connection.
/// ssh itself puts the file's name in, so that no character of it means anything to a shell.
pub const SSH: &str = "ssh -o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=15 \
    -o StrictHostKeyChecking=accept-new -o HashKnownHosts=no \
    -o 'UserKnownHostsFile=${OCELOT_KNOWN_HOSTS} ~/.ssh/known_hosts'";

/// Name of the variable that tells [`SSH`] where the keys of known hosts are kept.
pub const KNOWN_HOSTS: &str = "OCELOT_KNOWN_HOSTS";

/// Longest that words may be, in characters.
const LONGEST: usize = 500;

/// What git, ssh and the host said on standard error, as one line for people: the cause, not the noise around it.
pub fn words(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| is_telling(line)).collect();
    let line = changed_key(&lines)
        .or_else(|| password(&lines))
        .or_else(|| causes(&lines))
        .unwrap_or_else(|| unmarked(lines.last().copied().unwrap_or_default()).to_owned());
    line.chars().filter(|c| !c.is_control()).take(LONGEST).collect()
}

/// True when words speak of a host that knows the caller and refuses it, or does not know it at all.
pub fn is_no_access(words: &str) -> bool {
    [
        "Authentication failed",
        "Permission denied",
        "Access denied",
        "Host key verification failed",
        "error: 403",
    ]
    .iter()
    .any(|sign| words.contains(sign))
}

fn is_telling(line: &str) -> bool {
    const NOISE: [&str; 6] = [
        "warning:",
        "Warning: Permanently added",
        "hint:",
        "@",
        "Please make sure you have",
        "and the repository exists.",
    ];
    line.contains(char::is_alphanumeric) && !NOISE.iter().any(|noise| line.starts_with(noise))
}

/// A host that shows another key than the one that is known.
fn changed_key(lines: &[&str]) -> Option<String> {
    let (_, place) = lines.iter().find_map(|line| line.strip_prefix("Offending ")?.split_once(" key in "))?;
    let host =
        lines.iter().find_map(|line| Some(line.strip_prefix("Host key for ")?.split_once(" has changed")?.0));
    Some(format!(
        "Host key verification failed: {} shows another key than the one in {place}. Somebody may be in between; if \
         its key was changed on purpose, remove that line",
        host.unwrap_or("the host")
    ))
}

/// A web host that wants to know who asks. git's own words are about a terminal that nobody has.
fn password(lines: &[&str]) -> Option<String> {
    let host = lines.iter().find_map(|line| {
        let (_, rest) = line
            .split_once("could not read Username for '")
            .or(line.split_once("could not read Password for '"))?;
        Some(rest.split_once('\'')?.0)
    })?;
    Some(format!(
        "Authentication failed: {host} asks for a user and a password, and takes none that Ocelot has"
    ))
}

/// What the host said, then git's first complaint, else what ssh said last.
fn causes(lines: &[&str]) -> Option<String> {
    let is_marked = |line: &&&str| line.starts_with("fatal:") || line.starts_with("error:");
    let is_host = |line: &&&str| line.starts_with("remote:") || line.starts_with("ERROR:");
    let is_vague = |line: &str| {
        line.contains("Could not read from remote repository") || line.contains("the remote end hung up")
    };
    let is_said = |words: &&str| words.contains(char::is_alphanumeric);
    let host = lines.iter().filter(is_host).map(|line| unmarked(line)).find(is_said);
    let git = lines.iter().filter(is_marked).find(|line| !is_vague(line)).map(|line| unmarked(line));
    match (host, git) {
        (Some(host), Some(git)) => Some(format!("{host} ({git})")),
        (Some(one), None) | (None, Some(one)) => Some(one.to_owned()),
        (None, None) => {
            let others: Vec<&str> = lines.iter().filter(|line| !is_marked(line)).copied().collect();
            let last = others.get(others.len().saturating_sub(2)..).filter(|last| !last.is_empty())?;
            Some(last.join("; "))
        }
    }
}

fn unmarked(line: &str) -> &str {
    ["remote:", "ERROR:", "fatal:", "error:"]
        .iter()
        .fold(line, |line, mark| line.strip_prefix(mark).unwrap_or(line).trim_start())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(said: &str, want: &str, no_access: bool) {
        let got = words(said);
        assert_eq!((got.as_str(), is_no_access(&got)), (want, no_access), "{said:?}");
    }

    const VAGUE: &str = "fatal: Could not read from remote repository.\n\nPlease make sure you have the correct access rights\nand the repository exists.\n";

    #[test]
    fn git_on_its_own() {
        check(
            "fatal: remote error: upload-pack: not our ref 0123\n",
            "remote error: upload-pack: not our ref 0123",
            false,
        );
        check("warning: x\nfatal: early EOF\nfatal: index-pack failed\n", "early EOF", false);
        check(
            "error: unable to write file x: No space left on device\n",
            "unable to write file x: No space left on device",
            false,
        );
        check(VAGUE, "Could not read from remote repository.", false);
        check("", "", false);
        check("fatal: a\u{1b}[31mb\n", "a[31mb", false);
        assert_eq!(words(&"x".repeat(9999)).len(), LONGEST);
    }

    #[test]
    fn what_ssh_says_is_not_lost() {
        let met = "Warning: Permanently added 'h' (ED25519) to the list of known hosts.\n";
        check(
            &format!("{met}git@h: Permission denied (publickey).\n{VAGUE}"),
            "git@h: Permission denied (publickey).",
            true,
        );
        check(
            &format!("Load key \"/k\": bad permissions\ngit@h: Permission denied (publickey).\n{VAGUE}"),
            "Load key \"/k\": bad permissions; git@h: Permission denied (publickey).",
            true,
        );
        check(
            &format!("ssh: connect to host h port 22: Connection refused\n{VAGUE}"),
            "ssh: connect to host h port 22: Connection refused",
            false,
        );
        check(&format!("Host key verification failed.\n{VAGUE}"), "Host key verification failed.", true);
        let changed = "@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\n@@@@@@\nSomeone could be eavesdropping.\n\
            Offending ED25519 key in /data/known_hosts:1\n  remove with:\n  ssh-keygen -f x -R h\n\
            Host key for [h]:22 has changed and you have requested strict checking.\nHost key verification failed.\n";
        check(
            &format!("{changed}{VAGUE}"),
            "Host key verification failed: [h]:22 shows another key than the one in /data/known_hosts:1. Somebody may be in \
             between; if its key was changed on purpose, remove that line",
            true,
        );
    }

    #[test]
    fn what_the_host_says_comes_first() {
        check(&format!("ERROR: Repository not found.\n{VAGUE}"), "Repository not found.", false);
        check(
            "remote: \nremote: HTTP Basic: Access denied\nfatal: Authentication failed for 'https://h/'\n",
            "HTTP Basic: Access denied (Authentication failed for 'https://h/')",
            true,
        );
        check(
            "fatal: could not read Username for 'https://h': terminal prompts disabled\n",
            "Authentication failed: https://h asks for a user and a password, and takes none that Ocelot has",
            true,
        );
        check(
            "fatal: unable to access 'https://h/': The requested URL returned error: 403\n",
            "unable to access 'https://h/': The requested URL returned error: 403",
            true,
        );
    }
}
