//! What a broker has told, and what it is asked.

use sio_proto::broker::{Answer, BrokerError, Command, Event, Request};

use super::World;

pub(crate) fn messages(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Message { channel, payload, .. } => {
            Some(format!("{}={}", channel.escape_ascii(), payload.escape_ascii()))
        }
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

pub(crate) fn answers(events: &[Event]) -> Vec<(u64, Result<Answer, BrokerError>)> {
    let answer = |event: &Event| match event {
        Event::Answer { tag, answer } => Some((*tag, answer.clone())),
        _ => None,
    };
    events.iter().filter_map(answer).collect()
}

pub(crate) fn ask(world: &mut World, tag: u64, request: Request) {
    world.command(Command::Request { tag, request });
}
