//! A shard without the facade: packets are pulled link by link, in amounts that the caller chooses.
//! Events between two pulls must not mislead the second pull.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::conn::{Arrivals, Conn};
use sio_proto::server::{Admission, Cause, Command, Delivery, Message, Outputs, Peer, Response, Shard, Target, Write};
use sio_proto::{ByteString, BytesMut, Config, LinkId, Time};

/// A shard that is flushed only when asked to.
struct Bare {
    shard: Shard,
    out: Outputs,
    links: u32,
}

impl Bare {
    fn new() -> Self {
        let mut counter = 0u8;
        let entropy = move |out: &mut [u8]| {
            for byte in out {
                counter = counter.wrapping_mul(181).wrapping_add(97);
                *byte = counter;
            }
        };
        Self {
            shard: Shard::new(Config::default(), 0, [7; 16], Box::new(entropy)).unwrap(),
            out: Outputs::default(),
            links: 0,
        }
    }

    /// Sends a request on a new link.
    fn request(&mut self, bytes: &[u8]) -> LinkId {
        let link = LinkId::new(self.links, 0);
        self.links += 1;
        let mut conn = Conn::new(self.shard.config().clone(), Peer::default());
        let mut arrivals = Arrivals::default();
        conn.handle_bytes(&mut BytesMut::from(bytes), &mut arrivals);
        let mut request = arrivals.request.unwrap().admission(Admission::Allowed);
        self.shard.handle_request(Time::ZERO, link, &mut request, &mut self.out);
        for delivery in std::mem::take(&mut self.out.deliveries) {
            if let Delivery::Connect { socket, .. } = delivery {
                self.shard.accept(Time::ZERO, socket, &mut self.out);
            }
        }
        link
    }

    fn flush(&mut self, max: usize) -> bool {
        self.shard.flush_ready(Time::ZERO, max, &mut self.out)
    }

    /// The writes so far, as links and texts.
    fn written(&mut self) -> Vec<(LinkId, String)> {
        let text = |write| match write {
            Write::Frame(link, frame) => (link, String::from_utf8_lossy(frame.payload()).into_owned()),
            Write::Response(link, mut response) => (link, body_of(&mut response)),
            Write::Upgrade(link, _) => (link, "101".into()),
            Write::Close(link, _) => (link, "close".into()),
            Write::Abort(link) => (link, "abort".into()),
            other => panic!("{other:?} to a client that has no streams"),
        };
        self.out.writes.drain(..).map(text).collect()
    }

    /// Opens a polling session and joins `/`. Returns the id.
    fn join(&mut self) -> String {
        self.request(&get(POLLING));
        self.flush(10);
        let sid = sid(&self.written()[0].1);
        self.request(&post(&session(&sid), "40"));
        self.request(&get(&session(&sid)));
        self.flush(10);
        self.written();
        sid
    }

    fn broadcast(&mut self) {
        let target = Target {
            namespace: "/".into(),
            ..Target::default()
        };
        let message = Message::event("/".into(), "all".into(), ByteString::new().into(), None);
        let command = Command::Broadcast { target, message };
        self.shard.handle_command(Time::ZERO, command, &mut self.out);
    }
}

fn body_of(response: &mut Response) -> String {
    let body = response.take_body(&mut BytesMut::new());
    String::from_utf8(body.to_vec()).unwrap()
}

#[test]
fn so_many_links_at_a_time() {
    let mut bare = Bare::new();
    let sids: Vec<String> = (0..10).map(|_| bare.join()).collect();
    let links: Vec<LinkId> = sids.iter().map(|sid| bare.request(&get(&session(sid)))).collect();
    assert_eq!((bare.flush(10), bare.written().len()), (false, 0), "nothing to say yet");
    bare.broadcast();
    bare.broadcast();
    assert!(bare.written().is_empty(), "a broadcast writes nothing itself");
    let mut told = Vec::new();
    for (max, more) in [(3, true), (0, true), (6, true), (1, false), (1, false)] {
        assert_eq!(bare.flush(max), more);
        let written = bare.written();
        assert!(written.len() <= max);
        told.extend(written);
    }
    let expected: Vec<_> = links
        .iter()
        .map(|link| (*link, "42[\"all\"]\u{1e}42[\"all\"]".to_string()))
        .collect();
    assert_eq!(told, expected);
}

/// A session ends while it waits to be flushed, and another session takes its place. The poll of
/// the new session must not get an empty answer.
#[test]
fn whoever_takes_the_place_of_a_session_is_not_taken_for_it() {
    let mut bare = Bare::new();
    let first = bare.join();
    let parked = bare.request(&get(&session(&first)));
    bare.broadcast();
    bare.shard
        .handle_closed(Time::ZERO, parked, Cause::Closed, &mut bare.out);
    bare.out.deliveries.clear();
    bare.request(&get(POLLING));
    while bare.flush(1) {}
    let second = sid(&bare.written()[0].1);
    let parked = bare.request(&get(&session(&second)));
    while bare.flush(1) {}
    assert_eq!(bare.written(), []);
    bare.request(&post(&session(&second), "40"));
    while bare.flush(1) {}
    let written = bare.written();
    assert_eq!(written.len(), 2, "{written:?}");
    assert!(
        written
            .iter()
            .any(|(link, body)| *link == parked && body.starts_with("40{\"sid\":"))
    );
}

#[test]
fn a_link_that_closes_before_its_turn_is_passed_over() {
    let mut bare = Bare::new();
    let sids: Vec<String> = (0..3).map(|_| bare.join()).collect();
    let links: Vec<LinkId> = sids.iter().map(|sid| bare.request(&get(&session(sid)))).collect();
    bare.broadcast();
    bare.shard
        .handle_closed(Time::ZERO, links[1], Cause::Failed, &mut bare.out);
    assert!(!bare.flush(10));
    let told: Vec<LinkId> = bare.written().into_iter().map(|(link, _)| link).collect();
    assert_eq!(told, [links[0], links[2]]);
    assert_eq!(bare.shard.sessions(), 2);
}

/// A client of 0.6 leaves its websocket, of which packets have to come back, for a poll. Until they
/// are back, the poll is answered without messages after its time, like any other. Then it is over:
/// the end of its connection does not end the next poll, which gets the packets.
#[test]
fn a_poll_that_is_answered_before_packets_have_come_back_is_over() {
    let mut bare = Bare::new();
    let websocket = bare.request(&upgrade("/socket.io/websocket"));
    while bare.flush(10) {}
    let written = bare.written();
    let (_, first) = written.last().unwrap();
    let id = first.strip_prefix("~m~39~m~").unwrap().to_owned();
    bare.broadcast();
    while bare.flush(10) {}
    let writes = std::mem::take(&mut bare.out.writes);
    let frames: Vec<_> = writes
        .into_iter()
        .map(|write| match write {
            Write::Frame(link, frame) if link == websocket => frame,
            other => panic!("{other:?} instead of the message"),
        })
        .collect();
    let text = String::from_utf8_lossy(frames[0].payload()).into_owned();
    bare.shard
        .handle_blocked(Time::ZERO, websocket, frames[0].payload().len());
    let poll = |stamp: u32| get(&format!("/socket.io/xhr-polling/{id}/{stamp}"));
    let answered = bare.request(&poll(1));
    while bare.flush(10) {}
    assert_eq!(bare.written(), [(websocket, "abort".to_owned())]);
    let later = Time::ZERO + Config::default().legacy06.poll_duration;
    bare.shard.handle_timeout(later, &mut bare.out);
    while bare.shard.flush_ready(later, 10, &mut bare.out) {}
    assert_eq!(bare.written(), [(answered, String::new())]);
    let next = bare.request(&poll(2));
    bare.shard.handle_closed(later, answered, Cause::Closed, &mut bare.out);
    bare.shard.handle_returned(later, websocket, frames);
    bare.shard.handle_closed(later, websocket, Cause::Failed, &mut bare.out);
    while bare.shard.flush_ready(later, 10, &mut bare.out) {}
    assert_eq!(bare.written(), [(next, text)]);
}
