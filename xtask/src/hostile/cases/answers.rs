//! Attacks that need only one right request. The answer shows whether they succeed.

use super::scripts::leave09;
use crate::failure::Outcome;
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::{Peer, header};
use crate::hostile::session::status;
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

/// Requests that the hook refuses must not open a session on any route. Without the word that it
/// refuses, each of them opens one.
pub(super) fn refused_routes(field: &Field) -> Outcome {
    for target in OPENING {
        let post = |headers: &str| format!("POST {target} HTTP/1.1\r\n{headers}Content-Length: 2\r\n\r\n40");
        assert_refused(field, &wire::get_with(target, REFUSED))?;
        assert_refused(field, &post(REFUSED))?;
        let own = own_page(field);
        assert_opened(field, target, &wire::get_with(target, &own))?;
        // Only 0.7 to 0.9 are opened by a POST, too.
        if generation(target) == "0.7-0.9" {
            assert_opened(field, target, &post(&own))?;
        }
    }
    for target in UPGRADES {
        assert_refused(field, &wire::upgrade_with(target, REFUSED))?;
        assert_opened(field, target, &wire::upgrade_with(target, &own_page(field)))?;
    }
    Ok(())
}

/// The header fields of a page of this server.
fn own_page(field: &Field) -> String {
    let host = format!("localhost:{}", field.port);
    format!("Host: {host}\r\nOrigin: http://{host}\r\n")
}

/// Scripts of a page on another site. The page tells the browser not to send a referrer. A page of
/// this server does not.
pub(super) fn silent_scripts(field: &Field) -> Outcome {
    let host = format!("localhost:{}", field.port);
    let referred = format!("Host: {host}\r\nReferer: http://{host}/page\r\n");
    for target in [
        "/socket.io/?EIO=3&transport=polling&j=0",
        "/socket.io/?EIO=2&transport=polling&j=0",
        "/socket.io/?EIO=4&transport=polling&j=0",
        "/socket.io/1/?jsonp=0",
        "/socket.io/jsonp-polling//1234567890123/0",
        "/streaming/jsonp-polling//1234567890123/0",
    ] {
        assert_refused(field, &wire::get(target))?;
        assert_opened(field, target, &wire::get_with(target, &referred))?;
    }
    // A script of another page must not read a session that the server's own page has opened. The
    // own page does read it.
    let mut peer = field.connect()?;
    let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
    let session = opened.split(':').next().unwrap_or_default();
    let target = format!("/socket.io/1/jsonp-polling/{session}?t=1&i=0");
    for (headers, is_read) in [("Host: localhost\r\n", false), (&*referred, true)] {
        let (head, body) = peer.ask(wire::get_with(&target, headers))?;
        if (head.starts_with("HTTP/1.1 200") && body.contains("1::")) != is_read {
            field.finding(format!("a script with {headers:?} was answered {head:?} {body:?}"));
        }
    }
    leave09(&mut peer, session)
}

/// A page of `attacker.example`, a name that has been changed to point to this server. The same
/// requests of a page that has the right name are let in.
pub(super) fn foreign_hosts(field: &Field) -> Outcome {
    let host = format!("attacker.example:{}", field.port);
    let headers = format!("Host: {host}\r\nOrigin: http://{host}\r\n");
    let silent = format!("Host: {host}\r\n");
    for target in OPENING {
        assert_refused(field, &wire::get_with(target, &headers))?;
        // A browser sends no Origin with a GET of the same origin.
        assert_refused(field, &wire::get_with(target, &silent))?;
        assert_opened(field, target, &wire::get_with(target, &own_page(field)))?;
        if !is_script(target) {
            assert_opened(field, target, &wire::get(target))?;
        }
    }
    for target in UPGRADES {
        assert_refused(field, &wire::upgrade_with(target, &headers))?;
        assert_opened(field, target, &wire::upgrade_with(target, &own_page(field)))?;
    }
    Ok(())
}

/// Pages of other sites. Their browsers send the right name of this server, and their own. Pages of
/// this server are let in.
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
            assert_refused(field, &wire::get_with(target, &headers))?;
        }
        for target in UPGRADES {
            assert_refused(field, &wire::upgrade_with(target, &headers))?;
        }
    }
    let own = format!("{}Cookie: io=1\r\n", own_page(field));
    for target in OPENING {
        assert_opened(field, target, &wire::get_with(target, &own))?;
    }
    for target in UPGRADES {
        assert_opened(field, target, &wire::upgrade_with(target, &own))?;
    }
    Ok(())
}

/// Whether only a script or a frame of a page asks for this target, so that it has to say which
/// page it is of.
fn is_script(target: &str) -> bool {
    ["j=0", "jsonp", "htmlfile"].iter().any(|part| target.contains(part))
}

/// Returns the generation of the session that this target opens, as `/__stats` names it.
fn generation(target: &str) -> &'static str {
    match target {
        target if target.contains("EIO=4") => "4.x",
        target if target.contains("EIO=") => "1.x-2.x",
        target if target.starts_with("/socket.io/1") => "0.7-0.9",
        _ => "0.6",
    }
}

/// Pages of a site that may read answers, and of one that may not. A cache between them must be
/// told that the answers differ, or it gives the answer of one page to the other. Before 1.0 every
/// page that may connect may read, and on this server all may.
pub(super) fn varying(field: &Field) -> Outcome {
    let (good, evil) = ("http://good.example", "http://evil.example");
    let mut named = 0;
    for target in OPENING {
        for origin in [good, evil] {
            let request = wire::get_with(target, &format!("Host: localhost\r\nOrigin: {origin}\r\n"));
            let (head, _) = open(field, &request)?;
            let reader = header(&head, "access-control-allow-origin");
            let may_read = origin == good || generation(target).starts_with("0.");
            if reader.is_some_and(|reader| reader != origin || !may_read) {
                field.finding(format!("{} may be read by {reader:?}", title(&request)));
            }
            // A page loads a frame without reading it. Its answer is the same for all pages.
            if !target.contains("htmlfile") && !varies_by_origin(&head) {
                field.finding(format!("{} does not vary by Origin: {head:?}", title(&request)));
            }
            named += u64::from(reader == Some(good));
        }
    }
    field.assert_least("answers that name the page that may read them", named, 20);
    Ok(())
}

/// Whether the answer says that it depends on the page that asks.
fn varies_by_origin(head: &str) -> bool {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    let mut vary = fields.filter(|(name, _)| name.eq_ignore_ascii_case("vary"));
    vary.any(|(_, value)| value.split(',').any(|name| name.trim().eq_ignore_ascii_case("origin")))
}

/// Sends a request that must open no session.
fn assert_refused(field: &Field, request: &str) -> Outcome {
    let (head, kinds) = open(field, request)?;
    if !kinds.is_empty() || status(&head) == "101" {
        field.finding(format!("{} opened {kinds:?}: {head:?}", title(request)));
    }
    Ok(())
}

/// Sends a request that opens one session. Without this, a refusal might have any other reason.
fn assert_opened(field: &Field, target: &str, request: &str) -> Outcome {
    let (head, kinds) = open(field, request)?;
    if !matches!(&kinds[..], [kind] if kind.starts_with(generation(target))) {
        field.finding(format!("{} opened {kinds:?}: {head:?}", title(request)));
    }
    Ok(())
}

/// Names a request in a sentence.
fn title(request: &str) -> String {
    let lines: Vec<&str> = request.lines().take_while(|line| !line.is_empty()).collect();
    format!("`{}`", lines.join(" | "))
}

/// Sends a request on a new connection. Returns the head of the answer, and the kinds of sessions
/// that have been opened meanwhile. Nobody else opens one.
fn open(field: &Field, request: &str) -> Outcome<(String, Vec<String>)> {
    let _alone = field.without_newcomers();
    let before = clients::opened(ATTACKER, field.port)?;
    let mut peer = field.connect()?;
    peer.say(request)?;
    let (head, body) = peer.response().unwrap_or_default();
    let after = clients::opened(ATTACKER, field.port)?;
    let kinds: Vec<String> = after
        .into_iter()
        .filter(|(kind, count)| *count > before.get(kind).copied().unwrap_or(0))
        .map(|(kind, _)| kind)
        .collect();
    if kinds.iter().any(|kind| kind.starts_with("0.7-0.9")) {
        // It would stay for long.
        let sid = body
            .split(['(', '"', ':'])
            .find(|part| part.len() > 20)
            .unwrap_or_default();
        leave09(&mut peer, sid)?;
    }
    field.count(&peer);
    Ok((head, kinds))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_varies_by_origin_if_it_says_so() {
        for head in ["HTTP/1.1 200 OK\r\nVary: Origin", "x\r\nvary: Accept, origin\r\ny: 1"] {
            assert!(varies_by_origin(head), "{head}");
        }
        for head in ["HTTP/1.1 200 OK", "x\r\nVary: Accept", "x\r\nOrigin: vary"] {
            assert!(!varies_by_origin(head), "{head}");
        }
    }

    #[test]
    fn targets_name_their_generation() {
        assert_eq!(generation("/socket.io/?EIO=4&transport=polling"), "4.x");
        assert_eq!(generation("/socket.io/?EIO=2&transport=flashsocket"), "1.x-2.x");
        assert_eq!(generation("/socket.io/1"), "0.7-0.9");
        assert_eq!(generation("/streaming/websocket"), "0.6");
    }
}
