//! What the examination has found.

use serde_json::{Value, json};

use crate::ending::Failed;
use crate::output::Output;

/// How good a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It works.
    Good,
    /// A fact, neither good nor bad.
    Note,
    /// It works, but not as it should.
    Warning,
    /// It does not work.
    Problem,
    /// It could not be examined.
    Skipped,
}

impl Verdict {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Problem => "problem",
            Self::Skipped => "skipped",
        }
    }
}

/// Collects findings, and writes each as it comes.
pub(super) struct Findings<'a> {
    out: &'a mut Output,
    json: bool,
    counts: [usize; 5],
    advice: Vec<(&'static str, String)>,
}

impl<'a> Findings<'a> {
    pub(super) const fn new(out: &'a mut Output, json: bool) -> Self {
        Self {
            out,
            json,
            counts: [0; 5],
            advice: Vec::new(),
        }
    }

    /// Says what was found, and what to do about it.
    pub(super) fn say(
        &mut self,
        check: &'static str,
        verdict: Verdict,
        what: impl Into<String>,
        advice: impl Into<Option<String>>,
    ) -> Result<(), Failed> {
        let (what, advice) = (what.into(), advice.into());
        self.counts[verdict as usize] += 1;
        if self.json {
            let finding = json!({ "check": check, "verdict": verdict.name(), "what": what, "advice": advice });
            self.out.json(&finding)?;
        } else {
            let out = &*self.out;
            let mark = match verdict {
                Verdict::Good => out.green("✓"),
                Verdict::Note => out.dim("·"),
                Verdict::Warning => out.yellow("!"),
                Verdict::Problem => out.red("✗"),
                Verdict::Skipped => out.dim("-"),
            };
            let check = out.bold(&format!("{check:<16}"));
            let line = format!("{mark} {check} {what}");
            self.out.line(&line)?;
        }
        if let Some(advice) = advice {
            self.advice.push((check, advice));
        }
        Ok(())
    }

    pub(super) const fn problems(&self) -> usize {
        self.counts[Verdict::Problem as usize]
    }

    /// Writes what to do, and the sum.
    pub(super) fn finish(self) -> Result<(), Failed> {
        let count = |verdict: Verdict| self.counts[verdict as usize];
        if self.json {
            let sum: Value = json!({
                "summary": {
                    "good": count(Verdict::Good),
                    "warnings": count(Verdict::Warning),
                    "problems": count(Verdict::Problem),
                    "skipped": count(Verdict::Skipped),
                }
            });
            return self.out.json(&sum);
        }
        if !self.advice.is_empty() {
            self.out.line("\nWhat to do:")?;
        }
        for (check, advice) in &self.advice {
            let check = self.out.bold(check);
            self.out.line(&format!("  {check}: {advice}"))?;
        }
        let (warnings, problems) = (count(Verdict::Warning), count(Verdict::Problem));
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        let sum = format!(
            "\n{} good, {warnings} warning{}, {problems} problem{}, {} not examined",
            count(Verdict::Good),
            plural(warnings),
            plural(problems),
            count(Verdict::Skipped)
        );
        self.out.line(&sum)
    }
}
