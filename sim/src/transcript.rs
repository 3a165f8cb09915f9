//! What has happened, one line each: hashed, so that two runs can be compared, and kept, so that a
//! failure can be read.

use std::collections::VecDeque;
use std::fmt;

use sio_proto::Time;

/// How many lines are kept.
const KEPT: usize = 60;

/// What is done with lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing: lines are not even made.
    Off,
    /// They are hashed.
    Hashed,
    /// They are hashed, and the last ones kept.
    Kept,
    /// They are hashed and kept, all of them.
    Whole,
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Transcript {
    mode: Mode,
    hash: u64,
    lines: VecDeque<String>,
}

impl Transcript {
    pub(crate) const fn new(mode: Mode) -> Self {
        Self {
            mode,
            hash: 0xcbf2_9ce4_8422_2325,
            lines: VecDeque::new(),
        }
    }

    pub(crate) fn note(&mut self, now: Time, words: fmt::Arguments<'_>) {
        if self.mode == Mode::Off {
            return;
        }
        let line = format!("{now} {words}");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if matches!(self.mode, Mode::Kept | Mode::Whole) {
            self.lines.push_back(line);
            if self.lines.len() > KEPT && self.mode == Mode::Kept {
                self.lines.pop_front();
            }
        }
    }

    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn take_lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines).into()
    }
}
