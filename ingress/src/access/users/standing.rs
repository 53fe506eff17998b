//! What becomes of a user who is there: another role, or the end.

use std::path::Path;

use super::{UserBook, UserError, UserRecord, change};
use crate::access::{file, role::Role};

/// Takes a user out. Their sessions end, and none of them is good for another who is entered under the name later.
///
/// # Errors
/// When there is no such user, or the file cannot be changed.
pub fn remove(path: &Path, name: &str) -> Result<UserRecord, UserError> {
    file::edit(path, |book: &mut UserBook| {
        let removed = book.users.remove(&name.to_lowercase());
        removed.ok_or_else(|| UserError::Unknown(name.to_owned()))
    })
}

/// Gives a user another role, and other targets where they are said. Sessions go on with it: what a user may do is looked up at
/// each call.
///
/// # Errors
/// When there is no such user, the targets are none, or the file cannot be changed.
pub fn give_role(
    path: &Path,
    name: &str,
    role: Role,
    targets: Option<Vec<String>>,
) -> Result<UserRecord, UserError> {
    if let Some(targets) = &targets {
        role.scope(targets).check()?;
    }
    let mut changed = None;
    change(path, name, |user| {
        user.role = role;
        user.targets = targets.unwrap_or_else(|| user.targets.clone());
        changed = Some(user.clone());
    })?;
    changed.ok_or_else(|| UserError::Unknown(name.to_owned()))
}

#[cfg(test)]
mod tests {
    use config::Secret;

    use super::*;
    use crate::access::users::{add, list, tests::anna};

    #[test]
    fn a_user_changes_roles_and_goes_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("users.yaml");
        let password = Secret::new("a password of hers");
        add(&path, &anna(Role::Deployer), &password).unwrap();
        let before = list(&path).unwrap().remove(0).1;
        let changed = give_role(&path, "ANNA", Role::Viewer, None).unwrap();
        assert_eq!((changed.role, &changed.targets), (Role::Viewer, &before.targets));
        let scoped = give_role(&path, "anna", Role::Approver, Some(vec!["office/*".to_owned()])).unwrap();
        assert_eq!((scoped.role, scoped.targets.join(",")), (Role::Approver, "office/*".to_owned()));
        assert_eq!((scoped.generation, &scoped.hash), (before.generation, &before.hash), "sessions go on");
        assert!(give_role(&path, "anna", Role::Admin, Some(vec!["a/b/c".to_owned()])).is_err());
        assert_eq!(list(&path).unwrap()[0].1, scoped, "nothing was changed by what was refused");
        assert_eq!(remove(&path, "Anna").unwrap(), scoped);
        assert!(list(&path).unwrap().is_empty());
        for gone in [remove(&path, "anna").err(), give_role(&path, "anna", Role::Admin, None).err()] {
            assert!(matches!(gone, Some(UserError::Unknown(_))), "{gone:?}");
        }
    }
}
