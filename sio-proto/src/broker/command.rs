//! What a node asks of its broker, and what it hears.

use alloc::vec::Vec;

use bytes::Bytes;

use super::error::BrokerError;

/// What a node asks of its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Hear a channel. The broker keeps the set of channels and subscribes to all of them again
    /// after each reconnection. To subscribe twice changes nothing; if the channel is heard
    /// already, [`Event::Subscribed`] says so again.
    Subscribe {
        /// The name of the channel.
        channel: Bytes,
        /// Whether it is a channel of sharded pub/sub (`SSUBSCRIBE`).
        sharded: bool,
    },
    /// Hear a channel no more. A channel that is not heard changes nothing.
    Unsubscribe {
        /// The name of the channel.
        channel: Bytes,
        /// Whether it is a channel of sharded pub/sub (`SUNSUBSCRIBE`).
        sharded: bool,
    },
    /// Tell a channel something. Nobody waits for an answer. What cannot be sent in time is dropped
    /// and counted.
    Publish {
        /// The name of the channel.
        channel: Bytes,
        /// What its subscribers get.
        payload: Bytes,
        /// Whether it is a channel of sharded pub/sub (`SPUBLISH`).
        sharded: bool,
    },
    /// Say when everything that was given before is settled: the broker has taken it or refused it,
    /// or it is lost, and counted. The answer is [`Answer::Done`]. After
    /// [`BrokerConfig::request_timeout`](super::BrokerConfig::request_timeout) it is
    /// [`BrokerError::TimedOut`].
    Flush {
        /// The caller's name for the question, which the answer carries.
        tag: u64,
    },
    /// Ask something. Each request is answered exactly once, by [`Event::Answer`].
    Request {
        /// The caller's name for the request, which the answer carries.
        tag: u64,
        /// What is asked.
        request: Request,
    },
    /// Read a stream from there on, also after reconnections. A stream that is read already goes on
    /// where it is.
    ReadStream {
        /// The key of the stream.
        stream: Bytes,
        /// Where reading begins.
        after: StreamPosition,
    },
    /// Read a stream no more.
    StopStream {
        /// The key of the stream.
        stream: Bytes,
    },
}

/// Where the reading of a stream begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamPosition {
    /// Behind the entry that is the last one at the time of the command, by the clock of the
    /// broker. So nothing is left out that is written before a connection can read. Where ids are
    /// ahead of that clock, it is behind the last entry when a connection first asks.
    End,
    /// Behind the entry with this id.
    After(Bytes),
}

/// What a node may ask its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// How many connections have subscribed to a channel, on all masters of a cluster together. The
    /// answer is [`Answer::Count`].
    Subscribers {
        /// The name of the channel.
        channel: Bytes,
        /// Whether it is a channel of sharded pub/sub.
        sharded: bool,
    },
    /// Append an entry to a stream. The answer is [`Answer::Added`].
    ///
    /// Entries that have to stay in order say how many entries their caller knows to have failed:
    /// the answers to this request that were errors, whatever the stream. If more have failed, the
    /// entry is not written and fails with [`BrokerError::NotInOrder`], so that nothing is written
    /// behind an entry that the caller will write again. Such an entry does not follow a slot of a
    /// cluster to another master either, because those behind it may be there before it.
    AddEntry {
        /// The key of the stream.
        stream: Bytes,
        /// About how many entries the stream keeps (`MAXLEN ~`). With 0, nothing is trimmed.
        max_len: u64,
        /// Names and values, in their order.
        fields: Vec<(Bytes, Bytes)>,
        /// For an entry in order, how many entries are known to have failed.
        known_failures: Option<u64>,
    },
    /// Read a part of a stream. The answer is [`Answer::Entries`].
    Range {
        /// The key of the stream.
        stream: Bytes,
        /// The id of the first entry. `-` is the first one there is; `(` before an id leaves it
        /// out.
        from: Bytes,
        /// The id of the last entry; `+` is the last one there is.
        to: Bytes,
        /// How many entries are read at most.
        count: u32,
    },
    /// Read a part of a stream backwards, the newest entry first. The answer is
    /// [`Answer::Entries`].
    RangeBack {
        /// The key of the stream.
        stream: Bytes,
        /// The id of the first entry that is read, the newest; `+` is the last one there is.
        from: Bytes,
        /// How many entries are read at most.
        count: u32,
    },
    /// Keep a value for a time. The answer is [`Answer::Done`].
    Set {
        /// Its key.
        key: Bytes,
        /// The value.
        value: Bytes,
        /// How long it is kept.
        milliseconds: u64,
        /// Whether it is kept only if the key has a value (`XX`). Otherwise the answer is
        /// [`Answer::Value`] without a value.
        only_if_there: bool,
    },
    /// Delete a value. The answer is [`Answer::Count`]: how many there were.
    Delete {
        /// Its key.
        key: Bytes,
    },
    /// How many entries a stream has. The answer is [`Answer::Count`].
    Length {
        /// The key of the stream.
        stream: Bytes,
    },
    /// Read a value and delete it, in one step (`MULTI`, `GET`, `DEL`, `EXEC`). The answer is
    /// [`Answer::Value`].
    Take {
        /// Its key.
        key: Bytes,
    },
}

/// What a request was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// How many there are.
    Count(u64),
    /// The id of the new entry.
    Added(Bytes),
    /// The entries, the oldest first.
    Entries(Vec<Entry>),
    /// It is done.
    Done,
    /// The value, if there was one.
    Value(Option<Bytes>),
}

/// An entry of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id, `milliseconds-sequence`.
    pub id: Bytes,
    /// Names and values, in their order.
    pub fields: Vec<(Bytes, Bytes)>,
}

/// What a node hears from its broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A channel was told something.
    Message {
        /// The name of the channel.
        channel: Bytes,
        /// What it was told.
        payload: Bytes,
        /// Whether it came by sharded pub/sub.
        sharded: bool,
    },
    /// A stream that is read has a new entry.
    Entry {
        /// The key of the stream.
        stream: Bytes,
        /// The id of the entry.
        id: Bytes,
        /// Names and values, in their order.
        fields: Vec<(Bytes, Bytes)>,
    },
    /// The reading of a stream begins behind this entry, which may be none that there is.
    Reading {
        /// The key of the stream.
        stream: Bytes,
        /// The id of the entry.
        after: Bytes,
    },
    /// A request is answered, or has failed.
    Answer {
        /// The name that the request was given.
        tag: u64,
        /// The answer, of the kind that the request names.
        answer: Result<Answer, BrokerError>,
    },
    /// The broker has confirmed that a channel is heard. This comes again after each reconnection:
    /// messages in between are lost.
    Subscribed {
        /// The name of the channel.
        channel: Bytes,
        /// Whether it is a channel of sharded pub/sub.
        sharded: bool,
    },
    /// The broker is there: what is published reaches it, and all channels that were asked for have
    /// been subscribed to.
    Up,
    /// The broker is away. This comes once until the next [`Event::Up`].
    Down {
        /// Why.
        why: BrokerError,
    },
}
