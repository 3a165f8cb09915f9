//! What `sio explain` has to say: lines about pieces of the input, and rules that are broken.
//!
//! Nothing of the input is shown as it is: control characters and characters that change the
//! direction of text are escaped, so that no input can write to the terminal.

use std::fmt::Display;
use std::fmt::Write as _;

use serde_json::{Value, json};

use super::rules::Rule;
use crate::output::is_obeyed;

/// The most characters of a piece that are shown.
pub(super) const PIECE: usize = 44;

/// The most characters of a value that are shown in a meaning.
pub(super) const VALUE: usize = 100;

/// The most lines of one sheet.
const MAX_LINES: usize = 10_000;

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// The index of its first byte in the input. `None` if the bytes are not in the input as they
    /// are: they were decoded first.
    pub(super) at: Option<usize>,
    pub(super) depth: usize,
    pub(super) kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    /// A piece of the input, and what it is.
    Part { piece: String, meaning: String },
    /// A fact about what stands above.
    Note(String),
    /// A broken rule.
    Problem { error: String, rule: Rule },
}

/// The lines about one input.
#[derive(Debug)]
pub(super) struct Sheet {
    pub(super) lines: Vec<Line>,
    base: Option<usize>,
    depth: usize,
    left_out: usize,
}

impl Sheet {
    pub(super) const fn new() -> Self {
        Self {
            lines: Vec::new(),
            base: Some(0),
            depth: 0,
            left_out: 0,
        }
    }

    /// Says what `piece` is, which begins at `at`.
    pub(super) fn part(&mut self, at: usize, piece: &str, meaning: impl Into<String>) {
        let piece = shown(piece, PIECE);
        let meaning = meaning.into();
        self.push(Some(at), Kind::Part { piece, meaning });
    }

    /// Says what bytes are.
    pub(super) fn bytes(&mut self, at: usize, bytes: &[u8], meaning: impl Into<String>) {
        let piece = hex(bytes, 12);
        let meaning = meaning.into();
        self.push(Some(at), Kind::Part { piece, meaning });
    }

    pub(super) fn note(&mut self, text: impl Into<String>) {
        self.push(None, Kind::Note(text.into()));
    }

    /// Says which rule is broken, and where if this is known.
    pub(super) fn problem(&mut self, at: impl Into<Option<usize>>, error: &dyn Display, rule: Rule) {
        let error = shown(&error.to_string(), VALUE);
        self.push(at.into(), Kind::Problem { error, rule });
    }

    /// Lines about what is inside of the piece before. `at` is where it begins in this sheet's
    /// input; `None` if it had to be decoded first.
    pub(super) fn inside(&mut self, at: Option<usize>, say: impl FnOnce(&mut Self)) {
        let outside = self.base;
        self.base = at.and_then(|at| Some(outside? + at));
        self.depth += 1;
        say(self);
        self.depth -= 1;
        self.base = outside;
    }

    /// How many rules are broken.
    pub(super) fn problems(&self) -> usize {
        let is_problem = |line: &&Line| matches!(line.kind, Kind::Problem { .. });
        self.lines.iter().filter(is_problem).count()
    }

    fn push(&mut self, at: Option<usize>, kind: Kind) {
        // A broken rule is never left out.
        if self.lines.len() >= MAX_LINES && !matches!(kind, Kind::Problem { .. }) {
            self.left_out += 1;
            return;
        }
        let at = at.and_then(|at| Some(self.base? + at));
        let depth = self.depth;
        self.lines.push(Line { at, depth, kind });
    }

    /// How many lines were left out because there are too many.
    pub(super) const fn left_out(&self) -> usize {
        self.left_out
    }

    /// The lines as JSON.
    pub(super) fn to_json(&self) -> Value {
        self.lines.iter().map(Line::to_json).collect()
    }
}

impl Line {
    fn to_json(&self) -> Value {
        match &self.kind {
            Kind::Part { piece, meaning } => {
                json!({ "at": self.at, "depth": self.depth, "piece": piece, "meaning": meaning })
            }
            Kind::Note(note) => json!({ "at": self.at, "depth": self.depth, "note": note }),
            Kind::Problem { error, rule } => json!({
                "at": self.at,
                "depth": self.depth,
                "problem": error,
                "rule": rule.says,
                "page": rule.page,
                "section": rule.section,
            }),
        }
    }
}

/// A text for people: at most `max` characters, and none that a terminal would obey.
pub(crate) fn shown(text: &str, max: usize) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    for c in rest.by_ref().take(max) {
        push_shown(&mut out, c);
    }
    let left = rest.count();
    if left > 0 {
        // Writing to a string cannot fail.
        let _ = write!(out, "… (+{left})");
    }
    out
}

fn push_shown(out: &mut String, c: char) {
    if c == '\u{1e}' {
        out.push('␞');
    } else if is_obeyed(c) {
        out.extend(c.escape_debug());
    } else {
        out.push(c);
    }
}

/// Bytes as hexadecimal digits, at most `max` of them.
pub(crate) fn hex(bytes: &[u8], max: usize) -> String {
    let mut out = String::new();
    for (index, byte) in bytes.iter().take(max).enumerate() {
        if index > 0 {
            out.push(' ');
        }
        let _ = write!(out, "{byte:02x}");
    }
    if bytes.len() > max {
        let _ = write!(out, " … (+{})", bytes.len() - max);
    }
    out
}

/// Where `part` begins in `text`, of which it is a slice.
pub(super) fn place(text: &str, part: &str) -> usize {
    (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize)
}

/// A number with its unit.
pub(super) fn count(number: usize, unit: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural}")
}
