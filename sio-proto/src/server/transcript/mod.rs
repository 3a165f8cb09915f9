//! Transcripts: one line of text for each input and each output of a shard. A transcript is written
//! while the shard works, and can be read back to make a shard do the same again.
//!
//! ```text
//! sio-transcript 1 full
//! shard 0 07070707070707070707070707070707 0
//! 0.000000 > request 0.0 GET "/socket.io/?EIO=4&transport=websocket" 1 …
//! 0.000000 * drawn 91e6ffacfd420b
//! 0.000000 < upgrade 0.0 …
//! 0.000000 ~ 25.000000 Ping 0.0 -
//! ```
//! `docs/transcript.md` has the complete format.
//! [`Shard::start_transcript`](super::Shard::start_transcript) starts a transcript,
//! [`Shard::take_transcript`](super::Shard::take_transcript) takes its text, and [`replay`] runs a
//! transcript that is [full](Detail::Full).
//!
//! - `line`: writes a line, and cuts its texts; `words`: reads a line
//! - `requests`, `packets`, `messages`, `inputs`: write and read each input; `outputs`: writes each
//!   output, and does not read it, because a replay compares text
//! - `settings`: the config; `recorder`: the functions that a shard calls; `entries`: the lines of
//!   a file
//! - `replay`: makes the shard do it again
//!
//! Two runs of a shard could differ because of values from outside: random bytes, the answers of a
//! shared quota, and the charges of other shards to a shared budget. These values are written, too.
//!
//! Invariant: a recorder does not change the work of the shard.

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

/// The detail of a transcript.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// For people: payloads are cut, and everything that may be a secret is left out (ids of
    /// sessions, header fields, queries, `auth`, random bytes). Such a transcript cannot be
    /// replayed.
    #[default]
    Short,
    /// For [`replay`]: everything is written, including secrets. Whoever has the file while its
    /// sessions live can send as their clients. The file also holds all data of the clients.
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
