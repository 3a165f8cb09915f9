//! What the example programs share: the chat, and how they are asked to end.

#![forbid(unsafe_code)]

pub mod chat;

/// Resolves when the process is asked to end: by SIGTERM where there is such a thing, or by Ctrl-C.
pub async fn asked_to_end() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminated) = signal(SignalKind::terminate()) {
            tokio::select! { _ = terminated.recv() => (), () = interrupted => () }
            return;
        }
    }
    interrupted.await;
}

/// The examples of the README compile.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
