//! A request under way: this future reads the body, asks the session and waits for the answer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::{Response, StatusCode, Version};
use http_body::Body;
use hyper::upgrade::OnUpgrade;
use pin_project_lite::pin_project;
use sio_app::adapter::{Answer, Exchange};
use sio_proto::http::BodyTooLarge;
use tokio::time::{Sleep, sleep};

use super::body::{self, ResponseBody};
use super::head::Refusal;
use super::upgrade;
use crate::Server;

pin_project! {
    /// The future of [`SocketIoService`](super::SocketIoService).
    pub struct ResponseFuture<F, B> {
        #[pin]
        kind: Kind<F, B>,
    }
}

pin_project! {
    #[project = KindProjection]
    enum Kind<F, B> {
        Inner { #[pin] future: F },
        // Boxed, so that this variant does not make the futures of the inner service larger.
        Ours { serving: Pin<Box<Serving<B>>> },
        Refused { refusal: Refusal, version: Version },
    }
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) const fn inner(future: F) -> Self {
        Self {
            kind: Kind::Inner { future },
        }
    }

    pub(super) fn ours(serving: Serving<B>) -> Self {
        let serving = Box::pin(serving);
        Self {
            kind: Kind::Ours { serving },
        }
    }

    pub(super) const fn refusal(refusal: Refusal, version: Version) -> Self {
        Self {
            kind: Kind::Refused { refusal, version },
        }
    }
}

impl<F, B, R, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<R>, E>>,
    B: Body,
{
    type Output = Result<Response<ResponseBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().kind.project() {
            KindProjection::Inner { future } => future
                .poll(cx)
                .map(|answer| answer.map(|answer| answer.map(ResponseBody::inner))),
            KindProjection::Ours { serving } => serving.as_mut().poll_answer(cx).map(Ok),
            KindProjection::Refused { refusal, version } => Poll::Ready(Ok(body::refusal(*refusal, *version))),
        }
    }
}

impl<F, B> std::fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

pin_project! {
    /// A request that is for Socket.IO.
    pub(super) struct Serving<B> {
        // `None` once the request has been answered.
        exchange: Option<Exchange>,
        // `None` once the body has been read.
        #[pin]
        body: Option<B>,
        read: Read,
        // Set when the body is too large. The rest of the body is read nevertheless: the host
        // closes a connection whose request was not read to its end, and a client that is still
        // writing would not see the answer.
        thrown_away: bool,
        version: Version,
        upgrade: Option<OnUpgrade>,
        timeout: Duration,
        linger: Duration,
        // Set when the future first has to wait for the body.
        deadline: Option<Pin<Box<Sleep>>>,
    }
}

impl<B> Serving<B> {
    pub(super) fn new(
        exchange: Exchange,
        body: B,
        server: &Server,
        version: Version,
        upgrade: Option<OnUpgrade>,
    ) -> Self {
        server.tick();
        Self {
            exchange: Some(exchange),
            body: Some(body),
            read: Read {
                max: server.config().http.max_body_bytes,
                max_pieces: server.config().http.max_chunks,
                ..Read::default()
            },
            thrown_away: false,
            version,
            upgrade,
            timeout: server.options().body_timeout,
            linger: server.options().linger_timeout,
            deadline: None,
        }
    }
}

impl<B: Body> Serving<B> {
    fn poll_answer<R>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<ResponseBody<R>>> {
        let this = self.project();
        let (version, mut pending) = (*this.version, this.body);
        let Some(exchange) = this.exchange else {
            return Poll::Pending; // The request has been answered before.
        };
        if let Some(body) = pending.as_mut().as_pin_mut()
            && !*this.thrown_away
        {
            match this.read.poll(body, cx, |bytes| exchange.receive(bytes)) {
                Poll::Ready(Ok(Err(too_large))) => {
                    exchange.body(Err(too_large));
                    *this.deadline = Some(Box::pin(sleep(*this.linger)));
                    *this.thrown_away = true;
                }
                Poll::Ready(Ok(whole)) => {
                    exchange.body(whole);
                    *this.deadline = None;
                    pending.set(None);
                }
                Poll::Ready(Err(failed)) => {
                    *this.exchange = None;
                    let refusal = match failed {
                        BodyFailed::Early => (StatusCode::BAD_REQUEST, "the body of the request ended early"),
                        BodyFailed::Crowd => (StatusCode::SERVICE_UNAVAILABLE, "too much is being received"),
                    };
                    return Poll::Ready(body::refusal(refusal, version));
                }
                Poll::Pending => {
                    let deadline = this.deadline.get_or_insert_with(|| {
                        exchange.body_started();
                        Box::pin(sleep(*this.timeout))
                    });
                    if deadline.as_mut().poll(cx).is_ready() {
                        *this.exchange = None;
                        let refusal = (StatusCode::REQUEST_TIMEOUT, "the body of the request takes too long");
                        return Poll::Ready(body::refusal(refusal, version));
                    }
                }
            }
        }
        if let Some(body) = pending.as_mut().as_pin_mut()
            && *this.thrown_away
        {
            let late = this
                .deadline
                .as_mut()
                .is_none_or(|late| late.as_mut().poll(cx).is_ready());
            if !late {
                ready!(throw_away(body, cx));
            }
        }
        let answer = ready!(exchange.poll_answer(cx));
        pending.set(None);
        let Some(exchange) = this.exchange.take() else {
            return Poll::Pending;
        };
        Poll::Ready(match (answer, this.upgrade.take()) {
            (Answer::Response(mut response), _) => body::response(&mut response, version),
            (Answer::Upgrade(upgrade), Some(on_upgrade)) => {
                tokio::spawn(upgrade::connect(exchange, on_upgrade));
                body::switching(&upgrade)
            }
            (Answer::Upgrade(_), None) => {
                let refusal = (StatusCode::NOT_IMPLEMENTED, "this server cannot upgrade connections");
                body::refusal(refusal, version)
            }
            (Answer::Stream(stream), _) => match exchange.into_body() {
                Some(body) => body::endless(&stream, body, version),
                None => body::refusal(ABORTED, version),
            },
            (Answer::Aborted, _) => body::refusal(ABORTED, version),
        })
    }
}

/// Reads a body to its end, and keeps nothing of it.
fn throw_away<B: Body>(mut body: Pin<&mut B>, cx: &mut Context<'_>) -> Poll<()> {
    while let Some(Ok(_)) = ready!(body.as_mut().poll_frame(cx)) {}
    Poll::Ready(())
}

const ABORTED: Refusal = (StatusCode::SERVICE_UNAVAILABLE, "the request has been ended");

/// Why a body was not read to its end.
enum BodyFailed {
    /// The client has gone, or has broken the rules of HTTP.
    Early,
    /// The server has no room for this body, because other clients send too much at the moment.
    Crowd,
}

/// What has been read of a body. A body that comes in one piece is not copied.
#[derive(Default)]
struct Read {
    first: Bytes,
    more: BytesMut,
    max: usize,
    pieces: usize,
    max_pieces: usize,
}

impl Read {
    /// Reads until the body ends or is too large. `receive` is called with the number of bytes that
    /// are kept, and returns whether there is room for them.
    fn poll<B: Body>(
        &mut self,
        mut body: Pin<&mut B>,
        cx: &mut Context<'_>,
        mut receive: impl FnMut(usize) -> bool,
    ) -> Poll<Result<Result<Bytes, BodyTooLarge>, BodyFailed>> {
        loop {
            if body.size_hint().lower() > self.room() as u64 {
                return Poll::Ready(Ok(Err(BodyTooLarge)));
            }
            let frame = match ready!(body.as_mut().poll_frame(cx)) {
                None => break,
                Some(frame) => frame.map_err(|_| BodyFailed::Early)?,
            };
            if let Ok(data) = frame.into_data() {
                self.pieces += 1;
                if data.remaining() > self.room() || self.pieces > self.max_pieces {
                    return Poll::Ready(Ok(Err(BodyTooLarge)));
                }
                self.push(data);
                if !receive(self.first.len() + self.more.capacity()) {
                    return Poll::Ready(Err(BodyFailed::Crowd));
                }
            }
        }
        let whole = if self.more.is_empty() {
            std::mem::take(&mut self.first)
        } else {
            std::mem::take(&mut self.more).freeze()
        };
        Poll::Ready(Ok(Ok(whole)))
    }

    fn room(&self) -> usize {
        self.max - self.first.len().max(self.more.len())
    }

    fn push(&mut self, mut data: impl Buf) {
        if self.first.is_empty() {
            self.first = data.copy_to_bytes(data.remaining());
            return;
        }
        if self.more.is_empty() {
            self.more.put_slice(&self.first);
        }
        self.more.put(data);
    }
}
