//! The messages of SOCKS 5 (RFC 1928) and of its login (RFC 1929), as bytes.
//!
//! ```text
//!   client  05 n methods…                  proxy  05 method
//!   client  01 len user… len password…     proxy  01 status           only for method 2
//!   client  05 01 00 type address… port    proxy  05 code 00 type address… port
//! ```

use core::net::IpAddr;

use bytes::{Buf, BufMut, BytesMut};

use super::Login;
use super::error::{ProxyError, SocksRefusal};

const VERSION: u8 = 5;
const LOGIN_VERSION: u8 = 1;
const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;
const NO_METHOD: u8 = 0xff;
const CONNECT: u8 = 1;
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

/// Offers to come without a login, and with one if there is one.
pub(super) fn put_offer(out: &mut BytesMut, login: Option<&Login>) {
    match login {
        None => out.put_slice(&[VERSION, 1, NO_LOGIN]),
        Some(_) => out.put_slice(&[VERSION, 2, NO_LOGIN, PASSWORD]),
    }
}

/// Reads the proxy's choice: whether it wants the login. `None` if more bytes are needed.
pub(super) fn take_choice(bytes: &mut BytesMut, offered: bool) -> Result<Option<bool>, ProxyError> {
    check_version(bytes, VERSION)?;
    let [_, method, ..] = **bytes else { return Ok(None) };
    bytes.advance(2);
    match method {
        NO_LOGIN => Ok(Some(false)),
        PASSWORD if offered => Ok(Some(true)),
        NO_METHOD => Err(ProxyError::NoMethod),
        method => Err(ProxyError::Method(method)),
    }
}

/// Writes the login. Neither part has more than 255 bytes.
pub(super) fn put_login(out: &mut BytesMut, login: &Login) {
    out.put_u8(LOGIN_VERSION);
    put_short(out, &login.user);
    put_short(out, &login.password);
}

/// Reads whether the login was accepted. `None` if more bytes are needed.
pub(super) fn take_verdict(bytes: &mut BytesMut) -> Result<Option<()>, ProxyError> {
    check_version(bytes, LOGIN_VERSION)?;
    let [_, status, ..] = **bytes else { return Ok(None) };
    bytes.advance(2);
    match status {
        0 => Ok(Some(())),
        _ => Err(ProxyError::Login),
    }
}

/// Asks for a connection to a server.
pub(super) fn put_request(out: &mut BytesMut, host: &str, port: u16) -> Result<(), ProxyError> {
    out.put_slice(&[VERSION, CONNECT, 0]);
    match host.parse() {
        Ok(IpAddr::V4(address)) => {
            out.put_u8(IPV4);
            out.put_slice(&address.octets());
        }
        Ok(IpAddr::V6(address)) => {
            out.put_u8(IPV6);
            out.put_slice(&address.octets());
        }
        Err(_) if host.len() > 255 => return Err(ProxyError::NameTooLong),
        Err(_) => {
            out.put_u8(NAME);
            put_short(out, host);
        }
    }
    out.put_u16(port);
    Ok(())
}

/// Reads whether the connection stands. The address that the proxy names is of no use. `None` if
/// more bytes are needed.
pub(super) fn take_answer(bytes: &mut BytesMut) -> Result<Option<()>, ProxyError> {
    check_version(bytes, VERSION)?;
    // A proxy that refuses may leave out the rest.
    let (kind, first) = match **bytes {
        [_, code, ..] if code != 0 => return Err(ProxyError::Socks(SocksRefusal(code))),
        [_, _, _, kind, first, ..] => (kind, first),
        _ => return Ok(None),
    };
    let address = match kind {
        IPV4 => 4,
        IPV6 => 16,
        // The name stands behind its length.
        NAME => usize::from(first).saturating_add(1),
        other => return Err(ProxyError::AddressType(other)),
    };
    // Four bytes in front of the address, and the port behind it.
    let len = address.saturating_add(4 + 2);
    if bytes.len() < len {
        return Ok(None);
    }
    bytes.advance(len);
    Ok(Some(()))
}

fn check_version(bytes: &BytesMut, version: u8) -> Result<(), ProxyError> {
    match bytes.first() {
        Some(other) if *other != version => Err(ProxyError::Version(*other)),
        _ => Ok(()),
    }
}

/// Writes a text of at most 255 bytes behind its length.
fn put_short(out: &mut BytesMut, text: &str) {
    let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
    out.put_u8(len);
    out.extend(text.bytes().take(len.into()));
}
