//! The data beside a raw Engine.IO session of a shard: its number, the request that opened it, and
//! the user's data.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sio_proto::SessionKey;
use sio_proto::server::Handshake;

use crate::guarded::guarded;
use crate::turn::Turn;
use crate::turn::application::EngineNews;
use crate::turn::load::Load;
use crate::turn::mailbox::{Mailbox, Next};
use crate::turn::shard::ShardCell;
use crate::turn::values::Values;

/// The number of the next raw session of this process.
static NEXT: AtomicU64 = AtomicU64::new(1);

pub(crate) struct RawSession {
    pub(crate) cell: Arc<ShardCell>,
    pub(crate) session: SessionKey,
    pub(crate) number: u64,
    pub(crate) handshake: Arc<Handshake>,
    pub(crate) values: Values,
    /// The order of what is told of the session.
    pub(super) mailbox: Mailbox<EngineNews>,
}

// Every raw session has one.
const _: () = assert!(size_of::<RawSession>() <= 160);

impl RawSession {
    pub(crate) fn new(cell: Arc<ShardCell>, session: SessionKey, handshake: Arc<Handshake>) -> Self {
        Self {
            cell,
            session,
            number: NEXT.fetch_add(1, Ordering::Relaxed),
            handshake,
            values: Values::default(),
            mailbox: Mailbox::default(),
        }
    }

    /// Returns what waits for the session.
    pub(super) fn load(&self) -> Load<'_> {
        Load::new(&self.handshake, self.cell.loads())
    }

    /// Ends the session.
    pub(crate) fn close(&self) {
        self.cell.close_engine(self.session);
    }
}

impl Drop for RawSession {
    fn drop(&mut self) {
        self.mailbox.give_up(self.load());
    }
}

/// Tells the user what has happened to a raw session, in order: first this, and then what has
/// arrived on other threads meanwhile.
pub(super) fn tell(turn: &Turn, session: &Arc<RawSession>, news: EngineNews) {
    let mut next = session.mailbox.begin(turn.owner(), news, session.load());
    if next.is_none() {
        turn.note_load(session.load());
    }
    while let Some(news) = next {
        tell_one(session, news);
        next = match session.mailbox.done(session.load()) {
            Next::Mail(news) => {
                session.load().note_done();
                Some(news)
            }
            Next::Nothing | Next::Leave => None,
        };
    }
}

/// A panic in the user's code ends the session.
fn tell_one(session: &Arc<RawSession>, news: EngineNews) {
    let Some(application) = session.cell.application.upgrade() else {
        return;
    };
    if let Err(error) = guarded(|| application.engine(Arc::clone(session), news)) {
        application.report(None, "engine", &error);
        session.close();
    }
}
