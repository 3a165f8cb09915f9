//! `sio bench`: many clients of `sio-tokio` on one thread, what they do, and how long it takes.
//!
//! ```text
//! connections   clients connect, a few at a time; each is measured from its start to CONNECT
//! echo          each client sends an event with an acknowledgement, or one that is answered with an
//!               event, and the next one when the answer has come
//! broadcast     one client sends, the server sends to all; measured when each client gets it
//! ```

mod clients;
mod echo;
mod summary;

use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

use crate::arguments::{Bench, Work};
use crate::ending::{Ending, Failed};
use crate::output::Output;
use crate::run;
use clients::Crowd;
use summary::Summary;

/// Runs the command.
pub(crate) fn run(arguments: &Bench, out: &mut Output) -> Result<Ending, Failed> {
    let target = &arguments.dial.target;
    // Behind a proxy, the same name may be another machine.
    let is_here = target.is_loopback() && !arguments.dial.proxying.is_given();
    if !is_here && !arguments.yes {
        return Err(Failed::Usage(format!(
            "{target} is not this machine: {} clients are a load that its owner should know of; say --yes if it is yours",
            arguments.clients
        )));
    }
    run::block_on(measure(arguments, out))
}

async fn measure(arguments: &Bench, out: &mut Output) -> Result<Ending, Failed> {
    let mut summary = Summary::new(arguments);
    let mut stop = std::pin::pin!(run::interrupted());
    let work = async {
        let bar = progress(u64::from(arguments.clients), "connecting", arguments);
        let mut crowd = Crowd::connect(arguments, &mut summary, &bar).await?;
        bar.finish_and_clear();
        if crowd.is_empty() {
            return Ok(());
        }
        let seconds = u64::from(arguments.seconds);
        match arguments.work {
            Work::Connections => {
                let bar = progress(seconds, "holding the connections", arguments);
                crowd.hold(seconds, &bar).await;
                bar.finish_and_clear();
            }
            Work::Echo => {
                let bar = progress(seconds, "echo", arguments);
                echo::echo(&crowd, arguments, &mut summary, &bar).await?;
                bar.finish_and_clear();
            }
            Work::Broadcast => {
                let bar = progress(seconds, "broadcast", arguments);
                echo::broadcast(&mut crowd, arguments, &mut summary, &bar).await?;
                bar.finish_and_clear();
            }
        }
        summary.lost = crowd.lost();
        crowd.count_transports(&mut summary);
        crowd.close().await;
        Ok::<(), Failed>(())
    };
    let interrupted = tokio::select! {
        done = work => { done?; false }
        () = &mut stop => true,
    };
    summary.write(out, arguments.json)?;
    Ok(match (interrupted, summary.connected) {
        (true, _) => Ending::Interrupted,
        (false, 0) => Ending::Unreachable,
        (false, _) if summary.is_good() => Ending::Good,
        (false, _) => Ending::Bad,
    })
}

/// A bar on the standard error. Nobody sees it if this is no terminal.
fn progress(length: u64, what: &str, arguments: &Bench) -> ProgressBar {
    let target = if arguments.json {
        ProgressDrawTarget::hidden()
    } else {
        ProgressDrawTarget::stderr()
    };
    // An interrupt drops the bar.
    let bar = ProgressBar::with_draw_target(Some(length), target).with_finish(ProgressFinish::AndClear);
    // The template is a constant, and a bar without it works, too.
    if let Ok(style) = ProgressStyle::with_template("{msg:24} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar.set_message(what.to_owned());
    bar
}

/// One tick of a bar that shows seconds.
const TICK: Duration = Duration::from_secs(1);
