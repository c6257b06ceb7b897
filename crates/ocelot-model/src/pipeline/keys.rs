//! Every key of `ocelot.yml`: its shape, what it is for, and whether it does something yet.
//!
//! The parser, the suggestions and the JSON Schema all read these tables; there is no other list.

use super::notify::NOTIFY;
use super::shape::{Key, Shape, Support, Table};
use super::text::Kind;

/// Keys that are known and refused in words until they are built.
pub const NOT_SUPPORTED_YET: &[&str] = &[
    "cache",
    "clone.lfs",
    "clone.submodules",
    "matrix",
    "params",
    "pull_request",
    "services",
    "stages.artifacts",
    "stages.needs",
    "stages.reports",
];

/// Keys of other tools that would let a job out of its container.
pub(super) const NOT_ALLOWED: &[&str] = &[
    "privileged",
    "volumes",
    "volumes_from",
    "mounts",
    "tmpfs",
    "network",
    "network_mode",
    "networks",
    "devices",
    "device_cgroup_rules",
    "cap_add",
    "security_opt",
    "pid",
    "ipc",
    "uts",
    "userns_mode",
    "cgroup_parent",
    "sysctls",
    "extra_hosts",
    "group_add",
    "runtime",
];

/// What other tools call it, and its name here.
const ELSEWHERE: &[(&str, &str)] = &[
    ("steps", "stages"),
    ("pipeline", "stages"),
    ("commands", "script"),
    ("cmd", "script"),
    ("run", "script"),
    ("depends_on", "needs"),
    ("dependsOn", "needs"),
    ("environment", "env"),
    ("variables", "env"),
    ("container", "image"),
    ("runs-on", "labels"),
    ("tags", "labels"),
    ("if", "when"),
    ("timeout-minutes", "timeout"),
    ("continue-on-error", "allow_failure"),
    ("working-directory", "workdir"),
    ("working_dir", "workdir"),
    ("strategy", "matrix"),
    ("parallel", "matrix"),
    ("entrypoint", "command"),
];

pub(super) fn elsewhere(key: &str) -> Option<&'static str> {
    ELSEWHERE.iter().find(|(other, _)| *other == key).map(|(_, here)| *here)
}

/// The map that has this key, for a key that stands in the wrong place.
pub(super) fn owner(key: &str) -> Option<&'static str> {
    [&TOP, &JOB, &STAGE].into_iter().find(|table| table.find(key).is_some()).map(|table| table.what)
}

pub(super) const fn now(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, about, shape, support: Support::Now }
}

pub(super) const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, about, shape, support: Support::Required }
}

/// Not built yet, and refused under its own name.
const fn later(name: &'static str, shape: Shape, about: &'static str) -> Key {
    later_as(name, name, shape, about)
}

const fn later_as(name: &'static str, shown: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, about, shape, support: Support::NotYet(shown) }
}

const MANY: usize = 1_000;
/// Most jobs of a file, and most stages of all its jobs together.
pub(super) const MAX_JOBS: usize = 1_000;
pub(super) const MAX_STAGES: usize = 1_000;

static ANY: Shape = Shape::Text(Kind::Any);
static SCRIPT: Shape = Shape::Text(Kind::Script);
static JOB_NAME: Shape = Shape::Text(Kind::JobName);
static GLOB: Shape = Shape::Text(Kind::Glob);
static KEPT: Shape = Shape::Text(Kind::Kept);
static BRANCH_PATTERN: Shape = Shape::Text(Kind::Branches);
static BRANCH_NAME: Shape = Shape::Text(Kind::BranchName);
static STAGE_SHAPE: Shape = Shape::Table(&STAGE);
static JOB_SHAPE: Shape = Shape::Table(&JOB);

const DURATION: Shape = Shape::Text(Kind::Duration);
const IMAGE: Shape = Shape::Text(Kind::Image);
const GLOBS: Shape = Shape::List { of: &GLOB, max: MANY };
/// Few, because each job has a copy of the names at the top.
const SECRETS: Shape = Shape::List { of: &Shape::Text(Kind::SecretName), max: 100 };
const STAGES: Shape = Shape::List { of: &STAGE_SHAPE, max: usize::MAX };
const BRANCHES: Shape =
    Shape::Either(&[Shape::Text(Kind::Branches), Shape::List { of: &BRANCH_PATTERN, max: MANY }]);
const ENV: Shape = Shape::Either(&[
    Shape::Map { names: Kind::EnvName, of: &Shape::Text(Kind::EnvValue), max: MANY, limit: "range" },
    Shape::List { of: &Shape::Text(Kind::Assignment), max: MANY },
]);
// Constants of their own, because a borrow of a table lives long enough only there.
const PARAMS: Shape =
    Shape::Map { names: Kind::EnvName, of: &Shape::Table(&PARAM), max: 100, limit: "range" };
const SCHEDULES: Shape = Shape::List { of: &Shape::Table(&SCHEDULE), max: 100 };
const SUBSCRIPTIONS: Shape = Shape::List { of: &Shape::Table(&SUBSCRIPTION), max: 100 };
const JOB_NAMES: Shape =
    Shape::Either(&[Shape::Text(Kind::JobName), Shape::List { of: &JOB_NAME, max: MANY }]);
const SIDES: Shape =
    Shape::Map { names: Kind::JobName, of: &Shape::Table(&SIDE), max: 100, limit: "services_limit" };
const CACHES: Shape = Shape::List { of: &Shape::Table(&CACHE), max: 100 };
const SCRIPTS: Shape = Shape::Either(&[Shape::Text(Kind::Script), Shape::List { of: &SCRIPT, max: MANY }]);
const SHELLS: Shape = Shape::Either(&[Shape::Text(Kind::Any), Shape::List { of: &ANY, max: MANY }]);
const BRANCH_MAP: Shape = Shape::Either(&[
    Shape::Map { names: Kind::BranchName, of: &BRANCH_NAME, max: MANY, limit: "range" },
    Shape::List { of: &Shape::Text(Kind::BranchPair), max: MANY },
]);

/// The file.
pub(super) static TOP: Table = Table { name: "file", what: "the file", groups: &[TOP_ONLY, JOB_KEYS] };
/// One entry of `jobs`.
pub(super) static JOB: Table = Table { name: "job", what: "a job", groups: &[JOB_ONLY, JOB_KEYS] };
/// One entry of `stages`.
pub(super) static STAGE: Table = Table { name: "stage", what: "a stage", groups: &[STAGE_KEYS] };

const TOP_ONLY: &[Key] = &[
    now(
        "branches",
        BRANCHES,
        "Branches that build: ALL, or regular expressions that match the whole name. Default: all.",
    ),
    now("buildTool", Shape::Text(Kind::Any), "Free text, kept from the original."),
    now("packages", TEXTS_SHAPE, "Kept from the original; has no effect."),
    now("clone", Shape::Table(&CLONE), "How the repository is checked out."),
    now(
        "jobs",
        Shape::Map { names: Kind::JobName, of: &JOB_SHAPE, max: MAX_JOBS, limit: "job_limit" },
        "Jobs, instead of top-level stages. The other top-level keys are defaults for each of them.",
    ),
    now("concurrency", Shape::Table(&CONCURRENCY), "How many builds of a group may go on at once."),
    now(
        "cancel_superseded",
        Shape::Bool,
        "A newer push cancels older builds of the same pull request, or of the same branch if it is not the default branch. Default: true.",
    ),
    later("params", PARAMS, "Values that a person gives when starting a build."),
    now("schedule", SCHEDULES, "Builds at set times, as the default branch's newest file says."),
    later("pull_request", Shape::Choice(&["head", "merge"]), "Which commit of a pull request builds."),
    now("notify", Shape::Table(&NOTIFY), "Who is told of the result."),
    now(
        "subscriptions",
        SUBSCRIPTIONS,
        "Repositories whose passed builds start one here, as the default branch's newest file says.",
    ),
];

const JOB_ONLY: &[Key] = &[now("needs", JOB_NAMES, "Jobs that must end well first.")];

/// Keys of a job that may stand at the top too, as a default for each job.
const JOB_KEYS: &[Key] = &[
    now("image", IMAGE, "The Docker image in which the stages work."),
    now("machineTag", Shape::Text(Kind::Label), "Work without a container, on a worker with this tag."),
    now("user", Shape::Text(Kind::User), "uid:gid in the container. Default: 0:0."),
    now("pull", Shape::Choice(&["if-missing", "always"]), "When the image is pulled. Default: if-missing."),
    now(
        "labels",
        Shape::Map { names: Kind::Label, of: &Shape::Text(Kind::Label), max: 20, limit: "range" },
        "Labels that a worker must have.",
    ),
    now(
        "priority",
        Shape::Integer { min: -1_000, max: 1_000 },
        "Higher goes first, among this repository's jobs. Default: 0.",
    ),
    now("always", Shape::Bool, "Goes on even when a needed job failed."),
    now("approval", Shape::Bool, "A person must let it start."),
    now("allow_failure", Shape::Bool, "A failure of this job does not fail the build."),
    now("timeout", DURATION, "Longest time of the job. Default: 60m."),
    now("retry", Shape::Table(&RETRY), "New attempts that are made without asking."),
    now("resources", Shape::Table(&RESOURCES), "Limits of the container."),
    now("env", ENV, "Variables: a map, or a list of NAME=value."),
    now("stages", STAGES, "What is done, in order; at least one."),
    later("matrix", Shape::Matrix, "One job for each combination of values."),
    later("services", SIDES, "Containers beside the job, such as a database."),
    later("cache", CACHES, "Folders kept from build to build."),
    now("secrets", SECRETS, "Names of secrets and credentials that all stages get."),
];

const STAGE_KEYS: &[Key] = &[
    required("name", Shape::Text(Kind::StageName), "Its name, once in a job."),
    now("script", SCRIPTS, "Lines for one shell: a list, or a block of text."),
    now(
        "shell",
        SHELLS,
        "The shell and its arguments. Default: /bin/sh -e; a known shell without arguments gets -e.",
    ),
    now(
        "command",
        Shape::List { of: &SCRIPT, max: MANY },
        "A program and its arguments, instead of a script, for images without a shell.",
    ),
    now("workdir", Shape::Text(Kind::Path), "Folder below the workspace."),
    now("env", ENV, "Variables of this stage."),
    now("image", IMAGE, "Another image than the job's, on the same workspace."),
    now("isolated", Shape::Bool, "A container of its own."),
    now("timeout", DURATION, "Longest time of the stage."),
    now(
        "allow_failure",
        Shape::Either(&[Shape::Bool, Shape::List { of: &Shape::Integer { min: 1, max: 255 }, max: 255 }]),
        "A failure does not count; or a list of the exit codes that do not.",
    ),
    now("always", Shape::Bool, "Even after a failure or cancel, at most 5 minutes then."),
    now("trigger", Shape::Table(&TRIGGER), "When this stage is done."),
    now(
        "triggers",
        Shape::List { of: &Shape::Text(Kind::Directive), max: 100 },
        "Directives of the original, one of which must hold: \\branch, \\text, \\filepath, \\upstream.",
    ),
    now("when", Shape::Text(Kind::When), "A condition, such as branch == \"main\" and changed(\"src/**\")."),
    later_as("needs", "stages.needs", TEXTS_SHAPE, "Stages that must end well first."),
    now("secrets", SECRETS, "Names of secrets and credentials that this stage gets."),
    later_as("artifacts", "stages.artifacts", GLOBS, "Files to keep."),
    later_as("reports", "stages.reports", Shape::Table(&REPORTS), "Files with the results of tests."),
];

const TEXTS_SHAPE: Shape = Shape::List { of: &ANY, max: MANY };

static TRIGGER: Table = Table {
    name: "trigger",
    what: "`trigger`",
    groups: &[&[now("branches", BRANCHES, "Branches on which the stage is done. Default: all.")]],
};

static CLONE: Table = Table {
    name: "clone",
    what: "`clone`",
    groups: &[&[
        now(
            "depth",
            Shape::Integer { min: 0, max: 1_000_000 },
            "Commits of history, 0 for all. Default: 50.",
        ),
        now("tags", Shape::Bool, "Tags too. Default: true."),
        later_as("submodules", "clone.submodules", Shape::Bool, "Submodules too."),
        later_as("lfs", "clone.lfs", Shape::Bool, "Large files too."),
    ]],
};

static RETRY: Table = Table {
    name: "retry",
    what: "`retry`",
    groups: &[&[
        now(
            "infrastructure",
            Shape::Integer { min: 0, max: 10 },
            "After a fault that is not the script's. Default: 2.",
        ),
        now("script", Shape::Integer { min: 0, max: 10 }, "After the script failed. Default: 0."),
    ]],
};

static RESOURCES: Table = Table {
    name: "resources",
    what: "`resources`",
    groups: &[&[
        now("cpu", Shape::Text(Kind::Cpu), "Processor cores."),
        now("memory", Shape::Text(Kind::Memory), "Such as 4GiB, 512MiB or 1g."),
    ]],
};

static CONCURRENCY: Table = Table {
    name: "concurrency",
    what: "`concurrency`",
    groups: &[&[
        required(
            "group",
            Shape::Text(Kind::Group),
            "Builds of the same group wait for each other. ${{ branch }} stands for the branch.",
        ),
        now("limit", Shape::Integer { min: 1, max: 1_000 }, "How many at once. Default: 1."),
        now("cancel_running", Shape::Bool, "A newer build cancels the older ones. Default: false."),
    ]],
};

static PARAM: Table = Table {
    name: "param",
    what: "a parameter",
    groups: &[&[
        now("type", Shape::Choice(&["text", "choice", "boolean", "number"]), "What may be given."),
        now("options", TEXTS_SHAPE, "The choices."),
        now("default", Shape::Text(Kind::EnvValue), "When nothing is given."),
    ]],
};

static SCHEDULE: Table = Table {
    name: "schedule",
    what: "a schedule",
    groups: &[&[
        required(
            "cron",
            Shape::Text(Kind::Cron),
            "When: minute hour day month weekday, or @daily and the like.",
        ),
        now(
            "branch",
            Shape::Text(Kind::BranchName),
            "Which branch. Default: the repository's default branch.",
        ),
        now("time_zone", Shape::Text(Kind::Zone), "Such as Europe/Rome. Default: UTC."),
    ]],
};

static SUBSCRIPTION: Table = Table {
    name: "subscription",
    what: "a subscription",
    groups: &[&[
        required("acctRepo", Shape::Text(Kind::AcctRepo), "owner/name of the other repository."),
        now("acctVcsType", Shape::Text(Kind::ForgeName), "Its forge. Default: the same as here."),
        required("alias", Shape::Text(Kind::Alias), "Begins the names of its variables, in capital letters."),
        now("branchQueueMap", BRANCH_MAP, "Branch there to branch here: a map, or a list of there:here."),
        now("branches", BRANCH_MAP, "The same as branchQueueMap."),
    ]],
};

static SIDE: Table = Table {
    name: "side",
    what: "a side container",
    groups: &[&[
        required("image", IMAGE, "Its image."),
        now("env", ENV, "Its variables."),
        now("ready", Shape::Text(Kind::Any), "A command that ends well once it is ready."),
        now("ports", Shape::List { of: &Shape::Integer { min: 1, max: 65_535 }, max: 100 }, "Its ports."),
    ]],
};

static CACHE: Table = Table {
    name: "cache",
    what: "a cache",
    groups: &[&[
        required("key", Shape::Text(Kind::Any), "Names one state of the folders."),
        required("paths", Shape::List { of: &KEPT, max: MANY }, "The folders."),
    ]],
};

static REPORTS: Table = Table {
    name: "reports",
    what: "`reports`",
    groups: &[&[now("junit", Shape::Text(Kind::Glob), "Files with results in the JUnit form.")]],
};
