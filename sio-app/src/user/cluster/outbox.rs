//! What waits for the connections to the broker.

use std::mem;

use bytes::Bytes;
use sio_proto::broker::{Command, Counters, Request};

/// The connections to the broker. They take everything at once, and bound what waits there.
pub(crate) trait Link: Send + Sync {
    /// Takes commands over, in their order. The list is empty afterwards.
    fn send_all(&self, commands: &mut Vec<Command>);

    fn counters(&self) -> Counters;

    fn close(&self);
}

/// The commands that the connections have not taken over yet, in their order.
///
/// One thread at a time gives them on, under no lock, because this wakes the task of the
/// connections. What others put in meanwhile is given on by this thread, too. Before the
/// connections have been started, only so many bytes of messages wait: what is published beyond is
/// dropped and counted, and what is stored beyond is refused, so that its sender hears of it.
/// Subscriptions and questions are always kept: there are not more of them than rooms and waiting
/// callers.
#[derive(Default)]
pub(super) struct Outbox {
    commands: Vec<Command>,
    /// The bytes of the messages among them.
    bytes: usize,
    max_bytes: usize,
    dropped: u64,
    /// Whether the connections have been started. Until then no thread gives commands on.
    has_link: bool,
    /// Whether a thread gives commands on.
    is_leaving: bool,
    is_over: bool,
}

/// For so many commands, memory is kept while there are none.
const MOST_KEPT: usize = 64;

impl Outbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    /// Takes over commands. Returns the names of the requests for which there is no room. Behind an
    /// entry in order that is refused, no other one is taken over: it will be written again.
    pub(super) fn put(&mut self, commands: &mut Vec<Command>) -> Vec<u64> {
        let (mut refused, mut has_gap) = (Vec::new(), false);
        for command in commands.drain(..) {
            let bytes = bytes_of(&command);
            let is_in_order = is_in_order(&command);
            let is_full = bytes > 0 && self.bytes + bytes > self.max_bytes;
            if is_full || has_gap && is_in_order || self.is_over {
                has_gap |= is_in_order;
                match command {
                    Command::Request { tag, .. } => refused.push(tag),
                    _ => self.dropped += u64::from(bytes > 0),
                }
                continue;
            }
            self.bytes += bytes;
            self.commands.push(command);
        }
        refused
    }

    /// Takes over a message to a channel, as [`Outbox::put`] does.
    pub(super) fn put_message(&mut self, message: Command) {
        let bytes = bytes_of(&message);
        if self.bytes + bytes > self.max_bytes || self.is_over {
            self.dropped += 1;
            return;
        }
        self.bytes += bytes;
        self.commands.push(message);
    }

    /// Returns how many bytes of messages wait here.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Returns all commands for the thread that gives them on, and takes back the empty list of the
    /// last time. Returns `None` if there are none.
    pub(super) fn take(&mut self, given: Vec<Command>) -> Option<Vec<Command>> {
        self.bytes = 0;
        self.is_leaving = !self.commands.is_empty();
        if self.is_leaving {
            return Some(mem::replace(&mut self.commands, given));
        }
        // The next command needs no memory. That of many commands is not kept.
        if (self.commands.capacity()..=MOST_KEPT).contains(&given.capacity()) {
            self.commands = given;
        }
        None
    }

    /// As [`Outbox::take`], for a thread that would be the one that gives commands on. Returns
    /// `None` also if another thread does, or if there are no connections yet.
    pub(super) fn begin(&mut self) -> Option<Vec<Command>> {
        match self.has_link && !self.is_leaving {
            true => self.take(Vec::new()),
            false => None,
        }
    }

    /// The connections have been started.
    pub(super) const fn connect(&mut self) {
        self.has_link = true;
    }

    /// Ends it: nothing is taken over any more.
    pub(super) const fn end(&mut self) {
        self.is_over = true;
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns how many messages were dropped here.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Whether a command writes an entry that stays in order.
const fn is_in_order(command: &Command) -> bool {
    matches!(
        command,
        Command::Request {
            request: Request::AddEntry {
                known_failures: Some(_),
                ..
            },
            ..
        }
    )
}

/// Returns the bytes of a message that is published or stored, with its place.
fn bytes_of(command: &Command) -> usize {
    let place = size_of::<Command>();
    match command {
        Command::Publish { channel, payload, .. } => place + channel.len() + payload.len(),
        Command::Request {
            request: Request::AddEntry { stream, fields, .. },
            ..
        } => {
            let field = |(name, value): &(Bytes, Bytes)| size_of::<[Bytes; 2]>() + name.len() + value.len();
            place + stream.len() + fields.iter().map(field).sum::<usize>()
        }
        Command::Request {
            request: Request::Set { key, value, .. },
            ..
        } => place + key.len() + value.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(bytes: usize) -> Command {
        Command::Publish {
            channel: "c".into(),
            payload: vec![0; bytes].into(),
            sharded: false,
        }
    }

    /// What waits for the connections is bounded in bytes; subscriptions are never lost.
    #[test]
    fn messages_beyond_the_limit_are_dropped_and_counted() {
        let mut outbox = Outbox::new(1000);
        let subscribe = Command::Subscribe {
            channel: "c".into(),
            sharded: false,
        };
        assert!(
            outbox
                .put(&mut vec![message(800), message(800), subscribe.clone()])
                .is_empty()
        );
        assert_eq!((outbox.dropped(), outbox.commands.len()), (1, 2));
        assert_eq!(outbox.take(Vec::new()).unwrap(), [message(800), subscribe]);
        assert!(outbox.is_leaving);
        let _ = outbox.put(&mut vec![message(800)]);
        assert_eq!(outbox.take(Vec::new()).unwrap().len(), 1);
        assert!(outbox.take(Vec::new()).is_none() && !outbox.is_leaving);
        outbox.end();
        let question = Command::Request {
            tag: 7,
            request: Request::Take { key: "k".into() },
        };
        assert_eq!(
            outbox.put(&mut vec![message(1), question]),
            [7],
            "nobody waits for ever"
        );
        assert!(outbox.take(Vec::new()).is_none());
    }

    /// The way of a single message has the same limit.
    #[test]
    fn a_single_message_beyond_the_limit_is_dropped_and_counted() {
        let mut outbox = Outbox::new(1200);
        outbox.put_message(message(800));
        outbox.put_message(message(800));
        outbox.put_message(message(1));
        assert_eq!((outbox.dropped(), outbox.commands.len()), (1, 2));
        assert_eq!(outbox.bytes(), 2 * (size_of::<Command>() + 1) + 801);
        assert_eq!(outbox.take(Vec::new()).unwrap(), [message(800), message(1)]);
        outbox.end();
        outbox.put_message(message(1));
        assert_eq!(outbox.dropped(), 2);
        assert!(outbox.take(Vec::new()).is_none());
    }

    /// What waits for the connections is given on when they start, by one thread at a time.
    #[test]
    fn nothing_that_waits_is_left_behind_when_the_connections_start() {
        let mut outbox = Outbox::new(1000);
        let _ = outbox.put(&mut vec![message(1)]);
        assert_eq!(outbox.begin(), None, "there are no connections");
        outbox.connect();
        let mut first = outbox.begin().unwrap();
        assert_eq!(first[..], [message(1)]);
        first.clear();
        let _ = outbox.put(&mut vec![message(2)]);
        assert_eq!(outbox.begin(), None, "the first thread gives it on");
        assert_eq!(outbox.take(first).unwrap()[..], [message(2)]);
        assert!(outbox.take(Vec::new()).is_none());
        let _ = outbox.put(&mut vec![message(3)]);
        assert_eq!(outbox.begin().unwrap()[..], [message(3)]);
    }

    /// An entry of a stream counts as a message does. Its sender waits for the answer, so it is
    /// told that there is no room.
    #[test]
    fn entries_count_and_are_refused_beyond_the_limit() {
        let entry = |tag, bytes| Command::Request {
            tag,
            request: Request::AddEntry {
                stream: "s".into(),
                max_len: 0,
                fields: vec![("data".into(), vec![0; bytes].into())],
                known_failures: None,
            },
        };
        let mut outbox = Outbox::new(1000);
        let in_order = |command| match command {
            Command::Request {
                tag,
                request:
                    Request::AddEntry {
                        stream,
                        max_len,
                        fields,
                        ..
                    },
            } => Command::Request {
                tag,
                request: Request::AddEntry {
                    stream,
                    max_len,
                    fields,
                    known_failures: Some(0),
                },
            },
            other => other,
        };
        let mut all = vec![in_order(entry(1, 2000)), in_order(entry(2, 1)), entry(3, 1)];
        assert_eq!(outbox.put(&mut all), [1, 2], "the second one stands behind the first");
        assert!(outbox.put(&mut vec![in_order(entry(1, 1))]).is_empty());
        let mut outbox = Outbox::new(1000);
        assert_eq!(outbox.put(&mut vec![entry(1, 600), entry(2, 600)]), [2]);
        assert!(outbox.bytes > 600);
        assert_eq!((outbox.dropped(), outbox.commands.len()), (0, 1));
        let count = Command::Request {
            tag: 3,
            request: Request::Subscribers {
                channel: "c".into(),
                sharded: false,
            },
        };
        assert!(outbox.put(&mut vec![count]).is_empty());
    }
}
