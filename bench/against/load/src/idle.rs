//! Clients that do nothing: their memory, and what their heartbeats cost.

use std::time::Duration;

use crate::arguments::{Options, Scenario};
use crate::clients;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::frames::{self, Other};
use crate::handshake::Greeting;
use crate::link::Link;
use crate::messages::{self, Message};
use crate::report::Report;
use crate::server;
use crate::turns::Turns;

/// The server gets this time to finish what it does, before its memory is looked at.
const REST: Duration = Duration::from_secs(1);

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let [message, _] = messages::of_place(options, 0, 0);
    // What the server needs once, such as code that comes into memory, is asked for by a client
    // that does not count. It stays.
    let one = Options {
        clients: 1,
        ..options.clone()
    };
    let mut aside = Turns::new()?;
    let mut first = clients::open(&one, &mut aside, 1, |_| Greeting::default())?;
    touch(&mut aside, &mut first, 0, &message)?;
    rest(&mut aside, &mut first, REST)?;

    let mut turns = Turns::new()?;
    let clients = options.clients as f64;
    let mut report = Report::new(options);
    let (memory, before) = (server::memory(&options.pid)?, server::processor(&options.pid)?);
    // One after the other, so that what many handshakes need at the same time does not count.
    let mut links = clients::open(options, &mut turns, 1, |_| Greeting::default())?;
    let opening = server::processor(&options.pid)?.since(&before);
    report.number("open_us", opening.as_secs_f64() * 1e6 / clients);
    rest(&mut turns, &mut links, REST)?;
    let per_client = |now: u64| (now as f64 - memory as f64) / clients;
    report.number("fresh_bytes", per_client(server::memory(&options.pid)?));
    if options.scenario == Scenario::Heartbeat {
        let (begin, before) = (clock::now(), server::processor(&options.pid)?);
        let pings = rest(&mut turns, &mut links, options.measured)?;
        let spent = server::processor(&options.pid)?.since(&before);
        report.number("secs", begin.elapsed().as_secs_f64());
        report.number("pings", pings as f64);
        report.number("server_us", spent.as_secs_f64() * 1e6 / pings as f64);
    } else {
        for id in 0..links.len() {
            touch(&mut turns, &mut links, id, &message)?;
        }
        rest(&mut turns, &mut links, REST)?;
        report.number("touched_bytes", per_client(server::memory(&options.pid)?));
    }
    Ok(report.finish())
}

/// Answers heartbeats for this time, and returns how many.
fn rest(turns: &mut Turns, links: &mut [Link], time: Duration) -> Outcome<u64> {
    let mut pings = 0;
    let end = clock::now() + time;
    while clock::now() < end {
        turns.has_heard();
        pings += turn(turns, links, |_, _| Ok(None))?;
    }
    Ok(pings)
}

/// Sends one large message, and waits for its echo.
fn touch(turns: &mut Turns, links: &mut [Link], id: usize, message: &Message) -> Outcome {
    links[id].send(&message.sent)?;
    turns.has_heard();
    let mut is_due = true;
    while is_due {
        let take = |from: usize, bytes: &[u8]| {
            if from != id || !is_due {
                return Ok(None);
            }
            if bytes.starts_with(&message.due) {
                is_due = false;
                return Ok(Some(message.due.len()));
            }
            Ok(message.due.starts_with(bytes).then_some(0))
        };
        turn(turns, links, take)?;
    }
    Ok(())
}

/// Waits once and handles what has come. `take` returns how many bytes it has used, 0 if it waits
/// for more, or `None` if it does not want them.
fn turn(
    turns: &mut Turns,
    links: &mut [Link],
    mut take: impl FnMut(usize, &[u8]) -> Outcome<Option<usize>>,
) -> Outcome<u64> {
    let mut pings = 0;
    turns.wait()?;
    for event in &turns.events {
        let id = event.token().0;
        let Some(link) = links.get_mut(id) else { continue };
        turns
            .buffers
            .serve(link, event, |bytes, out| {
                let mut used = 0;
                while used < bytes.len() {
                    let rest = &bytes[used..];
                    match take(id, rest)? {
                        Some(0) => break,
                        Some(taken) => {
                            used += taken;
                            continue;
                        }
                        None => {}
                    }
                    let Some(frame) = frames::next(rest)? else { break };
                    match frames::other(&frame) {
                        Other::Ping => {
                            frames::pong(out);
                            pings += 1;
                        }
                        Other::Nothing => {}
                        Other::Unknown => return Err(Failure::unexpected("nothing", rest)),
                    }
                    used += frame.length;
                }
                Ok(used)
            })
            .map_err(|failure| Failure::new(format!("client {id}, idle: {failure}")))?;
    }
    Ok(pings)
}
