//! What the stream had before this node has begun to read it, for histories of rooms: a node that
//! starts anew has what was said before, within the limits of its histories.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use sio_proto::Time;
use sio_proto::cluster::{Tail, TailEnd, TailEvent, TailStep};
use sio_proto::recovery::Older;
use sio_proto::socket::Offset;

use super::ClusterNode;
use super::ordering::place_of;
use crate::turn::history::Said;
use crate::turn::history::stream::Tail as Rooms;
use crate::user::inner::Inner;

/// How long the reading of a tail may take, in times of
/// [`ClusterConfig::request_timeout`](sio_proto::ClusterConfig::request_timeout). What was read
/// until then is kept.
const MOST_TIMEOUTS: u32 = 4;

impl ClusterNode {
    /// The reading of the stream begins behind this entry. What is older is read once, beside it.
    pub(super) fn read_tail(self: &Arc<Self>, server: &Arc<Inner>, stream: Bytes, after: Bytes) {
        if !self.follows_stream() {
            return;
        }
        let histories = &server.shards.histories;
        let begun = place_of(&after);
        if !histories.begin_stream(begun) {
            return;
        }
        let unix_millis = (self.runtime.unix_time)().saturating_mul(1000);
        let tail = begun.zip(histories.longest_age()).and_then(|(begun, age)| {
            let age = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
            let oldest = unix_millis.saturating_sub(age);
            let (tail, first) = Tail::new(&self.settings.config, stream, after, oldest, histories.max_bytes())?;
            Some((begun, tail, first))
        });
        let Some((begun, mut tail, mut request)) = tail else {
            return histories.reads_tail(false);
        };
        histories.reads_tail(true);
        let (cluster, server) = (Arc::clone(self), Arc::downgrade(server));
        let limit = (self.runtime.now)() + self.settings.config.request_timeout.saturating_mul(MOST_TIMEOUTS);
        (self.runtime.spawn)(Box::pin(async move {
            loop {
                let answer = cluster.ask_broker(request).await;
                let Some(server) = server.upgrade() else { return };
                let histories = &server.shards.histories;
                let wants = |namespace: &str, room: &str| histories.covers(namespace, room);
                match tail.handle_answer(answer, wants) {
                    Ok(TailStep::Ask(next)) if (cluster.runtime.now)() < limit => request = next,
                    Ok(TailStep::Ask(_)) => {
                        tracing::warn!("histories begin with a part of what the stream had before: it took too long");
                        break;
                    }
                    Ok(TailStep::Over) => break,
                    Err(error) => {
                        tracing::warn!(%error, "histories begin with a part of what the stream had before");
                        break;
                    }
                }
            }
            if let Some(server) = server.upgrade() {
                let now = (cluster.runtime.now)();
                keep(&server, begun, tail.finish(), (now, unix_millis));
                server.shards.histories.reads_tail(false);
            }
        }));
    }
}

/// Keeps what was read. `unix_millis` is the time on the clock of the machine.
fn keep(server: &Inner, begun: Offset, tail: TailEnd, (now, unix_millis): (Time, u64)) {
    let TailEnd { events, behind } = tail;
    let Some(behind) = place_of(&behind) else { return };
    let histories = &server.shards.histories;
    let mut rooms = Rooms::new();
    for event in events {
        let TailEvent {
            entry,
            namespace,
            room,
            emit,
        } = event;
        let (Some(place), Some(age)) = (place_of(&entry), histories.age(&namespace, &room)) else {
            continue;
        };
        if server.shards.is_id(&room) {
            continue;
        }
        let ago = unix_millis.saturating_sub(place.stored_at().unwrap_or(unix_millis));
        let ago = Duration::from_millis(ago);
        // What is too old is not kept, and the history knows that it is missing: of one event, and
        // so of all that are older.
        let left = age.saturating_sub(ago);
        let older = rooms.entry((namespace, room)).or_default();
        if older.last().is_some_and(|last| last.until <= now) {
            continue;
        }
        let micros = u64::try_from(ago.as_micros()).unwrap_or(u64::MAX);
        let (bytes, message) = Said::at(place, emit.name, &emit.args);
        older.push(Older {
            place,
            at: Time::from_micros(now.as_micros().saturating_sub(micros)),
            until: now + left,
            bytes,
            message,
        });
    }
    histories.prepend(now, begun, behind, rooms);
}
