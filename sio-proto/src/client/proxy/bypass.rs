//! `NO_PROXY`: the servers to which no proxy leads.
//!
//! There is no standard. These rules are common to curl and to the libraries of Go: entries are
//! separated by commas or blanks. An entry is `*` (every server), an address, a block of addresses
//! (`10.0.0.0/8`), or a name, which stands for itself and for all names below it; a dot or `*.` in
//! front changes nothing. A port behind an entry restricts it to this port.

use core::net::IpAddr;

/// Whether the list names this server. The host of an IPv6 address has no brackets.
pub(super) fn names(list: &str, host: &str, port: u16) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    let address = host.parse::<IpAddr>().ok().map(|address| address.to_canonical());
    list.split([',', ' ', '\t', '\n'])
        .filter(|entry| !entry.is_empty())
        .any(|entry| matches(entry, host, address, port))
}

/// Whether a host is this machine. A proxy cannot lead there.
pub(super) fn is_loopback(host: &str) -> bool {
    let host = host.strip_suffix('.').unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => is_below(host, "localhost"),
    }
}

fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((block, bits)) = entry.split_once('/') {
        let block = block.parse::<IpAddr>().ok().zip(bits.parse::<u32>().ok());
        return address
            .zip(block)
            .is_some_and(|(address, (block, bits))| is_in(address, block, bits));
    }
    if let Ok(only) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
        return address == Some(only.to_canonical());
    }
    if let Some((entry, only)) = entry.rsplit_once(':') {
        return only.parse() == Ok(port) && !entry.contains('/') && matches(entry, host, address, port);
    }
    let name = entry.strip_prefix('*').unwrap_or(entry);
    let name = name.strip_prefix('.').unwrap_or(name);
    let name = name.strip_suffix('.').unwrap_or(name);
    address.is_none() && !name.is_empty() && is_below(host, name)
}

fn is_below(host: &str, name: &str) -> bool {
    let Some(at) = host.len().checked_sub(name.len()) else {
        return false;
    };
    let (above, end) = host.as_bytes().split_at(at);
    end.eq_ignore_ascii_case(name.as_bytes()) && (above.is_empty() || above.ends_with(b"."))
}

fn is_in(address: IpAddr, block: IpAddr, bits: u32) -> bool {
    match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits,
        (IpAddr::V6(address), IpAddr::V6(block)) => (address.to_bits() ^ block.to_bits()).leading_zeros() >= bits,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_name_servers() {
        for (list, host, is_named) in [
            ("", "a.example", false),
            (",, ", "a.example", false),
            ("*", "a.example", true),
            ("x,*", "10.0.0.1", true),
            ("example", "a.example", true),
            ("example", "example", true),
            ("EXAMPLE", "a.Example.", true),
            (".example", "a.example", true),
            (".example", "example", true),
            ("*.example.", "a.b.example", true),
            ("ample", "example", false),
            ("a.example", "example", false),
            ("b.example a.example", "a.example", true),
            ("a.example:443", "a.example", true),
            ("a.example:80", "a.example", false),
            ("a.example:x", "a.example", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3:443", "10.1.2.3", true),
            ("10.1.2.3:44", "10.1.2.3", false),
            ("1.2.3", "10.1.2.3", false),
            (".2.3", "10.1.2.3", false),
            ("10.0.0.0/8", "10.1.2.3", true),
            ("10.0.0.0/8", "11.1.2.3", false),
            ("10.0.0.0/8", "10.example", false),
            ("0.0.0.0/0", "11.1.2.3", true),
            ("0.0.0.0/0", "::2", false),
            ("10.1.2.3/32", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("10.0.0.0/33", "10.0.0.0", false),
            ("10.0.0.0/x", "10.0.0.0", false),
            ("fe80::/10", "fe80::1", true),
            ("fe80::/10", "fc00::1", false),
            ("::/0", "fc00::1", true),
            ("::1", "::1", true),
            ("[::1]:443", "::1", true),
            ("[::1]:44", "::1", false),
            ("10.1.2.3", "::ffff:10.1.2.3", true),
            (".", "a.example", false),
            ("*.", "a.example", false),
        ] {
            assert_eq!(names(list, host, 443), is_named, "{list} {host}");
        }
    }

    #[test]
    fn this_machine_is_known() {
        for host in [
            "localhost",
            "LOCALHOST.",
            "a.localhost",
            "127.0.0.9",
            "::1",
            "::ffff:127.0.0.1",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["notlocalhost", "localhost.example", "128.0.0.1", "::2", "0.0.0.0"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
