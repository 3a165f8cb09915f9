//! Transcripts of a server: the inputs and outputs of its shards, as text that people can read and
//! that can be replayed (feature `transcript`).

use sio_proto::server::transcript::RecorderOptions;

use crate::Io;

/// Transcripts, with the feature `transcript`.
impl Io {
    /// Starts a transcript of each shard. A [full](sio_proto::server::transcript::Detail::Full)
    /// transcript can be replayed, if this is called before the first client has connected. A full
    /// transcript contains secrets, and everything that clients send.
    ///
    /// The text is kept in memory. Take it regularly with [`Io::take_transcripts`], from a task or
    /// a thread of your own. Text above the limit in the options is left out.
    pub fn start_transcripts(&self, options: RecorderOptions) {
        for cell in &self.0.shards.cells {
            cell.ask("start transcript", |state| state.shard.start_transcript(options));
        }
    }

    /// Returns the new text of each shard's transcript since the last call, in the order of the
    /// shards.
    #[must_use = "the text is given once"]
    pub fn take_transcripts(&self) -> Vec<String> {
        let cells = self.0.shards.cells.iter();
        cells
            .map(|cell| cell.ask("take transcript", |state| state.shard.take_transcript()))
            .collect()
    }
}
