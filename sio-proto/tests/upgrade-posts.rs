//! An upgrade whose client has a POST under way (docs/protocol/engine-io.md §7).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod upgrading;

use std::time::Duration;

use common::*;
use sio_proto::server::TransportKind;
use sio_proto::{Config, LinkId};
use upgrading::Story;

/// A genuine client sends `5` when its POST has been answered. If its websocket ended before, it
/// would stay without a transport.
#[test]
fn a_websocket_waits_for_the_answer_to_a_post() {
    for late in [false, true] {
        let mut story = Story::new();
        let candidate = story.probe();
        let link = story.begin_post();
        story.world.pass(14_000);
        assert_eq!(story.world.ended, []);
        story.world.send(link, b"\"slow\"]");
        assert_eq!(body(&story.world.received(link)), "ok");
        if late {
            story.world.pass(10_000);
            assert_eq!(story.world.ended, [candidate], "it does not wait without an end");
            story.assert_polls();
            continue;
        }
        story.world.pass(4_000);
        story.world.send(candidate, &text("5"));
        assert_eq!(story.world.heard(), ["event slow "]);
        story.assert_upgraded(candidate);
    }
}

/// A client that has read the answer to its probe sends no GET any more, and waits for its POST. So
/// the answer comes when nothing of the POST is left to wait for, and before the answer to the
/// POST: a client that reads this one first may begin another POST.
#[test]
fn a_probe_that_comes_during_a_post_is_answered_just_before_it() {
    for late in [false, true] {
        let mut story = Story::new();
        let link = story.begin_post();
        let candidate = story.world.candidate(&story.sid);
        story.world.send(candidate, &[text("2probe"), text("2probe")].concat());
        let poll = story.world.open();
        story.world.send(poll, &get(&session(&story.sid)));
        story.world.pass(if late { 12_000 } else { 200 });
        assert_eq!(story.world.frames(candidate), [""; 0]);
        assert_eq!(story.world.received(poll), "", "it is held as before");
        story.world.emit(story.socket, "down", "").unwrap();
        assert_eq!(body(&story.world.received(poll)), "42[\"down\"]");
        story.world.send(link, b"\"slow\"]");
        let written: Vec<LinkId> = story.world.sent.iter().map(|(link, _)| *link).collect();
        assert_eq!(
            written,
            [candidate, link],
            "a client that reads `3probe` begins no POST"
        );
        assert_eq!(body(&story.world.received(link)), "ok");
        assert_eq!(story.world.frames(candidate), ["3probe"], "one answer");
        assert_eq!(body(&story.world.fetch(&story.sid)), "6");
        story.world.pass(4_000);
        assert_eq!(story.world.ended, []);
        story.world.send(candidate, &text("5"));
        assert_eq!(story.world.heard(), ["event slow "]);
        story.assert_upgraded(candidate);
    }
}

/// The answer to a POST may need some time to its client, and so may `5`. The alarm of the upgrade
/// may go off meanwhile.
#[test]
fn a_post_that_ends_gives_an_upgrade_its_time() {
    for late in [false, true] {
        let mut story = Story::new();
        let candidate = story.probe();
        story.world.pass(9_950);
        assert_eq!(status(&story.world.push(&story.sid, "42[\"up\"]")), 200);
        assert_eq!(story.world.heard(), ["event up "]);
        story.world.pass(if late { 5_049 } else { 100 });
        assert_eq!(story.world.ended, []);
        if late {
            story.world.pass(1);
            assert_eq!(story.world.ended, [candidate], "it does not wait without an end");
            story.assert_polls();
            continue;
        }
        story.world.send(candidate, &text("5"));
        story.assert_upgraded(candidate);
    }
}

/// A client that has probed and goes on with polling does not upgrade.
#[test]
fn posts_one_after_the_other_keep_no_candidate() {
    let mut story = Story::new();
    let candidate = story.probe();
    for _ in 0..14 {
        story.world.pass(1_000);
        assert_eq!(story.world.ended, []);
        assert_eq!(status(&story.world.push(&story.sid, "42[\"up\"]")), 200);
    }
    story.world.pass(1_000);
    assert_eq!(story.world.ended, [candidate]);
    story.assert_polls();
}

/// The alarm meets a POST each time. A candidate waits for few of them.
#[test]
fn posts_that_are_always_under_way_keep_no_candidate() {
    let mut config = Config::default();
    config.ping_interval = Duration::from_mins(10);
    for length in [500, 3_000, 7_000, 12_000] {
        let mut story = Story::with(config.clone());
        let candidate = story.probe();
        let mut passed = 0;
        while story.world.ended.is_empty() {
            let post = story.begin_post();
            story.world.pass(length);
            passed += length;
            story.world.send(post, b"\"slow\"]");
            assert_eq!(body(&story.world.received(post)), "ok");
            assert!(passed <= 60_000, "POSTs of {length} ms");
        }
        assert!(passed > 10_000, "POSTs of {length} ms");
        assert_eq!(story.world.ended, [candidate]);
        story.assert_polls();
    }
}

/// One POST is under way when the client probes, and the client begins another before it reads the
/// answer to its probe. Then it waits.
#[test]
fn a_candidate_waits_for_two_long_posts() {
    let mut config = Config::default();
    config.ping_interval = Duration::from_mins(10);
    for length in [9_000, 12_000, 25_000] {
        let mut story = Story::with(config.clone());
        let mut post = story.begin_post();
        let candidate = story.world.candidate(&story.sid);
        story.world.send(candidate, &text("2probe"));
        for at in 0..2 {
            story.world.pass(length);
            story.world.send(post, b"\"slow\"]");
            assert_eq!(body(&story.world.received(post)), "ok");
            assert_eq!(story.world.ended, [], "{at}");
            if at == 0 {
                post = story.begin_post();
            }
        }
        story.world.pass(4_000);
        story.world.send(candidate, &text("5"));
        story.world.heard();
        assert_eq!(
            story.transport(),
            Some(TransportKind::WebSocket),
            "POSTs of {length} ms"
        );
    }
}

/// A client that has not probed yet polls on if its websocket is closed, and loses nothing. So
/// POSTs keep no candidate before its probe, and none of them counts.
#[test]
fn a_candidate_that_has_not_probed_waits_for_no_post() {
    for ends_in_time in [false, true] {
        let mut story = Story::new();
        let candidate = story.world.candidate(&story.sid);
        if ends_in_time {
            assert_eq!(status(&story.world.push(&story.sid, "42[\"up\"]")), 200);
        }
        let link = story.begin_post();
        story.world.pass(9_999);
        assert_eq!(story.world.ended, []);
        story.world.pass(1);
        assert_eq!(story.world.ended, [candidate]);
        story.world.send(link, b"\"slow\"]");
        assert_eq!(body(&story.world.received(link)), "ok");
        story.assert_polls();
    }
}

/// A client that has read the answer to its probe cannot go back to polling. However late its probe
/// was, it has the whole time from this answer, and waits for the POST that it has begun meanwhile.
#[test]
fn a_late_probe_gives_an_upgrade_its_time() {
    for (before, behind) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut story = Story::new();
        let candidate = story.world.candidate(&story.sid);
        let post = before.then(|| story.begin_post());
        story.world.pass(9_900);
        story.world.send(candidate, &text("2probe"));
        if let Some(link) = post {
            story.world.pass(8_000);
            story.world.send(link, b"\"slow\"]");
            assert_eq!(body(&story.world.received(link)), "ok");
        }
        assert_eq!(story.world.frames(candidate), ["3probe"], "{before} {behind}");
        if behind {
            let link = story.begin_post();
            story.world.pass(12_000);
            story.world.send(link, b"\"slow\"]");
            assert_eq!(body(&story.world.received(link)), "ok");
        }
        story.world.pass(9_900);
        assert_eq!(story.world.ended, [], "{before} {behind}");
        story.world.send(candidate, &text("5"));
        story.world.heard();
        story.assert_upgraded(candidate);
    }
}
