//! Requests that come to a server which does not have their session.

use super::*;
use crate::RelayConfig;
use crate::tests::Counted;
use sio_proto::cluster::relay::RelayEnd;

/// The rest of a websocket's handshake, behind its target.
const UPGRADE_HEAD: &str = "HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                            Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// Servers that pass requests on. At the end, the tasks of the connections that they bring each
/// other are dropped.
struct Relaying(World);

impl std::ops::Deref for Relaying {
    type Target = World;

    fn deref(&self) -> &World {
        &self.0
    }
}

impl Drop for Relaying {
    fn drop(&mut self) {
        crate::tests::drop_tasks();
    }
}

fn world(servers: usize, config: &RelayConfig) -> Relaying {
    relaying(World::of(servers, |cluster| cluster.relay(config.clone())))
}

fn relaying(world: World) -> Relaying {
    for io in &world.servers {
        node(io).set_take_up(crate::host::relay::take_up);
        io.of("/")
            .on("echo", |socket: Socket, args: RawArgs| socket.emit("echo", args));
    }
    Relaying(world)
}

fn get(sid: &str) -> Vec<u8> {
    format!("GET /socket.io/?EIO=4&transport=polling&sid={sid} HTTP/1.1\r\nHost: x\r\n\r\n").into()
}

fn post(sid: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    let head = "HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain;charset=UTF-8";
    format!("POST /socket.io/?EIO=4&transport=polling&sid={sid} {head}\r\nContent-Length: {length}\r\n\r\n{body}")
        .into()
}

/// Opens a session on this server, and returns its id.
fn session(io: &Io) -> String {
    let mut client = Driven::new(io, usize::MAX);
    let _ = client.read(b"GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = client.written();
    let at = answer.find("\"sid\":\"").unwrap_or_else(|| panic!("{answer}")) + 7;
    answer[at..].split('"').next().unwrap().to_owned()
}

/// Sends a request, lets everything happen, and returns what the client reads.
fn ask(world: &World, client: &mut Driven, request: &[u8]) -> String {
    let _ = client.read(request);
    world.settle();
    let _ = client.poll();
    world.settle();
    client.written()
}

/// Lets in a client of this session, whose requests come to this server, and reads its answer.
/// Returns the connection.
fn let_in(world: &World, at: usize, sid: &str) -> Driven {
    let mut client = Driven::new(&world.servers[at], usize::MAX);
    assert!(ask(world, &mut client, &post(sid, "40")).ends_with("\r\n\r\nok"));
    assert!(ask(world, &mut client, &get(sid)).contains("40{\"sid\":"));
    client
}

/// Two servers, a session on the first one, and its client, whose requests come to the second one.
fn misled(config: &RelayConfig) -> (Relaying, String, Driven) {
    let world = world(2, config);
    let sid = session(&world.servers[0]);
    let client = let_in(&world, 1, &sid);
    (world, sid, client)
}

fn counts(io: &Io) -> crate::RelayCounters {
    io.metrics().cluster.unwrap().relays.unwrap()
}

#[test]
fn every_request_may_come_to_another_server() {
    let world = world(3, &RelayConfig::default());
    let sid = session(&world.servers[0]);
    let mut clients: Vec<_> = world.servers.iter().map(|io| Driven::new(io, usize::MAX)).collect();
    let mut next = 0;
    let mut say = |request: &[u8]| {
        next += 1;
        ask(&world, &mut clients[next % 3], request)
    };
    assert!(say(&post(&sid, "40")).ends_with("\r\n\r\nok"));
    let let_in = say(&get(&sid));
    assert!(
        let_in.starts_with("HTTP/1.1 200") && let_in.contains("40{\"sid\":"),
        "{let_in}"
    );
    for number in 0..20 {
        assert!(say(&post(&sid, &format!("42[\"echo\",{number}]"))).ends_with("ok"));
        let heard = say(&get(&sid));
        assert!(heard.ends_with(&format!("42[\"echo\",{number}]")), "{heard}");
    }
    // An own session and those of others, on one connection.
    let own = session(&world.servers[1]);
    assert!(ask(&world, &mut clients[1], &post(&own, "40")).ends_with("ok"));
    assert!(ask(&world, &mut clients[1], &post(&sid, "42[\"echo\",20]")).ends_with("ok"));
    assert!(ask(&world, &mut clients[1], &get(&own)).contains("40{\"sid\":"));
    let counted = [0, 1, 2].map(|at| counts(&world.servers[at]));
    assert!(counted[1].outgoing.total > 10 && counted[2].outgoing.total > 10);
    let total = counted[1].outgoing.total + counted[2].outgoing.total;
    assert_eq!(
        (counted[0].incoming.total, counted[0].incoming.ended(RelayEnd::Answered)),
        (total, total)
    );
    assert_eq!(
        counted.map(|counts| counts.incoming.current + counts.outgoing.current),
        [0; 3]
    );
    assert_eq!(counted.map(|counts| counts.waiting_bytes), [0; 3]);
    assert_eq!(world.servers[0].connections(), 1, "only the client's own is left");
    let text = world.servers[0].metrics().to_prometheus();
    let line = format!("sio_cluster_relays_ended_total{{direction=\"in\",why=\"answered\"}} {total}");
    assert!(text.contains(&line), "{text}");
}

/// A poll that is held is answered when there is something to say, and a POST needs two messages.
#[test]
fn a_held_poll_waits_on_the_other_server() {
    let world = world(2, &RelayConfig::default());
    let sid = session(&world.servers[0]);
    let (mut polls, mut posts) = (
        Driven::new(&world.servers[1], usize::MAX),
        Driven::new(&world.servers[1], usize::MAX),
    );
    let _ = ask(&world, &mut posts, &post(&sid, "40"));
    let _ = ask(&world, &mut polls, &get(&sid));
    assert_eq!(ask(&world, &mut polls, &get(&sid)), "");
    assert_eq!(counts(&world.servers[0]).incoming.current, 1);
    let before = world.redis.borrow().published.len();
    assert!(ask(&world, &mut posts, &post(&sid, "42[\"echo\",1]")).ends_with("ok"));
    assert!(polls.written().ends_with("42[\"echo\",1]"));
    // The POST, its answer, and the answer of the poll.
    assert_eq!(world.redis.borrow().published.len() - before, 3);
    world.servers[0].emit("news", 1);
    assert!(ask(&world, &mut polls, &get(&sid)).ends_with("42[\"news\",1]"));
}

#[test]
fn an_upgrade_goes_through_another_server() {
    let (world, sid, _client) = misled(&RelayConfig::default());
    let mut socket = Driven::new(&world.servers[1], usize::MAX);
    let upgrade = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid} {UPGRADE_HEAD}");
    let answer = ask(&world, &mut socket, upgrade.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 101"), "{answer}");
    assert!(ask(&world, &mut socket, &text("2probe")).ends_with("3probe"));
    assert_eq!(ask(&world, &mut socket, &text("5")), "");
    for number in 0..50 {
        let heard = ask(&world, &mut socket, &text(&format!("42[\"echo\",{number}]")));
        assert!(heard.ends_with(&format!("42[\"echo\",{number}]")), "{heard}");
    }
    assert_eq!(world.servers[0].sockets().len(), 1);
    // The client goes.
    drop(socket);
    world.settle();
    world.pass(Duration::from_secs(1));
    assert_eq!(
        (world.servers[0].sockets().len(), world.servers[0].connections()),
        (0, 0)
    );
    assert_eq!(counts(&world.servers[0]).incoming.ended(RelayEnd::ByClient), 1);
}

/// A thief who makes ids up costs no message, and what comes from another server is not passed on.
#[test]
fn an_unknown_session_is_refused_where_it_comes() {
    let world = world(2, &RelayConfig::default());
    let lonely = World::of(1, Cluster::without_sticky_sessions);
    let foreign = session(&lonely.servers[0]);
    let client = || Driven::new(&world.servers[1], usize::MAX);
    let before = world.redis.borrow().published.len();
    for sid in [&*foreign, &"A".repeat(32), "x"] {
        let answer = ask(&world, &mut client(), &get(sid));
        assert!(answer.contains("Session ID unknown"), "{sid}: {answer}");
    }
    assert_eq!(world.redis.borrow().published.len(), before);
    // A session that has ended is refused by its server.
    let sid = session(&world.servers[0]);
    let other = session(&world.servers[1]);
    let here = ask(&world, &mut client(), &post(&other, "1"));
    assert_eq!(ask(&world, &mut client(), &post(&sid, "1")), here);
    let answer = ask(&world, &mut client(), &get(&sid));
    assert!(
        answer.contains("HTTP/1.1 400") && answer.contains("Session ID unknown"),
        "{answer}"
    );
    assert_eq!(counts(&world.servers[1]).outgoing.total, 2);
    assert_eq!(counts(&world.servers[0]).outgoing.total, 0);
}

#[test]
fn when_the_server_of_a_session_is_killed_its_clients_begin_again() {
    let (world, sid, mut client) = misled(&RelayConfig::default());
    assert_eq!(ask(&world, &mut client, &get(&sid)), "");
    world.redis.borrow_mut().subscriptions[0].clear();
    set_now(now() + 1_500_000);
    let _ = node(&world.servers[1]).handle_timeout(Waker::noop());
    world.settle();
    let _ = client.poll();
    let answer = client.written();
    assert!(
        answer.contains("HTTP/1.1 400") && answer.contains("Session ID unknown"),
        "{answer}"
    );
    // The connection goes on.
    assert!(ask(&world, &mut client, &get(&sid)).contains("Session ID unknown"));
    assert_eq!(counts(&world.servers[1]).outgoing.ended(RelayEnd::Gone), 1);
}

#[test]
fn without_the_broker_the_client_is_told_at_once() {
    let (world, sid, mut client) = misled(&RelayConfig::default());
    assert_eq!(ask(&world, &mut client, &get(&sid)), "");
    let away = || Event::Down {
        why: BrokerError::Closed,
    };
    node(&world.servers[1]).handle_events(&mut vec![away()]);
    let _ = client.poll();
    assert!(client.written().contains("HTTP/1.1 503"));
    let answer = ask(&world, &mut client, &post(&sid, "42[\"echo\",1]"));
    assert!(answer.contains("HTTP/1.1 503") && !answer.contains("close"), "{answer}");
    // Its own sessions go on.
    let own = session(&world.servers[1]);
    assert!(ask(&world, &mut client, &post(&own, "40")).ends_with("ok"));
}

/// A client that does not read is a slow client on the other server: what waits is bounded.
#[test]
fn a_slow_client_is_slow_on_the_other_server_too() {
    let config = RelayConfig::default().max_waiting_bytes(20_000_u32);
    let (world, sid, _client) = misled(&config);
    let large = "x".repeat(400_000);
    world.servers[0].emit("large", &large);
    let mut slow = Driven::new(&world.servers[1], 1_000);
    slow.script.full = true;
    let _ = slow.read(&get(&sid));
    world.settle();
    let counted = counts(&world.servers[1]);
    assert!(counted.waiting_bytes <= 20_000, "{counted:?}");
    assert!(counts(&world.servers[0]).incoming.bytes_out <= 21_000);
    let mut heard = slow.wall.take().len();
    for _ in 0..2_000 {
        slow.wall.room.store(1_000, std::sync::atomic::Ordering::Relaxed);
        slow.script.has_some = true;
        let _ = slow.poll();
        world.settle();
        heard += slow.wall.take().len();
        let waiting = counts(&world.servers[1]).waiting_bytes;
        assert!(waiting <= 20_000, "{waiting}");
    }
    assert!(heard > 400_000, "{heard}");
    assert_eq!(counts(&world.servers[1]).outgoing.current, 0);
}

/// A body that is larger than the first message.
#[test]
fn a_large_body_goes_in_parts() {
    let config = RelayConfig::default().max_waiting_bytes(20_000_u32);
    let (world, sid, mut client) = misled(&config);
    let large = "x".repeat(300_000);
    assert!(ask(&world, &mut client, &post(&sid, &format!("42[\"echo\",\"{large}\"]"))).ends_with("ok"));
    let heard = ask(&world, &mut client, &get(&sid));
    assert!(heard.ends_with(&format!("42[\"echo\",\"{large}\"]")), "{}", heard.len());
    assert_eq!(
        counts(&world.servers[0]).waiting_bytes + counts(&world.servers[1]).waiting_bytes,
        0
    );
}

/// A task is polled only when it is woken. The answer to a large message waits for room at the
/// other server, and nothing is read from the connection meanwhile, because much was read since an
/// answer could leave. The room wakes its task all the same.
#[test]
fn an_answer_that_waits_for_room_leaves_when_there_is_some() {
    let (world, sid, _client) = misled(&RelayConfig::default());
    let mut socket = Driven::new(&world.servers[1], usize::MAX);
    let upgrade = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid} {UPGRADE_HEAD}");
    assert!(ask(&world, &mut socket, upgrade.as_bytes()).starts_with("HTTP/1.1 101"));
    assert!(ask(&world, &mut socket, &text("2probe")).ends_with("3probe"));
    assert_eq!(ask(&world, &mut socket, &text("5")), "");
    let counted = Counted::default();
    let waker = counted.waker();
    crate::tests::run_tasks_with(&waker);
    let mut run_woken = || {
        while counted.take() > 0 {
            crate::tests::run_tasks_with(&waker);
        }
    };
    for size in (140_000..300_000).step_by(10_000) {
        let large = format!("42[\"echo\",\"{}\"]", "x".repeat(size));
        let mut frame = vec![0x81, 0xff];
        frame.extend_from_slice(&(large.len() as u64).to_be_bytes());
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(large.as_bytes());
        let _ = socket.read(&frame);
        let mut heard = String::new();
        for _ in 0..20 {
            world.settle_with(&mut run_woken);
            let _ = socket.poll();
            heard.push_str(&socket.written());
        }
        assert!(heard.ends_with(&large), "{size}: {}", heard.len());
    }
    assert_eq!(counts(&world.servers[0]).waiting_bytes, 0);
}

/// What a client sends right behind the head of its websocket comes to the other server in one
/// batch with the head.
#[test]
fn bytes_behind_the_head_come_in_their_order() {
    for leaves in [false, true] {
        let (world, sid, _client) = misled(&RelayConfig::default());
        let mut socket = Driven::new(&world.servers[1], usize::MAX);
        let upgrade = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid} {UPGRADE_HEAD}");
        let parts = [upgrade.as_bytes(), &text("2probe"), &text("5")].concat();
        let _ = socket.read(&parts);
        let _ = socket.read(&text("42[\"echo\",1]"));
        let socket = (!leaves).then_some(socket);
        let commands = node(&world.servers[1]).take_commands();
        let messages = commands.into_iter().filter_map(|command| match command {
            Command::Publish {
                channel,
                payload,
                sharded,
            } => Some(Event::Message {
                channel,
                payload,
                sharded,
            }),
            _ => None,
        });
        let mut messages: Vec<_> = messages.collect();
        assert_eq!(messages.len(), if leaves { 4 } else { 3 });
        node(&world.servers[0]).handle_events(&mut messages);
        world.settle();
        match socket {
            Some(mut socket) => {
                let heard = socket.written();
                assert!(heard.starts_with("HTTP/1.1 101") && heard.contains("3probe"), "{heard}");
                assert!(heard.ends_with("42[\"echo\",1]"), "{heard}");
            }
            None => assert_eq!(counts(&world.servers[0]).incoming.current, 0),
        }
    }
}

/// The head of a websocket is larger than the first message. What the client sends right behind it
/// waits for its rest.
#[test]
fn bytes_behind_a_large_head_wait_for_its_rest() {
    let config = Config::default().http(sio_proto::http::Limits::default().max_head_bytes(64 << 10));
    let cluster = || {
        Cluster::from_url("redis://127.0.0.1")
            .unwrap()
            .without_sticky_sessions()
    };
    let world = relaying(World::with(&config, vec![cluster(), cluster()]));
    let sid = session(&world.servers[0]);
    let _client = let_in(&world, 1, &sid);
    let mut socket = Driven::new(&world.servers[1], usize::MAX);
    let padding = format!("\r\nX-Padding: {}\r\n\r\n", "x".repeat(40_000));
    let head = UPGRADE_HEAD.replace("\r\n\r\n", &padding);
    let upgrade = format!("GET /socket.io/?EIO=4&transport=websocket&sid={sid} {head}");
    let parts = [upgrade.as_bytes(), &text("2probe"), &text("5"), &text("42[\"echo\",1]")].concat();
    let _ = socket.read(&parts);
    let mut heard = String::new();
    for _ in 0..4 {
        world.settle();
        let _ = socket.poll();
        heard.push_str(&socket.written());
    }
    assert!(heard.starts_with("HTTP/1.1 101") && heard.contains("3probe"), "{heard}");
    assert!(heard.ends_with("42[\"echo\",1]"), "{heard}");
    assert_eq!(counts(&world.servers[0]).waiting_bytes, 0);
}

/// In a cluster with a secret, a server passes requests on, and nobody else does.
#[test]
fn what_is_passed_on_is_signed_with_the_secret() {
    let secret = [7; 32];
    let cluster = || {
        Cluster::from_url("redis://127.0.0.1")
            .unwrap()
            .without_sticky_sessions()
    };
    let clusters = vec![cluster().secret(secret), cluster().secret(secret), cluster()];
    let world = relaying(World::each(clusters));
    let sid = session(&world.servers[0]);
    let _client = let_in(&world, 1, &sid);
    // The third server has no secret. It is not believed, and answers itself when its time is over.
    let mut stranger = Driven::new(&world.servers[2], usize::MAX);
    assert_eq!(ask(&world, &mut stranger, &post(&sid, "42[\"echo\",1]")), "");
    world.pass(Duration::from_secs(6));
    let _ = stranger.poll();
    let refused = stranger.written();
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    let doubted = counts(&world.servers[0]);
    assert!(doubted.unsigned > 0 && doubted.forged == 0, "{doubted:?}");
    let metrics = world.servers[0].metrics().to_prometheus();
    assert!(
        !metrics.contains("sio_cluster_lost_total{why=\"unsigned\"} 0"),
        "{metrics}"
    );
    assert_eq!(counts(&world.servers[1]).outgoing.total, 2);
}

fn pass_and_sweep(world: &World, duration: Duration) {
    world.pass(duration);
    for io in &world.servers {
        crate::adapter::Driver::new(io).sweep();
    }
    world.settle();
}

/// An answer that closes is written to its end, although the client needs longer than a connection
/// lingers.
#[test]
fn the_last_answer_of_a_connection_comes_to_its_end() {
    for reads in [true, false] {
        let config = RelayConfig::default().max_waiting_bytes(20_000_u32);
        let (world, sid, _client) = misled(&config);
        let large = "x".repeat(60_000);
        world.servers[0].emit("large", &large);
        let mut slow = Driven::new(&world.servers[1], 1_000);
        slow.script.full = true;
        let target = format!("/socket.io/?EIO=4&transport=polling&sid={sid}");
        let _ = slow.read(format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes());
        world.settle();
        let mut heard = slow.wall.take().len();
        for _ in 0..80 {
            pass_and_sweep(&world, Duration::from_millis(100));
            slow.wall.room.store(1_000, std::sync::atomic::Ordering::Relaxed);
            slow.script.has_some = reads;
            let _ = slow.poll();
            world.settle();
            heard += slow.wall.take().len();
        }
        assert_eq!(heard > 60_000, reads, "{heard}");
        if reads {
            assert_eq!(counts(&world.servers[0]).incoming.ended(RelayEnd::ByOwner), 0);
        }
        // Whoever reads nothing is not waited for.
        for _ in 0..30 {
            pass_and_sweep(&world, Duration::from_secs(1));
        }
        assert_eq!(counts(&world.servers[0]).incoming.current, 0);
        assert_eq!(world.servers[0].connections(), 0);
    }
}

/// A poll of this server is held, and behind it comes a request of another server's session.
#[test]
fn a_request_behind_a_held_poll_is_passed_on_and_answered() {
    let world = world(2, &RelayConfig::default());
    let (own, foreign) = (session(&world.servers[1]), session(&world.servers[0]));
    let mut client = Driven::new(&world.servers[1], usize::MAX);
    let _ = ask(&world, &mut client, &post(&own, "40"));
    let _ = ask(&world, &mut client, &get(&own));
    assert_eq!(ask(&world, &mut client, &get(&own)), "", "it is held");
    let answers = ask(&world, &mut client, &post(&foreign, "40"));
    assert!(
        answers.starts_with("HTTP/1.1 200") && answers.ends_with("\r\n\r\nok"),
        "{answers}"
    );
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
    // The connection goes on.
    assert!(ask(&world, &mut client, &get(&foreign)).contains("40{\"sid\":"));
    assert!(ask(&world, &mut client, &post(&own, "42[\"echo\",1]")).ends_with("ok"));
    assert_eq!(counts(&world.servers[1]).outgoing.ended(RelayEnd::Answered), 2);
    assert_eq!(counts(&world.servers[1]).outgoing.current, 0);
}
