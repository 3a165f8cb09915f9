//! The connections of a broker: they end, or take no more bytes.

use sio_proto::LinkId;

use super::World;

impl World {
    /// The connections to a server, those that hear or the others.
    pub(crate) fn links(&self, node: usize, hears: bool) -> Vec<LinkId> {
        let of_node = self.conns.iter().filter(|(_, conn)| conn.node == node);
        let chosen = of_node.filter(|(_, conn)| conn.channels.is_empty() != hears);
        chosen.map(|(link, _)| *link).collect()
    }

    /// The connections to a server that do not hear end.
    pub(crate) fn cut_others(&mut self, node: usize) {
        self.links(node, false).into_iter().for_each(|link| self.close(link));
    }

    /// The connections to this server end.
    pub(crate) fn cut(&mut self, node: usize, only_subscribers: bool) {
        let links = self
            .conns
            .iter()
            .filter(|(_, conn)| conn.node == node && (!only_subscribers || !conn.channels.is_empty()));
        let links: Vec<LinkId> = links.map(|(link, _)| *link).collect();
        for link in links {
            self.close(link);
        }
    }

    pub(crate) fn close(&mut self, link: LinkId) {
        self.conns.remove(&link);
        self.to_broker.remove(&link);
        self.buffers.remove(&link);
        self.broker.handle_closed(self.now, link, None);
    }

    /// One connection ends behind so many bytes of what its server has said.
    pub(crate) fn cut_one(&mut self, which: usize, behind: usize) {
        let Some(link) = self.conns.keys().nth(which % self.conns.len().max(1)).copied() else {
            return;
        };
        let mut said = self.to_broker.remove(&link).unwrap_or_default();
        said.truncate(behind % (said.len() + 1));
        self.hand_over(link, &said);
        self.close(link);
    }
}
