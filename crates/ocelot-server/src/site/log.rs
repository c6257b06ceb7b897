//! Pieces of a stage's log as HTML lines, each piece small and resumable.

use std::fmt::Write as _;

use ocelot_model::StageId;
use ocelot_store::{Store, StoreError};

use super::ansi::{Renderer, Style};

/// Bytes of log in one piece at most.
const PIECE: usize = 256 << 10;
/// Bytes of log that a page shows at first.
const TAIL: u64 = 64 << 10;
/// So much is counted through, so that lines have numbers; the log store knows the rest by itself.
const COUNTED: u64 = 8 << 20;

/// Where the next piece begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// Offset of the first byte of a line.
    pub(crate) offset: u64,
    /// Number of that line, from 1; 0 when nobody counted.
    pub(crate) line: u64,
    /// Colours in force there.
    pub(crate) style: Style,
}

impl Place {
    /// The first line.
    pub(crate) fn start() -> Place {
        Place { offset: 0, line: 1, style: Style::default() }
    }
}

/// Some lines, and where to go on.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) html: String,
    pub(crate) next: Place,
    /// More is there already.
    pub(crate) more: bool,
}

/// Where the lines begin that a page shows at first: the last ones of a long log.
pub(crate) async fn tail(store: &Store, stage: StageId) -> Result<Place, StoreError> {
    let length = store.log_state(stage).await?.bytes;
    if length <= TAIL {
        return Ok(Place::start());
    }
    let from = length - TAIL;
    let slice = store.read_log(stage, from, TAIL as usize).await?;
    let skip = memchr::memchr(b'\n', &slice.data).map_or(0, |at| at as u64 + 1);
    let offset = from + skip;
    let line = store.log_lines(stage, offset, COUNTED).await?.map_or(0, |before| before + 1);
    Ok(Place { offset, line, style: Style::default() })
}

/// The lines from `place` on. The last one, when its end has not come yet, has class `open` and is
/// part of the next piece again.
pub(crate) async fn piece(store: &Store, stage: StageId, place: Place) -> Result<Piece, StoreError> {
    let state = store.log_state(stage).await?;
    // A page that has a part of a log that was removed gets the note behind it.
    let noted = state.removed && place.offset != state.bytes;
    let place = if noted { Place::start() } else { place };
    let slice = store.read_log(stage, place.offset, PIECE).await?;
    let at_end = place.offset.saturating_add(slice.data.len() as u64) >= state.bytes;
    let mut piece = Piece { html: String::new(), next: place, more: !at_end };
    let mut renderer = Renderer::new(place.style);
    let rest = whole_lines(&mut piece, &mut renderer, stage, &slice.data);
    if rest.is_empty() {
        return Ok(piece);
    }
    if at_end && !state.complete {
        line(&mut piece, &mut renderer, stage, rest, "l open");
    } else if at_end || rest.len() == slice.data.len() {
        // The very last line without an end, or one that is longer than a piece.
        line(&mut piece, &mut renderer, stage, rest, "l");
        piece.next.offset += rest.len() as u64;
        advance(&mut piece.next, &renderer);
    }
    Ok(piece)
}

/// The lines before the one that begins at `end`, and where the first of them begins: 0 when there are no others.
pub(crate) async fn before(store: &Store, stage: StageId, end: u64) -> Result<(Piece, u64), StoreError> {
    let state = store.log_state(stage).await?;
    let end = if state.removed { 0 } else { end.min(state.bytes) };
    let from = end.saturating_sub(PIECE as u64);
    let slice = store.read_log(stage, from, (end - from) as usize).await?;
    // A line that is longer than a piece is shown from where the piece begins.
    let skip = if from == 0 { 0 } else { memchr::memchr(b'\n', &slice.data).map_or(0, |at| at + 1) };
    let first = from + skip as u64;
    let line_number = store.log_lines(stage, first, COUNTED).await?.map_or(0, |before| before + 1);
    let place = Place { offset: first, line: line_number, style: Style::default() };
    let mut piece = Piece { html: String::new(), next: place, more: false };
    let mut renderer = Renderer::new(place.style);
    let rest = whole_lines(&mut piece, &mut renderer, stage, slice.data.get(skip..).unwrap_or_default());
    if !rest.is_empty() {
        line(&mut piece, &mut renderer, stage, rest, "l");
    }
    Ok((piece, first))
}

/// Adds all lines that have an end; answers what is left.
fn whole_lines<'d>(piece: &mut Piece, renderer: &mut Renderer, stage: StageId, data: &'d [u8]) -> &'d [u8] {
    let mut rest = data;
    while let Some(end) = memchr::memchr(b'\n', rest) {
        line(piece, renderer, stage, &rest[..end], "l");
        piece.next.offset += end as u64 + 1;
        advance(&mut piece.next, renderer);
        rest = &rest[end + 1..];
    }
    rest
}

fn advance(next: &mut Place, renderer: &Renderer) {
    next.style = renderer.style();
    if next.line > 0 {
        next.line = next.line.saturating_add(1);
    }
}

fn line(piece: &mut Piece, renderer: &mut Renderer, stage: StageId, bytes: &[u8], class: &str) {
    let text = renderer.line(bytes);
    let number = piece.next.line;
    let _ = if number > 0 {
        write!(
            piece.html,
            "<div class=\"{class}\" id=\"s{stage}-L{number}\"><a class=\"n\" href=\"#s{stage}-L{number}\">{number}</a>\
             <span class=\"t\">{text}</span></div>"
        )
    } else {
        write!(
            piece.html,
            "<div class=\"{class}\"><span class=\"n\"></span><span class=\"t\">{text}</span></div>"
        )
    };
}
