//! A server that recovers its clients and confirms their events, as simple as it can be.

use sio_proto::SocketKey;
use sio_proto::server::{Auth, Welcome};

use super::World;

/// The clients that the server knows. The secret of a client is the number of its record.
pub struct Records {
    pub known: Vec<Record>,
    /// After so many events the client is told.
    pub every: u64,
    /// Whether the server confirms events.
    pub confirms: bool,
    /// How many clients were not recovered.
    pub lost: usize,
}

pub struct Record {
    pub heard: u64,
    pub socket: SocketKey,
    /// Whether its client is not recovered.
    pub is_forgotten: bool,
}

impl Records {
    pub fn every(every: u64) -> Self {
        Self {
            known: Vec::new(),
            every,
            confirms: true,
            lost: 0,
        }
    }

    /// Recovers none of the present clients.
    pub fn forget(&mut self) {
        self.known.iter_mut().for_each(|record| record.is_forgotten = true);
    }

    fn begin(&mut self, socket: SocketKey) -> (usize, u64) {
        self.known.push(Record {
            heard: 0,
            socket,
            is_forgotten: false,
        });
        (self.known.len() - 1, 0)
    }

    fn of(&mut self, socket: SocketKey) -> Option<&mut Record> {
        self.known.iter_mut().find(|record| record.socket == socket)
    }
}

impl World {
    /// Accepts a client, and recovers it if it is known. Its old socket is closed first.
    pub(super) fn accept_recoverable(&mut self, socket: SocketKey, auth: &Auth) {
        let now = self.now;
        let Some(records) = &mut self.records else { return };
        let shown: serde_json::Value = match auth {
            Auth::Payload(payload) => serde_json::from_str(payload).unwrap(),
            _ => serde_json::Value::Null,
        };
        let confirmed = shown["sio.confirmed"].as_u64();
        let number = shown["pid"].as_str().map(|pid| pid[1..].parse::<usize>().unwrap());
        let known = number.and_then(|number| Some((number, records.known.get_mut(number)?)));
        let (number, heard) = match known {
            Some((_, record)) if record.is_forgotten => {
                let old = record.socket;
                self.server
                    .shard(now, |shard, out| shard.disconnect(now, old, true, out));
                records.lost += 1;
                records.begin(socket)
            }
            Some((number, record)) => {
                assert!(
                    confirmed.unwrap_or(0) <= record.heard,
                    "the client has seen no confirmation that was not given"
                );
                let old = std::mem::replace(&mut record.socket, socket);
                let heard = record.heard;
                self.server
                    .shard(now, |shard, out| shard.disconnect(now, old, true, out));
                (number, heard)
            }
            None => records.begin(socket),
        };
        let confirms = self.records.as_ref().is_some_and(|records| records.confirms);
        let welcome = Welcome {
            pid: Some(format!("p{number}").into()),
            confirmed: confirmed.filter(|_| confirms).map(|_| heard),
            ..Welcome::default()
        };
        self.server
            .shard(now, |shard, out| shard.accept_as(now, socket, &welcome, out));
    }

    /// Counts an event. Returns false if its client has another socket by now.
    pub(super) fn hear(&mut self, socket: SocketKey) -> bool {
        let Some(records) = &mut self.records else { return true };
        let (every, confirms) = (records.every, records.confirms);
        let Some(record) = records.of(socket) else { return false };
        record.heard += 1;
        let heard = record.heard;
        if confirms && heard.is_multiple_of(every) {
            self.confirm(socket, heard);
        }
        true
    }

    /// Tells all clients what the server has had.
    pub fn confirm_all(&mut self) {
        let records = self.records.iter().flat_map(|records| &records.known);
        let told: Vec<_> = records.map(|record| (record.socket, record.heard)).collect();
        for (socket, heard) in told {
            self.confirm(socket, heard);
        }
    }

    /// Tells a client that the server has had so many events.
    pub fn confirm(&mut self, socket: SocketKey, heard: u64) {
        let now = self.now;
        self.server
            .shard(now, |shard, out| shard.confirm(now, socket, heard, out));
    }
}
