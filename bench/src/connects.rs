//! How clients come and go. Each row is one client, and every connection that it opens counts.

use std::task::Waker;

use sio_app::adapter::Driver;
use sio_app::{Io, Options};

use crate::client::{Client, expect, sid_in};
use crate::turns::register;
use crate::wire::{get, post, text, upgrade};
use crate::world::{pass, run_tasks, server};
use crate::{Case, Row};

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("connect/4.x", || {
        Box::new(Websocket::new(|io| {
            OnWebsocket::of(io, "/socket.io/?EIO=4&transport=websocket", "40")
        }))
    })
    .heavy(),
    Row::new("connect/2.x", || {
        Box::new(Websocket::new(|io| {
            OnWebsocket::of(io, "/socket.io/?EIO=3&transport=websocket", "")
        }))
    })
    .heavy(),
    Row::new("connect/0.9", || Box::new(Handshaken::new())).heavy(),
    Row::new("connect/0.6", || {
        Box::new(Websocket::new(|io| OnWebsocket::of(io, "/socket.io/websocket", "")))
    })
    .heavy(),
    Row::new("connect-upgrade/4.x", || Box::new(Upgrade::new("4", "40"))).heavy(),
    Row::new("connect-upgrade/2.x", || Box::new(Upgrade::new("3", ""))).heavy(),
    Row::new("leave/4.x", || Box::new(Leave::new())).heavy(),
];

/// Makes a server with handlers, which lets everybody in.
fn open_house() -> Io {
    let io = server(Options::default());
    register(&io);
    io
}

/// What a client says that connects over a websocket at once.
struct OnWebsocket {
    io: Io,
    handshake: Vec<u8>,
    connect: Vec<u8>,
}

impl OnWebsocket {
    fn of(io: Io, target: &str, connect: &str) -> Self {
        Self {
            io,
            handshake: upgrade(target),
            connect: if connect.is_empty() { Vec::new() } else { text(connect) },
        }
    }

    fn connect(&self) -> Client {
        let mut client = Client::new(&self.io);
        client.say(&self.handshake);
        if self.connect.is_empty() {
            // An older client: the connection pauses behind the head of its handshake.
            pass(1);
            client.say(b"");
        } else {
            client.say(&self.connect);
        }
        client
    }
}

/// A websocket, and the packet that connects the main namespace.
struct Websocket {
    house: OnWebsocket,
    client: Option<Client>,
}

impl Websocket {
    fn new(house: impl FnOnce(Io) -> OnWebsocket) -> Self {
        Self {
            house: house(open_house()),
            client: None,
        }
    }
}

impl Case for Websocket {
    /// Lets the last client go. A session of 0.6 outlives its connection for a while, so time has
    /// to pass.
    fn prepare(&mut self, _: usize) {
        self.client = None;
        pass(60_000);
        let _ = Driver::new(&self.house.io).handle_timeout(0, Waker::noop());
        run_tasks();
    }

    fn run(&mut self, _: usize) {
        self.client = Some(self.house.connect());
    }

    fn check(&mut self) {
        self.prepare(0);
        assert_eq!(self.house.io.sockets().len(), 0);
        self.run(0);
        assert_eq!(self.house.io.sockets().len(), 1);
    }
}

/// A client of 0.9: the handshake, and then a websocket.
struct Handshaken {
    io: Io,
    handshake: Vec<u8>,
    upgrade: Vec<u8>,
    first: Option<Client>,
    second: Option<Client>,
}

impl Handshaken {
    fn new() -> Self {
        Self {
            io: open_house(),
            handshake: get("/socket.io/1/?t=1"),
            upgrade: Vec::new(),
            first: None,
            second: None,
        }
    }
}

impl Case for Handshaken {
    fn steps(&self) -> usize {
        2
    }

    fn prepare(&mut self, step: usize) {
        if step == 0 {
            pass(1);
            self.first = None;
            self.second = None;
            run_tasks();
            return;
        }
        let answer = self.first.as_ref().map(Client::heard).unwrap_or_default();
        let id = Client::id_of_09(&answer);
        self.upgrade = upgrade(&format!("/socket.io/1/websocket/{id}"));
    }

    fn run(&mut self, step: usize) {
        let mut client = Client::new(&self.io);
        if step == 0 {
            client.listen();
            client.say(&self.handshake);
            self.first = Some(client);
        } else {
            client.say(&self.upgrade);
            pass(1);
            client.say(b"");
            self.second = Some(client);
        }
    }

    fn check(&mut self) {
        self.prepare(0);
        assert_eq!(self.io.sockets().len(), 0);
        for step in 0..self.steps() {
            self.prepare(step);
            self.run(step);
        }
        assert_eq!(self.io.sockets().len(), 1);
    }
}

/// A client that begins with polling and upgrades, as genuine clients do. In 4.x it sends five
/// requests on three connections. In 2.x it need not ask for the namespace, and sends four on two.
struct Upgrade {
    io: Io,
    revision: &'static str,
    /// What the client posts to connect the main namespace.
    connect: &'static str,
    open: Vec<u8>,
    poll: Vec<u8>,
    post: Vec<u8>,
    websocket: Vec<u8>,
    probe: Vec<u8>,
    switch: Vec<u8>,
    getting: Option<Client>,
    posting: Option<Client>,
    upgraded: Option<Client>,
}

impl Upgrade {
    fn new(revision: &'static str, connect: &'static str) -> Self {
        Self {
            io: open_house(),
            revision,
            connect,
            open: get(&format!("/socket.io/?EIO={revision}&transport=polling")),
            poll: Vec::new(),
            post: Vec::new(),
            websocket: Vec::new(),
            probe: text("2probe"),
            switch: text("5"),
            getting: None,
            posting: None,
            upgraded: None,
        }
    }

    fn know_id(&mut self, open: &str) {
        let (revision, id) = (self.revision, sid_in(open));
        let target = format!("/socket.io/?EIO={revision}&transport=polling&sid={id}");
        self.poll = get(&target);
        self.post = post(&target, self.connect);
        self.websocket = upgrade(&format!("/socket.io/?EIO={revision}&transport=websocket&sid={id}"));
    }
}

impl Case for Upgrade {
    fn steps(&self) -> usize {
        2
    }

    fn prepare(&mut self, step: usize) {
        if step == 0 {
            pass(1);
            self.getting = None;
            self.posting = None;
            self.upgraded = None;
            run_tasks();
            return;
        }
        let open = self.getting.as_ref().map(Client::heard).unwrap_or_default();
        self.know_id(&open);
    }

    fn run(&mut self, step: usize) {
        if step == 0 {
            let mut getting = Client::new(&self.io);
            getting.listen();
            getting.say(&self.open);
            self.getting = Some(getting);
            return;
        }
        let Some(getting) = &mut self.getting else { return };
        if !self.connect.is_empty() {
            let mut posting = Client::new(&self.io);
            posting.say(&self.post);
            self.posting = Some(posting);
        }
        getting.say(&self.poll);
        let mut upgraded = Client::new(&self.io);
        upgraded.say(&self.websocket);
        getting.say(&self.poll);
        upgraded.say(&self.probe);
        upgraded.say(&self.switch);
        self.upgraded = Some(upgraded);
    }

    fn check(&mut self) {
        for step in 0..self.steps() {
            self.prepare(step);
            self.run(step);
        }
        assert_eq!(self.io.sockets().len(), 1);
        let heard = self
            .upgraded
            .as_mut()
            .map(|client| client.hear(&text(r#"42["echo",1]"#)));
        expect(&heard.unwrap_or_default(), r#"42["echo",1]"#, 1);
    }
}

/// The end of a client's websocket.
struct Leave {
    house: OnWebsocket,
    client: Option<Client>,
}

impl Leave {
    fn new() -> Self {
        Self {
            house: OnWebsocket::of(open_house(), "/socket.io/?EIO=4&transport=websocket", "40"),
            client: None,
        }
    }
}

impl Case for Leave {
    fn prepare(&mut self, _: usize) {
        pass(1);
        self.client = Some(self.house.connect());
    }

    fn run(&mut self, _: usize) {
        self.client = None;
        run_tasks();
    }

    fn check(&mut self) {
        self.prepare(0);
        assert_eq!(self.house.io.sessions(), 1);
        self.run(0);
        assert_eq!(self.house.io.sessions(), 0);
    }
}
