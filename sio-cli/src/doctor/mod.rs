//! `sio doctor`: tries what clients of every generation do, and says what works and what to do.
//!
//! It looks below the client: at single requests and frames, with the codecs of `sio-proto`. At the
//! end the client of `sio-tokio` connects, as a user's would.

mod finding;
mod handshake;
mod jsonp;
mod pages;
mod redirects;
mod tls;
mod transports;
mod way;
mod wire;

use std::time::Duration;

use sio_tokio::client::{ConnectionState, ErrorClass, Generation, StopReason, Transport};
use tokio::time::timeout;

use crate::arguments::Doctor;
use crate::ending::{Ending, Failed};
use crate::explain::shown;
use crate::output::Output;
use crate::run;
use finding::{Findings, Verdict};
use handshake::Session;
use tls::{SOON, Secured};
use wire::{Site, Trouble, Watch};

/// Proxies end connections that are silent for a minute.
const LONG_PING: u64 = 55_000;

/// Runs the command.
pub(crate) fn run(arguments: &Doctor, out: &mut Output) -> Result<Ending, Failed> {
    run::block_on(async {
        tokio::select! {
            ending = examine(arguments, out) => ending,
            () = run::interrupted() => Ok(Ending::Interrupted),
        }
    })
}

async fn examine(arguments: &Doctor, out: &mut Output) -> Result<Ending, Failed> {
    let site = Site::new(arguments)?;
    let mut findings = Findings::new(out, arguments.json);
    // It is known also if the time is over before the end.
    let mut is_reached = false;
    let examination = all(arguments, &site, &mut findings, &mut is_reached);
    match timeout(arguments.limit(), examination).await {
        Ok(ended) => ended?,
        Err(_) => {
            let what = format!(
                "the examination has ended after {} s: what is not above was not examined",
                arguments.limit
            );
            let advice = "look at what is slow above, or give it more time with --limit";
            findings.say("time", Verdict::Problem, what, advice.to_owned())?;
        }
    }
    let problems = findings.problems();
    findings.finish()?;
    Ok(match (is_reached, problems) {
        (false, _) => Ending::Unreachable,
        (true, 0) => Ending::Good,
        (true, _) => Ending::Bad,
    })
}

/// Examines everything. Says in between whether the server can be reached.
async fn all(
    arguments: &Doctor,
    site: &Site<'_>,
    findings: &mut Findings<'_>,
    is_reached: &mut bool,
) -> Result<(), Failed> {
    *is_reached = reach(site, findings).await?;
    if !*is_reached {
        return Ok(());
    }
    let served = handshake::examine(site, findings).await?;
    let revision = served.session.as_ref().map_or(4, |session| session.revision);
    if served.is_engine {
        let has_websocket = transports::websocket(site, findings, revision).await?;
        if let Some(session) = &served.session {
            transports::upgrade(site, findings, revision).await?;
            transports::buffering(site, findings, revision).await?;
            jsonp::examine(site, findings, served.is_old).await?;
            transports::sticky(site, findings, revision, arguments.sessions).await?;
            pages::origins(site, findings, revision, &arguments.origin, has_websocket).await?;
            pages::cookies(site, findings, session)?;
            heartbeat(findings, session)?;
            transports::close(site, session).await;
        } else {
            let what = "polling gives no session: upgrade, long polls, sessions, pages, cookies and heartbeat";
            findings.say("polling", Verdict::Skipped, what, None)?;
        }
        client(arguments, findings, revision).await?;
    } else if served.any {
        let what = "only generations before 1.0 are served: the rest of the examination is for later ones";
        findings.say("transports", Verdict::Skipped, what, None)?;
    }
    Ok(())
}

/// Whether the server can be reached at all.
async fn reach(site: &Site<'_>, findings: &mut Findings<'_>) -> Result<bool, Failed> {
    let watch = Watch::start();
    match site.connect().await {
        Ok(line) => {
            findings.say(
                "address",
                Verdict::Good,
                format!("{} in {}", line.address, watch.words()),
                None,
            )?;
            if let Some(Secured { version, ends_soon }) = &line.tls {
                let valid = format!("{version}, the certificate is valid");
                if *ends_soon {
                    let what = format!("{valid}, but for less than {SOON} days");
                    let advice = "renew it, and look at what should have renewed it";
                    findings.say("TLS", Verdict::Warning, what, advice.to_owned())?;
                } else {
                    findings.say("TLS", Verdict::Good, valid, None)?;
                }
            }
            Ok(true)
        }
        Err(trouble) => {
            let (check, advice) = match &trouble {
                Trouble::Resolve(_) => ("address", "check the name of the host"),
                Trouble::Connect(_) | Trouble::Timeout => (
                    "address",
                    "check the port, the firewall, and that the server listens on this address and not only on loopback",
                ),
                Trouble::Tls { advice, .. } => ("TLS", *advice),
                Trouble::Proxy(_) => (
                    "proxy",
                    "check --proxy, or the variables HTTPS_PROXY, HTTP_PROXY, ALL_PROXY and NO_PROXY, the user and the \
                     password, and whether the proxy may connect to this host and port; --no-proxy goes around it",
                ),
                Trouble::Broken(_) => ("address", "something else answers on this port"),
            };
            findings.say(check, Verdict::Problem, trouble.words(), advice.to_owned())?;
            Ok(false)
        }
    }
}

fn heartbeat(findings: &mut Findings<'_>, session: &Session) -> Result<(), Failed> {
    let (interval, timeout) = (session.ping_interval, session.ping_timeout);
    let what = format!("every {interval} ms, answered within {timeout} ms");
    if interval > LONG_PING {
        let advice =
            "many proxies end connections after 60 s of silence: make pingInterval smaller, or their timeout larger";
        return findings.say("heartbeat", Verdict::Warning, what, advice.to_owned());
    }
    findings.say("heartbeat", Verdict::Good, what, None)
}

/// Connects a namespace with the client of `sio-tokio`.
async fn client(arguments: &Doctor, findings: &mut Findings<'_>, revision: u8) -> Result<(), Failed> {
    let target = &arguments.target;
    let namespace = arguments.ns.as_deref().or(target.namespace.as_deref()).unwrap_or("/");
    let generation = if revision == 4 {
        Generation::Four
    } else {
        Generation::Two
    };
    let mut builder = sio_tokio::Client::builder(&target.url)
        .path(&target.path(arguments.path.as_deref()))
        .generation(generation)
        .transports([Transport::Polling, Transport::WebSocket])
        .config(|config| config.reconnection(false).try_all_transports(true));
    for (name, value) in target.query.iter().chain(&arguments.query) {
        builder = builder.query(name, value);
    }
    for (name, value) in &arguments.header {
        builder = builder.header(name, value);
    }
    builder = arguments.proxying.apply(builder, arguments.ca.as_deref())?;
    if let (true, Some(file)) = (target.is_tls, &arguments.ca) {
        let tls = sio_tokio::client::ClientTls::with_roots(crate::dialing::roots(file)?);
        builder = builder.tls(tls.map_err(|error| Failed::Usage(error.to_string()))?);
    }
    let client = crate::dialing::build(builder)?;
    let socket = client.of(namespace).map_err(|error| Failed::Usage(error.to_string()))?;
    if let Some(auth) = &arguments.auth {
        socket
            .set_auth(auth)
            .map_err(|error| Failed::Usage(error.to_string()))?;
    }
    let (tell, mut told) = tokio::sync::mpsc::unbounded_channel();
    let (good, bad) = (tell.clone(), tell);
    socket
        .on_connect(move || drop(good.send(Ok(()))))
        .on_connect_error(move |error: sio_tokio::client::ClientError| drop(bad.send(Err(error))));
    let watch = Watch::start();
    let mut states = client.states();
    socket.connect().map_err(|error| Failed::Usage(error.to_string()))?;
    let ended = timeout(arguments.patience(), told.recv()).await;
    match ended {
        Ok(Some(Ok(()))) => {
            let what = format!("a client is connected to {namespace} in {}", watch.words());
            findings.say("client", Verdict::Good, what, None)?;
        }
        Ok(Some(Err(error))) if error.class == ErrorClass::Refused => {
            let what = format!(
                "the server does not let a client into {namespace}: {}",
                shown(&error.message, 100)
            );
            let advice = "the namespace wants credentials, or does not exist: give them with --auth, --query or --header, or name it with --ns";
            findings.say("client", Verdict::Warning, what, advice.to_owned())?;
        }
        Ok(Some(Err(error))) => {
            findings.say("client", Verdict::Problem, shown(&error.message, 200), None)?;
        }
        Ok(None) | Err(_) => {
            let what = format!("a client is not connected to {namespace} in time");
            findings.say("client", Verdict::Problem, what, None)?;
        }
    }
    client.close();
    let goodbye = async {
        while let Some(state) = states.next_state().await {
            if matches!(state, ConnectionState::Stopped(StopReason::Closed)) {
                break;
            }
        }
    };
    let _ = timeout(Duration::from_secs(1), goodbye).await;
    Ok(())
}
