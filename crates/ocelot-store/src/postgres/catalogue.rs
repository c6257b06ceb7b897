//! What PostgreSQL says of its tables, and how a row becomes JSON and comes back.

use sqlx::postgres::PgConnection;

use crate::StoreError;
use crate::catalogue::{Column, Kind};

/// The names of all tables.
pub(crate) async fn tables(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar(
        "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema() ORDER BY tablename",
    )
    .fetch_all(conn)
    .await
}

/// The columns of a table, in order.
pub(crate) async fn columns(conn: &mut PgConnection, table: &str) -> Result<Vec<Column>, StoreError> {
    let rows: Vec<(String, String)> = sqlx::query_as(
        "SELECT column_name::text, data_type::text FROM information_schema.columns
         WHERE table_schema = current_schema() AND table_name = $1 ORDER BY ordinal_position",
    )
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
            Kind::Number | Kind::Text => format!("\"{name}\""),
            Kind::Flag => format!("\"{name}\"::int"),
            Kind::Bytes => format!("encode(\"{name}\", 'hex')"),
        })
        .collect();
    format!("json_build_array({})::text", values.join(", "))
}

/// Inserts the rows of a JSON array of arrays, which is bound as text.
pub(crate) fn insert(table: &str, columns: &[Column]) -> String {
    let names: Vec<String> = columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
    let values: Vec<String> = columns
        .iter()
        .enumerate()
        .map(|(at, Column { kind, .. })| match kind {
            Kind::Number => format!("(value ->> {at})::bigint"),
            Kind::Text => format!("value ->> {at}"),
            Kind::Flag => format!("(value ->> {at})::int::boolean"),
            Kind::Bytes => format!("decode(value ->> {at}, 'hex')"),
        })
        .collect();
    let (names, values) = (names.join(", "), values.join(", "));
    format!(
        "INSERT INTO {table} ({names}) SELECT {values} FROM json_array_elements($1::json) AS rows (value)"
    )
}

/// The next row of the table gets a number that is larger than the largest one by this.
pub(crate) async fn jump(
    conn: &mut PgConnection,
    table: &str,
    column: &str,
    by: i64,
) -> Result<(), sqlx::Error> {
    let sql = format!(
        "SELECT setval(pg_get_serial_sequence('{table}', '{column}'), coalesce(max({column}), 0) + $1, false) FROM {table}"
    );
    sqlx::query(sqlx::AssertSqlSafe(sql)).bind(by).execute(conn).await.map(drop)
}
