//! What can be typed to deploy an image.

use clap::Args;
use proto::{ImageRef, TargetName};

use super::{Reach, Waiting};

pub(super) const CI_VARIABLES: &str = "\
Variables that --from-ci-env reads; with DEPLOY_ENV=release those that begin with CI_PRO_ count instead of CI_DEV_:
  DEPLOY_ENV           dev: the image's tag is dev-<IMG_VERSION>; release: it is latest
  IMG_VERSION          as in 0.1.2
  CI_REGISTRY_IMAGE    the image's name without a tag
  CI_DEV_DEPLOY_URL    the Portainer's address
  CI_DEV_DELPOY_PATH   environment/stack/service by their numbers and name, several joined by `,` or `;`
  CI_DEV_DEPLOY_USER, CI_DEV_DEPLOY_PWD
                       who logs in; neither read nor sent where LONGSHORE_URL, --config or --data names a fleet,
                       whose workers have keys of their own";

/// What `deploy` takes.
#[derive(Debug, Args)]
pub(crate) struct Deploy {
    /// The target: `name`, or `pool/name`
    #[arg(required_unless_present = "from_ci_env")]
    pub(crate) target: Option<TargetName>,

    /// The image to run, with a tag, a digest, or both
    #[arg(long, value_name = "IMAGE", required_unless_present = "from_ci_env")]
    pub(crate) image: Option<ImageRef>,

    /// Take image and places from the variables of a CI step, and wait for all of them
    #[arg(long, conflicts_with_all = ["target", "image", "service"])]
    pub(crate) from_ci_env: bool,

    /// The service within the target, where the target is a stack of several
    #[arg(long, value_name = "NAME")]
    pub(crate) service: Option<String>,

    /// Deploy it at once, whatever the target's window and minimum image age say; an approval is needed all the same
    #[arg(long)]
    pub(crate) now: bool,

    #[command(flatten)]
    pub(crate) following: Waiting,

    #[command(flatten)]
    pub(crate) reach: Reach,
}
