//! Keeps one session alive: when anything on it breaks, the whole of it is built anew.

use std::sync::Arc;

use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{names::Names, pauses::Pauses, session::Session};
use crate::{AmqpSettings, Complaints, QueueError};

/// The session as it stands.
#[derive(Clone)]
enum Standing {
    /// Not there; the last attempt failed so.
    Away(Option<Arc<QueueError>>),
    /// There, unless it has just ended.
    Up(Arc<Session>),
    /// Closed for good.
    Closed,
}

/// Hands out the live session.
pub(super) struct Supervisor {
    standing: watch::Receiver<Standing>,
    stop: CancellationToken,
}

impl Supervisor {
    /// Makes the first attempt, and keeps attempting in the background when the broker is away.
    ///
    /// # Errors
    /// What no waiting mends: the login is refused, or names of ours mean something else on the broker.
    pub(super) async fn start(settings: AmqpSettings, names: Names) -> Result<Supervisor, QueueError> {
        let first = match Session::open(&settings, &names).await {
            Ok(session) => Ok(session),
            Err(error) if error.is_passing() => Err(error),
            Err(error) => return Err(error),
        };
        let (tell, standing) = watch::channel(Standing::Away(None));
        let stop = CancellationToken::new();
        let keeper = Keeper { settings, names, tell, stop: stop.clone() };
        tokio::spawn(keeper.keep(first));
        // The keeper tells how the first attempt went before anybody asks.
        let mut told = standing.clone();
        let _ = told.changed().await;
        Ok(Supervisor { standing, stop })
    }

    /// The live session, if there is one right now.
    pub(super) fn current(&self) -> Option<Arc<Session>> {
        match &*self.standing.borrow() {
            Standing::Up(session) if !session.has_ended() => Some(Arc::clone(session)),
            Standing::Up(_) | Standing::Away(_) | Standing::Closed => None,
        }
    }

    /// The live session, waited for until `deadline`.
    pub(super) async fn session(
        &self,
        deadline: Instant,
        attempted: &'static str,
    ) -> Result<Arc<Session>, QueueError> {
        let mut standing = self.standing.clone();
        loop {
            let cause = match &*standing.borrow_and_update() {
                Standing::Up(session) if !session.has_ended() => return Ok(Arc::clone(session)),
                Standing::Up(session) => Some(session.why().into()),
                Standing::Away(last) => last.clone().map(Into::into),
                Standing::Closed => return Err(QueueError::Closed),
            };
            match tokio::time::timeout_at(deadline, standing.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return Err(QueueError::Closed),
                Err(elapsed) => {
                    return Err(QueueError::Unavailable {
                        attempted,
                        source: cause.unwrap_or_else(|| elapsed.into()),
                    });
                }
            }
        }
    }

    /// Waits until it is closed for good.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Closes the session, for good.
    pub(super) async fn close(&self) {
        self.stop.cancel();
        let mut standing = self.standing.clone();
        let _ = standing.wait_for(|standing| matches!(standing, Standing::Closed)).await;
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Keeper {
    settings: AmqpSettings,
    names: Names,
    tell: watch::Sender<Standing>,
    stop: CancellationToken,
}

impl Keeper {
    async fn keep(self, first: Result<Session, QueueError>) {
        let stopped = self.stop.clone();
        let mut session = first;
        let (mut pauses, mut complaints) = (Pauses::begin(), Complaints::default());
        loop {
            match session {
                Ok(up) => {
                    self.serve(up).await;
                    (pauses, complaints) = (Pauses::begin(), Complaints::default());
                }
                Err(error) => self.say_away(error, &mut complaints),
            }
            tokio::select! {
                () = tokio::time::sleep(pauses.next()) => {}
                () = stopped.cancelled() => break,
            }
            tokio::select! {
                opened = Session::open(&self.settings, &self.names) => session = opened,
                () = stopped.cancelled() => break,
            }
        }
        self.tell.send_replace(Standing::Closed);
    }

    /// Hands the session out until it ends, and closes what is left of it.
    async fn serve(&self, session: Session) {
        let session = Arc::new(session);
        tracing::info!(host = %session.host(), "connected to the broker");
        self.tell.send_replace(Standing::Up(Arc::clone(&session)));
        tokio::select! {
            () = session.watch() => {
                tracing::warn!(host = %session.host(), why = session.why(), "lost the broker");
                self.tell.send_replace(Standing::Away(None));
                // In the background: a broken connection may take its time, the next session must not wait.
                tokio::spawn(async move { session.close().await });
            }
            () = self.stop.cancelled() => session.close().await,
        }
    }

    /// Says it aloud once for each reason, and every few minutes again.
    fn say_away(&self, error: QueueError, complaints: &mut Complaints) {
        let source = &error as &dyn std::error::Error;
        if complaints.is_due(&chain(source), Instant::now()) {
            tracing::warn!(error = source, "the broker is away, trying again");
        } else {
            tracing::debug!(error = source, "the broker is still away");
        }
        self.tell.send_replace(Standing::Away(Some(Arc::new(error))));
    }
}

/// An error and its causes, as they are told.
fn chain(error: &dyn std::error::Error) -> String {
    let chain: Vec<_> =
        std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect();
    chain.join(": ")
}
