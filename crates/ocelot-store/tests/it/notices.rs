//! Who is told of a build: by the rules of which file, on which occasions, and each of them once.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelot_model::notify::{Occasion, Rule, Target};
use ocelot_model::secret::{Kind, Limits};
use ocelot_model::{Approvals, BuildNumber, EventKind, Origin, Status, Trust, WorkerId};
use ocelot_store::{Beside, FromFile, NewBuild, NewSecret, Plan, Post, Repo, Store};

use crate::bed::{Bed, LONG, cancel, finished, new_build};

both!(
    a_build_is_told_by_its_own_file,
    other_peoples_files_tell_nobody,
    a_file_that_cannot_be_read_tells_as_the_default_branch_does,
    a_retry_tells_as_the_first_one_did,
    what_is_news_is_told_by_the_branch,
    nothing_newer_takes_the_place_of_what_was_not_told,
    each_place_has_a_lane,
    a_credential_tells_of_all_in_its_scope,
    a_credential_that_is_not_there_is_missed,
    another_credential_is_tried_at_once,
    who_was_told_is_kept,
    two_servers_tell_once
);

fn rule(identifier: &str, to: Target, on: &[Occasion]) -> Rule {
    Rule { identifier: identifier.to_owned(), to, on: on.to_vec() }
}

/// A rule for Slack, for `pass`, `fail` and what else can happen to a whole build.
fn slack(identifier: &str) -> Rule {
    use Occasion::{Blocked, Cancelled, Fail, Pass};
    rule(identifier, Target::Slack(None), &[Pass, Fail, Cancelled, Blocked])
}

fn credential(scope: &str, name: &str, fields: &[(&str, &str)]) -> NewSecret {
    NewSecret {
        scope: scope.parse().unwrap(),
        name: name.to_owned(),
        kind: Kind::Notify,
        fields: fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        limits: Limits::default(),
        value: b"https://hooks.example/T/B/x".to_vec().into(),
        by: "ada".to_owned(),
        by_admin: true,
    }
}

/// A repository whose rules stand nowhere but in the builds that are made of it.
struct Told {
    bed: Bed,
    repo: Repo,
    worker: WorkerId,
}

impl Told {
    async fn new(bed: Bed) -> Told {
        let repo = bed.repo("git/acme/app").await;
        // What comes from a fork goes to workers with containers.
        let worker = bed.worker("w1", "executor=docker").await;
        Told { bed, repo, worker }
    }

    fn with(&self, rules: &[Rule]) -> NewBuild {
        NewBuild { notify: Some(rules.to_vec()), ..new_build(&self.repo, "a") }
    }

    /// The same, of the newest file of the default branch.
    async fn newest(&self, rules: &[Rule]) -> NewBuild {
        let seen = self.bed.store.beside(self.repo.id).await.unwrap();
        let file = FromFile { notify: rules.to_vec(), ..FromFile::default() };
        NewBuild { beside: Some(Beside { seen, file: Some(file) }), ..self.with(rules) }
    }

    async fn create(&self, new: &NewBuild) -> BuildNumber {
        self.bed.store.create_build(new).await.unwrap().build.number
    }

    /// Makes it and lets it end so.
    async fn ends(&self, new: &NewBuild, status: Status) -> BuildNumber {
        let number = self.create(new).await;
        let claimed = self.bed.claim(self.worker).await.unwrap();
        self.bed.store.advance(number, finished(&claimed, status)).await.unwrap();
        number
    }
}

/// All that is due now, in this order.
async fn take(store: &Store) -> Vec<Post> {
    let mut posts = Vec::new();
    for (lane, _) in store.outbox_lanes().await.unwrap() {
        posts.extend(store.take_posts(&lane, 100, LONG).await.unwrap());
    }
    posts.sort_by_key(|post| (post.build.0, post.context.clone(), post.id));
    posts
}

/// Tells all that is due; says what that was.
async fn tell(store: &Store) -> Vec<String> {
    let posts = take(store).await;
    for post in &posts {
        store.post_sent(post).await.unwrap();
    }
    let text = |post: &Post| format!("{} {} #{}", post.context, post.status, post.build);
    posts.iter().map(text).collect()
}

fn broken(new: NewBuild) -> NewBuild {
    let plan = Plan::Broken { reason: "ocelot.yml:1:1: no".to_owned(), problems: Vec::new() };
    NewBuild { plan, notify: None, ..new }
}

async fn a_build_is_told_by_its_own_file(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let email = rule("m", Target::Email(vec!["a@b".into()]), &[Occasion::Pass]);
    let passed = told.ends(&told.with(&[slack("s"), email.clone()]), Status::Passed).await;
    assert_eq!(tell(store).await, [format!("m a@b passed #{passed}"), format!("s passed #{passed}")]);
    let failed = told.ends(&told.with(&[slack("s"), email]), Status::Failed).await;
    let posts = take(store).await;
    assert_eq!(posts.len(), 1, "the mail is for passed ones");
    let notice = posts[0].notice.clone().unwrap();
    assert_eq!((posts[0].build, notice.rule, notice.before), (failed, slack("s"), Some(Status::Passed)));
    // A tag may have the branch's name.
    let tag = NewBuild { tag: Some("main".into()), ..told.with(&[slack("s")]) };
    let tagged = told.ends(&tag, Status::Failed).await;
    let posts = take(store).await;
    let of_tag = posts.iter().find(|post| post.build == tagged).unwrap();
    assert_eq!(of_tag.notice.clone().unwrap().before, None);
    assert!(store.repo_rules(told.repo.id).await.unwrap().is_empty(), "no newest file of the default branch");
}

async fn other_peoples_files_tell_nobody(bed: Bed) {
    let told = Told::new(bed).await;
    // Even a caller that hands in a fork's rules as if they were for nobody to use.
    let fork =
        NewBuild { trust: Trust::new(Origin::Fork, None, Approvals::None), notify: None, ..told.with(&[]) };
    told.ends(&fork, Status::Passed).await;
    assert_eq!(tell(&told.bed.store).await, [""; 0]);
    let main = told.newest(&[slack("ours")]).await;
    told.ends(&main, Status::Passed).await;
    tell(&told.bed.store).await;
    let number = told.ends(&fork, Status::Passed).await;
    assert_eq!(tell(&told.bed.store).await, [format!("ours passed #{number}")]);
    let held = NewBuild { trust: Trust::new(Origin::Fork, None, Approvals::Forks), ..fork };
    let held = told.create(&held).await;
    assert_eq!(tell(&told.bed.store).await, [format!("ours blocked #{held}")]);
}

async fn a_file_that_cannot_be_read_tells_as_the_default_branch_does(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    told.create(&broken(told.with(&[]))).await;
    assert_eq!(tell(store).await, [""; 0]);
    let main = told.newest(&[slack("ours")]).await;
    told.ends(&main, Status::Passed).await;
    // Another branch's file is not the repository's word.
    told.ends(&told.with(&[slack("theirs")]), Status::Passed).await;
    tell(store).await;
    let number = told.create(&broken(told.with(&[]))).await;
    assert_eq!(tell(store).await, [format!("ours error #{number}")]);
    assert_eq!(store.repo_rules(told.repo.id).await.unwrap(), [slack("ours")]);
    // The newest one takes it back.
    told.ends(&told.newest(&[]).await, Status::Passed).await;
    told.create(&broken(told.with(&[]))).await;
    assert_eq!(tell(store).await, [""; 0]);
}

async fn a_retry_tells_as_the_first_one_did(bed: Bed) {
    let told = Told::new(bed).await;
    let first = told.ends(&told.with(&[slack("s")]), Status::Failed).await;
    tell(&told.bed.store).await;
    let again = NewBuild { retry_of: Some(first), notify: None, ..told.with(&[]) };
    let number = told.ends(&again, Status::Passed).await;
    assert_eq!(tell(&told.bed.store).await, [format!("s passed #{number}")]);
}

async fn what_is_news_is_told_by_the_branch(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let only = |on| rule("s", Target::Slack(None), &[on]);
    let news: Vec<Rule> = [Occasion::Broken, Occasion::Fixed, Occasion::StillFailing]
        .into_iter()
        .map(|on| Rule { identifier: on.as_str().to_owned(), ..only(on) })
        .collect();
    let new = told.with(&news);
    let check = async |new: &NewBuild, status: Status, want: &str| {
        told.ends(new, status).await;
        let said = tell(store).await;
        let said: Vec<&str> = said.iter().map(|text| text.split(' ').next().unwrap()).collect();
        assert_eq!(said.join(" "), want);
    };
    check(&new, Status::Passed, "").await;
    check(&new, Status::Failed, "broken").await;
    // Another branch, a pull request from a branch of that name, and a fork's: none of them knows of each other.
    check(&NewBuild { branch: "other".into(), ..new.clone() }, Status::Passed, "").await;
    let request = NewBuild { event: EventKind::PullRequest, pull_request: Some(3), ..new.clone() };
    check(&request, Status::Passed, "").await;
    check(
        &NewBuild { trust: Trust::new(Origin::Fork, None, Approvals::None), ..new.clone() },
        Status::Passed,
        "",
    )
    .await;
    // A pull request of its commit was opened: it is what the branch held all the same.
    check(&NewBuild { pull_request: Some(4), ..new.clone() }, Status::TimedOut, "still_failing").await;
    // What somebody stopped says nothing of the commit.
    let stopped = told.create(&new).await;
    store.advance(stopped, cancel()).await.unwrap();
    check(&new, Status::Passed, "fixed").await;
    check(&new, Status::Passed, "").await;
    // A broken file and a lost worker are faults as a failure is, whatever was stopped in between.
    check(&new, Status::Error, "broken").await;
    let stopped = told.create(&new).await;
    store.advance(stopped, cancel()).await.unwrap();
    check(&new, Status::Failed, "still_failing").await;
    check(&new, Status::Error, "still_failing").await;
    let stopped = told.create(&new).await;
    store.advance(stopped, cancel()).await.unwrap();
    check(&new, Status::Passed, "fixed").await;
}

async fn nothing_newer_takes_the_place_of_what_was_not_told(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let held = Trust::new(Origin::Fork, None, Approvals::Forks);
    // The same commit three times; one of them blocked first.
    let one = told.create(&NewBuild { trust: held, ..told.with(&[slack("s")]) }).await;
    store.advance(one, cancel()).await.unwrap();
    let two = told.ends(&told.with(&[slack("s")]), Status::Failed).await;
    let three = told.ends(&told.with(&[slack("s")]), Status::Passed).await;
    let want = [(one, "blocked"), (one, "cancelled"), (two, "failed"), (three, "passed")];
    assert_eq!(tell(store).await, want.map(|(number, status)| format!("s {status} #{number}")));
    assert_eq!(tell(store).await, [""; 0]);
}

async fn each_place_has_a_lane(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let fixed = [("type", "webhook"), ("url", "https://h/own")];
    let mut ids = BTreeMap::new();
    for (name, fields) in [("s", &[][..]), ("w", &[("type", "webhook")]), ("x", &fixed)] {
        ids.insert(name, store.put_secret(&credential("git/acme/", name, fields)).await.unwrap().0.id);
    }
    let to = |name: &str, url: &str| rule(name, Target::Webhook(Some(url.into())), &[Occasion::Pass]);
    let rules = [
        slack("s"),
        Rule { to: Target::Slack(Some("#b".into())), ..slack("s") },
        to("w", "https://a/1"),
        to("w", "https://b/1"),
        to("x", "https://c"),
        slack("none"),
    ];
    told.ends(&told.with(&rules), Status::Passed).await;
    let lanes: Vec<String> = store.outbox_lanes().await.unwrap().into_iter().map(|(lane, _)| lane).collect();
    let has = |lane: &str| lanes.iter().filter(|one| one.starts_with(lane)).count();
    assert_eq!(lanes.len(), 5, "{lanes:?}");
    assert_eq!(has(&format!("notify:{}:", ids["w"])), 2, "{lanes:?}");
    for lane in [format!("notify:{}", ids["s"]), format!("notify:{}", ids["x"])] {
        assert!(lanes.contains(&lane), "{lane} in {lanes:?}");
    }
    assert_eq!(has("notify:none:"), 1, "{lanes:?}");
}

async fn a_credential_tells_of_all_in_its_scope(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let on = |scope: &str, name: &str, on: &str| credential(scope, name, &[("on", on), ("channel", "#ci")]);
    let mut narrow = on("git/acme/", "NARROW", "pass");
    narrow.limits.branches = vec!["release".to_owned()];
    for new in [
        on("git/acme/", "TEAM", "pass"),
        on("git/other/", "OTHERS", "pass"),
        narrow,
        credential("git/acme/", "SILENT", &[]),
    ] {
        store.put_secret(&new).await.unwrap();
    }
    let none = told.with(&[]);
    let number = told.ends(&none, Status::Passed).await;
    assert_eq!(tell(store).await, [format!("TEAM #ci passed #{number}")]);
    let number = told.ends(&NewBuild { branch: "release".into(), ..none.clone() }, Status::Passed).await;
    let want = ["NARROW", "TEAM"].map(|name| format!("{name} #ci passed #{number}"));
    assert_eq!(tell(store).await, want);
    // The nearest one of a name is the one that counts, also for what it wants to hear.
    store.put_secret(&on("git/acme/app", "TEAM", "fail")).await.unwrap();
    told.ends(&none, Status::Passed).await;
    assert_eq!(tell(store).await, [""; 0]);
    // The file asks for the same place: it is told once.
    let same = Rule { to: Target::Slack(Some("#ci".into())), ..slack("TEAM") };
    let number = told.ends(&told.with(&[same]), Status::Failed).await;
    assert_eq!(tell(store).await, [format!("TEAM #ci failed #{number}")]);
}

async fn a_credential_that_is_not_there_is_missed(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let number = told.ends(&told.with(&[slack("my-team")]), Status::Passed).await;
    let post = take(store).await.remove(0);
    let readable = [told.repo.id];
    assert_eq!(store.failing_notices(None, &readable).await.unwrap(), []);
    store.post_failed(&post, "there is none", LONG, Duration::from_hours(24)).await.unwrap();
    let failing = store.failing_notices(None, &readable).await.unwrap().remove(0);
    assert_eq!((failing.build, failing.place.as_str(), failing.tries), (number, "my-team", 1));
    assert_eq!((failing.error.as_str(), failing.again_at.is_some()), ("there is none", true));
    assert_eq!(store.undelivered(number).await.unwrap()[0].kind.as_str(), "slack");
    // Whoever may not read the repository does not see it.
    assert_eq!(store.failing_notices(None, &[]).await.unwrap(), []);
    let other = told.bed.repo("git/acme/other").await;
    assert_eq!(store.failing_notices(Some(other.id), &[told.repo.id, other.id]).await.unwrap(), []);
    assert_eq!(take(store).await.len(), 0, "it rests");
    // It comes, by the name that the original would have taken.
    store.put_secret(&credential("", "my_team", &[("id", "my-team")])).await.unwrap();
    assert_eq!(tell(store).await, [format!("my-team passed #{number}")]);
    assert_eq!(store.failing_notices(None, &readable).await.unwrap(), []);
}

async fn another_credential_is_tried_at_once(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let (s, t) = (credential("", "s", &[]), credential("", "t", &[]));
    store.put_secret(&s).await.unwrap();
    store.put_secret(&t).await.unwrap();
    let given_up = told.ends(&told.with(&[slack("s")]), Status::Passed).await;
    let post = take(store).await.remove(0);
    assert!(store.post_failed(&post, "away", LONG, Duration::ZERO).await.unwrap());
    let number = told.ends(&told.with(&[slack("s"), slack("t")]), Status::Passed).await;
    for post in take(store).await {
        assert!(!store.post_failed(&post, "away", LONG, Duration::from_hours(24)).await.unwrap());
    }
    store.put_secret(&s).await.unwrap();
    assert_eq!(tell(store).await, [format!("s passed #{number}")], "not the other's, nor what was given up");
    let failing = store.failing_notices(None, &[told.repo.id]).await.unwrap();
    let failing: Vec<_> =
        failing.iter().map(|one| (one.build, one.place.as_str(), one.again_at.is_some())).collect();
    assert_eq!(failing, [(number, "t", true), (given_up, "s", false)]);
}

async fn who_was_told_is_kept(bed: Bed) {
    let told = Told::new(bed).await;
    let store = &told.bed.store;
    let people = rule("m", Target::Email(vec!["a@b".into(), "c@d".into()]), &[Occasion::Blocked]);
    let held = Trust::new(Origin::Fork, None, Approvals::Forks);
    let main = told.newest(&[people]).await;
    told.create(&main).await;
    let number = told.create(&NewBuild { trust: held, notify: None, ..told.with(&[]) }).await;
    let mut post = take(store).await.remove(0);
    let now = Duration::ZERO;
    post.notice.as_mut().unwrap().told = vec!["a@b".to_owned()];
    assert!(!store.post_failed(&post, "not taken for c@d", now, Duration::from_hours(24)).await.unwrap());
    let again = take(store).await.remove(0);
    assert_eq!((again.build, again.notice.clone().unwrap().told), (number, vec!["a@b".to_owned()]));
    assert_eq!((again.mark.clone(), again.version), (post.mark.clone(), post.version), "the same message");
    store.post_sent(&again).await.unwrap();
    assert_eq!(store.undelivered(number).await.unwrap(), []);
}

async fn two_servers_tell_once(bed: Bed) {
    let told = Told::new(bed).await;
    told.ends(&told.with(&[slack("s")]), Status::Passed).await;
    if !told.bed.is_shared() {
        return;
    }
    let other = told.bed.second().await;
    let (one, two) = tokio::join!(take(&told.bed.store), take(&other));
    assert_eq!(one.len() + two.len(), 1);
    for post in one.iter().chain(&two) {
        told.bed.store.post_sent(post).await.unwrap();
    }
    assert_eq!(take(&other).await.len(), 0);
}
