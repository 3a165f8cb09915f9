//! Requests that cross each other: a second one where there may be only one, ids that are stolen or
//! guessed, and upgrades that do not end.

use crate::failure::{Failure, Outcome};
use crate::hostile::clients;
use crate::hostile::field::{ATTACKER, Field};
use crate::hostile::peer::{Ending, Peer};
use crate::hostile::session::{ALIVE, Session, Wire, status};
use crate::hostile::wire;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

/// The address of a thief.
const THIEF: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 67);

/// How long a request needs to be held by the server, also on a busy machine.
const HELD: Duration = Duration::from_millis(50);

/// A second GET while one is held, and a second POST while the body of one is on its way.
pub(super) fn second_requests(field: &Field) -> Outcome {
    // In rounds, so that no session waits for longer than a heartbeat.
    for _ in 0..field.size(1, 12) {
        second_requests_once(field)?;
        second_polls_of_older(field)?;
    }
    Ok(())
}

/// How many sessions there are in a round.
const ROUND: usize = 8;

fn second_requests_once(field: &Field) -> Outcome {
    for wire in [Wire::Polling4, Wire::Polling3] {
        let mut held = Vec::new();
        for number in 0..ROUND {
            let session = Session::open(field, wire)?;
            let mut first = field.connect()?;
            let is_get = number % 2 == 0;
            first.say(if is_get {
                wire::get(&session.target)
            } else {
                half_post(&session.target)
            })?;
            held.push((session, first, is_get));
        }
        thread::sleep(HELD);
        for (mut session, mut first, is_get) in held {
            let mut second = field.connect()?;
            let request = if is_get {
                wire::get(&session.target)
            } else {
                wire::post(&session.target, "4x")
            };
            let (head, _) = second.ask(request)?;
            let what = if is_get { "GET" } else { "POST" };
            if status(&head) != "400" {
                field.finding(format!("a second {what} on {wire:?} was answered {head:?}"));
            }
            if is_get {
                let (_, body) = first.response()?;
                if !body.ends_with('1') {
                    field.finding(format!("the first GET on {wire:?} was answered {body:?}"));
                }
            } else if first.rest().is_none_or(|rest| !rest.is_empty()) {
                field.finding(format!("the first POST on {wire:?} goes on"));
            }
            assert_over(field, &mut session, wire)?;
            field.count(&second);
        }
    }
    Ok(())
}

/// A POST whose body does not come.
fn half_post(target: &str) -> String {
    format!("POST {target} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n4x")
}

fn assert_over(field: &Field, session: &mut Session, wire: Wire) -> Outcome {
    let ending = session.ending()?;
    if ending != Ending::Closed(None) {
        field.finding(format!("{wire:?} goes on after a second request: {ending:?}"));
    }
    field.count(&session.peer);
    Ok(())
}

/// In 0.6 to 0.9 the newer poll is the live one. The older one is answered at once.
fn second_polls_of_older(field: &Field) -> Outcome {
    for wire in [Wire::Polling09, Wire::Polling06] {
        let mut held = Vec::new();
        for _ in 0..ROUND {
            let session = Session::open(field, wire)?;
            let mut first = field.connect()?;
            first.say(wire::get(&session.target))?;
            held.push((session, first));
        }
        thread::sleep(HELD);
        for (mut session, mut first) in held {
            let mut second = field.connect()?;
            second.say(wire::get(&session.target))?;
            let (head, body) = first.response()?;
            if status(&head) != "200" || !matches!(&*body, "" | "8::") {
                field.finding(format!("the older poll on {wire:?} was answered {head:?} {body:?}"));
            }
            session.ask_for_echo()?;
            let (_, body) = second.response()?;
            if !body.contains(ALIVE) {
                field.finding(format!("the newer poll on {wire:?} was answered {body:?}"));
            }
            field.count(&second);
            session.leave();
        }
    }
    Ok(())
}

/// A second websocket for a session: while the first is a candidate, and when it is the session's.
pub(super) fn second_websockets(field: &Field) -> Outcome {
    for number in 0..field.times(0) {
        let mut session = Session::open(field, Wire::Candidate4)?;
        let target = session.polling_target().replace("polling", "websocket");
        let is_upgraded = number % 2 == 0;
        if is_upgraded {
            session.peer.say(wire::text("5"))?;
            session.peer.say(wire::text("42[\"echo\",\"upgraded\"]"))?;
            session.peer.message_with("42[\"echo\",\"upgraded\"]")?;
        }
        let mut second = field.connect()?;
        second.upgrade(&target)?;
        let ending = second.ending("{")?;
        if !matches!(ending, Ending::Closed(None)) {
            field.finding(format!("a second websocket ended with {ending:?}"));
        }
        if !is_upgraded {
            session.peer.say(wire::text("5"))?;
        }
        session.peer.say(wire::text("42[\"echo\",\"first\"]"))?;
        if let Err(why) = session.peer.message_with("42[\"echo\",\"first\"]") {
            field.finding(format!("the first websocket is gone after a second: {why}"));
        }
        field.count(&session.peer);
        field.count(&second);
    }
    Ok(())
}

/// Public ids of sockets, the ids that clients of 3.x and later know, and the secret ids of
/// sessions that are on a websocket, used by others.
pub(super) fn stolen_ids(field: &Field) -> Outcome {
    let mut victims = Vec::new();
    let mut ids = Vec::new();
    for revision in [4, 3] {
        let mut victim = field.connect()?;
        victim.upgrade(&format!("/socket.io/?EIO={revision}&transport=websocket"))?;
        ids.extend(quoted(&victim.message_with("0{")?, "sid"));
        if revision == 4 {
            victim.say(wire::text("40"))?;
        }
        ids.extend(quoted(&victim.message_with("40")?, "sid"));
        victims.push(victim);
    }
    let mut polling = [
        Session::open(field, Wire::Polling4)?,
        Session::open(field, Wire::Polling3)?,
    ];
    // The thief asks for all sockets, as a program may let everybody do.
    let mut thief = clients::join4(THIEF, field.port, None)?;
    thief.say(wire::text("421[\"fetch\",null]"))?;
    let public: Vec<String> = quoted(&thief.message_with("431[")?, "id");
    if public.len() < 5 {
        return Err(Failure::new(format!("too few sockets: {public:?}")));
    }
    for id in ids.iter().chain(&public) {
        for request in thefts(id) {
            attempt(field, id, &request)?;
        }
    }
    for (number, victim) in victims.iter_mut().enumerate() {
        victim.say(wire::text("42[\"echo\",\"own\"]"))?;
        if let Err(why) = victim.message_with("42[\"echo\",\"own\"]") {
            field.finding(format!("victim {number} was taken over or ended: {why}"));
        }
        field.count(victim);
    }
    for session in &mut polling {
        if let Err(why) = session.alive() {
            field.finding(format!("a polling victim was taken over or ended: {why}"));
        }
    }
    polling.into_iter().for_each(Session::leave);
    Ok(())
}

/// All requests that name a session by this id.
fn thefts(id: &str) -> Vec<String> {
    let mut requests = vec![
        wire::get(&format!("/socket.io/1/xhr-polling/{id}")),
        wire::post(&format!("/socket.io/1/xhr-polling/{id}"), "3:::stolen"),
        wire::upgrade(&format!("/socket.io/1/websocket/{id}")),
        wire::get(&format!("/socket.io/1/xhr-polling/{id}?disconnect=1")),
        wire::get(&format!("/socket.io/xhr-polling/{id}/1")),
        wire::post_form(&format!("/socket.io/xhr-polling/{id}/send"), "data", "~m~1~m~x"),
        wire::upgrade(&format!("/socket.io/websocket/{id}")),
    ];
    for revision in [4, 3] {
        let target = format!("/socket.io/?EIO={revision}&transport=polling&sid={id}");
        requests.push(wire::get(&target));
        requests.push(wire::post(&target, if revision == 4 { "41" } else { "2:41" }));
        requests.push(wire::upgrade(&target.replace("polling", "websocket")));
    }
    requests
}

/// Sends a request with a stolen or guessed id. It must be told that there is nothing for it.
fn attempt(field: &Field, id: &str, request: &str) -> Outcome {
    let line = request.lines().next().unwrap_or_default();
    let mut peer = Peer::connect(THIEF, field.port, None)?;
    let (head, body) = peer.ask(request)?;
    let is_refused = match status(&head) {
        // 0.9 has words of its own, and confirms every goodbye.
        "200" => body.starts_with("7:::1") || body == "1" || line.contains("disconnect=1"),
        // Of a session on a websocket the new websocket is none, and 0.9 says so in it.
        "101" => peer
            .ending(id)
            .is_ok_and(|ending| matches!(ending, Ending::Closed(_) | Ending::Cut)),
        status => status.starts_with('4'),
    };
    if !is_refused {
        field.finding(format!("`{line}` was answered {head:?} {body:?}"));
    }
    field.count(&peer);
    Ok(())
}

/// Returns the values of this key in JSON.
fn quoted(json: &str, key: &str) -> Vec<String> {
    let beginning = format!("\"{key}\":\"");
    let values = json.split(&*beginning).skip(1);
    values
        .filter_map(|rest| rest.split('"').next().map(str::to_owned))
        .collect()
}

/// Ids that differ from one that is known in a single character.
pub(super) fn guessed_ids(field: &Field) -> Outcome {
    for wire in [Wire::Polling4, Wire::Polling3, Wire::Polling09, Wire::Polling06] {
        let mut session = Session::open(field, wire)?;
        let id = session.target.rsplit(['=', '/']).next().unwrap_or_default().to_owned();
        for place in 0..id.len() {
            let mut guess = id.clone().into_bytes();
            guess[place] = if guess[place] == b'A' { b'B' } else { b'A' };
            let guess = String::from_utf8_lossy(&guess).into_owned();
            let requests = thefts(&guess);
            let chosen = [place % requests.len(), (place + 7) % requests.len()];
            for (number, request) in requests.iter().enumerate() {
                if field.size(0, 1) == 1 || chosen.contains(&number) {
                    attempt(field, &guess, request)?;
                }
            }
        }
        if let Err(why) = session.alive() {
            field.finding(format!("{wire:?} ended when its neighbours were guessed: {why}"));
        }
        session.leave();
    }
    Ok(())
}

/// Many sessions, each in an upgrade that never ends: the candidate says nothing, or probes and
/// says nothing more. One session goes on polling, and must outlive its candidate.
pub(super) fn endless_upgrades(field: &Field) -> Outcome {
    let mut patient = Session::open(field, Wire::Candidate4)?;
    let opened = Instant::now();
    let mut peers = Vec::new();
    for number in 0..field.size(300, 1000) {
        let session = Session::open(field, Wire::Polling4)?;
        let mut candidate = field.connect()?;
        candidate.upgrade(&session.target.replace("polling", "websocket"))?;
        if number % 2 == 0 {
            candidate.say(wire::text("2probe"))?;
        }
        field.count(&session.peer);
        peers.push((session, candidate));
    }
    // The conformance server gives an upgrade 5 s.
    let end = opened + Duration::from_secs(10);
    let mut reader = patient.peer.reader()?;
    let waiting = thread::spawn(move || reader.drain(end.saturating_duration_since(Instant::now())));
    while !waiting.is_finished() {
        patient.alive()?;
        thread::sleep(Duration::from_millis(100));
    }
    if !waiting.join().unwrap_or(false) {
        field.finding("a candidate that never upgrades is still there after 10 s");
    }
    if let Err(why) = patient.alive() {
        field.finding(format!("the session ended with its candidate: {why}"));
    }
    patient.leave();
    Ok(())
}

/// Upgrades whose connection is reset: at once, in the middle of the head, and when refused.
pub(super) fn aborted_upgrades(field: &Field) -> Outcome {
    let good = wire::upgrade("/socket.io/?EIO=4&transport=websocket");
    let refused = wire::upgrade("/socket.io/?EIO=4&transport=websocket&sid=nobody");
    let half = &good[..good.len() / 2];
    for number in 0..field.size(600, 6000) {
        let mut peer = field.connect()?;
        peer.say([&good, &refused, half][number % 3])?;
        if number % 2 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
        field.count(&peer);
        peer.reset();
    }
    Ok(())
}

/// A frame with a reserved bit in the same write as the request for the websocket.
pub(super) fn early_frames(field: &Field) -> Outcome {
    for target in [
        "/socket.io/?EIO=4&transport=websocket",
        "/socket.io/?EIO=3&transport=websocket",
    ] {
        for _ in 0..field.times(0) {
            let mut peer = Peer::connect(ATTACKER, field.port, None)?;
            let frame = wire::frame_with(0xa1, "42");
            peer.say([wire::upgrade(target).as_bytes(), &frame].concat())?;
            let (head, _) = peer.response()?;
            let ending = peer.ending("\u{0}")?;
            if status(&head) != "101" || ending != Ending::Closed(Some(1002)) {
                field.finding(format!("{target} was answered {head:?}, and ended with {ending:?}"));
            }
            field.count(&peer);
        }
    }
    Ok(())
}
