//! What is done for clients from which nothing is read for a while.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use std::time::Duration;

use common::*;
use sio_proto::{Config, RateLimit};

/// A client of 1.x or 2.x that polls holds its ping back while its POST waits, and counts the time
/// for the answer nevertheless. So its GETs bring it pongs.
#[test]
fn a_client_of_2_x_that_polls_hears_pongs_while_its_post_waits() {
    let limit = RateLimit::NONE.events(1, 1);
    let mut world = World::new(Config::default().session_rate(limit));
    let opened = world.ask(&get("/socket.io/?EIO=3&transport=polling"));
    let target = format!("/socket.io/?EIO=3&transport=polling&sid={}", sid(&opened));
    let mut poll = world.open();
    world.send(poll, &get(&target));
    assert!(!world.received(poll).contains("1:3"), "nothing waits");
    poll = world.open();
    world.send(poll, &get(&target));
    let waiting = world.open();
    world.send(waiting, &post(&target, &r#"7:42["n"]"#.repeat(60)));
    for seconds in 1..=50 {
        world.pass(1_000);
        if seconds % 5 == 0 {
            assert_eq!(body(&world.received(poll)), "1:3", "after {seconds} s");
            poll = world.open();
            world.send(poll, &get(&target));
        }
    }
    assert_eq!(world.received(waiting), "", "it waits");
    world.pass(15_000);
    assert_eq!(body(&world.received(waiting)), "ok");
    assert_eq!(world.sessions(), 1);
}

/// A client that has read the answer to its probe sends no GET until it has upgraded, and it waits
/// for its POST before that. If the probe is answered while the POST waits, nothing brings the
/// client a pong (1.x and 2.x) or a ping (3.x and 4.x), and it gives its server up.
#[test]
fn a_client_that_upgrades_hears_its_server_while_its_post_waits() {
    let config = Config::default();
    let pause = config.longest_pause();
    let silence = config.ping_interval + config.ping_timeout;
    for version in [3, 4] {
        let mut world = World::new(config.clone());
        let target = format!("/socket.io/?EIO={version}&transport=polling");
        let opened = world.ask(&get(&target));
        let target = format!("{target}&sid={}", sid(&opened));
        if version == 4 {
            assert_eq!(body(&world.ask(&post(&target, "40"))), "ok");
        }
        let _ = world.ask(&get(&target));
        let mut poll = world.open();
        world.send(poll, &get(&target));
        let packet = if version == 3 { r#"7:42["n"]"# } else { r#"42["n"]"# };
        let request = post(&target, packet);
        let (head, rest) = request.split_at(request.len() - packet.len());
        let waiting = world.open();
        world.send(waiting, head);
        let candidate = world.open();
        world.send(candidate, &upgrade(&target.replace("polling", "websocket")));
        world.send(candidate, &text("2probe"));
        let mut heard = world.now;
        let mut is_paused = false;
        for _ in 0..20 {
            // Handlers lag, and the caller hands over nothing of the POST.
            let now = world.now;
            world.shard(|shard, out| {
                let session = shard.session_on(waiting).unwrap();
                shard.excuse(now, session, out);
            });
            world.pass(pause.as_millis() as u64);
            let answer = world.received(poll);
            if answer.ends_with(if version == 3 { "\r\n\r\n1:3" } else { "\r\n\r\n2" }) {
                heard = world.now;
            }
            is_paused |= world.frames(candidate) == ["3probe"];
            if !answer.is_empty() && !is_paused {
                poll = world.open();
                world.send(poll, &get(&target));
            }
            assert!(
                world.now < heard + silence,
                "a client of Engine.IO {version} gives its server up"
            );
        }
        world.send(waiting, rest);
        assert_eq!(body(&world.received(waiting)), "ok");
        assert_eq!(world.frames(candidate), ["3probe"]);
        world.send(candidate, &text("5"));
        let socket = world.last_socket();
        world.assert_works(candidate, socket);
    }
}

/// A rate may pause once for each event. A client that polls needs a new GET after each pong.
#[test]
fn many_pauses_make_few_pongs_for_a_client_of_2_x_that_polls() {
    let config = Config::default();
    let pause = config.longest_pause().as_millis() as u64;
    let half = config.ping_timeout.as_millis() as u64 / 2;
    for every in [10, pause / 2 - 1, pause / 2 + 1, pause] {
        let mut world = World::new(config.clone());
        let opened = world.ask(&get("/socket.io/?EIO=3&transport=polling"));
        let target = format!("/socket.io/?EIO=3&transport=polling&sid={}", sid(&opened));
        assert!(!world.ask(&get(&target)).contains("1:3"), "nothing waits");
        let mut poll = world.open();
        world.send(poll, &get(&target));
        let began = world.now;
        let mut pongs = vec![0];
        while world.now < began + Duration::from_mins(1) {
            world.pass(every);
            let now = world.now;
            world.shard(|shard, out| {
                let session = shard.session_on(poll).unwrap();
                shard.excuse(now, session, out);
            });
            let answer = world.received(poll);
            if !answer.is_empty() {
                assert_eq!(body(&answer), "1:3");
                pongs.push((now.as_micros() - began.as_micros()) / 1_000);
                poll = world.open();
                world.send(poll, &get(&target));
            }
        }
        let gaps: Vec<u64> = pongs.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(gaps.len() >= 6, "{every} ms: {gaps:?}");
        assert!(
            gaps.iter().all(|gap| (1_000..=half).contains(gap)),
            "{every} ms: {gaps:?}"
        );
        assert_eq!(world.sessions(), 1);
    }
}

/// While nothing is read from a client, no attachments can come. After the last pause they have
/// their time.
#[test]
fn attachments_that_wait_for_us_are_not_late() {
    let mut config = Config::default();
    config.attachment_timeout = Duration::from_secs(3);
    let pause = config.longest_pause();
    for comes in [true, false] {
        let mut world = World::new(config.clone());
        let link = world.join();
        world.heard();
        world.send(link, &text(r#"451-["m",{"_placeholder":true,"num":0}]"#));
        for _ in 0..5 {
            let now = world.now;
            world.shard(|shard, out| {
                let session = shard.session_on(link).unwrap();
                shard.excuse(now, session, out);
            });
            world.pass(pause.as_millis() as u64);
        }
        world.pass(2_999);
        assert_eq!(world.breaches, [""; 0]);
        if comes {
            world.send(link, &binary(b"x"));
            assert!(world.heard()[0].starts_with("event m "));
        }
        world.pass(1);
        assert_eq!(world.sessions(), usize::from(comes));
        let late = "late, ends: the attachments of a packet have not come in time";
        assert_eq!(world.breaches.contains(&late.to_owned()), !comes);
    }
}
