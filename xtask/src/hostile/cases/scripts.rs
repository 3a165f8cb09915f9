//! Scripts that a client tries to write into the answers to other requests.
//!
//! An answer to JSONP is a script file, and not a part of a page: browsers are told so
//! (`nosniff`). In it, a message is one string, and nothing in the message may end the string.

use crate::failure::Outcome;
use crate::hostile::field::Field;
use crate::hostile::peer::Peer;
use crate::hostile::session::status;
use crate::hostile::wire;

/// Each character in it may end a string or a line of JavaScript.
const SCRIPT: &str = "'\u{2028}\u{2029}</script><script>alert(1)</script>";

pub(super) fn all(field: &Field) -> Outcome {
    callbacks(field)?;
    messages(field)
}

/// Names of callbacks that are more than a number.
fn callbacks(field: &Field) -> Outcome {
    for evil in [
        "1);alert(2);(",
        "alert(2)",
        "1%29%3Balert%282%29",
        "__proto__",
        "1%0d%0aX-Injected:%202",
    ] {
        for target in [
            format!("/socket.io/?EIO=3&transport=polling&b64=1&j={evil}"),
            format!("/socket.io/?EIO=4&transport=polling&j={evil}"),
            format!("/socket.io/1/?jsonp={evil}"),
            format!("/socket.io/jsonp-polling//1/{evil}"),
            format!("/streaming/jsonp-polling//1/{evil}"),
        ] {
            let mut peer = field.connect()?;
            let (head, body) = peer.ask(wire::get(&target))?;
            field.count(&peer);
            // Sessions of 0.9 that nobody opens stay for long.
            if let Some((sid, _)) = body.split_once(':').filter(|_| target.starts_with("/socket.io/1/")) {
                leave09(&mut peer, sid)?;
            }
            if body.contains("alert") || body.contains("__proto__") || head.to_lowercase().contains("x-injected:") {
                field.finding(format!("{target} was answered {head:?} {body:?}"));
            }
        }
        let mut peer = field.connect()?;
        let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
        let sid = opened.split(':').next().unwrap_or_default();
        let (head, body) = peer.ask(wire::get(&format!("/socket.io/1/jsonp-polling/{sid}?t=1&i={evil}")))?;
        if !body.starts_with("io.j[") || body.contains("alert") || body.contains("__proto__") {
            field.finding(format!("i={evil} was answered {head:?} {body:?}"));
        }
        leave09(&mut peer, sid)?;
    }
    Ok(())
}

/// Messages that end a script, or a string in it, come back in answers to JSONP.
fn messages(field: &Field) -> Outcome {
    for _ in 0..field.times(0) {
        let packet = format!("42[\"echo\",\"{SCRIPT}\"]");
        let packet = format!("{}:{packet}", packet.encode_utf16().count());
        let mut peer = field.connect()?;
        let base = "/socket.io/?EIO=3&transport=polling&b64=1&j=0";
        let (_, opened) = peer.ask(wire::get(base))?;
        let sid = opened
            .split("\\\"sid\\\":\\\"")
            .nth(1)
            .and_then(|rest| rest.split('\\').next());
        let target = format!("{base}&sid={}", sid.unwrap_or_default());
        peer.ask(wire::post_form(&target, "d", &packet))?;
        judge(field, &mut peer, &target)?;

        let (_, opened) = peer.ask(wire::get("/socket.io/1/"))?;
        let sid = opened.split(':').next().unwrap_or_default();
        let target = format!("/socket.io/1/jsonp-polling/{sid}?t=1&i=0");
        peer.ask(wire::get(&target))?;
        let message = format!("\"3:::{}\"", SCRIPT.replace('"', "\\\""));
        peer.ask(wire::post_form(&target, "d", &message))?;
        judge(field, &mut peer, &target)?;
        leave09(&mut peer, sid)?;

        let (_, opened) = peer.ask(wire::get("/socket.io/jsonp-polling//1/0"))?;
        let sid = opened.split("~m~").nth(2).and_then(|rest| rest.split('"').next());
        let target = format!("/socket.io/jsonp-polling/{}/1/0", sid.unwrap_or_default());
        peer.ask(wire::post_form(&target, "data", &wire::framed06(SCRIPT)))?;
        judge(field, &mut peer, &target)?;
        field.count(&peer);
    }
    Ok(())
}

/// Ends a session of 0.9.
pub(super) fn leave09(peer: &mut Peer, sid: &str) -> Outcome {
    peer.ask(wire::get(&format!("/socket.io/1/xhr-polling/{sid}?disconnect=1")))
        .map(|_| ())
}

/// Polls until the message comes back, and looks at how it is written.
fn judge(field: &Field, peer: &mut Peer, target: &str) -> Outcome {
    for _ in 0..5 {
        let (head, body) = peer.ask(wire::get(target))?;
        if !is_call(&body) {
            field.finding(format!("{target} was answered {body:?}"));
        }
        if !head.to_lowercase().contains("nosniff") {
            field.finding(format!("{target} may be taken for a page: {head:?}"));
        }
        if body.contains("alert") {
            return Ok(());
        }
        if status(&head) != "200" {
            break;
        }
    }
    field.finding(format!("{target}: the message never came back"));
    Ok(())
}

/// Whether a body is one call with one string.
fn is_call(body: &str) -> bool {
    let argument = body.split_once('(').and_then(|(_, rest)| rest.strip_suffix(");"));
    let is_string = argument.is_some_and(|argument| serde_json::from_str::<String>(argument).is_ok());
    // JSON allows these in a string, and JavaScript of the clients of that time does not.
    is_string && !body.contains(['\u{2028}', '\u{2029}'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_one_string() {
        assert!(is_call(r#"io.j[0]("a</script>\u2028");"#));
        for body in [
            "io.j[0](\"a\");alert(1);(\"\");",
            "io.j[0](\"\u{2028}\");",
            "alert(1)",
            "f(1);",
        ] {
            assert!(!is_call(body), "{body}");
        }
    }
}
