//! A Redis that says anything: nothing panics, each request is answered once, no more waits than
//! may, and replies do not depend on how their bytes are cut.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use sio_proto::broker::{Broker, BrokerConfig, Command, Event, Output, Request, StreamPosition};
use sio_proto::resp::{Decoder, Limits, Value};
use sio_proto::{LinkId, Time};

use crate::cursor::Cursor;
use crate::pieces::cuts;

const MAX_WAITING_BYTES: usize = 4000;

/// See the [module](self).
pub fn broker(data: &[u8]) {
    let whole = replies(data, &[data.len()]);
    assert_eq!(whole, replies(data, &cuts(data)));
    for url in ["redis://:p@a", "redis+sentinel://a,b/m"] {
        let config = BrokerConfig::from_url(url)
            .expect("a URL")
            .max_waiting_bytes(MAX_WAITING_BYTES)
            .max_reply_bytes(4000);
        World::new(config).play(&mut Cursor::new(data));
    }
}

/// All replies of some bytes, as text, because a number may be none.
fn replies(data: &[u8], cuts: &[usize]) -> String {
    let limits = Limits {
        max_reply_bytes: 4000,
        max_depth: 5,
    };
    let (mut decoder, mut buffer, mut start) = (Decoder::new(limits), BytesMut::new(), 0);
    let mut all: Vec<Result<Value, _>> = Vec::new();
    for end in cuts {
        buffer.extend_from_slice(&data[start..*end]);
        start = *end;
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(reply)) => all.push(Ok(reply)),
                Ok(None) => break,
                Err(error) => {
                    all.push(Err(error));
                    return format!("{all:?}");
                }
            }
        }
    }
    format!("{all:?}")
}

struct World {
    now: Time,
    broker: Broker,
    opening: VecDeque<LinkId>,
    open: Vec<(LinkId, BytesMut)>,
    asked: u64,
    answers: BTreeMap<u64, usize>,
}

impl World {
    fn new(config: BrokerConfig) -> Self {
        let entropy = Box::new(|out: &mut [u8]| out.fill(0x5a));
        Self {
            now: Time::ZERO,
            broker: Broker::new(Time::ZERO, config, entropy).expect("good settings"),
            opening: VecDeque::new(),
            open: Vec::new(),
            asked: 0,
            answers: BTreeMap::new(),
        }
    }

    fn act(&mut self) {
        while let Some(output) = self.broker.poll_output() {
            match output {
                Output::Open { link, .. } => self.opening.push_back(link),
                Output::Close { link } => {
                    self.opening.retain(|known| *known != link);
                    self.open.retain(|(known, _)| *known != link);
                }
                Output::Write { link, bytes } => {
                    assert!(self.open.iter().any(|(known, _)| *known == link));
                    assert!(!bytes.is_empty());
                }
                Output::Event(Event::Answer { tag, .. }) => *self.answers.entry(tag).or_default() += 1,
                Output::Event(_) => {}
            }
        }
        assert!(self.broker.counters().waiting_bytes <= MAX_WAITING_BYTES);
    }

    fn play(mut self, cursor: &mut Cursor<'_>) {
        self.act();
        while !cursor.is_empty() {
            self.step(cursor);
            self.act();
        }
        self.broker.stop(self.now);
        self.act();
        assert!(self.open.is_empty() && self.opening.is_empty());
        assert_eq!(self.answers.len() as u64, self.asked);
        assert!(self.answers.values().all(|count| *count == 1));
    }

    fn step(&mut self, cursor: &mut Cursor<'_>) {
        match cursor.byte() % 8 {
            0 => {
                if let Some(link) = self.opening.pop_front() {
                    self.open.push((link, BytesMut::new()));
                    self.broker.handle_connected(self.now, link);
                }
            }
            1 | 2 | 3 => {
                let (at, said) = (usize::from(cursor.byte()), cursor.bytes());
                let count = self.open.len().max(1);
                if let Some((link, buffer)) = self.open.get_mut(at % count) {
                    buffer.extend_from_slice(said);
                    self.broker.handle_bytes(self.now, *link, buffer);
                }
            }
            4 => {
                let at = cursor.index(self.open.len().max(1));
                if at < self.open.len() {
                    let (link, _) = self.open.remove(at);
                    self.broker.handle_closed(self.now, link, None);
                }
            }
            5 => {
                self.now = self.now + Duration::from_millis(u64::from(cursor.byte()) * 50);
                self.broker.handle_timeout(self.now);
            }
            _ => {
                let command = self.command(cursor);
                self.broker.handle_command(self.now, command);
            }
        }
    }

    fn command(&mut self, cursor: &mut Cursor<'_>) -> Command {
        let (kind, sharded) = (cursor.byte(), cursor.byte().is_multiple_of(2));
        let name = Bytes::copy_from_slice(cursor.pick(&[b"a", b"b", b"c"]));
        let request = match kind % 10 {
            0 => return Command::Subscribe { channel: name, sharded },
            1 => return Command::Unsubscribe { channel: name, sharded },
            2 | 3 => {
                let (channel, payload) = (name, Bytes::from(vec![b'x'; usize::from(cursor.byte()) * 8]));
                return Command::Publish {
                    channel,
                    payload,
                    sharded,
                };
            }
            4 => {
                let (stream, after) = (name, StreamPosition::End);
                return Command::ReadStream { stream, after };
            }
            5 => return Command::StopStream { stream: name },
            6 => Request::Subscribers { channel: name, sharded },
            7 => Request::AddEntry {
                stream: name.clone(),
                max_len: 1,
                fields: vec![(name.clone(), name)],
                known_failures: None,
            },
            8 => Request::Range {
                stream: name.clone(),
                from: name.clone(),
                to: name,
                count: 1,
            },
            _ => Request::Take { key: name },
        };
        let tag = self.asked;
        self.asked += 1;
        Command::Request { tag, request }
    }
}
