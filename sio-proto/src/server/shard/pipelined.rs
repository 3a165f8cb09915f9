//! Requests that a peer sends behind a GET that is held, on the same connection.
//!
//! Answers have to leave in the order of their requests (RFC 9112 §9.3.2), and a GET may be held
//! for as long as a heartbeat takes. So a request behind it is handled at once, and the GET is
//! answered first: with the packets that the request has caused, or with an empty packet.

use super::recording::noted;
use super::{Outputs, Request, Role, Session, Shard};
use crate::{LinkId, Time, http};

impl Shard {
    /// Whether a GET that can be answered at any time is held on this link. If so, the peer's next
    /// request may be read.
    #[must_use]
    pub fn holds(&self, link: LinkId) -> bool {
        let parked = self.core.links.get(link).filter(|(_, role)| *role == Role::Parked);
        let session = parked.and_then(|(key, _)| self.sessions.named(key));
        session.is_some_and(Session::may_end_poll)
    }

    /// Whether this request, which came behind the GET that is held on `link`, may be handled
    /// before the GET is answered. The packets that it causes may then be the answer.
    ///
    /// It may if it is a POST of the same session. Give it to [`Shard::handle_request`] with a link
    /// of its own, and keep the writes for this link. When the user has handled the packets of the
    /// POST, call [`Shard::end_poll`], and then write the kept writes. All other requests come
    /// after `end_poll`.
    #[must_use]
    pub fn may_overtake(&self, link: LinkId, request: &Request) -> bool {
        if request.http.method != http::Method::Post || !self.holds(link) {
            return false;
        }
        let session = self.requested_session(request);
        session.map(|(key, _)| key) == self.core.links.get(link).map(|(key, _)| key)
    }

    /// Answers the GET that is held on this link, if there is one: with the packets that wait for
    /// its session, or with an empty packet.
    pub fn end_poll(&mut self, now: Time, link: LinkId, out: &mut Outputs) {
        noted!(
            self,
            Some(now),
            Some(&*out),
            None,
            |line, _| {
                line.at_link("end-poll", link);
                false
            },
            {
                if self.holds(link) {
                    self.input(now, out).at_link(link, |at, _| {
                        let at = at.end_poll();
                        at.session.note_taken(at.now, &mut at.core.backlog);
                    });
                }
            }
        )
    }
}
