//! Where finished logs lie: a folder or a bucket, as written in options.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use url::Url;

/// A log store as an option names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogPlace {
    /// `file:///folder`: one server's, unless it is said to be shared (`?shared=true`).
    Folder {
        /// The folder.
        path: PathBuf,
        /// Every server sees the same folder here.
        shared: bool,
    },
    /// `s3://bucket/prefix`.
    Bucket {
        /// Its name.
        bucket: String,
        /// What all names begin with; may be empty.
        prefix: String,
    },
}

impl LogPlace {
    /// The usual one: a folder below the server's data.
    pub fn below(data: &Path) -> LogPlace {
        LogPlace::Folder { path: data.join("log-store"), shared: false }
    }

    /// The same folder, and every server sees it.
    #[must_use]
    pub fn shared(self) -> LogPlace {
        match self {
            LogPlace::Folder { path, .. } => LogPlace::Folder { path, shared: true },
            bucket @ LogPlace::Bucket { .. } => bucket,
        }
    }
}

impl FromStr for LogPlace {
    type Err = String;

    fn from_str(text: &str) -> Result<LogPlace, String> {
        let bad = || "write file:///folder or s3://bucket/prefix".to_owned();
        let url = Url::parse(text).map_err(|_| bad())?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err("keys for S3 come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY".to_owned());
        }
        if url.fragment().is_some() {
            return Err("the name of a log store ends before `#`".to_owned());
        }
        let shared = match url.query() {
            None => false,
            Some("shared=true") if url.scheme() == "file" => true,
            Some(query) => {
                return Err(format!("`?{query}` is not known here; a folder may have ?shared=true"));
            }
        };
        match (url.scheme(), url.host_str()) {
            ("file", None) => {
                let path = url.to_file_path().ok().filter(|path| path.parent().is_some());
                Ok(LogPlace::Folder { path: path.ok_or_else(bad)?, shared })
            }
            ("file", Some(_)) => Err("a folder has three slashes: file:///folder".to_owned()),
            ("s3", Some(_)) if url.port().is_some() => {
                Err("a bucket has no port: the address of another service than Amazon's goes into AWS_ENDPOINT_URL".to_owned())
            }
            ("s3", Some(bucket)) => {
                let prefix = url.path().trim_matches('/').to_owned();
                Ok(LogPlace::Bucket { bucket: bucket.to_owned(), prefix })
            }
            _ => Err(bad()),
        }
    }
}

impl fmt::Display for LogPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LogPlace::Folder { path, .. } => write!(f, "file://{}", path.display()),
            LogPlace::Bucket { bucket, prefix } if prefix.is_empty() => write!(f, "s3://{bucket}"),
            LogPlace::Bucket { bucket, prefix } => write!(f, "s3://{bucket}/{prefix}"),
        }
    }
}

/// The log store, as a server is told of it.
#[derive(Clone, Default)]
pub struct LogStoreOptions {
    /// Where; the usual place when absent.
    pub place: Option<LogPlace>,
    /// The process's `AWS_*` variables, with their secrets.
    pub variables: Vec<(String, String)>,
}

impl fmt::Debug for LogStoreOptions {
    /// Without the variables: secrets stand in them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStoreOptions").field("place", &self.place).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check = |text: &str, want: Result<&str, &str>| {
            let got = text.parse::<LogPlace>().map(|place| place.to_string());
            match want {
                Ok(want) => assert_eq!(got.as_deref(), Ok(want), "{text}"),
                Err(words) => {
                    assert!(got.as_ref().is_err_and(|error| error.contains(words)), "{text}: {got:?}");
                }
            }
        };
        check("file:///var/logs", Ok("file:///var/logs"));
        check("file:///var/logs?shared=true", Ok("file:///var/logs"));
        check("s3://bucket", Ok("s3://bucket"));
        check("s3://bucket/a/b/", Ok("s3://bucket/a/b"));
        check("file://var/logs", Err("three slashes"));
        check("file:///var/logs?shared=yes", Err("shared=true"));
        check("s3://bucket:9/a", Err("AWS_ENDPOINT_URL"));
        check("s3://bucket/a#b", Err("before `#`"));
        check("s3://key:secret@bucket/a", Err("AWS_ACCESS_KEY_ID"));
        for bad in ["", "/var/logs", "http://h/b", "s3://", "file:///"] {
            assert!(bad.parse::<LogPlace>().is_err(), "{bad}");
        }
        let place = "file:///a?shared=true".parse::<LogPlace>();
        assert_eq!(place, "file:///a".parse::<LogPlace>().map(LogPlace::shared));
    }

    #[test]
    fn secrets_are_not_shown() {
        let variables = vec![("AWS_SECRET_ACCESS_KEY".to_owned(), "hunter2".to_owned())];
        let options = LogStoreOptions { place: None, variables };
        assert!(!format!("{options:?}").contains("hunter2"));
    }
}
