//! What a CI step says of a deploy to a Portainer, by the variables that scripts for it have always read.

use std::fmt;

use config::{Fault, Faults};
use proto::{ImageRef, ask::PortainerStackNumber};
use worker::target::portainer::PortainerUrl;

const STAGE: &str = "DEPLOY_ENV";
const VERSION: &str = "IMG_VERSION";
const IMAGE: &str = "CI_REGISTRY_IMAGE";

/// What is to be deployed, and where.
#[derive(Debug, Clone)]
pub(crate) struct CiDeploy {
    pub(crate) stage: Stage,
    pub(crate) image: ImageRef,
    pub(crate) portainer: PortainerUrl,
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
        let rest = stage.map(|stage| (variables.portainer(stage, by), variables.places(stage)));
        let (portainer, places) = rest.unwrap_or_default();
        match (stage, image, portainer, places) {
            (Some(stage), Some(image), Some(portainer), Some(places)) if variables.faults.is_empty() => {
                Ok(CiDeploy { stage, image, portainer, places })
            }
            _ => Err(variables.faults),
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
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const GOOD: [(&str, &str); 7] = [
        ("DEPLOY_ENV", "dev"),
        ("IMG_VERSION", "0.1.2"),
        ("CI_REGISTRY_IMAGE", "harbor.acme.lan:8443/shop/web"),
        ("CI_DEV_DEPLOY_USER", "ci"),
        ("CI_DEV_DEPLOY_PWD", "sup3rs3cret"),
        ("CI_DEV_DEPLOY_URL", "https://p.lan:9443/api/"),
        ("CI_DEV_DELPOY_PATH", "1/5/web, 1/5/api;2/6/web;1/5/web;"),
    ];

    fn read(by: By, changed: &[(&str, &str)]) -> Result<CiDeploy, String> {
        let mut all: BTreeMap<&str, &str> = GOOD.into();
        all.extend(changed.iter().copied());
        CiDeploy::read(by, &|name| all.get(name).map(|&value| value.to_owned()))
            .map_err(|faults| faults.to_string())
    }

    #[test]
    fn the_variables_of_a_script_are_read_as_they_are() {
        let ci = read(By::Itself, &[]).unwrap();
        assert_eq!(ci.image.to_string(), "harbor.acme.lan:8443/shop/web:dev-0.1.2");
        assert_eq!(ci.portainer.as_str(), "https://p.lan:9443");
        let places: Vec<String> = ci.places.iter().map(ToString::to_string).collect();
        assert_eq!(places, ["1/5/web", "1/5/api", "2/6/web"]);
        assert_eq!(ci.stacks().len(), 2);
    }

    #[test]
    fn a_release_deploys_what_is_latest_and_needs_no_version() {
        let release = [
            ("DEPLOY_ENV", "release"),
            ("IMG_VERSION", ""),
            ("CI_PRO_DEPLOY_URL", "http://p.lan:9000"),
            ("CI_PRO_DELPOY_PATH", "3/7/web"),
        ];
        let ci = read(By::Fleet, &release).unwrap();
        assert_eq!(ci.image.to_string(), "harbor.acme.lan:8443/shop/web:latest");
        assert_eq!((ci.portainer.as_str(), ci.places.len()), ("http://p.lan:9000", 1));
        let told = read(By::Itself, &release).unwrap_err();
        assert!(told.contains("CI_PRO_DEPLOY_USER is not set"), "{told}");
        assert!(told.contains("CI_PRO_DEPLOY_PWD is not set"), "{told}");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let wrong = [
            ("IMG_VERSION", "1 2"),
            ("CI_DEV_DEPLOY_PWD", ""),
            ("CI_DEV_DEPLOY_USER", " "),
            ("CI_DEV_DEPLOY_URL", "https://ci:sup3rs3cret@p.lan"),
            ("CI_DEV_DELPOY_PATH", "1/5/web,one/5/web;1/5;1/5/a b"),
        ];
        let told = read(By::Itself, &wrong).unwrap_err();
        for said in [
            "IMG_VERSION cannot be part of a tag",
            "CI_DEV_DEPLOY_PWD is not set",
            "CI_DEV_DEPLOY_USER is not set",
            "CI_DEV_DEPLOY_URL holds a user or a password",
            "names `one/5/web`",
            "names `1/5`",
            "names `1/5/a b`",
        ] {
            assert!(told.contains(said), "`{said}` is missing in\n{told}");
        }
        assert_eq!(told.matches("hint: ").count(), 7, "{told}");
        assert!(!told.contains("sup3rs3cret"), "{told}");
    }

    #[test]
    fn a_name_that_is_spelled_well_is_told_to_be_the_other() {
        let well = |name: &str| match name {
            "CI_DEV_DELPOY_PATH" => None,
            "CI_DEV_DEPLOY_PATH" => Some("1/5/web".to_owned()),
            other => GOOD.iter().find(|(name, _)| *name == other).map(|(_, value)| (*value).to_owned()),
        };
        let told = CiDeploy::read(By::Fleet, &well).unwrap_err().to_string();
        assert!(told.contains("CI_DEV_DELPOY_PATH is not set, but CI_DEV_DEPLOY_PATH is"), "{told}");
        assert_eq!(told.matches("hint: ").count(), 1, "{told}");
    }

    #[test]
    fn each_variable_is_blamed_for_its_own() {
        for (name, value, said) in [
            ("DEPLOY_ENV", "prod", "DEPLOY_ENV is `prod`"),
            ("DEPLOY_ENV", "", "DEPLOY_ENV is not set"),
            ("CI_REGISTRY_IMAGE", "acme/web:1", "CI_REGISTRY_IMAGE is `acme/web:1`"),
            ("CI_REGISTRY_IMAGE", "", "CI_REGISTRY_IMAGE is not set"),
            ("CI_DEV_DEPLOY_URL", "p.lan:9443", "CI_DEV_DEPLOY_URL is no address"),
            ("CI_DEV_DELPOY_PATH", ";,", "CI_DEV_DELPOY_PATH names no place"),
        ] {
            let told = read(By::Itself, &[(name, value)]).unwrap_err();
            assert!(told.contains(said), "{told}");
            assert_eq!(told.matches("hint: ").count(), 1, "{told}");
        }
    }
}
