//! Files to begin with, for the kinds of projects that are met most.

/// What a repository seems to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ProjectKind {
    /// `Cargo.toml`
    Rust,
    /// `pom.xml`
    Maven,
    /// `package.json`
    Node,
    /// `go.mod`
    Go,
    /// `pyproject.toml`
    Python,
    /// `Makefile`
    Make,
    /// None of these.
    Generic,
}

impl ProjectKind {
    /// All kinds, the one that says most first: a Makefile often stands beside another file.
    const ALL: [ProjectKind; 7] = [
        ProjectKind::Rust,
        ProjectKind::Maven,
        ProjectKind::Go,
        ProjectKind::Node,
        ProjectKind::Python,
        ProjectKind::Make,
        ProjectKind::Generic,
    ];

    /// The kinds of a repository with these file names at its root; at least one.
    fn detect(names: &[&str]) -> Vec<ProjectKind> {
        let has = |kind: &ProjectKind| kind.file().is_some_and(|file| names.contains(&file));
        let mut found: Vec<ProjectKind> = ProjectKind::ALL.into_iter().filter(has).collect();
        if found.len() > 1 {
            // A Makefile beside another file only calls what that one describes.
            found.retain(|kind| *kind != ProjectKind::Make);
        }
        if found.is_empty() { vec![ProjectKind::Generic] } else { found }
    }

    fn file(self) -> Option<&'static str> {
        match self {
            ProjectKind::Rust => Some("Cargo.toml"),
            ProjectKind::Maven => Some("pom.xml"),
            ProjectKind::Node => Some("package.json"),
            ProjectKind::Go => Some("go.mod"),
            ProjectKind::Python => Some("pyproject.toml"),
            ProjectKind::Make => Some("Makefile"),
            ProjectKind::Generic => None,
        }
    }

    /// Image, build tool (and name of the job), and the stages as name and lines.
    fn recipe(self, names: &[&str]) -> (&'static str, &'static str, Vec<(&'static str, Vec<&'static str>)>) {
        // Without a lock file these commands would refuse to work.
        let locked = |file, with, without| if names.contains(&file) { with } else { without };
        match self {
            ProjectKind::Rust => {
                let build = locked("Cargo.lock", "cargo build --locked", "cargo build");
                let test = locked("Cargo.lock", "cargo test --locked", "cargo test");
                ("rust:1.95", "cargo", vec![("build", vec![build]), ("test", vec![test])])
            }
            ProjectKind::Maven => {
                ("maven:3-eclipse-temurin-21", "maven", vec![("test", vec!["mvn --batch-mode verify"])])
            }
            ProjectKind::Node => {
                let install = locked("package-lock.json", "npm ci", "npm install");
                ("node:22", "npm", vec![("install", vec![install]), ("test", vec!["npm test"])])
            }
            ProjectKind::Go => (
                "golang:1.25",
                "go",
                vec![("build", vec!["go build ./..."]), ("test", vec!["go test ./..."])],
            ),
            ProjectKind::Python => {
                let install = vec!["pip install --editable .", "pip install pytest"];
                ("python:3.13", "pip", vec![("install", install), ("test", vec!["pytest"])])
            }
            ProjectKind::Make => {
                ("gcc:14", "make", vec![("build", vec!["make"]), ("test", vec!["make test"])])
            }
            ProjectKind::Generic => ("busybox", "sh", vec![("test", vec!["echo hello"])]),
        }
    }
}

/// An `ocelot.yml` with comments, for a repository with these file names at its root. Where several kinds of projects
/// stand side by side, each gets a job.
pub fn starter(names: &[&str]) -> String {
    let kinds = ProjectKind::detect(names);
    let head = "# What Ocelot does for each push. `ocelot validate` checks this file.\n\n";
    if let [only] = kinds.as_slice() {
        return [head, &image(*only, names, ""), COMMON, &stages(*only, names, "")].concat();
    }
    let jobs = kinds.into_iter().map(|kind| {
        let (_, tool, _) = kind.recipe(names);
        format!("  {tool}:\n{}{}", image(kind, names, "    "), stages(kind, names, "    "))
    });
    [head, COMMON, JOBS, &jobs.collect::<Vec<_>>().join("\n")].concat()
}

const JOBS: &str = "\
# Jobs run side by side, each in a workspace of its own. The keys above are defaults for all of them.
jobs:
";

/// What stands in every file.
const COMMON: &str = "\
# Which branches build: ALL, or regular expressions that match the whole name.
branches: [ALL]

# Longest time of a job.
timeout: 30m

# Variables of all stages.
# env:
#   GREETING: hello

";

fn image(kind: ProjectKind, names: &[&str], indent: &str) -> String {
    let (image, tool, _) = kind.recipe(names);
    let image = format!("{indent}# The Docker image in which the stages work.\n{indent}image: {image}\n");
    // A key of the top alone.
    if indent.is_empty() { format!("{image}buildTool: {tool}\n\n") } else { image }
}

fn stages(kind: ProjectKind, names: &[&str], indent: &str) -> String {
    let head =
        format!("{indent}# Stages are done in order; the first that fails ends the job.\n{indent}stages:\n");
    let stages = kind.recipe(names).2.into_iter().map(|(name, lines)| {
        let lines: String = lines.iter().flat_map(|line| [indent, "      - ", line, "\n"]).collect();
        format!(
            "{indent}  - name: {name}\n{indent}    # One shell for all lines: `cd` and variables last.\n\
             {indent}    script:\n{lines}"
        )
    });
    std::iter::once(head).chain(stages).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_starter_is_without_problems() {
        let check = |names: &[&str], jobs: &[&str]| {
            let text = starter(names);
            let pipeline = crate::pipeline::parse(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let made: Vec<&str> = pipeline.jobs.iter().map(|job| job.name.as_str()).collect();
            assert_eq!(made, jobs, "{names:?}\n{text}");
        };
        for kind in ProjectKind::ALL {
            check(&kind.file().into_iter().collect::<Vec<_>>(), &["default"]);
        }
        check(&["README.md"], &["default"]);
        check(&["Makefile", "go.mod"], &["default"]);
        check(&["package.json", "Cargo.toml", "Makefile"], &["cargo", "npm"]);
        check(&["pom.xml", "go.mod", "pyproject.toml"], &["maven", "go", "pip"]);
    }

    #[test]
    fn a_starter_does_what_the_files_allow() {
        let check = |names: &[&str], line: &str, there: bool| {
            assert_eq!(starter(names).contains(line), there, "{line} for {names:?}");
        };
        check(&["Cargo.toml", "Cargo.lock"], "cargo test --locked\n", true);
        check(&["Cargo.toml"], "--locked", false);
        check(&["package.json", "package-lock.json"], "npm ci\n", true);
        check(&["package.json"], "npm install\n", true);
        check(&["Makefile", "go.mod"], "go test", true);
        check(&["Makefile", "go.mod"], "make", false);
        check(&["Makefile"], "make test", true);
        check(&[], "echo hello", true);
    }
}
