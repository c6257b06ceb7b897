//! Where options come from: flags, then `OCELOT_*` variables, then `ocelot.toml`. Whatever the place, the option's
//! own reader checks the value, before anything is done; a key of the file is called as its flag, with `_` for `-`.
//! Knows no option by name, but for the two that client commands take from a file.

mod file;

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::path::Path;

use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _, FromArgMatches as _};

use super::Cli;
use crate::exit::usage;
use file::File;

/// Commands whose every option may stand in the file.
const ROLES: [&str; 3] = ["up", "server", "worker"];
/// Commands beside them that work on the server's database: they find it where the server does.
const BESIDE: [&str; 2] = ["backup", "restore"];
/// What client commands take from a file, and only from one that was named: they run in checkouts of other people's
/// work, whose files must not say where a token is sent.
const FOR_CLIENTS: [&str; 3] = ["url", "token", "ca_cert"];
/// Where a role looks when no file was named.
const USUAL: [&str; 2] = ["ocelot.toml", "/etc/ocelot/ocelot.toml"];

/// Reads a variable of the environment.
type Variable<'v> = &'v dyn Fn(&OsStr) -> Option<OsString>;

/// The command line, with what the environment and the file add to it.
pub(crate) fn read(words: &[OsString], variable: Variable<'_>) -> anyhow::Result<Cli> {
    let given = flags(words)?;
    let place = path(&given);
    let named = Cli::from_arg_matches(&given)?.config;
    let named = named.or_else(|| set(variable, OsStr::new("OCELOT_CONFIG")).map(Into::into));
    let usual = || USUAL.map(Path::new).into_iter().find(|path| is_role(&place) && path.exists());
    let file = match named.as_deref().or_else(usual) {
        Some(path) => File::read(path)?,
        None => File::default(),
    };
    Ok(Cli::from_arg_matches(&complete(words, &place, variable, &file)?)?)
}

/// What the command line alone says.
fn flags(words: &[OsString]) -> anyhow::Result<ArgMatches> {
    let answer = without_variables(Cli::command()).try_get_matches_from(words);
    let help = |error: &clap::Error| {
        matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand)
    };
    match answer {
        // Help names the variables.
        Err(error) if help(&error) => Ok(Cli::command().try_get_matches_from(words)?),
        answer => Ok(answer?),
    }
}

/// The command line once more, where variables and the file stand in for flags that were not given.
fn complete(
    words: &[OsString],
    place: &[String],
    variable: Variable<'_>,
    file: &File,
) -> anyhow::Result<ArgMatches> {
    let whole = Cli::command();
    check_keys(&whole, place, file)?;
    let mut values = HashMap::new();
    for arg in at(&whole, place).get_arguments() {
        let id = arg.get_id().clone();
        if let Some((name, value)) = arg.get_env().and_then(|name| Some((name, set(variable, name)?))) {
            let said = |fault| usage(format!("the variable {}: {fault}", name.display()));
            values.insert(id, accept(arg, &[value]).map_err(said)?);
        } else if let Some(setting) = key(arg).filter(|key| may_stand(key, place)).and_then(|k| file.find(&k))
        {
            values.insert(id, accept(arg, &setting.values).map_err(|fault| file.fault(setting, &fault))?);
        }
    }
    let fill = |command: Command| {
        command.mut_args(|arg| match values.remove(arg.get_id()) {
            Some(values) => arg.default_values(values),
            None => arg,
        })
    };
    Ok(change(without_variables(whole), place, fill).try_get_matches_from(words)?)
}

/// Checks every key of the file, also those that are for another role.
fn check_keys(whole: &Command, place: &[String], file: &File) -> anyhow::Result<()> {
    // The command that runs comes first: two roles may understand one key differently.
    let mut roles = ROLES;
    roles.sort_by_key(|role| !(is_role(place) && place[0] == *role));
    let of_roles = roles.into_iter().filter_map(|role| whole.find_subcommand(role));
    let of_roles = of_roles.flat_map(Command::get_arguments).filter_map(|arg| Some((key(arg)?, arg)));
    let of_clients = whole.find_subcommand("status").into_iter().flat_map(Command::get_arguments);
    let of_clients = of_clients
        .filter_map(|arg| Some((key(arg)?, arg)))
        .filter(|(key, _)| FOR_CLIENTS.contains(&key.as_str()));
    let known: Vec<(String, &Arg)> = of_roles.chain(of_clients).collect();
    for setting in file.settings() {
        let Some((_, arg)) = known.iter().find(|(key, _)| *key == setting.key) else {
            return Err(file.unknown(setting, known.iter().map(|(key, _)| key.as_str())));
        };
        if setting.is_list && !matches!(arg.get_action(), ArgAction::Append) {
            return Err(file.fault(setting, "one value is wanted, not a list"));
        }
        accept(arg, &setting.values).map_err(|fault| file.fault(setting, &fault))?;
    }
    Ok(())
}

fn may_stand(key: &str, place: &[String]) -> bool {
    is_role(place) || FOR_CLIENTS.contains(&key)
}

fn is_role(place: &[String]) -> bool {
    matches!(place, [role] if ROLES.contains(&role.as_str()) || BESIDE.contains(&role.as_str()))
}

/// Lets the option itself read the values; answers them as it wants them, or what it says against them.
fn accept(arg: &Arg, values: &[OsString]) -> Result<Vec<OsString>, String> {
    let Some(flag) = arg.get_long().filter(|_| arg.get_action().takes_values()) else {
        return values.iter().map(|value| on_or_off(value)).collect();
    };
    let words = values.iter().map(|value| {
        let mut word = OsString::from(format!("--{flag}="));
        word.push(value);
        word
    });
    let alone = Command::new("ocelot").no_binary_name(true).disable_help_flag(true);
    match alone.arg(arg.clone().env(Resettable::Reset)).try_get_matches_from(words) {
        Ok(_) => Ok(values.to_vec()),
        Err(error) => {
            let text = error.to_string();
            let text = text.split("\n\nFor more information").next().unwrap_or_default();
            Err(text.trim_start_matches("error: ").trim_end().to_owned())
        }
    }
}

fn on_or_off(value: &OsStr) -> Result<OsString, String> {
    match value.to_str().map(str::to_lowercase).as_deref() {
        Some("true" | "1" | "yes" | "on") => Ok("true".into()),
        Some("false" | "0" | "no" | "off") => Ok("false".into()),
        _ => Err(format!("`{}` is neither true nor false", value.display())),
    }
}

/// A variable that is set to something; empty ones are how compose files and units leave one out.
fn set(variable: Variable<'_>, name: &OsStr) -> Option<OsString> {
    variable(name).filter(|value| !value.is_empty())
}

/// How the file calls this option.
fn key(arg: &Arg) -> Option<String> {
    let long = arg.get_long().filter(|long| !matches!(*long, "config" | "help"))?;
    Some(long.replace('-', "_"))
}

/// The names of the subcommands that were chosen.
fn path(matches: &ArgMatches) -> Vec<String> {
    let mut names = Vec::new();
    let mut next = matches.subcommand();
    while let Some((name, inner)) = next {
        names.push(name.to_owned());
        next = inner.subcommand();
    }
    names
}

fn at<'c>(whole: &'c Command, place: &[String]) -> &'c Command {
    place.iter().fold(whole, |command, name| command.find_subcommand(name).unwrap_or(command))
}

fn change(command: Command, place: &[String], how: impl FnOnce(Command) -> Command) -> Command {
    match place {
        [] => how(command),
        [first, rest @ ..] => command.mut_subcommand(first, |inner| change(inner, rest, how)),
    }
}

/// Variables are read here, not by the library, so that a fault is named by the place where it stands.
fn without_variables(command: Command) -> Command {
    command.mut_args(|arg| arg.env(Resettable::Reset)).mut_subcommands(without_variables)
}

#[cfg(test)]
mod tests;
