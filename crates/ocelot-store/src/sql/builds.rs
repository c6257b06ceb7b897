//! Lists of builds.
//!
//! Every page is read along one index, by whatever narrows the builds most (which of several that is, the indexes are asked),
//! and what else was asked for is looked at build by build. So that no question takes long, only so many are looked at for one
//! page: it may be short, or empty, and still say where to go on. Times and texts leave whole blocks of builds out at once
//! (`sql/blocks`).

use ocelot_model::{BuildNumber, RepoId};
use sqlx::QueryBuilder;

use super::blocks::{Range, Ranges};
use super::{Core, Db, EACH_BUILD, OF_EACH_REPO};
use crate::raw::{BuildRow, clean};
use crate::{Build, BuildFilter, BuildPage, StoreError};

/// At most this many in one answer.
const LIMIT: u32 = 1000;
/// Builds that are looked at for one page.
const BUDGET: u32 = 3000;
/// Questions that are asked for one page.
const QUESTIONS: u32 = 24;
/// A range of so many numbers is looked at as a whole.
const SMALL: u32 = 1024;
/// So many repositories are each read along an index of its own.
const SCOPE: usize = 100;
/// How sparse an index is, is told by where its build of this rank lies.
const PROBE: u32 = 256;

impl Core {
    /// As many as there are: a page after the other.
    pub(crate) async fn list_builds(
        &self,
        filter: &BuildFilter,
        limit: u32,
    ) -> Result<Vec<Build>, StoreError> {
        let (mut filter, mut all) = (filter.clone(), Vec::new());
        loop {
            let page = self.page_builds(&filter, limit - all.len() as u32).await?;
            all.extend(page.builds);
            match page.next {
                Some(next) if all.len() < limit as usize => filter.before = Some(next),
                _ => return Ok(all),
            }
        }
    }

    pub(crate) async fn page_builds(
        &self,
        filter: &BuildFilter,
        limit: u32,
    ) -> Result<BuildPage, StoreError> {
        let limit = limit.min(LIMIT);
        let before = filter.before.map_or(i64::MAX, |number| number.0);
        let Ranges { ranges, floor } = self.ranges(filter, before).await?;
        let mut search = Search::new(filter, limit + 1);
        search.choose(self, &ranges).await?;
        for range in ranges {
            search.look(self, range).await?;
            if search.is_over() {
                break;
            }
        }
        let Search { mut builds, at, .. } = search;
        if builds.len() > limit as usize {
            builds.truncate(limit as usize);
            let next = builds.last().map(|build| build.number);
            return Ok(BuildPage { builds, next });
        }
        Ok(BuildPage { builds, next: at.or(floor).map(BuildNumber) })
    }
}

/// The index along which is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Along {
    Commit,
    Worker,
    Status,
    Branch,
    Event,
    Number,
}

impl Along {
    /// All that narrow what is asked for.
    fn all(filter: &BuildFilter) -> Vec<Along> {
        if filter.commit.is_some() {
            return vec![Along::Commit];
        }
        let given = [
            (filter.worker.is_some(), Along::Worker),
            (filter.status.is_some(), Along::Status),
            (filter.branch.is_some(), Along::Branch),
            (filter.event.is_some(), Along::Event),
        ];
        let mut all: Vec<Along> = given.into_iter().filter(|(given, _)| *given).map(|(_, by)| by).collect();
        // A repository may have fewer builds than a worker, whose index does not know it; all others do.
        if all.is_empty() || all == [Along::Worker] && filter.repo.is_some() {
            all.push(Along::Number);
        }
        all
    }

    /// Whether it knows the repository, too.
    fn has_repo(self) -> bool {
        !matches!(self, Along::Commit | Along::Worker)
    }
}

struct Search<'f> {
    filter: &'f BuildFilter,
    along: Along,
    /// Repositories that are read one by one, if the index knows them; `None`: all at once.
    repos: Option<Vec<RepoId>>,
    want: u32,
    builds: Vec<Build>,
    left: u32,
    questions: u32,
    /// Where to go on, when it ended early.
    at: Option<i64>,
}

impl<'f> Search<'f> {
    fn new(filter: &'f BuildFilter, want: u32) -> Search<'f> {
        let repos = match (&filter.repo, &filter.readable) {
            (Some(repo), readable) => {
                Some(vec![*repo].into_iter().filter(|repo| may(readable.as_ref(), *repo)).collect())
            }
            (None, Some(readable)) if readable.len() <= SCOPE => Some(readable.clone()),
            (None, _) => None,
        };
        Search {
            filter,
            along: Along::Number,
            repos,
            want,
            builds: Vec::new(),
            left: BUDGET,
            questions: QUESTIONS,
            at: None,
        }
    }

    /// Takes the index that leaves the fewest: the one whose builds lie farthest apart, among the newest ones.
    async fn choose(&mut self, core: &Core, ranges: &[Range]) -> Result<(), StoreError> {
        let all = Along::all(self.filter);
        self.along = all[0];
        let (Some(newest), Some(oldest), true) = (ranges.first(), ranges.last(), all.len() > 1) else {
            return Ok(());
        };
        let range = Range { from: oldest.from, to: newest.to };
        // Many repositories would make many questions, and the answer would be about the same.
        let repos = self.repos.as_deref().filter(|repos| repos.len() <= 1);
        let mut least = i64::MAX;
        for along in all {
            let mut sql = self.end(along, repos, range, PROBE);
            let at: Option<i64> = sql.build_query_scalar().fetch_optional(&core.pools.read).await?;
            // There are not even so many: it cannot get better.
            let Some(at) = at else {
                self.along = along;
                return Ok(());
            };
            if at < least {
                (self.along, least) = (along, at);
            }
        }
        Ok(())
    }

    /// Whether the index alone does not answer the question.
    fn looks(&self) -> bool {
        let filter = self.filter;
        let scoped = self.scope(self.along).is_some();
        let given = [
            filter.commit.is_some(),
            filter.worker.is_some(),
            filter.status.is_some(),
            filter.branch.is_some(),
            filter.event.is_some(),
        ];
        let given = given.into_iter().filter(|given| *given).count();
        !scoped && (filter.repo.is_some() || filter.readable.is_some())
            || given > usize::from(self.along != Along::Number)
            || filter.trusted.is_some()
            || filter.of_branch
            || filter.text.is_some()
            || filter.since.is_some()
            || filter.until.is_some()
    }

    /// The repositories of which an index is read one by one.
    fn scope(&self, along: Along) -> Option<&[RepoId]> {
        self.repos.as_deref().filter(|_| along.has_repo())
    }

    fn is_over(&self) -> bool {
        self.builds.len() >= self.want as usize || self.at.is_some()
    }

    /// Looks at a range from its end, a part at a time: first a small one, since most questions are answered by it.
    async fn look(&mut self, core: &Core, range: Range) -> Result<(), StoreError> {
        let mut range = range;
        let mut part = if self.looks() { self.want * 4 } else { self.want };
        while range.from < range.to {
            if self.left == 0 || self.questions == 0 {
                self.at = Some(range.to);
                return Ok(());
            }
            let whole = u32::try_from(range.to - range.from).unwrap_or(u32::MAX);
            part = if whole <= SMALL { whole } else { part.min(self.left) };
            self.left = self.left.saturating_sub(part);
            self.questions -= 1;
            let mut sql = self.question(range, part);
            let rows: Vec<BuildRow> = sql.build_query_as().fetch_all(&core.pools.read).await?;
            for row in rows {
                self.builds.push(row.into_build()?);
            }
            if self.builds.len() >= self.want as usize || part >= whole {
                return Ok(());
            }
            let mut sql = self.end(self.along, self.scope(self.along), range, part);
            let last: Option<i64> = sql.build_query_scalar().fetch_optional(&core.pools.read).await?;
            let Some(last) = last else { return Ok(()) };
            range.to = last;
            part *= 4;
        }
        Ok(())
    }

    fn question(&self, range: Range, part: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::<Db>::new(concat!("SELECT ", build_columns!(), " FROM ("));
        self.push_candidates(&mut sql, self.along, self.scope(self.along), range, part);
        sql.push(") AS c").push(EACH_BUILD).push(
            " JOIN repos r ON r.id = b.repo_id JOIN forges f ON f.id = r.forge_id
             WHERE b.number = c.number AND NOT r.removing AND b.number >= ",
        );
        sql.push_bind(range.from).push(" AND b.number < ").push_bind(range.to);
        push_exact(&mut sql, self.filter);
        push_ranges(&mut sql, self.filter);
        push_text(&mut sql, self.filter);
        sql.push(" ORDER BY c.number DESC LIMIT ").push_bind(i64::from(self.want) - self.builds.len() as i64);
        sql
    }

    /// The last one of a part; none when the range ends with it.
    fn end(&self, along: Along, repos: Option<&[RepoId]>, range: Range, part: u32) -> QueryBuilder<Db> {
        let mut sql = QueryBuilder::<Db>::new("SELECT number FROM (");
        self.push_candidates(&mut sql, along, repos, range, part);
        sql.push(") AS c ORDER BY number DESC LIMIT 1 OFFSET ").push_bind(i64::from(part) - 1);
        sql
    }

    fn push_candidates(
        &self,
        sql: &mut QueryBuilder<Db>,
        along: Along,
        repos: Option<&[RepoId]>,
        range: Range,
        part: u32,
    ) {
        match repos.filter(|_| along.has_repo()) {
            None if along == Along::Worker => {
                sql.push("SELECT DISTINCT build AS number FROM attempts WHERE build >= ")
                    .push_bind(range.from);
                sql.push(" AND build < ").push_bind(range.to);
                push_is(sql, "worker", self.filter.worker.as_deref().map(clean));
                sql.push(" ORDER BY number DESC LIMIT ").push_bind(i64::from(part));
            }
            None if along == Along::Commit => {
                // A plus hides the number from both databases' planners, which would rather read all builds in its order.
                sql.push("SELECT number FROM builds WHERE +number >= ").push_bind(range.from);
                sql.push(" AND +number < ").push_bind(range.to);
                push_commit(sql, "", self.filter);
                sql.push(" ORDER BY +number DESC LIMIT ").push_bind(i64::from(part));
            }
            None => {
                sql.push("SELECT number FROM builds WHERE number >= ").push_bind(range.from);
                self.push_rest(sql, along, range, part);
            }
            Some([]) => drop(sql.push("SELECT number FROM builds WHERE 1 = 0")),
            Some([repo]) => {
                sql.push("SELECT number FROM builds WHERE repo_id = ").push_bind(repo.0);
                sql.push(" AND number >= ").push_bind(range.from);
                self.push_rest(sql, along, range, part);
            }
            Some(several) => {
                let ids: Vec<String> = several.iter().map(ToString::to_string).collect();
                sql.push(OF_EACH_REPO[0]).push_bind(format!("[{}]", ids.join(",")));
                sql.push(OF_EACH_REPO[1]).push_bind(range.from);
                self.push_rest(sql, along, range, part);
                sql.push(OF_EACH_REPO[2]).push_bind(i64::from(part));
            }
        }
    }

    /// The end of the range, and what the index knows beside number and repository.
    fn push_rest(&self, sql: &mut QueryBuilder<Db>, along: Along, range: Range, part: u32) {
        sql.push(" AND number < ").push_bind(range.to);
        let filter = self.filter;
        match along {
            Along::Status => push_is(sql, "status", filter.status.map(|status| status.as_str().to_owned())),
            Along::Branch => push_is(sql, "branch", filter.branch.as_deref().map(clean)),
            Along::Event => push_is(sql, "event", filter.event.map(|event| event.as_str().to_owned())),
            Along::Commit | Along::Worker | Along::Number => {}
        }
        sql.push(" ORDER BY number DESC LIMIT ").push_bind(i64::from(part));
    }
}

fn may(readable: Option<&Vec<RepoId>>, repo: RepoId) -> bool {
    readable.is_none_or(|readable| readable.contains(&repo))
}

fn push_is(sql: &mut QueryBuilder<Db>, column: &str, value: Option<String>) {
    if let Some(value) = value {
        sql.push(" AND ").push(column).push(" = ").push_bind(value);
    }
}

fn push_exact(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    if let Some(repo) = filter.repo {
        sql.push(" AND b.repo_id = ").push_bind(repo.0);
    }
    if let Some(readable) = &filter.readable {
        // Numbers need no binding, and there may be more of them than a statement takes.
        sql.push(" AND b.repo_id IN (-1");
        for id in readable {
            sql.push(", ").push(id.0);
        }
        sql.push(")");
    }
    push_is(sql, "b.branch", filter.branch.as_deref().map(clean));
    push_is(sql, "b.status", filter.status.map(|status| status.as_str().to_owned()));
    push_is(sql, "b.event", filter.event.map(|event| event.as_str().to_owned()));
    if let Some(trusted) = filter.trusted {
        sql.push(" AND b.trusted = ").push_bind(trusted);
    }
    if filter.of_branch {
        sql.push(concat!(" AND ", of_branch!("b")));
    }
    if let Some(worker) = &filter.worker {
        sql.push(" AND EXISTS (SELECT 1 FROM attempts a WHERE a.build = b.number AND a.worker = ")
            .push_bind(clean(worker))
            .push(")");
    }
}

fn push_commit(sql: &mut QueryBuilder<Db>, table: &str, filter: &BuildFilter) {
    if let Some(prefix) = &filter.commit {
        let from = clean(prefix).to_ascii_lowercase();
        // `g` comes after every hex digit.
        let to = format!("{from}g");
        sql.push(" AND ").push(table).push("commit_id >= ").push_bind(from);
        sql.push(" AND ").push(table).push("commit_id < ").push_bind(to);
    }
}

fn push_ranges(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    push_commit(sql, "b.", filter);
    if let Some(since) = filter.since {
        sql.push(" AND b.queued_at >= ").push_bind(since.as_microsecond());
    }
    if let Some(until) = filter.until {
        sql.push(" AND b.queued_at < ").push_bind(until.as_microsecond());
    }
}

/// A commit is found by its beginning, anything else by any part of it.
fn push_text(sql: &mut QueryBuilder<Db>, filter: &BuildFilter) {
    let Some(text) = &filter.text else { return };
    let escaped = clean(text).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let pattern = format!("%{escaped}%");
    sql.push(" AND (b.commit_id LIKE ")
        .push_bind(format!("{}%", escaped.to_lowercase()))
        .push(" ESCAPE '\\'");
    for column in ["b.message", "b.author", "b.branch"] {
        sql.push(" OR lower(").push(column).push(") LIKE lower(");
        sql.push_bind(pattern.clone()).push(") ESCAPE '\\'");
    }
    sql.push(")");
}
