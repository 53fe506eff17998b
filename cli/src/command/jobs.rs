//! `longshore jobs`: the newest deploys.

use proto::api::JobPage;

use crate::{
    arguments::Jobs,
    exit::Exit,
    failure::Failure,
    output::{Output, table_of_jobs},
};

pub(crate) async fn run(jobs: Jobs, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&jobs.reach)?;
    let page: JobPage = client.jobs(jobs.target.as_ref(), jobs.state, jobs.limit).await?;
    output.document(&page, || table_of_jobs(&page.jobs));
    Ok(Exit::Succeeded)
}
