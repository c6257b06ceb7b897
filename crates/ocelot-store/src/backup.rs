//! A backup as a file: lines of JSON in one zstd stream, the same for both databases.
//!
//! The first line says what it is, an object names each table with its columns, an array is a row, and the last line has
//! the number of rows and the SHA-256 of all lines before it: a file that was cut or damaged is not taken for a whole
//! one. Bytes stand as hexadecimal digits, true and false as 1 and 0.
//!
//! Reading and writing block: only commands use this, in a process that does nothing else meanwhile.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{StoreError, secret};

/// Version of the file's form.
const FORM: u32 = 1;
/// No row is longer: the longest one is a piece of a log, twice 256 KiB.
const LINE: u64 = 64 << 20;
const LEVEL: i32 = 3;

/// Why a file is no backup that can be used.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// It is not one, or not a whole one any more.
    #[error("{0}")]
    Damaged(String),
    /// It can be neither written nor read.
    #[error("the backup file cannot be written or read")]
    File(#[from] std::io::Error),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        BackupError::Store(error.into())
    }
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// Version of its form.
    pub ocelot_backup: u32,
    /// Version of the program that made it.
    pub version: String,
    /// When it was made.
    pub taken_at: jiff::Timestamp,
    /// Whether the bytes of the logs are in it.
    pub logs: bool,
}

impl About {
    pub(crate) fn new(logs: bool) -> About {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        About { ocelot_backup: FORM, version, taken_at: jiff::Timestamp::now(), logs }
    }
}

/// Rows of a table follow, with these columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) table: String,
    pub(crate) columns: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct End {
    rows: u64,
    sha256: String,
}

/// Writes a backup.
pub(crate) struct Writer<W: Write> {
    out: zstd::stream::write::Encoder<'static, W>,
    hash: Sha256,
    rows: u64,
}

impl<W: Write> Writer<W> {
    pub(crate) fn new(out: W, about: &About) -> Result<Writer<W>, BackupError> {
        let mut out = zstd::stream::write::Encoder::new(out, LEVEL)?;
        out.include_checksum(true)?;
        let mut writer = Writer { out, hash: Sha256::new(), rows: 0 };
        writer.object(about)?;
        Ok(writer)
    }

    pub(crate) fn table(&mut self, table: &Table) -> Result<(), BackupError> {
        self.object(table)
    }

    /// A row as a JSON array.
    pub(crate) fn row(&mut self, row: &str) -> Result<(), BackupError> {
        self.rows += 1;
        self.line(row)
    }

    /// Ends the file; answers how many rows it has.
    pub(crate) fn end(mut self) -> Result<u64, BackupError> {
        let end = End { rows: self.rows, sha256: secret::hex(&self.hash.clone().finalize()) };
        self.object(&end)?;
        self.out.finish()?.flush()?;
        Ok(end.rows)
    }

    fn object(&mut self, what: &impl Serialize) -> Result<(), BackupError> {
        let text = serde_json::to_string(what).map_err(std::io::Error::from)?;
        self.line(&text)
    }

    fn line(&mut self, text: &str) -> Result<(), BackupError> {
        for part in [text.as_bytes(), b"\n"] {
            self.hash.update(part);
            self.out.write_all(part)?;
        }
        Ok(())
    }
}

/// What comes next in a backup.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line {
    Table(Table),
    /// A JSON array.
    Row(String),
    End,
}

/// Reads a backup.
pub(crate) struct Reader {
    lines: BufReader<zstd::stream::read::Decoder<'static, BufReader<File>>>,
    hash: Sha256,
    rows: u64,
    pub(crate) about: About,
}

impl Reader {
    pub(crate) fn open(path: &Path) -> Result<Reader, BackupError> {
        let lines = BufReader::new(zstd::stream::read::Decoder::new(File::open(path)?)?);
        let mut reader = Reader { lines, hash: Sha256::new(), rows: 0, about: About::new(false) };
        let no_backup =
            || damaged(&format!("{} is no backup made by `ocelot backup`, or it is damaged", path.display()));
        let first = reader.line().map_err(|_| no_backup())?;
        reader.about = serde_json::from_str(&first).map_err(|_| no_backup())?;
        if reader.about.ocelot_backup > FORM {
            return Err(damaged(
                "the backup was made by a newer version of Ocelot: restore it with that one",
            ));
        }
        Ok(reader)
    }

    /// Reads it to its end, without doing anything with it: whether it is whole.
    pub(crate) fn check(mut self) -> Result<u64, BackupError> {
        while self.next()? != Line::End {}
        Ok(self.rows)
    }

    pub(crate) fn next(&mut self) -> Result<Line, BackupError> {
        let hash = self.hash.clone();
        let text = self.line()?;
        if text.starts_with('[') {
            self.rows += 1;
            return Ok(Line::Row(text));
        }
        if let Ok(table) = serde_json::from_str(&text) {
            return Ok(Line::Table(table));
        }
        let end = End { rows: self.rows, sha256: secret::hex(&hash.finalize()) };
        // The stream has a checksum of its own behind the last line.
        let over = self.lines.fill_buf().is_ok_and(<[u8]>::is_empty);
        if over && serde_json::from_str::<End>(&text).is_ok_and(|said| said == end) {
            return Ok(Line::End);
        }
        Err(damaged("the backup file is damaged: its checksum does not fit"))
    }

    fn line(&mut self) -> Result<String, BackupError> {
        let mut bytes = Vec::new();
        let cut = || damaged("the backup file is damaged, or its end is missing");
        (&mut self.lines).take(LINE).read_until(b'\n', &mut bytes).map_err(|_| cut())?;
        self.hash.update(&bytes);
        if bytes.pop() != Some(b'\n') {
            return Err(cut());
        }
        String::from_utf8(bytes).map_err(|_| cut())
    }
}

fn damaged(words: &str) -> BackupError {
    BackupError::Damaged(words.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let mut writer = Writer::new(file.reopen().expect("the file"), &About::new(true)).expect("a writer");
        writer.table(&Table { table: "t".into(), columns: vec!["a".into()] }).expect("a table");
        for n in 0..1000 {
            writer.row(&format!("[{n}]")).expect("a row");
        }
        assert_eq!(writer.end().expect("an end"), 1000);
        file
    }

    #[test]
    fn what_was_written_is_read() {
        let file = file();
        let mut reader = Reader::open(file.path()).expect("a backup");
        assert!(reader.about.logs);
        assert!(matches!(reader.next(), Ok(Line::Table(table)) if table.table == "t"));
        assert_eq!(reader.next().expect("a row"), Line::Row("[0]".into()));
        assert_eq!(reader.check().expect("whole"), 1000);
    }

    #[test]
    fn no_cut_and_no_changed_byte_passes() {
        let file = file();
        let whole = std::fs::read(file.path()).expect("the file");
        for length in 0..whole.len() {
            std::fs::write(file.path(), &whole[..length]).expect("a cut file");
            assert!(Reader::open(file.path()).and_then(Reader::check).is_err(), "cut at {length}");
        }
        let mut same = 0;
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            std::fs::write(file.path(), &bytes).expect("a damaged file");
            let read = Reader::open(file.path()).and_then(Reader::check);
            assert!(read.is_err() || matches!(read, Ok(1000)), "a changed byte at {at}");
            same += usize::from(read.is_ok());
        }
        // A few bits say only how the stream is packed: its checksums prove that what was read is the same.
        assert!(same < 20, "{same} changed bytes passed");
    }
}
