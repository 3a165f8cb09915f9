//! What a polling client may not do, and what each breach ends: the answer, the session, or only
//! the connection (docs/protocol/engine-io.md §4.4, §12).

mod common;

use common::*;
use sio_proto::Config;
use sio_proto::server::{Cause, Delivery};

/// A polling session that has joined `/`, and another session that must not be affected.
struct Story {
    world: World,
    sid: String,
    bystander: (sio_proto::LinkId, sio_proto::SocketKey),
}

impl Story {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        let mut world = World::new(config);
        let bystander = world.bystander();
        let sid = world.join_polling();
        world.heard();
        Self { world, sid, bystander }
    }

    /// Checks that the session ended for this reason, that its id is forgotten, and that the other
    /// session is not affected.
    fn assert_over(mut self, reason: &str) {
        assert_eq!(self.world.heard(), [format!("disconnect {reason}")]);
        let answer = self.world.fetch(&self.sid);
        assert_eq!((status(&answer), body(&answer).contains("\"code\":1,")), (400, true));
        assert_eq!(self.world.sessions(), 1);
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }

    fn assert_alive(&mut self) {
        self.world.heard();
        assert_eq!(status(&self.world.push(&self.sid, "42[\"alive\"]")), 200);
        assert_eq!(self.world.heard(), ["event alive "]);
        self.world.assert_works(self.bystander.0, self.bystander.1);
    }

    /// Starts a POST whose body does not arrive.
    fn slow_post(&mut self, method: &str) -> sio_proto::LinkId {
        let link = self.world.open();
        let head = request(method, &session(&self.sid), &[], "42[\"slow\"]");
        self.world.send(link, &head[..head.len() - 3]);
        link
    }
}

const SLOW: &[u8] = b"w\"]";

#[test]
fn a_second_get_ends_the_session() {
    let mut story = Story::new();
    let first = story.world.poll(&story.sid);
    assert_eq!(story.world.received(first), "");
    let answer = story.world.fetch(&story.sid);
    assert_eq!((status(&answer), body(&answer)), (400, ""));
    assert_eq!(
        body(&story.world.received(first)),
        "1",
        "the first is told that it is over"
    );
    story.assert_over("transport error");
}

#[test]
fn a_second_post_ends_the_session_and_the_first_connection() {
    for slow in [true, false] {
        let mut story = Story::new();
        let first = story.slow_post("POST");
        let parked = story.world.poll(&story.sid);
        let second = if slow {
            story.slow_post("POST")
        } else {
            let link = story.world.open();
            story.world.send(link, &post(&session(&story.sid), "42[\"a\"]"));
            link
        };
        let answer = story.world.received(second);
        assert_eq!((status(&answer), body(&answer)), (400, ""));
        assert!(story.world.ended.contains(&first), "the first is cut off");
        assert_eq!(story.world.received(first), "");
        assert_eq!(body(&story.world.received(parked)), "1");
        story.world.send(first, SLOW);
        assert_eq!(story.world.received(first), "");
        story.assert_over("transport error");
    }
}

#[test]
fn other_methods_are_answered_500_and_the_session_lives() {
    let mut story = Story::new();
    for method in ["PUT", "DELETE", "HEAD", "PATCH", "OPTIONS", "FROB"] {
        let answer = story.world.ask(&request(method, &session(&story.sid), &[], ""));
        assert_eq!((status(&answer), body(&answer)), (500, ""), "{method}");
        story.assert_alive();
    }
}

/// The body of a request that is not a POST does not take the place of a POST.
#[test]
fn a_slow_put_is_nobodys_post() {
    for method in ["PUT", "DELETE", "FROB"] {
        let mut story = Story::new();
        let slow = story.slow_post(method);
        story.assert_alive();
        story.world.send(slow, SLOW);
        assert_eq!(status(&story.world.received(slow)), 500);
        story.assert_alive();
        let slow = story.slow_post(method);
        story.world.cut(slow, Cause::Failed);
        story.assert_alive();
    }
}

#[test]
fn bytes_as_octet_stream_end_the_session() {
    for content_type in ["application/octet-stream", "Application/Octet-Stream; charset=x"] {
        let mut story = Story::new();
        let parked = story.world.poll(&story.sid);
        let line = format!("Content-Type: {content_type}");
        let answer = story
            .world
            .ask(&request("POST", &session(&story.sid), &[&line], "42[\"a\"]"));
        assert_eq!((status(&answer), body(&answer)), (400, ""));
        assert_eq!(body(&story.world.received(parked)), "1");
        story.assert_over("transport error");
    }
}

/// Hardening B20.
#[test]
fn a_body_over_the_limit_ends_its_session() {
    let many = |target: &str| {
        let chunks = "1\r\n4\r\n".repeat(11);
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n")
    };
    let chunked = |target: &str| {
        let (a, b) = ("4".repeat(50), "4".repeat(51));
        format!(
            "POST {target} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n32\r\n{a}\r\n33\r\n{b}\r\n0\r\n\r\n"
        )
    };
    let declared = |target: &str| {
        let body = "4".repeat(101);
        format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 101\r\n\r\n{body}")
    };
    let huge = |target: &str| format!("POST {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999999\r\n\r\n4");
    let requests: [&dyn Fn(&str) -> String; 4] = [&many, &chunked, &declared, &huge];
    for bytes in requests {
        for pieces in [usize::MAX, 40, 1] {
            let mut config = Config::default().max_payload(100);
            config.http.max_chunks = 10;
            let mut story = Story::with(config);
            let parked = story.world.poll(&story.sid);
            let link = story.world.open();
            for piece in bytes(&session(&story.sid)).as_bytes().chunks(pieces) {
                story.world.send(link, piece);
            }
            let answer = story.world.received(link);
            assert_eq!((status(&answer), body(&answer)), (413, ""));
            assert_eq!(header(&answer, "Connection"), Some("close"));
            assert_eq!(story.world.ended.pop(), Some(link));
            assert_eq!(body(&story.world.received(parked)), "1");
            story.assert_over("transport error");
        }
    }
}

#[test]
fn a_body_of_exactly_the_limit_is_taken() {
    let mut config = Config::default().max_payload(100);
    config.http.max_chunks = 10;
    let mut story = Story::with(config);
    let ten = format!("{}0\r\n\r\n", "1\r\n6\r\n1\r\n\u{1e}\r\n".repeat(5));
    let ten = ten.replacen("1\r\n\u{1e}\r\n0", "2\r\n\u{1e}6\r\n0", 1);
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        session(&story.sid)
    );
    assert_eq!(status(&story.world.ask((head + &ten).as_bytes())), 200);
    let exact = format!("42[\"{}\"]", "a".repeat(94));
    assert_eq!(exact.len(), 100);
    assert_eq!(status(&story.world.push(&story.sid, &exact)), 200);
}

#[test]
fn a_client_that_drops_a_request_is_gone() {
    for cause in [Cause::Closed, Cause::Failed] {
        let mut story = Story::new();
        let parked = story.world.poll(&story.sid);
        story.world.cut(parked, cause.clone());
        story.assert_over("transport error");

        let mut story = Story::new();
        let parked = story.world.poll(&story.sid);
        let slow = story.slow_post("POST");
        story.world.cut(slow, cause);
        assert_eq!(body(&story.world.received(parked)), "1");
        story.assert_over("transport error");
    }
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    let idle = story.world.open();
    story.world.send(idle, &post(&session(&story.sid), "42[\"a\"]"));
    story.world.cut(idle, Cause::Failed);
    assert_eq!(
        story.world.sessions(),
        2,
        "connections that have been answered mean nothing"
    );
    assert_eq!(story.world.received(parked), "");
}

#[test]
fn a_malformed_chunk_ends_the_session_like_a_cut() {
    let mut story = Story::new();
    let link = story.world.open();
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        session(&story.sid)
    );
    story.world.send(link, head.as_bytes());
    story.world.send(link, b"xyz\r\n");
    assert_eq!(status(&story.world.received(link)), 400);
    story.assert_over("transport error");
}

#[test]
fn the_wrong_transport_is_a_bad_request_and_no_more() {
    let mut story = Story::new();
    for method in ["GET", "POST"] {
        let answer = story.world.ask(&request(method, &websocket(&story.sid), &[], ""));
        assert_eq!(body(&answer), "{\"code\":3,\"message\":\"Bad request\"}");
        story.assert_alive();
    }
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, WEBSOCKET);
    let open = world.frames(link);
    let sid = sid(&open[0]);
    for answer in [world.fetch(&sid), world.push(&sid, "40")] {
        assert_eq!(body(&answer), "{\"code\":3,\"message\":\"Bad request\"}");
    }
    world.send(link, &text("40"));
    assert_eq!(world.frames(link).len(), 1, "the websocket session lives");
}

/// The POST is answered with `ok`, whatever it holds. The packets before the error are delivered.
#[test]
fn a_body_that_is_no_payload_ends_the_session() {
    for (body, events) in [
        ("", 0),
        ("7", 0),
        ("x", 0),
        ("é", 0),
        ("b!", 0),
        ("42[\"a\"]\u{1e}", 1),
        ("42[\"a\"]\u{1e}\u{1e}42[\"b\"]", 1),
        ("42[\"a\"]\u{1e}9\u{1e}42[\"b\"]", 1),
    ] {
        let mut story = Story::new();
        let parked = story.world.poll(&story.sid);
        let answer = story.world.push(&story.sid, body);
        assert_eq!((status(&answer), common::body(&answer)), (200, "ok"), "{body:?}");
        assert_eq!(common::body(&story.world.received(parked)), "1", "{body:?}");
        let heard = story.world.deliveries.drain(..events).collect::<Vec<_>>();
        assert!(heard.iter().all(|d| matches!(d, Delivery::Event { .. })));
        story.assert_over("parse error");
    }
    let mut story = Story::new();
    let mut invalid = request("POST", &session(&story.sid), &[], "42[\"_\"]");
    let at = invalid.len() - 3;
    invalid[at] = 0xff;
    assert_eq!(status(&story.world.ask(&invalid)), 200);
    story.assert_over("parse error");
}

#[test]
fn a_ping_from_the_client_is_the_wrong_direction() {
    for ping in ["2", "2probe", "2x"] {
        let mut story = Story::new();
        let parked = story.world.poll(&story.sid);
        let answer = story.world.push(&story.sid, ping);
        assert_eq!((status(&answer), body(&answer)), (200, "ok"));
        assert_eq!(body(&story.world.received(parked)), "1");
        story.assert_over("transport error");
    }
    let mut world = World::new(Config::default());
    let link = world.join();
    world.heard();
    world.send(link, &text("2"));
    assert_eq!(world.frames(link), ["close"]);
    assert_eq!(world.heard(), ["disconnect transport error"]);
    assert_eq!((world.sessions(), world.ended), (0, vec![link]));
}

#[test]
fn packets_without_a_meaning_here_are_ignored() {
    let mut story = Story::new();
    for packet in ["0{}", "3", "5", "6", "3probe", "5x\u{1e}6x\u{1e}3"] {
        assert_eq!(status(&story.world.push(&story.sid, packet)), 200);
        story.assert_alive();
    }
}

#[test]
fn the_client_says_goodbye() {
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    let answer = story.world.push(&story.sid, "1");
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    assert_eq!(body(&story.world.received(parked)), "6");
    story.assert_over("transport close");

    let mut story = Story::new();
    let link = story.world.open();
    let goodbye = post(&session(&story.sid), "1\u{1e}42[\"late\"]");
    story.world.send(link, &goodbye);
    // A GET that was sent before the goodbye may still be on its way.
    story.world.pass(30);
    let answer = story.world.received(link);
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    story.assert_over("transport close");
}

/// docs/protocol/engine-io.md §4.6: the handshake fixes the form of the answers of a JSONP session.
#[test]
fn jsonp_answers_are_scripts_to_the_last() {
    let mut world = World::new(Config::default());
    let answer = world.ask(&get(&format!("{POLLING}&j=1);alert(1")));
    assert!(body(&answer).starts_with("___eio[11](\"0{\\\"sid\\\":"), "{answer}");
    let sid = sid(&answer.replace('\\', ""));
    let target = format!("{}&j=2", session(&sid));
    let answer = world.ask(&post(&target, "d=40"));
    assert_eq!((status(&answer), body(&answer)), (200, "ok"));
    let answer = world.ask(&get(&target));
    assert!(body(&answer).starts_with("___eio[11](\"40"), "{answer}");
    world.heard();
    assert_eq!(status(&world.ask(&post(&target, "d=42%5B%22a%5C%5Cnb%22%5D"))), 200);
    assert_eq!(
        world.heard(),
        ["event a\nb "],
        "the escape of the JSON survives that of the form"
    );
    assert_eq!(
        status(&world.ask(&post(&target, "x=1"))),
        200,
        "no payload at all is ignored"
    );
    let parked = world.open();
    world.send(parked, &get(&target));
    let candidate = world.candidate(&sid);
    world.send(candidate, &text("2probe"));
    assert_eq!(body(&world.received(parked)), "___eio[11](\"6\");");
    for _ in 0..2 {
        assert_eq!(body(&world.ask(&get(&target))), "___eio[11](\"6\");");
    }
    let parked = world.open();
    world.send(parked, &get(&target));
    assert_eq!(status(&world.ask(&post(&target, "d=1"))), 200);
    assert_eq!(body(&world.received(parked)), "___eio[11](\"6\");");
    assert_eq!(world.sessions(), 0);
}
