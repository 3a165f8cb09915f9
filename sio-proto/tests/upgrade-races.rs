//! From polling to websocket: every order of events, and every failure (docs/protocol/engine-io.md
//! §7, §12).

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod cases;
mod common;
mod upgrading;

use std::time::Duration;

use common::*;
use proptest::prelude::*;
use sio_proto::LinkId;
use sio_proto::server::Cause;
use upgrading::Story;

#[test]
fn the_normal_sequence_needs_no_time() {
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    let candidate = story.world.candidate(&story.sid);
    let deadline = story.world.server.next_timeout();
    assert_eq!(story.world.received(parked), "");
    story.world.send(candidate, &text("2probe"));
    assert_eq!(story.world.frames(candidate).last().unwrap(), "3probe");
    assert_eq!(body(&story.world.received(parked)), "6");
    assert_eq!(
        story.world.server.next_timeout(),
        deadline,
        "nobody has to wake up for it"
    );
    story.world.send(candidate, &text("5"));
    assert_eq!(story.world.frames(candidate), [""; 0], "5 has no answer");
    story.assert_upgraded(candidate);
}

/// The noop and the answer to the probe come on two connections. A client that reads the noop first
/// polls again.
#[test]
fn a_client_that_reads_the_noop_before_3probe_does_not_wait() {
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    let candidate = story.probe();
    assert_eq!(body(&story.world.received(parked)), "6");
    assert_eq!(body(&story.world.fetch(&story.sid)), "6");
    story.world.send(candidate, &text("5"));
    story.assert_upgraded(candidate);
}

/// A client that goes on polling is not answered as often as it likes.
#[test]
fn after_three_noops_a_get_is_held_for_100_ms() {
    let mut story = Story::new();
    let candidate = story.probe_and_poll();
    story.world.send(candidate, &text("2probe"));
    for _ in 0..20 {
        let parked = story.world.poll(&story.sid);
        story.world.pass(99);
        assert_eq!(story.world.received(parked), "");
        story.world.pass(1);
        assert_eq!(body(&story.world.received(parked)), "6");
    }
    let parked = story.world.poll(&story.sid);
    story.world.cut(candidate, Cause::Closed);
    story.world.pass(1_000);
    assert_eq!(
        story.world.received(parked),
        "",
        "and no more once the candidate is gone"
    );
    story.world.emit(story.socket, "a", "").unwrap();
    assert_eq!(body(&story.world.received(parked)), "42[\"a\"]");
    story.assert_polls();
}

/// The alarm that answers a held GET is armed once, however many GETs come before it goes off.
#[test]
fn a_held_get_that_is_answered_leaves_one_alarm() {
    let mut story = Story::new();
    story.probe_and_poll();
    let start = story.world.now;
    for _ in 0..10 {
        let parked = story.world.poll(&story.sid);
        story.world.emit(story.socket, "a", "").unwrap();
        assert_eq!(body(&story.world.received(parked)), "42[\"a\"]");
        story.world.pass(5);
    }
    let parked = story.world.poll(&story.sid);
    assert_eq!(
        story.world.server.next_timeout(),
        Some(start + Duration::from_millis(100))
    );
    story.world.pass(50);
    assert_eq!(body(&story.world.received(parked)), "6");
    let next = story.world.server.next_timeout().unwrap();
    assert!(next > start + Duration::from_secs(1), "no alarm is left: {next:?}");
}

/// A held GET is due at the same moment as a ping. It takes the ping, and the client that answers
/// the ping lives on.
#[test]
fn a_held_get_may_take_a_ping() {
    let mut story = Story::new();
    let ping = story.world.server.next_timeout().unwrap();
    let wait = ping.saturating_since(story.world.now).as_millis() as u64;
    story.world.pass(wait - 1_000);
    let candidate = story.probe_and_poll();
    story.world.pass(900);
    let parked = story.world.poll(&story.sid);
    story.world.pass(100);
    assert_eq!(body(&story.world.received(parked)), "2");
    assert_eq!(status(&story.world.push(&story.sid, "3")), 200);
    story.world.cut(candidate, Cause::Closed);
    // Longer than the ping timeout, and shorter than to the timeout of the next ping.
    story.world.pass(wait - 1_000);
    story.assert_polls();
}

#[test]
fn without_a_probe_nothing_is_answered_early() {
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    story.world.candidate(&story.sid);
    story.world.pass(1_000);
    assert_eq!(story.world.received(parked), "");
}

#[test]
fn five_without_a_probe_is_an_upgrade() {
    let mut story = Story::new();
    let candidate = story.world.candidate(&story.sid);
    story.world.send(candidate, &text("5"));
    story.assert_upgraded(candidate);
}

#[test]
fn five_while_a_get_is_parked() {
    let mut story = Story::new();
    let parked = story.world.poll(&story.sid);
    let candidate = story.world.candidate(&story.sid);
    story.world.send(candidate, &text("5"));
    assert_eq!(body(&story.world.received(parked)), "1");
    story.assert_upgraded(candidate);
}

#[test]
fn a_second_candidate_is_closed_and_the_first_unaffected() {
    let mut story = Story::new();
    let first = story.probe();
    for _ in 0..3 {
        let second = story.world.candidate(&story.sid);
        assert_eq!(story.world.frames(second), ["close"]);
        assert_eq!(story.world.ended.pop(), Some(second));
        story.world.send(second, &text("5"));
    }
    story.world.send(first, &text("5"));
    story.assert_upgraded(first);
    let third = story.world.candidate(&story.sid);
    assert_eq!(story.world.frames(third), ["close"]);
    story.assert_upgraded(first);
}

/// The bytes of a bad candidate are lost, but the session is not.
#[test]
fn a_candidate_that_misbehaves_is_closed() {
    for packets in [
        vec![text("42[\"lost\"]")],
        vec![text("2")],
        vec![text("2probe2")],
        vec![text("3")],
        vec![text("1")],
        vec![text("6")],
        vec![text("")],
        vec![text("x")],
        vec![text("40")],
        vec![text("4x")],
        vec![binary(b"x")],
        vec![text("2probe"), text("42[\"lost\"]")],
        vec![text("2probe"), text("3")],
    ] {
        for at_once in [true, false] {
            let mut story = Story::new();
            let candidate = story.world.candidate(&story.sid);
            if at_once {
                story.world.send(candidate, &packets.concat());
            } else {
                packets.iter().for_each(|packet| story.world.send(candidate, packet));
            }
            assert_eq!(story.world.frames(candidate).last().unwrap(), "close");
            assert_eq!(story.world.ended, [candidate]);
            assert_eq!(story.world.heard(), [""; 0]);
            story.assert_polls();
            let candidate = story.probe();
            story.world.send(candidate, &text("5"));
            story.assert_upgraded(candidate);
        }
    }
}

#[test]
fn a_candidate_may_close_or_break_and_another_may_come() {
    for probed in [false, true] {
        for how in [Some(Cause::Closed), Some(Cause::Failed), None] {
            let mut story = Story::new();
            let candidate = if probed {
                story.probe()
            } else {
                story.world.candidate(&story.sid)
            };
            match how {
                Some(cause) => story.world.cut(candidate, cause),
                None => story.world.send(candidate, &[0xff, 0xff, 0xff]), // not a valid frame
            }
            story.assert_polls();
            let candidate = story.probe();
            story.world.send(candidate, &text("5"));
            story.assert_upgraded(candidate);
        }
    }
}

/// A client has this time until its probe, and again from the answer until its `5`. It gets no more
/// time by further probes.
#[test]
fn an_upgrade_must_not_take_longer_than_its_timeout() {
    for probed in [false, true] {
        let mut story = Story::new();
        let candidate = story.world.candidate(&story.sid);
        if probed {
            story.world.pass(5_000);
            story.world.send(candidate, &text("2probe"));
            story.world.pass(4_999);
            story.world.send(candidate, &text("2probe"));
            story.world.pass(5_000);
        } else {
            story.world.pass(9_999);
        }
        assert_eq!(story.world.ended, []);
        story.world.pass(1);
        assert_eq!(story.world.frames(candidate).last().unwrap(), "close");
        assert_eq!(story.world.ended, [candidate]);
        story.assert_polls();
        let late = story.probe();
        story.world.pass(9_999);
        story.world.send(late, &text("5"));
        story.assert_upgraded(late);
    }
}

/// The deadline of an earlier candidate does not apply to a later one.
#[test]
fn each_candidate_has_its_own_deadline() {
    let mut story = Story::new();
    let first = story.probe();
    story.world.pass(6_000);
    story.world.cut(first, Cause::Closed);
    let second = story.probe();
    story.world.pass(6_000);
    assert_eq!(story.world.ended, []);
    story.world.send(second, &text("5"));
    story.assert_upgraded(second);
}

#[test]
fn what_the_server_says_between_3probe_and_5_arrives_once() {
    // To the next GET if one comes,
    let mut story = Story::new();
    let candidate = story.probe();
    story.world.emit(story.socket, "a", "1").unwrap();
    story.world.emit(story.socket, "a", "2").unwrap();
    assert_eq!(story.world.frames(candidate), [""; 0]);
    assert_eq!(body(&story.world.fetch(&story.sid)), "42[\"a\",1]\u{1e}42[\"a\",2]");
    story.world.emit(story.socket, "a", "3").unwrap();
    story.world.send(candidate, &text("5"));
    assert_eq!(story.world.frames(candidate), ["42[\"a\",3]"], "else to the websocket");
    story.assert_upgraded(candidate);
    // or to the GET that is parked.
    let mut story = Story::new();
    let candidate = story.probe_and_poll();
    let parked = story.world.poll(&story.sid);
    story.world.emit(story.socket, "a", "1").unwrap();
    assert_eq!(body(&story.world.received(parked)), "42[\"a\",1]");
    story.world.send(candidate, &text("5"));
    assert_eq!(story.world.frames(candidate), [""; 0]);
}

#[test]
fn a_post_in_flight_is_read_before_what_follows_5() {
    for (pieces, held) in [(1, false), (100, false), (1, true), (100, true)] {
        let mut story = Story::new();
        let candidate = story.probe_and_poll();
        let link = story.world.open();
        let request = post(&session(&story.sid), "42[\"m\",1]\u{1e}42[\"m\",2]");
        let (head, rest) = request.split_at(request.len() - 5);
        story.world.send(link, head);
        let parked = held.then(|| story.world.poll(&story.sid));
        story.world.send(candidate, &text("5"));
        story
            .world
            .send(candidate, &[text("42[\"m\",3]"), text("42[\"m\",4]")].concat());
        assert_eq!(story.world.heard(), [""; 0]);
        story.world.emit(story.socket, "s", "").unwrap();
        assert_eq!(
            story.world.frames(candidate),
            [""; 0],
            "the switch has not been made yet"
        );
        rest.chunks(pieces).for_each(|piece| story.world.send(link, piece));
        assert_eq!(status(&story.world.received(link)), 200);
        assert_eq!(
            story.world.heard(),
            ["event m 1", "event m 2", "event m 3", "event m 4"]
        );
        match parked {
            Some(parked) => assert!(body(&story.world.received(parked)).starts_with("42[\"s\"]")),
            None => assert_eq!(story.world.frames(candidate), ["42[\"s\"]"]),
        }
        story.assert_upgraded(candidate);
    }
}

/// After `5` there is no way back to polling, whatever happens to the POST that the switch waits
/// for.
#[test]
fn a_switch_that_waits_for_a_post_is_not_forgotten() {
    let start = || {
        let mut story = Story::new();
        let candidate = story.probe();
        let link = story.world.open();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            session(&story.sid)
        );
        story.world.send(link, head.as_bytes());
        story
            .world
            .send(candidate, &[text("5"), text("42[\"after\"]")].concat());
        assert_eq!(story.world.heard(), [""; 0]);
        (story, link, candidate)
    };
    let (mut story, link, candidate) = start();
    story.world.pass(11_000);
    assert_eq!(story.world.ended, [], "the deadline of the upgrade is met");
    story.world.send(link, b"9\r\n42[\"slow\"\r\n1\r\n]\r\n0\r\n\r\n");
    assert_eq!(story.world.heard(), ["event slow ", "event after "]);
    story.assert_upgraded(candidate);

    // The packets of a body that is too large are lost, and the session ends.
    let (mut story, link, _) = start();
    story.world.send(link, b"fffff\r\n");
    assert_eq!(status(&story.world.received(link)), 413);
    assert_eq!(story.world.heard(), ["disconnect transport error"]);

    let (mut story, link, _) = start();
    story.world.cut(link, Cause::Failed);
    assert_eq!(story.world.heard(), ["disconnect transport error"]);
    assert_eq!(story.world.sessions(), 0);

    for (cause, reason) in [(Cause::Closed, "transport close"), (Cause::Failed, "transport error")] {
        let (mut story, _, candidate) = start();
        story.world.cut(candidate, cause);
        assert_eq!(story.world.heard(), [format!("disconnect {reason}")]);
        assert_eq!(story.world.sessions(), 0);
    }

    let (mut story, _, candidate) = start();
    for _ in 0..20 {
        story.world.send(candidate, &text("42[\"more\"]"));
    }
    assert_eq!(
        story.world.heard(),
        ["disconnect transport error"],
        "not everything can be kept"
    );
    assert_eq!(story.world.frames(candidate), ["close"]);
    assert_eq!(story.world.sessions(), 0);
}

#[test]
fn the_revision_cannot_change() {
    let mut story = Story::new();
    for version in ["EIO=3&", "EIO=5&", "EIO=04&", ""] {
        let target = websocket(&story.sid).replace("EIO=4&", version);
        let answer = story.world.ask(&upgrade(&target));
        assert_eq!((status(&answer), body(&answer)), (400, "Bad request"));
    }
    let candidate = story.probe();
    story.world.send(candidate, &text("5"));
    story.assert_upgraded(candidate);
}

/// The state of the session when it closes: it has a candidate, the candidate has probed, a GET is
/// parked.
#[test]
fn a_session_that_closes_takes_its_candidate_with_it() {
    for probed in [false, true] {
        for parked in [false, true] {
            for how in ["client", "server", "error", "timeout", "shutdown"] {
                let mut story = Story::new();
                if how == "timeout" {
                    story.world.pass(25_000);
                    assert_eq!(body(&story.world.fetch(&story.sid)), "2");
                    story.world.pass(15_000);
                }
                let parked = parked.then(|| story.world.poll(&story.sid));
                let candidate = story.world.candidate(&story.sid);
                if probed {
                    story.world.send(candidate, &text("2probe"));
                }
                match how {
                    "client" => assert_eq!(body(&story.world.say_goodbye(&story.sid)), "ok"),
                    "error" => assert_eq!(body(&story.world.push(&story.sid, "x")), "ok"),
                    "timeout" => story.world.pass(5_000),
                    "shutdown" => story.world.command(sio_proto::server::Command::Shutdown {
                        reason: sio_proto::server::Reason::ServerShuttingDown,
                    }),
                    _ => story.world.disconnect(story.socket, true),
                }
                // The queued packets and the close come in separate polls.
                let mut waits = matches!(how, "server" | "shutdown") && story.world.sessions() == 1;
                while waits {
                    waits = !body(&story.world.fetch(&story.sid)).ends_with("6\u{1e}1");
                }
                assert_eq!(story.world.sessions(), 0, "{how} {probed}");
                assert_eq!(story.world.frames(candidate).last().unwrap(), "close", "{how}");
                assert!(story.world.ended.contains(&candidate));
                if let Some(parked) = parked {
                    let answer = story.world.received(parked);
                    assert!(!body(&answer).is_empty(), "{how}: {answer}");
                }
                assert_eq!(story.world.heard().len(), 1, "{how}");
                story.world.pass(100_000);
                assert_eq!(story.world.server.next_timeout(), None);
            }
        }
    }
}

#[test]
fn closing_while_probing_completes_on_the_websocket() {
    let mut story = Story::new();
    let candidate = story.probe();
    story.world.emit(story.socket, "last", "").unwrap();
    story.world.disconnect(story.socket, true);
    assert_eq!(story.world.frames(candidate), [""; 0], "what is queued has no way yet");
    story.world.send(candidate, &text("5"));
    assert_eq!(story.world.frames(candidate), ["42[\"last\"]", "41", "close"]);
    assert_eq!((story.world.sessions(), &story.world.ended[..]), (0, &[candidate][..]));
}

/// A step of the client or of the server.
#[derive(Clone, Copy, Debug)]
enum Step {
    Emit,
    Post,
    Get,
    Probe,
    Pass(u16),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Emit),
        3 => Just(Step::Post),
        2 => Just(Step::Get),
        1 => Just(Step::Probe),
        1 => (1u16..400).prop_map(Step::Pass),
    ]
}

/// Everything that a client that keeps the rules has received.
struct Client {
    story: Story,
    parked: Option<LinkId>,
    candidate: Option<LinkId>,
    received: Vec<String>,
    sent: usize,
    emitted: usize,
}

impl Client {
    fn collect(&mut self) {
        if let Some(parked) = self.parked {
            let answer = self.story.world.received(parked);
            if !answer.is_empty() {
                self.parked = None;
                // A GET after the probe may have been sent after the switch. Then it is refused,
                // and carries no packets.
                match status(&answer) {
                    200 => self.received.extend(body(&answer).split('\u{1e}').map(Into::into)),
                    _ => assert_eq!(body(&answer), "{\"code\":3,\"message\":\"Bad request\"}"),
                }
            }
        }
    }

    fn take(&mut self, step: Step, upgraded: bool) {
        match step {
            Step::Emit => {
                let json = self.emitted.to_string();
                self.story.world.emit(self.story.socket, "s", &json).unwrap();
                self.emitted += 1;
            }
            Step::Post => {
                let packet = format!("42[\"c\",{}]", self.sent);
                self.sent += 1;
                match self.candidate.filter(|_| upgraded) {
                    Some(link) => self.story.world.send(link, &text(&packet)),
                    None => assert_eq!(status(&self.story.world.push(&self.story.sid, &packet)), 200),
                }
            }
            Step::Get if self.parked.is_none() && !upgraded => {
                self.parked = Some(self.story.world.poll(&self.story.sid));
            }
            Step::Probe if self.candidate.is_none() => self.candidate = Some(self.story.probe()),
            Step::Pass(millis) => self.story.world.pass(millis.into()),
            Step::Get | Step::Probe => {}
        }
        self.collect();
    }
}

proptest! {
    #![proptest_config(cases::usually(200))]

    /// Whatever happens before and after the switch, no packet is lost, doubled or out of order in
    /// either direction.
    #[test]
    fn nothing_is_lost(before in prop::collection::vec(step(), 0..25), after in prop::collection::vec(step(), 0..15), together in any::<bool>()) {
        let mut client = Client { story: Story::new(), parked: None, candidate: None, received: Vec::new(), sent: 0, emitted: 0 };
        for step in before {
            client.take(step, false);
        }
        client.take(Step::Probe, false);
        let link = client.candidate.unwrap();
        let mut five = text("5");
        if together {
            five.extend(text(&format!("42[\"c\",{}]", client.sent)));
            client.sent += 1;
        }
        client.story.world.send(link, &five);
        client.collect();
        for step in after {
            client.take(step, true);
        }
        client.received.extend(client.story.world.frames(link));
        client.received.retain(|packet| !matches!(&packet[..], "1" | "6" | "3probe"));
        let expected: Vec<String> = (0..client.emitted).map(|i| format!("42[\"s\",{i}]")).collect();
        prop_assert_eq!(&client.received, &expected);
        let expected: Vec<String> = (0..client.sent).map(|i| format!("event c {i}")).collect();
        prop_assert_eq!(client.story.world.heard(), expected);
        client.story.assert_upgraded(link);
    }
}
