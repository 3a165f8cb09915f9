//! The functions that a shard calls around each of its inputs, and the text that they write.

use alloc::string::String;

use super::line::Line;
use super::outputs::{put_delivery, put_next_timeout, put_write};
use super::packets::put_packet;
use super::settings::put_settings;
use super::{Detail, HEADER};
use crate::server::{NextTimeout, Outputs, SendError};
use crate::wire::Inbound;
use crate::{Config, Time};

/// The options of a transcript.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderOptions {
    /// The detail. Default [`Detail::Short`].
    pub detail: Detail,
    /// How many bytes of text may wait to be taken. Beyond it, inputs are left out. Default 4 MiB.
    /// The lines of one input may make the text up to twice as long. A transcript with missing
    /// inputs says so, and cannot be replayed beyond this place.
    pub max_buffered_bytes: usize,
}

impl Default for RecorderOptions {
    fn default() -> Self {
        Self {
            detail: Detail::Short,
            max_buffered_bytes: 4 << 20,
        }
    }
}

impl RecorderOptions {
    /// Sets [`RecorderOptions::detail`](#structfield.detail).
    #[must_use]
    pub const fn detail(mut self, detail: Detail) -> Self {
        self.detail = detail;
        self
    }

    /// Sets [`RecorderOptions::max_buffered_bytes`](#structfield.max_buffered_bytes).
    #[must_use]
    pub const fn max_buffered_bytes(mut self, bytes: usize) -> Self {
        self.max_buffered_bytes = bytes;
        self
    }
}

/// The bytes that are charged to the budget, and the number of shards that share it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged {
    pub(crate) bytes: usize,
    pub(crate) shards: usize,
}

/// The position of an input in the text, and the number of outputs at its beginning.
#[derive(Debug)]
pub(crate) struct Mark {
    start: usize,
    /// The end of the line of the input, and of the packets in it.
    input_end: usize,
    /// Whether the input gets a line only if it has results.
    is_trivial: bool,
    writes: usize,
    deliveries: usize,
}

/// Writes the transcript of one shard.
#[derive(Debug)]
pub(crate) struct Recorder {
    options: RecorderOptions,
    text: String,
    /// The latest time of an input. Some inputs have no time of their own.
    now: Time,
    next: Option<NextTimeout>,
    charged: Charged,
    /// How many inputs were left out since the text was taken.
    lost: u64,
    /// Whether an input is being handled. Calls that it makes are not inputs.
    is_busy: bool,
}

impl Recorder {
    /// A transcript of a shard with this config and this many sessions.
    pub(crate) fn new(options: RecorderOptions, config: &Config, index: u8, key: &[u8; 16], sessions: usize) -> Self {
        let mut recorder = Self {
            options,
            text: String::new(),
            now: Time::ZERO,
            next: None,
            charged: Charged { bytes: 0, shards: 1 },
            lost: 0,
            is_busy: false,
        };
        let (text, detail) = (&mut recorder.text, options.detail);
        Line::of_head(text, detail, HEADER).word(detail.as_str()).end();
        Line::of_head(text, detail, "shard")
            .word(index)
            .key(key)
            .word(sessions)
            .end();
        put_settings(config, |write| {
            let mut line = Line::of_head(text, detail, "set");
            write(&mut line);
            line.end();
        });
        recorder
    }

    /// Takes the text that has been written since the last time.
    pub(crate) fn take(&mut self) -> String {
        core::mem::take(&mut self.text)
    }

    /// Records an input before it is handled. `None` if it is part of another input, or is left
    /// out.
    pub(crate) fn input(
        &mut self,
        now: Option<Time>,
        out: Option<&Outputs>,
        charged: Charged,
        packets: Option<&[Inbound]>,
        write: impl FnOnce(&mut Line<'_>) -> bool,
    ) -> Option<Mark> {
        if self.is_busy {
            return None;
        }
        self.is_busy = true;
        self.now = now.map_or(self.now, |now| now.max(self.now));
        if self.text.len() >= self.options.max_buffered_bytes {
            self.lost += 1;
            return None;
        }
        if self.lost > 0 {
            let (now, lost) = (self.now, core::mem::take(&mut self.lost));
            self.line(now, '!', |line| _ = line.word("lost").word(lost));
        }
        let start = self.text.len();
        let mut is_trivial = false;
        self.line(self.now, '>', |line| is_trivial = write(line));
        for packet in packets.unwrap_or_default() {
            self.line(self.now, '+', |line| put_packet(line, packet));
        }
        if charged != self.charged {
            let Charged { bytes, shards } = charged;
            self.line(self.now, '*', |line| _ = line.word("budget").word(bytes).word(shards));
            is_trivial = false;
        }
        Some(Mark {
            start,
            input_end: self.text.len(),
            is_trivial,
            writes: out.map_or(0, |out| out.writes.len()),
            deliveries: out.map_or(0, |out| out.deliveries.len()),
        })
    }

    /// Records the results of an input.
    pub(crate) fn outcome(
        &mut self,
        mark: Mark,
        out: Option<&Outputs>,
        facts: &[(&str, &[u8])],
        outcome: &impl Outcome,
        next: Option<NextTimeout>,
        charged: Charged,
    ) {
        let now = self.now;
        let is_full = self.options.detail == Detail::Full;
        for (name, said) in facts.iter().filter(|(_, said)| is_full && !said.is_empty()) {
            self.line(now, '*', |line| _ = line.word(name).hex(said));
        }
        if let Some(out) = out {
            for write in out.writes.get(mark.writes..).unwrap_or_default() {
                self.line(now, '<', |line| put_write(line, write));
            }
            for delivery in out.deliveries.get(mark.deliveries..).unwrap_or_default() {
                self.line(now, '<', |line| put_delivery(line, delivery));
            }
        }
        self.charged = charged;
        if mark.is_trivial && self.text.len() == mark.input_end && next == self.next {
            self.text.truncate(mark.start);
            return;
        }
        if outcome.says_something() {
            self.line(now, '=', |line| outcome.put(line));
        }
        if next != self.next {
            self.line(now, '~', |line| put_next_timeout(line, next));
        }
        if self.text.len() > 2 * self.options.max_buffered_bytes.max(1) {
            self.text.truncate(mark.start);
            self.lost += 1;
        } else {
            self.next = next;
        }
    }

    /// The input is over, recorded or not.
    pub(crate) const fn end(&mut self) {
        self.is_busy = false;
    }

    /// Whether an input is being handled.
    pub(crate) const fn is_busy(&self) -> bool {
        self.is_busy
    }

    fn line(&mut self, now: Time, kind: char, write: impl FnOnce(&mut Line<'_>)) {
        let mut line = Line::new(&mut self.text, self.options.detail, now, kind);
        write(&mut line);
        line.end();
    }
}

/// The result of a call.
pub(crate) trait Outcome {
    /// Whether there is a result to write.
    fn says_something(&self) -> bool;
    fn put(&self, line: &mut Line<'_>);
}

impl Outcome for () {
    fn says_something(&self) -> bool {
        false
    }

    fn put(&self, _: &mut Line<'_>) {}
}

impl Outcome for bool {
    fn says_something(&self) -> bool {
        *self
    }

    fn put(&self, line: &mut Line<'_>) {
        line.word("true");
    }
}

impl Outcome for Result<(), SendError> {
    fn says_something(&self) -> bool {
        true
    }

    fn put(&self, line: &mut Line<'_>) {
        line.result(*self);
    }
}
