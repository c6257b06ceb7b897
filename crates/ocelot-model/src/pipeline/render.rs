//! Problems drawn for a terminal: the place, the line, what is wrong in it, and the hint.

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use super::problem::Problem;

/// Longest line that is drawn; of a longer one only the place is named.
const MAX_LINE: usize = 2_000;

/// All problems, one below the other. `text` is what [`parse`](super::parse()) was given.
pub fn render(file_name: &str, text: &str, problems: &[Problem], color: bool) -> String {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let lines: Vec<&str> = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)).collect();
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let drawn = problems.iter().map(|problem| renderer.render(&[draw(file_name, &lines, problem)]));
    drawn.collect::<Vec<_>>().join("\n\n")
}

fn draw<'p>(file_name: &'p str, lines: &[&'p str], problem: &'p Problem) -> Group<'p> {
    let title = Level::ERROR.primary_title(problem.message.as_str()).id(problem.code);
    let line = lines.get(problem.line - 1).copied().filter(|line| line.len() <= MAX_LINE);
    let group = match line {
        Some(line) => {
            let start = byte_at(line, problem.column);
            let end =
                if problem.end_line == problem.line { byte_at(line, problem.end_column) } else { line.len() };
            let mark = AnnotationKind::Primary.span(start..end.max(start));
            title.element(Snippet::source(line).line_start(problem.line).path(file_name).annotation(mark))
        }
        None => title.element(Origin::path(file_name).line(problem.line).char_column(problem.column)),
    };
    match &problem.hint {
        Some(hint) => group.element(Level::HELP.message(hint.as_str())),
        None => group,
    }
}

/// The byte at which a column of a line begins.
fn byte_at(line: &str, column: usize) -> usize {
    line.char_indices().nth(column.saturating_sub(1)).map_or(line.len(), |(at, _)| at)
}
