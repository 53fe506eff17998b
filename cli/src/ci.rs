//! What a CI step says of a deploy to a Portainer, by the variables that scripts for it have always read.

use std::fmt;

use config::{Fault, Faults};
use proto::{ImageRef, Reason, ask::PortainerStackNumber, reason};
use worker::target::{holds_certificates, portainer::PortainerUrl};

const STAGE: &str = "DEPLOY_ENV";
const VERSION: &str = "IMG_VERSION";
/// How the name of the variable ends that says whose certificate is trusted.
const AUTHORITIES: &str = "DEPLOY_CA";
const TO_A_CERTIFICATE: &str = "to the Portainer's certificate, or that of the authority behind it, in PEM, or to the path of a \
                                file that holds it";
/// What begins a certificate, and no path.
const PEM: &str = "-----BEGIN";
const IMAGE: &str = "CI_REGISTRY_IMAGE";

/// What is to be deployed, and where.
#[derive(Debug, Clone)]
pub(crate) struct CiDeploy {
    pub(crate) stage: Stage,
    /// Who carries it out.
    by: By,
    pub(crate) image: ImageRef,
    pub(crate) portainer: PortainerUrl,
    /// Certificates in PEM that vouch for the Portainer, where this process asks it.
    pub(crate) authorities: Option<String>,
    /// Each of them once, in the order in which they stand.
    pub(crate) places: Vec<CiPlace>,
}

/// Which of the two sets of variables counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    Dev,
    Release,
}

/// One service to bring the image to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CiPlace {
    pub(crate) environment: u64,
    pub(crate) stack: u64,
    pub(crate) service: String,
}

/// Who carries it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// This process, which logs in at the Portainer itself.
    Itself,
    /// Workers of a fleet, who have keys of their own.
    Fleet,
}

impl CiDeploy {
    /// Reads the variables that `lookup` knows.
    ///
    /// # Errors
    /// Every variable that is missing or wrong, with how to mend it.
    pub(crate) fn read(by: By, lookup: &dyn Fn(&str) -> Option<String>) -> Result<CiDeploy, Faults> {
        let mut variables = Variables { lookup, faults: Faults::new() };
        let stage = variables.stage();
        let image = variables.image(stage);
        // Without the stage nobody knows which of the others count.
        let rest = stage.map(|stage| {
            (variables.portainer(stage, by), variables.places(stage), variables.authorities(stage, by))
        });
        let (portainer, places, authorities) = rest.unwrap_or_default();
        match (stage, image, portainer, places) {
            (Some(stage), Some(image), Some(portainer), Some(places)) if variables.faults.is_empty() => {
                Ok(CiDeploy { by, stage, image, portainer, authorities, places })
            }
            _ => Err(variables.faults),
        }
    }

    /// What to do about an end that the step itself can mend: what a fleet's workers lack is not in its variables.
    pub(crate) fn mends(&self, why: &Reason) -> Option<String> {
        let variable = |end: &str| self.stage.variable(end);
        match (self.by, why.code.as_ref()) {
            (By::Itself, reason::UNTRUSTED) => {
                Some(format!("set {} {TO_A_CERTIFICATE}", variable(AUTHORITIES)))
            }
            (By::Itself, reason::CREDENTIALS_REFUSED) => Some(format!(
                "set {} and {} to the name and the password of a user of that Portainer",
                variable("DEPLOY_USER"),
                variable("DEPLOY_PWD")
            )),
            (By::Itself, reason::UNREACHABLE) => Some(format!(
                "look whether {} is the address of the Portainer, and whether this runner may get there",
                variable("DEPLOY_URL")
            )),
            _ => None,
        }
    }

    /// The stacks, each of them once.
    pub(crate) fn stacks(&self) -> Vec<PortainerStackNumber> {
        let mut stacks: Vec<PortainerStackNumber> = Vec::new();
        for place in &self.places {
            if !stacks.contains(&place.number()) {
                stacks.push(place.number());
            }
        }
        stacks
    }
}

impl Stage {
    /// The variable of this stage whose name ends so. `DELPOY_PATH` is spelled as all scripts have it.
    pub(crate) fn variable(self, end: &str) -> String {
        match self {
            Stage::Dev => format!("CI_DEV_{end}"),
            Stage::Release => format!("CI_PRO_{end}"),
        }
    }
}

impl CiPlace {
    pub(crate) fn number(&self) -> PortainerStackNumber {
        PortainerStackNumber { environment: self.environment, stack: self.stack }
    }

    fn parse(text: &str) -> Option<CiPlace> {
        let [environment, stack, service] = text.split('/').map(str::trim).collect::<Vec<_>>()[..] else {
            return None;
        };
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        let is_name = !service.is_empty() && service.chars().all(plain);
        is_name.then_some(CiPlace {
            environment: environment.parse().ok()?,
            stack: stack.parse().ok()?,
            service: service.to_owned(),
        })
    }
}

impl fmt::Display for CiPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.environment, self.stack, self.service)
    }
}

/// The variables, and what was found to be wrong with them.
struct Variables<'a> {
    lookup: &'a dyn Fn(&str) -> Option<String>,
    faults: Faults,
}

impl Variables<'_> {
    /// The value without blanks around it; a fault where there is none.
    fn given(&mut self, name: &str, hint: &str) -> Option<String> {
        let value = (self.lookup)(name).map(|value| value.trim().to_owned());
        let value = value.filter(|value| !value.is_empty());
        if value.is_none() {
            self.fault(format!("the variable {name} is not set"), hint);
        }
        value
    }

    fn fault(&mut self, what: String, hint: &str) {
        self.faults.push(Fault::new(what).hint(hint));
    }

    fn stage(&mut self) -> Option<Stage> {
        let hint = "set it to `dev`, which uses the variables CI_DEV_…, or to `release`, which uses CI_PRO_…";
        match self.given(STAGE, hint)?.as_str() {
            "dev" => Some(Stage::Dev),
            "release" => Some(Stage::Release),
            other => {
                self.fault(format!("{STAGE} is `{other}`, which is neither `dev` nor `release`"), hint);
                None
            }
        }
    }

    fn image(&mut self, stage: Option<Stage>) -> Option<ImageRef> {
        let tag = match stage {
            Some(Stage::Release) => Some("latest".to_owned()),
            Some(Stage::Dev) | None => {
                let hint =
                    "set it to the version that was built, as in `0.1.2`: the image's tag is `dev-0.1.2`";
                self.given(VERSION, hint).map(|version| format!("dev-{version}"))
            }
        };
        let hint = "set it to the image's name without a tag, as in `registry.example.com/team/app`";
        let name = self.given(IMAGE, hint)?;
        // A tag is looked for alone, so that the one variable that is wrong is named.
        if format!("{name}:x").parse::<ImageRef>().is_err() || name.contains('@') {
            self.fault(format!("{IMAGE} is `{name}`, which is no name of an image"), hint);
            return None;
        }
        let image = format!("{name}:{}", tag?).parse().ok();
        if image.is_none() {
            let hint = "use letters, digits, `.`, `_` and `-`, no more than 120 of them";
            self.fault(format!("{VERSION} cannot be part of a tag"), hint);
        }
        image
    }

    /// The value is never repeated: it may hold a password.
    fn portainer(&mut self, stage: Stage, by: By) -> Option<PortainerUrl> {
        let variable = stage.variable("DEPLOY_URL");
        let url = self.given(
            &variable,
            "set it to the address of the Portainer, as in `https://portainer.example.com:9443/api`",
        );
        match by {
            By::Itself => {
                let user = stage.variable("DEPLOY_USER");
                let hint = "set it to the name of a Portainer user who may deploy these stacks";
                self.given(&user, hint);
                let password = stage.variable("DEPLOY_PWD");
                let hint = format!("set it to the password of the user in {user}, as a masked variable");
                self.given(&password, &hint);
            }
            By::Fleet => {}
        }
        match url?.parse() {
            Ok(url) => Some(url),
            Err(worker::target::portainer::PortainerUrlError::UserInfo) => {
                let hint = "take them out of it: the fleet has keys of its own, and without one CI_…_DEPLOY_USER and CI_…_DEPLOY_PWD are used";
                self.fault(format!("{variable} holds a user or a password"), hint);
                None
            }
            Err(worker::target::portainer::PortainerUrlError::Form) => {
                let hint = "write it as a browser has it, with `https://` or `http://` in front";
                self.fault(format!("{variable} is no address of a Portainer"), hint);
                None
            }
        }
    }

    /// A CI keeps such a thing as a variable, or as a file that the variable names.
    fn authorities(&mut self, stage: Stage, by: By) -> Option<String> {
        let variable = stage.variable(AUTHORITIES);
        let given = (self.lookup)(&variable).filter(|value| !value.trim().is_empty())?;
        match by {
            By::Itself => {}
            // The workers have a configuration for that.
            By::Fleet => return None,
        }
        let hint = format!("set it {TO_A_CERTIFICATE}");
        let pem = match given.contains(PEM) {
            true => given,
            false => match std::fs::read_to_string(given.trim()) {
                Ok(pem) => pem,
                Err(error) => {
                    self.fault(format!("the file that {variable} names cannot be read: {error}"), &hint);
                    return None;
                }
            },
        };
        if !holds_certificates(&pem) {
            self.fault(format!("{variable} holds no certificate in PEM, or a broken one"), &hint);
            return None;
        }
        Some(pem)
    }

    fn places(&mut self, stage: Stage) -> Option<Vec<CiPlace>> {
        let variable = stage.variable("DELPOY_PATH");
        let hint = "write `environment/stack/service`, several joined by `,` or `;`, as in `1/5/web;1/6/api`: the first two are the \
                    numbers that stand in the address when the stack is open in Portainer";
        let meant = stage.variable("DEPLOY_PATH");
        // The name has a slip in it that all scripts share, and whoever writes one anew does not make.
        let text = match (self.lookup)(&meant) {
            Some(_) if (self.lookup)(&variable).is_none() => {
                self.fault(
                    format!("the variable {variable} is not set, but {meant} is"),
                    "spell it `DELPOY`, as the scripts for it always have",
                );
                return None;
            }
            Some(_) | None => self.given(&variable, hint)?,
        };
        let typed: Vec<&str> =
            text.split([',', ';']).map(str::trim).filter(|typed| !typed.is_empty()).collect();
        if typed.is_empty() {
            self.fault(format!("{variable} names no place"), hint);
            return None;
        }
        let mut places: Vec<CiPlace> = Vec::new();
        let mut all_read = true;
        for typed in typed {
            match CiPlace::parse(typed) {
                Some(place) if places.contains(&place) => {}
                Some(place) => places.push(place),
                None => {
                    all_read = false;
                    self.fault(format!("{variable} names `{typed}`, which is no place"), hint);
                }
            }
        }
        all_read.then_some(places)
    }
}

#[cfg(test)]
mod tests;
