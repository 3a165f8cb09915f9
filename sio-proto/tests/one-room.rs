//! Clients of every generation in one room: each sends `é€😀`, and each receives the unchanged text
//! from all others.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;
mod older;

use common::*;
use older::*;
use sio_proto::server::{Cause, Command, Delivery, Message, Target};
use sio_proto::{Config, LinkId};

const SAID: &str = "é€😀";

/// A client that polls at a URL, or has a websocket.
enum Client {
    Polling(String, &'static str),
    WebSocket(LinkId),
}

struct Story {
    world: World,
    clients: Vec<(&'static str, Client)>,
}

impl Story {
    fn new() -> Self {
        let mut story = Self {
            world: World::new(Config::default()),
            clients: Vec::new(),
        };
        let world = &mut story.world;
        let sid_of = |world: &mut World, target: &str| sid(world.reply(&get(target)).text());

        let modern = world.join();
        let four = sid_of(world, POLLING);
        world.push(&four, "40");
        let two = format!("/socket.io/?EIO=3&transport=polling&b64=1&x={}", 2);
        let two = format!("{two}&sid={}", sid_of(world, &two));
        let two_websocket = world.open();
        world.send(two_websocket, &upgrade("/socket.io/?EIO=3&transport=websocket"));
        let one = "/socket.io/?EIO=3&transport=polling&b64=1&x=1";
        let one = format!("{one}&sid={}", sid_of(world, one));
        let binary = "/socket.io/?EIO=3&transport=polling";
        let binary = format!("{binary}&sid={}", sid_of(world, binary));

        let handshake = |world: &mut World| {
            let answer = world.reply(&get("/socket.io/1/"));
            answer.text().split(':').next().unwrap().to_string()
        };
        let nine = format!("/socket.io/1/xhr-polling/{}", handshake(world));
        let script = format!("/socket.io/1/jsonp-polling/{}?i=0", handshake(world));
        let nine_websocket = world.open();
        let id = handshake(world);
        world.send(nine_websocket, &upgrade(&format!("/socket.io/1/websocket/{id}")));

        let six = world.reply(&get("/socket.io/xhr-polling//1795447966090"));
        let six = format!("/socket.io/xhr-polling/{}", &six.text()[8..]);
        let six_websocket = world.open();
        world.send(six_websocket, &upgrade("/socket.io/websocket"));

        let polling = |target: String, answer| Client::Polling(target, answer);
        story.clients = vec![
            ("4.x websocket", Client::WebSocket(modern)),
            ("4.x polling", polling(session(&four), "v4")),
            ("2.x polling", polling(two, "v3")),
            ("2.x websocket", Client::WebSocket(two_websocket)),
            ("1.x polling", polling(one, "v3 twice")),
            ("1.x binary polling", polling(binary, "v3 binary")),
            ("0.9 xhr-polling", polling(nine, "v1")),
            ("0.9 jsonp-polling", polling(script, "v1 script")),
            ("0.9 websocket", Client::WebSocket(nine_websocket)),
            ("0.6 xhr-polling", polling(six, "tilde")),
            ("0.6 websocket", Client::WebSocket(six_websocket)),
        ];
        let sockets = story.world.sockets.clone();
        for socket in sockets {
            story.world.shard(|shard, _| shard.join(socket, "everybody")).unwrap();
        }
        // The first packets of each client: it is connected. The poll of 0.6 has already told this
        // to its client.
        let greeted = story.clients.iter().position(|(name, _)| *name == "0.6 xhr-polling");
        let six = story.clients.remove(greeted.unwrap());
        assert!(story.hear().iter().skip(1).all(|heard| !heard.is_empty()));
        story.clients.push(six);
        story.world.heard();
        story
    }

    /// The packets of each client since the last call.
    fn hear(&mut self) -> Vec<String> {
        let Self { world, clients } = self;
        let heard = clients.iter().map(|(_, client)| match client {
            Client::WebSocket(link) => world.frames(*link).join(" "),
            Client::Polling(target, _) => {
                let target = target.replace("/send", "");
                let link = world.open();
                world.send(link, &get(&target));
                let answer = world.bytes(link);
                if answer.is_empty() {
                    // There is no packet: the poll stays for the next call.
                    String::new()
                } else {
                    String::from_utf8_lossy(&answer)
                        .split_once("\r\n\r\n")
                        .unwrap()
                        .1
                        .to_string()
                }
            }
        });
        heard.collect()
    }
}

/// The bytes of a client that sends the text.
fn packet(name: &str) -> String {
    match name {
        n if n.starts_with("0.9") => format!("5:::{{\"name\":\"cast\",\"args\":[\"{SAID}\"]}}"),
        n if n.starts_with("0.6") => format!("~m~4~m~{SAID}"),
        _ => format!("42[\"cast\",\"{SAID}\"]"),
    }
}

fn say(world: &mut World, name: &str, client: &Client) {
    let packet = packet(name);
    let (target, form) = match client {
        Client::WebSocket(link) => return world.send(*link, &text(&packet)),
        Client::Polling(target, form) => (target, *form),
    };
    let length = packet.encode_utf16().count();
    let request = match form {
        "v4" | "v1" => post(target, &packet),
        "v3" => post(target, &format!("{length}:{packet}")),
        "v3 twice" => {
            let twice: String = packet.bytes().map(char::from).collect();
            post(target, &format!("{}:{twice}", packet.len()))
        }
        "v3 binary" => {
            let mut body = vec![0];
            body.extend(packet.len().to_string().bytes().map(|digit| digit - b'0'));
            body.push(0xff);
            body.extend(packet.bytes());
            post_bytes(target, "application/octet-stream", &body)
        }
        "v1 script" => post(target, &format!("d={packet}")),
        "tilde" => post(&format!("{target}/send"), &format!("data={packet}")),
        other => panic!("{other}"),
    };
    assert_eq!(world.reply(&request).status, 200, "{name}");
}

#[test]
fn everybody_hears_everybody() {
    let escaped = "\\u00e9\\u20ac\\ud83d\\ude00";
    let mut story = Story::new();
    for speaker in 0..story.clients.len() {
        let (name, client) = &story.clients[speaker];
        let name = *name;
        say(&mut story.world, name, client);
        let Some(Delivery::Event { args, .. }) = story.world.deliveries.pop() else {
            panic!("{name} was not heard")
        };
        assert_eq!(args.json, format!("\"{SAID}\""), "{name}");
        let message = Message::event("/".into(), "cast".into(), args, None);
        let target = Target {
            namespace: "/".into(),
            rooms: vec!["everybody".into()],
            ..Target::default()
        };
        story.world.command(Command::Broadcast { target, message });
        let heard = story.hear();
        for (heard, (listener, client)) in heard.iter().zip(&story.clients) {
            let nine = format!("5:::{{\"name\":\"cast\",\"args\":[\"{SAID}\"]}}");
            let expected = match (*listener, client) {
                ("4.x websocket" | "4.x polling", _) => format!("42[\"cast\",\"{SAID}\"]"),
                ("2.x websocket", _) => format!("42[\"cast\",\"{escaped}\"]"),
                (_, Client::Polling(_, "v3" | "v3 twice" | "v3 binary")) => format!("37:42[\"cast\",\"{escaped}\"]"),
                ("0.9 jsonp-polling", _) => format!("io.j[0](\"{}\");", nine.replace('"', "\\\"")),
                (n, _) if n.starts_with("0.9") => nine,
                _ => format!("~m~35~m~~j~{{\"event\":\"cast\",\"args\":[\"{SAID}\"]}}"),
            };
            assert_eq!(*heard, expected, "{name} to {listener}");
        }
    }
}

/// An operator can see how many clients there are.
#[test]
fn everybody_is_counted() {
    let mut story = Story::new();
    let counted = |world: &mut World| -> Vec<String> {
        let counters = world.shard(|shard, _| shard.counters().clone());
        let seen = counters.iter().filter(|(.., count)| count.total > 0);
        let lines = seen.map(|(generation, transport, count)| {
            format!("{generation} {transport} {} {}", count.current, count.total)
        });
        lines.collect()
    };
    assert_eq!(
        counted(&mut story.world),
        [
            "0.6 polling 1 1",
            "0.6 websocket 1 1",
            "0.7-0.9 polling 1 3",
            "0.7-0.9 jsonp-polling 1 1",
            "0.7-0.9 websocket 1 1",
            "1.x-2.x polling 3 3",
            "1.x-2.x websocket 1 1",
            "4.x polling 1 1",
            "4.x websocket 1 1"
        ]
    );
    for (_, client) in &story.clients {
        if let Client::WebSocket(link) = client {
            story.world.cut(*link, Cause::Closed);
        }
    }
    story.world.pass(120_000);
    let counted = counted(&mut story.world);
    assert!(
        counted.iter().all(|line| line.split(' ').nth(2) == Some("0")),
        "{counted:?}"
    );
}
