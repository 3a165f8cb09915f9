//! What a shard calls around each of its inputs, and the text that comes of it.

use alloc::string::String;

use super::line::Line;
use super::outputs::{put_delivery, put_next_timeout, put_write};
use super::packets::put_packet;
use super::settings::put_settings;
use super::{Detail, HEADER};
use crate::server::{NextTimeout, Outputs, SendError};
use crate::wire::Inbound;
use crate::{Config, Time};

/// How a transcript is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecorderOptions {
    /// How much it says. Default [`Detail::Short`].
    pub detail: Detail,
    /// How many bytes of text wait to be taken before inputs are left out. Default 4 MiB. What one
    /// input causes may make it up to twice as much. A transcript in which inputs are missing says
    /// so, and cannot be replayed beyond that.
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

/// What is charged to the budget, and by how many shards it is shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Charged {
    pub(crate) bytes: usize,
    pub(crate) shards: usize,
}

/// Where the text of an input began, and where the outputs were then.
#[derive(Debug)]
pub(crate) struct Mark {
    start: usize,
    /// The end of the line of the input, and of the packets in it.
    input_end: usize,
    /// It is worth a line only if something comes of it.
    is_trivial: bool,
    writes: usize,
    deliveries: usize,
}

/// Writes the transcript of one shard.
#[derive(Debug)]
pub(crate) struct Recorder {
    options: RecorderOptions,
    text: String,
    /// The latest time that an input had. Some have none of their own.
    now: Time,
    next: Option<NextTimeout>,
    charged: Charged,
    /// Inputs that were left out since the text was taken.
    lost: u64,
    /// An input is being handled: what it calls is no input.
    is_busy: bool,
}

impl Recorder {
    /// A transcript of a shard of this config that has so many sessions.
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

    /// Notes an input before it is handled. `None` if it is part of another one, or left out.
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

    /// Notes what came of an input.
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

    /// An input is over, noted or not.
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

/// What a call gives back.
pub(crate) trait Outcome {
    /// Whether there is something to write.
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
