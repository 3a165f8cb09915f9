//! Who may know which id, and what each id permits. The public id addresses a socket. The secret id
//! lets its owner act as the client. Neither lets anybody listen to another client.

#![allow(clippy::unwrap_used, reason = "what is not a test here is part of one")]

mod common;
mod older;

use std::net::SocketAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::*;
use older::*;
use sio_proto::http;
use sio_proto::server::{
    Admission, Delivery, Generation, Outputs, Peer, Request, Routed, Router, SendError, Server, Shard, Welcome, Write,
};
use sio_proto::{Bytes, Config, LinkId, SocketKey, Time};

const ENGINE3: &str = "/socket.io/?EIO=3&transport=polling";
const HANDSHAKE09: &str = "/socket.io/1/?t=1";
const NOT_HANDSHAKEN: &str = "7:::1+0";

/// A client of one generation that has sent nothing yet.
struct Client {
    generation: Generation,
    /// The secret id, as the server has sent it.
    secret: String,
    socket: SocketKey,
    /// Its public id.
    id: String,
    wire_id: String,
}

/// The last socket that asked to connect, and its client.
fn last_client(world: &mut World, secret: String) -> Client {
    let asked = world.deliveries.drain(..).rev().find_map(|delivery| match delivery {
        Delivery::Connect {
            socket,
            sid,
            wire_id,
            namespace,
            generation,
            ..
        } => Some(Client {
            generation,
            secret: secret.clone(),
            socket,
            id: sid.to_string(),
            wire_id: wire_id.map_or_else(|| sid.to_string(), |id| id.reveal(&namespace)),
        }),
        _ => None,
    });
    asked.unwrap()
}

fn engine4(world: &mut World) -> Client {
    let secret = world.join_polling();
    last_client(world, secret)
}

fn engine3(world: &mut World) -> Client {
    let secret = sid(&world.ask(&get(ENGINE3)));
    last_client(world, secret)
}

fn v1(world: &mut World) -> Client {
    let answer = world.ask(&get(HANDSHAKE09));
    let secret = body(&answer).split(':').next().unwrap().to_string();
    last_client(world, secret)
}

fn tilde(world: &mut World) -> Client {
    let answer = world.ask(&get("/socket.io/xhr-polling//1795447966090"));
    let secret = body(&answer).rsplit('~').next().unwrap().to_string();
    last_client(world, secret)
}

const ALL: [fn(&mut World) -> Client; 4] = [engine4, engine3, v1, tilde];

/// Requests that ask for the session with this id, in the form of each generation that polls.
fn asks(id: &str) -> [String; 4] {
    [
        session(id),
        format!("{ENGINE3}&sid={id}"),
        format!("/socket.io/1/xhr-polling/{id}?t=1"),
        format!("/socket.io/xhr-polling/{id}/1795447966090"),
    ]
}

/// Hardening A4.
#[test]
fn a_public_id_opens_nothing() {
    let mut world = World::new(Config::default());
    for client in ALL.map(|open| open(&mut world)) {
        let generation = client.generation;
        assert_ne!(client.id, client.secret, "{generation}");
        assert!(!client.secret.contains(&client.id) && !client.id.contains(&client.secret));
        for ask in asks(&client.id) {
            let answer = world.ask(&get(&ask));
            let refused = status(&answer) == 400 || body(&answer) == NOT_HANDSHAKEN;
            assert!(refused, "{generation}: {ask} was answered {answer}");
        }
        // The random bytes of one id are not in the other id.
        let public = URL_SAFE_NO_PAD.decode(&client.id).unwrap();
        let secret = URL_SAFE_NO_PAD.decode(&client.secret).unwrap_or_default();
        assert!(
            !secret
                .windows(4)
                .any(|part| public.windows(4).any(|other| other == part))
        );
    }
}

/// Hardening A4.
#[test]
fn a_client_is_found_by_the_id_it_knows_and_by_the_public_one() {
    let mut world = World::new(Config::default());
    let mut clients = Vec::new();
    for open in ALL {
        let client = open(&mut world);
        match client.generation {
            Generation::Engine4 => assert_eq!(client.wire_id, client.id),
            _ => assert_eq!(client.wire_id, client.secret, "{}", client.generation),
        }
        clients.push(("/", client));
    }
    let secrets: Vec<String> = clients.iter().map(|(_, client)| client.secret.clone()).collect();
    world.push(&secrets[0], "40/a,");
    clients.push(("/a", last_client(&mut world, secrets[0].clone())));
    world.ask(&post(&asks(&secrets[1])[1], "5:40/a,"));
    clients.push(("/a", last_client(&mut world, secrets[1].clone())));
    assert_eq!(clients[5].1.wire_id, format!("/a#{}", secrets[1]));
    world.ask(&post(&asks(&secrets[2])[2], "1::/a"));
    clients.push(("/a", last_client(&mut world, secrets[2].clone())));
    assert_eq!(clients[6].1.wire_id, secrets[2]);

    for (namespace, client) in &clients {
        for id in [&client.id, &client.wire_id] {
            let target = sio_proto::server::Target {
                namespace: (*namespace).into(),
                rooms: vec![id.as_str().into()],
                ..Default::default()
            };
            let members = world.shard(|shard, _| shard.members(&target));
            assert_eq!(members, [client.socket], "{} in {namespace} by {id}", client.generation);
            let joined = world.shard(|shard, _| shard.join(client.socket, id));
            assert_eq!(joined, Ok(()), "its own room");
            assert!(world.shard(|shard, _| shard.rooms(client.socket)).is_empty());
        }
        let found = world.shard(|shard, _| shard.find(&client.id));
        assert_eq!(found, Some(client.socket));
    }
    // The secret id of a client from 3.0 on addresses no socket.
    assert_eq!(world.shard(|shard, _| shard.find(&secrets[0])), None);
    assert_eq!(world.shard(|shard, _| shard.find(&format!("/a#{}", secrets[0]))), None);
}

/// Hardening A4.
#[test]
fn no_room_is_named_as_the_id_of_another() {
    let mut world = World::new(Config::default());
    let clients = ALL.map(|open| open(&mut world));
    let thief = engine4(&mut world);
    for client in &clients {
        for id in [&client.id, &client.wire_id, &client.secret] {
            let joined = world.shard(|shard, _| shard.join(thief.socket, id));
            assert_eq!(joined, Err(SendError::Reserved), "{} by {id}", client.generation);
        }
    }
    // Names that only look like ids are rooms like any other.
    for name in ["f2OB-Gs9-F9dtPdjA7X9", "0123456789abcdef0123456789abcdef", "/a#b", "#"] {
        assert_eq!(world.shard(|shard, _| shard.join(thief.socket, name)), Ok(()), "{name}");
    }
}

/// Hardening A4.
#[test]
fn what_is_secret_has_128_bits_from_the_generator_and_is_not_drawn_again() {
    let drawn = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Vec<u8>>::new()));
    let entropy = {
        let (drawn, mut counter) = (std::sync::Arc::clone(&drawn), 0u8);
        move |out: &mut [u8]| {
            out.iter_mut().for_each(|byte| {
                counter = counter.wrapping_mul(181).wrapping_add(97);
                *byte = counter;
            });
            drawn.lock().unwrap().push(out.to_vec());
        }
    };
    let mut world = World::new(Config::default());
    world.server = Server::new(Config::default(), [7; 16], Box::new(entropy)).unwrap();
    for open in ALL {
        drawn.lock().unwrap().clear();
        let client = open(&mut world);
        let drawn = drawn.lock().unwrap();
        assert!(drawn.len() >= 2, "one for the session, one for the socket");
        assert_eq!(drawn[0].len(), 16);
        let secret = match client.generation {
            Generation::Legacy06 => base32(&client.secret),
            _ => URL_SAFE_NO_PAD.decode(&client.secret).unwrap(),
        };
        assert_eq!(secret[8..], drawn[0], "{}", client.generation);
    }
}

/// The bytes of a base32 text of an id.
fn base32(text: &str) -> Vec<u8> {
    let values = text.bytes().map(|c| match c {
        b'a'..=b'z' => c - b'a',
        _ => c - b'2' + 26,
    });
    let bits: Vec<u8> = values.flat_map(|v| (0..5).rev().map(move |bit| v >> bit & 1)).collect();
    let bytes = bits.chunks_exact(8);
    bytes.map(|byte| byte.iter().fold(0, |v, bit| v << 1 | bit)).collect()
}

/// Hardening A4.
#[test]
fn secrets_are_in_no_debug_output() {
    let mut world = World::new(Config::default());
    for target in [POLLING, ENGINE3, HANDSHAKE09, "/socket.io/xhr-polling//1"] {
        let answer = world.ask(&get(target));
        let mut texts = answer.split(['"', '~', ':', '\n', '\\']).map(str::trim);
        let secret = texts.find(|text| [32, 39].contains(&text.len())).unwrap();
        if target == POLLING {
            world.push(secret, "40");
        }
        let shard = world.shard(|shard, _| format!("{shard:?}"));
        let shown = format!("{shard}{:?}", world.deliveries.drain(..).collect::<Vec<_>>());
        assert!(shown.contains("Connect"), "{shown}");
        assert!(!shown.contains(secret), "{target}: {shown}");
    }
}

// ---- a session that lives on a websocket or stream ------------------------------------------------------------------

const HOME: &str = "192.0.2.1:4000";
const ELSEWHERE: &str = "198.51.100.7:4000";

/// A connection from this address.
fn from(world: &mut World, address: &str) -> LinkId {
    let address: SocketAddr = address.parse().unwrap();
    world.server.open(Peer {
        address: Some(address),
        ..Peer::default()
    })
}

/// The answer to a request on its own connection. The end of a connection is the empty text.
fn ask_from(world: &mut World, address: &str, request: &[u8]) -> String {
    let link = from(world, address);
    world.send(link, request);
    String::from_utf8_lossy(&world.bytes(link)).into_owned()
}

/// A session of 0.9 on a websocket or an htmlfile, opened from home.
fn v1_at_home(world: &mut World, transport: &str) -> (String, LinkId, SocketKey) {
    let answer = ask_from(world, HOME, &get(HANDSHAKE09));
    let id = body(&answer).split(':').next().unwrap().to_string();
    let link = from(world, HOME);
    let target = format!("/socket.io/1/{transport}/{id}?t=1");
    match transport {
        "htmlfile" => world.send(link, &get(&target)),
        _ => world.send(link, &upgrade(&target)),
    }
    assert!(String::from_utf8_lossy(&world.bytes(link)).contains("1::"));
    world.heard();
    (id, link, world.last_socket())
}

fn still_hears(world: &mut World, link: LinkId, socket: SocketKey) {
    assert_eq!(
        world.heard(),
        [""; 0],
        "nobody has spoken in its name, and it has not gone"
    );
    assert_eq!(world.received(link), "", "it is not told to go");
    world.emit(socket, "still", "1").unwrap();
    assert!(String::from_utf8_lossy(&world.bytes(link)).contains("still"));
}

/// Hardening A4.
#[test]
fn a_live_websocket_of_09_is_not_taken_over_from_elsewhere() {
    for transport in ["websocket", "htmlfile"] {
        let mut world = World::new(Config::default());
        let (id, link, socket) = v1_at_home(&mut world, transport);
        let at = |transport: &str| format!("/socket.io/1/{transport}/{id}?t=1");
        let event = "5:::{\"name\":\"as you\",\"args\":[]}";
        let goodbyes = [
            get(&format!("/socket.io/1/xhr-polling/{id}/?disconnect=1")),
            get(&format!("/socket.io/1//{id}/?disconnect=1")),
            // Behind a proxy that has merged the slashes this opens a session, as for an unknown
            // id.
            get(&format!("/socket.io/1/{id}/?disconnect=1")),
        ];
        for (request, refusal) in [
            (upgrade(&at("websocket")), NOT_HANDSHAKEN),
            (upgrade(&at("flashsocket")), NOT_HANDSHAKEN),
            (get(&at("htmlfile")), NOT_HANDSHAKEN),
            (get(&at("xhr-polling")), NOT_HANDSHAKEN),
            (get(&at("jsonp-polling")), NOT_HANDSHAKEN),
            (post(&at("xhr-polling"), event), "\r\n\r\n1"),
            (goodbyes[0].clone(), "HTTP/1.1 200"),
            (goodbyes[1].clone(), "HTTP/1.1 200"),
        ] {
            let answer = ask_from(&mut world, ELSEWHERE, &request);
            let request = String::from_utf8_lossy(&request).into_owned();
            assert!(answer.contains(refusal), "{request}: {answer}");
            still_hears(&mut world, link, socket);
        }
        ask_from(&mut world, ELSEWHERE, &goodbyes[2]);
        world.heard();
        still_hears(&mut world, link, socket);
        // The client itself may do this, as clients do when they fall back. When the websocket has
        // gone, everybody may.
        let next = from(&mut world, "192.0.2.1:5000");
        world.send(next, &get(&at("xhr-polling")));
        assert!(!world.bytes(link).is_empty(), "it is told to go");
        assert!(String::from_utf8_lossy(&world.bytes(next)).contains("1::"));
        let moved = from(&mut world, ELSEWHERE);
        world.send(moved, &get(&at("xhr-polling")));
        world.emit(socket, "moved", "").unwrap();
        assert!(
            world.received(moved).contains("moved"),
            "between two polls a client may move"
        );
    }
}

/// Hardening A4.
#[test]
fn a_live_websocket_of_06_is_not_taken_over_from_elsewhere() {
    for opened in ["websocket", "xhr-multipart"] {
        let mut world = World::new(Config::default());
        let link = from(&mut world, HOME);
        match opened {
            "websocket" => world.send(link, &upgrade("/socket.io/websocket")),
            stream => world.send(link, &get(&format!("/socket.io/{stream}"))),
        }
        let said = String::from_utf8_lossy(&world.bytes(link)).into_owned();
        let (_, id) = said.split_once("~m~39~m~").unwrap();
        let id = &id[..39];
        let socket = world.last_socket();
        world.heard();
        let at = |rest: &str| format!("/socket.io/{rest}");
        for request in [
            upgrade(&at(&format!("websocket/{id}"))),
            get(&at(&format!("xhr-polling/{id}/1"))),
            get(&at(&format!("jsonp-polling/{id}/1/0"))),
            get(&at(&format!("xhr-multipart/{id}/1"))),
            post(&at(&format!("xhr-polling/{id}/send")), "data=~m~2~m~hi"),
        ] {
            let answer = ask_from(&mut world, ELSEWHERE, &request);
            let request = String::from_utf8_lossy(&request).into_owned();
            assert_eq!(status(&answer), 400, "{request}: {answer}");
            assert_eq!(world.heard(), [""; 0]);
            assert_eq!(world.received(link), "", "it is not told to go");
            world.tell("/", socket, "message", args("\"still\""), None).unwrap();
            assert!(String::from_utf8_lossy(&world.bytes(link)).contains("still"));
        }
        // A client that has lost its websocket, and does not know that its server does not know it,
        // comes back from its address, by a websocket and then by a stream.
        for path in ["websocket", "xhr-multipart", "websocket"] {
            let next = from(&mut world, "192.0.2.1:5000");
            match path {
                "websocket" => world.send(next, &upgrade(&at(&format!("{path}/{id}")))),
                stream => world.send(next, &get(&at(&format!("{stream}/{id}")))),
            }
            world.tell("/", socket, "message", args("\"here\""), None).unwrap();
            assert!(world.received(next).contains("here"), "{opened}, {path}");
            let answer = ask_from(&mut world, ELSEWHERE, &get(&at(&format!("xhr-polling/{id}/1"))));
            assert_eq!(status(&answer), 400, "{opened}, {path}");
        }
        // When it has lost its websocket, it comes back by its id, from any address.
        let last = from(&mut world, HOME);
        world.send(last, &upgrade(&at(&format!("websocket/{id}"))));
        world.cut(last, sio_proto::server::Cause::Failed);
        let back = from(&mut world, ELSEWHERE);
        world.send(back, &upgrade(&at(&format!("websocket/{id}"))));
        world.tell("/", socket, "message", args("\"again\""), None).unwrap();
        assert!(world.received(back).contains("again"));
    }
}

/// A host of IPv6 has many addresses, and an address of IPv4 has two spellings.
#[test]
fn a_client_is_at_home_in_its_network() {
    let mut world = World::new(Config::default());
    let answer = ask_from(&mut world, "[2001:db8::1]:1", &get(HANDSHAKE09));
    let id = body(&answer).split(':').next().unwrap().to_string();
    let target = format!("/socket.io/1/websocket/{id}?t=1");
    for (address, at_home) in [
        ("[2001:db8::1]:1", true),
        ("[2001:db8::beef:1]:9", true),
        ("[2001:db8:0:1::1]:1", false),
        ("192.0.2.1:1", false),
    ] {
        let answer = ask_from(&mut world, address, &upgrade(&target));
        assert_eq!(!answer.contains(NOT_HANDSHAKEN), at_home, "{address}");
    }
    let (id, _, _) = v1_at_home(&mut world, "websocket");
    let target = format!("/socket.io/1/websocket/{id}?t=1");
    let answer = ask_from(&mut world, "[::ffff:192.0.2.1]:1", &upgrade(&target));
    assert!(!answer.contains(NOT_HANDSHAKEN));
    assert!(Bytes::from(answer).starts_with(b"HTTP/1.1 101"));
}

/// The shard of a socket or session is known by each of its ids. An id of a shard that this server
/// does not have, or of another server, leads to no shard.
#[test]
fn an_id_names_a_shard_that_there_is() {
    let config = Config::default();
    let shard = |index| {
        let mut random = 0u8;
        let random = move |out: &mut [u8]| {
            random = random.wrapping_add(97);
            out.fill(random);
        };
        Shard::new(config.clone(), index, [7; 16], Box::new(random)).unwrap()
    };
    let asking = |target: &str| {
        let http = http::Request {
            method: http::Method::Get,
            target: target.into(),
            version_minor: 1,
            headers: [("host", "localhost")].into_iter().collect(),
            body: Ok(Bytes::new()),
        };
        Request::new(&config, http, Peer::default()).admission(Admission::Allowed)
    };
    for (index, shards, is_there) in [(0, 1, true), (1, 2, true), (2, 3, true), (2, 2, false), (1, 1, false)] {
        let (mut shard, mut out) = (shard(index), Outputs::default());
        let target = "/socket.io/?EIO=3&transport=polling";
        shard.handle_request(Time::ZERO, LinkId::new(0, 0), &mut asking(target), &mut out);
        let [Delivery::Connect { sid, wire_id, .. }] = &out.deliveries[..] else {
            panic!("{:?}", out.deliveries)
        };
        let secret = wire_id.unwrap().reveal("/");
        let router = Router::new(&config, [7; 16], shards);
        let there = is_there.then_some(usize::from(index));
        assert_eq!(router.shard_of(&sid.to_string()), there);
        assert_eq!(router.shard_of(&secret), there);
        let mut request = asking(&format!("{target}&sid={secret}"));
        let routed = there.map_or(Routed::New, Routed::Session);
        assert_eq!(router.route(&mut request), routed);
        assert_eq!(router.foreign_id(&mut request), (!is_there).then_some(&*secret));
        let other = Router::new(&config, [8; 16], shards);
        assert_eq!(other.shard_of(&secret), None, "another server has written it");
    }
    let router = Router::new(&config.clone().engine_path("/engine.io"), [7; 16], 1);
    for (target, concerns) in [
        ("/socket.io/?EIO=4", true),
        ("http://localhost/socket.io/1/", true),
        ("/engine.io/?EIO=4", true),
        ("/", false),
        ("/socket.io.js", false),
    ] {
        assert_eq!(router.concerns(target), concerns, "{target}");
    }
    assert_eq!(router.shard_of("no id"), None);
}

/// A request that belongs to no generation is the application's. A shard that gets it nevertheless
/// answers it.
#[test]
fn a_shard_does_not_know_other_requests() {
    let config = Config::default();
    let mut shard = Shard::new(config.clone(), 0, [7; 16], Box::new(|out: &mut [u8]| out.fill(7))).unwrap();
    let http = http::Request {
        method: http::Method::Get,
        target: "/elsewhere".into(),
        version_minor: 1,
        headers: [("host", "localhost")].into_iter().collect(),
        body: Ok(Bytes::new()),
    };
    let (link, mut out) = (LinkId::new(0, 0), Outputs::default());
    let mut request = Request::new(&config, http, Peer::default());
    shard.handle_request(Time::ZERO, link, &mut request, &mut out);
    let [Write::Response(to, response)] = &out.writes[..] else {
        panic!("{:?}", out.writes)
    };
    assert_eq!((*to, response.status), (link, 404));
}

/// An id names one socket for all time. When the socket has gone, the id finds nobody, also if
/// another socket has its place in the table. The same if the socket has got another id.
#[test]
fn an_id_is_never_that_of_another() {
    let mut world = World::new(Config::default());
    let mut gone: Vec<String> = Vec::new();
    for _ in 0..3 {
        let link = world.join();
        let client = last_client(&mut world, String::new());
        assert_eq!(world.shard(|shard, _| shard.find(&client.id)), Some(client.socket));
        for id in &gone {
            assert_eq!(world.shard(|shard, _| shard.find(id)), None);
            assert_eq!(
                world.shard(|shard, _| shard.join(client.socket, id)),
                Err(SendError::Reserved)
            );
            world.broadcast(&[id], "for another", "1");
        }
        assert_eq!(world.received(link), "");
        world.cut(link, sio_proto::server::Cause::Closed);
        gone.push(client.id);
    }

    world.accepts = false;
    let link = world.open();
    world.send(link, WEBSOCKET);
    world.send(link, &text("40"));
    let client = last_client(&mut world, String::new());
    let find = |world: &mut World| world.shard(|shard, _| shard.find(&client.id));
    assert_eq!(find(&mut world), None, "it is not connected yet");
    let welcome = Welcome {
        id: Some("ann".into()),
        ..Welcome::default()
    };
    let now = world.now;
    world.shard(|shard, out| shard.accept_as(now, client.socket, &welcome, out));
    assert_eq!(find(&mut world), None, "it has another id");
    assert!(world.received(link).contains("\"sid\":\"ann\""));
    world.broadcast(&["ann"], "hi", "1");
    assert_eq!(world.frames(link), ["42[\"hi\",1]"]);
}

/// A page of another site cannot use a session, whatever it knows, and does not even learn whether
/// there is one.
#[test]
fn a_foreign_page_cannot_use_a_session() {
    let mut world = World::new(Config::default());
    let evil = ["Origin: http://evil.example"];
    let clients = ALL.map(|open| open(&mut world));
    world.heard();
    for (client, event) in clients
        .iter()
        .zip(["42[\"evil\"]", "10:42[\"evil\"]", "3:::evil", "data=~m~4~m~evil"])
    {
        let at = |id: &str| match client.generation {
            Generation::Engine4 => session(id),
            Generation::Engine3 => format!("{ENGINE3}&sid={id}"),
            Generation::Legacy09 => format!("/socket.io/1/xhr-polling/{id}"),
            _ => format!("/socket.io/xhr-polling/{id}/send"),
        };
        for (method, sent) in [("GET", ""), ("POST", event)] {
            let known = world.ask(&request(method, &at(&client.secret), &evil, sent));
            assert!(matches!(status(&known), 401 | 403), "{}: {known}", client.generation);
            let unknown = at(&client.secret.chars().rev().collect::<String>());
            let unknown = world.ask(&request(method, &unknown, &evil, sent));
            assert_eq!(known, unknown, "{}", client.generation);
        }
    }
    assert_eq!((world.heard(), world.sessions()), (vec![], 4));
}

/// A control character in an `Origin` is no origin, whoever has read the head. A tab, and whatever
/// is printed, is judged as an origin.
#[test]
fn an_origin_has_no_control_characters() {
    let mut world = World::new(Config::default());
    for (origin, malformed) in [
        ("http://localhost\u{1f}", true),
        ("\u{1}http://localhost", true),
        ("http://localhost\u{7f}", true),
        ("http://local host", false),
        ("http://local\thost", false),
        ("http://localhost~", false),
    ] {
        let head = http::Request {
            method: http::Method::Get,
            target: POLLING.into(),
            version_minor: 1,
            headers: http::Headers::from_iter([("host", "localhost"), ("origin", origin)]),
            body: Ok(Bytes::new()),
        };
        let (now, link) = (world.now, world.open());
        world.shard(|shard, out| {
            let mut request = Request::new(shard.config(), head, Peer::default()).admission(Admission::Allowed);
            shard.handle_request(now, link, &mut request, out);
        });
        let answer = world.received(link);
        let expected = if malformed {
            (400, "Bad request")
        } else {
            (403, "Forbidden")
        };
        assert_eq!(status(&answer), expected.0, "{origin:?}");
        assert!(body(&answer).contains(expected.1), "{origin:?}: {answer}");
    }
    assert_eq!(world.sessions(), 0);
}
