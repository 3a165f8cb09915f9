//! Peers for the tests: a websocket client of another library, and HTTP written by hand.
#![allow(
    clippy::unwrap_used,
    reason = "the lint knows tests by their attribute, and these are their helpers"
)]

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use tokio::net::TcpStream;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::{Bytes, Message};

pub(crate) mod http;

/// The longest time that a test waits for anything. Only a failing test waits this long.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) async fn patiently<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("it happens in time")
}

pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
}

impl Client {
    /// Opens a session that has joined no namespace.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let url = format!("ws://{address}/socket.io/?EIO=4&transport=websocket");
        let (socket, _) = patiently(tokio_tungstenite::client_async(url, stream)).await.unwrap();
        let mut client = Self { socket };
        assert!(client.text().await.starts_with('0'));
        client
    }

    /// Opens a session and joins the main namespace.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let mut client = Self::open(address).await;
        client.send("40").await;
        assert!(client.text().await.starts_with("40{\"sid\":"));
        client
    }

    pub(crate) async fn send(&mut self, packet: &str) {
        patiently(self.socket.send(Message::text(packet))).await.unwrap();
    }

    pub(crate) async fn send_binary(&mut self, bytes: &'static [u8]) {
        patiently(self.socket.send(Message::binary(bytes))).await.unwrap();
    }

    pub(crate) async fn message(&mut self) -> Option<Message> {
        patiently(self.socket.next()).await.map(Result::unwrap)
    }

    /// Returns the next text message, and answers pings that come before it.
    pub(crate) async fn text(&mut self) -> String {
        loop {
            match self.message().await {
                Some(Message::Text(text)) if text == "2" => self.send("3").await,
                Some(Message::Text(text)) => return text.to_string(),
                other => panic!("expected text, got {other:?}"),
            }
        }
    }

    pub(crate) async fn binary(&mut self) -> Bytes {
        match self.message().await {
            Some(Message::Binary(bytes)) => bytes,
            other => panic!("expected binary, got {other:?}"),
        }
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        loop {
            match patiently(self.socket.next()).await {
                None | Some(Ok(Message::Close(_)) | Err(_)) => return,
                Some(Ok(_)) => {}
            }
        }
    }
}
