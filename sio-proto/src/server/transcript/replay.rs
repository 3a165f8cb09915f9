//! Runs a transcript: a shard with this config gets the inputs and the random bytes of the
//! transcript and writes its own transcript. The two are compared line by line.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::entries::{Entry, Reader};
use super::inputs::Input;
use super::{Detail, Limits, Problem, RecorderOptions, TranscriptError};
use crate::server::{Budget, Outputs, Posted, Script, Shard};
use crate::{Config, Time};

/// How many lines before a difference are reported with it.
const CONTEXT: usize = 12;

/// A transcript that was replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// Number of inputs in it.
    pub inputs: usize,
    /// Number of compared lines.
    pub lines: usize,
}

/// Why a transcript was not replayed to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The transcript cannot be read.
    #[error(transparent)]
    Unreadable(#[from] TranscriptError),
    /// The shard did something else.
    #[error("{0}")]
    Differs(Box<Difference>),
}

/// The first line in which a replay differs from its transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The line, counted from 1.
    pub line: usize,
    /// The line of the transcript; `None` if the replay has more lines than the transcript.
    pub expected: Option<String>,
    /// The line of the replay; `None` if the replay has fewer lines.
    pub found: Option<String>,
    /// The lines before it.
    pub before: Vec<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "line {}: the shard did something else", self.line)?;
        for line in &self.before {
            writeln!(f, "      {line}")?;
        }
        let nothing = "(nothing more)";
        writeln!(f, "then  {}", self.expected.as_deref().unwrap_or(nothing))?;
        write!(f, "now   {}", self.found.as_deref().unwrap_or(nothing))
    }
}

/// Runs a [full](Detail::Full) transcript and compares the results. `base` has everything that a
/// transcript cannot hold: the parser, the codecs, and all settings that are no number, duration,
/// flag or text. All other settings come from the transcript.
///
/// The memory is that of the transcript and of the shard. The time is that of the shard for these
/// inputs: nothing in a transcript makes the function wait.
///
/// # Errors
/// The transcript cannot be read, with the line of the mistake; or the shard did something else,
/// with the first line that differs.
pub fn replay(text: &str, base: Config, limits: &Limits) -> Result<Replayed, ReplayError> {
    let mut reader = Reader::new(text, limits)?;
    let head = reader.head(base)?;
    let never = |_: &mut [u8]| {};
    let shard = Shard::new(head.config, head.index, head.key, Box::new(never));
    let mut shard = shard.map_err(|error| reader.error(Problem::Config(error)))?;
    let options = RecorderOptions::default()
        .detail(Detail::Full)
        .max_buffered_bytes(usize::MAX / 4);
    shard.start_transcript(options);
    let said_head = shard.take_transcript();
    compare(&reader, 0, said_head.lines().count(), &said_head)?;
    let config = Arc::clone(shard.config());
    let mut outputs = Outputs::default();
    let mut shards = 1;
    let (mut inputs, mut lines) = (0, 0);
    while let Some(mut entry) = reader.entry(&config)? {
        if let Some((bytes, sharing)) = entry.budget {
            charge(shard.budget(), bytes, sharing, &mut shards);
        }
        shard.follow(Script {
            drawn: core::mem::take(&mut entry.drawn).into(),
            quota: core::mem::take(&mut entry.quota).into(),
        });
        let range = entry.lines.clone();
        run(&mut shard, entry, &mut outputs);
        outputs.writes.clear();
        outputs.deliveries.clear();
        outputs.released.clear();
        let said = shard.take_transcript();
        compare(&reader, range.start, range.len(), &said)?;
        inputs += 1;
        lines += range.len();
    }
    Ok(Replayed { inputs, lines })
}

/// Other shards have charged this many bytes to the budget, and this many shards share it.
fn charge(budget: &Budget, bytes: usize, sharing: usize, shards: &mut usize) {
    budget.recharge(budget.used(), bytes);
    // There are at most 256 shards, because the index of a shard is a byte.
    let sharing = sharing.clamp(1, 256);
    for _ in *shards..sharing {
        budget.enter();
    }
    for _ in sharing..*shards {
        budget.leave();
    }
    *shards = sharing;
}

/// Compares the lines of an input with the lines that the shard has written now.
fn compare(reader: &Reader<'_>, start: usize, count: usize, said: &str) -> Result<(), ReplayError> {
    let then = reader.lines.get(start..start + count).unwrap_or_default();
    let now: Vec<&str> = said.lines().collect();
    let length = then.len().max(now.len());
    let Some(at) = (0..length).find(|at| then.get(*at) != now.get(*at)) else {
        return Ok(());
    };
    let at_line = start + at;
    let before = &reader.lines[at_line.saturating_sub(CONTEXT).min(at_line)..at_line.min(reader.lines.len())];
    Err(ReplayError::Differs(Box::new(Difference {
        line: at_line + 1,
        expected: then.get(at).map(|line| (*line).to_owned()),
        found: now.get(at).map(|line| (*line).to_owned()),
        before: before.iter().map(ToString::to_string).collect(),
    })))
}

/// Gives the shard an input. The result of the call is in the shard's transcript.
fn run(shard: &mut Shard, entry: Entry, out: &mut Outputs) {
    let now: Time = entry.now;
    match entry.input {
        Input::Request(link, mut request) => shard.handle_request(now, link, &mut request, out),
        Input::BodyStarted(link, request) => shard.handle_body_started(now, link, &request, out),
        Input::Packets(link, mut packets) => shard.handle_packets(now, link, &mut packets, out),
        Input::Part(link, request, max, packets) => {
            _ = shard.handle_part(now, link, &request, &mut Posted::new(packets), max, out);
        }
        Input::Excuse(session) => shard.excuse(now, session, out),
        Input::Closed(link, cause) => shard.handle_closed(now, link, cause, out),
        Input::DisconnectFor(socket, breach) => shard.disconnect_for(now, socket, breach, out),
        Input::TellConnectionErrors(tell) => shard.tell_connection_errors(tell),
        Input::Timeout => shard.handle_timeout(now, out),
        Input::Flush(max) => _ = shard.flush_ready(now, max, out),
        Input::Blocked(link, held) => shard.handle_blocked(now, link, held),
        Input::Drained(link) => shard.handle_drained(now, link),
        Input::Returned(link, frames) => shard.handle_returned(now, link, frames),
        Input::EndPoll(link) => shard.end_poll(now, link, out),
        Input::Confirm(socket, heard) => _ = shard.confirm(now, socket, heard, out),
        Input::Accept(socket, welcome) => _ = shard.accept_as(now, socket, &welcome, out),
        Input::Refuse(socket, message, data) => shard.refuse(now, socket, &message, data.as_deref(), out),
        Input::Release(socket) => shard.release(now, socket, out),
        Input::Emit(socket, mut message, ack) => _ = shard.emit(now, socket, &mut message, ack),
        Input::EmitEncoded(socket, form, message) => _ = shard.emit_encoded(now, socket, form, message),
        Input::ForgetAck(socket, id) => shard.forget_ack(now, socket, id, out),
        Input::Disconnect(socket, close) => shard.disconnect(now, socket, close, out),
        Input::Dismiss(socket, reason) => shard.dismiss(now, socket, reason, out),
        Input::Join(socket, room) => _ = shard.join(socket, &room),
        Input::Leave(socket, room) => shard.leave(socket, &room),
        Input::Command(command) => shard.handle_command(now, *command, out),
        Input::SendEngine(session, message) => _ = shard.send_engine(session, message),
        Input::CloseEngine(session) => shard.close_engine(now, session, out),
    }
}
