//! Files to begin with, for the kinds of projects that are met most.

/// What a repository seems to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProjectKind {
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
    pub const ALL: [ProjectKind; 7] = [
        ProjectKind::Rust,
        ProjectKind::Maven,
        ProjectKind::Go,
        ProjectKind::Node,
        ProjectKind::Python,
        ProjectKind::Make,
        ProjectKind::Generic,
    ];

    /// The kind of a repository with these file names at its root.
    pub fn detect(names: &[&str]) -> ProjectKind {
        let found =
            ProjectKind::ALL.into_iter().find(|kind| kind.file().is_some_and(|file| names.contains(&file)));
        found.unwrap_or(ProjectKind::Generic)
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

    /// Image, build tool, and the stages as name and lines.
    fn recipe(self) -> (&'static str, &'static str, &'static [(&'static str, &'static [&'static str])]) {
        match self {
            ProjectKind::Rust => (
                "rust:1.95",
                "cargo",
                &[("build", &["cargo build --locked"]), ("test", &["cargo test --locked"])],
            ),
            ProjectKind::Maven => {
                ("maven:3-eclipse-temurin-21", "maven", &[("test", &["mvn --batch-mode verify"])])
            }
            ProjectKind::Node => ("node:22", "npm", &[("install", &["npm ci"]), ("test", &["npm test"])]),
            ProjectKind::Go => {
                ("golang:1.25", "go", &[("build", &["go build ./..."]), ("test", &["go test ./..."])])
            }
            ProjectKind::Python => (
                "python:3.13",
                "pip",
                &[("install", &["pip install --editable .", "pip install pytest"]), ("test", &["pytest"])],
            ),
            ProjectKind::Make => ("gcc:14", "make", &[("build", &["make"]), ("test", &["make test"])]),
            ProjectKind::Generic => ("busybox", "sh", &[("test", &["echo hello"])]),
        }
    }
}

/// An `ocelot.yml` with comments.
pub fn starter(kind: ProjectKind) -> String {
    let (image, tool, stages) = kind.recipe();
    let mut text = format!(
        "# What Ocelot does for each push. `ocelot validate` checks this file.\n\
         \n\
         # The Docker image in which all stages work.\n\
         image: {image}\n\
         buildTool: {tool}\n\
         \n\
         # Which branches build: ALL, or regular expressions that match the whole name.\n\
         branches: [ALL]\n\
         \n\
         # Longest time of the whole build.\n\
         timeout: 30m\n\
         \n\
         # Variables of all stages.\n\
         # env:\n\
         #   GREETING: hello\n\
         \n\
         # Stages are done in order; the first that fails ends the build.\n\
         stages:\n"
    );
    for (name, lines) in stages {
        text.push_str("  - name: ");
        text.push_str(name);
        text.push_str("\n    # One shell for all lines: `cd` and variables last.\n    script:\n");
        for line in *lines {
            text.push_str("      - ");
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_starter_is_without_problems() {
        for kind in ProjectKind::ALL {
            let pipeline = crate::pipeline::parse(starter(kind).as_bytes());
            assert_eq!(pipeline.map(|pipeline| pipeline.jobs.len()), Ok(1), "{kind:?}");
        }
    }

    #[test]
    fn the_kind_is_seen_by_file_names() {
        let check = |names: &[&str], want| assert_eq!(ProjectKind::detect(names), want, "{names:?}");
        check(&[], ProjectKind::Generic);
        check(&["README.md", "Cargo.toml"], ProjectKind::Rust);
        check(&["Makefile", "go.mod"], ProjectKind::Go);
        check(&["Makefile"], ProjectKind::Make);
        check(&["pom.xml"], ProjectKind::Maven);
        check(&["package.json"], ProjectKind::Node);
        check(&["pyproject.toml", "Makefile"], ProjectKind::Python);
    }
}
