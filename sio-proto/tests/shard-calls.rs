//! What the caller of a shard asks it beside the usual inputs: messages that were written before,
//! requests in parts, packets without outputs, the pace of clients, and numbers for operators.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::*;
use sio_proto::codec::Streaming;
use sio_proto::server::{
    Admission, BinaryEvent, Breach, BreachKind, Budget, Command, Delivery, Direct, EventsIn, Extension, Form, Message,
    Peer, Posted, Reason, Request, RoomWatch, SendError, Shard, Target, Write,
};
use sio_proto::wire::{Inbound, Wire, WireDecoder};
use sio_proto::{ByteString, Bytes, BytesMut, Config, RateLimit, SocketKey, Time, http};

/// A request with these header fields.
fn head(method: http::Method, target: &str, headers: &[(&str, &str)], body: Bytes) -> http::Request {
    let fields = [("host", "localhost")].iter().chain(headers).copied();
    http::Request {
        method,
        target: target.into(),
        version_minor: 1,
        headers: http::Headers::from_iter(fields),
        body: Ok(body),
    }
}

/// A request that the application allows, with the packets of its body.
fn request_of(shard: &Shard, method: http::Method, target: &str, body: &str) -> Request {
    let head = head(
        method,
        target,
        &[("origin", "http://localhost")],
        Bytes::from(body.to_owned()),
    );
    let mut request = Request::new(shard.config(), head, Peer::default()).admission(Admission::Allowed);
    request.decode_body(shard.config());
    request
}

fn event(name: &'static str) -> Message {
    Message::event("/".into(), name.into(), ByteString::new().into(), None)
}

/// What becomes of an event that was written in one go for clients of 4.x, if it is sent in each of
/// both ways to a client of this form.
fn emit_written(world: &mut World, socket: SocketKey, form: Form) -> [Result<(), SendError>; 2] {
    let now = world.now;
    let config = Config::default();
    let write = |buffer: &mut BytesMut| Direct::event(Form::Engine4, &config, "/", "say", buffer).unwrap();
    world.shard(|shard, _| {
        let mut buffer = BytesMut::new();
        let direct = write(&mut buffer);
        let whole = direct.finish(&[], &mut buffer).unwrap();
        let direct = write(&mut buffer);
        let text = direct.finish_text(&mut buffer).unwrap();
        [
            shard.emit_encoded(now, socket, form, whole),
            shard.emit_text(now, socket, form, text),
        ]
    })
}

/// A message that was written before is sent or refused as any message.
#[test]
fn a_written_message_is_sent_or_refused_as_any_other() {
    let mut world = World::new(Config::default().max_queued_packets(20));
    let budget = Arc::new(Budget::new(10_000));
    let others = Arc::clone(&budget);
    world.shard(|shard, _| shard.share_budget(budget));
    let (link, socket) = world.bystander();
    assert_eq!(emit_written(&mut world, socket, Form::Engine4), [Ok(()); 2]);
    assert_eq!(world.frames(link), ["42[\"say\"]"; 2]);
    let refused = [Err(SendError::Unsupported); 2];
    assert_eq!(emit_written(&mut world, socket, Form::Engine3), refused);

    // It has to wait for its link, and there is no room in the budget.
    world.server.handle_blocked(world.now, link, 0);
    others.recharge(0, 20_000);
    assert_eq!(
        emit_written(&mut world, socket, Form::Engine4),
        [Err(SendError::Full); 2]
    );
    let (flowing, other) = world.bystander();
    assert_eq!(emit_written(&mut world, other, Form::Engine4), [Ok(()); 2]);
    assert_eq!(world.frames(flowing).len(), 2);
    others.recharge(20_000, 0);

    for _ in 0..10 {
        assert_eq!(emit_written(&mut world, socket, Form::Engine4), [Ok(()); 2]);
    }
    assert_eq!(
        emit_written(&mut world, socket, Form::Engine4),
        [Err(SendError::Full); 2]
    );
    let counted = world.shard(|shard, _| (shard.counters().unsent, shard.counters().most_queued_packets));
    assert_eq!(counted, (4, 20));

    world.cut(flowing, sio_proto::server::Cause::Closed);
    assert_eq!(
        emit_written(&mut world, other, Form::Engine4),
        [Err(SendError::Disconnected); 2]
    );
    world.accepts = false;
    let asking = world.open();
    world.send(asking, WEBSOCKET);
    world.send(asking, &text("40"));
    let asks = world.last_socket();
    assert_eq!(
        emit_written(&mut world, asks, Form::Engine4),
        [Err(SendError::Disconnected); 2]
    );
}

/// Arguments of the length that is said to fit do fit, and no longer ones.
#[test]
fn the_longest_arguments_fit_and_no_longer_ones() {
    for form in [Form::Engine4, Form::Engine3] {
        for (namespace, name) in [("/", "say"), ("/admin", "say"), ("/", "\"\u{1}")] {
            let config = Config::default().max_queued_bytes(1_000);
            let fits = |extra: usize| {
                let mut buffer = BytesMut::new();
                let direct = Direct::event(form, &config, namespace, name, &mut buffer).unwrap();
                let args = format!("\"{}\"", "x".repeat(direct.max_args() + extra - 2));
                assert!(args.len() > 800, "{form:?} {name:?}");
                buffer.extend_from_slice(args.as_bytes());
                direct.finish_text(&mut buffer).is_ok()
            };
            assert!(fits(0), "{form:?} {namespace} {name:?}");
            assert!(!fits(1), "{form:?} {namespace} {name:?}");
        }
    }
}

/// The forms of the sessions that there are now, and a number that moves when they may change.
#[test]
fn the_forms_in_use_are_those_of_the_sessions() {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount("/streaming", Streaming);
    let mut world = World::new(config);
    let seen =
        |world: &mut World| world.shard(|shard, _| (shard.forms_in_use().iter().collect::<Vec<_>>(), shard.turnover()));
    let (none, mut last) = seen(&mut world);
    assert_eq!(none, []);
    for (target, form) in [
        ("/socket.io/?EIO=4&transport=websocket", Form::Engine4),
        ("/socket.io/?EIO=3&transport=websocket", Form::Engine3),
        ("/socket.io/websocket", Form::Plain(0)),
        ("/streaming/websocket", Form::Plain(1)),
    ] {
        let links = [(); 2].map(|()| {
            let link = world.open();
            world.send(link, &upgrade(target));
            link
        });
        let (forms, opened) = seen(&mut world);
        assert_eq!(forms, [form]);
        for link in links {
            world.cut(link, sio_proto::server::Cause::Closed);
            // A session of 0.6 waits for its client.
            world.pass(100_000);
        }
        let (forms, ended) = seen(&mut world);
        assert_eq!(forms, [], "{target}");
        assert!(opened != last && ended != opened && ended != last, "{target}");
        last = ended;
    }
}

/// The watch hears of each room, and a broadcast of several shards is one of each.
#[test]
fn rooms_are_watched_and_counted() {
    #[derive(Clone, Default)]
    struct Watch(Arc<Mutex<Vec<String>>>);
    impl RoomWatch for Watch {
        fn begins(&mut self, namespace: &str, room: &str) {
            self.0.lock().unwrap().push(format!("begins {namespace} {room}"));
        }

        fn ends(&mut self, namespace: &str, room: &str) {
            self.0.lock().unwrap().push(format!("ends {namespace} {room}"));
        }
    }
    let watch = Watch::default();
    let mut world = World::new(Config::default());
    world.shard(|shard, _| shard.watch_rooms(Box::new(watch.clone())));
    let clients = [world.bystander(), world.bystander()];
    let count = |world: &mut World| world.shard(|shard, _| shard.room_len("/", "a"));
    assert_eq!(count(&mut world), 0);
    for (_, socket) in clients {
        world.shard(|shard, _| shard.join(socket, "a")).unwrap();
    }
    assert_eq!(count(&mut world), 2);
    let target = Target {
        namespace: "/".into(),
        rooms: vec!["a".into()],
        ..Target::default()
    };
    let now = world.now;
    world.shard(|shard, out| shard.broadcast(now, &target, &mut event("news"), out));
    for (link, socket) in clients {
        assert_eq!(world.frames(link), ["42[\"news\"]"]);
        world.shard(|shard, _| shard.leave(socket, "a"));
    }
    assert_eq!(*watch.0.lock().unwrap(), ["begins / a", "ends / a"]);
}

/// A POST of the same session may be handled before the GET in front of it is answered, and nothing
/// else. The end of the poll takes what waits.
#[test]
fn only_a_post_of_the_same_session_overtakes_a_held_get() {
    let mut world = World::new(Config::default());
    let (own, other) = (session(&world.join_polling()), session(&world.join_polling()));
    let sid = own.rsplit('=').next().unwrap().to_owned();
    let websocket = world.join();
    let idle = world.open();
    let poll = world.poll(&sid);
    let socket = world.sockets[0];
    let may = |world: &mut World, link, method, target: &str| {
        world.shard(|shard, _| {
            let request = request_of(shard, method, target, "42[\"a\"]");
            shard.may_overtake(link, &request)
        })
    };
    assert!(may(&mut world, poll, http::Method::Post, &own));
    assert!(!may(&mut world, poll, http::Method::Get, &own));
    assert!(!may(&mut world, poll, http::Method::Post, &other));
    assert!(!may(&mut world, poll, http::Method::Post, POLLING));
    assert!(!may(&mut world, websocket, http::Method::Post, &own));
    assert!(
        !may(&mut world, idle, http::Method::Post, POLLING),
        "neither is of any session"
    );
    let now = world.now;
    world.shard(|shard, out| {
        shard.emit(now, socket, &mut event("now"), None).unwrap();
        shard.end_poll(now, poll, out);
        assert!(matches!(out.writes[..], [Write::Response(link, _)] if link == poll));
    });
    assert_eq!(body(&world.received(poll)), "42[\"now\"]");
}

/// Whose packets can be sent on another connection.
#[test]
fn packets_come_back_before_1_0_only() {
    let mut world = World::new(Config::default());
    let websocket = world.join();
    let six = world.open();
    world.send(six, &upgrade("/socket.io/websocket"));
    let opened = world.open();
    world.send(opened, &get("/socket.io/xhr-polling//1"));
    let id = body(&world.received(opened)).rsplit('~').next().unwrap().to_owned();
    let socket = world.last_socket();
    let poll = world.open();
    world.send(poll, &get(&format!("/socket.io/xhr-polling/{id}/2")));
    let takes = |world: &mut World, link| world.shard(|shard, _| shard.takes_back(link));
    assert!(!takes(&mut world, poll), "it waits");
    world.emit(socket, "message", "1").unwrap();
    assert!(takes(&mut world, poll), "it was answered");
    assert!(takes(&mut world, six));
    assert!(!takes(&mut world, websocket));
    let nobody = world.open();
    assert!(!takes(&mut world, nobody));
}

/// As long as it is not known which limit a socket will have, one packet is handed over at a time.
#[test]
fn a_client_that_joins_sends_one_packet_at_a_time() {
    let config = Config::default()
        .engine_path("/engine.io")
        .session_rate(RateLimit::NONE.events(10, 5));
    let mut world = World::new(config);
    let pace = |world: &mut World, link| {
        let now = world.now;
        world.shard(|shard, _| {
            let session = shard.session_on(link).unwrap();
            shard.pace(now, session).packets
        })
    };
    let raw = world.open();
    world.send(raw, &upgrade("/engine.io/?EIO=4&transport=websocket"));
    assert_eq!(pace(&mut world, raw), 5);
    let link = world.open();
    world.send(link, WEBSOCKET);
    assert_eq!(pace(&mut world, link), 1, "it has not asked");
    world.accepts = false;
    world.send(link, &text("40"));
    assert_eq!(pace(&mut world, link), 1, "it has asked");
    let now = world.now;
    let accept = |world: &mut World| {
        let socket = world.last_socket();
        world.shard(|shard, out| shard.accept(now, socket, out));
    };
    accept(&mut world);
    assert_eq!(pace(&mut world, link), 5);
    world.send(link, &text("40/a,"));
    assert_eq!(pace(&mut world, link), 1, "it has asked for another namespace");
    accept(&mut world);
    assert_eq!(pace(&mut world, link), 5);

    // A beacon says goodbye. It is not held back.
    world.accepts = true;
    let answer = world.ask(&get("/socket.io/1/"));
    let id = body(&answer).split(':').next().unwrap().to_owned();
    let at = format!("/socket.io/1/xhr-polling/{id}");
    let named = |world: &mut World, target: &str| {
        world.shard(|shard, _| {
            let request = request_of(shard, http::Method::Post, target, "3:::hi");
            shard.session_named_by(&request).is_some()
        })
    };
    assert!(named(&mut world, &at));
    assert!(!named(&mut world, &format!("{at}/?disconnect=1")));
}

/// Hands a POST over packet by packet. Returns the status of each answer, and how many parts there
/// were.
fn in_parts(world: &mut World, target: &str, body: &str) -> (Vec<u16>, usize) {
    let (now, link) = (world.now, world.open());
    let parts = world.shard(|shard, out| {
        let mut request = request_of(shard, http::Method::Post, target, body);
        let mut posted = Posted::new(request.take_packets());
        let mut parts = 1;
        while shard.handle_part(now, link, &request, &mut posted, 1, out) {
            parts += 1;
            assert!(parts < 10, "it has no end");
        }
        parts
    });
    let answers = world.received(link);
    let statuses = answers
        .split("HTTP/1.1 ")
        .skip(1)
        .map(|answer| answer[..3].parse().unwrap());
    (statuses.collect(), parts)
}

/// A POST that is handed over in parts has one answer, and each of its packets is heard once:
/// whatever form the request names, if nobody wants it, and if one of them ends the session.
#[test]
fn a_post_in_parts_is_answered_once() {
    let mut config = Config::default();
    config.legacy06 = config.legacy06.mount("/streaming", Streaming);
    let mut world = World::new(config);
    let events = ["a", "b", "c"].map(|name| format!("42[\"{name}\"]")).join("\u{1e}");
    let target = session(&world.join_polling());
    world.heard();
    for target in [target.clone(), format!("{target}&j=0")] {
        assert_eq!(in_parts(&mut world, &target, &events), (vec![200], 3), "{target}");
        assert_eq!(world.heard(), ["event a ", "event b ", "event c "], "{target}");
    }
    let nobody = target.replace("sid=", "sid=x");
    assert_eq!(in_parts(&mut world, &nobody, &events), (vec![400], 1));
    // A ping is no packet of a client of 4.x.
    let (answers, parts) = in_parts(&mut world, &target, &format!("42[\"a\"]\u{1e}2\u{1e}{events}"));
    assert_eq!((answers.len(), parts), (1, 2));
    assert_eq!(world.heard(), ["event a ", "disconnect transport error"]);

    // A session of the streaming wire: goodbye, and an error that costs it.
    for (body, status, parts, heard) in [
        ("1:2::a,0:0:,1:2::b,", 200, 2, "disconnect client namespace disconnect"),
        ("1:2::a,1:2::b,x!", 400, 3, "disconnect parse error"),
    ] {
        let answer = world.ask(&get("/streaming/xhr-polling//1"));
        let id = common::body(&answer).split("3:39:").nth(1).unwrap()[..39].to_owned();
        world.heard();
        let target = format!("/streaming/xhr-polling/{id}/send");
        let form: String = body.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let answered = in_parts(&mut world, &target, &format!("data={form}"));
        assert_eq!(answered, (vec![status], parts), "{body}");
        assert_eq!(world.heard().last().map(String::as_str), Some(heard), "{body}");
    }
}

/// As long as parts are left, the POST counts as one whose body is coming.
#[test]
fn a_post_that_waits_counts_as_one_that_comes() {
    for second in [true, false] {
        let mut world = World::new(Config::default());
        let sid = world.join_polling();
        world.heard();
        let (now, link) = (world.now, world.open());
        let more = world.shard(|shard, out| {
            let body = "42[\"a\"]\u{1e}42[\"b\"]";
            let mut request = request_of(shard, http::Method::Post, &session(&sid), body);
            let mut posted = Posted::new(request.take_packets());
            shard.handle_part(now, link, &request, &mut posted, 1, out)
        });
        assert!(more);
        match second {
            true => assert_eq!(status(&world.push(&sid, "42[\"c\"]")), 400),
            false => world.shard(|shard, out| {
                shard.handle_closed(now, link, sio_proto::server::Cause::Closed, out);
            }),
        }
        assert_eq!(world.heard(), ["event a ", "disconnect transport error"], "{second}");
        assert_eq!(world.breaches.len(), usize::from(second));
    }
}

/// A heartbeat may be a little late, so that one call serves many. Limits may not.
#[test]
fn only_heartbeats_may_be_late() {
    let mut world = World::new(Config::default());
    let link = world.join();
    let latest = |world: &mut World| world.shard(|shard, _| shard.latest_timeout());
    assert_eq!(world.server.next_timeout(), Some(Time::from_micros(25_000_000)));
    assert_eq!(
        latest(&mut world),
        Some(Time::from_micros(25_000_000 + 20_000_000 / 256))
    );
    world.send(link, &text("451-[\"m\",{\"_placeholder\":true,\"num\":0}]"));
    assert_eq!(latest(&mut world), world.server.next_timeout());
}

/// The rule of a caller is told and counted as the rules of the shard are.
#[test]
fn a_rule_of_the_caller_ends_the_session() {
    let mut world = World::new(Config::default());
    let (link, socket) = world.bystander();
    let (now, breach) = (world.now, Breach::new(BreachKind::Limit, "its handlers lag"));
    world.heard();
    world.shard(|shard, out| shard.disconnect_for(now, socket, breach, out));
    assert_eq!(world.breaches, ["limit, ends: its handlers lag"]);
    let told = world.deliveries.iter().find_map(|delivery| match delivery {
        Delivery::Disconnect { breach, .. } => breach.clone(),
        _ => None,
    });
    assert_eq!(told.map(|breach| breach.kind()), Some(BreachKind::Limit));
    assert_eq!(
        (world.frames(link), world.sessions()),
        (vec!["41".into(), "close".into()], 0)
    );
}

/// Only clients from 3.0 on are told how many of their events have been had, and only if there is
/// room.
#[test]
fn confirmations_are_for_clients_that_know_them() {
    for (target, told) in [
        ("/socket.io/?EIO=4&transport=websocket", true),
        ("/socket.io/?EIO=3&transport=websocket", false),
    ] {
        let mut world = World::new(Config::default().max_queued_packets(10));
        let link = world.open();
        world.send(link, &upgrade(target));
        world.send(link, &text("40"));
        world.frames(link);
        let (now, socket) = (world.now, world.last_socket());
        let confirm = |world: &mut World| world.shard(|shard, out| shard.confirm(now, socket, 7, out));
        assert_eq!(confirm(&mut world), told, "{target}");
        let expected = if told {
            vec!["40{\"sio.confirmed\":7}".to_owned()]
        } else {
            vec![]
        };
        assert_eq!(world.frames(link), expected, "{target}");
        world.server.handle_blocked(world.now, link, 0);
        for _ in 0..10 {
            world.emit(socket, "m", "").unwrap();
        }
        assert!(!confirm(&mut world), "{target}: no room");
    }
}

/// The values of the caller come back: that of each request when it has been handled, and that of a
/// session when it ends. Dropping them is not the work of a shard.
#[test]
fn extensions_come_back() {
    let mut world = World::new(Config::default());
    let (now, link) = (world.now, world.open());
    let value: Extension = Arc::new(7u32);
    let released = world.shard(|shard, out| {
        let mut request = request_of(shard, http::Method::Get, POLLING, "");
        request.extension = Some(Arc::clone(&value));
        shard.handle_request(now, link, &mut request, out);
        std::mem::take(&mut out.released)
    });
    assert_eq!(released.len(), 1, "that of the request");
    drop(released);
    assert_eq!(Arc::strong_count(&value), 2, "that of the session");
    let released = world.shard(|shard, out| {
        let reason = Reason::ServerShuttingDown;
        shard.handle_command(now, Command::Shutdown { reason }, out);
        shard.handle_timeout(now + Duration::from_secs(100), out);
        std::mem::take(&mut out.released)
    });
    assert_eq!((released.len(), Arc::strong_count(&value)), (1, 2));
}

/// The packets of these texts, and the buffer that they have been read from. A text that begins
/// with `b` stands for the bytes behind it.
fn decoded(texts: &[&str]) -> (Vec<Inbound>, Bytes) {
    let (config, mut packets) = (Config::default(), Vec::new());
    let mut decoder = WireDecoder::new(Wire::Engine4, &config);
    let buffer = Bytes::from([texts.concat().as_bytes(), &[b' '; 1_000]].concat());
    let mut at = 0;
    for text in texts {
        let (start, end) = (at, at + text.len());
        at = end;
        match text.strip_prefix('b') {
            None => {
                let text = ByteString::try_from(buffer.slice(start..end)).unwrap();
                decoder.decode_text(text, &config, &mut packets);
            }
            Some(_) => decoder.decode_binary(buffer.slice(start + 1..end), &config, &mut packets),
        }
    }
    (packets, buffer)
}

const PART: &str = r#"451-["name",{"_placeholder":true,"num":0}]"#;

/// A packet that waits for its attachments keeps nothing else of the read or of the POST that it
/// has come in.
#[test]
fn a_part_that_waits_keeps_no_buffer() {
    let mut world = World::new(Config::default());
    let (link, now) = (world.join(), world.now);
    for texts in [&[PART][..], &[r#"42["a"]"#, PART]] {
        world.heard();
        let (mut packets, buffer) = decoded(texts);
        world.shard(|shard, out| shard.handle_packets(now, link, &mut packets, out));
        world.deliveries.clear();
        assert!(buffer.is_unique(), "{texts:?}");
        world.send(link, &binary(b"x"));
        assert_eq!(world.heard(), ["event name {\"_placeholder\":true,\"num\":0} b\"x\""]);
    }

    let target = session(&world.join_polling());
    let large = format!(r#"42["large","{}"]"#, "x".repeat(100_000));
    let body = Bytes::from([PART, "bAQ", &large, PART].join("\u{1e}"));
    let link = world.open();
    world.shard(|shard, out| {
        let head = head(http::Method::Post, &target, &[], body.clone());
        let mut request = Request::new(shard.config(), head, Peer::default());
        request.decode_body(shard.config());
        shard.handle_request(now, link, &mut request, out);
    });
    world.deliveries.clear();
    assert!(body.is_unique());
}

/// Who waits for room behind a poll is told when the poll has been answered.
#[test]
fn room_behind_a_poll_is_told() {
    let mut world = World::new(Config::default().max_queued_bytes(1_000));
    let sid = world.join_polling();
    let socket = world.last_socket();
    world.emit(socket, "m", &format!("\"{}\"", "x".repeat(600))).unwrap();
    let roomy = |world: &mut World| {
        world.shard(|shard, _| {
            let mut roomy = Vec::new();
            shard.take_roomy(&mut roomy);
            roomy
        })
    };
    assert_eq!(world.shard(|shard, _| shard.await_room(socket, 10)), Some(false));
    assert_eq!(roomy(&mut world), []);
    world.fetch(&sid);
    assert_eq!(roomy(&mut world), [socket]);
}

/// The only packets of links are taken without outputs, from links that take them and for which
/// nobody waits. They count as any others.
#[test]
fn single_frames_are_taken_from_links_that_flow() {
    let mut world = World::new(Config::default().max_queued_bytes(2_000));
    let clients = [(); 3].map(|()| world.bystander());
    let now = world.now;
    let large = format!("\"{}\"", "x".repeat(1_500));
    let take = |world: &mut World, sockets: &[SocketKey], args: &str, before: &mut dyn FnMut(&mut Shard)| {
        world.shard(|shard, out| {
            for socket in sockets {
                let args = ByteString::from(args).into();
                let mut message = Message::event("/".into(), "m".into(), args, None);
                shard.emit(now, *socket, &mut message, None).unwrap();
            }
            before(shard);
            let mut links = Vec::new();
            let taken = shard.take_frames(now, 10, out, |link, _| links.push(link));
            assert_eq!(taken, links.len());
            (links, shard.ready_links())
        })
    };
    let sockets = clients.map(|(_, socket)| socket);
    let (links, left) = take(&mut world, &sockets, "1", &mut |_| ());
    assert_eq!((links, left), (clients.map(|(link, _)| link).to_vec(), 0));
    assert!(clients.into_iter().all(|(link, _)| world.received(link).is_empty()));

    let (link, socket) = clients[0];
    let (links, _) = take(&mut world, &[socket], &large, &mut |_| ());
    assert_eq!(links, [link]);
    assert!(world.shard(|shard, _| shard.counters().most_queued_bytes) > 1_500);

    let (links, _) = take(&mut world, &[socket], "1", &mut |shard| {
        shard.handle_blocked(now, link, 0)
    });
    assert_eq!(links, []);
    world.server.handle_drained(now, link);
    world.settle();
    assert_eq!(world.frames(link), ["42[\"m\",1]"]);

    let (links, _) = take(&mut world, &[socket], &large, &mut |shard| {
        assert_eq!(shard.await_room(socket, 10), Some(false));
    });
    assert_eq!(links, []);
    let roomy = world.shard(|shard, _| {
        let mut roomy = Vec::new();
        shard.take_roomy(&mut roomy);
        roomy
    });
    assert_eq!((roomy, world.frames(link).len()), (vec![socket], 1));

    // What an old client was given so may be lost with its link.
    let link = world.open();
    world.send(link, &upgrade("/socket.io/websocket"));
    let socket = world.last_socket();
    let (links, _) = take(&mut world, &[socket], "1", &mut |_| ());
    assert_eq!(links, [link]);
    world.cut(link, sio_proto::server::Cause::Closed);
    assert_eq!(world.shard(|shard, _| shard.counters().unconfirmed), 1);
}

/// Events are taken without outputs only from the websocket that is the transport, with all the
/// attachments that they name.
#[test]
fn events_are_taken_from_the_transport_and_whole() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let candidate = world.candidate(&sid);
    let link = world.join();
    let (packets, _) = decoded(&[r#"42["a"]"#]);
    let takes = |world: &mut World, link| {
        world.shard(|shard, _| {
            let events = EventsIn::of(&packets, &shard.config().packet).unwrap();
            shard.take_events(link, &events, |_| true)
        })
    };
    assert!(takes(&mut world, link));
    assert!(!takes(&mut world, candidate));
    world.send(candidate, &text("2probe"));
    assert!(!takes(&mut world, candidate));
    world.send(candidate, &text("5"));
    assert!(takes(&mut world, candidate));

    let limits = Config::default().packet;
    let two = r#"452-["e",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]"#;
    let one = r#"452-["e",{"_placeholder":true,"num":0}]"#;
    assert!(EventsIn::of(&decoded(&[one, "b1", "b2"]).0, &limits).is_none());
    let (mut packets, _) = decoded(&[two, "b1", "b2"]);
    assert_eq!(EventsIn::of(&packets, &limits).unwrap().count(), 1);
    let (event, length) = BinaryEvent::take(&mut packets, Vec::new()).unwrap();
    assert_eq!((length, &*event.name), (3, "e"));
    assert_eq!(event.args.attachments, ["1", "2"]);
}

/// A client that is too fast is ended by the POST that was too much, and not by what comes later.
#[test]
fn a_post_that_is_too_much_ends_its_session_at_once() {
    let limit = RateLimit::NONE.events(1, 2).excess(sio_proto::Excess::Disconnect);
    let mut world = World::new(Config::default().session_rate(limit));
    let target = session(&world.join_polling());
    let (now, link) = (world.now, world.open());
    let left = world.shard(|shard, out| {
        let body = "42[\"a\"]\u{1e}42[\"a\"]\u{1e}42[\"a\"]";
        let mut request = request_of(shard, http::Method::Post, &target, body);
        shard.handle_request(now, link, &mut request, out);
        let polled = shard.sessions();
        assert!(
            out.deliveries
                .iter()
                .any(|delivery| matches!(delivery, Delivery::Breach { .. }))
        );
        polled
    });
    assert_eq!(left, 1, "its next poll tells it");
    assert_eq!(world.breaches, ["rate, ends: the client sends faster than it may"]);
}
