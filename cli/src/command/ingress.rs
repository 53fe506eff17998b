//! `longshore ingress`: the process that takes webhooks and calls.

use std::sync::Arc;

use crate::{
    arguments::Ingress,
    configuration::Reading,
    directory::Directory,
    exit::Exit,
    failure::Failure,
    process::{self, Parts},
    server::url_at,
};

pub(crate) async fn run(arguments: Ingress) -> Result<Exit, Failure> {
    config::process::init_logging(false);
    let mut reading = Reading::of(&arguments.files.config)?;
    let read = reading.common().zip(reading.ingress());
    let (common, settings) = reading.finish(read)?;
    process::require_broker(&common.queue)?;
    let directory = Directory::prepare(arguments.data.as_deref().unwrap_or(&common.data))?;
    let queue = process::open_queue(&common.queue, directory.path()).await?;
    let (queue, spool) = process::beside_a_spool(&common, queue, directory.path()).await?;
    let listeners = process::listen_for(&settings, arguments.listen).await?;
    let settings = if settings.has_tokens() {
        settings
    } else {
        // Without a configured token there is one in the data directory, as in `up`.
        tracing::info!(file = %directory.token_path().display(), "the token of the API is in this file");
        settings.with_admin_token(directory.admin_token()?)
    };
    let settings = settings.with_data(directory.path());
    let address = listeners.all.local_addr().map_err(|error| Failure::Process { text: error.to_string() })?;
    directory.note_url(&url_at(address))?;
    let mut parts = Parts::new();
    parts.start(ingress::run(settings, Arc::clone(&queue), spool, listeners, parts.stop()));
    // The log says it.
    parts.run(queue, || {}).await
}
