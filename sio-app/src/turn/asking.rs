//! A broadcast that asks for acknowledgements, in each shard that has recipients.

use std::time::Duration;

use sio_proto::server::{AckRequest, Form, Forms, Message, SendError};

use crate::error::{AckError, EmitError};
use crate::turn;
use crate::turn::order::Audience;
use crate::turn::shard::State;
use crate::turn::survey::OpenSurvey;

/// A message that asks for an acknowledgement, and the same event for clients whose generation has
/// no acknowledgements, if there may be such clients.
pub(crate) struct Asking {
    pub(crate) message: Message,
    pub(crate) plain: Option<Message>,
}

/// Sends a question to every socket of an audience. A recipient that cannot be asked does not end,
/// as it may for an ordinary broadcast: the one who asks is told of it, so nothing is lost
/// silently.
pub(super) fn ask(
    to: Audience<'_>,
    bytes: usize,
    timeout: Duration,
    survey: &OpenSurvey,
    write: &mut dyn FnMut(Forms) -> Asking,
) {
    let forms = to
        .cells()
        .fold(Forms::default(), |forms, cell| forms.union(cell.forms()));
    let mut asking = write(forms);
    let request = AckRequest {
        id: survey.id(),
        timeout: Some(timeout),
    };
    turn::act(to.shards.runtime, |turn| {
        let (mut ready, mut enough) = (0, false);
        for cell in to.cells() {
            let target = to.target_in(cell);
            let (links, has_enough) = cell.queue("ask", turn, |state, now| {
                let members = state.shard.members(&target);
                let mut asked = Vec::with_capacity(members.len());
                for key in members {
                    let Some(socket) = state.socket(key) else { continue };
                    let (id, form) = (socket.id().clone(), socket.form);
                    let State { shard, .. } = &mut *state;
                    let result = match (form, &mut asking.plain) {
                        (Form::Plain(_), Some(plain)) => match shard.emit(now, key, plain, None) {
                            Ok(()) => Err(AckError::Unable),
                            Err(error) => Err(unsent(error)),
                        },
                        _ => shard.emit(now, key, &mut asking.message, Some(request)).map_err(unsent),
                    };
                    asked.push((key, id, result));
                }
                let links = state.shard.ready_links();
                survey.add(cell, asked);
                (links, state.unwritten.add(bytes, links))
            });
            (ready, enough) = (ready + links, enough || has_enough);
        }
        turn.broadcast(bytes, ready, enough);
    });
}

fn unsent(error: SendError) -> AckError {
    AckError::Emit(EmitError::from(error))
}
