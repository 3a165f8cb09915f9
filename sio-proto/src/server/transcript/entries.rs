//! The lines of a transcript: first the head, then each input with the lines that belong to it.

use alloc::vec::Vec;
use core::ops::Range;

use super::inputs::{Input, input};
use super::packets::packet;
use super::settings::{others, read_setting, reset};
use super::words::Words;
use super::{Detail, HEADER};
use crate::config::ConfigError;
use crate::{Config, Time};

/// The limits of a reader of transcripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// The most bytes of a transcript. Default 256 MiB.
    pub max_bytes: usize,
    /// The most bytes of a line. Default 16 MiB: a payload of a million bytes takes up to four
    /// million, and an answer to a poll may have several payloads.
    pub max_line_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_bytes: 256 << 20,
            max_line_bytes: 16 << 20,
        }
    }
}

impl Limits {
    /// Sets [`Limits::max_bytes`](#structfield.max_bytes).
    #[must_use]
    pub const fn max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets [`Limits::max_line_bytes`](#structfield.max_line_bytes).
    #[must_use]
    pub const fn max_line_bytes(mut self, bytes: usize) -> Self {
        self.max_line_bytes = bytes;
        self
    }
}

/// A mistake in a transcript, and its line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TranscriptError {
    /// The line, counted from 1.
    pub line: usize,
    /// The mistake.
    pub problem: Problem,
}

/// A mistake in a line of a transcript.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// The first line is not the first line of a transcript, or it has another version of the
    /// format.
    #[error("this is no transcript of version 1")]
    NotATranscript,
    /// The transcript is longer than [`Limits::max_bytes`].
    #[error("the transcript is too long")]
    TooLarge,
    /// A line is longer than [`Limits::max_line_bytes`].
    #[error("the line is too long")]
    LineTooLong,
    /// A line of this kind is not allowed at this place.
    #[error("a line of this kind cannot stand here")]
    Misplaced,
    /// A word is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A word is not what is expected here.
    #[error("{0} is expected")]
    Invalid(&'static str),
    /// A word follows the last word of the line.
    #[error("the line is too long by some words")]
    Trailing,
    /// The times decrease.
    #[error("the time goes back")]
    TimeGoesBack,
    /// The shard had sessions when the transcript began, or the transcript is not
    /// [full](Detail::Full).
    #[error("it cannot be replayed: it is cut, or did not begin with the shard")]
    NotReplayable,
    /// The text was not taken in time, and inputs are missing.
    #[error("inputs are missing: the text was not taken in time")]
    Lost,
    /// This setting cannot be read, and the given config has another value.
    #[error("the transcript was written with another `{0}`: give the replay a config with the same")]
    OtherSetting(&'static str),
    /// The config does not make sense.
    #[error("the config makes no sense: {0}")]
    Config(ConfigError),
}

/// The head of a transcript that can be replayed.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) config: Config,
    pub(super) index: u8,
    pub(super) key: [u8; 16],
}

/// An input, and the lines that belong to it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) now: Time,
    pub(super) input: Input,
    /// Random bytes that the shard drew while it handled the input.
    pub(super) drawn: Vec<u8>,
    /// The answers of a shared quota.
    pub(super) quota: Vec<u8>,
    /// The bytes that were charged to the budget before the input, and the number of shards that
    /// shared it, if other shards had changed these numbers.
    pub(super) budget: Option<(usize, usize)>,
    /// The lines, counted from 0.
    pub(super) lines: Range<usize>,
}

/// A transcript, line by line.
pub(super) struct Reader<'a> {
    pub(super) lines: Vec<&'a str>,
    /// The next line, counted from 0.
    at: usize,
    now: Time,
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, limits: &Limits) -> Result<Self, TranscriptError> {
        let error = |line: usize, problem| TranscriptError {
            line: line + 1,
            problem,
        };
        if text.len() > limits.max_bytes {
            return Err(error(0, Problem::TooLarge));
        }
        let lines: Vec<&str> = text.lines().collect();
        match lines.iter().position(|line| line.len() > limits.max_line_bytes) {
            Some(line) => Err(error(line, Problem::LineTooLong)),
            None => Ok(Self {
                lines,
                at: 0,
                now: Time::ZERO,
            }),
        }
    }

    /// An error at the current line.
    pub(super) const fn error(&self, problem: Problem) -> TranscriptError {
        TranscriptError {
            line: self.at + 1,
            problem,
        }
    }

    /// Reads the head. `base` has the settings that a transcript cannot hold.
    pub(super) fn head(&mut self, base: Config) -> Result<Head, TranscriptError> {
        let first = self.lines.first().copied().unwrap_or_default();
        let detail = first.strip_prefix(HEADER).map(str::trim_start);
        match detail {
            Some(detail) if detail == Detail::Full.as_str() => {}
            Some(detail) if detail == Detail::Short.as_str() => return Err(self.error(Problem::NotReplayable)),
            _ => return Err(self.error(Problem::NotATranscript)),
        }
        self.at = 1;
        let (index, key) = self.shard().map_err(|problem| self.error(problem))?;
        self.at = 2;
        let mut config = base;
        reset(&mut config);
        let mut unsaid = others(&config);
        while let Some(line) = self.lines.get(self.at)
            && let Some(rest) = line.strip_prefix("set ")
        {
            let name = rest.split(' ').next().unwrap_or_default();
            unsaid.retain(|(other, _)| *other != name);
            read_setting(&mut config, &mut Words::new(rest)).map_err(|problem| self.error(problem))?;
            self.at += 1;
        }
        // A setting without a line has its default value.
        let default = others(&Config::default());
        let other = unsaid
            .iter()
            .find(|(name, words)| !default.iter().any(|(n, w)| n == name && w == words));
        match other {
            Some((name, _)) => Err(self.error(Problem::OtherSetting(name))),
            None => Ok(Head { config, index, key }),
        }
    }

    /// Reads `shard index key sessions`.
    fn shard(&self) -> Result<(u8, [u8; 16]), Problem> {
        let mut words = Words::new(self.lines.get(self.at).copied().unwrap_or_default());
        if !words.skip("shard") {
            return Err(Problem::Missing("the line of the shard"));
        }
        let index = words.number("the number of the shard")?;
        let key = words.hex("the key")?;
        let sessions: usize = words.number("a number of sessions")?;
        words.end()?;
        if sessions > 0 {
            return Err(Problem::NotReplayable);
        }
        let key = key[..].try_into().map_err(|_| Problem::Invalid("the key"))?;
        Ok((index, key))
    }

    /// Reads the next input with its lines; `None` at the end.
    pub(super) fn entry(&mut self, config: &Config) -> Result<Option<Entry>, TranscriptError> {
        if self.at >= self.lines.len() {
            return Ok(None);
        }
        self.next_entry(config).map(Some).map_err(|problem| self.error(problem))
    }

    fn next_entry(&mut self, config: &Config) -> Result<Entry, Problem> {
        let start = self.at;
        let (now, mark, mut words) = self.line()?;
        match mark {
            ">" => {}
            "!" => return Err(Problem::Lost),
            _ => return Err(Problem::Misplaced),
        }
        if now < self.now {
            return Err(Problem::TimeGoesBack);
        }
        self.now = now;
        let mut entry = Entry {
            now,
            input: input(&mut words, config)?,
            drawn: Vec::new(),
            quota: Vec::new(),
            budget: None,
            lines: start..start,
        };
        self.at += 1;
        while self.at < self.lines.len() {
            let (time, mark, mut words) = self.line()?;
            match mark {
                ">" | "!" => break,
                _ if time != now => return Err(Problem::Invalid("the time of the input")),
                "+" => match &mut entry.input {
                    Input::Packets(_, packets) | Input::Part(.., packets) => packets.push(packet(&mut words, config)?),
                    _ => return Err(Problem::Misplaced),
                },
                "*" => entry.fact(&mut words)?,
                // These lines are compared as text.
                "<" | "=" | "~" => {
                    self.at += 1;
                    continue;
                }
                _ => return Err(Problem::Misplaced),
            }
            words.end()?;
            self.at += 1;
        }
        entry.lines.end = self.at;
        Ok(entry)
    }

    /// The time of the line, its mark, and the words behind them.
    fn line(&self) -> Result<(Time, &'a str, Words<'a>), Problem> {
        let mut words = Words::new(self.lines[self.at]);
        let time = words.time("a time")?;
        let mark = words.word("a mark")?;
        Ok((time, mark, words))
    }
}

impl Entry {
    /// Reads a fact that the shard was told while it handled the input.
    fn fact(&mut self, words: &mut Words<'_>) -> Result<(), Problem> {
        match words.word("a fact")? {
            "drawn" => self.drawn = words.hex("bytes")?,
            "quota" => self.quota = words.hex("answers")?,
            "budget" => self.budget = Some((words.number("bytes")?, words.number("shards")?)),
            _ => return Err(Problem::Invalid("a fact")),
        }
        Ok(())
    }
}
