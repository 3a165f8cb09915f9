//! The way through a proxy: what is said on a new connection until the server is at its end.
//!
//! ```text
//!   http      CONNECT ─────────────────────────► 2xx ─► open
//!   socks5    offer ─► choice [─► login ─► verdict] ─► request ─► answer ─► open
//! ```

use alloc::format;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};

use super::error::ProxyError;
use super::{Login, Proxy, ProxyScheme, socks};
use crate::http::{HttpError, Limits, Method, ResponseDecoder};

/// Most bytes of all answers of a proxy until the connection to the server stands.
pub const MAX_REPLY_BYTES: usize = 16 * 1024;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes of the proxy are needed.
    Wait,
    /// These bytes have to be written to the proxy.
    Write(Bytes),
    /// The connection now leads to the server.
    Open,
}

/// One connection on its way through a proxy.
///
/// ```
/// use sio_proto::BytesMut;
/// use sio_proto::client::proxy::{Progress, Proxy, Tunnel};
///
/// let proxy = Proxy::parse("http://proxy.example:3128")?;
/// let (mut tunnel, first) = Tunnel::begin(&proxy, "chat.example", 443)?;
/// assert!(first.starts_with(b"CONNECT chat.example:443 HTTP/1.1\r\n"));
/// let mut answer = BytesMut::from("HTTP/1.1 200 OK\r\n\r\n");
/// assert_eq!(tunnel.receive(&mut answer)?, Progress::Open);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Tunnel {
    stage: Stage,
    /// What the server is called.
    host: alloc::string::String,
    port: u16,
    login: Option<Login>,
    /// Bytes that have been taken.
    taken: usize,
}

#[derive(Debug)]
enum Stage {
    Connect(ResponseDecoder),
    Choice,
    Verdict,
    Answer,
    Open,
    Failed(ProxyError),
}

impl core::fmt::Debug for Login {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Login")
    }
}

impl Tunnel {
    /// Begins on a new connection to the proxy. Returns the bytes that have to be written first.
    ///
    /// The host is a name or an address; an IPv6 address has no brackets. With
    /// [`ProxyScheme::Socks5`] the caller resolves a name before.
    ///
    /// # Errors
    ///
    /// [`ProxyError::NameTooLong`].
    pub fn begin(proxy: &Proxy, host: &str, port: u16) -> Result<(Self, Bytes), ProxyError> {
        let login = proxy.login.clone();
        let mut out = BytesMut::new();
        let stage = match proxy.scheme {
            ProxyScheme::Http | ProxyScheme::Https => {
                put_connect(&mut out, host, port, login.as_ref());
                Stage::Connect(ResponseDecoder::new())
            }
            ProxyScheme::Socks5 | ProxyScheme::Socks5h => {
                // The name is checked before anything is said.
                socks::put_request(&mut BytesMut::new(), host, port)?;
                socks::put_offer(&mut out, login.as_ref());
                Stage::Choice
            }
        };
        let tunnel = Self {
            stage,
            host: host.into(),
            port,
            login,
            taken: 0,
        };
        Ok((tunnel, out.freeze()))
    }

    /// Reads bytes of the proxy. What is not complete stays in `bytes`, and is passed again with
    /// more behind it.
    ///
    /// # Errors
    ///
    /// The proxy does not lead to the server. Every later call returns the same error.
    pub fn receive(&mut self, bytes: &mut BytesMut) -> Result<Progress, ProxyError> {
        let before = bytes.len();
        let progress = self.advance(bytes);
        self.taken = self.taken.saturating_add(before.saturating_sub(bytes.len()));
        match progress {
            Ok(Progress::Wait) if self.taken.saturating_add(bytes.len()) > MAX_REPLY_BYTES => {
                self.fail(ProxyError::TooLong)
            }
            Ok(Progress::Write(_) | Progress::Open) if !bytes.is_empty() => self.fail(ProxyError::Surplus),
            Ok(progress) => Ok(progress),
            Err(error) => self.fail(error),
        }
    }

    /// The connection has ended before it was open.
    #[must_use]
    pub const fn receive_end(&self) -> ProxyError {
        match self.stage {
            Stage::Failed(error) => error,
            _ => ProxyError::Cut,
        }
    }

    fn fail(&mut self, error: ProxyError) -> Result<Progress, ProxyError> {
        self.stage = Stage::Failed(error);
        Err(error)
    }

    fn advance(&mut self, bytes: &mut BytesMut) -> Result<Progress, ProxyError> {
        match &mut self.stage {
            Stage::Connect(decoder) => match take_status(decoder, bytes)? {
                None => Ok(Progress::Wait),
                Some(200..300) => Ok(self.open()),
                Some(status) => Err(ProxyError::Status(status)),
            },
            Stage::Choice => match (socks::take_choice(bytes, self.login.is_some())?, &self.login) {
                (None, _) => Ok(Progress::Wait),
                (Some(true), Some(login)) => {
                    let mut out = BytesMut::new();
                    socks::put_login(&mut out, login);
                    self.stage = Stage::Verdict;
                    Ok(Progress::Write(out.freeze()))
                }
                (Some(_), _) => self.request(),
            },
            Stage::Verdict => match socks::take_verdict(bytes)? {
                None => Ok(Progress::Wait),
                Some(()) => self.request(),
            },
            Stage::Answer => match socks::take_answer(bytes)? {
                None => Ok(Progress::Wait),
                Some(()) => Ok(self.open()),
            },
            Stage::Open => Ok(Progress::Open),
            Stage::Failed(error) => Err(*error),
        }
    }

    fn request(&mut self) -> Result<Progress, ProxyError> {
        let mut out = BytesMut::new();
        socks::put_request(&mut out, &self.host, self.port)?;
        self.stage = Stage::Answer;
        Ok(Progress::Write(out.freeze()))
    }

    fn open(&mut self) -> Progress {
        self.stage = Stage::Open;
        self.login = None;
        Progress::Open
    }
}

/// Writes the request. The host comes from an [`Endpoint`](crate::client::Endpoint) or is an
/// address, so it has no characters that end a line.
fn put_connect(out: &mut BytesMut, host: &str, port: u16, login: Option<&Login>) {
    let target = match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    };
    out.put_slice(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").as_bytes());
    if let Some(login) = login {
        let plain = format!("{}:{}", login.user, login.password);
        let encoded = STANDARD.encode(plain);
        out.put_slice(format!("Proxy-Authorization: Basic {encoded}\r\n").as_bytes());
    }
    out.put_slice(b"\r\n");
}

/// Reads the head of the answer to CONNECT. An answer that opens a tunnel has no body, whatever its
/// head says; and of other answers only the status matters. So it is read like one to HEAD.
fn take_status(decoder: &mut ResponseDecoder, bytes: &mut BytesMut) -> Result<Option<u16>, ProxyError> {
    let limits = Limits::DEFAULT.max_head_bytes(MAX_REPLY_BYTES);
    match decoder.decode(Method::Head, bytes, &limits) {
        Ok(response) => Ok(response.map(|response| response.status)),
        Err(HttpError::HeadTooLarge) => Err(ProxyError::TooLong),
        Err(error) => Err(ProxyError::Http(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::proxy::SocksRefusal;
    use alloc::vec;
    use alloc::vec::Vec;

    type Said = Result<Vec<Vec<u8>>, ProxyError>;

    /// Talks to a proxy that answers with these bytes, one piece for each of our messages. Returns
    /// what was said until the tunnel was open.
    fn talk(url: &str, host: &str, answers: &[&[u8]]) -> Said {
        let whole = talk_in_pieces(url, host, answers, usize::MAX);
        assert_eq!(
            talk_in_pieces(url, host, answers, 1),
            whole,
            "the split does not matter"
        );
        whole
    }

    fn talk_in_pieces(url: &str, host: &str, answers: &[&[u8]], size: usize) -> Said {
        let proxy = Proxy::parse(url).unwrap();
        let (mut tunnel, first) = Tunnel::begin(&proxy, host, 443)?;
        let mut said = vec![first.to_vec()];
        for answer in answers {
            let mut bytes = BytesMut::new();
            let mut is_complete = false;
            for piece in answer.chunks(size.min(answer.len().max(1))) {
                bytes.extend_from_slice(piece);
                match tunnel.receive(&mut bytes)? {
                    Progress::Wait => {}
                    Progress::Write(out) => {
                        said.push(out.to_vec());
                        is_complete = true;
                    }
                    Progress::Open => return Ok(said),
                }
            }
            if !is_complete {
                return Err(tunnel.receive_end());
            }
        }
        Err(tunnel.receive_end())
    }

    /// Client C23.
    #[test]
    fn connect_with_and_without_a_login() {
        let said = talk(
            "http://p",
            "a.example",
            &[b"HTTP/1.0 200 Connection established\r\n\r\n"],
        )
        .unwrap();
        assert_eq!(said, [b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n"]);
        let said = talk("http://me:s%3Aecret@p", "::1", &[b"HTTP/1.1 204\r\n\r\n"]).unwrap();
        let text = core::str::from_utf8(&said[0]).unwrap();
        assert!(text.starts_with("CONNECT [::1]:443 HTTP/1.1\r\n"), "{text}");
        assert!(
            text.contains("\r\nProxy-Authorization: Basic bWU6czplY3JldA==\r\n"),
            "{text}"
        );
        // Genuine proxies send fields that have no meaning here, and interim answers.
        let strange = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 7\r\nVia: x\r\n\r\n";
        assert!(talk("http://p", "a", &[strange]).is_ok());
    }

    /// Client C23.
    #[test]
    fn socks_with_and_without_a_login() {
        let name = b"\x05\x01\x00\x03\x01a\x01\xbb".to_vec();
        let ok: &[u8] = b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00";
        let said = talk("socks5h://p", "a", &[b"\x05\x00", ok]).unwrap();
        assert_eq!(said, [b"\x05\x01\x00".to_vec(), name.clone()]);
        let offer = b"\x05\x02\x00\x02".to_vec();
        let said = talk("socks5h://me:pw@p", "a", &[b"\x05\x02", b"\x01\x00", ok]).unwrap();
        assert_eq!(said, [offer.clone(), b"\x01\x02me\x02pw".to_vec(), name.clone()]);
        let said = talk("socks5h://me:pw@p", "a", &[b"\x05\x00", ok]).unwrap();
        assert_eq!(said, [offer, name]);
        let said = talk("socks5://p", "1.2.3.4", &[b"\x05\x00", ok]).unwrap();
        assert_eq!(said[1], b"\x05\x01\x00\x01\x01\x02\x03\x04\x01\xbb");
        let six = [b"\x05\x00\x00\x04", &[7; 16][..], b"\x00\x01"].concat();
        let said = talk("socks5://p", "::1", &[b"\x05\x00", &six]).unwrap();
        let asked = [b"\x05\x01\x00\x04", &[0; 15][..], b"\x01\x01\xbb"].concat();
        assert_eq!(said[1], asked);
        let longest = "x".repeat(255);
        let said = talk("socks5h://p", &longest, &[b"\x05\x00", ok]).unwrap();
        assert_eq!(said[1].len(), 4 + 1 + 255 + 2);
        let named = [b"\x05\x00\x00\x03\xff", &[b'x'; 255][..], b"\x00\x01"].concat();
        assert!(talk("socks5h://p", "a", &[b"\x05\x00", &named]).is_ok());
    }

    /// A caller may ask again: nothing changes any more.
    #[test]
    fn the_end_of_a_tunnel_is_kept() {
        let proxy = Proxy::parse("http://me:pw@p").unwrap();
        for (answer, end) in [
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(Progress::Open)),
            ("HTTP/1.1 403 Forbidden\r\n\r\n", Err(ProxyError::Status(403))),
        ] {
            let (mut tunnel, _) = Tunnel::begin(&proxy, "a", 443).unwrap();
            assert_eq!(tunnel.receive(&mut BytesMut::from(answer)), end);
            assert_eq!(tunnel.receive(&mut BytesMut::new()), end);
            assert_eq!(tunnel.receive(&mut BytesMut::new()), end);
            assert!(
                tunnel.login.is_none() || end.is_err(),
                "an open tunnel keeps no password"
            );
            assert_eq!(tunnel.receive_end(), end.err().unwrap_or(ProxyError::Cut));
        }
    }

    #[test]
    fn answers_to_connect_that_lead_nowhere() {
        use ProxyError as E;
        let endless = [b"HTTP/1.1 200 OK\r\nX: ", &[b'x'; MAX_REPLY_BYTES][..]].concat();
        let interim = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(MAX_REPLY_BYTES);
        let fields = [b"HTTP/1.1 200 OK\r\n", &*b"a: b\r\n".repeat(101), b"\r\n"].concat();
        for (answer, error) in [
            (
                &b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 9\r\n\r\n"[..],
                E::Status(407),
            ),
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", E::Status(403)),
            (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", E::Status(502)),
            (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", E::Status(101)),
            (b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\n\r\n", E::Status(302)),
            (b"", E::Cut),
            (b"HTTP/1.1 200 OK\r\nX: ", E::Cut),
            (&endless, E::TooLong),
            (&interim, E::TooLong),
            (&fields, E::Http(HttpError::TooManyHeaders)),
        ] {
            assert_eq!(talk("http://p", "a", &[answer]), Err(error), "{}", answer.len());
        }
        for answer in [
            &b"SSH-2.0-x\r\n\r\n"[..],
            b"\x05\x00\r\n\r\n",
            b"HTTP/2.0 200 OK\r\n\r\n",
        ] {
            let error = talk("http://p", "a", &[answer]).unwrap_err();
            assert!(matches!(error, E::Http(_)), "{error:?}");
        }
        let surplus = b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\n";
        assert_eq!(talk_in_pieces("http://p", "a", &[surplus], 99), Err(E::Surplus));
        assert!(E::Status(407).is_refusal() && !E::Status(502).is_refusal());
    }

    #[test]
    fn answers_of_socks_that_lead_nowhere() {
        use ProxyError as E;
        let (free, with_login) = ("socks5h://p", "socks5h://me:pw@p");
        for (url, answers, error) in [
            (free, &[&b"\x05\xff"[..]][..], E::NoMethod),
            (free, &[b"\x05\x02"], E::Method(2)),
            (with_login, &[b"\x05\x01"], E::Method(1)),
            (free, &[b"\x04\x00"], E::Version(4)),
            (free, &[b"HTTP/1.1 400"], E::Version(b'H')),
            (free, &[b"\x05"], E::Cut),
            (free, &[b""], E::Cut),
            (with_login, &[b"\x05\x02", b"\x01\x01"], E::Login),
            (with_login, &[b"\x05\x02", b"\x05\x00"], E::Version(5)),
            (with_login, &[b"\x05\x02", b"\x01"], E::Cut),
            (free, &[b"\x05\x00", b"\x05\x00\x00\x01\x00"], E::Cut),
            (free, &[b"\x05\x00", b"\x05\x00\x00\x02\x00\x00"], E::AddressType(2)),
            (free, &[b"\x05\x00", b"\x04\x00\x00\x01"], E::Version(4)),
            (free, &[b"\x05\x00", b"\x05\x00\x00\x03\xffx"], E::Cut),
        ] {
            assert_eq!(talk(url, "a", answers), Err(error), "{answers:?}");
        }
        for code in 1..=u8::MAX {
            let refused = [5, code, 0, 1, 0, 0, 0, 0, 0, 0];
            // A proxy may leave out the rest of a refusal.
            for refused in [&refused[..], &refused[..2]] {
                let error = talk_in_pieces(free, "a", &[b"\x05\x00", refused], 99);
                assert_eq!(error, Err(E::Socks(SocksRefusal(code))));
            }
        }
        let surplus = [&b"\x05\x00"[..], b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00x"];
        assert_eq!(talk_in_pieces(free, "a", &surplus, 99), Err(E::Surplus));
        let long = "x".repeat(256);
        assert_eq!(talk(free, &long, &[]), Err(E::NameTooLong));
    }
}
