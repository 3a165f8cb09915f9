//! A shard whose links are flushed some turns after they became ready, as happens under a large
//! broadcast.

use bytes::Bytes;
use sio_proto::http::{Headers, Method};
use sio_proto::server::{Admission, Body, Cause, Delivery, EngineMessage, Outputs, Peer, Request, Shard, Write};
use sio_proto::{Config, LinkId, SessionKey, Time, http};

struct Story {
    shard: Shard,
    out: Outputs,
    links: u32,
}

impl Story {
    fn new() -> Self {
        let mut config = Config::default();
        config.engine_path = Some("/engine.io".to_owned());
        let mut counter = 0u8;
        let entropy = move |out: &mut [u8]| {
            for byte in out {
                counter = counter.wrapping_mul(181).wrapping_add(97);
                *byte = counter;
            }
        };
        Self {
            shard: Shard::new(config, 0, [7; 16], Box::new(entropy)).expect("a sensible config"),
            out: Outputs::default(),
            links: 0,
        }
    }

    fn get(&mut self, query: &str) -> LinkId {
        self.links += 1;
        let link = LinkId::new(self.links, 0);
        let http = http::Request {
            method: Method::Get,
            target: format!("/engine.io/?EIO=4&transport=polling{query}").into(),
            version_minor: 1,
            headers: Headers::from_iter([("host", "localhost")]),
            body: Ok(Bytes::new()),
        };
        let mut request = Request::new(self.shard.config(), http, Peer::default()).admission(Admission::Allowed);
        self.shard.handle_request(Time::ZERO, link, &mut request, &mut self.out);
        link
    }

    /// Opens a session that polls. Returns its key, and the link of the poll.
    fn open(&mut self) -> (SessionKey, LinkId) {
        self.get("");
        let Some(Delivery::EngineOpen { session, .. }) = self.out.deliveries.pop() else {
            panic!("no session")
        };
        let (_, body) = self.answers().pop().expect("the open packet");
        let sid = body.split('"').nth(3).expect("the session id").to_owned();
        (session, self.get(&format!("&sid={sid}")))
    }

    fn send(&mut self, session: SessionKey) {
        let message = EngineMessage::Text("hello".into());
        self.shard.send_engine(session, message).expect("room in the queue");
    }

    fn flush(&mut self) {
        while self.shard.flush_ready(Time::ZERO, 1, &mut self.out) {}
    }

    fn answers(&mut self) -> Vec<(LinkId, String)> {
        let writes = self.out.writes.drain(..);
        writes
            .map(|write| match write {
                Write::Response(link, mut response) => {
                    let body = match &response.body {
                        Body::Bytes(bytes) => bytes.clone(),
                        Body::Packets(..) => response.take_body(&mut sio_proto::BytesMut::new()),
                    };
                    (link, String::from_utf8(body.to_vec()).expect("text"))
                }
                other => panic!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_session_does_not_inherit_the_turn_of_the_one_whose_place_it_takes() {
    let mut story = Story::new();
    let (old, old_poll) = story.open();
    story.send(old);
    // The session is ready to be flushed, and ends before its turn.
    let Story { shard, out, .. } = &mut story;
    shard.handle_closed(Time::ZERO, old_poll, Cause::Failed, out);

    let (new, poll) = story.open();
    story.flush();
    assert_eq!(story.answers(), [], "a poll is held until there is something to say");
    story.send(new);
    story.flush();
    assert_eq!(story.answers(), [(poll, "4hello".to_owned())]);
}
