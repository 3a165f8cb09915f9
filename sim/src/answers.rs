//! Answers of users at both ends, and what becomes of questions (promise 3), and whether what is
//! heard is what was said.

use sio_proto::client::{EmitId, Generation, NotSent, Outcome};
use sio_proto::server::{AckError, Message};
use sio_proto::socket::Args;

use crate::content::{Content, Medium, Shape};
use crate::host::Socket;
use crate::model::End;
use crate::orders::Order;
use crate::payer::Deed;
use crate::roll::Answer;
use crate::violation::Promise;
use crate::world::{NAMESPACES, World, note};

/// The bytes of an answer beside its content.
const SMALL: usize = 40;

impl World {
    /// Writes down how a message of the server looks.
    pub(crate) fn shaped(&mut self, number: u64, padding: usize, has_bytes: bool, is_plain: bool) -> Shape {
        let shape = Shape {
            padding,
            has_bytes,
            is_plain,
        };
        self.shapes.insert(number, shape);
        shape
    }

    /// Promise 1: a client hears a message exactly as it was sent, under its name.
    pub(crate) fn compare_message(&mut self, client: usize, number: Option<u64>, name: &str, args: &Args) {
        let peer = &self.peers[client];
        let Some(number) = number.filter(|_| !peer.is_doubled) else {
            return;
        };
        let shape = self.shapes.get(&number);
        let medium = match peer.is_old() {
            true => Medium::Old {
                is_event: peer.is_plain() && shape.is_some_and(|shape| !shape.is_plain),
            },
            false => Medium::Modern {
                // Clients of Engine.IO 4 alone are told how far they have come.
                has_offset: self.plan.recovery.is_some() && peer.config.generation == Generation::Four,
            },
        };
        if let Some(shape) = shape {
            let is_receipt = peer.config.generation == Generation::V0_9 && self.roll.is_message(number);
            let is_message = peer.is_plain() || shape.is_plain || is_receipt;
            if name != if is_message { "message" } else { "m" } {
                let words = format_args!("client {client} hears {number} as an event {name:?}");
                return self.fail(Promise::Order, words);
            }
            if !Content::down(number, *shape).is_heard_in(args, medium) {
                let words = format_args!("client {client} hears {number} with another content: {args:?}");
                self.fail(Promise::Order, words);
            }
        }
        self.roll.note_arrived(client, number);
    }

    /// Promise 1: the server hears an event exactly as its client has said it.
    pub(crate) fn compare_event(&mut self, client: usize, namespace: usize, number: usize, heard: &Content) {
        let up = self.place(client, namespace).up.get(number);
        let said = up.map(|up| Content::up(number, client, up.padding, up.has_bytes));
        if said.is_some_and(|said| said != *heard) {
            let words = format_args!("the server hears {number} of client {client} with another content: {heard:?}");
            self.fail(Promise::Order, words);
        }
    }

    /// What the server answers to an event.
    fn answer_of_server(&self, client: usize, namespace: usize, number: usize) -> Content {
        let is_long = self.roll.has_event(client, namespace, number);
        self.answer(client, number as u64, is_long)
    }

    /// What a client answers to a question.
    fn answer_of_client(&self, client: usize, number: u64) -> Content {
        self.answer(client, number, self.roll.has_question(number))
    }

    fn answer(&self, client: usize, number: u64, is_long: bool) -> Content {
        let padding = if is_long { SMALL } else { 0 };
        Content::answer(number, padding, is_long && !self.peers[client].is_old())
    }

    pub(crate) fn emit_ack(&mut self, socket: Socket, (client, namespace): (usize, usize), id: u64, number: usize) {
        let (now, answer) = (self.now, self.answer_of_server(client, namespace, number));
        self.at(socket, Order::Emit { bytes: answer.len() }, |shard, _, key| {
            let mut answer = Message::ack(NAMESPACES[namespace].into(), id, answer.into_args());
            // A client that is gone, or whose queue is full, gets no answer.
            let _ = shard.emit(now, key, &mut answer, None);
        });
    }

    /// An acknowledgement has come to the server, or will not come.
    pub(crate) fn take_answer(&mut self, socket: Socket, id: u64, result: Result<Content, AckError>) {
        note!(self, "server: answer {id} {result:?}");
        let member = self.members.get_mut(&socket);
        let asked = member.and_then(|member| Some((member.client, member.asks.remove(&id)?)));
        let Some((client, (asked, until))) = asked else {
            let words = format_args!("an answer to {id}, which waits for none");
            return self.fail(Promise::Acknowledgement, words);
        };
        let (now, question) = (self.now, self.roll.end_question(id));
        let is_receipt = question == Some(Answer::Receipt);
        match result {
            Err(AckError::TimedOut) if until.is_none_or(|until| until > now) => {
                let words = format_args!("{asked} is too late at {now}, and not at {until:?}");
                self.fail(Promise::Acknowledgement, words);
            }
            Err(error) if question.is_some() => {
                let words = format_args!("client {client} is asked {asked} in a roll call, and this ends: {error}");
                self.fail(Promise::Acknowledgement, words);
            }
            Err(_) => {}
            Ok(content) => {
                let expected = match is_receipt {
                    true => Content::default(),
                    false => self.answer_of_client(client, asked),
                };
                let peer = &self.peers[client];
                if content != expected && !peer.is_thief && !peer.is_doubled {
                    let words = format_args!("{asked} is answered with {content:?}, not with {expected:?}");
                    self.fail(Promise::Acknowledgement, words);
                }
            }
        }
    }

    /// Answers some of the questions of the server.
    pub(crate) fn answer_some(&mut self, client: usize) {
        let answers = if self.is_calm { 100 } else { self.plan.answers };
        let now = self.now;
        while let Some((ticket, number)) = self.peers[client].tickets.pop() {
            if self.rng.u32(0..100) < answers {
                let answer = self.answer_of_client(client, number);
                let payer = &mut self.peers[client].payer;
                // The connection of the question may be gone.
                let _ = payer.act(Deed::Other(SMALL + answer.len()), |client| {
                    client.answer(now, ticket, answer.into_args())
                });
            }
        }
    }

    /// An event of a client has ended.
    pub(crate) fn end_emit(&mut self, client: usize, emit: EmitId, outcome: &Outcome) {
        note!(self, "c{client}: {emit:?} ends {outcome:?}");
        let Some((namespace, number)) = self.peers[client].emits.remove(&emit) else {
            return self.fail(
                Promise::Acknowledgement,
                format_args!("{emit:?} of client {client} ends twice"),
            );
        };
        let is_doubled = self.peers[client].is_doubled;
        let place = self.place(client, namespace);
        // The eighth recovery without progress is told after the event that is given up.
        let is_fruitless = place.fruitless >= 7;
        let up = &mut place.up[number];
        let end = match outcome {
            Outcome::NotSent(_) => End::NotSent,
            Outcome::Confirmed | Outcome::Acknowledged(_) | Outcome::Unanswered => End::Had,
            Outcome::TimedOut => End::GivenUp,
            Outcome::Disconnected if is_fruitless => End::GivenUp,
            Outcome::Sent | Outcome::Disconnected => End::Unknown,
        };
        up.end = Some(end);
        let heard = up.heard;
        let is_wrong = match end {
            End::NotSent => heard > 0,
            End::Had => heard == 0,
            End::GivenUp | End::Unknown => false,
        };
        let rolled = self.roll.end_emit(client, emit);
        if rolled.is_some() && !matches!(outcome, Outcome::Acknowledged(_)) {
            let words = format_args!("client {client} asks {number} in a roll call, and this ends as {outcome:?}");
            self.fail(Promise::Acknowledgement, words);
        }
        let expected = match rolled {
            Some(Answer::Receipt) => Content::default(),
            Some(Answer::Words) | None => self.answer_of_server(client, namespace, number),
        };
        let is_other = matches!(outcome, Outcome::Acknowledged(args) if Content::of(args) != expected);
        if (is_wrong || is_other) && !is_doubled {
            let words = format_args!("{number} of client {client} was heard {heard} times and ends as {outcome:?}");
            self.fail(Promise::Acknowledgement, words);
        }
        if matches!(outcome, Outcome::NotSent(NotSent::Unsupported)) {
            self.fail(
                Promise::Conduct,
                format_args!("{number} of client {client} is not supported"),
            );
        }
    }
}
