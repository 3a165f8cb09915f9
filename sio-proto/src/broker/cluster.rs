//! The masters of a cluster, and which of them owns which slot.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

use alloc::vec;
use alloc::vec::Vec;
use core::str;

use bytestring::ByteString;

use super::config::Address;
use crate::resp::{SLOTS, Value, slot};

/// More servers than this are no cluster: Redis itself recommends a thousand at most.
pub(super) const MOST_NODES: usize = 16384;

/// Stands for a slot without an owner.
const NOBODY: u16 = u16::MAX;

/// Where a broker sends a command that came to the wrong server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Redirect {
    /// The slot belongs to another server.
    Moved(u16, Address),
    /// Only this command belongs to another server, while the slot moves.
    Ask(Address),
}

impl Redirect {
    /// Reads an error. A server that does not know its own name leaves the host out; the host is
    /// then that of the connection.
    pub(super) fn read(error: &[u8], from: &Address) -> Option<Self> {
        let mut words = str::from_utf8(error).ok()?.split(' ');
        let kind = words.next()?;
        if kind != "MOVED" && kind != "ASK" {
            return None;
        }
        let moved: u16 = words.next()?.parse().ok().filter(|slot| *slot < SLOTS)?;
        let (host, port) = words.next()?.rsplit_once(':')?;
        let address = address(host, port.parse().ok()?, from)?;
        Some(match kind {
            "MOVED" => Self::Moved(moved, address),
            _ => Self::Ask(address),
        })
    }
}

fn address(host: &str, port: u16, from: &Address) -> Option<Address> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if host.len() > 255 || port == 0 {
        return None;
    }
    let host = match host {
        "" | "?" => from.host.clone(),
        host => ByteString::from(host),
    };
    Some(Address { host, port })
}

/// Which master owns which slot.
#[derive(Debug)]
pub(super) struct SlotMap {
    masters: Vec<Address>,
    owners: Vec<u16>,
    /// Whether it is the answer to `CLUSTER SLOTS`, and no list of single redirections.
    pub(super) is_whole: bool,
}

impl SlotMap {
    /// A cluster of which nothing is known.
    pub(super) fn unknown() -> Self {
        Self {
            masters: Vec::new(),
            owners: vec![NOBODY; usize::from(SLOTS)],
            is_whole: false,
        }
    }

    /// Reads the answer to `CLUSTER SLOTS`: `[[from, to, [host, port, ..], replicas..], ..]`.
    /// Returns `None` if it is malformed or names too many servers.
    pub(super) fn read(answer: &Value, from: &Address, max_nodes: usize) -> Option<Self> {
        let mut map = Self {
            is_whole: true,
            ..Self::unknown()
        };
        for range in answer.items()? {
            let [first, last, master, ..] = range.items()? else {
                return None;
            };
            let [host, port, ..] = master.items()? else { return None };
            let first = usize::try_from(first.integer()?).ok()?;
            let last = usize::try_from(last.integer()?).ok()?;
            let host = match host {
                Value::Null => "",
                host => str::from_utf8(host.text()?).ok()?,
            };
            let master = address(host, u16::try_from(port.integer()?).ok()?, from)?;
            let owner = map.place(master, max_nodes)?;
            map.owners.get_mut(first..=last)?.fill(owner);
        }
        Some(map)
    }

    fn place(&mut self, master: Address, max_nodes: usize) -> Option<u16> {
        let at = match self.masters.iter().position(|known| *known == master) {
            Some(at) => at,
            None if self.masters.len() < max_nodes => {
                let at = self.masters.len();
                self.masters.push(master);
                at
            }
            None => return None,
        };
        u16::try_from(at).ok()
    }

    /// Takes over what a server has said about one slot.
    pub(super) fn correct(&mut self, slot: u16, master: Address, max_nodes: usize) {
        if let Some(owner) = self.place(master, max_nodes)
            && let Some(place) = self.owners.get_mut(usize::from(slot))
        {
            *place = owner;
        }
    }

    /// The master that owns a key or a channel of sharded pub/sub.
    pub(super) fn owner(&self, key: &[u8]) -> Option<&Address> {
        self.owner_of(slot(key))
    }

    /// The master that owns a slot.
    pub(super) fn owner_of(&self, slot: u16) -> Option<&Address> {
        let owner = *self.owners.get(usize::from(slot))?;
        self.masters.get(usize::from(owner))
    }

    pub(super) fn masters(&self) -> &[Address] {
        &self.masters
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;
    use crate::resp::{Decoder, Limits};

    fn from() -> Address {
        Address {
            host: "seed".into(),
            port: 1,
        }
    }

    fn read(answer: &str, max_nodes: usize) -> Option<SlotMap> {
        let answer = Decoder::new(Limits::default()).decode(&mut answer.as_bytes().into());
        SlotMap::read(&answer.expect("RESP").expect("a whole answer"), &from(), max_nodes)
    }

    #[test]
    fn redirects_are_read_whatever_the_host_is() {
        let to = |host: &str, port| Address {
            host: host.into(),
            port,
        };
        for (error, wanted) in [
            (
                "MOVED 3999 127.0.0.1:6381",
                Some(Redirect::Moved(3999, to("127.0.0.1", 6381))),
            ),
            ("MOVED 1 :6381", Some(Redirect::Moved(1, to("seed", 6381)))),
            ("MOVED 1 ::1:6381", Some(Redirect::Moved(1, to("::1", 6381)))),
            ("ASK 2 b:7", Some(Redirect::Ask(to("b", 7)))),
            ("MOVED 16384 b:7", None),
            ("MOVED 1 b:0", None),
            ("MOVED 1 b", None),
            ("MOVED", None),
            ("MOVED 1", None),
            ("MOVED x b:7", None),
            ("MOVED 1 b:x", None),
            ("MOVED 1 b:65536", None),
            ("ERR no", None),
        ] {
            assert_eq!(Redirect::read(error.as_bytes(), &from()), wanted, "{error}");
        }
        assert_eq!(Redirect::read(b"MOVED 1 \xff:7", &from()), None);
        let long = format!("MOVED 1 {}:7", "h".repeat(256));
        assert_eq!(Redirect::read(long.as_bytes(), &from()), None);
    }

    #[test]
    fn slots_find_their_masters() {
        let answer = "*2\r\n*3\r\n:0\r\n:8191\r\n*2\r\n$1\r\na\r\n:1\r\n*3\r\n:8192\r\n:16383\r\n*2\r\n_\r\n:2\r\n";
        let map = read(answer, 2).expect("a map");
        assert_eq!(map.owner(b"foo").map(|owner| owner.port), Some(2)); // slot 12182
        assert_eq!(map.owner(b"").map(|owner| owner.port), Some(1));
        assert_eq!(map.masters()[1].host, "seed");
        assert!(read(answer, 1).is_none());
        for wrong in [
            ":1\r\n",
            "*1\r\n:1\r\n",
            "*1\r\n*2\r\n:0\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n:2\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*1\r\n+a\r\n",
            "*1\r\n*3\r\n+x\r\n:1\r\n*2\r\n+a\r\n:1\r\n",
            "*1\r\n*3\r\n:-1\r\n:1\r\n*2\r\n+a\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n+x\r\n*2\r\n+a\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:-1\r\n*2\r\n+a\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n:1\r\n:1\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n+a\r\n+b\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n+a\r\n:65536\r\n",
            "*1\r\n*3\r\n:0\r\n:1\r\n*2\r\n+a\r\n:0\r\n",
            "*1\r\n*3\r\n:0\r\n:16384\r\n*2\r\n+a\r\n:1\r\n",
            "*1\r\n*3\r\n:9\r\n:1\r\n*2\r\n+a\r\n:1\r\n",
        ] {
            assert!(read(wrong, 9).is_none(), "{wrong}");
        }
    }
}
