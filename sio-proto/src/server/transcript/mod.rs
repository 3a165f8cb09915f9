//! Transcripts: one line of text for each input and each output of a shard, written while it works,
//! and read back to make it do the same again.
//!
//! ```text
//! sio-transcript 1 full
//! shard 0 07070707070707070707070707070707 0
//! 0.000000 > request 0.0 GET "/socket.io/?EIO=4&transport=websocket" 1 …
//! 0.000000 * drawn 91e6ffacfd420b
//! 0.000000 < upgrade 0.0 …
//! 0.000000 ~ 25.000000 Ping 0.0 -
//! ```
//! `docs/transcript.md` has the whole format. A transcript starts with
//! [`Shard::start_transcript`](super::Shard::start_transcript), is fetched with
//! [`Shard::take_transcript`](super::Shard::take_transcript), and [`replay`] runs one that is
//! [full](Detail::Full).
//!
//! - `line`: how a line is written, and what of it is cut; `words`: how a line is read
//! - `requests`, `packets`, `messages`, `inputs`: each input, written and read; `outputs`: each
//!   output, which is only written, because a replay compares text
//! - `settings`: the config; `recorder`: what a shard calls; `entries`: the lines of a file
//! - `replay`: the shard does it again
//!
//! What a shard asks of others while it works would make two runs differ: random bytes, the answers
//! of a shared quota, and what others have charged to a shared budget. They are written, too.
//!
//! Invariant: a recorder changes nothing that the shard does.

mod entries;
mod inputs;
mod line;
mod messages;
mod outputs;
mod packets;
mod recorder;
mod replay;
mod requests;
mod settings;
mod words;

pub use entries::{Limits, Problem, TranscriptError};
pub use recorder::RecorderOptions;
pub use replay::{Difference, ReplayError, Replayed, replay};

pub(crate) use line::Line;
pub(crate) use recorder::{Charged, Mark, Outcome, Recorder};

/// The first word of every transcript, and the version of the format.
const HEADER: &str = "sio-transcript 1";

/// How much a transcript says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// For people: payloads are cut, and what may be a secret is left out (ids of sessions, header
    /// fields, queries, `auth`, random bytes). It cannot be replayed.
    #[default]
    Short,
    /// For [`replay`]: everything, secrets included. Whoever has the file while its sessions live
    /// can speak as their clients, and it holds all that the clients have said.
    Full,
}

impl Detail {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Short => "short",
            Self::Full => "full",
        }
    }
}
