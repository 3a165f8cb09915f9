//! Plays the clients of a capture to our server, and puts its bytes beside the bytes of the
//! recorded server.
//!
//! The unit is an exchange: a request with its answer, and the websocket that may follow. Recorded
//! clients reacted to the recorded server, so a replay has to react a little, too:
//!
//! - Identifiers are translated: the k-th identifier that our server names in an exchange stands
//!   for the k-th identifier that the recorded server named there.
//! - A client polls again when its poll has been answered. Sometimes our server puts packets into
//!   one answer that the recorded server put into two. Then the second poll still waits here when
//!   the recorded client sends the third, and the waiting poll stands for the third. It is not cut
//!   when the recorded client closed the answered poll. A later request on its connection gets a
//!   connection of its own.
//! - Sometimes our server has answered a poll that the recorded server still holds. Then the client
//!   polls again, as it would have done.

use std::collections::BTreeMap;

use sio_proto::LinkId;

use super::application::{self, Cue};
use super::capture::{Capture, What};
use super::differences::{Difference, TOLERANCE_MS, compare_exchange, compare_seen};
use super::said::{self, Said};
use super::stage::Stage;

/// Bytes of a server, and the time when they came.
type Pieces = Vec<(u64, Vec<u8>)>;
/// Identifiers of the recorded server, and the identifiers of ours.
type Ids = BTreeMap<Vec<u8>, Vec<u8>>;

/// A request and everything that follows from it, for both servers.
#[derive(Default)]
pub struct Exchange {
    /// The number of the recorded connection.
    pub connection: u32,
    /// The section in which the exchange began.
    pub section: String,
    /// The session that it polls, if it is a poll.
    poll_of: Option<String>,
    is_head: bool,
    is_post: bool,
    ours: Option<LinkId>,
    /// The request, if it is a poll, with our identifiers.
    request: Vec<u8>,
    /// The bytes of our server for this poll before it was repeated.
    earlier: Pieces,
    /// The bytes of our server, after its link is used for another exchange.
    finished: Option<Pieces>,
    recorded: Pieces,
    recorded_end: Option<u64>,
}

struct Player {
    stage: Stage,
    exchanges: Vec<Exchange>,
    /// The running exchange of each recorded connection.
    current: BTreeMap<u32, usize>,
    /// Connections that the recorded client has ended.
    ended: Vec<u32>,
    /// Connections that the recorded server has ended. The server never receives what a client
    /// sends on them later.
    deaf: Vec<u32>,
    ids: Ids,
}

/// Replays a capture; the result is every difference between the servers.
pub fn replay(capture: &Capture) -> Vec<Difference> {
    let mut player = Player {
        stage: Stage::new(capture.config.clone(), application::named(&capture.application)),
        exchanges: Vec::new(),
        current: BTreeMap::new(),
        ended: Vec::new(),
        deaf: Vec::new(),
        ids: Ids::new(),
    };
    for entry in &capture.entries {
        if entry.ms > player.stage.now.as_micros() / 1000 + TOLERANCE_MS {
            player.poll_again();
        }
        player.stage.pass_to(entry.ms);
        match &entry.what {
            What::Section(name) => player.stage.section.clone_from(name),
            What::Act(act) => player.stage.cue(Cue::Act(act)),
            What::Cut(connection) => player.cut(*connection),
            What::Client(connection, chunk) => player.client_said(*connection, &chunk.client_bytes()),
            What::ClientEnd(connection) => player.client_ended(*connection),
            What::Server(connection, chunk) => player.server_said(*connection, entry.ms, chunk.server_bytes()),
            What::ServerEnd(connection) => player.server_ended(*connection, entry.ms),
        }
    }
    let mut found = Vec::new();
    for exchange in &player.exchanges {
        let (genuine, ours) = player.both_sides(exchange, capture.ends);
        found.extend(compare_exchange(&capture.name, exchange, &genuine, &ours));
    }
    if let Some(seen) = &capture.seen {
        found.extend(compare_seen(&capture.name, seen, &player.stage.seen));
    }
    found
}

impl Player {
    fn client_said(&mut self, connection: u32, bytes: &[u8]) {
        if self.deaf.contains(&connection) {
            return;
        }
        let bytes = translate(bytes, &self.ids);
        let line = request_line(&bytes);
        if line.is_some() || !self.current.contains_key(&connection) {
            self.begin(connection, line.as_deref().unwrap_or_default());
        }
        let exchange = self.exchange(connection);
        let Some(ours) = self.exchanges[exchange].ours else {
            return;
        };
        let is_taken_over = line.is_some() && self.stage.is_waiting.contains(&ours);
        if !is_taken_over {
            if self.exchanges[exchange].poll_of.is_some() {
                self.stage.is_waiting.insert(ours);
                self.exchanges[exchange].request.clone_from(&bytes);
            }
            self.stage.receive(ours, &bytes);
        }
    }

    /// Repeats polls that our server has answered with packets and the recorded server has not.
    fn poll_again(&mut self) {
        for at in 0..self.exchanges.len() {
            let exchange = &self.exchanges[at];
            let held_there = exchange.recorded.is_empty() && !exchange.request.is_empty();
            let Some(ours) = exchange
                .ours
                .filter(|_| held_there && !self.ended.contains(&exchange.connection))
            else {
                continue;
            };
            if self.stage.is_waiting.contains(&ours) || !is_eventful(&all(self.ours(exchange))) {
                continue;
            }
            let (link, request) = (self.stage.open(), exchange.request.clone());
            let answer = self.stage.sent.remove(&ours).unwrap_or_default();
            self.exchanges[at].earlier.extend(answer);
            self.exchanges[at].ours = Some(link);
            self.stage.is_waiting.insert(link);
            self.stage.receive(link, &request);
        }
    }

    /// Begins an exchange, on a link that stands for the connection.
    fn begin(&mut self, connection: u32, line: &str) {
        let previous = self.current.get(&connection).copied();
        let poll_of = polled_session(line);
        let waiting = poll_of.as_ref().and_then(|session| self.waiting_poll(session));
        let ours = match (waiting, previous.and_then(|at| self.idle_link(at))) {
            (Some(waiting), _) => self.exchanges[waiting].ours.take(),
            (None, Some(idle)) => {
                let at = previous.expect("it had a link");
                self.exchanges[at].finished = self.stage.sent.remove(&idle);
                self.exchanges[at].ours = None;
                Some(idle)
            }
            (None, None) => Some(self.stage.open()),
        };
        self.current.insert(connection, self.exchanges.len());
        self.exchanges.push(Exchange {
            connection,
            section: self.stage.section.clone(),
            poll_of,
            is_head: line.starts_with("HEAD "),
            is_post: line.starts_with("POST "),
            ours,
            ..Exchange::default()
        });
    }

    /// The exchange that polls this session, and that the recorded server has answered but ours has
    /// not.
    fn waiting_poll(&self, session: &str) -> Option<usize> {
        self.exchanges.iter().position(|e| {
            let is_poll = e.poll_of.as_deref() == Some(session) && !e.recorded.is_empty();
            is_poll && e.ours.is_some_and(|link| self.stage.is_waiting.contains(&link))
        })
    }

    /// The link of an exchange, if another request may follow on it.
    fn idle_link(&self, exchange: usize) -> Option<LinkId> {
        let link = self.exchanges[exchange].ours?;
        (self.stage.sent.contains_key(&link) && !self.stage.ended.contains_key(&link)).then_some(link)
    }

    fn exchange(&self, connection: u32) -> usize {
        *self
            .current
            .get(&connection)
            .expect("a client speaks first, with a request")
    }

    fn client_ended(&mut self, connection: u32) {
        self.ended.push(connection);
        let Some(exchange) = self.current.get(&connection).map(|at| &self.exchanges[*at]) else {
            return;
        };
        let answered_there = exchange.poll_of.is_some() && !exchange.recorded.is_empty();
        if let Some(ours) = exchange.ours
            && !(answered_there && self.stage.is_waiting.contains(&ours))
        {
            self.stage.cut(ours);
        }
    }

    /// A connection fails. Its poll gets no answer on either side.
    fn cut(&mut self, connection: u32) {
        self.ended.push(connection);
        if let Some(ours) = self.exchanges[self.exchange(connection)].ours {
            self.stage.cut(ours);
        }
    }

    fn server_said(&mut self, connection: u32, ms: u64, bytes: Vec<u8>) {
        let at = self.exchange(connection);
        self.exchanges[at].recorded.push((ms, bytes));
        // The client had this answer when it sent its next request.
        if let Some(link) = self.exchanges[at].ours.filter(|_| self.exchanges[at].is_post) {
            self.stage.await_answer(link, TOLERANCE_MS);
        }
        let said = all(&self.exchanges[at].recorded);
        let ours = all(self.ours(&self.exchanges[at]));
        self.ids.extend(identifiers(&said).into_iter().zip(identifiers(&ours)));
    }

    fn server_ended(&mut self, connection: u32, ms: u64) {
        self.deaf.push(connection);
        // The client began to end the connection, and the operating system does the second half.
        if !self.ended.contains(&connection) {
            let at = self.exchange(connection);
            self.exchanges[at].recorded_end = Some(ms);
        }
    }

    fn ours<'a>(&'a self, exchange: &'a Exchange) -> &'a [(u64, Vec<u8>)] {
        let running = || exchange.ours.and_then(|link| self.stage.sent.get(&link));
        exchange.finished.as_ref().or_else(running).map_or(&[], Vec::as_slice)
    }

    /// The bytes of the two servers in an exchange.
    fn both_sides(&self, exchange: &Exchange, ends: bool) -> (Vec<Said>, Vec<Said>) {
        let recorded = exchange.recorded.iter();
        let recorded: Pieces = recorded.map(|(ms, bytes)| (*ms, rename(bytes, &self.ids))).collect();
        let mut genuine = said::parse(&recorded, exchange.is_head);
        genuine
            .iter_mut()
            .for_each(|said| rename_parsed(&mut said.what, &self.ids));
        let ours: Pieces = exchange.earlier.iter().chain(self.ours(exchange)).cloned().collect();
        let mut ours = said::parse(&ours, exchange.is_head);
        if ends {
            let our_end = exchange.ours.and_then(|link| self.stage.ended.get(&link));
            said::put_end(&mut genuine, exchange.recorded_end);
            said::put_end(&mut ours, our_end.copied());
        }
        (genuine, ours)
    }
}

/// Whether a poll was answered with packets. A refusal, the end of the session, and an empty answer
/// do not count.
fn is_eventful(answer: &[u8]) -> bool {
    const UNEVENTFUL: [&[u8]; 4] = [b"\r\n\r\n1:1", b"\r\n\r\n", b"._(\"\");", b"8::"];
    answer.starts_with(b"HTTP/1.1 200 ") && !UNEVENTFUL.iter().any(|end| answer.ends_with(end))
}

fn all(pieces: &[(u64, Vec<u8>)]) -> Vec<u8> {
    pieces.iter().flat_map(|(_, piece)| piece.clone()).collect()
}

/// The first line, if it is a request line.
fn request_line(bytes: &[u8]) -> Option<String> {
    let end = bytes.windows(2).position(|w| w == b"\r\n")?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    line.ends_with(" HTTP/1.1").then(|| line.to_owned())
}

/// The session that a request polls: a GET that names one and does not want to become a websocket.
fn polled_session(line: &str) -> Option<String> {
    let target = line.strip_prefix("GET ")?.strip_suffix(" HTTP/1.1")?;
    let session = if target.contains("transport=polling") {
        target.split_once("sid=")?.1.split('&').next()
    } else {
        let path = target.strip_prefix("/socket.io/")?;
        let path = path.strip_prefix("1/").unwrap_or(path);
        let rest = ["xhr-polling/", "jsonp-polling/"]
            .iter()
            .find_map(|transport| path.strip_prefix(transport))?;
        rest.split(['/', '?']).next()
    };
    session.filter(|s| !s.is_empty()).map(str::to_owned)
}

/// The session and socket ids that a server names: `"sid":"…"`, also inside JSONP; the first
/// message of plain-message transports, in each codec; and the text before the timeouts in a
/// handshake of 0.7-0.9.
fn identifiers(bytes: &[u8]) -> Vec<Vec<u8>> {
    /// The bytes before an id. If a length stands between these bytes and the id, the second part
    /// is the text behind the length.
    const LEADS: [(&[u8], &[u8]); 8] = [
        (b"\"sid\":\"", b""),
        (b"\\\"sid\\\":\\\"", b""),
        (b"\\\"sessionid\\\":\\\"", b""),
        (b"\xa3sid\xb4", b""), // a key and the head of a string of 20 bytes in MessagePack
        (b"\r\n\r\n~m~", b"~m~"),
        (b"._(\"~m~", b"~m~"),
        (b"\r\n\r\n3:", b":"),
        (b"._(\"3:", b":"),
    ];
    let is_of_id = |b: &u8| b.is_ascii_alphanumeric() || b"-_".contains(b);
    let mut found = Vec::new();
    for timeouts in [&b":60:60:"[..], b":15:25:"] {
        let end = bytes.windows(timeouts.len()).position(|window| window == timeouts);
        let id = end.map(|end| bytes[..end].rsplit(|b| !is_of_id(b)).next().unwrap_or_default());
        found.extend(id.map(<[u8]>::to_vec));
    }
    for at in 0..bytes.len() {
        for (lead, behind) in LEADS {
            let Some(mut rest) = bytes[at..].strip_prefix(lead) else {
                continue;
            };
            if !behind.is_empty() {
                let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
                rest = rest[digits..].strip_prefix(behind).unwrap_or_default();
            }
            let length = rest.iter().take_while(|b| is_of_id(b)).count();
            if (15..=39).contains(&length) {
                found.push(rest[..length].to_vec());
            }
        }
    }
    found
}

/// Replaces the identifiers of the recorded server by ours.
fn translate(bytes: &[u8], ids: &Ids) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let id = ids.iter().find(|(genuine, _)| bytes[at..].starts_with(genuine));
        if let Some((genuine, ours)) = id {
            out.extend_from_slice(ours);
            at += genuine.len();
        } else {
            out.push(bytes[at]);
            at += 1;
        }
    }
    out
}

/// Replaces identifiers of 20 characters after parsing. Ours are longer, and after parsing, the
/// length of a body is the only length around them.
fn rename_parsed(what: &mut said::What, ids: &Ids) {
    const GENUINE: usize = 20;
    let engine: Ids = ids
        .iter()
        .filter(|(genuine, ours)| genuine.len() == GENUINE && ours.len() != GENUINE)
        .map(|(genuine, ours)| (genuine.clone(), ours.clone()))
        .collect();
    match what {
        said::What::Response { headers, body, .. } => {
            let length = |bytes: &[u8]| format!("Content-Length: {}", bytes.len());
            let renamed = translate(body, &engine);
            let said = headers.iter_mut().filter(|line| **line == length(body));
            said.for_each(|line| *line = length(&renamed));
            *body = renamed;
        }
        said::What::Frame(text) => *text = String::from_utf8_lossy(&translate(text.as_bytes(), &engine)).into_owned(),
        said::What::Garbage(_) | said::What::End(_) => {}
    }
}

/// Replaces identifiers in the bytes of the recorded server. The length of an identifier must not
/// change here, because lengths are written around it.
fn rename(bytes: &[u8], ids: &Ids) -> Vec<u8> {
    let as_long = ids.iter().filter(|(genuine, ours)| genuine.len() == ours.len());
    translate(bytes, &as_long.map(|(g, o)| (g.clone(), o.clone())).collect())
}
