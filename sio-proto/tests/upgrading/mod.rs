//! A session that polls, and may move to a websocket.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each file uses a part, and it is no library"
)]

use sio_proto::server::TransportKind;
use sio_proto::{Config, LinkId, SocketKey};

use super::common::*;

pub struct Story {
    pub world: World,
    pub sid: String,
    pub socket: SocketKey,
}

impl Story {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let mut world = World::new(config);
        let sid = world.join_polling();
        world.heard();
        let socket = world.last_socket();
        Self { world, sid, socket }
    }

    /// Begins a POST of one event. Its end is `"slow"]`.
    pub fn begin_post(&mut self) -> LinkId {
        let link = self.world.open();
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n42[",
            session(&self.sid)
        );
        self.world.send(link, head.as_bytes());
        link
    }

    pub fn probe(&mut self) -> LinkId {
        let candidate = self.world.candidate(&self.sid);
        assert_eq!(self.world.frames(candidate), [""; 0]);
        self.world.send(candidate, &text("2probe"));
        assert_eq!(self.world.frames(candidate), ["3probe"]);
        candidate
    }

    /// Probes, and takes all noops that come at once. From then on a GET is held.
    pub fn probe_and_poll(&mut self) -> LinkId {
        let candidate = self.probe();
        for _ in 0..3 {
            assert_eq!(body(&self.world.fetch(&self.sid)), "6");
        }
        candidate
    }

    pub fn transport(&mut self) -> Option<TransportKind> {
        let socket = self.socket;
        self.world.shard(|shard, _| shard.transport(socket))
    }

    pub fn assert_polls(&mut self) {
        self.world.heard();
        assert_eq!(self.transport(), Some(TransportKind::Polling));
        assert_eq!(status(&self.world.push(&self.sid, "42[\"up\"]")), 200);
        assert_eq!(self.world.heard(), ["event up "]);
        self.world.emit(self.socket, "down", "").unwrap();
        assert_eq!(body(&self.world.fetch(&self.sid)), "42[\"down\"]");
    }

    pub fn assert_upgraded(&mut self, link: LinkId) {
        assert_eq!(self.transport(), Some(TransportKind::WebSocket));
        self.world.assert_works(link, self.socket);
        for answer in [self.world.fetch(&self.sid), self.world.push(&self.sid, "42[\"x\"]")] {
            assert_eq!(body(&answer), "{\"code\":3,\"message\":\"Bad request\"}");
        }
        self.world.assert_works(link, self.socket);
        self.world.pass(10_500);
        self.world.assert_works(link, self.socket);
    }
}
