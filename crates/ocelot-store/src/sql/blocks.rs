//! What whole blocks of builds cannot have: times outside of theirs, and texts with three characters in a row that occur in
//! none of them. A block is written down once, when no build can join it any more; newer ones are looked at one by one.
//!
//! Nothing here is more than a hint: a block that is let in is looked at, and one that is not written down yet, too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use jiff::Timestamp;
use sqlx::QueryBuilder;

use super::{Conn, Core, Db};
use crate::raw::{clean, us};
use crate::{BuildFilter, StoreError};

/// Builds of a block.
const SIZE: i64 = 256;
/// Blocks of which one row has the bits.
const PART: i64 = 1024;
/// Blocks that are let in for one page.
const MOST: usize = 256;
/// A number that was taken longer ago than this is in the database, or never will be: no transaction takes so long.
const SETTLED: Duration = Duration::from_mins(10);
/// So many of a text's threes are looked up.
const GRAMS: usize = 24;
const ROWS: usize = 1000;

/// Numbers of builds, the last one not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) from: i64,
    pub(super) to: i64,
}

/// Where the builds that are asked for may be, the newest first; below `floor` was not looked.
pub(super) struct Ranges {
    pub(super) ranges: Vec<Range>,
    pub(super) floor: Option<i64>,
}

#[derive(sqlx::FromRow)]
struct Text {
    number: i64,
    queued_at: i64,
    branch: String,
    message: String,
    author: String,
}

impl Core {
    pub(super) async fn ranges(&self, filter: &BuildFilter, before: i64) -> Result<Ranges, StoreError> {
        if filter.text.is_none() && filter.since.is_none() && filter.until.is_none() {
            return Ok(Ranges { ranges: vec![Range { from: 0, to: before }], floor: None });
        }
        let mut tx = self.snapshot().await?;
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(block) FROM build_blocks").fetch_one(&mut *tx).await?;
        let open = newest.map_or(0, |block| (block + 1) * SIZE);
        let mut ranges = vec![Range { from: open, to: before }];
        let (blocks, floor) = blocks(&mut tx, filter, before.min(open)).await?;
        for block in blocks {
            let (from, to) = (block * SIZE, ((block + 1) * SIZE).min(before));
            match ranges.last_mut() {
                Some(last) if last.from == to => last.from = from,
                _ => ranges.push(Range { from, to }),
            }
        }
        ranges.retain(|range| range.from < range.to);
        Ok(Ranges { ranges, floor })
    }

    pub(crate) async fn seal_blocks(&self, most: u32) -> Result<usize, StoreError> {
        let mut tx = self.begin().await?;
        let newest: Option<i64> =
            sqlx::query_scalar("SELECT max(block) FROM build_blocks").fetch_one(tx.conn()).await?;
        let from = newest.map_or(0, |block| (block + 1) * SIZE);
        let settled = tx.now - us(SETTLED);
        // A part is filled by itself, and the block of the newest settled build is not whole yet.
        let last: Option<i64> = sqlx::query_scalar(
            "SELECT max(number) FROM (SELECT number, queued_at FROM builds WHERE number >= $1 ORDER BY number LIMIT $2) AS next
             WHERE queued_at < $3",
        )
        .bind(from)
        .bind(SIZE * (i64::from(most) + 1))
        .bind(settled)
        .fetch_one(tx.conn())
        .await?;
        let first: Option<i64> = sqlx::query_scalar("SELECT min(number) FROM builds WHERE number >= $1")
            .bind(from)
            .fetch_one(tx.conn())
            .await?;
        let (Some(first), Some(last)) = (first, last) else { return Ok(0) };
        let part = first / SIZE / PART;
        let end = (last / SIZE).min((part + 1) * PART).min(first / SIZE + i64::from(most)) * SIZE;
        let texts: Vec<Text> = sqlx::query_as(
            "SELECT number, queued_at, branch, message, author FROM builds WHERE number >= $1 AND number < $2",
        )
        .bind(from)
        .bind(end)
        .fetch_all(tx.conn())
        .await?;
        let sealed = write(tx.conn(), part, &texts).await?;
        self.commit(tx).await?;
        Ok(sealed)
    }
}

/// The blocks before a number that may hold what is asked for, and where this stopped looking.
async fn blocks(
    conn: &mut Conn,
    filter: &BuildFilter,
    before: i64,
) -> Result<(Vec<i64>, Option<i64>), StoreError> {
    let end = (before + SIZE - 1) / SIZE;
    let rows: Vec<i64> = if filter.since.is_none() && filter.until.is_none() {
        (0..end).rev().collect()
    } else {
        sqlx::query_scalar(
            "SELECT block FROM build_blocks WHERE block < $1 AND last_at >= $2 AND first_at < $3
             ORDER BY block DESC",
        )
        .bind(end)
        .bind(filter.since.map_or(i64::MIN, Timestamp::as_microsecond))
        .bind(filter.until.map_or(i64::MAX, Timestamp::as_microsecond))
        .fetch_all(&mut *conn)
        .await?
    };
    let mut blocks = match &filter.text {
        None => rows,
        Some(text) => with_text(conn, &clean(text), rows).await?,
    };
    let floor = (blocks.len() > MOST).then(|| (blocks[MOST - 1]) * SIZE);
    blocks.truncate(MOST);
    Ok((blocks, floor))
}

/// Those of the blocks in which the text may occur, or a commit that begins with it.
async fn with_text(conn: &mut Conn, text: &str, blocks: Vec<i64>) -> Result<Vec<i64>, StoreError> {
    let commit = text.to_lowercase();
    let mut commits: Vec<i64> = Vec::new();
    if commit.len() >= 4 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        commits = sqlx::query_scalar(
            "SELECT DISTINCT number / 256 FROM builds WHERE commit_id >= $1 AND commit_id < $2 LIMIT 1000",
        )
        .bind(&commit)
        .bind(format!("{commit}g"))
        .fetch_all(&mut *conn)
        .await?;
    }
    let grams: BTreeSet<i64> = grams(text).into_iter().take(GRAMS).collect();
    if grams.is_empty() {
        return Ok(blocks);
    }
    let parts: BTreeSet<i64> = blocks.iter().map(|block| block / PART).collect();
    let mut bits: HashMap<i64, Vec<u8>> = HashMap::new();
    for part in parts.into_iter().rev() {
        bits.insert(part, both(conn, part, &grams).await?);
    }
    let has = |block: &i64| {
        let at = (block % PART) as usize;
        let byte = bits.get(&(block / PART)).and_then(|bits| bits.get(at / 8)).copied().unwrap_or_default();
        byte >> (at % 8) & 1 == 1 || commits.contains(block)
    };
    Ok(blocks.into_iter().filter(has).collect())
}

/// The bits that all of these threes have in a part.
async fn both(conn: &mut Conn, part: i64, grams: &BTreeSet<i64>) -> Result<Vec<u8>, StoreError> {
    let mut sql = QueryBuilder::<Db>::new("SELECT blocks FROM build_grams WHERE part = ");
    sql.push_bind(part).push(" AND gram IN (-1");
    for gram in grams {
        sql.push(", ").push(gram);
    }
    let rows: Vec<Vec<u8>> = sql.push(")").build_query_scalar().persistent(false).fetch_all(conn).await?;
    if rows.len() < grams.len() {
        return Ok(Vec::new());
    }
    let all = rows.into_iter().reduce(|one, two| one.iter().zip(&two).map(|(one, two)| one & two).collect());
    Ok(all.unwrap_or_default())
}

/// All three characters that stand together, as numbers; many have the same one. Upper case is lower case, and what is not
/// ASCII is all the same.
fn grams(text: &str) -> BTreeSet<i64> {
    let letters: Vec<u32> =
        text.chars().map(|c| if c.is_ascii() { c.to_ascii_lowercase() as u32 } else { 128 }).collect();
    letters
        .windows(3)
        .map(|three| {
            let number = three.iter().fold(0u32, |number, letter| number << 8 | letter);
            i64::from(number.wrapping_mul(0x9e37_79b1) >> 16)
        })
        .collect()
}

/// Writes down what the blocks of these builds have; answers how many blocks that is.
async fn write(conn: &mut Conn, part: i64, texts: &[Text]) -> Result<usize, StoreError> {
    let mut times: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
    let mut bits: BTreeMap<i64, BTreeSet<i64>> = BTreeMap::new();
    for text in texts {
        let block = text.number / SIZE;
        let (first, last) = times.entry(block).or_insert((i64::MAX, i64::MIN));
        (*first, *last) = ((*first).min(text.queued_at), (*last).max(text.queued_at));
        for text in [&text.branch, &text.message, &text.author] {
            for gram in grams(text) {
                bits.entry(gram).or_default().insert(block % PART);
            }
        }
    }
    for (block, (first, last)) in &times {
        sqlx::query(
            "INSERT INTO build_blocks (block, first_at, last_at) VALUES ($1, $2, $3) ON CONFLICT (block) DO NOTHING",
        )
        .bind(block)
        .bind(first)
        .bind(last)
        .execute(&mut *conn)
        .await?;
    }
    let stored: Vec<(i64, Vec<u8>)> = sqlx::query_as("SELECT gram, blocks FROM build_grams WHERE part = $1")
        .bind(part)
        .fetch_all(&mut *conn)
        .await?;
    let stored: HashMap<i64, Vec<u8>> = stored.into_iter().collect();
    let rows: Vec<(i64, Vec<u8>)> = bits
        .into_iter()
        .map(|(gram, blocks)| {
            let mut bytes = stored.get(&gram).cloned().unwrap_or_default();
            bytes.resize(PART as usize / 8, 0);
            for block in blocks {
                bytes[block as usize / 8] |= 1 << (block % 8);
            }
            (gram, bytes)
        })
        .collect();
    for some in rows.chunks(ROWS) {
        let mut sql = QueryBuilder::<Db>::new("INSERT INTO build_grams (part, gram, blocks) ");
        sql.push_values(some, |mut row, (gram, blocks)| {
            row.push_bind(part).push_bind(*gram).push_bind(blocks.clone());
        });
        sql.push(" ON CONFLICT (gram, part) DO UPDATE SET blocks = excluded.blocks");
        sql.build().persistent(false).execute(&mut *conn).await?;
    }
    Ok(times.len())
}

#[cfg(test)]
mod tests {
    use super::grams;

    #[test]
    fn a_part_of_a_text_has_some_of_its_threes() {
        for (text, part) in [
            ("Fix the Build", "the b"),
            ("Grüße aus Köln", "GRÜSSE AUS".get(..3).unwrap_or_default()),
            ("abc", "bc"),
        ] {
            assert!(grams(part).is_subset(&grams(text)), "{part} of {text}");
        }
        assert!(!grams("nothing").is_subset(&grams("Fix the Build")));
        assert!(grams("ab").is_empty());
    }
}
