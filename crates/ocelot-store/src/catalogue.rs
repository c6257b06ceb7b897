//! What a database says of its own tables, in words that both kinds share.

use crate::StoreError;

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whole numbers.
    Number,
    /// Text.
    Text,
    /// True or false.
    Flag,
    /// Bytes.
    Bytes,
}

impl Kind {
    /// From the name that the schema gives it.
    pub(crate) fn read(name: &str) -> Result<Kind, StoreError> {
        match name.to_ascii_lowercase().as_str() {
            "bigint" | "integer" => Ok(Kind::Number),
            "text" => Ok(Kind::Text),
            "boolean" => Ok(Kind::Flag),
            "bytea" | "blob" => Ok(Kind::Bytes),
            other => Err(StoreError::Corrupt(format!("columns of type {other} cannot be backed up"))),
        }
    }
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) kind: Kind,
}
