//! The kinds of text that a single value may hold, and what is wrong with it otherwise.
//!
//! Pure functions of one value; where it stands and what goes with it is for others.

use super::env::{check_env_name, reserved_names};
use super::problem::{Fault, printable, quote};
use super::{glob, image, notify, subscription, trigger};
use crate::concurrency::unknown_placeholder;
use crate::cron::Cron;
use crate::secret;

const SECOND: u64 = 1_000;
/// Longest time that may be asked for: 7 days.
const MAX_DURATION: u64 = 7 * 24 * 3_600 * SECOND;
const MIN_MEMORY: u64 = 6 << 20;
const MAX_MEMORY: u64 = 16 << 40;
pub(super) const MAX_NAME: usize = 100;
/// For the schema: a path that may lead out.
const CLIMBS: &str = "(^|/)\\.\\.(/|$)";

/// What one piece of text must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Any text that is not blank.
    Any,
    /// A line or a block of a script, or an argument.
    Script,
    /// A value of a variable; may be empty.
    EnvValue,
    StageName,
    JobName,
    Image,
    Duration,
    Memory,
    Cpu,
    User,
    Path,
    Branches,
    /// Files below the workspace.
    Glob,
    /// A folder to keep, in the workspace or elsewhere in the container.
    Kept,
    EnvName,
    /// The name of a secret or credential.
    SecretName,
    /// `NAME=value`.
    Assignment,
    Label,
    /// A line of `triggers`.
    Directive,
    /// A condition.
    When,
    /// The whole name of a branch.
    BranchName,
    /// `there:here`.
    BranchPair,
    /// `owner/name` of a repository.
    AcctRepo,
    /// Short name of a forge.
    ForgeName,
    /// What a subscription is called.
    Alias,
    /// Name of a concurrency group.
    Group,
    /// When something comes round.
    Cron,
    /// A time zone.
    Zone,
    /// The name or `id` of a credential.
    Identifier,
    /// `#channel` or `@user`; may be empty.
    Channel,
    /// An address of the web.
    WebAddress,
    /// An address of mail.
    MailAddress,
}

impl Kind {
    /// Most bytes.
    pub(super) fn longest(self) -> usize {
        match self {
            Kind::Script => 128 * 1024,
            Kind::EnvValue | Kind::Assignment => 64 * 1024,
            Kind::Any
            | Kind::Path
            | Kind::Glob
            | Kind::Kept
            | Kind::Directive
            | Kind::When
            | Kind::BranchPair => 4_096,
            // Those that say more precisely themselves what is too long.
            Kind::Image
            | Kind::StageName
            | Kind::JobName
            | Kind::Branches
            | Kind::BranchName
            | Kind::EnvName
            | Kind::SecretName
            | Kind::Label
            | Kind::Duration
            | Kind::Memory
            | Kind::Cpu
            | Kind::User
            | Kind::AcctRepo
            | Kind::ForgeName
            | Kind::Alias
            | Kind::Group
            | Kind::Cron
            | Kind::Zone
            | Kind::Identifier
            | Kind::Channel
            | Kind::WebAddress
            | Kind::MailAddress => 1_024,
        }
    }

    pub(super) fn check(self, text: &str) -> Result<(), Fault> {
        if text.len() > self.longest() {
            let message =
                format!("this value has {} bytes, at most {} are allowed", text.len(), self.longest());
            return Err(Fault::new("field_length", message));
        }
        match self {
            Kind::Any if text.trim().is_empty() => {
                Err(Fault::new("empty_value", "this value must not be blank"))
            }
            // What patterns and conditions cost is counted for the whole file, by [`shape`](super::shape).
            Kind::Any | Kind::Script | Kind::EnvValue | Kind::Branches | Kind::Directive | Kind::When => {
                Ok(())
            }
            Kind::StageName => stage_name(text),
            Kind::JobName => job_name(text),
            Kind::Image => image::check(text),
            Kind::Duration => duration(text).map(|_| ()),
            Kind::Memory => memory(text).map(|_| ()),
            Kind::Cpu => cpu(text).map(|_| ()),
            Kind::User => user(text).map(|_| ()),
            Kind::Path => path(text).map(|_| ()),
            Kind::Glob if text.starts_with('/') => Err(outside(text, "is an absolute path")),
            Kind::Glob | Kind::Kept => glob::check(text),
            Kind::EnvName => env_name(text),
            Kind::SecretName => secret_name(text),
            Kind::Assignment => assignment(text).and_then(|(name, _)| env_name(name)),
            Kind::Label => label(text),
            Kind::BranchName => subscription::check_branch(text),
            Kind::BranchPair => subscription::check_pair(text),
            Kind::AcctRepo => subscription::check_repo(text),
            Kind::ForgeName => subscription::check_forge(text),
            Kind::Alias => subscription::check_alias(text),
            Kind::Group => group(text),
            Kind::Cron => cron(text, ""),
            Kind::Zone => cron("@daily", text),
            Kind::Identifier => notify::identifier(text),
            Kind::Channel => notify::channel(text),
            Kind::WebAddress => notify::web_address(text),
            Kind::MailAddress => notify::mail_address(text),
        }
    }

    /// What the JSON Schema says of it: never more than [`check`](Kind::check) does, and most of it.
    pub(super) fn rule(self) -> Rule {
        let pattern = |pattern: &str| Rule { pattern: pattern.to_owned(), ..Rule::default() };
        let text =
            |pattern: &str| Rule { pattern: pattern.to_owned(), never_a_number: true, ..Rule::default() };
        let longest = |longest: usize, rule: Rule| Rule { longest: Some(longest), ..rule };
        let reserved =
            |end: &str| format!("^(({}){end}|OCELOT_)", reserved_names().collect::<Vec<_>>().join("|"));
        match self {
            Kind::Any | Kind::When | Kind::Cron | Kind::Zone => pattern("[^ \\t\\r\\n]"),
            Kind::Script | Kind::EnvValue => Rule::default(),
            Kind::StageName => {
                let rule = pattern("^[^ \\t\\r\\n]([^\\t\\r\\n]*[^ \\t\\r\\n])?$");
                longest(MAX_NAME, Rule { not: "^[sS][eE][tT][uU][pP]$".to_owned(), ..rule })
            }
            Kind::JobName => longest(MAX_NAME, pattern("^[a-z0-9][a-z0-9._-]*$")),
            Kind::Image => {
                pattern("^[A-Za-z0-9][A-Za-z0-9.:/_-]*(@(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}))?$")
            }
            Kind::Duration => text(
                "^([0-9]+d([0-9]+h)?([0-9]+m)?([0-9]+s)?|[0-9]+h([0-9]+m)?([0-9]+s)?|[0-9]+m([0-9]+s)?|[0-9]+s)$",
            ),
            Kind::Memory => text("^[0-9]+ *([kKmMgGtT]([iI][bB]?|[bB])?|[bB])$"),
            Kind::Cpu => pattern("^[0-9.]+$"),
            Kind::User => pattern("^[0-9]+(:[0-9]+)?$"),
            Kind::Path => Rule { not: CLIMBS.to_owned(), ..pattern("^[^/]") },
            Kind::Branches => longest(trigger::MAX_PATTERN, pattern(".")),
            Kind::Glob => longest(glob::MAX, Rule { not: CLIMBS.to_owned(), ..pattern("^[^/]") }),
            Kind::Kept => longest(glob::MAX, Rule { not: CLIMBS.to_owned(), ..pattern(".") }),
            Kind::EnvName => Rule { not: reserved("$"), ..text("^[A-Za-z_][A-Za-z0-9_]*$") },
            Kind::SecretName => {
                longest(secret::NAME_MAX, Rule { not: reserved("$"), ..text("^[A-Za-z_][A-Za-z0-9_]*$") })
            }
            Kind::Assignment => Rule { not: reserved("="), ..text("^[A-Za-z_][A-Za-z0-9_]*=") },
            Kind::Label => pattern("^[A-Za-z0-9._/-]{1,63}$"),
            Kind::BranchName => pattern("^[^ ~^:?*\\[\\\\]+$"),
            Kind::BranchPair => text("^[^ ~^:?*\\[\\\\]+:[^ ~^:?*\\[\\\\]+$"),
            Kind::AcctRepo => pattern("^[A-Za-z0-9._][A-Za-z0-9._-]*(/[A-Za-z0-9._][A-Za-z0-9._-]*)*$"),
            Kind::ForgeName => pattern("^[A-Za-z0-9._][A-Za-z0-9._-]*$"),
            Kind::Alias => {
                let rule = Rule {
                    not: "^[oO][cC][eE][lL][oO][tT](_|$)".to_owned(),
                    ..text("^[A-Za-z_][A-Za-z0-9_]*$")
                };
                longest(MAX_NAME, rule)
            }
            Kind::Directive => text("\\\\"),
            Kind::Group => longest(MAX_NAME, pattern("[^ \\t\\r\\n]")),
            Kind::Identifier => longest(MAX_NAME, pattern("^[A-Za-z0-9._-]+$")),
            Kind::Channel => longest(MAX_NAME, Rule::default()),
            Kind::WebAddress => text("^https?://[^ ]+$"),
            Kind::MailAddress => longest(notify::MAX_MAIL, text("^[^ @]+@[^ @]+$")),
        }
    }
}

/// See [`Kind::rule`]. Patterns are such as every reader of a schema knows.
#[derive(Debug, Default)]
pub(super) struct Rule {
    /// A number or a boolean of YAML is never right.
    pub(super) never_a_number: bool,
    /// Matches somewhere in every good text; empty for none.
    pub(super) pattern: String,
    /// Matches nowhere in a good text; empty for none.
    pub(super) not: String,
    /// Most characters, where they are fewer than the bytes of [`Kind::longest`].
    pub(super) longest: Option<usize>,
}

/// `1h30m` in milliseconds.
pub(super) fn duration(text: &str) -> Result<u64, Fault> {
    const HINT: &str = "write `60m`, `1h30m` or `90s`";
    let range = || {
        let message = format!("{} is not between 1s and 7d", quote(text));
        Fault::new("range", message)
    };
    if let Some(digits) = bare_integer(text) {
        // Without a unit nobody knows what it means; if it were seconds, would it at least be possible?
        let possible = digits.parse::<u64>().is_ok_and(|n| n > 0 && n <= MAX_DURATION / SECOND)
            && !text.starts_with('-');
        let unit = Fault::new("type", format!("a time needs a unit, {} has none", quote(text)));
        return Err(if possible { unit } else { range() }.hint(HINT));
    }
    let wrong = || Fault::new("type", format!("{} is not a time", quote(text))).hint(HINT);
    let mut total: u64 = 0;
    let mut rest = text;
    let mut last_unit = u64::MAX;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(wrong)?;
        let unit = match rest.as_bytes()[end] {
            b'd' => 24 * 3_600,
            b'h' => 3_600,
            b'm' => 60,
            b's' => 1,
            _ => return Err(wrong()),
        };
        if unit >= last_unit {
            return Err(wrong());
        }
        last_unit = unit;
        let number: u64 = rest[..end].parse().map_err(|_| range())?;
        total = number.checked_mul(unit * SECOND).and_then(|ms| ms.checked_add(total)).ok_or_else(range)?;
        rest = &rest[end + 1..];
    }
    match total {
        _ if text.is_empty() => Err(wrong()),
        SECOND..=MAX_DURATION => Ok(total),
        _ => Err(range().hint(HINT)),
    }
}

fn bare_integer(text: &str) -> Option<&str> {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(digits)
}

/// `4GiB` in bytes. One letter counts in 1024s as Docker does, so do `KiB` and its like; `KB` counts in 1000s.
pub(super) fn memory(text: &str) -> Result<u64, Fault> {
    let wrong = || {
        Fault::new("type", format!("{} is not an amount of memory", quote(text)))
            .hint("write `4GiB` or `512MiB`")
    };
    let range = || Fault::new("range", format!("{} is not between 6MiB and 16TiB", quote(text)));
    let end = text.find(|c: char| !c.is_ascii_digit()).filter(|end| *end > 0).ok_or_else(wrong)?;
    let unit = text[end..].trim_start().to_ascii_lowercase();
    let (letter, rest) = (unit.chars().next(), unit.get(1..).unwrap_or_default());
    let power = match letter {
        Some('b') if rest.is_empty() => 0,
        Some('k') => 1,
        Some('m') => 2,
        Some('g') => 3,
        Some('t') => 4,
        _ => return Err(wrong()),
    };
    let base: u64 = match rest {
        "" | "i" | "ib" => 1024,
        "b" => 1000,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..end].parse().map_err(|_| range())?;
    let bytes = number.checked_mul(base.pow(power)).ok_or_else(range)?;
    if (MIN_MEMORY..=MAX_MEMORY).contains(&bytes) { Ok(bytes) } else { Err(range()) }
}

/// `2` or `0.5` cores.
pub(super) fn cpu(text: &str) -> Result<f64, Fault> {
    let number =
        text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then(|| text.parse().ok()).flatten();
    match number {
        None if bare_integer(text).is_none() => {
            Err(Fault::new("type", format!("{} is not a number of cores", quote(text)))
                .hint("write `2` or `0.5`"))
        }
        Some(cores) if (0.01..=1024.0).contains(&cores) => Ok(cores),
        Some(_) | None => {
            Err(Fault::new("range", format!("{} is not between 0.01 and 1024 cores", quote(text))))
        }
    }
}

/// `uid:gid`, where a group left out is the number of the user.
pub(super) fn user(text: &str) -> Result<String, Fault> {
    let (uid, gid) = text.split_once(':').unwrap_or((text, text));
    let number = |part: &str| {
        bare_integer(part).is_some_and(|digits| digits.len() == part.len() && part.parse::<u32>().is_ok())
    };
    if number(uid) && number(gid) {
        return Ok(format!("{uid}:{gid}"));
    }
    let fault = Fault::new("user", format!("{} is no user", quote(text)));
    Err(fault.hint("write numbers, `\"1000:1000\"`: the worker cannot look names up in the image"))
}

/// A folder below the workspace, without `.` and empty parts.
pub(super) fn path(text: &str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(outside(text, "is no path"));
    }
    if text.starts_with('/') {
        return Err(outside(text, "is an absolute path"));
    }
    if climbs(text) {
        return Err(outside(text, "may lead out of the workspace"));
    }
    if !text.chars().all(printable) {
        return Err(outside(text, "holds characters that cannot be shown"));
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    Ok(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

pub(super) fn climbs(text: &str) -> bool {
    text.split('/').any(|part| part == "..")
}

pub(super) fn outside(text: &str, why: &str) -> Fault {
    Fault::new("path", format!("{} {why}", quote(text))).hint("name something below the workspace")
}

/// `NAME=value` in two.
pub(super) fn assignment(text: &str) -> Result<(&str, &str), Fault> {
    text.split_once('=').ok_or_else(|| {
        Fault::new("env_name", format!("{} sets nothing", quote(text))).hint("write `NAME=value`")
    })
}

pub(super) fn env_name(name: &str) -> Result<(), Fault> {
    check_env_name(name).map_err(|error| Fault::new(error.code(), format!("{}: {error}", quote(name))))
}

fn cron(text: &str, zone: &str) -> Result<(), Fault> {
    Cron::new(text, zone).map(drop).map_err(|error| Fault::new("cron", error.to_string()))
}

fn secret_name(name: &str) -> Result<(), Fault> {
    if name.len() > secret::NAME_MAX {
        let message =
            format!("{}: the name of a secret has at most {} characters", quote(name), secret::NAME_MAX);
        return Err(Fault::new("name", message));
    }
    env_name(name)
}

fn stage_name(text: &str) -> Result<(), Fault> {
    if text.eq_ignore_ascii_case("setup") {
        return Err(Fault::new("reserved_name", "the stage `setup` is made by Ocelot (image and checkout)"));
    }
    let good =
        (1..=MAX_NAME).contains(&text.chars().count()) && text.trim() == text && text.chars().all(printable);
    if good {
        return Ok(());
    }
    let message = format!("{} is no name of a stage: 1 to {MAX_NAME} printable characters", quote(text));
    Err(Fault::new("name", message))
}

fn job_name(text: &str) -> Result<(), Fault> {
    let good =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'_' | b'-');
    let first = text.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if first && text.len() <= MAX_NAME && text.bytes().all(good) {
        return Ok(());
    }
    let message = format!(
        "{} is no name of a job: lower-case letters, digits, `.`, `_` and `-`, at most {MAX_NAME}, \
         and a letter or digit first",
        quote(text)
    );
    Err(Fault::new("name", message))
}

fn label(text: &str) -> Result<(), Fault> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    if (1..=63).contains(&text.len()) && text.bytes().all(good) {
        return Ok(());
    }
    let message = format!("{} is no label: letters, digits, `.`, `_`, `-` and `/`, at most 63", quote(text));
    Err(Fault::new("label", message))
}

fn group(text: &str) -> Result<(), Fault> {
    if text.trim().is_empty() || text.len() > MAX_NAME || text.chars().any(char::is_control) {
        let message =
            format!("the name of a group has 1 to {MAX_NAME} characters, none of them a control one");
        return Err(Fault::new("group_name", message));
    }
    match unknown_placeholder(text) {
        Some(name) => {
            let message = format!("{} means nothing in the name of a group", quote(name));
            Err(Fault::new("group_name", message).hint("only `${{ branch }}` does"))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<T: PartialEq + std::fmt::Debug>(
        read: fn(&str) -> Result<T, Fault>,
        text: &str,
        want: Result<T, &str>,
    ) {
        let found = read(text).map_err(|fault| fault.code);
        assert_eq!((text, found), (text, want));
    }

    #[test]
    fn durations() {
        check(duration, "60m", Ok(3_600_000));
        check(duration, "1h30m", Ok(5_400_000));
        check(duration, "90s", Ok(90_000));
        check(duration, "7d", Ok(604_800_000));
        for text in ["60", "", "m", "1x", "1h1h", "1m1h", "-5m", "1.5h", "1h ", "٣m"] {
            check(duration, text, Err("type"));
        }
        for text in ["0", "-5", "0s", "8d", "99999999999999999999", "99999999999999999999h", "700000"] {
            check(duration, text, Err("range"));
        }
    }

    #[test]
    fn amounts() {
        check(memory, "4GiB", Ok(4 << 30));
        check(memory, "512MiB", Ok(512 << 20));
        check(memory, "1g", Ok(1 << 30));
        check(memory, "1GB", Ok(1_000_000_000));
        for text in ["4", "", "GiB", "4XiB", "1.5GiB", "4GiBs", "-1g", "4é"] {
            check(memory, text, Err("type"));
        }
        for text in ["1k", "17t", "99999999999999999999g", "18446744073709551615t"] {
            check(memory, text, Err("range"));
        }
        check(cpu, "2", Ok(2.0));
        check(cpu, "0.5", Ok(0.5));
        check(cpu, "two", Err("type"));
        check(cpu, "inf", Err("type"));
        check(cpu, "0", Err("range"));
        check(cpu, "-1", Err("range"));
    }

    #[test]
    fn users_and_paths() {
        check(user, "0:0", Ok("0:0".to_owned()));
        check(user, "1000", Ok("1000:1000".to_owned()));
        for text in ["root", "", ":", "1:", "-1", "99999999999", "0:0:0"] {
            check(user, text, Err("user"));
        }
        check(path, ".", Ok(".".to_owned()));
        check(path, "./a//b/", Ok("a/b".to_owned()));
        check(path, "a..b", Ok("a..b".to_owned()));
        for text in ["", "/", "/etc", "..", "a/../..", "a/.."] {
            check(path, text, Err("path"));
        }
    }
}
