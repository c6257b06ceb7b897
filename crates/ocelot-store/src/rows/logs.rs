//! Pieces of logs.

/// From byte `at` of a piece of log on, the bytes were written at `time_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Offset from the beginning of the piece.
    pub at: u32,
    /// Microseconds since 1970, worker's clock.
    pub time_us: i64,
}

/// A piece of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSlice {
    /// Offset of its first byte in the stage's log.
    pub offset: u64,
    /// The bytes.
    pub data: Vec<u8>,
    /// When they were written.
    pub marks: Vec<Mark>,
}

/// How far a log is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LogState {
    /// Durable bytes.
    pub bytes: u64,
    /// Nothing more follows.
    pub complete: bool,
    /// The log was removed: its bytes are the note that stands in its place.
    pub removed: bool,
}
