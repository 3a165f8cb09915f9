//! Echo over polling. Each client has a connection for its GETs and one for its POSTs.

use std::time::Instant;

use mio::event::Event;

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::histogram::Histogram;
use crate::http;
use crate::link::Link;
use crate::messages;
use crate::report::Report;
use crate::turns::{Buffers, Moment, Stopwatch, Turns};

/// The connections of a client, and their places behind its number.
const POLLS: usize = 0;
const POSTS: usize = 1;
const LINKS: usize = 2;

struct Client {
    polls: Link,
    posts: Link,
    /// The id of the session, when it is open.
    session: Option<String>,
    /// A GET waits for its answer.
    is_polling: bool,
    /// A POST waits for its answer.
    is_posting: bool,
    /// What has to come with a poll.
    due: Due,
    /// A heartbeat goes with the next POST.
    owes_pong: bool,
    rounds: usize,
    sent: Instant,
}

enum Due {
    Nothing,
    Namespace,
    Echo(String),
}

pub(crate) fn run(options: &Options) -> Outcome<String> {
    let mut turns = Turns::new()?;
    let mut waits = Histogram::new();
    let mut count = 0;
    let mut clients = Vec::new();
    for id in 0..options.clients {
        clients.push(Client::begin(options, &turns, id)?);
    }
    turns.has_heard();
    let mut watch = Stopwatch::new(options);
    let measured = loop {
        turns.wait()?;
        for event in &turns.events {
            let id = event.token().0 / LINKS;
            let Some(client) = clients.get_mut(id) else { continue };
            let waited = client
                .serve(options, event, &mut turns.buffers)
                .map_err(|failure| Failure::new(format!("client {id}: {failure}")))?;
            if let Some(sent) = waited {
                waits.add(clock::now() - sent);
                count += 1;
            }
        }
        match watch.look()? {
            Moment::Goes => {}
            Moment::Begins => {
                waits.clear();
                count = 0;
            }
            Moment::Ends(measured) => break measured,
        }
    };
    let mut report = Report::new(options);
    report.operations(count, &measured, &waits);
    Ok(report.finish())
}

impl Client {
    fn begin(options: &Options, turns: &Turns, id: usize) -> Outcome<Self> {
        let mut polls = Link::open(options.port, turns.poll.registry(), id * LINKS + POLLS)?;
        polls.send(&http::get(options.port, None))?;
        Ok(Self {
            polls,
            posts: Link::open(options.port, turns.poll.registry(), id * LINKS + POSTS)?,
            session: None,
            is_polling: true,
            is_posting: false,
            due: Due::Nothing,
            owes_pong: false,
            rounds: 0,
            sent: clock::now(),
        })
    }

    /// Returns when the echo that is now here was sent.
    fn serve(&mut self, options: &Options, event: &Event, buffers: &mut Buffers) -> Outcome<Option<Instant>> {
        if event.token().0 % LINKS == POSTS {
            let is_posting = &mut self.is_posting;
            buffers.serve(&mut self.posts, event, |bytes, _| {
                let Some(answer) = http::response(bytes)? else {
                    return Ok(0);
                };
                if answer.body != b"ok" || !*is_posting {
                    return Err(Failure::unexpected("`ok` for a POST", answer.body));
                }
                *is_posting = false;
                Ok(answer.length)
            })?;
        } else {
            let (is_polling, session) = (&mut self.is_polling, &mut self.session);
            let (due, owes_pong) = (&mut self.due, &mut self.owes_pong);
            buffers.serve(&mut self.polls, event, |bytes, _| {
                let Some(answer) = http::response(bytes)? else {
                    return Ok(0);
                };
                *is_polling = false;
                if session.is_none() {
                    *session = Some(http::session_of(answer.body)?.to_owned());
                    return Ok(answer.length);
                }
                for packet in http::packets(answer.body) {
                    match (&*due, packet) {
                        (_, b"2") => *owes_pong = true,
                        (_, b"6") => {}
                        (Due::Namespace, _) if packet.starts_with(b"40{") => *due = Due::Nothing,
                        (Due::Echo(echo), _) if packet == echo.as_bytes() => *due = Due::Nothing,
                        _ => return Err(Failure::unexpected("an echo", packet)),
                    }
                }
                Ok(answer.length)
            })?;
        }
        self.go_on(options)
    }

    fn go_on(&mut self, options: &Options) -> Outcome<Option<Instant>> {
        let Some(id) = &self.session else { return Ok(None) };
        let mut done = None;
        if let (Due::Nothing, false, false) = (&self.due, self.is_polling, self.is_posting) {
            // The first round is the CONNECT.
            done = (self.rounds > 1).then_some(self.sent);
            let packet = if self.rounds == 0 {
                self.due = Due::Namespace;
                "40".to_owned()
            } else {
                let echo = format!("42[\"echo\",\"{}\"]", messages::data(self.rounds % 2, options.bytes));
                self.due = Due::Echo(echo.clone());
                echo
            };
            self.rounds += 1;
            let pong = if std::mem::take(&mut self.owes_pong) {
                "3\u{1e}"
            } else {
                ""
            };
            self.posts
                .send(&http::post(options.port, id, format!("{pong}{packet}").as_bytes()))?;
            self.is_posting = true;
            self.sent = clock::now();
        }
        if !self.is_polling && !matches!(self.due, Due::Nothing) {
            self.polls.send(&http::get(options.port, Some(id)))?;
            self.is_polling = true;
        }
        Ok(done)
    }
}
