//! Connections that the broker has closed while their server had commands of them, and how the next
//! connection ends them.

use sio_proto::{BytesMut, LinkId};

use super::{World, bulk, line};

impl World {
    /// Servers carry out what they have of connections that were closed long ago.
    pub(crate) fn carry_out_late(&mut self) {
        for (link, conn) in std::mem::take(&mut self.late) {
            self.conns.insert(link, conn);
            self.serve(link);
            self.conns.remove(&link);
            self.to_broker.remove(&link);
        }
    }

    /// `CLIENT`, with its second word.
    pub(super) fn client_command(&mut self, link: LinkId, at: usize, parts: &[Vec<u8>], out: &mut BytesMut) {
        match &parts[1][..] {
            b"INFO" => {
                let id = self.conns[&link].id;
                bulk(out, format!("id={id} addr=10.0.0.1:{id} laddr=a:1 name=sio").as_bytes());
            }
            b"KILL" if self.nodes[at].is_busy => line(out, "-BUSY Redis is busy running a script."),
            b"KILL" => {
                let [id, address] = [3, 5].map(|at| String::from_utf8_lossy(&parts[at]).into_owned());
                let before = self.late.len();
                self.late.retain(|_, conn| {
                    let id_of = conn.id.to_string();
                    conn.node != at || id_of != id || format!("10.0.0.1:{id_of}") != address
                });
                line(out, &format!(":{}", before - self.late.len()));
            }
            _ => line(out, "+OK"),
        }
    }
}
