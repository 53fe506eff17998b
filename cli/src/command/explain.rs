//! `longshore explain`: what becomes of a webhook, by a file, or of an image, by a file or by the server that runs.

use std::io::Read;

use ingress::{Explanation, Kind, Letter, Nearly, POLL, Settings, UnknownSource};
use proto::ImageRef;

use crate::{
    arguments::{Explain, Reach},
    configuration::Reading,
    exit::Exit,
    failure::Failure,
    output::{Output, table},
};

pub(crate) async fn run(explain: Explain, output: Output) -> Result<Exit, Failure> {
    let settings = settings(&explain)?;
    let explanation = match (explain.what.strip_prefix('@'), settings) {
        (Some(path), settings) => letter(&explain, path, settings.as_ref())?,
        (None, Some(settings)) => Explanation::of_image(&image(&explain)?, &settings),
        (None, None) => among_those_that_run(&explain, &image(&explain)?).await?,
    };
    output.document(&explanation, || told(&explanation));
    Ok(Exit::Succeeded)
}

fn settings(explain: &Explain) -> Result<Option<Settings>, Failure> {
    if explain.config.is_empty() {
        return Ok(None);
    }
    let mut reading = Reading::of(&explain.config)?;
    let ingress = reading.ingress();
    Ok(Some(reading.finish(ingress)?))
}

fn letter(explain: &Explain, path: &str, settings: Option<&Settings>) -> Result<Explanation, Failure> {
    let body = read(path).map_err(|error| {
        let text = format!("cannot read `{path}`: {error}");
        Failure::setup(text, "name a file that holds the body of a webhook, as in `@payload.json`")
    })?;
    let Some(source) = explain.source.as_deref() else {
        return Err(Failure::setup("it is not said who sent the body", format!("add --source: {}", kinds())));
    };
    let registry = explain.registry.as_deref();
    let letter = Letter { source, registry, headers: &explain.headers, body: &body };
    Explanation::of_letter(&letter, settings).map_err(|error| {
        let hint = match &error {
            UnknownSource::Neither(_) => format!("the kinds are {}", kinds()),
            UnknownSource::Several { .. } => "name one of them with --source".to_owned(),
        };
        Failure::setup(error.to_string(), hint)
    })
}

fn read(path: &str) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    match path {
        "-" => std::io::stdin().lock().read_to_end(&mut body)?,
        path => std::fs::File::open(path)?.read_to_end(&mut body)?,
    };
    Ok(body)
}

/// Asks the server, which knows the targets that workers found as well.
async fn among_those_that_run(explain: &Explain, image: &ImageRef) -> Result<Explanation, Failure> {
    let client = super::client(&Reach { config: Vec::new(), data: explain.data.clone() })?;
    Ok(Explanation::of_image_among(image, &client.targets().await?))
}

fn image(explain: &Explain) -> Result<ImageRef, Failure> {
    if explain.source.is_some() || explain.registry.is_some() || !explain.headers.is_empty() {
        let hint = "write `@FILE` for a body, or leave out --source, --registry and --header";
        return Err(Failure::setup("an image has no sender", hint));
    }
    explain.what.parse().map_err(|error: proto::ImageError| {
        Failure::setup(
            format!("`{}` cannot be explained: {error}", explain.what),
            "name an image with its tag, as in `acme/web:1.4.2`, or a body, as in `@payload.json`",
        )
    })
}

fn kinds() -> String {
    let names: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).chain([POLL]).collect();
    names.join(", ")
}

fn told(explanation: &Explanation) -> String {
    let decision = serde_json::to_value(explanation.decision).unwrap_or_default();
    let mut text = format!("{}: {}\n", decision.as_str().unwrap_or_default(), explanation.reason);
    for image in &explanation.images {
        text.push_str(&format!("image: {image}\n"));
    }
    if !explanation.nearly.is_empty() {
        let rows = explanation
            .nearly
            .iter()
            .map(|Nearly { target, follow, why }| [target.to_string(), follow.clone(), why.clone()]);
        text.push_str(&format!("\n{}", table(["NEARLY", "FOLLOWS", "BUT"], rows)));
    }
    text
}
