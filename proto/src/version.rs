//! Tags that are versions, and their order.

use semver::Version;

use crate::ImageRef;

/// The version that a tag is: three numbers, with or without a `v` in front.
pub(crate) fn of_tag(tag: &str) -> Option<Version> {
    Version::parse(without_v(tag)).ok()
}

/// The same number without the `v` that many write in front of it.
pub(crate) fn without_v(text: &str) -> &str {
    text.strip_prefix(['v', 'V']).unwrap_or(text)
}

/// The lowest version that a tag may stand for: `1.4`, which moves with each `1.4.x`, is 1.4.0 at least.
pub(crate) fn lowest_of_tag(tag: &str) -> Option<Version> {
    let padded = || {
        let number = without_v(tag);
        let missing = 2_usize.checked_sub(number.matches('.').count())?;
        Version::parse(&format!("{number}{}", ".0".repeat(missing))).ok()
    };
    of_tag(tag).or_else(padded)
}

impl ImageRef {
    /// Whether both are tagged with a version, in repositories of one path, and this one's is the lower. A registry
    /// may have another address for the systems beside it, so its host is not looked at.
    #[must_use]
    pub fn is_lower_version_than(&self, other: &ImageRef) -> bool {
        let versions = || Some((of_tag(self.tag()?)?, lowest_of_tag(other.tag()?)?));
        self.repository().path() == other.repository().path()
            && versions().is_some_and(|(own, others)| own.cmp_precedence(&others).is_lt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers_and_nothing_else_is() {
        let lower = |one: &str, other: &str| {
            let image = |text: &str| text.parse::<ImageRef>().unwrap();
            image(one).is_lower_version_than(&image(other))
        };
        assert!(lower("acme/web:1.3.9", "acme/web:1.4.2") && !lower("acme/web:1.4.2", "acme/web:1.3.9"));
        assert!(lower("acme/web:v1.9.0", "acme/web:1.10.0"), "by number, with or without `v`");
        assert!(lower("acme/web:2.0.0-rc.1", "acme/web:2.0.0") && lower("a/b:1.0.0-rc.2", "a/b:1.0.0-rc.10"));
        assert!(lower("acme/web:1.3.9", "vpc.acme.lan/acme/web:1.4.2"), "by the registry's other address");
        assert!(lower("acme/web:1.3.9", "acme/web:1.4") && lower("acme/web:1.3.9", "acme/web:v2"));
        assert!(!lower("acme/web:1.4.1", "acme/web:1.4"), "`1.4` may be any of them");
        for other in ["acme/web:1.4.2", "acme/web:latest", "acme/api:2.0.0", "acme/web:1.4.2.1"] {
            assert!(!lower("acme/web:1.4.2", other), "{other}");
        }
        assert!(!lower("acme/web:main", "acme/web:1.4.2"));
    }
}
