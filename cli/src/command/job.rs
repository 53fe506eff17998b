//! `longshore job`: one deploy.

use crate::{
    arguments::Job,
    exit::Exit,
    failure::Failure,
    output::{Output, story},
};

pub(crate) async fn run(job: Job, output: Output) -> Result<Exit, Failure> {
    match job {
        Job::Show { id, reach } => {
            let status = super::client(&reach)?.job(id).await?;
            output.document(&status, || story(&status));
            Ok(Exit::Succeeded)
        }
    }
}
