//! What editors are told of keys that are read elsewhere.

use proto::Follow;
use schemars::JsonSchema;

/// One rule, or several of which any takes the image.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only described")]
pub(super) enum OneOrMany {
    One(Follow),
    Many(Vec<Follow>),
}

/// One name or several.
#[derive(JsonSchema)]
#[schemars(untagged)]
#[allow(dead_code, reason = "only described")]
pub(super) enum Names {
    One(String),
    Several(Vec<String>),
}
