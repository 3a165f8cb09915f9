//! Every number a peer can push against.

/// Limits of one message. Sizes are bytes on the wire.
///
/// A decoder holds at most one head and one body at a time, so a connection costs at most
/// `max_head_bytes` and `max_body_bytes`, doubled while a buffer grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Start line and header fields with all line ends. Default: 16 KiB, Node's. Too small refuses
    /// people with many cookies; more is more memory for each connection that never finishes its
    /// head.
    pub max_head_bytes: usize,
    /// The request target alone, which is a part of the head. Default: 16 KiB, so that the head is
    /// what bounds it. Beyond either the answer is 414 instead of 431. Too small refuses clients
    /// that put a token into their query.
    pub max_target_bytes: usize,
    /// Number of header fields. Default: 100: proxies add some dozens. Each costs 16 bytes beside
    /// the head. Too small refuses who is behind them.
    pub max_headers: usize,
    /// The body, after chunks are taken apart. Default: 1 000 000, Engine.IO's `maxHttpBufferSize`.
    /// A body of exactly this size is accepted.
    pub max_body_bytes: usize,
    /// Number of chunks of one body. Default: 10 000, Engine.IO's `maxBufferedChunks`. A body of
    /// more is as one that is too large: its request is answered 413. Each chunk costs a few dozen
    /// steps and no memory, so that this bounds the work for bodies of one byte a chunk. Too small
    /// refuses clients that stream what they send.
    pub max_chunks: usize,
    /// Extensions and trailers of one chunked body, all together. Default: 8 KiB. They are
    /// discarded, so this bounds work, not memory.
    pub max_chunk_extra_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl Limits {
    /// The defaults as a constant.
    pub const DEFAULT: Self = Self {
        max_head_bytes: 16 * 1024,
        max_target_bytes: 16 * 1024,
        max_headers: 100,
        max_body_bytes: 1_000_000,
        max_chunks: 10_000,
        max_chunk_extra_bytes: 8 * 1024,
    };

    /// Sets [`max_head_bytes`](Self::max_head_bytes).
    #[must_use]
    pub const fn max_head_bytes(mut self, bytes: usize) -> Self {
        self.max_head_bytes = bytes;
        self
    }

    /// Sets [`max_target_bytes`](Self::max_target_bytes).
    #[must_use]
    pub const fn max_target_bytes(mut self, bytes: usize) -> Self {
        self.max_target_bytes = bytes;
        self
    }

    /// Sets [`max_headers`](Self::max_headers).
    #[must_use]
    pub const fn max_headers(mut self, count: usize) -> Self {
        self.max_headers = count;
        self
    }

    /// Sets [`max_body_bytes`](Self::max_body_bytes).
    #[must_use]
    pub const fn max_body_bytes(mut self, bytes: usize) -> Self {
        self.max_body_bytes = bytes;
        self
    }

    /// Sets [`max_chunks`](Self::max_chunks).
    #[must_use]
    pub const fn max_chunks(mut self, count: usize) -> Self {
        self.max_chunks = count;
        self
    }

    /// Sets [`max_chunk_extra_bytes`](Self::max_chunk_extra_bytes).
    #[must_use]
    pub const fn max_chunk_extra_bytes(mut self, bytes: usize) -> Self {
        self.max_chunk_extra_bytes = bytes;
        self
    }
}
