//! `longshore hook`: what to paste at a sender, and a try of it.

use std::path::PathBuf;

use config::{Document, Faults};
use ingress::{Outgoing, Paste, Producer, Sample};
use serde_json::Value;

use super::client;
use crate::{
    arguments::{Hook, HookSend, HookUrl},
    exit::Exit,
    failure::Failure,
    output::Output,
    server::configured_url,
};

pub(crate) async fn run(hook: Hook, output: Output) -> Result<Exit, Failure> {
    match hook {
        Hook::Url(url) => print(&url, output),
        Hook::Send(send) => try_it(&send, output).await,
    }
}

fn print(url: &HookUrl, output: Output) -> Result<Exit, Failure> {
    let (document, producer) = producer(&url.files.config, &url.source)?;
    let base = configured_url(&document);
    let paste = producer.paste(&base);
    output.document(&paste, || told(&paste, &producer));
    let is_public = document.root().get("public_url").is_some();
    if !is_public {
        eprintln!("note: `public_url` is not configured, so this is the URL on this machine");
    }
    Ok(Exit::Succeeded)
}

fn told(paste: &Paste, producer: &Producer) -> String {
    let mut text = format!("URL:     {}\n", paste.url);
    if let Some((name, value)) = &paste.header {
        text.push_str(&format!("header:  {name}: {value}\n"));
    }
    if let Some(secret) = &paste.secret {
        let headers = producer.signed_in().join("`, `");
        text.push_str(&format!("secret:  {secret}\n         the sender signs with it, in `{headers}`\n"));
    }
    text.push_str(&format!("where:   {}\n", paste.where_to));
    text.push_str(&format!("try it:  longshore hook send {} --config …\n", paste.source));
    text
}

fn producer(files: &[PathBuf], source: &str) -> Result<(Document, Producer), Failure> {
    let document = Document::load(files)?;
    let mut faults = Faults::new();
    match Producer::read(&document, source, &mut faults) {
        Some(producer) => Ok((document, producer)),
        None => Err(Failure::Configuration(faults)),
    }
}

async fn try_it(send: &HookSend, output: Output) -> Result<Exit, Failure> {
    if send.reach.config.is_empty() {
        return Err(Failure::setup(
            "it is not said where the source is configured",
            "add --config longshore.yaml: the source's kind and secrets stand there",
        ));
    }
    let (_, producer) = producer(&send.reach.config, &send.source)?;
    let sample = sample(&producer, send.sample.as_deref())?;
    let sent = match &send.body {
        None => producer.send(sample),
        Some(path) => producer.send_body(sample, body(path)?),
    };
    let client = client(&send.reach)?;
    // Whatever `LONGSHORE_URL` names gets the key or the signature.
    eprintln!("note: it is sent to {}, with the source's key or signature", client.url());
    let answer = client.hook(sent).await?;
    output.document(&answer, || answered(&answer, sample, send.body.is_some()));
    Ok(Exit::Succeeded)
}

fn body(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|error| {
        Failure::setup(format!("cannot read `{}`: {error}", path.display()), "name a file that holds a body")
    })
}

fn sample(producer: &Producer, name: Option<&str>) -> Result<&'static Sample, Failure> {
    let samples = producer.samples();
    let found = match name {
        None => samples.first(),
        Some(name) => samples.iter().find(|sample| sample.name == name),
    };
    found.copied().ok_or_else(|| {
        let names: Vec<&str> = samples.iter().map(|sample| sample.name).collect();
        Failure::setup(
            format!("`{}` has no sample `{}`", producer.kind().name(), name.unwrap_or_default()),
            format!("its samples are `{}`", names.join("`, `")),
        )
    })
}

fn answered(answer: &Value, sample: &Sample, own: bool) -> String {
    let what = if own { "the body".to_owned() } else { format!("the sample `{}`", sample.name) };
    let text = |key: &str| answer.get(key).and_then(Value::as_str);
    if let Some(why) = text("ignored") {
        return format!("{what} was let in and understood; nothing is deployed: {why}");
    }
    if let Some(why) = text("kept") {
        return format!("{what} was let in and is kept: {why}");
    }
    let jobs = answer.get("jobs").and_then(Value::as_array).cloned().unwrap_or_default();
    let lines: Vec<String> = jobs
        .iter()
        .map(|job| {
            let text = |key: &str| job.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("{}  job {}", text("target"), text("id"))
        })
        .collect();
    match lines.is_empty() {
        true => format!("{what} was let in"),
        false => format!("{what} was taken:\n{}", lines.join("\n")),
    }
}

impl crate::client::Client {
    /// Sends what a producer would; without the token, which no producer has.
    async fn hook(&self, sent: Outgoing) -> Result<Value, crate::client::ClientError> {
        let headers = sent.headers.iter().map(|(name, value)| (*name, value.as_str()));
        self.deliver(&sent.path, sent.is_get, headers, sent.body).await
    }
}
