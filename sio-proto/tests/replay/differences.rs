//! The differences between two servers, and the list of differences that have a reason.
//!
//! The list is `tests/captures/differences.txt`: a reason, then, indented, the rules it covers
//! (docs/captures.md).

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;

use super::player::Exchange;
use super::said::{Said, What};

/// How much earlier or later than the recorded server ours may write. The recorded server ran on a
/// machine that had other work. Ours takes no time at all.
pub const TOLERANCE_MS: u64 = 50;

/// One difference between the recorded server and ours.
#[derive(Clone, Debug)]
pub struct Difference {
    pub capture: String,
    pub section: String,
    /// `header NAME`, `header order`, `body`, `frame`, `response`, `end`, `time` or `seen`.
    pub what: String,
    pub genuine: String,
    pub ours: String,
    /// The exact place, for people.
    pub place: String,
}

const NOTHING: &str = "nothing";

impl fmt::Display for Difference {
    /// The difference in the form of a rule for the list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            capture,
            section,
            what,
            genuine,
            ours,
            ..
        } = self;
        write!(f, "  {capture} | {section} | {what} | {genuine} | {ours}")
    }
}

// ---- comparing ------------------------------------------------------------------------------------------------------

/// Compares the bytes of the two servers in one exchange. Bytes on different connections at the
/// same time have no order.
pub fn compare_exchange(capture: &str, exchange: &Exchange, genuine: &[Said], ours: &[Said]) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut note = |ms: u64, what: &str, genuine: &str, ours: &str| {
        found.push(Difference {
            capture: capture.to_owned(),
            section: exchange.section.clone(),
            what: what.to_owned(),
            genuine: genuine.to_owned(),
            ours: ours.to_owned(),
            place: format!("{ms} ms, connection {}", exchange.connection),
        });
    };
    for pair in align(genuine, ours) {
        match pair {
            (Some(g), Some(o)) => {
                compare(&g.what, &o.what, &mut |what, genuine, ours| {
                    note(g.ms, what, genuine, ours)
                });
                if g.ms.abs_diff(o.ms) > TOLERANCE_MS {
                    let (g_at, o_at) = (format!("{} at {} ms", g.what, g.ms), format!("at {} ms", o.ms));
                    note(g.ms, "time", &g_at, &o_at);
                }
            }
            (Some(g), None) => note(g.ms, kind(&g.what), &g.what.to_string(), NOTHING),
            (None, Some(o)) => note(o.ms, kind(&o.what), NOTHING, &o.what.to_string()),
            (None, None) => {}
        }
    }
    found
}

fn kind(what: &What) -> &'static str {
    match what {
        What::Response { .. } => "response",
        What::Frame(_) => "frame",
        What::Garbage(_) => "garbage",
        What::End(_) => "end",
    }
}

/// Whether two items match for the alignment.
fn same(a: &What, b: &What) -> bool {
    match (a, b) {
        (What::Response { status, body, .. }, What::Response { status: s, body: b, .. }) => status == s && body == b,
        _ => a == b,
    }
}

/// Puts the two sequences side by side: first the longest common subsequence, and between its
/// members the items of one kind, in order.
fn align<'a>(genuine: &'a [Said], ours: &'a [Said]) -> Vec<(Option<&'a Said>, Option<&'a Said>)> {
    let (n, m) = (genuine.len(), ours.len());
    let mut longest = vec![vec![0u32; m + 1]; n + 1];
    for i in (0..n).rev() {
        for j in (0..m).rev() {
            longest[i][j] = if same(&genuine[i].what, &ours[j].what) {
                longest[i + 1][j + 1] + 1
            } else {
                longest[i + 1][j].max(longest[i][j + 1])
            };
        }
    }
    let (mut pairs, mut i, mut j) = (Vec::new(), 0, 0);
    let mut gap = (Vec::new(), Vec::new());
    while i < n || j < m {
        if i < n && j < m && same(&genuine[i].what, &ours[j].what) {
            close_gap(&mut gap, &mut pairs);
            pairs.push((Some(&genuine[i]), Some(&ours[j])));
            (i, j) = (i + 1, j + 1);
        } else if j == m || i < n && longest[i + 1][j] >= longest[i][j + 1] {
            gap.0.push(&genuine[i]);
            i += 1;
        } else {
            gap.1.push(&ours[j]);
            j += 1;
        }
    }
    close_gap(&mut gap, &mut pairs);
    pairs
}

type Gap<'a> = (Vec<&'a Said>, Vec<&'a Said>);

fn close_gap<'a>(gap: &mut Gap<'a>, pairs: &mut Vec<(Option<&'a Said>, Option<&'a Said>)>) {
    let (genuine, mut ours) = (std::mem::take(&mut gap.0), std::mem::take(&mut gap.1));
    for g in genuine {
        let partner = ours.iter().position(|o| kind(&o.what) == kind(&g.what));
        pairs.push((Some(g), partner.map(|at| ours.remove(at))));
    }
    pairs.extend(ours.into_iter().map(|o| (None, Some(o))));
}

fn compare(genuine: &What, ours: &What, note: &mut dyn FnMut(&str, &str, &str)) {
    let (
        What::Response { status, headers, body },
        What::Response {
            status: our_status,
            headers: our_headers,
            body: our_body,
        },
    ) = (genuine, ours)
    else {
        if genuine != ours {
            note(kind(genuine), &genuine.to_string(), &ours.to_string());
        }
        return;
    };
    if status != our_status {
        return note("response", &genuine.to_string(), &ours.to_string());
    }
    let lengths = [headers, our_headers].map(|lines| find(lines, "content-length").is_some());
    compare_headers(headers, our_headers, &mut |what, genuine, ours| {
        // The lengths follow from the bodies.
        if what != "header content-length" || body.len() == our_body.len() || lengths != [true, true] {
            note(what, genuine, ours);
        }
    });
    if body != our_body {
        note("body", &super::said::printable(body), &super::said::printable(our_body));
    }
}

fn name(line: &str) -> String {
    line.split(':').next().unwrap_or_default().to_ascii_lowercase()
}

fn find(lines: &[String], wanted: &str) -> Option<String> {
    lines.iter().find(|line| name(line) == wanted).cloned()
}

fn compare_headers(genuine: &[String], ours: &[String], note: &mut dyn FnMut(&str, &str, &str)) {
    let mut names: Vec<String> = genuine.iter().chain(ours).map(|line| name(line)).collect();
    names.sort();
    names.dedup();
    for wanted in &names {
        let (g, o) = (find(genuine, wanted), find(ours, wanted));
        if g != o {
            let nothing = || NOTHING.to_owned();
            note(
                &format!("header {wanted}"),
                &g.unwrap_or_else(nothing),
                &o.unwrap_or_else(nothing),
            );
        }
    }
    let order = |lines: &[String], others: &[String]| -> Vec<String> {
        let names = lines.iter().map(|line| name(line));
        names.filter(|n| others.iter().any(|o| name(o) == *n)).collect()
    };
    let (g, o) = (order(genuine, ours), order(ours, genuine));
    if g != o {
        note("header order", &g.join(", "), &o.join(", "));
    }
}

/// Compares the events that the two applications saw, section by section. If the recording does not
/// say when, all events are compared together.
pub fn compare_seen(
    capture: &str,
    genuine: &BTreeMap<String, Vec<String>>,
    ours: &[(String, String)],
) -> Vec<Difference> {
    let mut by_section: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let is_one = genuine.contains_key("*");
    for (section, line) in ours {
        let section = if is_one { "*" } else { section.as_str() };
        by_section.entry(section).or_default().push(line);
    }
    let mut sections: Vec<&str> = by_section
        .keys()
        .copied()
        .chain(genuine.keys().map(String::as_str))
        .collect();
    sections.sort_unstable();
    sections.dedup();
    let mut found = Vec::new();
    for section in sections {
        let g = genuine.get(section).map(|lines| lines.join("; ")).unwrap_or_default();
        let o = by_section
            .get(section)
            .map(|lines| lines.join("; "))
            .unwrap_or_default();
        let or_nothing = |text: String| if text.is_empty() { NOTHING.to_owned() } else { text };
        if g != o {
            found.push(Difference {
                capture: capture.to_owned(),
                section: section.to_owned(),
                what: "seen".to_owned(),
                genuine: or_nothing(g),
                ours: or_nothing(o),
                place: "the application".to_owned(),
            });
        }
    }
    found
}

// ---- the list -------------------------------------------------------------------------------------------------------

/// The differences that have a reason.
pub struct List {
    rules: Vec<Rule>,
}

struct Rule {
    line: usize,
    text: String,
    /// Capture, section, what, genuine, ours: patterns. `*` stands for any text.
    fields: [String; 5],
    used: Cell<bool>,
}

impl List {
    pub fn load() -> Self {
        let path = format!("{}/tests/captures/differences.txt", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut rules = Vec::new();
        let mut has_reason = false;
        for (number, line) in text.lines().enumerate() {
            if let Some(rule) = line.strip_prefix("  ") {
                assert!(has_reason, "differences.txt:{}: a rule without a reason", number + 1);
                let fields: Vec<String> = rule.split(" | ").map(str::to_owned).collect();
                let fields = fields.try_into();
                rules.push(Rule {
                    line: number + 1,
                    text: rule.to_owned(),
                    fields: fields.unwrap_or_else(|f| panic!("differences.txt:{}: five fields: {f:?}", number + 1)),
                    used: Cell::new(false),
                });
            } else {
                has_reason = !line.is_empty() && !line.starts_with('#');
            }
        }
        Self { rules }
    }

    /// Whether the difference is listed. Every rule that lists it is marked as used.
    pub fn has(&self, difference: &Difference) -> bool {
        let Difference {
            capture,
            section,
            what,
            genuine,
            ours,
            ..
        } = difference;
        let fields = [capture, section, what, genuine, ours];
        let matching = self.rules.iter().filter(|rule| {
            let pairs = rule.fields.iter().zip(fields);
            pairs.into_iter().all(|(pattern, text)| matches(pattern, text))
        });
        matching.inspect(|rule| rule.used.set(true)).count() > 0
    }

    /// The rules that have listed no difference.
    pub fn unused(&self) -> impl Iterator<Item = String> {
        let unused = self.rules.iter().filter(|rule| !rule.used.get());
        unused.map(|rule| format!("differences.txt:{}: {}", rule.line, rule.text))
    }
}

/// Whether `text` fits `pattern`. `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(head) else {
        return false;
    };
    let (middle, tail) = rest.rsplit_once('*').unwrap_or(("", rest));
    // The first position where a part fits is as good as any later one.
    for part in middle.split('*').filter(|part| !part.is_empty()) {
        let Some((_, after)) = text.split_once(part) else {
            return false;
        };
        text = after;
    }
    text.ends_with(tail)
}

#[test]
fn patterns() {
    assert!(matches("a*c", "abc") && matches("*", "") && matches("a*b*", "aéb"));
    assert!(!matches("a*c", "abd") && !matches("a", "ab"));
}
