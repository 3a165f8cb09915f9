//! How long a connection may take: for its requests, for reading its answers, for its end.

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
use crate::user::io::Inner;

impl Inner {
    /// Ends connections whose peers take longer than [`Options`] allow.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        self.sweep_shutdown(now);
        loop {
            let Some((link, then)) = ({ self.deadlines.lock().pop(now) }) else {
                return;
            };
            match (then, link.awaiting()) {
                // Its session looks after it.
                (Then::Look, _) if link.is_websocket() => {}
                (Then::Look, _) if link.is_stalled(now, self.options.write_timeout) => link.cut(),
                (Then::Look, None) => self.look_after(&link, now, None),
                (Then::Look, Some(awaiting)) if awaiting.until > now => {
                    self.look_after(&link, now, Some(awaiting.until));
                }
                (Then::Look, Some(awaiting)) if awaiting.stage == Stage::Body => {
                    self.refuse_late_body(&link);
                    link.cut();
                }
                (Then::Look | Then::Cut, _) => link.cut(),
            }
        }
    }

    /// Tells a peer that its body has taken too long, as far as its socket takes the answer at once
    /// (docs/protocol/engine-io.md §4.4). Its session hears of it when the connection is cut.
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

    /// Has a connection looked at again: when its peer will be late, and in any case before
    /// whatever it may begin to be late with from here on.
    pub(crate) fn look_after(&self, link: &Arc<Link>, now: Time, late: Option<Time>) {
        let Options {
            idle_timeout,
            head_timeout,
            body_timeout,
            ..
        } = self.options;
        let soonest = now + idle_timeout.min(head_timeout).min(body_timeout);
        let at = late.map_or(soonest, |late| late.min(soonest));
        self.deadlines.lock().add(at, link, Then::Look);
    }

    /// A connection's last byte is written: the peer has a moment to close its side.
    pub(crate) fn linger(&self, link: &Arc<Link>) {
        self.cut_after(link, self.options.linger_timeout);
    }

    /// A connection ends with what its peer has yet to read: it has as long for that as for a next
    /// request.
    pub(crate) fn end_soon(&self, link: &Arc<Link>) {
        self.cut_after(link, self.options.idle_timeout);
    }

    fn cut_after(&self, link: &Arc<Link>, patience: Duration) {
        let at = self.now() + patience;
        self.deadlines.lock().add(at, link, Then::Cut);
    }
}
