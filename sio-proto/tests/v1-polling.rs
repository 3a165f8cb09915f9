//! A client of Socket.IO 0.7 to 0.9 polls, with XMLHttpRequest or with scripts. The rows come from
//! captures of genuine servers (sio-0.9.17-*, sio-0.8.7-*, sio-0.7.11-*, probe-0.9.19-server) and
//! from docs/protocol/legacy-0.9.md.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::Cause;
use sio_proto::{Config, Cors};

const TEXT: &str = "text/plain;charset=UTF-8";
const FORM: &str = "application/x-www-form-urlencoded";

/// Opens a session. Returns the URL of its requests.
fn open(world: &mut World, transport: &str) -> String {
    let answer = world.reply(&get("/socket.io/1/?k=v&t=1795447683226"));
    let id = answer.text().split(':').next().unwrap().to_string();
    world.heard();
    format!("/socket.io/1/{transport}/{id}?k=v&t=1795447683379")
}

/// Opens a session, and fetches its first packets.
fn join(world: &mut World) -> String {
    let target = open(world, "xhr-polling");
    assert_eq!(world.reply(&get(&target)).text(), "1::");
    target
}

fn post(world: &mut World, target: &str, body: &str) {
    let answer = world.reply(&post_bytes(target, TEXT, body.as_bytes()));
    assert_eq!(
        (answer.status, answer.header("content-type"), answer.text()),
        (200, Some("text/plain; charset=UTF-8"), "1")
    );
}

#[test]
fn the_handshake() {
    for (target, content_type, before, after) in [
        ("/socket.io/1/?k=v&t=1795447683226", "text/plain", "", ""),
        ("/socket.io/1", "text/plain", "", ""),
        ("/socket.io/1/xhr-polling/", "text/plain", "", ""),
        ("/socket.io/1/?disconnect=1", "text/plain", "", ""),
        ("/socket.io/1/?jsonp=alert", "text/plain", "", ""),
        (
            "/socket.io/1/?t=1&jsonp=12",
            "text/javascript; charset=UTF-8",
            "io.j[12](\"",
            "\");",
        ),
    ] {
        let mut world = World::new(Config::default());
        let answer = world.reply(&get(target));
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, Some(content_type)),
            "{target}"
        );
        let body = answer
            .text()
            .strip_prefix(before)
            .and_then(|b| b.strip_suffix(after))
            .unwrap();
        let (id, rest) = body.split_once(':').unwrap();
        assert_eq!(
            (id.len(), rest),
            (32, "60:60:websocket,htmlfile,xhr-polling,jsonp-polling"),
            "{target}"
        );
        assert_eq!(world.generations(), ["0.7-0.9"]);
    }
    let mut world = World::new(Config::default());
    let answer = world.reply(&common::post("/socket.io/1/?token=s%26t&t=5", ""));
    assert_eq!(answer.status, 200);
    assert_eq!(world.heard(), ["connect / {\"token\":\"s&t\"}"]);
    assert_eq!(world.reply(&request("PUT", "/socket.io/1/", &[], "")).status, 405);
    assert_eq!(world.reply(&request("HEAD", "/socket.io/1/", &[], "")).status, 405);
    assert_eq!(world.sessions(), 1);
}

#[test]
fn times_are_whole_seconds_and_never_nothing() {
    let mut config = Config::default();
    config.legacy09.heartbeat_interval = std::time::Duration::from_millis(300);
    config.legacy09.poll_duration = std::time::Duration::from_millis(300);
    config.legacy09.heartbeat_timeout = std::time::Duration::from_millis(1500);
    config.legacy09.close_timeout = std::time::Duration::from_millis(400);
    let mut world = World::new(config);
    let answer = world.reply(&get("/socket.io/1/"));
    assert!(answer.text().contains(":2:1:"), "{}", answer.text());
}

/// docs/protocol/legacy-0.9.md §2.2.
#[test]
fn refusals() {
    for (jsonp, message, status, content_type, body) in [
        ("", "no", 403, "text/plain", "handshake unauthorized"),
        (
            "?jsonp=3",
            "no",
            200,
            "text/javascript; charset=UTF-8",
            "io.j[3](new Error(\"handshake unauthorized\"));",
        ),
    ] {
        let mut world = World::new(Config::default());
        world.accepts = false;
        let link = world.park(&get(&format!("/socket.io/1/{jsonp}")));
        let socket = world.last_socket();
        world.refuse(socket, message, None);
        let answer = world.answer(link);
        assert_eq!(
            (answer.status, answer.header("content-type"), answer.text()),
            (status, Some(content_type), body)
        );
        assert_eq!(world.sessions(), 0);
    }
    // A user who does not decide.
    let mut world = World::new(Config::default());
    world.accepts = false;
    let link = world.park(&get("/socket.io/1/"));
    world.pass(45_000);
    let answer = world.answer(link);
    assert_eq!((answer.status, answer.text()), (500, "handshake error"));
    assert_eq!(world.heard(), ["connect / ", "gone forced server close"]);
    // A client that does not wait.
    let link = world.park(&get("/socket.io/1/"));
    world.cut(link, Cause::Closed);
    assert_eq!(world.heard(), ["connect / ", "gone transport close"]);
    assert_eq!(world.sessions(), 0);

    let mut config = Config::default();
    config.max_sessions = 1;
    let mut world = World::new(config);
    let first = world.reply(&get("/socket.io/1/"));
    let sid = first.text().split(':').next().unwrap().to_owned();
    // A client that has not come back makes room for another. A client that has come back does not.
    let second = world.reply(&get("/socket.io/1/"));
    assert_eq!((first.status, second.status, world.sessions()), (200, 200, 1));
    let old = world.reply(&get(&format!("/socket.io/1/xhr-polling/{sid}")));
    assert_eq!(old.text(), "7:::1+0");
    let sid = second.text().split(':').next().unwrap().to_owned();
    assert_eq!(
        world.reply(&get(&format!("/socket.io/1/xhr-polling/{sid}"))).text(),
        "1::"
    );
    assert_eq!(world.reply(&get("/socket.io/1/")).status, 503);
}

#[test]
fn origins() {
    let good = "Origin: http://good.example";
    let echoed = Some("http://good.example");
    for (config, headers, target, status, allowed) in [
        (
            Config::default(),
            "Origin: http://localhost",
            "/socket.io/1/",
            200,
            Some("http://localhost"),
        ),
        (Config::default(), good, "/socket.io/1/", 403, None),
        (Config::default(), "Origin: null", "/socket.io/1/", 403, None),
        (
            Config::default().cors(Cors::list(["http://good.example"])),
            good,
            "/socket.io/1/",
            200,
            echoed,
        ),
        (Config::default(), good, "/socket.io/1/?jsonp=0", 200, None),
        (
            Config::default(),
            "Referer: http://evil.example/x",
            "/socket.io/1/?jsonp=0",
            200,
            None,
        ),
    ] {
        let mut world = World::new(config);
        let answer = world.reply(&with_headers(&get(target), headers));
        let refused = answer.text().contains("handshake bad origin");
        assert_eq!(answer.status, status, "{headers} {target}");
        assert_eq!(refused, allowed.is_none(), "{headers} {target}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            allowed.map(|_| "true")
        );
    }
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let answer = world.reply(&with_headers(&get(&target), good));
    assert_eq!((answer.status, answer.text()), (403, "handshake bad origin"));
    let preflight = request("OPTIONS", &target, &["Origin: http://localhost"], "");
    let answer = world.reply(&preflight);
    assert_eq!(
        (answer.status, answer.header("access-control-allow-origin")),
        (200, Some("http://localhost"))
    );
}

/// docs/protocol/legacy-0.9.md §3, §6 and docs/protocol/detection.md §6.
#[test]
fn requests_for_nothing() {
    for (request, status, body) in [
        (get("/socket.io/1/xhr-polling/nosuch"), 200, "7:::1+0"),
        (
            get("/socket.io/1/jsonp-polling/nosuch?i=3"),
            200,
            "io.j[3](\"7:::1+0\");",
        ),
        (post_bytes("/socket.io/1/xhr-polling/nosuch", TEXT, b"3:::hi"), 200, "1"),
        (get("/socket.io/1//nosuch/?disconnect=1"), 200, ""),
        (get("/socket.io/1/xhr-polling/nosuch?disconnect"), 200, ""),
        (get("/socket.io/1/websocket/nosuch"), 400, ""),
        (get("/socket.io/1/bogus/nosuch"), 400, ""),
        (get("/socket.io/1/xhr-multipart/nosuch"), 400, ""),
        (get("/socket.io/1/flashsocket/nosuch"), 400, ""),
        (upgrade("/socket.io/1/xhr-polling/nosuch"), 400, ""),
        (upgrade("/socket.io/1/websocket/nosuch?disconnect=1"), 400, ""),
        (request("DELETE", "/socket.io/1/xhr-polling/nosuch", &[], ""), 405, ""),
        (get("/socket.io/1/xhr-polling/a/b"), 400, ""),
        (get("/socket.io/2/"), 500, "Protocol version not supported."),
    ] {
        let mut world = World::new(Config::default());
        let answer = world.reply(&request);
        assert_eq!(
            (answer.status, answer.text()),
            (status, body),
            "{}",
            String::from_utf8_lossy(&request)
        );
        assert_eq!(world.sessions(), 0);
    }
}

/// The id of another generation is unknown here.
#[test]
fn ids_have_their_generation() {
    let mut world = World::new(Config::default());
    let modern = sid(world.reply(&get(POLLING)).text());
    assert_eq!(
        world.reply(&get(&format!("/socket.io/1/xhr-polling/{modern}"))).text(),
        "7:::1+0"
    );
    let target = join(&mut world);
    let old = target.split('/').nth(4).unwrap().split('?').next().unwrap().to_string();
    assert_eq!(world.reply(&get(&session(&old))).status, 400);
    assert_eq!(world.sessions(), 2);
}

/// The capture sio-0.9.17-xhr-polling. `1::` and the packets behind it may come together
/// (docs/protocol/legacy-0.9.md §6).
#[test]
fn a_captured_conversation() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "xhr-polling");
    let root = world.last_socket();
    world.emit(root, "welcome", "\"\"").unwrap();
    let answer = world.reply(&get(&target));
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=UTF-8"));
    assert_eq!(
        answer.text(),
        "\u{fffd}3\u{fffd}1::\u{fffd}34\u{fffd}5:::{\"name\":\"welcome\",\"args\":[\"\"]}"
    );

    post(&mut world, &target, "3:::hello é♥😀 / \"q\" \n line2");
    post(
        &mut world,
        &target,
        "\u{fffd}17\u{fffd}4:::{\"a\":[1,\"♥\"]}\u{fffd}43\u{fffd}5:1+::{\"name\":\"echo\",\"args\":[1,{\"x\":null}]}\u{fffd}13\u{fffd}3:2::with-ack",
    );
    assert_eq!(
        world.echo(),
        [
            "event message \"hello é♥😀 / \\\"q\\\" \\n line2\"",
            "event message {\"a\":[1,\"♥\"]}",
            "event echo 1,{\"x\":null} #1",
            "event message \"with-ack\""
        ]
    );
    assert_eq!(
        world.reply(&get(&target)).text(),
        "\u{fffd}5\u{fffd}6:::2\u{fffd}28\u{fffd}3:::hello é♥😀 / \"q\" \n line2\u{fffd}17\u{fffd}4:::{\"a\":[1,\"♥\"]}\u{fffd}20\u{fffd}6:::1+[1,{\"x\":null}]\u{fffd}12\u{fffd}3:::with-ack"
    );

    world.emit(root, "message", "\"one\"").unwrap();
    world.emit(root, "message", "{\"two\":2}").unwrap();
    world.emit(root, "ev", "\"thré♥e😀\",3").unwrap();
    assert_eq!(
        world.reply(&get(&target)).text(),
        "\u{fffd}7\u{fffd}3:::one\u{fffd}13\u{fffd}4:::{\"two\":2}\u{fffd}39\u{fffd}5:::{\"name\":\"ev\",\"args\":[\"thré♥e😀\",3]}"
    );

    post(&mut world, &target, "5:::{\"name\":\"want-ack\"}");
    world.tell("/", root, "question", args("{\"q\":1}"), Some(1)).unwrap();
    assert_eq!(
        world.reply(&get(&target)).text(),
        "5:1+::{\"name\":\"question\",\"args\":[{\"q\":1}]}"
    );
    world.heard();
    post(&mut world, &target, "6:::1+[\"reply\",{\"q\":1}]");
    post(&mut world, &target, "6:::1+[\"reply\",{\"q\":1}]");
    assert_eq!(world.heard(), ["ack 1 \"reply\",{\"q\":1}"]);

    world.accepts = false;
    post(&mut world, &target, "1::/chat");
    let chat = world.last_socket();
    post(&mut world, &target, "1::/admin");
    let admin = world.last_socket();
    assert_eq!(
        world.heard(),
        ["connect /chat {\"k\":\"v\"}", "connect /admin {\"k\":\"v\"}"]
    );
    world.accept(chat);
    world.emit_in("/chat", chat, "welcome", "\"/chat\"", None).unwrap();
    world.refuse(admin, "forbidden", Some("{}"));
    assert_eq!(
        world.reply(&get(&target)).text(),
        "\u{fffd}8\u{fffd}1::/chat\u{fffd}44\u{fffd}5::/chat:{\"name\":\"welcome\",\"args\":[\"/chat\"]}\u{fffd}11\u{fffd}7::/admin:2"
    );
    post(
        &mut world,
        &target,
        "5:1+:/chat:{\"name\":\"echo\",\"args\":[\"in-chat\"]}",
    );
    assert_eq!(world.heard(), ["event echo \"in-chat\" #1"]);
    world.ack("/chat", chat, 1, args("\"in-chat\""));
    assert_eq!(world.reply(&get(&target)).text(), "6::/chat:1+[\"in-chat\"]");
    post(&mut world, &target, "0::/chat");
    assert_eq!(world.heard(), ["disconnect client namespace disconnect"]);

    let parked = world.park(&get(&target));
    world.pass(19_999);
    assert_eq!(world.received(parked), "");
    world.pass(1);
    assert_eq!(world.answer(parked).text(), "8::");

    let parked = world.park(&get(&target));
    world.disconnect(root, false);
    assert_eq!(world.answer(parked).text(), "0::");
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    assert_eq!(world.sessions(), 0);
}

/// The captures sio-0.9.17-jsonp-polling and sio-0.7.11-jsonp-polling, and the probes of the
/// content of forms.
#[test]
fn scripts_and_forms() {
    let mut world = World::new(Config::default());
    let target = open(&mut world, "jsonp-polling");
    let poll = |index: &str| format!("{target}&i={index}");
    let answer = world.reply(&get(&poll("0")));
    assert_eq!(
        (answer.header("content-type"), answer.text()),
        (Some("text/javascript; charset=UTF-8"), "io.j[0](\"1::\");")
    );
    for (index, shown) in [("7", "7"), ("abc", "0"), ("-1", "0"), ("1e3", "0")] {
        let parked = world.park(&get(&poll(index)));
        let socket = world.last_socket();
        world.emit(socket, "message", "\"</script>\u{2028}\"").unwrap();
        assert_eq!(
            world.answer(parked).text(),
            format!("io.j[{shown}](\"3:::</script>\\u2028\");")
        );
    }
    for (body, heard) in [
        // 0.8.6 and later
        ("d=%223%3A%3A%3Ahi%22", &["event message \"hi\""][..]),
        (
            "d=%22%5Cufffd6%5Cufffd3%3A%3A%3Aon%5Cufffd7%5Cufffd3%3A%3A%3Atwo%22",
            &["event message \"on\"", "event message \"two\""],
        ),
        ("d=%22%22", &[]),
        // 0.7.0 to 0.8.5; a browser has changed their line breaks to CRLF
        ("d=3%3A%3A%3Ahi", &["event message \"hi\""]),
        (
            "d=%EF%BF%BD7%EF%BF%BD3%3A%3A%3Aa%0D%0Ab%EF%BF%BD5%EF%BF%BD3%3A%3A%3Ac",
            &["event message \"a\\nb\"", "event message \"c\""],
        ),
        ("d=", &[]),
        ("d=5", &[]),
        ("d=null", &[]),
    ] {
        let answer = world.reply(&post_bytes(&poll("0"), FORM, body.as_bytes()));
        assert_eq!((answer.status, answer.text()), (200, "1"), "{body}");
        assert_eq!(world.heard(), heard, "{body}");
    }
    for body in ["", "x=1", "d=%22abc", "d=%22a%22b", "d=%FF"] {
        let answer = world.reply(&post_bytes(&poll("0"), FORM, body.as_bytes()));
        assert_eq!(answer.status, 400, "{body}");
    }
    let parked = world.park(&get(&poll("4")));
    world.pass(20_000);
    assert_eq!(world.answer(parked).text(), "io.j[4](\"8::\");");
    assert_eq!(world.sessions(), 1);
}

/// The session uses the later of two polls. The earlier poll is answered too.
#[test]
fn two_polls() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let first = world.park(&get(&target));
    let second = world.park(&get(&target));
    assert_eq!(world.answer(first).text(), "8::");
    let socket = world.last_socket();
    world.emit(socket, "message", "1").unwrap();
    assert_eq!(world.answer(second).text(), "4:::1");
}

#[test]
fn a_session_outlives_its_poll_but_not_for_long() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let parked = world.park(&get(&target));
    world.cut(parked, Cause::Failed);
    let socket = world.last_socket();
    world.emit(socket, "message", "\"kept\"").unwrap();
    world.pass(59_999);
    assert_eq!(world.reply(&get(&target)).text(), "3:::kept");
    world.pass(59_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
    assert_eq!(world.reply(&get(&target)).text(), "7:::1+0");
}

#[test]
fn a_handshake_without_a_transport_is_forgotten() {
    let mut world = World::new(Config::default());
    open(&mut world, "xhr-polling");
    world.pass(29_999);
    assert_eq!(world.sessions(), 1);
    world.pass(1);
    assert_eq!(world.sessions(), 0);
    assert_eq!(world.heard(), ["disconnect ping timeout"]);
}

#[test]
fn the_beacon() {
    for beacon in [
        "/socket.io/1//ID/?disconnect=1",
        "/socket.io/1/xhr-polling/ID?disconnect",
        "/socket.io/1/ID/?disconnect=1",
    ] {
        for polling in [false, true] {
            let mut world = World::new(Config::default());
            let target = join(&mut world);
            let id = target.split('/').nth(4).unwrap().split('?').next().unwrap().to_string();
            let parked = polling.then(|| world.park(&get(&target)));
            let answer = world.reply(&get(&beacon.replace("ID", &id)));
            assert_eq!((answer.status, answer.text()), (200, ""));
            if let Some(parked) = parked {
                assert_eq!(world.answer(parked).text(), "0::");
            }
            assert_eq!(world.heard(), ["disconnect transport close"]);
            assert_eq!(world.sessions(), 0, "{beacon}");
        }
    }
}

#[test]
fn who_is_told_goodbye_fetches_it() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let socket = world.last_socket();
    world.emit(socket, "message", "\"last\"").unwrap();
    world.disconnect(socket, true);
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
    post(&mut world, &target, "3:::too late");
    assert_eq!(
        world.reply(&get(&target)).text(),
        "\u{fffd}8\u{fffd}3:::last\u{fffd}3\u{fffd}0::"
    );
    assert_eq!(world.sessions(), 0);
    // The client that leaves is also told on the connection where it listens.
    let target = join(&mut world);
    let parked = world.park(&get(&target));
    post(&mut world, &target, "0::");
    assert_eq!(world.answer(parked).text(), "0::");
    assert_eq!(world.heard(), ["disconnect client namespace disconnect"]);
    assert_eq!(world.sessions(), 0);
}

/// A server that shuts down wants its clients to come back. `0::` would keep them away.
#[test]
fn shutting_down() {
    use sio_proto::server::{Command, Reason};
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let parked = world.park(&get(&target));
    world.command(Command::Shutdown {
        reason: Reason::ServerShuttingDown,
    });
    assert_eq!(world.answer(parked).text(), "7:::1+0");
    assert_eq!(world.heard(), ["disconnect server shutting down"]);
}

/// docs/protocol/legacy-0.9.md §13, the column "Robust": none of these packets ends a session.
#[test]
fn malformed_packets() {
    let deep = format!(
        "5:::{{\"name\":\"n\",\"args\":[{}1{}]}}",
        "[".repeat(120),
        "]".repeat(120)
    );
    let deeper = format!("4:::{}1{}", "[".repeat(200), "]".repeat(200));
    for (body, heard) in [
        ("garbage", None),
        ("3", None),
        ("0", None),
        ("2", None),
        ("::::", None),
        ("9:::x", None),
        ("xx3:::hi", None),
        (":3:::hi", None),
        ("3:x::hi", None),
        ("3:::a\nb", Some("event message \"a\\nb\"")),
        ("3:::", Some("event message \"\"")),
        ("5:::{bad", None),
        ("5:::null", None),
        ("5:::[]", None),
        ("5:::{\"args\":[1]}", None),
        ("5:::{\"name\":7}", None),
        ("5:::{\"name\":\"n\",\"args\":1}", Some("event n 1")),
        ("5:::{\"name\":\"n\",\"args\":null}", Some("event n ")),
        ("5:::{\"name\":\"error\",\"args\":[1]}", Some("event error 1")),
        ("5:::{\"name\":\"disconnect\"}", None),
        ("5:::{\"name\":\"connect\"}", None),
        ("5:::{\"name\":\"newListener\"}", None),
        (
            &deep,
            Some(&*format!("event n {}1{}", "[".repeat(120), "]".repeat(120))),
        ),
        (&deeper, None),
        ("4:::{bad", None),
        ("4:::", None),
        ("6:::x", None),
        ("6:::7", None),
        ("6:::", None),
        ("6:::99999999999999999999+[]", None),
        ("7:::1+0", None),
        ("8::", None),
        ("1::", None),
        ("2::", None),
        ("1::chat", None),
        ("1::/", None),
        ("1::/a,b", None),
        ("0::/chat", None),
        ("3::/chat:early", None),
        ("\u{fffd}", None),
        ("\u{fffd}x\u{fffd}3:::hi", None),
        ("\u{fffd}-1\u{fffd}3:::hi", None),
        ("\u{fffd}99\u{fffd}3:::hi", None),
        (
            "\u{fffd}6\u{fffd}3:::hi\u{fffd}9\u{fffd}3:::ho",
            Some("event message \"hi\""),
        ),
        ("\u{fffd}5\u{fffd}3:::😀", None),
        ("", None),
        ("3:99999999999999999999+::hi", Some("event message \"hi\"")),
    ] {
        let mut world = World::new(Config::default());
        let target = join(&mut world);
        post(&mut world, &target, body);
        let shown: String = body.chars().take(40).collect();
        assert_eq!(world.heard(), heard.into_iter().collect::<Vec<_>>(), "{shown}");
        assert_eq!(world.sessions(), 1, "{shown}");
        post(&mut world, &target, "3:::still here");
        assert_eq!(world.heard(), ["event message \"still here\""]);
    }
}

/// A packet whose id has no `+` is acknowledged at once, whatever its type, with the id unchanged.
#[test]
fn receipts() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    for (packet, receipt) in [
        ("3:1::hi", "6:::1"),
        ("4:2::{}", "6:::2"),
        ("5:3::{\"name\":\"n\"}", "6:::3"),
        ("3:99999999999999999999::big", "6:::99999999999999999999"),
        ("5:007:/chat:{\"name\":\"n\"}", "6::/chat:007"),
    ] {
        post(&mut world, &target, packet);
        assert_eq!(world.reply(&get(&target)).text(), receipt);
    }
    assert_eq!(world.heard().len(), 4);
}

/// After a reconnect genuine clients send their buffered packets before they join
/// (docs/protocol/legacy-0.9.md §11).
#[test]
fn packets_wait_for_their_namespace() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    post(&mut world, &target, "5:1+:/chat:{\"name\":\"early\",\"args\":[1]}");
    post(&mut world, &target, "3::/other:never");
    post(&mut world, &target, "3::/chat:earlier");
    world.accepts = false;
    post(&mut world, &target, "1::/chat");
    post(&mut world, &target, "3::/chat:asked");
    assert_eq!(world.heard(), ["connect /chat {\"k\":\"v\"}"]);
    let socket = world.last_socket();
    world.accept(socket);
    assert_eq!(
        world.heard(),
        [
            "event early 1 #1",
            "event message \"earlier\"",
            "event message \"asked\""
        ]
    );
    // The number of packets that wait is limited.
    for n in 0..100 {
        post(&mut world, &target, &format!("3::/late:{n}"));
    }
    world.accepts = true;
    post(&mut world, &target, "1::/late");
    // The packet for /other still takes one place.
    assert_eq!(world.heard().len(), 1 + 63);
}

/// A client that has joined with a query uses the query as part of the namespace's name
/// (docs/protocol/legacy-0.9.md §11).
#[test]
fn queries_of_namespaces() {
    let mut world = World::new(Config::default());
    let target = join(&mut world);
    let plain = join(&mut world);
    post(&mut world, &target, "1::/test?my=param&k=w");
    assert_eq!(world.heard(), ["connect /test {\"k\":\"w\",\"my\":\"param\"}"]);
    let socket = world.last_socket();
    post(&mut world, &plain, "1::/test:?x=1");
    assert_eq!(world.heard(), ["connect /test {\"k\":\"v\",\"x\":\"1\"}"]);
    assert_eq!(world.reply(&get(&target)).text(), "1::/test?my=param&k=w");
    assert_eq!(world.reply(&get(&plain)).text(), "1::/test");
    world.cast("/test", &[], "n", args("1"));
    world
        .tell("/test", socket, "message", args("\"a:b\""), Some(3))
        .unwrap();
    assert_eq!(
        world.reply(&get(&target)).text(),
        "\u{fffd}45\u{fffd}5::/test?my=param&k=w:{\"name\":\"n\",\"args\":[1]}\u{fffd}26\u{fffd}3:3:/test?my=param&k=w:a:b"
    );
    assert_eq!(
        world.reply(&get(&plain)).text(),
        "5::/test:{\"name\":\"n\",\"args\":[1]}"
    );
    post(&mut world, &target, "6::/test?my=param&k=w:3+[\"yes\"]");
    post(&mut world, &target, "3:1+:/test?my=param&k=w:hi");
    assert_eq!(world.heard(), ["ack 3 \"yes\"", "event message \"hi\" #1"]);
    world.ack("/test", socket, 1, args(""));
    assert_eq!(world.reply(&get(&target)).text(), "6::/test?my=param&k=w:1");
    post(&mut world, &target, "1::/test?my=param&k=w");
    assert_eq!(
        world.reply(&get(&target)).text(),
        "1::/test?my=param&k=w",
        "told again, not asked again"
    );
    world.disconnect(socket, false);
    assert_eq!(world.reply(&get(&target)).text(), "0::/test?my=param&k=w");
    assert_eq!(world.heard(), ["disconnect server namespace disconnect"]);
}

#[test]
fn a_body_over_the_limit() {
    let mut world = World::new(Config::default().max_payload(1000));
    let target = join(&mut world);
    let answer = world.reply(&post_bytes(&target, TEXT, "x".repeat(1001).as_bytes()));
    assert_eq!(answer.status, 413);
    assert_eq!(world.sessions(), 1);
}

#[test]
fn without_the_generation() {
    let mut config = Config::default();
    config.generations.legacy09 = false;
    let mut world = World::new(config);
    for target in [
        "/socket.io/1/",
        "/socket.io/1/xhr-polling/x",
        "/socket.io/1//x/?disconnect=1",
        "/socket.io/2/",
    ] {
        let answer = world.reply(&get(target));
        assert_eq!(
            (answer.status, answer.text()),
            (400, "{\"code\":0,\"message\":\"Transport unknown\"}"),
            "{target}"
        );
    }
}
