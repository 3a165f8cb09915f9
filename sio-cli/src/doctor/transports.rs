//! The transports of a session, whether answers come at once, and whether a session is found again.

use std::time::Duration;

use serde_json::Value;
use sio_proto::http::Response;
use tokio::time::sleep;

use super::finding::{Findings, Verdict};
use super::handshake::{self, Answer, Session};
use super::wire::{Ask, Opened, Site, Trouble, Watch, Websocket, excerpt};
use crate::clock;
use crate::ending::Failed;

/// An answer that takes longer is not at once.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How long a poll is held before something is sent.
const HELD: Duration = Duration::from_millis(200);

const PROXY: &str = "let the proxy forward upgrades: HTTP/1.1 with the fields `Upgrade` and `Connection` (nginx: \
                     proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \
                     \"upgrade\")";

const BUFFERED: &str = "switch off buffering for this path (nginx: proxy_buffering off; a CDN or an antivirus may do the \
                        same)";

const STICKY: &str = "requests of one session go to different processes: switch on sticky sessions in the load balancer \
                      (by cookie or address), or let clients use websocket only";

/// The packets that connect `/`, as a message.
const fn connect(revision: u8) -> &'static str {
    match revision {
        4 => "40",
        // In Engine.IO 3 the server connects the client by itself, and answers pings.
        _ => "2",
    }
}

/// The same, as the body of a POST.
const fn connect_body(revision: u8) -> &'static str {
    match revision {
        4 => "40",
        _ => "1:2",
    }
}

/// Ends a session, so that the server does not have to wait for its heartbeat.
pub(super) async fn close(site: &Site<'_>, session: &Session) {
    let target = site.engine(session.revision, "polling", Some(&session.sid));
    let body = if session.revision == 4 { "1" } else { "1:1" };
    let cookie = session.cookie();
    let mut headers = vec![("Content-Type", "text/plain;charset=UTF-8")];
    if !cookie.is_empty() {
        headers.push(("Cookie", &cookie));
    }
    // The session may be in another process all the same.
    let _ = site.ask(&Ask::post(&target, body).with(&headers)).await;
}

/// A new session, if the server still gives one.
async fn session(site: &Site<'_>, revision: u8) -> Option<Session> {
    match handshake::open(site, revision, &[]).await {
        Ok((Answer::Session(session), _)) => Some(session),
        _ => None,
    }
}

/// Examines whether a websocket opens, and what comes over it. Returns whether it does.
pub(super) async fn websocket(site: &Site<'_>, findings: &mut Findings<'_>, revision: u8) -> Result<bool, Failed> {
    let target = site.engine(revision, "websocket", None);
    let watch = Watch::start();
    match site.websocket(&target, &[]).await {
        Ok(Opened::Open(socket)) => opened(findings, socket, revision, &watch).await,
        Ok(Opened::Refused(response)) => {
            let (verdict, what, advice) = refused(&response);
            findings.say("websocket", verdict, what, advice)?;
            Ok(false)
        }
        Ok(Opened::Wrong(error)) => {
            let what = format!("101, but the answer is not that of a websocket: {error}");
            findings.say("websocket", Verdict::Problem, what, PROXY.to_owned())?;
            Ok(false)
        }
        Err(trouble) => {
            findings.say("websocket", Verdict::Problem, trouble.words(), PROXY.to_owned())?;
            Ok(false)
        }
    }
}

async fn opened(
    findings: &mut Findings<'_>,
    mut socket: Websocket,
    revision: u8,
    watch: &Watch,
) -> Result<bool, Failed> {
    match socket.text().await {
        Ok(open) if open.starts_with("0{") => {}
        Ok(other) => {
            let what = format!(
                "it opens, but its first message is no open packet: {}",
                crate::explain::shown(&other, 60)
            );
            findings.say("websocket", Verdict::Problem, what, None)?;
            return Ok(false);
        }
        Err(trouble) => {
            let what = format!("it opens, and then: {}", trouble.words());
            findings.say("websocket", Verdict::Problem, what, PROXY.to_owned())?;
            return Ok(false);
        }
    }
    findings.say("websocket", Verdict::Good, format!("opens in {}", watch.words()), None)?;
    let watch = Watch::start();
    let answered = match socket.send(connect(revision)).await {
        Ok(()) => answer(&mut socket, revision).await,
        Err(trouble) => Err(trouble),
    };
    match answered {
        Ok(_) if watch.took() < AT_ONCE => {
            findings.say(
                "stream",
                Verdict::Good,
                format!("a packet over the websocket is answered in {}", watch.words()),
                None,
            )?;
        }
        Ok(_) => {
            let what = format!("a packet over the websocket is answered only after {}", watch.words());
            findings.say("stream", Verdict::Warning, what, BUFFERED.to_owned())?;
        }
        Err(trouble) => {
            let what = format!("no answer to a packet over the websocket: {}", trouble.words());
            findings.say("stream", Verdict::Problem, what, BUFFERED.to_owned())?;
        }
    }
    let _ = socket.send("1").await;
    Ok(true)
}

/// Waits for the answer to [`connect`]. Other packets do not make the wait longer.
async fn answer(socket: &mut Websocket, revision: u8) -> Result<(), Trouble> {
    let until = socket.step();
    loop {
        let text = socket.text_until(until).await?;
        let is_answer = match revision {
            4 => text.starts_with("40") || text.starts_with("44"),
            _ => text.starts_with('3'),
        };
        if is_answer {
            return Ok(());
        }
        if revision == 4 && text == "2" {
            socket.send("3").await?;
        }
    }
}

fn refused(response: &Response) -> (Verdict, String, Option<String>) {
    let code = serde_json::from_slice::<Value>(&response.body)
        .ok()
        .and_then(|error| error["code"].as_u64());
    match (response.status, code) {
        (_, Some(0)) => (
            Verdict::Warning,
            "refused, Transport unknown: websocket is switched off on the server".into(),
            Some("add websocket to the option `transports` of the server".into()),
        ),
        (status, Some(3)) => (
            Verdict::Problem,
            format!("{status}, Bad request: the fields of the upgrade do not reach the server"),
            Some(PROXY.into()),
        ),
        (status, Some(code)) => (
            Verdict::Problem,
            format!("{status}, refused with code {code}: {}", excerpt(&response.body)),
            None,
        ),
        (200, None) => (
            Verdict::Problem,
            "200 instead of 101: the upgrade was taken for a usual request".into(),
            Some(PROXY.into()),
        ),
        (status, None) => (
            Verdict::Problem,
            format!("{status} instead of 101: {}", excerpt(&response.body)),
            Some(PROXY.into()),
        ),
    }
}

/// Examines whether a polling session moves to websocket.
pub(super) async fn upgrade(site: &Site<'_>, findings: &mut Findings<'_>, revision: u8) -> Result<(), Failed> {
    let Some(session) = session(site, revision).await else {
        return findings.say("upgrade", Verdict::Skipped, "no session", None);
    };
    if !session.upgrades {
        let what = "the server does not offer websocket to polling sessions";
        close(site, &session).await;
        return findings.say("upgrade", Verdict::Note, what, None);
    }
    let target = site.engine(revision, "websocket", Some(&session.sid));
    let cookie = session.cookie();
    let headers = [("Cookie", cookie.as_str())];
    let headers = if cookie.is_empty() { &headers[..0] } else { &headers[..] };
    let watch = Watch::start();
    match site.websocket(&target, headers).await {
        Ok(Opened::Open(mut socket)) => {
            let probed = match socket.send("2probe").await {
                Ok(()) => socket.text().await,
                Err(trouble) => Err(trouble),
            };
            match probed {
                Ok(pong) if pong == "3probe" => {
                    findings.say(
                        "upgrade",
                        Verdict::Good,
                        format!("from polling to websocket in {}", watch.words()),
                        None,
                    )?;
                    let _ = socket.send("5").await;
                    let _ = socket.send("1").await;
                }
                Ok(other) => {
                    let what = format!("the probe is answered with {}", crate::explain::shown(&other, 40));
                    findings.say("upgrade", Verdict::Problem, what, None)?;
                }
                Err(trouble) => {
                    let what = format!("no answer to the probe: {}", trouble.words());
                    findings.say("upgrade", Verdict::Problem, what, STICKY.to_owned())?;
                }
            }
        }
        Ok(Opened::Refused(response)) if is_unknown_session(&response) => {
            let what = "refused: the session is not known on the new connection";
            findings.say("upgrade", Verdict::Problem, what, STICKY.to_owned())?;
        }
        Ok(Opened::Refused(response)) => {
            let (verdict, what, advice) = refused(&response);
            close(site, &session).await;
            findings.say("upgrade", verdict, what, advice)?;
        }
        Ok(Opened::Wrong(error)) => findings.say("upgrade", Verdict::Problem, error, PROXY.to_owned())?,
        Err(trouble) => findings.say("upgrade", Verdict::Problem, trouble.words(), PROXY.to_owned())?,
    }
    Ok(())
}

/// Whether the server does not know the session of the request.
pub(super) fn is_unknown_session(response: &Response) -> bool {
    let code = serde_json::from_slice::<Value>(&response.body)
        .ok()
        .and_then(|error| error["code"].as_u64());
    code == Some(1)
}

/// Examines whether a poll that is held is answered when there is something, and not later.
pub(super) async fn buffering(site: &Site<'_>, findings: &mut Findings<'_>, revision: u8) -> Result<(), Failed> {
    let Some(session) = session(site, revision).await else {
        return findings.say("long poll", Verdict::Skipped, "no session", None);
    };
    let cookie = session.cookie();
    let headers = [("Cookie", cookie.as_str())];
    let headers = if cookie.is_empty() { &headers[..0] } else { &headers[..] };
    let target = site.engine(revision, "polling", Some(&session.sid));
    if revision != 4 {
        // The server says first that the client is connected.
        let _ = site.ask(&Ask::get(&target).with(headers)).await;
    }
    let poll = async {
        let polled = site.ask(&Ask::get(&target).with(headers)).await;
        (polled, clock::now())
    };
    let send = async {
        sleep(HELD).await;
        let sent = clock::now();
        let mut ask = Ask::post(&target, connect_body(revision));
        let all: Vec<(&str, &str)> = ask.headers.iter().chain(headers).copied().collect();
        ask.headers = &all;
        let taken = site.ask(&ask).await;
        (taken, sent)
    };
    let ((polled, at), (taken, sent)) = tokio::join!(poll, send);
    let late = at.saturating_duration_since(sent);
    let took = format!("{:.1} ms", late.as_secs_f64() * 1000.0);
    match (taken, polled) {
        (Ok(taken), _) if is_unknown_session(&taken) => {
            findings.say(
                "long poll",
                Verdict::Skipped,
                "the session is not found again, see `sessions`",
                None,
            )?;
        }
        (Ok(taken), Ok(polled)) if taken.status == 200 && polled.status == 200 => {
            if late < AT_ONCE {
                findings.say(
                    "long poll",
                    Verdict::Good,
                    format!("a poll that waits is answered in {took}"),
                    None,
                )?;
            } else {
                let what = format!("a poll that waits is answered only after {took}");
                findings.say("long poll", Verdict::Problem, what, BUFFERED.to_owned())?;
            }
        }
        (Ok(_), Err(trouble)) => {
            let what = format!("a poll that waits is not answered: {}", trouble.words());
            findings.say("long poll", Verdict::Problem, what, BUFFERED.to_owned())?;
        }
        (Err(trouble), _) => findings.say(
            "long poll",
            Verdict::Problem,
            format!("a POST: {}", trouble.words()),
            None,
        )?,
        (Ok(taken), Ok(polled)) => {
            let what = format!(
                "the POST is answered with {}, the poll with {}",
                taken.status, polled.status
            );
            findings.say("long poll", Verdict::Problem, what, None)?;
        }
    }
    close(site, &session).await;
    Ok(())
}

/// Examines whether the next request of a session finds it, on a new connection.
pub(super) async fn sticky(
    site: &Site<'_>,
    findings: &mut Findings<'_>,
    revision: u8,
    number: u32,
) -> Result<(), Failed> {
    let (mut lost, mut saved, mut tried) = (0, 0, 0);
    for _ in 0..number {
        let Some(session) = session(site, revision).await else {
            continue;
        };
        let target = site.engine(revision, "polling", Some(&session.sid));
        let ask = Ask::post(&target, connect_body(revision));
        let Ok(response) = site.ask(&ask).await else { continue };
        tried += 1;
        if !is_unknown_session(&response) {
            close(site, &session).await;
            continue;
        }
        lost += 1;
        let cookie = session.cookie();
        if cookie.is_empty() {
            continue;
        }
        let headers = [
            ("Cookie", cookie.as_str()),
            ("Content-Type", "text/plain;charset=UTF-8"),
        ];
        let again = site
            .ask(&Ask::post(&target, connect_body(revision)).with(&headers))
            .await;
        saved += u32::from(again.is_ok_and(|response| response.status == 200));
    }
    match (tried, lost) {
        (0, _) => findings.say("sessions", Verdict::Skipped, "no session could be examined", None),
        (_, 0) => {
            let what = format!("{tried} of {tried} sessions were found again on a new connection");
            findings.say("sessions", Verdict::Good, what, None)
        }
        _ if saved == lost => {
            let what = format!("{lost} of {tried} sessions are found again only with the cookie of the balancer");
            let advice = "browsers send the cookie (pages of other origins need withCredentials); other clients need a \
                          cookie jar, or websocket only";
            findings.say("sessions", Verdict::Warning, what, advice.to_owned())
        }
        _ => {
            let what = format!("{lost} of {tried} sessions were not found again: Session ID unknown");
            findings.say("sessions", Verdict::Problem, what, STICKY.to_owned())
        }
    }
}
