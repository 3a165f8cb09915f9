//! Transcripts of a server: what goes into its shards and comes out of them, as text that can be
//! read, and replayed (feature `transcript`).

use sio_proto::server::transcript::RecorderOptions;

use crate::Io;

/// Transcripts, with the feature `transcript`.
impl Io {
    /// Begins a transcript of each shard. A transcript that is
    /// [full](sio_proto::server::transcript::Detail::Full) can be replayed if this is called before
    /// the first client has come; it contains secrets, and everything that clients say.
    ///
    /// The text waits in memory: take it with [`Io::take_transcripts`] now and then, from a task or
    /// a thread of yours. Text beyond the limit of the options is left out.
    pub fn start_transcripts(&self, options: RecorderOptions) {
        for cell in &self.0.shards.cells {
            cell.ask("start transcript", |state| state.shard.start_transcript(options));
        }
    }

    /// The text of each shard's transcript since the last call, in the order of the shards.
    #[must_use = "the text is given once"]
    pub fn take_transcripts(&self) -> Vec<String> {
        let cells = self.0.shards.cells.iter();
        cells
            .map(|cell| cell.ask("take transcript", |state| state.shard.take_transcript()))
            .collect()
    }
}
