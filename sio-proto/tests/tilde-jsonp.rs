//! A client of 0.6 that can only load scripts and send forms (docs/protocol/legacy-0.6.md §5.1, §7;
//! the captures sio-0.6.18-jsonp-polling and sio-0.6.1-jsonp-polling).

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::Config;

const FORM: &str = "application/x-www-form-urlencoded";

fn open(world: &mut World) -> String {
    let answer = world.reply(&get("/socket.io/jsonp-polling//1795447980466/0"));
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("text/javascript; charset=UTF-8"))
    );
    let id = answer
        .text()
        .strip_prefix("io.JSONP[0]._(\"~m~39~m~")
        .and_then(|rest| rest.strip_suffix("\");"));
    id.unwrap_or_else(|| panic!("{}", answer.text())).to_string()
}

fn poll(id: &str, index: u32) -> Vec<u8> {
    get(&format!("/socket.io/jsonp-polling/{id}/1795447980505/{index}"))
}

#[test]
fn scripts() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    let socket = world.last_socket();
    let parked = world.park(&poll(&id, 0));
    world.emit(socket, "message", "\"a \\\"b\\\" \u{2028}\"").unwrap();
    assert_eq!(
        world.answer(parked).text(),
        "io.JSONP[0]._(\"~m~7~m~a \\\"b\\\" \\u2028\");"
    );
    // Each poll names the callback that is waiting.
    let first = world.park(&poll(&id, 1));
    let second = world.park(&poll(&id, 2));
    assert_eq!(world.answer(first).text(), "io.JSONP[1]._(\"\");");
    world.pass(20_000);
    assert_eq!(world.answer(second).text(), "io.JSONP[2]._(\"\");");
    assert_eq!(world.sessions(), 1);
    let parked = world.park(&poll(&id, 3));
    world.disconnect(socket, true);
    assert_eq!(world.answer(parked).text(), "io.JSONP[3]._(\"\");");
}

#[test]
fn forms() {
    let mut world = World::new(Config::default());
    let id = open(&mut world);
    world.heard();
    let target = format!("/socket.io/jsonp-polling/{id}/1795447980505/0");
    for (body, heard) in [
        ("data=%7Em%7E5%7Em%7Eburst", &["event message \"burst\""][..]),
        (
            "data=%7Em%7E6%7Em%7Etwo+on%7Em%7E4%7Em%7E%7Ej%7E1",
            &["event message \"two on\"", "event message 1"],
        ),
        // The browser has written two characters for one, after the length was written.
        (
            "data=%7Em%7E3%7Em%7Ea%0D%0Ab%7Em%7E1%7Em%7Ec",
            &["event message \"a\\nb\"", "event message \"c\""],
        ),
        ("data=%7Em%7E4%7Em%7Ea%0D%0Ab", &["event message \"a\\r\\nb\""]),
    ] {
        let answer = world.reply(&post_bytes(&target, FORM, body.as_bytes()));
        assert_eq!((answer.status, answer.text()), (200, "ok"), "{body}");
        assert_eq!(world.heard(), heard, "{body}");
    }
}

#[test]
fn what_is_refused() {
    let mut world = World::new(Config::default());
    // Genuine servers crash on these targets.
    for target in [
        "/socket.io/jsonp-polling/",
        "/socket.io/jsonp-polling",
        "/socket.io/jsonp-polling//x/y",
    ] {
        assert_eq!(world.reply(&get(target)).status, 400, "{target}");
    }
    assert_eq!(world.reply(&poll("5515766539492415", 0)).status, 400);
    let open = get("/socket.io/jsonp-polling//1795447980466/0");
    let answer = world.reply(&with_headers(&open, "Referer: http://evil.example/"));
    assert_eq!(
        (answer.status, answer.text()),
        (200, "alert('Cross domain security restrictions not met');")
    );
    assert_eq!(world.sessions(), 0);
}
