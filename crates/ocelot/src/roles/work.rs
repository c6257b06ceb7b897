//! How a worker works: what `worker` and `up` have in common.

use std::collections::BTreeMap;

use clap::{Args, ValueEnum};
use ocelot_worker::{Config, ExecutorKind, Keep, MinFree};

use crate::exit::usage;

use super::read::{Age, Limit, age, label, limit, size};

#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct WorkOptions {
    /// A label that jobs may ask for; may be given several times.
    #[arg(long = "label", value_name = "KEY=VALUE", env = "OCELOT_LABEL", value_delimiter = ',', value_parser = label)]
    labels: Vec<(String, String)>,
    /// How jobs are done: in containers, or as processes of this machine [default: docker].
    #[arg(long, value_enum, env = "OCELOT_EXECUTOR")]
    executor: Option<Kind>,
    /// Most log that a stage may write, such as 500MiB; the rest is dropped with a marker [default: 100MiB].
    #[arg(long, value_name = "SIZE", env = "OCELOT_LOG_CAP", value_parser = size)]
    log_cap: Option<u64>,
    /// With less free room on its disk, or on the Docker Engine's, the worker takes no jobs; 0 for no limit [default: 5GiB].
    #[arg(long, value_name = "SIZE", env = "OCELOT_MIN_FREE", value_parser = limit)]
    min_free: Option<Limit>,
    /// The same in hundredths of the disk; 20 GiB are always enough for it [default: 10].
    #[arg(long, value_name = "N", env = "OCELOT_MIN_FREE_PERCENT", value_parser = clap::value_parser!(u8).range(0..=90))]
    min_free_percent: Option<u8>,
    /// A mirror of a repository goes when no job has used it for so long: 30d, 12w, forever [default: 30d].
    #[arg(long, value_name = "AGE", env = "OCELOT_KEEP_MIRRORS", value_parser = age)]
    keep_mirrors: Option<Age>,
    /// All mirrors take no more than this, but for the one used last; 0 for no limit [default: 20GiB].
    #[arg(long, value_name = "SIZE", env = "OCELOT_MIRRORS_MAX", value_parser = limit)]
    mirrors_max: Option<Limit>,
    /// An image that the worker has pulled goes when no job has used it for so long [default: 14d].
    #[arg(long, value_name = "AGE", env = "OCELOT_KEEP_IMAGES", value_parser = age)]
    keep_images: Option<Age>,
    /// All images that the worker has pulled take no more than this; 0 for no limit [default: 50GiB].
    #[arg(long, value_name = "SIZE", env = "OCELOT_IMAGES_MAX", value_parser = limit)]
    images_max: Option<Limit>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Docker,
    Host,
}

/// The labels of a worker, as they were given; the same one twice is none too many.
pub(crate) fn one_of_each(given: Vec<(String, String)>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    for (key, value) in given {
        match labels.insert(key.clone(), value.clone()) {
            Some(other) if other != value => {
                return Err(usage(format!(
                    "--label: {key} is {other} and {value}; a worker has one of each"
                )));
            }
            Some(_) | None => {}
        }
    }
    Ok(labels)
}

impl WorkOptions {
    /// Writes them into the worker's configuration.
    pub(crate) fn apply(self, config: &mut Config) -> anyhow::Result<()> {
        config.labels = one_of_each(self.labels)?;
        config.executor = match self.executor {
            None | Some(Kind::Docker) => ExecutorKind::Docker,
            Some(Kind::Host) => ExecutorKind::Host,
        };
        config.log_cap_bytes = self.log_cap.unwrap_or(config.log_cap_bytes);
        config.mirrors = keep(config.mirrors, self.keep_mirrors, self.mirrors_max);
        config.images = keep(config.images, self.keep_images, self.images_max);
        config.min_free = MinFree {
            bytes: self.min_free.map_or(config.min_free.bytes, |Limit(bytes)| bytes),
            percent: self.min_free_percent.unwrap_or(config.min_free.percent),
        };
        Ok(())
    }
}

fn keep(default: Keep, age: Option<Age>, most: Option<Limit>) -> Keep {
    Keep {
        age: age.map_or(default.age, |Age(age)| age),
        bytes: most.map_or(default.bytes, |Limit(bytes)| (bytes > 0).then_some(bytes)),
    }
}
