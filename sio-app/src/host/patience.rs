//! The time limits of connections: for requests, for reading answers, for the end.

use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use sio_proto::Time;
use sio_proto::conn::Stage;
use sio_proto::http;

use crate::link::connections::Then;
use crate::link::{Item, Link};
use crate::options::Options;
use crate::turn;
use crate::user::inner::Inner;

impl Inner {
    /// Ends connections whose peers take longer than the [`Options`] allow.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        self.sweep_shutdown(now);
        self.shards.recovery.sweep(self.runtime(), now);
        self.shards.histories.sweep(now);
        loop {
            let due = self.connections.lock().pop_deadline(now);
            let (link, slot, then) = match due {
                None => return,
                Some(None) => continue,
                Some(Some(due)) => due,
            };
            match (then, link.awaiting()) {
                // The session checks a websocket itself.
                (Then::Look, _) if link.is_websocket() => {}
                (Then::Look, _) if link.is_stalled(now, self.options.write_timeout) => link.cut(),
                (Then::Look, None) => self.look_after(&link, slot, now, None),
                (Then::Look, Some(awaiting)) if awaiting.until > now => {
                    self.look_after(&link, slot, now, Some(awaiting.until));
                }
                (Then::Look, Some(awaiting)) if awaiting.stage == Stage::Body => {
                    self.refuse_late_body(&link);
                    link.cut();
                }
                (Then::Look | Then::Cut, _) => link.cut(),
            }
        }
    }

    /// Tells a peer that its body has taken too long, if its socket takes the answer at once
    /// (docs/protocol/engine-io.md §4.4). The session is told when the connection is cut.
    fn refuse_late_body(&self, link: &Arc<Link>) {
        let mut answer = BytesMut::new();
        let date = self.tally.traffic.date();
        let date = date.as_ref().map(|date| ("Date", date.as_str()));
        let closing = http::Exchange::CLOSING;
        if http::encode_response(&mut answer, closing, 408, None, date.as_slice(), b"").is_ok() {
            link.push(Item::Bytes(answer.freeze()));
            turn::run(self.runtime(), |turn| turn.touch_link(link, None));
        }
    }

    /// Sets the time of the next check of the connection in a slot: when its peer will be late, and
    /// in any case before any deadline that may begin from now on can pass.
    pub(crate) fn look_after(&self, link: &Arc<Link>, slot: usize, now: Time, late: Option<Time>) {
        let Options {
            idle_timeout,
            head_timeout,
            body_timeout,
            ..
        } = self.options;
        let soonest = now + idle_timeout.min(head_timeout).min(body_timeout);
        let at = late.map_or(soonest, |late| late.min(soonest));
        self.connections.lock().add_look(at, slot, link);
    }

    /// Gives the peer a short time to close its side, after a connection's last byte has been
    /// written.
    pub(crate) fn linger(&self, slot: usize) {
        self.cut_after(slot, self.options.linger_timeout);
    }

    /// Sets a deadline for a connection that ends when its peer has read the last bytes. The peer
    /// has as much time as for a next request.
    pub(crate) fn end_soon(&self, slot: usize) {
        self.cut_after(slot, self.options.idle_timeout);
    }

    fn cut_after(&self, slot: usize, patience: Duration) {
        let at = self.now() + patience;
        self.connections.lock().add_deadline(at, slot, Then::Cut);
    }
}
