//! Polling by scripts (JSONP), which the oldest browsers of Socket.IO 1 and 2 need
//! (docs/protocol/engine-io.md §4.6).

use sio_proto::http::Response;

use super::finding::{Findings, Verdict};
use super::handshake::{Session, cookies};
use super::transports::{close, is_unknown_session};
use super::wire::{Ask, Site, Trouble, Watch, excerpt};
use crate::ending::Failed;

/// What stands in front of the payload, with the number of the request.
const BEGIN: &str = "___eio[0](";

/// The type of a body that a page sends with a form.
const FORM: &str = "application/x-www-form-urlencoded";

/// A ping, as the form of a page has it.
const PING: &str = "d=1%3A2";

const TYPE: &str = "send `Content-Type: text/javascript` for these answers, or no `X-Content-Type-Options: nosniff` (nginx: \
                    add_header in the server, or the middleware helmet)";

const CHANGED: &str = "the answer has to be the script of the server, and nothing else: look for a proxy that changes \
                       JavaScript, or blocks it";

/// Examines whether a page can poll by scripts. Only clients of Engine.IO 3 do this.
pub(super) async fn examine(site: &Site<'_>, findings: &mut Findings<'_>, is_old: bool) -> Result<(), Failed> {
    if !is_old {
        let what = "only clients of Socket.IO 1 and 2 use it, and they are not served";
        return findings.say("JSONP", Verdict::Skipped, what, None);
    }
    let (verdict, what, advice) = match polled(site).await {
        Ok(found) => found,
        Err(trouble) => (Verdict::Warning, trouble.words(), None),
    };
    findings.say("JSONP", verdict, what, advice.map(str::to_owned))
}

type Found = (Verdict, String, Option<&'static str>);

async fn polled(site: &Site<'_>) -> Result<Found, Trouble> {
    let watch = Watch::start();
    // A script is loaded by a page. Careful servers want to know by which.
    let page = format!("{}/", site.target.origin());
    let headers = [("Referer", page.as_str())];
    let target = format!("{}&j=0", site.engine(3, "polling", None));
    let response = site.ask(&Ask::get(&target).with(&headers)).await?;
    if response.status != 200 {
        let what = format!("refused with {}: {}", response.status, excerpt(&response.body));
        return Ok((Verdict::Note, what, None));
    }
    let Some(session) = payload(&response).and_then(|payload| session(&payload, &response)) else {
        let what = format!(
            "the answer is not the script of a handshake: {}",
            excerpt(&response.body)
        );
        return Ok((Verdict::Warning, what, Some(CHANGED)));
    };
    let found = talked(site, &session, &response, &headers).await;
    close(site, &session).await;
    Ok(match found? {
        Some(found) => found,
        None => {
            let what = format!(
                "a page polls by scripts: handshake, ping and answer in {}",
                watch.words()
            );
            (Verdict::Good, what, None)
        }
    })
}

/// Sends a ping by a form, and waits for its answer in a script. Returns what is wrong.
async fn talked(
    site: &Site<'_>,
    session: &Session,
    opened: &Response,
    headers: &[(&str, &str)],
) -> Result<Option<Found>, Trouble> {
    if !runs(opened) {
        let what = "browsers do not run the answers: their type is not that of scripts, and must not be guessed";
        return Ok(Some((Verdict::Warning, what.into(), Some(TYPE))));
    }
    let target = format!("{}&j=0", site.engine(3, "polling", Some(&session.sid)));
    let cookie = session.cookie();
    let mut headers = headers.to_vec();
    if !cookie.is_empty() {
        headers.push(("Cookie", &cookie));
    }
    let mut all = vec![("Content-Type", FORM)];
    all.extend_from_slice(&headers);
    let sent = site.ask(&Ask::post(&target, PING).with(&all)).await?;
    if is_unknown_session(&sent) {
        return Ok(Some(lost_session()));
    }
    if sent.status != 200 {
        let what = format!("a form is answered with {}: {}", sent.status, excerpt(&sent.body));
        return Ok(Some((Verdict::Warning, what, None)));
    }
    // The first script may only say that the client is connected.
    for _ in 0..2 {
        let response = site.ask(&Ask::get(&target).with(&headers)).await?;
        if is_unknown_session(&response) {
            return Ok(Some(lost_session()));
        }
        match payload(&response) {
            None => {
                let what = format!(
                    "a poll is answered with {}: {}",
                    response.status,
                    excerpt(&response.body)
                );
                return Ok(Some((Verdict::Warning, what, Some(CHANGED))));
            }
            Some(payload) if payload.contains("1:3") => return Ok(None),
            Some(_) => {}
        }
    }
    Ok(Some((
        Verdict::Warning,
        "the ping of a form is not answered".into(),
        None,
    )))
}

/// Another check says what is wrong.
fn lost_session() -> Found {
    let what = "the session is not found again, see `sessions`";
    (Verdict::Skipped, what.into(), None)
}

/// The payload inside of a script.
fn payload(response: &Response) -> Option<String> {
    let body = std::str::from_utf8(&response.body).ok()?;
    let literal = body.trim().strip_prefix(BEGIN)?.strip_suffix(");")?;
    serde_json::from_str(literal).ok()
}

/// Reads the open packet of a payload. Its length stands before it.
fn session(payload: &str, response: &Response) -> Option<Session> {
    let (_, fields) = payload.split_once(":0")?;
    Session::read(fields, 3, cookies(response))
}

/// Whether a browser runs the script.
fn runs(response: &Response) -> bool {
    let is = |name: &str, wanted: &[&str]| {
        let value = response.headers.text(name).unwrap_or_default().to_ascii_lowercase();
        wanted.iter().any(|wanted| value.contains(wanted))
    };
    is("content-type", &["javascript", "ecmascript"]) || !is("x-content-type-options", &["nosniff"])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(headers: &[(&str, &str)], body: &'static str) -> Response {
        Response {
            status: 200,
            reason: "OK".into(),
            version_minor: 1,
            headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect(),
            body: body.as_bytes().into(),
            keep_alive: true,
        }
    }

    #[test]
    fn scripts_are_read() {
        let script = "___eio[0](\"97:0{\\\"sid\\\":\\\"a\\\",\\\"upgrades\\\":[],\\\"pingInterval\\\":1,\\\"pingTimeout\\\":2}\");";
        let payload = payload(&response(&[], script)).unwrap();
        assert_eq!(session(&payload, &response(&[], "")).unwrap().sid, "a");
        for wrong in [
            "",
            "___eio[1](\"1:6\");",
            "<html>",
            "___eio[0](1);",
            "___eio[0](\"1:6\")",
        ] {
            assert!(super::payload(&response(&[], wrong)).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_type_that_must_not_be_guessed_has_to_be_that_of_scripts() {
        let nosniff = ("X-Content-Type-Options", "nosniff");
        let plain = ("Content-Type", "text/plain; charset=UTF-8");
        assert!(runs(&response(&[plain], "")));
        assert!(!runs(&response(&[plain, nosniff], "")));
        assert!(runs(&response(&[("Content-Type", "text/javascript"), nosniff], "")));
    }
}
