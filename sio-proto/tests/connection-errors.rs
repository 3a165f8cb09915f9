//! The reports to an application about requests: refused requests, requests that opened a session,
//! and the move of a session to a websocket.
#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;

use common::*;
use sio_proto::http::{Headers, Method, ResponseHeaders};
use sio_proto::server::{
    Admission, Cause, Command, ConnectionError, Delivery, Outputs, Peer, Reason, Refused, Request, Shard,
    TransportKind, Write,
};
use sio_proto::{ByteString, Config, LinkId, Origins, Time, http};

fn told(world: &mut World) -> Vec<ConnectionError> {
    let deliveries = std::mem::take(&mut world.deliveries);
    let errors = deliveries.into_iter().filter_map(|delivery| match delivery {
        Delivery::ConnectionError(error) => Some(*error),
        _ => None,
    });
    errors.collect()
}

fn world() -> World {
    let mut world = World::new(Config::default().max_sessions(1));
    world.shard(|shard, _| shard.tell_connection_errors(true));
    world
        .server
        .allow_request(|request| match request.http.query_pairs().get("token") {
            Some(token) if token == "bad" => Admission::Refused("token expired".into()),
            _ => Admission::Allowed,
        });
    world
}

/// API: connection_error with request, code, message, context.
#[test]
fn each_refusal_is_told_with_its_request() {
    let mut world = world();
    let long = "x".repeat(500);
    for (target, status, code, message, has_context) in [
        (
            "/socket.io/?EIO=4&transport=tin",
            400,
            Some(0),
            "Transport unknown",
            true,
        ),
        (
            "/socket.io/?EIO=4&transport=polling&sid=none",
            400,
            Some(1),
            "Session ID unknown",
            true,
        ),
        (
            "/socket.io/?EIO=4&transport=polling&token=bad",
            403,
            Some(4),
            "token expired",
            true,
        ),
        (
            "/socket.io/?EIO=9&transport=polling",
            400,
            Some(5),
            "Unsupported protocol version",
            true,
        ),
        ("/socket.io/2/", 500, None, "Protocol version not supported.", false),
        ("/socket.io/1/?token=bad", 403, None, "handshake unauthorized", false),
        ("/socket.io/xhr-polling//1?token=bad", 401, None, "unauthorized", false),
    ] {
        let agent = format!("User-Agent: Agent {long}");
        let answer = world.ask(&request("GET", target, &["Origin: http://localhost", &agent], ""));
        assert_eq!(common::status(&answer), status, "{target}");
        let errors = told(&mut world);
        let [error] = &errors[..] else {
            panic!("{target}: {errors:?}")
        };
        assert_eq!((error.status, error.code), (status, code), "{target}");
        assert_eq!(error.message, message, "{target}");
        assert_eq!(error.context.is_some(), has_context, "{target}");
        assert_eq!(error.method, Method::Get);
        assert_eq!(error.path, target.split('?').next().unwrap());
        assert_eq!(error.origin.as_deref(), Some("http://localhost"));
        assert_eq!(error.host.as_deref(), Some("localhost"));
        assert!(error.user_agent.as_ref().unwrap().len() <= 131, "{error:?}");
    }
}

/// API: connection_error: a page that may not connect, a server that is full, a handshake by POST.
/// Nothing is reported about good requests, and nothing if nobody listens.
#[test]
fn strangers_and_crowds_are_told_and_nothing_else() {
    let mut world = world();
    let evil = ["Origin: http://evil.example"];
    world.ask(&request("GET", POLLING, &evil, ""));
    let error = told(&mut world).pop().unwrap();
    assert_eq!((error.code, &*error.message), (Some(4), "Forbidden"));
    assert_eq!(error.context, Some("this origin is not one of Config::origins"));
    world.ask(&post(POLLING, ""));
    let error = told(&mut world).pop().unwrap();
    assert_eq!((error.code, error.method), (Some(2), Method::Post));
    world.join_polling();
    assert_eq!(told(&mut world), []);
    world.ask(&get(POLLING));
    let error = told(&mut world).pop().unwrap();
    assert_eq!(
        (error.status, error.code, &*error.message),
        (503, None, "Service Unavailable")
    );
    // The generations before 1.0 have no texts of their own. What the operator may have to change
    // is told all the same, and a request that makes no sense is told as well.
    for (target, status, context) in [
        ("/socket.io/1/", 403, true),
        ("/socket.io/xhr-polling//1", 401, true),
        ("/socket.io/xhr-polling/1/2/3/4/5", 400, false),
    ] {
        let page = if context { evil[0] } else { "Origin: http://localhost" };
        let answer = world.ask(&request("GET", target, &[page], ""));
        let error = told(&mut world).pop().unwrap();
        assert_eq!((common::status(&answer), error.status), (status, status), "{target}");
        let expected = context.then_some("this origin is not one of Config::origins");
        assert_eq!(error.context, expected, "{target}");
    }
    world.shard(|shard, _| shard.tell_connection_errors(false));
    world.ask(&get("/socket.io/?EIO=4&transport=tin"));
    assert_eq!(told(&mut world), []);
}

/// API: connection_error: the path of an old client may hold its secret.
#[test]
fn no_id_of_a_session_is_told() {
    let mut world = world();
    let id = "A".repeat(32);
    world.ask(&request("PUT", &format!("/socket.io/1/xhr-polling/{id}"), &[], ""));
    let errors = told(&mut world);
    assert!(!errors.is_empty());
    assert!(errors.iter().all(|error| !error.path.contains("AAAA")), "{errors:?}");
}

/// API: on_upgrade: each socket of the session is told, once.
#[test]
fn the_move_to_a_websocket_is_told() {
    let mut world = World::new(Config::default());
    let sid = world.join_polling();
    let socket = world.last_socket();
    world.deliveries.clear();
    let link = world.open();
    world.send(
        link,
        &upgrade(&format!("/socket.io/?EIO=4&transport=websocket&sid={sid}")),
    );
    world.send(link, &text("2probe"));
    assert_eq!(world.deliveries.len(), 0, "{:?}", world.deliveries);
    world.send(link, &text("5"));
    let [Delivery::Upgraded { socket: its, transport }] = &world.deliveries[..] else {
        panic!("{:?}", world.deliveries)
    };
    assert_eq!((*its, *transport), (socket, TransportKind::WebSocket));
}

/// API: EngineSocket: transport, and its upgrade.
#[test]
fn a_raw_session_moves_as_well() {
    let mut world = World::new(Config::default().engine_path("/engine.io"));
    let sid = sid(&world.ask(&get("/engine.io/?EIO=4&transport=polling")));
    let Some(Delivery::EngineOpen { session, .. }) = world.deliveries.pop() else {
        panic!("{:?}", world.deliveries)
    };
    let transport = |world: &mut World| world.shard(|shard, _| shard.engine_transport(session));
    assert_eq!(transport(&mut world), Some(TransportKind::Polling));
    let link = world.open();
    world.send(
        link,
        &upgrade(&format!("/engine.io/?EIO=4&transport=websocket&sid={sid}")),
    );
    world.send(link, &text("2probe"));
    world.send(link, &text("5"));
    let [
        Delivery::EngineUpgraded {
            session: its,
            transport: to,
        },
    ] = &world.deliveries[..]
    else {
        panic!("{:?}", world.deliveries)
    };
    assert_eq!((*its, *to), (session, TransportKind::WebSocket));
    assert_eq!(transport(&mut world), Some(TransportKind::WebSocket));
    world.cut(link, Cause::Closed);
    assert_eq!(transport(&mut world), None);
}

fn shard(config: Config) -> Shard {
    Shard::new(config, 0, [7; 16], Box::new(|bytes: &mut [u8]| bytes.fill(9))).unwrap()
}

fn head(method: Method, target: &str, headers: &[(&str, &str)]) -> http::Request {
    http::Request {
        method,
        target: target.into(),
        version_minor: 1,
        headers: headers.iter().copied().collect::<Headers>(),
        body: Ok(sio_proto::Bytes::new()),
    }
}

/// API: handshake.query as decoded pairs, handshake.time, xdomain.
#[test]
fn the_handshake_says_what_javascript_says() {
    let target = "/socket.io/?EIO=3&transport=polling&name=J%C3%BCrgen+K&name=x%26y&&flag";
    for (headers, xdomain) in [
        (&[("host", "localhost"), ("origin", "http://localhost")][..], true),
        (&[], false),
    ] {
        let mut shard = shard(Config::default());
        let mut request = Request::new(shard.config(), head(Method::Get, target, headers), Peer::default())
            .admission(Admission::Allowed);
        request.unix_time = Some(784_111_777);
        let mut out = Outputs::default();
        shard.handle_request(Time::ZERO, LinkId(0), &mut request, &mut out);
        let handshake = out.deliveries.iter().find_map(|delivery| match delivery {
            Delivery::Connect { handshake, .. } => Some(handshake),
            _ => None,
        });
        let handshake = handshake.unwrap();
        let pairs: Vec<_> = handshake.query_pairs().collect();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (&**key, &**value)).collect();
        assert_eq!(
            pairs,
            [
                ("EIO", "3"),
                ("transport", "polling"),
                ("name", "Jürgen K"),
                ("name", "x&y"),
                ("flag", "")
            ]
        );
        assert_eq!(handshake.unix_time(), Some(784_111_777));
        assert_eq!(handshake.xdomain(), xdomain);
    }
}

/// API: hook for response headers: every answer to the request has them, in each generation.
#[test]
fn the_applications_headers_are_on_every_answer() {
    let upgrade = [
        ("host", "localhost"),
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];
    for (method, target, headers) in [
        (Method::Get, "/socket.io/?EIO=4&transport=polling", &upgrade[..1]),
        (Method::Get, "/socket.io/?EIO=4&transport=websocket", &upgrade[..]),
        (Method::Get, "/socket.io/?EIO=4&transport=tin", &upgrade[..1]),
        (Method::Options, "/socket.io/?EIO=4&transport=polling", &upgrade[..1]),
        (Method::Get, "/socket.io/2/", &upgrade[..1]),
        (Method::Get, "/socket.io/1/xhr-polling/unknown", &upgrade[..1]),
        (Method::Get, "/socket.io/websocket", &upgrade[..]),
    ] {
        let mut shard = shard(Config::default().cors(sio_proto::Cors::any()));
        let mut request =
            Request::new(shard.config(), head(method, target, headers), Peer::default()).admission(Admission::Allowed);
        let mut fields = ResponseHeaders::new();
        fields.add("X-Node", "seven").unwrap();
        request.answer_headers = fields;
        let mut out = Outputs::default();
        shard.handle_request(Time::ZERO, LinkId(0), &mut request, &mut out);
        shard.flush_ready(Time::ZERO, 8, &mut out);
        let has = |fields: &[(&'static str, ByteString)]| fields.iter().filter(|field| field.0 == "X-Node").count();
        let count: usize = out
            .writes
            .iter()
            .map(|write| match write {
                Write::Response(_, response) => has(&response.headers),
                Write::Upgrade(_, upgrade) => has(&upgrade.headers),
                _ => 0,
            })
            .sum();
        assert_eq!(count, 1, "{target}: {:?}", out.writes);
    }
}

/// Each refused request is counted once, by its reason.
#[test]
fn refused_requests_are_counted_by_their_reasons() {
    let mut world = World::new(Config::default().max_sessions(1).origins(Origins::SameHost));
    world
        .server
        .allow_request(|request| match request.http.target.contains("bad") {
            true => Admission::Refused("not you".into()),
            false => Admission::Allowed,
        });
    let seen = |world: &mut World| world.shard(|shard, _| Refused::ALL.map(|why| shard.counters().refused(why)));
    let (here, evil) = ("Origin: http://localhost", "Origin: http://evil.example");
    let script = "/socket.io/?EIO=3&transport=polling&j=0";
    let page = "Referer: http://localhost/page";
    let opened = world.ask(&request("GET", script, &[page], ""));
    let id = sid(&opened.replace('\\', ""));
    // It fetches its `40`, so that it is not ended to make room.
    world.ask(&request("GET", &format!("{script}&sid={id}"), &[page], ""));
    let bare = format!("/socket.io/?EIO=3&transport=polling&sid={id}");
    assert_eq!(seen(&mut world), [0; 5]);
    let mut expected = [0; 5];
    for (target, line, why) in [
        ("/socket.io/?EIO=4&transport=tin", here, Refused::BadRequest),
        ("/socket.io/xhr-polling/1/2/3/4/5", here, Refused::BadRequest),
        (POLLING, evil, Refused::Forbidden),
        ("/socket.io/xhr-polling//1", evil, Refused::Forbidden),
        ("/socket.io/1/", evil, Refused::Forbidden),
        ("/socket.io/?EIO=4&transport=polling&bad", evil, Refused::Forbidden),
        // Only the session shows that the answer would be a script.
        (&*bare, "Accept: */*", Refused::Forbidden),
        ("/socket.io/?EIO=4&transport=polling&bad", here, Refused::Application),
        ("/socket.io/1/?bad", here, Refused::Application),
        ("/socket.io/xhr-polling//1?bad", here, Refused::Application),
        (POLLING, here, Refused::Full),
        ("/socket.io/1/", here, Refused::Full),
    ] {
        let refused = world.ask(&request("GET", target, &[line], ""));
        assert!(status(&refused) >= 400, "{target} {line}: {refused}");
        expected[why as usize] += 1;
        assert_eq!(seen(&mut world), expected, "{target} {line}");
    }
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    world.ask(&request("GET", POLLING, &[here], ""));
    expected[Refused::ShuttingDown as usize] += 1;
    assert_eq!(seen(&mut world), expected);
}

/// A namespace that is not let in because the server has no room for its name leaves no session of
/// an old client behind, whose handshake is the question for it.
#[test]
fn a_handshake_that_cannot_ask_leaves_no_session() {
    for (target, refused) in [("/socket.io/1/", 503), ("/socket.io/xhr-polling//1", 200)] {
        let mut world = World::new(Config::default().max_namespaces(1));
        let link = world.open();
        world.send(link, WEBSOCKET);
        world.send(link, &text("40/a,"));
        world.heard();
        let answer = world.ask(&get(target));
        assert_eq!(status(&answer), refused, "{target}: {answer}");
        assert_eq!(world.heard(), [""; 0], "{target}: nobody is asked");
        world.pass(40_000);
        assert_eq!(world.sessions(), 1, "{target}");
    }
}
