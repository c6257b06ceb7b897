//! `ocelot.toml` as it stands: keys, values as words, and lines. What a key means is for the options to say.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use toml::{Spanned, Value};

use crate::exit::usage;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct File {
    path: PathBuf,
    settings: Vec<Setting>,
}

/// One key.
#[derive(Debug)]
pub(super) struct Setting {
    pub(super) key: String,
    /// As they would stand after the flag.
    pub(super) values: Vec<OsString>,
    pub(super) is_list: bool,
    line: usize,
}

impl File {
    pub(super) fn read(path: &Path) -> anyhow::Result<File> {
        let text = std::fs::read_to_string(path)
            .map_err(|error| usage(format!("cannot read the configuration {}: {error}", path.display())))?;
        File::parse(path, &text)
    }

    pub(super) fn parse(path: &Path, text: &str) -> anyhow::Result<File> {
        // The words of the library show the line with a caret below the place.
        let keys: BTreeMap<String, Spanned<Value>> = toml::from_str(text)
            .map_err(|error| usage(format!("{} is not right: {error}", path.display())))?;
        let mut file = File { path: path.to_owned(), settings: Vec::new() };
        for (key, value) in keys {
            let line = text[..value.span().start].matches('\n').count() + 1;
            let is_list = value.as_ref().is_array();
            let mut setting = Setting { key, values: Vec::new(), is_list, line };
            let Some(values) = words(value.into_inner()) else {
                return Err(
                    file.fault(&setting, "write text, a whole number, true or false, or a list of texts")
                );
            };
            setting.values = values;
            file.settings.push(setting);
        }
        file.settings.sort_by_key(|setting| setting.line);
        Ok(file)
    }

    pub(super) fn settings(&self) -> &[Setting] {
        &self.settings
    }

    pub(super) fn find(&self, key: &str) -> Option<&Setting> {
        self.settings.iter().find(|setting| setting.key == key)
    }

    /// What is wrong with a key, and where it stands.
    pub(super) fn fault(&self, setting: &Setting, fault: &str) -> anyhow::Error {
        usage(format!("{}, line {}: `{}`: {fault}", self.path.display(), setting.line, setting.key))
    }

    pub(super) fn unknown<'k>(
        &self,
        setting: &Setting,
        known: impl Iterator<Item = &'k str>,
    ) -> anyhow::Error {
        let distance = |key: &str| strsim::damerau_levenshtein(&setting.key, key);
        let nearest = known.min_by_key(|key| distance(key)).filter(|key| distance(key) <= 3);
        let hint = nearest.map_or_else(String::new, |key| format!("; did you mean `{key}`?"));
        self.fault(setting, &format!("there is no such key{hint}"))
    }
}

fn words(value: Value) -> Option<Vec<OsString>> {
    match value {
        Value::String(text) => Some(vec![text.into()]),
        Value::Integer(number) => Some(vec![number.to_string().into()]),
        Value::Boolean(yes) => Some(vec![yes.to_string().into()]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| if let Value::String(text) = item { Some(text.into()) } else { None })
            .collect(),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}
