//! Two requests of one client cross on their way, because they come on two connections. The answers
//! do not depend on which of the two is read first (docs/protocol/engine-io.md §7, §8).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::server::Cause;
use sio_proto::{Config, LinkId};

struct Story {
    world: World,
    sid: String,
}

impl Story {
    fn new() -> Self {
        let mut world = World::new(Config::default());
        let sid = world.join_polling();
        world.heard();
        Self { world, sid }
    }

    fn get(&mut self) -> LinkId {
        self.world.poll(&self.sid)
    }

    fn goodbye(&mut self) -> LinkId {
        let link = self.world.open();
        self.world.send(link, &post(&session(&self.sid), "1"));
        link
    }

    fn probed(&mut self) -> LinkId {
        let candidate = self.world.candidate(&self.sid);
        self.world.send(candidate, &text("2probe"));
        assert_eq!(self.world.frames(candidate), ["3probe"]);
        candidate
    }

    fn answer(&mut self, link: LinkId) -> (u16, String) {
        let answer = self.world.received(link);
        (status(&answer), body(&answer).to_owned())
    }

    /// Checks that the session is gone, that this was reported once, and that its id is unknown.
    fn assert_over(mut self) {
        assert_eq!(self.world.heard(), ["disconnect transport close"]);
        assert!(body(&self.world.fetch(&self.sid)).contains("\"code\":1,"));
        self.world.pass(60_000);
        assert_eq!(self.world.sessions(), 0);
        assert_eq!(self.world.heard(), [""; 0]);
    }
}

/// Hardening C9.
#[test]
fn a_goodbye_and_the_get_before_it_come_in_any_order() {
    for get_first in [true, false] {
        let mut story = Story::new();
        let (get, goodbye) = if get_first {
            let get = story.get();
            (get, story.goodbye())
        } else {
            let goodbye = story.goodbye();
            assert_eq!(story.world.received(goodbye), "", "a GET may be on its way");
            story.world.pass(20);
            (story.get(), goodbye)
        };
        assert_eq!(
            story.answer(get),
            (200, "6".to_owned()),
            "the GET is first: {get_first}"
        );
        assert_eq!(story.answer(goodbye), (200, "ok".to_owned()));
        story.assert_over();
    }
}

/// Hardening C9.
#[test]
fn who_has_read_the_answer_to_its_goodbye_finds_no_session() {
    let mut story = Story::new();
    let goodbye = story.goodbye();
    assert_eq!(
        story.world.heard(),
        ["disconnect transport close"],
        "the user hears of it at once"
    );
    story.world.pass(29);
    assert_eq!(story.world.received(goodbye), "");
    story.world.pass(1);
    assert_eq!(story.answer(goodbye), (200, "ok".to_owned()));
    assert_eq!(story.world.sessions(), 0);
    let get = story.get();
    assert_eq!(story.answer(get).0, 400);
}

/// Hardening C9.
#[test]
fn a_goodbye_whose_connection_breaks_is_over() {
    for (second, broken) in [(false, 0), (true, 0), (true, 1)] {
        let mut story = Story::new();
        let goodbye = story.goodbye();
        let other = story.world.open();
        if second {
            let head = post(&session(&story.sid), "42[\"late\"]");
            story.world.send(other, &head[..head.len() - 3]);
        }
        story.world.cut([goodbye, other][broken], Cause::Closed);
        assert_eq!(story.world.sessions(), 0);
        if broken == 1 {
            assert_eq!(story.answer(goodbye), (200, "ok".to_owned()), "nobody waits for ever");
        }
        story.assert_over();
    }
}

/// Hardening C9.
#[test]
fn what_is_posted_behind_a_goodbye_is_answered_and_not_heard() {
    let mut story = Story::new();
    let goodbye = story.goodbye();
    assert_eq!(body(&story.world.push(&story.sid, "42[\"late\"]")), "ok");
    assert_eq!(body(&story.world.push(&story.sid, "1")), "ok");
    assert_eq!(story.answer(goodbye), (200, "ok".to_owned()));
    story.assert_over();
}

/// Hardening C9: a client that keeps the rules sends no such GET. No message gets into its answer.
#[test]
fn a_get_behind_the_upgrade_fetches_no_message_in_any_order() {
    for (get_first, noops) in [(true, 0), (true, 3), (false, 0), (false, 3)] {
        let mut story = Story::new();
        let candidate = story.probed();
        for _ in 0..noops {
            assert_eq!(body(&story.world.fetch(&story.sid)), "6");
        }
        let get = if get_first {
            let get = story.get();
            story.world.send(candidate, &text("5"));
            get
        } else {
            story.world.send(candidate, &text("5"));
            story.get()
        };
        let expected = if get_first && noops == 0 {
            (200, "6")
        } else {
            (400, "{\"code\":3,\"message\":\"Bad request\"}")
        };
        let got = story.answer(get);
        assert_eq!(
            (got.0, &*got.1),
            expected,
            "the GET is first: {get_first}, after {noops}"
        );
        let socket = story.world.last_socket();
        story.world.assert_works(candidate, socket);
    }
}

/// Hardening C9: the switch waits for a POST. Such a GET does not wait with it.
#[test]
fn a_get_behind_the_upgrade_does_not_wait_for_a_post() {
    let mut story = Story::new();
    let request = post(&session(&story.sid), "42[\"m\",1]");
    let (head, rest) = request.split_at(request.len() - 3);
    let candidate = story.probed();
    let link = story.world.open();
    story.world.send(link, head);
    story.world.send(candidate, &text("5"));
    let get = story.get();
    assert_eq!(story.answer(get).0, 400);
    story.world.send(link, rest);
    assert_eq!(story.answer(link), (200, "ok".to_owned()));
    assert_eq!(story.world.heard(), ["event m 1"]);
    story.world.send(candidate, &text("42[\"m\",2]"));
    assert_eq!(story.world.heard(), ["event m 2"]);
}

/// Hardening C9.
#[test]
fn a_second_websocket_behind_the_upgrade_is_closed_in_any_order() {
    for second_first in [true, false] {
        let mut story = Story::new();
        let candidate = story.probed();
        if !second_first {
            story.world.send(candidate, &text("5"));
        }
        let second = story.world.candidate(&story.sid);
        assert_eq!(story.world.frames(second), ["close"]);
        if second_first {
            story.world.send(candidate, &text("5"));
        }
        let socket = story.world.last_socket();
        story.world.assert_works(candidate, socket);
    }
}
