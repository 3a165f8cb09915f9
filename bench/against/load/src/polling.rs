//! Echo over polling. Each client has a connection for its GETs and one for its POSTs.

use std::time::Instant;

use mio::event::Event;
use mio::{Poll, Registry};

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::http;
use crate::link::Link;
use crate::messages;
use crate::operations::Client;
use crate::turns::Buffers;

/// The connections of a client, and their places behind its number.
const POLLS: usize = 0;
const POSTS: usize = 1;

/// A client that polls.
pub(crate) struct Poller {
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

impl Client for Poller {
    const LINKS: usize = 2;
    const LEAVES: bool = false;

    fn begin(options: &Options, registry: &Registry, token: usize, _proves: bool) -> Outcome<Self> {
        let mut polls = Link::open(options.port, registry, token + POLLS)?;
        polls.send(&http::get(options.port, None))?;
        Ok(Self {
            polls,
            posts: Link::open(options.port, registry, token + POSTS)?,
            session: None,
            is_polling: true,
            is_posting: false,
            due: Due::Nothing,
            owes_pong: false,
            rounds: 0,
            sent: clock::now(),
        })
    }

    fn serve(
        &mut self,
        options: &Options,
        _poll: &Poll,
        event: &Event,
        buffers: &mut Buffers,
    ) -> Outcome<Option<Instant>> {
        if event.token().0 % Self::LINKS == POSTS {
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
}

impl Poller {
    /// Sends what is next. Returns when the echo that is now here was sent.
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
