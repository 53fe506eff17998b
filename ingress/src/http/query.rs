//! Query parameters, each with its form.

use std::{collections::BTreeMap, time::Duration};

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use config::Span;
use proto::{JobId, State, TargetName, api::LetterName};

use crate::{
    problem::{Kind, Problem},
    view::Filter,
};

/// Longest time a caller may wait for its jobs.
const LONGEST_WAIT: Duration = Duration::from_secs(10 * 60);
/// Jobs on a page unless told otherwise, and at most.
const PAGE: usize = 50;
const LARGEST_PAGE: usize = 500;

/// The parameters of a request, by name; the last of one name counts.
pub(super) struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Parameters(pairs))
            .map_err(|_| Kind::BadQuery.with("the query string cannot be read"))
    }
}

impl Parameters {
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Refuses a parameter that the path does not take: what is misspelled would silently mean nothing.
    pub(super) fn only(&self, known: &[&str]) -> Result<(), Problem> {
        let Some(unknown) = self.0.keys().find(|name| !known.contains(&name.as_str())) else { return Ok(()) };
        let problem = Kind::BadQuery.with(format!("there is no parameter `{unknown:.100}` here"));
        Err(problem.hint(match known {
            [] => format!("leave `{unknown:.100}` out: this path takes none"),
            _ => {
                format!("leave `{unknown:.100}` out, or correct it: this path takes `{}`", known.join("`, `"))
            }
        }))
    }

    /// A flag: `?force=true`, or `false`.
    pub(super) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.get(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(bad(name, &format!("`{other:.100}` is neither `true` nor `false`"))),
        }
    }

    /// `?wait=30s`: how long to wait for the end, ten minutes at most.
    pub(super) fn wait(&self) -> Result<Option<Duration>, Problem> {
        let Some(text) = self.get("wait") else { return Ok(None) };
        let span: Span = text
            .parse()
            .map_err(|error: config::UnitError| bad("wait", &error.to_string()).hint(error.hint()))?;
        Ok(Some(span.0.min(LONGEST_WAIT)))
    }

    /// `?target=…&state=…,…&before=…`
    pub(super) fn filter(&self) -> Result<Filter, Problem> {
        let target: Option<TargetName> = self.parsed("target")?;
        let before: Option<JobId> = self.parsed("before")?;
        let states = self.get("state").into_iter().flat_map(|states| states.split(','));
        let states = states.map(str::trim).filter(|state| !state.is_empty());
        let states: Result<Vec<State>, Problem> =
            states.map(|text| text.parse().map_err(|_| unknown_state(text))).collect();
        Ok(Filter { target, states: states?, before, seen_by: None })
    }

    /// Whether `?state=dead` alone is asked for: what waits among the dead letters.
    pub(super) fn wants_the_dead(&self) -> bool {
        self.get("state").is_some_and(|states| states.trim() == State::Dead.as_str())
    }

    /// The target, and behind which letter to go on: `?target=…&before=letter-17`.
    pub(super) fn dead(&self) -> Result<(Option<TargetName>, Option<LetterName>), Problem> {
        Ok((self.parsed("target")?, self.parsed("before")?))
    }

    /// `?limit=…`
    pub(super) fn limit(&self) -> Result<usize, Problem> {
        let Some(text) = self.get("limit") else { return Ok(PAGE) };
        let limit = text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
        limit.ok_or_else(|| bad("limit", &format!("`{text}` is no number from 1 to {LARGEST_PAGE}")))
    }

    fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        self.get(name).map(|text| text.parse().map_err(|error| bad(name, &format!("{error}")))).transpose()
    }
}

fn bad(name: &str, why: &str) -> Problem {
    Kind::BadQuery.with(format!("the parameter `{name}` cannot be used: {why}"))
}

fn unknown_state(text: &str) -> Problem {
    let known: Vec<&str> = State::ALL.iter().map(|state| state.as_str()).collect();
    bad("state", &format!("`{text}` is no state")).hint(format!("the states are {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameters(query: &str) -> Parameters {
        Parameters(Query::try_from_uri(&format!("/?{query}").parse().unwrap()).unwrap().0)
    }

    #[test]
    fn good_parameters_are_read() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057";
        let given = parameters(&format!("target=web&state=failed,dead&before={id}&limit=7&wait=90s"));
        let filter = given.filter().unwrap();
        assert_eq!(filter.target.unwrap().to_string(), "default/web");
        assert_eq!(filter.states, [State::Failed, State::Dead]);
        assert_eq!(filter.before.unwrap().to_string(), id);
        assert_eq!((given.limit().unwrap(), given.wait().unwrap()), (7, Some(Duration::from_secs(90))));
        assert_eq!(parameters("wait=2h").wait().unwrap(), Some(LONGEST_WAIT));
        assert_eq!((parameters("").limit().unwrap(), parameters("").wait().unwrap()), (PAGE, None));
    }

    #[test]
    fn what_a_path_does_not_take_is_named() {
        let given = parameters("force=true&wiat=30s");
        assert!(given.only(&["wiat", "force"]).is_ok());
        for known in [&["force"][..], &[]] {
            let problem = given.only(known).err().unwrap();
            assert_eq!(problem.kind(), Kind::BadQuery);
        }
        assert_eq!((given.flag("force").unwrap(), given.flag("other").unwrap()), (true, false));
        assert!(!parameters("force=false").flag("force").unwrap());
        assert_eq!(parameters("force=").flag("force").err().unwrap().kind(), Kind::BadQuery);
    }

    #[test]
    fn bad_ones_are_named() {
        let told = [
            parameters("target=a/b/c").filter().err(),
            parameters("state=failed,done").filter().err(),
            parameters("before=7").filter().err(),
            parameters("limit=0").limit().err(),
            parameters("limit=501").limit().err(),
            parameters("wait=30").wait().err(),
        ];
        for problem in told {
            assert_eq!(problem.unwrap().kind(), Kind::BadQuery);
        }
    }
}
