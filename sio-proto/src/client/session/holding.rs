//! What a session holds, for the simulator (feature `steps`).

use super::{Packed, Session};
use crate::client::config::Transport;
use crate::client::holding::ClientHolding;
use crate::client::line::Line;
use crate::holding::Holding;

impl Session {
    pub(in crate::client) fn add_to(&self, all: &mut ClientHolding) {
        let stream = self.older.stream.as_ref().map(|stream| stream.buffered_bytes());
        all.arriving = all.arriving.with(stream);
        all.leaving = Holding::shrinking::<Packed>(self.outgoing.capacity(), self.outgoing.len())
            .with(self.outgoing.iter().map(Packed::len));
        all.receipts = Holding::memory(self.older.receipts.memory());
        for line in &self.lines {
            all.arriving = all.arriving.and(line.arriving());
            all.leaving = all.leaving.and(Holding::memory(line.unsent_memory()));
        }
        let opening = &self.opening;
        let credentials = opening.credentials.headers.iter().chain(&opening.credentials.query);
        let credentials = credentials.map(|(name, value)| name.len().saturating_add(value.len()));
        let auth = opening.credentials.auth.iter().map(|(_, auth)| auth.len());
        let echoes = [&self.older.echo, &self.older.last_heartbeat].into_iter().flatten();
        let endpoint = opening.endpoint.host.len().saturating_add(opening.endpoint.path.len());
        all.texts = all
            .texts
            .with(credentials)
            .with(auth)
            .with(echoes.map(|text| text.len()))
            .with([self.sid.len(), endpoint]);
        all.others = all
            .others
            .and(Holding::memory(size_of::<Self>()))
            .and(Holding::list::<Line>(self.lines.capacity()))
            .and(Holding::list::<Transport>(opening.transports.capacity()));
    }
}
