//! All limits of the HTTP parser.

/// Limits of one message. Sizes are bytes on the wire.
///
/// A decoder holds at most one head and one body at a time, and remembers one head. So a connection
/// costs at most `max_head_bytes`, `max_body_bytes` and `max_remembered_head_bytes`, and twice as
/// much while a buffer grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Start line and header fields with all line ends. Default: 16 KiB, as in Node. If it is too
    /// small, people with many cookies are refused. If it is larger, each connection that never
    /// finishes its head holds more memory.
    pub max_head_bytes: usize,
    /// The request target, which is a part of the head. Default: 16 KiB, so that only the limit of
    /// the head applies. If the target is too long, the answer is 414 instead of 431. If it is too
    /// small, clients that put a token into their query are refused.
    pub max_target_bytes: usize,
    /// Number of header fields. Default: 100, because proxies add some dozens. Each field costs 16
    /// bytes beside the head. If it is too small, clients behind such proxies are refused. A `Host`
    /// that only the target names (RFC 9112 §3.2.2) is not counted.
    pub max_headers: usize,
    /// The body, after chunks are taken apart. Default: 1 000 000, Engine.IO's `maxHttpBufferSize`.
    /// A body of exactly this size is accepted.
    pub max_body_bytes: usize,
    /// Number of chunks of one body. Default: 10 000, Engine.IO's `maxBufferedChunks`. A body with
    /// more chunks is treated like a body that is too large: its request is answered with 413. A
    /// chunk costs a few dozen steps and no memory, so this limit bounds the work for a body whose
    /// chunks have one byte each. If it is too small, clients that stream their bodies are refused.
    pub max_chunks: usize,
    /// Extensions and trailers of one chunked body together. Default: 8 KiB. They are discarded, so
    /// this limit bounds work and not memory.
    pub max_chunk_extra_bytes: usize,
    /// The head of the last request that is remembered for each connection, from its second request
    /// on until the connection ends or becomes a websocket. A client that polls sends the same head
    /// each time, and a head that is remembered is not parsed again. Default: 2 KiB, in which each
    /// header field counts 16 bytes beside its text. Heads that are larger are not remembered. 0
    /// remembers none.
    pub max_remembered_head_bytes: usize,
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
        max_remembered_head_bytes: 2 * 1024,
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

    /// Sets [`max_remembered_head_bytes`](Self::max_remembered_head_bytes).
    #[must_use]
    pub const fn max_remembered_head_bytes(mut self, bytes: usize) -> Self {
        self.max_remembered_head_bytes = bytes;
        self
    }
}
