//! What waits for the task of the broker's connections.

use std::collections::VecDeque;
use std::mem;
use std::task::Waker;

use sio_proto::broker::Command;

use crate::lock::Alarm;

/// The commands that the task has not taken yet, in their order.
///
/// The task takes them as soon as it runs. Before it has been started, and while its runtime is
/// busy, only so many bytes of messages wait: what is published beyond is dropped and counted.
/// Subscriptions and requests are always kept: there are not more of them than rooms and waiting
/// callers.
#[derive(Default)]
pub(super) struct Outbox {
    commands: VecDeque<Command>,
    /// The bytes of the messages among them.
    bytes: usize,
    max_bytes: usize,
    alarm: Option<Alarm>,
    dropped: u64,
    is_over: bool,
}

impl Outbox {
    pub(super) fn new(max_bytes: usize) -> Self {
        Self {
            max_bytes,
            ..Self::default()
        }
    }

    /// Takes over commands. Returns what wakes the task.
    pub(super) fn put(&mut self, commands: &mut Vec<Command>) -> Option<Alarm> {
        for command in commands.drain(..) {
            let bytes = bytes_of(&command);
            if bytes > 0 && self.bytes + bytes > self.max_bytes || self.is_over {
                self.dropped += u64::from(bytes > 0);
                continue;
            }
            self.bytes += bytes;
            self.commands.push_back(command);
        }
        self.alarm.take()
    }

    /// Gives all commands to the task. If there are none, the waker is kept.
    pub(super) fn take(&mut self, waker: &Waker) -> VecDeque<Command> {
        if self.commands.is_empty() && !self.is_over {
            self.alarm = Some(Alarm::new(waker));
        }
        self.bytes = 0;
        mem::take(&mut self.commands)
    }

    /// Ends it: nothing is taken over any more. Returns what wakes the task.
    pub(super) fn end(&mut self) -> Option<Alarm> {
        self.is_over = true;
        self.alarm.take()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.is_over
    }

    /// Returns how many messages were dropped here.
    pub(super) const fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// Returns the bytes of a message that is published, with its place.
fn bytes_of(command: &Command) -> usize {
    match command {
        Command::Publish { channel, payload, .. } => size_of::<Command>() + channel.len() + payload.len(),
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

    /// What waits for the task is bounded in bytes; subscriptions are never lost.
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
                .is_none()
        );
        assert_eq!((outbox.dropped(), outbox.commands.len()), (1, 2));
        assert_eq!(outbox.take(Waker::noop()), [message(800), subscribe]);
        assert!(outbox.put(&mut vec![message(800)]).is_none());
        assert_eq!(outbox.take(Waker::noop()).len(), 1);
        // Nothing waits now, so the task is woken by the next message.
        assert!(outbox.take(Waker::noop()).is_empty());
        assert!(outbox.put(&mut vec![message(1)]).is_some());
        let _ = outbox.end();
        assert!(outbox.put(&mut vec![message(1)]).is_none());
        assert_eq!(outbox.take(Waker::noop()).len(), 1);
    }
}
