//! `longshore ingress`: the process that takes webhooks and calls.

use std::sync::Arc;

use config::process::Hangups;
use tokio::sync::watch;

use crate::{
    arguments::Ingress,
    configuration::Reading,
    directory::Directory,
    exit::Exit,
    failure::Failure,
    process::{self, Parts, Started},
    reload::{AtHome, Fixed, IngressSide, Reload},
    server::url_at,
};

pub(crate) async fn run(arguments: Ingress) -> Result<Exit, Failure> {
    config::process::init_logging(false);
    process::run(start(arguments)).await
}

async fn start(arguments: Ingress) -> Result<Started<impl FnOnce()>, Failure> {
    let hangups = Hangups::listen();
    let mut reading = Reading::of(&arguments.files.config)?;
    let read = reading.common().zip(reading.ingress());
    let (common, settings) = reading.finish(read)?;
    process::require_broker(&common.queue)?;
    let directory = Directory::prepare(arguments.data.as_deref().unwrap_or(&common.data))?;
    let queue = process::open_queue(&common.queue, directory.path()).await?;
    let (queue, spool) = process::beside_a_spool(&common, queue, directory.path(), false).await?;
    let listeners = process::listen_for(&settings, arguments.listen).await?;
    let fixed = Fixed::of(&common, arguments.data.as_deref());
    let fixed = fixed.and_ingress(&common, &settings, arguments.listen);
    let at_home = at_home(&directory);
    let settings = watch::Sender::new(at_home(settings)?);
    let address = listeners.all.local_addr().map_err(|error| Failure::Process { text: error.to_string() })?;
    directory.note_url(&url_at(address))?;
    let mut parts = Parts::new();
    let (following, stop) = (settings.subscribe(), parts.stop());
    parts.start(ingress::run_following(following, Arc::clone(&queue), spool, listeners, stop));
    let ingress = Some(IngressSide { settings, at_home });
    let reload = Reload { files: arguments.files.config, fixed, ingress, worker: None };
    parts.start_beside(reload.follow(hangups));
    // The log says when it is to end.
    Ok(Started { parts, queue, asked: || {} })
}

/// What is read has the files of this directory; without a configured token also the one in it, as in `up`.
fn at_home(directory: &Directory) -> AtHome {
    let directory = directory.clone();
    Arc::new(move |settings| {
        let settings = settings.with_data(directory.path());
        if settings.has_tokens() {
            return Ok(settings);
        }
        tracing::info!(file = %directory.token_path().display(), "the token of the API is in this file");
        Ok(settings.with_admin_token(directory.admin_token()?))
    })
}
