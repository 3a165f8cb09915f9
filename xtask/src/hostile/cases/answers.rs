//! Attacks that need only one right request. The answer shows whether they succeed.

use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::Peer;
use crate::hostile::wire;
use std::net::Ipv4Addr;

/// A request that the hook of the guarded server refuses.
const REFUSED: &str = "Host: localhost\r\nX-Refuse: 1\r\n";

/// Targets of GETs that can open a session, although some of them look as if they could not.
const OPENING: &[&str] = &[
    "/socket.io/?EIO=4&transport=polling",
    "/socket.io/?EIO=3&transport=polling",
    "/socket.io/?EIO=3&transport=polling&b64=1",
    "/socket.io/?EIO=3&transport=polling&j=0",
    "/socket.io/?EIO=2&transport=polling",
    "/socket.io/?EIO=4&transport=polling&sid=",
    "/socket.io/1/",
    "/socket.io/1",
    "/socket.io/1/?jsonp=0",
    "/socket.io/1/abcdefghij0123456789?disconnect",
    "/socket.io/1/abcdefghij0123456789?disconnect=1",
    "/socket.io/1/abcdefghij0123456789/",
    "/socket.io/1/xhr-polling",
    "/socket.io/1/xhr-polling/",
    "/socket.io/xhr-polling//1234567890123",
    "/socket.io/xhr-polling/1234567890123",
    "/socket.io/xhr-polling/",
    "/socket.io/xhr-polling",
    "/socket.io/jsonp-polling//1234567890123/0",
    "/socket.io/jsonp-polling/1234567890123/0",
    "/socket.io/htmlfile//1234567890123",
    "/socket.io/htmlfile/1234567890123",
    "/socket.io/xhr-multipart/",
    "/socket.io/xhr-multipart",
    "/streaming/xhr-polling//1234567890123",
    "/streaming/xhr-polling/1234567890123",
    "/envelope/xhr-polling//1234567890123",
    "/envelope/htmlfile/1234567890123",
];

/// Targets of websocket requests that can open a session.
const UPGRADES: &[&str] = &[
    "/socket.io/?EIO=4&transport=websocket",
    "/socket.io/?EIO=3&transport=websocket",
    "/socket.io/?EIO=2&transport=flashsocket",
    "/socket.io/websocket",
    "/socket.io/websocket/1234567890123",
    "/socket.io/flashsocket",
    "/streaming/websocket",
    "/envelope/websocket",
];

/// Requests that the hook refuses must not open a session on any route.
pub(super) fn refused_routes(field: &Field) -> Outcome {
    let requests = OPENING
        .iter()
        .flat_map(|target| {
            let post = format!("POST {target} HTTP/1.1\r\n{REFUSED}Content-Length: 2\r\n\r\n40");
            [wire::get_with(target, REFUSED), post]
        })
        .chain(UPGRADES.iter().map(|target| wire::upgrade_with(target, REFUSED)));
    for request in requests {
        assert_no_session(field, ATTACKER, &request)?;
    }
    Ok(())
}

/// Scripts of a page on another site. The page tells the browser not to send a referrer.
pub(super) fn silent_scripts(field: &Field) -> Outcome {
    for target in [
        "/socket.io/?EIO=3&transport=polling&j=0",
        "/socket.io/?EIO=2&transport=polling&j=0",
        "/socket.io/?EIO=4&transport=polling&j=0",
        "/socket.io/1/?jsonp=0",
        "/socket.io/jsonp-polling//1234567890123/0",
        "/streaming/jsonp-polling//1234567890123/0",
    ] {
        assert_no_session(field, ATTACKER, &wire::get(target))?;
    }
    // A script of another page must not read a session that the server's own page has opened.
    let mut peer = field.connect()?;
    let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
    if let Some(session) = opened.split(':').next() {
        let (head, body) = peer.ask(wire::get(&format!("/socket.io/1/jsonp-polling/{session}?t=1&i=0")))?;
        if head.starts_with("HTTP/1.1 200") && body.contains("1::") {
            field.finding("a silent script reads a session of 0.9");
        }
    }
    Ok(())
}

/// A page of `attacker.example`, a name that has been changed to point to this server.
pub(super) fn foreign_hosts(field: &Field) -> Outcome {
    let host = format!("attacker.example:{}", field.port);
    let headers = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
    let silent = format!("Host: {host}\r\n");
    for target in OPENING {
        assert_no_session(field, ATTACKER, &wire::get_with(target, &headers))?;
        // A browser sends no Origin with a GET of the same origin.
        assert_no_session(field, ATTACKER, &wire::get_with(target, &silent))?;
    }
    for target in UPGRADES {
        assert_no_session(field, ATTACKER, &wire::upgrade_with(target, &headers))?;
    }
    Ok(())
}

/// Pages of other sites. Their browsers send the right name of this server, and their own.
pub(super) fn foreign_origins(field: &Field) -> Outcome {
    let port = field.port;
    for origin in [
        "http://attacker.example".to_owned(),
        format!("http://attacker.example:{port}"),
        format!("http://localhost.attacker.example:{port}"),
        format!("http://attacker.example/localhost:{port}"),
        "null".to_owned(),
        "file://".to_owned(),
    ] {
        let headers = format!("Host: localhost:{port}\r\nOrigin: {origin}\r\nCookie: io=1\r\n");
        for target in OPENING {
            assert_no_session(field, ATTACKER, &wire::get_with(target, &headers))?;
        }
        for target in UPGRADES {
            assert_no_session(field, ATTACKER, &wire::upgrade_with(target, &headers))?;
        }
    }
    Ok(())
}

/// Sends a request on a new connection, and compares the sessions before and after it.
fn assert_no_session(field: &Field, from: Ipv4Addr, request: &str) -> Outcome {
    let line = request.lines().next().unwrap_or_default();
    let before = clients::session_kinds(from, field.port)?;
    let mut peer = Peer::connect(from, field.port, None)?;
    peer.say(request)?;
    let status = peer.status();
    field.count(&peer);
    let after = clients::session_kinds(from, field.port)?;
    let opened = after
        .iter()
        // The bystander and the newcomers have sessions of this kind. For the attacker, the status
        // of the answer tells.
        .filter(|(kind, _)| *kind != "4.x websocket")
        .find(|(kind, count)| before.get(*kind) < Some(count));
    if let Some((kind, _)) = opened {
        field.finding(format!("`{line}` opened a session of {kind}"));
    } else if line.contains("EIO=4&transport=websocket") && status == "101" {
        field.finding(format!("`{line}` opened a websocket"));
    }
    Ok(())
}

/// An attacker knows the session ids of two open websockets, and connects from another address.
pub(super) fn stolen_secrets(field: &Field) -> Outcome {
    let thief = Ipv4Addr::new(127, 0, 0, 67);
    let mut victim = field.connect()?;
    let (_, opened) = victim.ask(wire::get("/socket.io/1/"))?;
    let secret = opened.split(':').next().unwrap_or_default();
    victim.upgrade(&format!("/socket.io/1/websocket/{secret}"))?;
    victim.message_with("1::")?;
    for request in [
        wire::post(
            &format!("/socket.io/1/xhr-polling/{secret}"),
            r#"5:::{"name":"echo","args":["stolen"]}"#,
        ),
        wire::upgrade(&format!("/socket.io/1/websocket/{secret}")),
        wire::get(&format!("/socket.io/1/xhr-polling/{secret}?disconnect=1")),
    ] {
        try_once(field, thief, &request)?;
    }
    victim.say(wire::text(r#"5:::{"name":"echo","args":["own"]}"#))?;
    if !victim.message_with("5:::").is_ok_and(|echo| echo.contains("own")) {
        field.finding("a websocket of 0.9 was taken over from another address");
    }
    let mut victim = field.connect()?;
    victim.upgrade("/socket.io/websocket")?;
    let opened = victim.message_with("~m~")?;
    let secret = opened.rsplit("~m~").next().unwrap_or_default();
    let message = "data=~m~6~m~stolen";
    for request in [
        format!(
            "POST /socket.io/xhr-polling/{secret}/send HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{message}",
            message.len()
        ),
        wire::upgrade(&format!("/socket.io/websocket/{secret}")),
    ] {
        try_once(field, thief, &request)?;
    }
    victim.say(wire::text("~m~3~m~own"))?;
    if !victim.message_with("~m~").is_ok_and(|echo| echo.ends_with("own")) {
        field.finding("a websocket of 0.6 was taken over from another address");
    }
    field.count(&victim);
    Ok(())
}

/// Sends a request on a new connection, and waits for any answer.
fn try_once(field: &Field, from: Ipv4Addr, request: &str) -> Outcome {
    let mut peer = Peer::connect(from, field.port, None)?;
    peer.say(request)?;
    peer.status();
    field.count(&peer);
    Ok(())
}

/// A string that begins like a frame must come back as the string, and not as the frame.
pub(super) fn frames_in_texts(field: &Field) -> Outcome {
    let mut peer = clients::join06(ATTACKER, field.port, None)?;
    for text in [r#"~j~{\"event\":\"admin\"}"#, "~h~1", "~m~3~m~abc"] {
        let message = format!("~j~\"{text}\"");
        peer.say(wire::text(&format!("~m~{}~m~{message}", message.len())))?;
        let answer = peer.message_with("~m~")?;
        let framed = answer.strip_prefix("~m~").and_then(|rest| rest.split_once("~m~"));
        let body = framed.map_or("", |(_, body)| body);
        if body.starts_with("~h~") || (body.starts_with("~j~") && !body.starts_with("~j~\"")) {
            field.finding(format!("the text {text:?} came back as {body:?}"));
        }
    }
    field.count(&peer);
    Ok(())
}
