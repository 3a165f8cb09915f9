//! The imports of one source file: `use` lines and paths that begin with `crate` or `super`.
//!
//! This is not a Rust parser. It knows comments, the braces of a `use`, and where the unit tests
//! begin. This is enough for sources that rustfmt has formatted.

/// A path to another module of the same crate, in a line of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// The path from the root of the crate: `["http", "Request"]`.
    pub(super) path: Vec<String>,
    /// Whether a `use` imports the last name, so that a child module could take it from here.
    pub(super) is_use: bool,
}

/// Returns what a source file imports from its own crate, without its unit tests. `module` is the
/// path of the file's module.
pub(super) fn of_crate(source: &str, module: &[String]) -> Vec<Import> {
    let text = without_tests_and_comments(source);
    let mut imports = Vec::new();
    let mut rest = 0;
    for (start, end, tree) in uses(&text) {
        paths(&text[rest..start], line_of(&text, rest), module, &mut imports);
        let line = line_of(&text, start);
        for path in expand(tree) {
            if let Some(path) = absolute(&path, module) {
                imports.push(Import {
                    line,
                    path,
                    is_use: true,
                });
            }
        }
        rest = end;
    }
    paths(&text[rest..], line_of(&text, rest), module, &mut imports);
    imports
}

/// Returns the names that private `use` lines import from other crates: `Arc`, `Vec`, `Bytes`.
pub(super) fn foreign_names(source: &str) -> Vec<String> {
    let text = without_tests_and_comments(source);
    let is_private = |start: usize| {
        let line = text[..start].rsplit('\n').next().unwrap_or_default();
        line.trim().is_empty()
    };
    let foreign = uses(&text).filter(|(start, ..)| is_private(*start));
    let paths = foreign.flat_map(|(_, _, tree)| expand(tree));
    let is_ours = |name: &str| {
        let child = format!("mod {name};");
        ["crate", "super", "self"].contains(&name) || text.lines().any(|line| line.trim().ends_with(&child))
    };
    paths
        .filter(|path| path.len() > 1 && !is_ours(&path[0]))
        .filter_map(|path| path.last().cloned())
        .collect()
}

/// Returns the names that the `pub use` lines of a source export, each with its path.
pub(super) fn exported(source: &str) -> Vec<Vec<String>> {
    let text = without_tests_and_comments(source);
    let is_public = |start: usize| text[..start].ends_with("pub ");
    let public = uses(&text).filter(|(start, ..)| is_public(*start));
    public.flat_map(|(_, _, tree)| expand(tree)).collect()
}

/// Returns the source up to its unit tests, with its comments removed.
fn without_tests_and_comments(source: &str) -> String {
    let mut text = String::with_capacity(source.len());
    let mut lines = source.lines().peekable();
    while let Some(line) = lines.next() {
        let next = lines.peek().copied().unwrap_or_default();
        if line == "#[cfg(test)]" && !next.trim_end().ends_with(';') {
            break;
        }
        if !line.trim_start().starts_with("//") {
            text.push_str(line.split(" // ").next().unwrap_or_default());
        }
        text.push('\n');
    }
    text
}

/// Returns each `use`: its beginning, its end, and the tree of paths in it.
fn uses(text: &str) -> impl Iterator<Item = (usize, usize, &str)> {
    const USE: &str = "use ";
    text.match_indices(USE).filter_map(|(at, _)| {
        let before = text[..at].rsplit('\n').next()?.trim();
        let begins = before.is_empty() || before.starts_with("pub");
        let length = text[at..].find(';')?;
        begins.then(|| (at, at + length, &text[at + USE.len()..at + length]))
    })
}

/// Returns all paths of a tree: `a::{b, c::{self, d as e}}` becomes `a::b`, `a::c`, `a::c::d`.
fn expand(tree: &str) -> Vec<Vec<String>> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let name = tree.split(" as ").next().unwrap_or_default();
        return vec![segments(name)];
    };
    let head = segments(tree[..open].trim_end_matches("::"));
    let inner = tree[open + 1..].trim_end().trim_end_matches('}');
    branches(inner)
        .flat_map(expand)
        .map(|path| {
            let tail = path.into_iter().filter(|name| name != "self");
            head.iter().cloned().chain(tail).collect()
        })
        .collect()
}

/// Splits a tree at the commas of its outermost level.
fn branches(inner: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    let between = move |letter: char| {
        match letter {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    inner.split(between).filter(|branch| !branch.trim().is_empty())
}

fn segments(path: &str) -> Vec<String> {
    path.split("::")
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect()
}

/// Finds the paths outside of `use` lines.
fn paths(text: &str, first_line: usize, module: &[String], imports: &mut Vec<Import>) {
    for (offset, line) in text.lines().enumerate() {
        for root in ["crate::", "super::"] {
            for (at, _) in line.match_indices(root) {
                let is_whole = !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':' || c == '$');
                let length = line[at..].find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
                let path = segments(&line[at..at + length.unwrap_or(line.len() - at)]);
                if let Some(path) = absolute(&path, module).filter(|_| is_whole) {
                    imports.push(Import {
                        line: first_line + offset,
                        path,
                        is_use: false,
                    });
                }
            }
        }
    }
}

/// Converts a path to one from the root of the crate. Returns `None` if the path leads out of the
/// crate, or nowhere.
fn absolute(path: &[String], module: &[String]) -> Option<Vec<String>> {
    match path.first()?.as_str() {
        "crate" => Some(path[1..].to_vec()),
        "super" => {
            let up = path.iter().take_while(|name| *name == "super").count();
            let base = module.get(..module.len().checked_sub(up)?)?;
            Some(base.iter().chain(&path[up..]).cloned().collect())
        }
        _ => None,
    }
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(source: &str, module: &str) -> Vec<(usize, String)> {
        let imports = of_crate(source, &segments(module));
        imports
            .into_iter()
            .map(|import| (import.line, import.path.join("::")))
            .collect()
    }

    #[test]
    fn trees_are_expanded_and_paths_are_found() {
        let source = "//! crate::not::this\nuse alloc::vec::Vec;\nuse crate::http::{self, head::{Head, Field as F}};\n\
                      pub(crate) use super::session::Session;\n\nfn f(a: crate::time::Time) -> super::super::id::Sid {\n\
                      mycrate::x() // crate::late\n}\n#[cfg(test)]\nmod tests {\n    use crate::server::Shard;\n}\n";
        let expected = [
            (3, "http"),
            (3, "http::head::Head"),
            (3, "http::head::Field"),
            (4, "server::session::Session"),
            (6, "time::Time"),
            (6, "id::Sid"),
        ];
        let expected = expected.map(|(line, path)| (line, path.to_owned()));
        assert_eq!(found(source, "server::shard"), expected);
    }

    #[test]
    fn a_use_of_many_lines_stands_in_its_first() {
        let source = "use crate::{\n    Config,\n    wire::Wire,\n};\nfn f() { crate::json::check(); }\n";
        let expected = [(1, "Config"), (1, "wire::Wire"), (5, "json::check")];
        let expected = expected.map(|(line, path)| (line, path.to_owned()));
        assert_eq!(found(source, "conn"), expected);
    }

    #[test]
    fn names_from_elsewhere() {
        let source = "mod head;\nuse alloc::{sync::Arc, vec::Vec};\npub use bytes::Bytes;\nuse super::Core;\nuse crate::Time;\nuse head::Head;\n";
        assert_eq!(foreign_names(source), ["Arc", "Vec"]);
    }
}
