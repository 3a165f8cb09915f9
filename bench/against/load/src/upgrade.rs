//! Clients that come over polling and move to a websocket, as genuine ones do: five requests or
//! more, on three connections.

use std::time::Instant;

use mio::event::Event;
use mio::{Poll, Registry};

use crate::arguments::Options;
use crate::clock;
use crate::failure::{Failure, Outcome};
use crate::frames::{self, Other, TEXT};
use crate::handshake::Greeting;
use crate::http;
use crate::link::Link;
use crate::operations::Client;
use crate::turns::Buffers;

/// The connections of a client, and their places behind its number.
const POLLS: usize = 0;
const POSTS: usize = 1;
const WEBSOCKET: usize = 2;

/// A client that moves.
pub(crate) struct Mover {
    began: Instant,
    polls: Link,
    /// From the first answer on: the connection for the POST, the websocket, and the id.
    session: Option<(Link, Link, String)>,
    /// A GET waits for its answer.
    is_polling: bool,
    /// The POST with the CONNECT of the main namespace is answered.
    is_posted: bool,
    /// The main namespace has answered.
    is_connected: bool,
    /// A heartbeat came with a poll. Its answer goes over the websocket, to spare the server a
    /// POST.
    owes_pong: bool,
    stage: Stage,
    proof: Option<Greeting>,
}

#[derive(PartialEq)]
enum Stage {
    /// The websocket's head is due.
    Head,
    /// `3probe` is due.
    Probe,
    /// The polls have to end.
    Probed,
    Upgraded,
    /// The echo over the websocket is due.
    Proof,
    Ready,
}

impl Client for Mover {
    const LINKS: usize = 3;
    const LEAVES: bool = true;

    fn begin(options: &Options, registry: &Registry, token: usize, proves: bool) -> Outcome<Self> {
        let began = clock::now();
        let mut polls = Link::open(options.port, registry, token + POLLS)?;
        polls.send(&http::get(options.port, None))?;
        Ok(Self {
            began,
            polls,
            session: None,
            is_polling: true,
            is_posted: false,
            is_connected: false,
            owes_pong: false,
            stage: Stage::Head,
            // The proof is an echo over the websocket.
            proof: proves.then(Greeting::proof),
        })
    }

    fn serve(
        &mut self,
        options: &Options,
        poll: &Poll,
        event: &Event,
        buffers: &mut Buffers,
    ) -> Outcome<Option<Instant>> {
        if self.stage == Stage::Ready {
            return Ok(None);
        }
        match (event.token().0 % Self::LINKS, &mut self.session) {
            (POLLS, _) => self.serve_poll(options, poll, event, buffers)?,
            (POSTS, Some((posts, _, _))) => {
                let is_posted = &mut self.is_posted;
                buffers.serve(posts, event, |bytes, _| {
                    let Some(answer) = http::response(bytes)? else {
                        return Ok(0);
                    };
                    if answer.body != b"ok" {
                        return Err(Failure::unexpected("`ok`", answer.body));
                    }
                    *is_posted = true;
                    Ok(answer.length)
                })?;
            }
            (WEBSOCKET, Some((_, websocket, _))) => {
                let (stage, is_connected, proof) = (&mut self.stage, &mut self.is_connected, &self.proof);
                buffers.serve(websocket, event, |bytes, out| {
                    take_frames(stage, is_connected, proof.as_ref(), bytes, out)
                })?;
            }
            // An event of the client that had this number before.
            _ => return Ok(None),
        }
        if self.stage == Stage::Probed
            && self.is_posted
            && !self.is_polling
            && let Some((_, websocket, _)) = &mut self.session
        {
            let mut frame = Vec::new();
            frames::masked(TEXT, b"5", &mut frame);
            if self.owes_pong {
                frames::pong(&mut frame);
            }
            if let Some(proof) = &self.proof {
                frame.extend(&proof.frames);
            }
            websocket.send(&frame)?;
            self.stage = Stage::Upgraded;
        }
        if self.stage == Stage::Upgraded && self.is_connected {
            self.stage = if self.proof.is_some() {
                Stage::Proof
            } else {
                Stage::Ready
            };
        }
        Ok((self.stage == Stage::Ready).then_some(self.began))
    }
}

impl Mover {
    fn serve_poll(&mut self, options: &Options, poll: &Poll, event: &Event, buffers: &mut Buffers) -> Outcome {
        let mut opened = None;
        let owes_pong = &mut self.owes_pong;
        let (is_polling, is_connected, knows) = (&mut self.is_polling, &mut self.is_connected, self.session.is_some());
        buffers.serve(&mut self.polls, event, |bytes, _| {
            let Some(answer) = http::response(bytes)? else {
                return Ok(0);
            };
            *is_polling = false;
            if knows {
                for packet in http::packets(answer.body) {
                    match packet {
                        b"6" => {}
                        b"2" => *owes_pong = true,
                        _ if packet.starts_with(b"40{") => *is_connected = true,
                        _ => return Err(Failure::unexpected("the answer of the namespace", packet)),
                    }
                }
            } else {
                opened = Some(http::session_of(answer.body)?.to_owned());
            }
            Ok(answer.length)
        })?;
        if let Some(id) = opened {
            let first = event.token().0 - POLLS;
            let mut posts = Link::open(options.port, poll.registry(), first + POSTS)?;
            posts.send(&http::post(options.port, &id, b"40"))?;
            let mut websocket = Link::open(options.port, poll.registry(), first + WEBSOCKET)?;
            websocket.send(&http::upgrade(options.port, Some(&id)))?;
            self.session = Some((posts, websocket, id));
        }
        let waits = matches!(self.stage, Stage::Head | Stage::Probe);
        if let (false, true, Some((_, _, id))) = (self.is_polling, waits, &self.session) {
            self.polls.send(&http::get(options.port, Some(id)))?;
            self.is_polling = true;
        }
        Ok(())
    }
}

fn take_frames(
    stage: &mut Stage,
    is_connected: &mut bool,
    proof: Option<&Greeting>,
    bytes: &[u8],
    out: &mut Vec<u8>,
) -> Outcome<usize> {
    let mut used = 0;
    while used < bytes.len() {
        let rest = &bytes[used..];
        if *stage == Stage::Head {
            let Some(length) = http::upgraded(rest)? else { break };
            used += length;
            frames::masked(TEXT, b"2probe", out);
            *stage = Stage::Probe;
            continue;
        }
        let Some(frame) = frames::next(rest)? else { break };
        match (&*stage, frame.payload) {
            (Stage::Probe, b"3probe") => *stage = Stage::Probed,
            (Stage::Upgraded, payload) if payload.starts_with(b"40{") => *is_connected = true,
            (Stage::Upgraded | Stage::Proof, _) if proof.is_some_and(|proof| rest[..frame.length] == proof.proof) => {
                *stage = Stage::Ready;
            }
            _ => match frames::other(&frame) {
                Other::Ping => frames::pong(out),
                Other::Nothing => {}
                Other::Unknown => return Err(Failure::unexpected("the next step of an upgrade", rest)),
            },
        }
        used += frame.length;
    }
    Ok(used)
}
