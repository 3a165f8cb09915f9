//! Polling: each row is one request, on a connection that has been used before.
//!
//! A client sends its event with a POST on one connection, and gets the echo with a GET on another.

use sio_app::{Io, Options};

use crate::client::{Client, expect, sid_in};
use crate::turns::register;
use crate::wire::{get, get_from_page, post, post_form};
use crate::world::{pass, server};
use crate::{Case, Row};

/// The rows.
pub const ROWS: &[Row] = &[
    Row::new("poll/4.x", || {
        Box::new(Polls::of(Opened::engine(4, "", get), Which::Get))
    }),
    Row::new("poll/4.x/page", || {
        Box::new(Polls::of(Opened::engine(4, "", get_from_page), Which::Get))
    }),
    Row::new("poll/2.x", || {
        Box::new(Polls::of(Opened::engine(3, "26:", get), Which::Get))
    }),
    Row::new("poll/0.9", || Box::new(Polls::of(Opened::of_09(), Which::Get))),
    Row::new("poll/0.6", || Box::new(Polls::of(Opened::of_06(), Which::Get))),
    Row::new("poll-held/4.x", || {
        Box::new(Polls::of(Opened::engine(4, "", get), Which::Held))
    }),
    Row::new("post/4.x", || {
        Box::new(Polls::of(Opened::engine(4, "", get), Which::Post))
    }),
    Row::new("post/2.x", || {
        Box::new(Polls::of(Opened::engine(3, "26:", get), Which::Post))
    }),
    Row::new("post/0.9", || Box::new(Polls::of(Opened::of_09(), Which::Post))),
    Row::new("post/0.6", || Box::new(Polls::of(Opened::of_06(), Which::Post))),
];

/// A session that polls, and the requests of a round.
struct Opened {
    io: Io,
    getting: Client,
    posting: Client,
    get: Vec<u8>,
    post: Vec<u8>,
    echo: &'static str,
    posted: &'static str,
}

impl Opened {
    /// A session of Engine.IO. Packets of revision 3 have a length in front of them.
    fn engine(revision: u8, length: &str, get_of: fn(&str) -> Vec<u8>) -> Self {
        let io = server(Options::default());
        register(&io);
        let (mut getting, mut posting) = (Client::new(&io), Client::new(&io));
        let target = format!("/socket.io/?EIO={revision}&transport=polling");
        let open = getting.hear(&get(&target));
        let target = format!("{target}&sid={}", sid_in(&open));
        if revision == 4 {
            posting.say(&post(&target, "40"));
        }
        expect(&getting.hear(&get(&target)), "40", 1);
        let body = format!(r#"{length}42["echo","0123456789abc"]"#);
        Self {
            io,
            getting,
            posting,
            get: get_of(&target),
            post: post(&target, &body),
            echo: r#"42["echo","0123456789abc"]"#,
            posted: "ok",
        }
    }

    fn of_09() -> Self {
        let io = server(Options::default());
        register(&io);
        let target = format!("/socket.io/1/xhr-polling/{}", Client::handshake_09(&io));
        let (mut getting, posting) = (Client::new(&io), Client::new(&io));
        expect(&getting.hear(&get(&target)), "1::", 1);
        Self {
            io,
            getting,
            posting,
            get: get(&target),
            post: post(&target, r#"5:::{"name":"echo","args":["0123456789abc"]}"#),
            echo: r#""args":["0123456789abc"]"#,
            posted: "200 OK",
        }
    }

    fn of_06() -> Self {
        let io = server(Options::default());
        register(&io);
        let (mut getting, posting) = (Client::new(&io), Client::new(&io));
        let opened = getting.hear(&get("/socket.io/xhr-polling//1"));
        let id = opened.rsplit("~m~").next().unwrap_or_default();
        Self {
            io,
            getting,
            posting,
            get: get(&format!("/socket.io/xhr-polling/{id}/2")),
            post: post_form(
                &format!("/socket.io/xhr-polling/{id}/send"),
                "data=~m~13~m~0123456789abc",
            ),
            echo: "~m~13~m~0123456789abc",
            posted: "ok",
        }
    }
}

/// Which part of a round is counted.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    /// The GET, when the echo waits already.
    Get,
    /// The POST, when no GET is held.
    Post,
    /// A GET that is held, and the POST that causes its answer: two requests.
    Held,
}

struct Polls {
    opened: Opened,
    which: Which,
    /// Whether the last POST has left an echo that no GET has taken.
    echo_waits: bool,
}

impl Polls {
    const fn of(opened: Opened, which: Which) -> Self {
        Self {
            opened,
            which,
            echo_waits: false,
        }
    }
}

impl Case for Polls {
    fn prepare(&mut self, _: usize) {
        pass(1);
        match self.which {
            Which::Get => self.opened.posting.say(&self.opened.post),
            Which::Post if self.echo_waits => self.opened.getting.say(&self.opened.get),
            Which::Post | Which::Held => {}
        }
        self.echo_waits = self.which != Which::Held;
    }

    fn run(&mut self, _: usize) {
        let Opened {
            getting,
            posting,
            get,
            post,
            ..
        } = &mut self.opened;
        match self.which {
            Which::Get => getting.say(get),
            Which::Post => posting.say(post),
            Which::Held => {
                getting.say(get);
                posting.say(post);
            }
        }
    }

    fn check(&mut self) {
        self.prepare(0);
        let opened = &mut self.opened;
        if self.which == Which::Post {
            expect(&opened.posting.hear(&opened.post), opened.posted, 1);
            return;
        }
        opened.getting.listen();
        opened.posting.listen();
        self.run(0);
        let opened = &self.opened;
        expect(&opened.getting.heard(), opened.echo, 1);
        expect(
            &opened.posting.heard(),
            opened.posted,
            usize::from(self.which == Which::Held),
        );
        assert_eq!(opened.io.sessions(), 1);
    }
}
