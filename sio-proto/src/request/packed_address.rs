//! An address among packed texts: 9 bytes for IPv4 and 26 for IPv6, where a `SocketAddr` has 32.
//!
//! ```text
//!   +--------+----------------+------+               digits of 6 bits, as those of numbers
//!   | length | IP address     | port |                (packed.rs), the lowest first
//!   +--------+----------------+------+
//!              8 digits, both together               IPv4
//!              22               3                    IPv6; 12 more for a flow and a scope, if any
//! ```

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use super::packed::{NOTHING, Packer, Unpacker, number_of};

/// How many digits the parts of an address have.
const V4: usize = 8;
const V6: usize = 22;
const PORT: usize = 3;
const FLOW_AND_SCOPE: usize = 12;
/// Bits of a port, and of a flow.
const PORT_BITS: u32 = 16;
const FLOW_BITS: u32 = 32;

impl Packer {
    /// Appends an address, or that there is none.
    pub(super) fn push_address(&mut self, address: Option<SocketAddr>) {
        match address {
            None => self.push("", &NOTHING),
            Some(SocketAddr::V4(address)) => {
                self.push_length(V4);
                let ip = u64::from(address.ip().to_bits());
                self.push_digits((ip << PORT_BITS | u64::from(address.port())).into(), V4);
            }
            Some(SocketAddr::V6(address)) => {
                let more = u64::from(address.scope_id()) << FLOW_BITS | u64::from(address.flowinfo());
                let length = if more == 0 {
                    V6 + PORT
                } else {
                    V6 + PORT + FLOW_AND_SCOPE
                };
                self.push_length(length);
                self.push_digits(address.ip().to_bits(), V6);
                self.push_digits(address.port().into(), PORT);
                if more != 0 {
                    self.push_digits(more.into(), FLOW_AND_SCOPE);
                }
            }
        }
    }
}

impl Unpacker<'_> {
    /// The next text, which is an address.
    pub(super) fn next_address(&mut self) -> Option<SocketAddr> {
        let digits = self.next(&NOTHING)?.as_bytes();
        if digits.len() == V4 {
            let number = number_of(digits) as u64;
            let ip = Ipv4Addr::from_bits((number >> PORT_BITS) as u32);
            return Some(SocketAddrV4::new(ip, number as u16).into());
        }
        let (ip, rest) = digits.split_at_checked(V6)?;
        let (port, more) = rest.split_at_checked(PORT)?;
        let more = number_of(more) as u64;
        let ip = Ipv6Addr::from_bits(number_of(ip));
        let (flow, scope) = (more as u32, (more >> FLOW_BITS) as u32);
        Some(SocketAddrV6::new(ip, number_of(port) as u16, flow, scope).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_comes_out_as_it_was() {
        let addresses = [
            ("0.0.0.0:0", 9),
            ("255.255.255.255:65535", 9),
            ("192.0.2.7:41234", 9),
            ("[::]:0", 26),
            ("[::ffff:192.0.2.7]:80", 26),
            ("[2001:db8::1]:41234", 26),
            ("[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535", 26),
            ("[fe80::1%7]:80", 39),
            ("[fe80::1%4294967295]:80", 39),
        ];
        let addresses = addresses.map(|(text, bytes)| (text.parse::<SocketAddr>().unwrap(), bytes));
        let flow = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 1, u32::MAX, 0).into();
        for (address, bytes) in addresses.into_iter().chain([(flow, 39)]) {
            let mut packer = Packer::new();
            packer.push_address(Some(address));
            packer.push("behind", &NOTHING);
            let packed = packer.finish();
            assert_eq!(packed.len(), bytes + 7, "{address}");
            let mut texts = Unpacker(&packed);
            assert_eq!(texts.next_address(), Some(address));
            assert_eq!(texts.next(&NOTHING), Some("behind"));
        }
        let mut packer = Packer::new();
        packer.push_address(None);
        assert_eq!(Unpacker(&packer.finish()).next_address(), None);
        assert_eq!(Unpacker("").next_address(), None, "nothing is known");
    }
}
