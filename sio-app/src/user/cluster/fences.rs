//! Events that are not in the stream, and fences: entries of no effect that this node writes and
//! waits for. When one is read, all has been read that was written before it.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use bytestring::ByteString;
use sio_proto::Time;
use sio_proto::broker::BrokerError;
use sio_proto::cluster::{LocalOrder, NotSent, Order, RequestId, Target, Voice, Written};

use super::bringing::{Slot, TAKEN};
use super::ordering::{RETRY, broadcast_of, own_voice};
use super::{ClusterNode, State};
use crate::user::inner::Inner;

/// A room that nobody is in: an order for its members that are not in it has no effect.
pub(super) const NOBODY: &str = "sio:nobody";

/// An entry of no effect that was written.
pub(super) struct Fence {
    /// How many had been written to the stream, this one included.
    pub(super) writes: u64,
    pub(super) then: Then,
}

/// What is done when it is read.
pub(super) enum Then {
    /// What could not be written is written again.
    Again,
    /// All records are written: what other nodes have taken over before is known then.
    Records,
    Waiter(Arc<Slot<()>>),
}

/// What is not in the stream, and fences.
impl ClusterNode {
    /// Writes what is not in the stream. A fence has been read before which so many had been
    /// written.
    pub(super) fn write_again(self: &Arc<Self>, writes: u64) {
        // A part of what may wait for the broker, so that nothing of it is refused.
        let max_bytes = self.settings.broker.max_waiting_bytes / 4;
        let missing: Vec<(u64, Option<Voice>, Order)> = {
            let now = (self.runtime.now)();
            let mut state = self.state.lock_for("cluster voice");
            let State { node, ordering, .. } = &mut *state;
            let absent = ordering.unread.absent(writes, max_bytes).into_iter();
            let missing = absent.map(|(number, event)| {
                let voice = own_voice(node, now, &event.namespace);
                (number, voice, broadcast_of(&event.to, &event.emit))
            });
            missing.collect()
        };
        let written = missing.into_iter().map(|(number, voice, order)| {
            let voice = voice.ok_or(NotSent::UnknownNamespace);
            (number, voice.and_then(|voice| voice.write(LocalOrder::CarryOut(order))))
        });
        let written: Vec<(u64, Result<Written, NotSent>)> = written.collect();
        self.with_state(|state, now| {
            let State {
                node, out, ordering, ..
            } = state;
            for (number, written) in written {
                match written.and_then(|written| node.send(now, written.in_order(), out)) {
                    Ok(Some(request)) => ordering.unread.wrote(now, number, request),
                    // Its namespace has ended, or it can never be written.
                    Ok(None) | Err(_) => {
                        let Some(event) = ordering.unread.remove(number) else {
                            continue;
                        };
                        ordering.dropped += 1;
                        if let Some(body) = event.body {
                            ordering.push_own(body, None);
                        }
                    }
                }
            }
            ordering.retry = ordering.unread.has_absent().then_some(now);
        });
    }

    /// An order was written to the stream, or was not.
    pub(super) fn stored(self: &Arc<Self>, request: RequestId, entry: &Result<Bytes, BrokerError>) {
        let Err(why) = entry else {
            self.state.lock().ordering.unread.answered(request, true);
            return;
        };
        let fence = self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            let fence = ordering.fences.remove(&request);
            let then = fence.as_ref().map(|fence| &fence.then);
            if ordering.unread.answered(request, false) || matches!(then, Some(Then::Again)) {
                ordering.retry = Some(now + RETRY);
            }
            if matches!(then, Some(Then::Records)) {
                ordering.records = Some(now + RETRY);
            }
            fence
        });
        if let Some(Fence {
            then: Then::Waiter(slot),
            ..
        }) = fence
        {
            slot.fill(Err(why.clone()));
        }
        self.send_waiting();
    }

    /// What is not in the stream is written, behind an entry of no effect.
    pub(super) fn write_missing(self: &Arc<Self>) {
        let window = self.window();
        let namespace = self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            (ordering.retry, ordering.asked) = (None, now);
            ordering.dropped += ordering.unread.drop_old(now, window);
            let namespace = ordering.unread.namespace().cloned();
            namespace.filter(|_| !ordering.writes_again())
        });
        let Some(namespace) = namespace else { return };
        if !self.write_fence(&namespace, NOBODY.into(), Then::Again) {
            // The namespace has ended. Another one is taken the next time.
            self.with_state(|state, now| {
                state.ordering.dropped += state.ordering.unread.forget(&namespace);
                state.ordering.retry = state.ordering.unread.has_absent().then_some(now + RETRY);
            });
        }
    }

    /// The broker is back. It may have forgotten all records, and other nodes may have taken some
    /// over: they are written when everything has been read that was written before.
    pub(super) fn renew_records(self: &Arc<Self>, server: &Inner) {
        if !self.follows_stream() {
            return;
        }
        let recovery = &server.shards.recovery;
        // A namespace of a rule may be closed here while clients that are away keep records of it.
        let (mut has_records, mut open) = (false, None);
        for record in recovery
            .all_records()
            .into_iter()
            .filter_map(|key| recovery.record_state(key))
        {
            has_records = true;
            let namespace = record.socket.namespace();
            if self.state.lock().node.id(namespace).is_some() {
                open = Some(namespace.clone());
                break;
            }
        }
        let is_written = match &open {
            Some(namespace) => self.write_fence(namespace, NOBODY.into(), Then::Records),
            None => !has_records,
        };
        self.with_state(|state, now| state.ordering.records = (!is_written).then(|| now + RETRY));
    }

    /// Writes an entry, and fills the slot when it is read. With a socket's id, other nodes let the
    /// record of the socket go. Returns false if it cannot be written.
    pub(super) fn fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, slot: &Arc<Slot<()>>) -> bool {
        self.write_fence(namespace, id, Then::Waiter(Arc::clone(slot)))
    }

    fn write_fence(self: &Arc<Self>, namespace: &ByteString, id: ByteString, then: Then) -> bool {
        let order = Order::Disconnect {
            to: Target {
                rooms: vec![id.clone()],
                except: match *id == *NOBODY {
                    true => vec![id],
                    false => vec![TAKEN.into()],
                },
            },
            close: true,
        };
        let Ok(written) = self.written(namespace, order) else {
            return false;
        };
        let limit = self.settings.config.request_timeout;
        self.with_state(|state, now| {
            let ordering = &mut state.ordering;
            // Another thread may have written it meanwhile.
            if matches!(then, Then::Again) && ordering.writes_again() {
                return true;
            }
            let request = state.node.send(now, written, &mut state.out).ok().flatten();
            request.is_some_and(|request| {
                let writes = ordering.unread.count_write();
                ordering.fences.insert(request, Fence { writes, then });
                ordering.fence_limits.push_back((now + limit, request));
                true
            })
        })
    }

    /// Takes the time.
    pub(super) fn keep_order(self: &Arc<Self>) {
        let now = (self.runtime.now)();
        let (is_impatient, is_due, renews, late) = {
            let ordering = &mut self.state.lock().ordering;
            let is_over = |time: Option<Time>| time.is_some_and(|time| time <= now);
            let is_impatient = is_over(ordering.unread.impatient_at());
            let is_due = is_over(ordering.retry) || is_over(ordering.overdue_at());
            let late = ordering.give_up_fences(now);
            (is_impatient, is_due, is_over(ordering.records), late)
        };
        late.iter().for_each(|slot| slot.fill(Err(BrokerError::TimedOut)));
        if is_impatient {
            self.send_waiting();
        }
        match is_due {
            true if self.is_up() => self.write_missing(),
            // It is tried when the broker is back.
            true => {
                let ordering = &mut self.state.lock().ordering;
                (ordering.retry, ordering.asked) = (None, now);
            }
            false => {}
        }
        if renews {
            match self.server.get().and_then(Weak::upgrade).filter(|_| self.is_up()) {
                Some(server) => self.renew_records(&server),
                None => self.state.lock().ordering.records = None,
            }
        }
        self.drain(usize::MAX);
    }

    fn window(&self) -> Duration {
        let server = self.server.get().and_then(Weak::upgrade);
        server.map_or(Duration::from_secs(120), |server| server.shards.recovery.window())
    }
}
