//! Limits that an operator can set, each reached and each set to another value than the default.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::time::Duration;

use common::*;
use sio_proto::{Config, Legacy09};

/// What a websocket sends behind its `5` while a POST is under way is bounded
/// ([`Config::max_upgrade_packets`]).
#[test]
fn packets_ahead_of_the_end_of_an_upgrade() {
    for (most, sent, lives) in [(2, 2, true), (2, 3, false), (16, 16, true), (16, 17, false)] {
        let mut world = World::new(Config::default().max_upgrade_packets(most));
        let sid = world.join_polling();
        world.heard();
        let candidate = world.candidate(&sid);
        world.send(candidate, &text("2probe"));
        let other = world.open();
        let head = post(&session(&sid), "42[\"first\"]");
        let (most_of_it, rest) = head.split_at(head.len() - 3);
        world.send(other, most_of_it);
        world.send(candidate, &text("5"));
        for _ in 0..sent {
            world.send(candidate, &text("42[\"then\"]"));
        }
        assert_eq!(world.sessions(), usize::from(lives), "{most} {sent}");
        if lives {
            assert_eq!(world.heard(), [""; 0]);
            world.send(other, rest);
            let heard = world.heard();
            assert_eq!((heard.len(), heard[0].as_str()), (1 + sent, "event first "));
        }
    }
}

/// The same packets are bounded in bytes ([`Config::max_payload`]), whatever they are.
#[test]
fn bytes_ahead_of_the_end_of_an_upgrade() {
    for kind in ["42", "0", "2", "3"] {
        for (bytes, lives) in [(500, true), (501, false)] {
            let mut world = World::new(Config::default().max_payload(1000));
            let sid = world.join_polling();
            let candidate = world.candidate(&sid);
            world.send(candidate, &text("2probe"));
            let other = world.open();
            let head = post(&session(&sid), "42[\"first\"]");
            world.send(other, &head[..head.len() - 3]);
            world.send(candidate, &text("5"));
            let packet = match kind {
                "42" => format!("42[\"{}\"]", "e".repeat(bytes - 6)),
                // The digit of Engine.IO is not counted.
                _ => format!("{kind}{}", "e".repeat(bytes)),
            };
            world.send(candidate, &text(&packet));
            world.send(candidate, &text(&packet));
            assert_eq!(world.sessions(), usize::from(lives), "{kind} {bytes}");
        }
    }
}

/// Packets of 0.7 to 0.9 for a namespace that is not joined yet are bounded
/// ([`Legacy09::max_unjoined_packets`]).
#[test]
fn packets_for_a_namespace_that_is_not_joined() {
    for (most, kept) in [(3, 3), (64, 10)] {
        let config = Config::default().legacy09(Legacy09::default().max_unjoined_packets(most));
        let mut world = World::new(config);
        let answer = world.ask(&get("/socket.io/1/"));
        let id = body(&answer).split(':').next().unwrap().to_owned();
        let path = format!("/socket.io/1/xhr-polling/{id}");
        world.ask(&get(&path));
        world.heard();
        for at in 0..10 {
            world.ask(&post(&path, &format!("5::/a:{{\"name\":\"n\",\"args\":[{at}]}}")));
        }
        assert_eq!(world.heard(), [""; 0], "nobody has joined");
        world.ask(&post(&path, "1::/a"));
        let events = world.heard().iter().filter(|line| line.starts_with("event ")).count();
        assert_eq!(events, kept, "{most}");
    }
}

/// The answer to a goodbye waits for a GET that crosses it ([`Config::crossing_timeout`]).
#[test]
fn the_wait_for_a_request_that_crosses() {
    for millis in [5, 30, 200] {
        let mut world = World::new(Config::default().crossing_timeout(Duration::from_millis(millis)));
        let sid = world.join_polling();
        let link = world.open();
        world.send(link, &post(&session(&sid), "1"));
        world.pass(millis - 1);
        assert_eq!(world.received(link), "", "{millis}");
        world.pass(1);
        assert_eq!(body(&world.received(link)), "ok", "{millis}");
    }
}
