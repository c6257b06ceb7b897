//! What earlier builds say about one.

use axum::Json;
use axum::extract::State;
use ocelot_api::body as api;
use ocelot_model::access::Action;
use ocelot_store::{BrokenSince, BuildRef};

use super::auth::Caller;
use super::builds::find;
use super::extract::{NoQuery, Query, Segments};
use super::problem::Answer;
use crate::App;
use crate::builds::insight;

/// What earlier builds say about a build: which lines of its failed logs are new, since when its branch is broken, and when
/// it may be over.
#[utoipa::path(get, path = "/api/v1/builds/{number}/insights", tag = "builds", params(("number" = String, Path, description = "Build number")),
    responses((status = 200, body = api::Insights)))]
pub(super) async fn insights(
    State(app): State<App>,
    caller: Caller,
    Segments(number): Segments<String>,
    Query(NoQuery {}): Query<NoQuery>,
) -> Answer<Json<api::Insights>> {
    let number = find(&app, &caller, &number, Action::ReadRepo).await?;
    let detail = app.store.find_build_detail(number).await?.ok_or_else(|| caller.not_found())?;
    let expected = insight::expected(&app, &detail).await?;
    let broken = insight::broken_since(&app, &detail.build).await?;
    let stages = insight::new_lines(&app, &detail).await?;
    Ok(Json(api::Insights {
        number: number.0,
        expected_ms: expected.map(|expected| expected.ms),
        expected_at: expected.and_then(|expected| expected.at),
        broken_since: broken.map(broken_since),
        stages: stages.into_iter().map(new_lines).collect(),
    }))
}

fn broken_since(BrokenSince { last_good, first_bad, builds }: BrokenSince) -> api::BrokenSince {
    let one = |BuildRef { number, commit }| api::BuildRef { number: number.0, commit };
    api::BrokenSince { last_good: last_good.map(one), first_bad: one(first_bad), builds }
}

fn new_lines(new: insight::NewLines) -> api::NewLines {
    let lines = new.lines.into_iter().map(|(line, text)| api::NewLine {
        line: line.number,
        offset: line.offset,
        count: line.count,
        text,
    });
    api::NewLines {
        job: new.job,
        stage: new.name,
        id: new.stage.0,
        compared_with: new.with,
        total: new.all,
        lines: lines.collect(),
    }
}
