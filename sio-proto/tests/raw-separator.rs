//! A raw Engine.IO message that contains the separator of polling payloads must not become two
//! packets.

mod common;

use common::*;
use sio_proto::Config;
use sio_proto::server::{Delivery, EngineMessage, SendError};

#[test]
fn a_separator_is_refused_where_it_would_split() {
    let mut config = Config::default();
    config.engine_path = Some("/engine.io".into());
    let mut world = World::new(config);
    world.ask(&get("/engine.io/?EIO=4&transport=polling"));
    let link = world.open();
    world.send(link, &upgrade("/engine.io/?EIO=4&transport=websocket"));
    let sessions: Vec<_> = world
        .deliveries
        .iter()
        .filter_map(|d| {
            if let Delivery::EngineOpen { session, .. } = d {
                Some(*session)
            } else {
                None
            }
        })
        .collect();
    let [polls, websocket] = sessions[..] else {
        panic!("two sessions: {sessions:?}")
    };
    let message = || EngineMessage::Text("a\u{1e}2".into());
    assert_eq!(
        world.shard(|shard, _| shard.send_engine(polls, message())),
        Err(SendError::Unsupported)
    );
    assert_eq!(world.shard(|shard, _| shard.send_engine(websocket, message())), Ok(()));
    assert_eq!(world.frames(link).last().unwrap(), "4a\u{1e}2");
}
