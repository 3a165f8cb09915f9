//! Pages: origins, CORS and cookies.

use sio_proto::http::{Method, Response};

use super::finding::{Findings, Verdict};
use super::handshake::{self, Answer, Session};
use super::transports::close;
use super::wire::{Ask, Opened, Site};
use crate::ending::Failed;
use crate::explain::shown;

/// The origin of a page that nobody has allowed.
const FOREIGN: &str = "https://foreign.example";

const TWICE: &str = "let only one of the proxy and the server send headers of CORS (nginx: without add_header, or with \
                     proxy_hide_header Access-Control-Allow-Origin)";

/// Which pages may connect.
pub(super) async fn origins(
    site: &Site<'_>,
    findings: &mut Findings<'_>,
    revision: u8,
    wanted: &[String],
    has_websocket: bool,
) -> Result<(), Failed> {
    let own = site.target.origin();
    let advice = "compare `Host` behind the proxy with the URL: a proxy that changes Host makes every page foreign (nginx: \
                  proxy_set_header Host $host), or allow the origin in the server";
    page(site, findings, revision, ("own page", &own, advice), has_websocket).await?;
    for origin in wanted {
        let advice = "allow this origin in the server (cors.origin, or Config::origins)";
        page(site, findings, revision, ("wanted page", origin, advice), has_websocket).await?;
    }
    foreign(site, findings, revision, has_websocket).await
}

/// A page that should be able to connect.
async fn page(
    site: &Site<'_>,
    findings: &mut Findings<'_>,
    revision: u8,
    (check, origin, advice): (&'static str, &str, &str),
    has_websocket: bool,
) -> Result<(), Failed> {
    let is_own = check == "own page";
    match handshake::open(site, revision, &[("Origin", origin)]).await {
        Ok((Answer::Session(session), response)) => {
            close(site, &session).await;
            if is_own || may_read(&response, origin) {
                findings.say(check, Verdict::Good, format!("{origin} may poll"), None)?;
            } else if is_doubled(&response) {
                let what =
                    format!("{origin} gets a session, and cannot read it: Access-Control-Allow-Origin is sent twice");
                findings.say(check, Verdict::Problem, what, TWICE.to_owned())?;
            } else {
                let what = format!("{origin} gets a session, but no CORS header that lets it read the answer");
                findings.say(check, Verdict::Problem, what, advice.to_owned())?;
            }
        }
        Ok((_, response)) => {
            let what = format!("{origin} is refused with {}", response.status);
            findings.say(check, Verdict::Problem, what, advice.to_owned())?;
        }
        Err(trouble) => findings.say(check, Verdict::Problem, trouble.words(), None)?,
    }
    if has_websocket && !opens(site, revision, origin).await {
        let what = format!("{origin} is refused a websocket");
        findings.say(check, Verdict::Problem, what, advice.to_owned())?;
    }
    Ok(())
}

/// Whether a page of this origin may open a websocket.
async fn opens(site: &Site<'_>, revision: u8, origin: &str) -> bool {
    let target = site.engine(revision, "websocket", None);
    match site.websocket(&target, &[("Origin", origin)]).await {
        Ok(Opened::Open(mut socket)) => {
            // A server that refuses after the upgrade sends an error, or ends.
            let is_open = socket.text().await.is_ok_and(|text| text.starts_with('0'));
            let _ = socket.send("1").await;
            is_open
        }
        _ => false,
    }
}

fn allowed(response: &Response) -> Option<String> {
    response
        .headers
        .text("access-control-allow-origin")
        .map(|value| value.into_owned())
}

/// Whether there are several origins. Browsers refuse this (Fetch Standard, CORS check).
fn is_doubled(response: &Response) -> bool {
    response.headers.get_all("access-control-allow-origin").count() > 1
}

fn may_read(response: &Response, origin: &str) -> bool {
    !is_doubled(response) && allowed(response).is_some_and(|allowed| allowed == "*" || allowed == origin)
}

fn with_cookies(response: &Response) -> bool {
    let value = response.headers.text("access-control-allow-credentials");
    value.is_some_and(|value| value == "true")
}

/// A page that nobody has allowed.
async fn foreign(
    site: &Site<'_>,
    findings: &mut Findings<'_>,
    revision: u8,
    has_websocket: bool,
) -> Result<(), Failed> {
    let polls = handshake::open(site, revision, &[("Origin", FOREIGN)]).await;
    let (mut gets, mut reads, mut cookies) = (false, false, false);
    if let Ok((Answer::Session(session), response)) = &polls {
        close(site, session).await;
        gets = true;
        reads = may_read(response, FOREIGN);
        cookies = reads && with_cookies(response);
    }
    let opens = has_websocket && opens(site, revision, FOREIGN).await;
    let (verdict, what) = match (reads, cookies, opens) {
        (true, true, _) => (
            Verdict::Warning,
            "every page may connect, with the cookies of its visitor",
        ),
        (true, false, _) => (Verdict::Note, "every page may connect, without cookies"),
        (false, _, true) => (
            Verdict::Warning,
            "a page of another origin may not read polls, but may open a websocket, with the cookies of its visitor",
        ),
        (false, _, false) if gets => (
            Verdict::Good,
            "a page of another origin may not read the answers to its polls",
        ),
        (false, _, false) => (Verdict::Good, "a page of another origin is refused"),
    };
    let advice = "if cookies log your users in, allow only origins that you know";
    let advice = (verdict == Verdict::Warning).then(|| advice.to_owned());
    findings.say("foreign page", verdict, what, advice)?;
    preflight(site, findings, revision).await
}

async fn preflight(site: &Site<'_>, findings: &mut Findings<'_>, revision: u8) -> Result<(), Failed> {
    let target = site.engine(revision, "polling", None);
    let headers = [("Origin", FOREIGN), ("Access-Control-Request-Method", "POST")];
    let ask = Ask {
        method: Method::Options,
        ..Ask::get(&target).with(&headers)
    };
    match site.ask(&ask).await {
        Ok(response) => {
            let origin = allowed(&response).map_or_else(|| "no origin".to_owned(), |allowed| shown(&allowed, 60));
            let what = format!("preflight of a foreign page: {}, allows {origin}", response.status);
            findings.say("CORS", Verdict::Note, what, None)
        }
        Err(trouble) => findings.say(
            "CORS",
            Verdict::Warning,
            format!("preflight: {}", trouble.words()),
            None,
        ),
    }
}

/// The cookies of a handshake.
pub(super) fn cookies(site: &Site<'_>, findings: &mut Findings<'_>, session: &Session) -> Result<(), Failed> {
    if session.cookies.is_empty() {
        return findings.say("cookies", Verdict::Note, "the server sets no cookie", None);
    }
    for cookie in &session.cookies {
        let mut parts = cookie.split(';').map(str::trim);
        let name = parts.next().and_then(|pair| pair.split('=').next()).unwrap_or_default();
        let attributes: Vec<String> = parts.map(str::to_ascii_lowercase).collect();
        let has = |name: &str| attributes.iter().any(|attribute| attribute == name);
        let name = shown(name, 40);
        let mut missing = Vec::new();
        if has("samesite=none") && !has("secure") {
            missing.push("browsers drop it: SameSite=None needs Secure");
        }
        if site.target.is_tls && !has("secure") {
            missing.push("it is not Secure");
        }
        if !has("httponly") {
            missing.push("scripts can read it: it is not HttpOnly");
        }
        if missing.is_empty() {
            findings.say("cookies", Verdict::Good, name, None)?;
        } else {
            let what = format!("{name}: {}", missing.join("; "));
            findings.say(
                "cookies",
                Verdict::Warning,
                what,
                "set the attributes where the cookie is made".to_owned(),
            )?;
        }
    }
    Ok(())
}
