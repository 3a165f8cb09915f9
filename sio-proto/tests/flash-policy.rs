//! The policy file that Flash asks for before it opens a socket, on the port of the server
//! (docs/protocol/legacy-0.6.md §11).

mod common;

use common::*;
use sio_proto::legacy::flash_policy::REQUEST;
use sio_proto::{Config, Generations};

const POLICY: &str = "<?xml version=\"1.0\"?>\n\
    <!DOCTYPE cross-domain-policy SYSTEM \"http://www.macromedia.com/xml/dtds/cross-domain-policy.dtd\">\n\
    <cross-domain-policy>\n<allow-access-from domain=\"*\" to-ports=\"*\"/>\n</cross-domain-policy>\n";

#[test]
fn however_it_is_cut() {
    for at in 0..=REQUEST.len() {
        let mut world = World::new(Config::default());
        let link = world.open();
        for piece in [&REQUEST[..at], &REQUEST[at..]] {
            world.send(link, piece);
        }
        assert_eq!(world.received(link), POLICY);
        assert_eq!(world.ended, [link]);
    }
    let mut world = World::new(Config::default());
    let link = world.open();
    for byte in REQUEST {
        assert_eq!(world.received(link), "");
        world.send(link, &[*byte]);
    }
    assert_eq!(world.received(link), POLICY);
    // The bytes behind the request are dropped.
    let link = world.open();
    world.send(link, &[REQUEST, b"GET / HTTP/1.1\r\n\r\n"].concat());
    assert_eq!(world.received(link), POLICY);
}

#[test]
fn it_says_what_the_operator_says() {
    let mut config = Config::default();
    config.flash_policy = vec!["a.example".into(), "b.example:80".into()];
    let mut world = World::new(config);
    let link = world.open();
    world.send(link, REQUEST);
    let lines = "<allow-access-from domain=\"a.example\" to-ports=\"*\"/>\n<allow-access-from domain=\"b.example\" to-ports=\"80\"/>\n";
    let open = "<allow-access-from domain=\"*\" to-ports=\"*\"/>\n";
    assert_eq!(world.received(link), POLICY.replace(open, lines));
}

#[test]
fn other_bytes_are_http() {
    for bytes in [
        &b"<html>\r\n\r\n"[..],
        b"<policy-file-request/>\r\n\r\n",
        b"<policy-file-request>\0",
    ] {
        let mut world = World::new(Config::default());
        assert_eq!(status(&world.ask(bytes)), 400, "{bytes:?}");
    }
    // After an HTTP request, a policy request is an error,
    let mut world = World::new(Config::default());
    let link = world.open();
    world.send(link, &get("/socket.io/?EIO=4"));
    world.received(link);
    world.send(link, &[REQUEST, b"\r\n\r\n"].concat());
    assert_eq!(status(&world.received(link)), 400);
    // and no client has flashsocket where only later generations are served.
    let mut world = World::new(Config::default().generations(Generations::modern()));
    assert_eq!(status(&world.ask(&[REQUEST, b"\r\n\r\n"].concat())), 400);
}
