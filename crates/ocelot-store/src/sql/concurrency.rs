//! Places in concurrency groups: who gets one, who makes room.

use std::collections::HashMap;

use ocelot_model::build::{Change, Happening};
use ocelot_model::concurrency::{Member, Step, settle};
use ocelot_model::{BuildNumber, RepoId};

use super::Core;
use super::advance::advance_in;
use crate::raw::to_json;
use crate::{Group, GroupKey, StoreError};

impl Core {
    pub(crate) async fn settle_group(
        &self,
        group: &GroupKey,
    ) -> Result<Vec<(BuildNumber, Vec<Change>)>, StoreError> {
        let mut tx = self.begin().await?;
        // One after the other, so that two do not give the same place away.
        sqlx::query(concat!("SELECT id FROM repos WHERE id = $1", for_no_key_update!()))
            .bind(group.repo.0)
            .fetch_optional(tx.conn())
            .await?;
        let rows: Vec<(i64, bool, i64, bool, bool)> = sqlx::query_as(
            "SELECT number, admitted, concurrency_limit, cancel_running, cancel_requested_at IS NOT NULL
             FROM builds WHERE repo_id = $1 AND concurrency_group = $2 AND finished_at IS NULL
             AND concurrency_group IS NOT NULL AND trusted = $3 AND (NOT needs_approval OR approved_by IS NOT NULL)
             ORDER BY number",
        )
        .bind(group.repo.0)
        .bind(&group.name)
        .bind(group.trusted)
        .fetch_all(tx.conn())
        .await?;
        let member = |(number, admitted, limit, cancel_running, cancel_requested)| Member {
            number: BuildNumber(number),
            admitted,
            limit: limit as u32,
            cancel_running,
            cancel_requested,
        };
        let members: Vec<Member> = rows.into_iter().map(member).collect();
        let mut all = Vec::new();
        for step in settle(&members) {
            let (number, what) = match step {
                Step::Admit(number) => (number, Happening::Admitted),
                Step::Cancel(number, cause) => {
                    let reason = format!("build {cause} took its place in concurrency group {}", group.name);
                    (number, Happening::CancelRequested { reason })
                }
            };
            all.push((number, advance_in(&mut tx, number, what).await?));
        }
        self.commit(tx).await?;
        Ok(all)
    }

    pub(crate) async fn waiting_groups(&self) -> Result<Vec<GroupKey>, StoreError> {
        let rows: Vec<(i64, String, bool)> = sqlx::query_as(
            "SELECT DISTINCT repo_id, concurrency_group, trusted FROM builds
             WHERE concurrency_group IS NOT NULL AND finished_at IS NULL AND NOT admitted
               AND (NOT needs_approval OR approved_by IS NOT NULL)",
        )
        .fetch_all(&self.pools.read)
        .await?;
        let key = |(repo, name, trusted)| GroupKey { repo: RepoId(repo), name, trusted };
        Ok(rows.into_iter().map(key).collect())
    }

    /// Those of these builds that wait for a place, with the builds that hold one.
    pub(super) async fn groups_in_the_way(&self, builds: &[i64]) -> Result<HashMap<i64, Group>, StoreError> {
        let builds = to_json(builds)?;
        let waits: Vec<(i64, i64, String, bool)> = sqlx::query_as(concat!(
            "SELECT number, repo_id, concurrency_group, trusted FROM builds
             WHERE concurrency_group IS NOT NULL AND finished_at IS NULL AND NOT admitted AND number IN ",
            ids!("$1")
        ))
        .bind(&builds)
        .fetch_all(&self.pools.read)
        .await?;
        if waits.is_empty() {
            return Ok(HashMap::new());
        }
        let admitted: Vec<(i64, i64, String, bool)> = sqlx::query_as(concat!(
            "SELECT number, repo_id, concurrency_group, trusted FROM builds
             WHERE concurrency_group IS NOT NULL AND finished_at IS NULL AND admitted AND (repo_id, concurrency_group) IN (
                 SELECT repo_id, concurrency_group FROM builds WHERE number IN ",
            ids!("$1"),
            ") ORDER BY number"
        ))
        .bind(&builds)
        .fetch_all(&self.pools.read)
        .await?;
        let mut holders: HashMap<(i64, &str, bool), Vec<BuildNumber>> = HashMap::new();
        for (number, repo, group, trusted) in &admitted {
            holders.entry((*repo, group, *trusted)).or_default().push(BuildNumber(*number));
        }
        let group = |(number, repo, name, trusted): &(i64, i64, String, bool)| {
            let holders = holders.get(&(*repo, name.as_str(), *trusted)).cloned().unwrap_or_default();
            (*number, Group { name: name.clone(), holders })
        };
        Ok(waits.iter().map(group).collect())
    }
}
