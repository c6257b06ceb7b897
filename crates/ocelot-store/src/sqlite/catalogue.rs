//! What SQLite says of its tables, and how a row becomes JSON and comes back.

use sqlx::sqlite::SqliteConnection;

use crate::StoreError;
use crate::catalogue::{Column, Kind};

/// The names of all tables.
pub(crate) async fn tables(conn: &mut SqliteConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name",
    )
    .fetch_all(conn)
    .await
}

/// The columns of a table, in order.
pub(crate) async fn columns(conn: &mut SqliteConnection, table: &str) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<(String, String)> =
        sqlx::query_as("SELECT name, type FROM pragma_table_info($1) ORDER BY cid")
            .bind(table)
            .fetch_all(conn)
            .await?;
    rows.into_iter().map(|(name, kind)| Ok(Column { name, kind: Kind::read(&kind)? })).collect()
}

/// A row as a JSON array.
pub(crate) fn row(columns: &[Column]) -> String {
    let values: Vec<String> = columns
        .iter()
        .map(|Column { name, kind }| match kind {
            Kind::Number | Kind::Text | Kind::Flag => format!("\"{name}\""),
            Kind::Bytes => format!("iif(\"{name}\" IS NULL, NULL, lower(hex(\"{name}\")))"),
        })
        .collect();
    format!("json_array({})", values.join(", "))
}

/// Inserts the rows of a JSON array of arrays, which is bound as text.
pub(crate) fn insert(table: &str, columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, Column { kind, .. })| match kind {
            Kind::Number | Kind::Text | Kind::Flag => format!("value ->> {at}"),
            Kind::Bytes => format!("unhex(value ->> {at})"),
        })
        .collect();
    let (names, values) = (names.join(", "), values.join(", "));
    format!("INSERT INTO {table} ({names}) SELECT {values} FROM json_each($1)")
}

/// The next row of the table gets a number that is larger than the largest one by this.
pub(crate) async fn jump(
    conn: &mut SqliteConnection,
    table: &str,
    column: &str,
    by: i64,
) -> Result<(), sqlx::Error> {
    sqlx::query("DELETE FROM sqlite_sequence WHERE name = $1").bind(table).execute(&mut *conn).await?;
    let sql = format!(
        "INSERT INTO sqlite_sequence (name, seq) SELECT $1, coalesce(max({column}), 0) + $2 - 1 FROM {table}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(table).bind(by).execute(conn).await.map(drop)
}
