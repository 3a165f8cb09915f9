//! The handshakes of each generation, and mistakes in the path.

use serde_json::Value;
use sio_proto::ByteString;
use sio_proto::http::Response;
use sio_proto::legacy::legacy09::handshake::Handshake;

use super::finding::{Findings, Verdict};
use super::redirects;
use super::wire::{Ask, Site, Trouble, Watch, excerpt};
use crate::ending::Failed;
use crate::explain::shown;

/// Other paths under which servers are found.
const PATHS: &[&str] = &[
    "/socket.io/",
    "/engine.io/",
    "/api/socket.io/",
    "/ws/socket.io/",
    "/ws/",
];

const SILENT: &str = "something takes the connection and says nothing: a server that is stuck, a proxy that waits for it, or \
                      a path that nobody serves (a server of Node.js without other handlers does not answer it): check \
                      the option `path`, or give it more time with --timeout";

/// What a handshake of Engine.IO has told.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) revision: u8,
    pub(super) sid: String,
    pub(super) upgrades: bool,
    pub(super) ping_interval: u64,
    pub(super) ping_timeout: u64,
    /// The cookies that were set, as `Set-Cookie` has them.
    pub(super) cookies: Vec<String>,
}

impl Session {
    /// Reads the object of an open packet, behind which anything may stand.
    pub(super) fn read(text: &str, revision: u8, cookies: Vec<String>) -> Option<Self> {
        let mut fields = serde_json::Deserializer::from_str(text).into_iter::<Value>();
        let fields = fields.next()?.ok()?;
        Some(Self {
            revision,
            sid: fields["sid"].as_str()?.to_owned(),
            upgrades: fields["upgrades"]
                .as_array()?
                .iter()
                .any(|upgrade| upgrade == "websocket"),
            ping_interval: fields["pingInterval"].as_u64()?,
            ping_timeout: fields["pingTimeout"].as_u64()?,
            cookies,
        })
    }

    /// The value of `Cookie`.
    pub(super) fn cookie(&self) -> String {
        let pairs = self
            .cookies
            .iter()
            .map(|cookie| cookie.split(';').next().unwrap_or_default().trim());
        pairs.collect::<Vec<_>>().join("; ")
    }
}

/// What the answer to a handshake means.
pub(super) enum Answer {
    Session(Session),
    /// A refusal of Engine.IO, with its code.
    Refused(u64, String),
    Other(Response),
}

/// Opens a session over polling.
pub(super) async fn open(
    site: &Site<'_>,
    revision: u8,
    headers: &[(&str, &str)],
) -> Result<(Answer, Response), Trouble> {
    let target = site.engine(revision, "polling", None);
    let response = site.ask(&Ask::get(&target).with(headers)).await?;
    Ok((read(&response, revision), response))
}

fn read(response: &Response, revision: u8) -> Answer {
    if let Some(session) = (response.status == 200).then(|| session(response, revision)).flatten() {
        return Answer::Session(session);
    }
    let error: Option<Value> = serde_json::from_slice(&response.body).ok();
    if let Some(code) = error.as_ref().and_then(|error| error["code"].as_u64()) {
        let message = error
            .as_ref()
            .and_then(|error| error["message"].as_str())
            .unwrap_or_default();
        return Answer::Refused(code, shown(message, 100));
    }
    Answer::Other(response.clone())
}

/// Reads the open packet: the first packet of a payload, in text or in bytes.
fn session(response: &Response, revision: u8) -> Option<Session> {
    let body = String::from_utf8_lossy(&response.body);
    let begin = body.find("0{\"")?;
    // Only a length may stand before the packet.
    if begin > 12 || (revision == 4 && begin > 0) {
        return None;
    }
    Session::read(&body[begin + 1..], revision, cookies(response))
}

/// The cookies that an answer sets, as `Set-Cookie` has them.
pub(super) fn cookies(response: &Response) -> Vec<String> {
    let cookies = response.headers.get_all("set-cookie");
    cookies
        .map(|value| String::from_utf8_lossy(value).into_owned())
        .collect()
}

/// What is served.
#[derive(Default)]
pub(super) struct Served {
    /// The session with which the examination goes on.
    pub(super) session: Option<Session>,
    /// Whether clients of Engine.IO 3 get a session.
    pub(super) is_old: bool,
    /// Whether Engine.IO answers at all, perhaps with a refusal.
    pub(super) is_engine: bool,
    /// Whether anything of Socket.IO answers.
    pub(super) any: bool,
}

/// Tries every generation.
pub(super) async fn examine(site: &Site<'_>, findings: &mut Findings<'_>) -> Result<Served, Failed> {
    let mut served = Served::default();
    let mut four = None;
    for (revision, check, versions) in [
        (4, "Engine.IO 4", "Socket.IO 3 and 4"),
        (3, "Engine.IO 3", "Socket.IO 1 and 2"),
    ] {
        let watch = Watch::start();
        match open(site, revision, &[]).await {
            Ok((Answer::Session(session), _)) => {
                let what = format!(
                    "polling handshake in {}: clients of {versions} are served",
                    watch.words()
                );
                findings.say(check, Verdict::Good, what, None)?;
                served.is_engine = true;
                served.is_old |= revision == 3;
                served.session.get_or_insert(session);
            }
            Ok((Answer::Refused(code, message), _)) => {
                served.is_engine = true;
                let what = format!("refused with code {code}, {message}: {}", refused(code, versions));
                findings.say(check, Verdict::Note, what, None)?;
            }
            Ok((Answer::Other(response), _)) if revision == 4 => four = Some(Ok(response)),
            Err(trouble) if revision == 4 => four = Some(Err(trouble)),
            Ok(_) | Err(_) => {}
        }
    }
    served.any = served.is_engine;
    legacy(site, findings, &mut served).await?;
    match four {
        Some(_) if served.any => findings.say(
            "Engine.IO 4",
            Verdict::Note,
            "clients of Socket.IO 3 and 4 are not served",
            None,
        )?,
        Some(Ok(response)) => mistake(site, findings, &response).await?,
        Some(Err(trouble)) => {
            let advice = match trouble {
                Trouble::Timeout => Some(SILENT.to_owned()),
                _ => None,
            };
            findings.say("handshake", Verdict::Problem, trouble.words(), advice)?;
            elsewhere(site, findings).await?;
        }
        None => {}
    }
    Ok(served)
}

fn refused(code: u64, versions: &str) -> String {
    match code {
        0 => "polling is switched off".into(),
        3 => "the server does not like the request, for example its origin or its Host".into(),
        4 => "the application wants credentials (--header), or the server does not know this name of the host".into(),
        5 => format!("clients of {versions} are not served"),
        _ => "no reason that is known".into(),
    }
}

/// The generations before 1.0.
async fn legacy(site: &Site<'_>, findings: &mut Findings<'_>, served: &mut Served) -> Result<(), Failed> {
    let mut target = format!("{}1/", site.path);
    site.put_query(&mut target);
    if let Ok(response) = site.ask(&Ask::get(&target)).await {
        let body = ByteString::try_from(response.body.clone()).unwrap_or_default();
        let is_handshake = response.status == 200 && body.contains(':') && Handshake::decode(&body).is_ok();
        served.any |= is_handshake;
        let what = if is_handshake {
            "clients of 0.7 to 0.9 are served"
        } else {
            "clients of 0.7 to 0.9 are not served"
        };
        findings.say("Socket.IO 0.9", Verdict::Note, what, None)?;
    }
    let mut target = format!("{}xhr-polling/", site.path);
    site.put_query(&mut target);
    if let Ok(response) = site.ask(&Ask::get(&target)).await {
        let is_framed = response.status == 200 && response.body.starts_with(b"~m~");
        served.any |= is_framed;
        let what = if is_framed {
            "clients of 0.6 are served"
        } else {
            "clients of 0.6 are not served"
        };
        findings.say("Socket.IO 0.6", Verdict::Note, what, None)?;
    }
    Ok(())
}

/// Says what an answer means that no server of Socket.IO gives, and looks for the server.
async fn mistake(site: &Site<'_>, findings: &mut Findings<'_>, response: &Response) -> Result<(), Failed> {
    let is_page = response.body.trim_ascii_start().starts_with(b"<");
    let (what, advice) = match response.status {
        404 => (
            format!("404 at {}: nobody serves this path", site.path),
            "check the option `path` of the server and of the client, and whether the proxy forwards this path",
        ),
        status if redirects::is_redirect(status) => redirects::follow(site, response).await,
        status @ (401 | 403 | 407) => (
            format!(
                "{status}: refused before Socket.IO answers: {}",
                excerpt(&response.body)
            ),
            "a proxy or the application wants credentials: give them with --header",
        ),
        status @ (500 | 502 | 503 | 504) => (
            format!("{status}: {}", excerpt(&response.body)),
            "the proxy does not reach the server, or the server is down: look at their logs",
        ),
        200 if is_page => (
            format!("an HTML page answers at {}", site.path),
            "the proxy or the application sends its page for every path: forward the path of Socket.IO before that rule",
        ),
        status => (
            format!(
                "{status} with a body that is not of Socket.IO: {}",
                excerpt(&response.body)
            ),
            "something else answers at this URL: check host, port and path",
        ),
    };
    findings.say("path", Verdict::Problem, what, advice.to_owned())?;
    elsewhere(site, findings).await
}

/// Looks for the server at other paths.
async fn elsewhere(site: &Site<'_>, findings: &mut Findings<'_>) -> Result<(), Failed> {
    for path in PATHS.iter().filter(|path| **path != site.path) {
        let target = site.engine_at(path, 4, "polling", None);
        let Ok(response) = site.ask(&Ask::get(&target)).await else {
            continue;
        };
        if !matches!(read(&response, 4), Answer::Other(_)) {
            let advice = format!("use `--path {path}` here, and the option path: \"{path}\" in the client");
            findings.say(
                "path",
                Verdict::Note,
                format!("a server of Socket.IO answers at {path}"),
                advice,
            )?;
        }
    }
    Ok(())
}
