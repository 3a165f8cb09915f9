//! A shard says why it has to be woken. There is one scene for each reason, on a virtual clock.

mod common;

use std::time::Duration;

use common::*;
use sio_proto::Config;
use sio_proto::server::{AckRequest, Cause, Command, TimeoutReason};

/// The next reason, its time since the start, and the session that it is about.
fn next(world: &World) -> (TimeoutReason, u64, String) {
    let next = world.server.next_timeout_reason().expect("a deadline");
    assert_eq!(Some(next.at), world.server.next_timeout(), "both say the same time");
    let session = next.session.map_or_else(String::new, |session| session.to_string());
    (next.reason, next.at.as_micros() / 1_000, session)
}

fn expect(world: &World, reason: TimeoutReason, millis: u64) {
    assert_eq!(next(world), (reason, millis, "0.0".to_owned()));
}

/// Lets time pass from deadline to deadline, until there is none or `is_over` is true. Returns the
/// reasons in their order.
fn reasons_until(world: &mut World, is_over: impl Fn(&mut World) -> bool) -> Vec<TimeoutReason> {
    let mut seen = Vec::new();
    while !is_over(world)
        && let Some(next) = world.server.next_timeout_reason()
    {
        seen.push(next.reason);
        let micros = next.at.saturating_since(world.now).as_micros() as u64;
        world.pass(micros.div_ceil(1_000));
        assert!(seen.len() < 100, "{seen:?}");
    }
    seen
}

fn open_websocket(world: &mut World, target: &str) -> sio_proto::LinkId {
    let link = world.open();
    world.send(link, &upgrade(target));
    world.frames(link);
    link
}

/// The path of a session of 0.9 on this transport, and the session's id in it.
fn handshake09(world: &mut World, transport: &str) -> String {
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().expect("an id").to_owned();
    format!("/socket.io/1/{transport}/{id}")
}

#[test]
fn nobody_is_there_and_nothing_is_wanted() {
    assert_eq!(World::new(Config::default()).server.next_timeout_reason(), None);
}

#[test]
fn the_heartbeat_of_engine_4() {
    let mut world = World::new(Config::default());
    let link = world.join();
    expect(&world, TimeoutReason::Ping, 25_000);
    world.pass(25_000);
    // The time for joining a namespace is over, and the session has joined one.
    expect(&world, TimeoutReason::Pong, 45_000);
    world.send(link, &text("3"));
    expect(&world, TimeoutReason::Nothing, 45_000);
    world.pass(20_000);
    expect(&world, TimeoutReason::Ping, 50_000);
}

#[test]
fn the_heartbeat_of_engine_3_is_the_client_s() {
    let mut config = Config::default();
    config.ping_interval = Duration::from_secs(2);
    config.ping_timeout = Duration::from_secs(3);
    let mut world = World::new(config);
    open_websocket(&mut world, "/socket.io/?EIO=3&transport=websocket");
    expect(&world, TimeoutReason::ClientPing, 5_000);
}

#[test]
fn a_namespace_has_to_be_joined() {
    let mut config = Config::default();
    config.connect_timeout = Duration::from_secs(5);
    let mut world = World::new(config);
    let link = open_websocket(&mut world, "/socket.io/?EIO=4&transport=websocket");
    expect(&world, TimeoutReason::Join, 5_000);
    world.send(link, &text("40"));
    expect(&world, TimeoutReason::Nothing, 5_000);
}

#[test]
fn an_upgrade_answers_polls_and_has_its_time() {
    let mut config = Config::default();
    config.upgrade_timeout = Duration::from_millis(50);
    let mut world = World::new(config);
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    expect(&world, TimeoutReason::Upgrade, 50);
    world.send(candidate, &text("2probe"));
    expect(&world, TimeoutReason::Upgrade, 50);
    // After a POST it has this time again, and its alarm is armed again when it goes off.
    world.pass(20);
    world.push(&sid, "42[\"up\"]");
    expect(&world, TimeoutReason::Nothing, 50);
    world.pass(30);
    expect(&world, TimeoutReason::Upgrade, 70);

    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    expect(&world, TimeoutReason::Upgrade, 10_000);
    world.send(candidate, &text("2probe"));
    for _ in 0..3 {
        world.fetch(&sid);
        expect(&world, TimeoutReason::Upgrade, 10_000);
    }
    world.poll(&sid);
    expect(&world, TimeoutReason::UpgradePoll, 100);
    world.send(candidate, &text("5"));
    expect(&world, TimeoutReason::Nothing, 100);
}

#[test]
fn the_handshake_of_hixie_76_has_to_end() {
    let mut config = Config::default();
    config.upgrade_timeout = Duration::from_secs(1);
    let mut world = World::new(config);
    let link = world.open();
    world.send(
        link,
        b"GET /socket.io/websocket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
          Origin: http://localhost\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
          Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n",
    );
    world.received(link);
    let seen = reasons_until(&mut world, |_| false);
    assert!(seen.contains(&TimeoutReason::WebSocketOpening), "{seen:?}");
}

#[test]
fn a_closed_session_waits_for_a_poll() {
    let mut world = World::new(Config::default());
    world.join_polling();
    world.disconnect(world.last_socket(), true);
    expect(&world, TimeoutReason::Ping, 25_000);
    let seen = reasons_until(&mut world, |_| false);
    assert!(seen.contains(&TimeoutReason::Closing), "{seen:?}");
}

#[test]
fn attachments_have_to_come() {
    let mut config = Config::default();
    config.attachment_timeout = Duration::from_secs(3);
    let mut world = World::new(config);
    let link = world.join();
    world.send(link, &text("451-[\"b\",{\"_placeholder\":true,\"num\":0}]"));
    expect(&world, TimeoutReason::Attachments, 3_000);
    world.send(link, &binary(b"x"));
    expect(&world, TimeoutReason::Nothing, 3_000);
}

#[test]
fn a_link_takes_nothing() {
    let mut config = Config::default();
    config.ping_interval = Duration::from_secs(30);
    config.ping_timeout = Duration::from_secs(1);
    config.connect_timeout = Duration::from_secs(3_600);
    let mut world = World::new(config);
    let link = world.join();
    world.pass(1);
    world.server.handle_blocked(world.now, link, 100);
    let seen = reasons_until(&mut world, |_| false);
    assert!(seen.contains(&TimeoutReason::Stalled), "{seen:?}");
    assert_eq!(world.sessions(), 0);
}

#[test]
fn acknowledgements_are_awaited() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let socket = world.last_socket();
    let timeout = Some(Duration::from_secs(2));
    let ack = Some(AckRequest { id: 7, timeout });
    world.emit_in("/", socket, "ask", "1", ack).expect("room");
    expect(&world, TimeoutReason::Acknowledgement, 2_000);
    let reason = world.server.next_timeout_reason().expect("a deadline");
    assert_eq!(reason.socket, Some(socket));
    assert_eq!(
        reason.to_string(),
        "2.000000s an acknowledgement is awaited, session 0.0, socket 0.0"
    );
    world.send(link, &text("437[]"));
    expect(&world, TimeoutReason::Nothing, 2_000);
}

#[test]
fn a_draining_server_spreads_the_ends_and_waits_for_work() {
    let mut world = World::new(Config::default());
    world.join();
    world.releases = false;
    let (spread, patience) = (Duration::from_secs(10), Duration::from_secs(3));
    world.command(Command::Drain {
        spread,
        patience,
        handover: false,
        pause: None,
    });
    let (reason, at, session) = next(&world);
    assert_eq!((reason, session.as_str()), (TimeoutReason::Drain, "0.0"));
    world.pass(at + 1);
    let (reason, late, _) = next(&world);
    assert_eq!(reason, TimeoutReason::DrainPatience);
    assert!(late.abs_diff(at + 3_000) <= 1);
    world.pass(3_000);
    assert_eq!(world.sessions(), 0);
    let reason = world.server.next_timeout_reason().expect("what was armed runs out");
    assert_eq!((reason.reason, reason.session), (TimeoutReason::Nothing, None));
}

#[test]
fn polls_and_absences_of_0_9() {
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.open();
    world.send(link, &get("/socket.io/1/"));
    let (reason, ..) = next(&world);
    assert_eq!(reason, TimeoutReason::Decision);

    let mut world = World::new(Config::default());
    let path = handshake09(&mut world, "xhr-polling");
    let (reason, ..) = next(&world);
    assert_eq!(reason, TimeoutReason::Absence);
    assert!(world.ask(&get(&path)).ends_with("1::"), "connected");
    let link = world.open();
    world.send(link, &get(&path));
    let seen = reasons_until(&mut world, |world| !world.received(link).is_empty());
    assert_eq!(seen.last(), Some(&TimeoutReason::Poll), "{seen:?}");

    let mut world = World::new(Config::default());
    let path = handshake09(&mut world, "websocket");
    open_websocket(&mut world, &path);
    let seen = reasons_until(&mut world, |_| false);
    let beats = [TimeoutReason::Ping, TimeoutReason::Pong];
    assert!(beats.iter().all(|reason| seen.contains(reason)), "{seen:?}");
}

#[test]
fn polls_and_absences_of_0_6() {
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.open();
    world.send(link, &get("/socket.io/xhr-polling//1"));
    expect(&world, TimeoutReason::Decision, next(&world).1);

    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &get("/socket.io/xhr-polling//1"));
    let id = world.received(link).split("~m~39~m~").nth(1).expect("an id").to_owned();
    assert_eq!(next(&world).0, TimeoutReason::Absence);
    let poll = world.open();
    world.send(poll, &get(&format!("/socket.io/xhr-polling/{id}/2")));
    let seen = reasons_until(&mut world, |world| !world.received(poll).is_empty());
    assert_eq!(seen.last(), Some(&TimeoutReason::Poll), "{seen:?}");
}

/// An alarm is not taken back when its reason has gone. It says so.
#[test]
fn what_has_gone_is_no_reason() {
    // A ping has been answered, and the next one is out.
    let mut config = Config::default();
    config.ping_interval = Duration::from_secs(5);
    config.connect_timeout = Duration::from_secs(3_600);
    let mut world = World::new(config);
    let link = world.join();
    world.pass(6_000);
    world.send(link, &text("3"));
    world.pass(6_000);
    expect(&world, TimeoutReason::Nothing, 25_000);

    // The candidate is gone.
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    world.pass(1_000);
    world.cut(candidate, Cause::Closed);
    expect(&world, TimeoutReason::Nothing, 10_000);

    // The link takes bytes again.
    let mut config = Config::default();
    config.ping_interval = Duration::from_secs(30);
    config.ping_timeout = Duration::from_secs(1);
    config.connect_timeout = Duration::from_secs(3_600);
    let mut world = World::new(config);
    let link = world.join();
    world.pass(500);
    world.server.handle_blocked(world.now, link, 100);
    world.server.handle_drained(world.now, link);
    world.pass(29_500);
    world.send(link, &text("3"));
    world.pass(1_000);
    expect(&world, TimeoutReason::Nothing, 31_500);

    // The session leaves already.
    let mut world = World::new(Config::default());
    world.join();
    world.releases = false;
    for spread in [0, 10] {
        world.command(Command::Drain {
            spread: Duration::from_secs(spread),
            patience: Duration::from_secs(100),
            handover: false,
            pause: None,
        });
    }
    let (reason, at, _) = next(&world);
    assert!(at <= 10_000, "the second command has armed it: {at}");
    assert_eq!(reason, TimeoutReason::Nothing);
}

/// The last bytes of a handshake of hixie-76, whose keys are in the test of its reason.
const HIXIE_76: &[u8] = b"^n:ds[4U";

fn hixie_76(target: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\n\
         Origin: http://localhost\r\nSec-WebSocket-Key1: 4 @1  46546xW%0l 1 5\r\n\
         Sec-WebSocket-Key2: 12998 5 Y3 1  .P00\r\n\r\n"
    )
    .into_bytes()
}

/// The same in the generations before 1.0.
#[test]
fn what_has_gone_is_no_reason_before_1_0_either() {
    let slow = || {
        let mut config = Config::default();
        config.upgrade_timeout = Duration::from_secs(1);
        config.legacy06.heartbeat_interval = Duration::from_secs(5);
        config.legacy06.heartbeat_timeout = Duration::from_secs(30);
        config.legacy06.reconnect_timeout = Duration::from_secs(40);
        config.legacy06.poll_duration = Duration::from_secs(20);
        config.legacy09.heartbeat_interval = Duration::from_secs(5);
        config.legacy09.heartbeat_timeout = Duration::from_secs(30);
        config
    };
    // The handshake is complete.
    let mut world = World::new(slow());
    let path = handshake09(&mut world, "websocket");
    for target in ["/socket.io/websocket", &path] {
        let mut world = World::new(slow());
        let target = match target == path {
            true => handshake09(&mut world, "websocket"),
            false => target.to_owned(),
        };
        let link = world.open();
        world.send(link, &hixie_76(&target));
        assert_eq!(next(&world).0, TimeoutReason::WebSocketOpening, "{target}");
        world.send(link, HIXIE_76);
        expect(&world, TimeoutReason::Nothing, 1_000);
    }

    // A heartbeat has been answered, and the next one is out.
    for (target, answer) in [("/socket.io/websocket", "~m~4~m~~h~1"), (&*path, "2::")] {
        let mut world = World::new(slow());
        let target = match target == path {
            true => handshake09(&mut world, "websocket"),
            false => target.to_owned(),
        };
        let link = open_websocket(&mut world, &target);
        world.pass(6_000);
        world.send(link, &text(answer));
        world.pass(28_900);
        expect(&world, TimeoutReason::Nothing, 35_000);
    }

    // The websocket has gone, and its heartbeat with it.
    let mut world = World::new(slow());
    let link = open_websocket(&mut world, "/socket.io/websocket");
    world.pass(1_000);
    world.cut(link, Cause::Failed);
    expect(&world, TimeoutReason::Nothing, 5_000);
    let mut world = World::new(slow());
    let path = handshake09(&mut world, "websocket");
    open_websocket(&mut world, &path);
    world.pass(1_000);
    assert!(
        world
            .ask(&get(&path.replace("websocket", "xhr-polling")))
            .ends_with("1::")
    );
    expect(&world, TimeoutReason::Nothing, 5_000);

    // A client on a websocket is not absent.
    let mut config = slow();
    config.legacy06.heartbeat_interval = Duration::from_secs(100);
    let mut world = World::new(config);
    open_websocket(&mut world, "/socket.io/websocket");
    expect(&world, TimeoutReason::Nothing, 20_000);
}

/// The table of the reasons is complete, and each reason has its own words.
#[test]
fn every_reason_has_its_words() {
    let words: std::collections::BTreeSet<_> = TimeoutReason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), TimeoutReason::ALL.len());
    assert_eq!(TimeoutReason::Ping.to_string(), "a ping is due");
}
