//! `longshore jobs`: the newest deploys, or those that could not be carried out.

use proto::{
    State,
    api::{DeadPage, JobPage},
};

use crate::{
    arguments::Jobs,
    exit::Exit,
    failure::Failure,
    output::{Output, dead, held, table_of_jobs},
    typed,
};

pub(crate) async fn run(jobs: Jobs, output: Output) -> Result<Exit, Failure> {
    let client = super::client(&jobs.reach)?;
    if jobs.state == Some(State::Dead) {
        let page: DeadPage = client.dead(jobs.target.as_ref(), jobs.limit).await?;
        output.document(&page, || dead::table_of(&page, &typed::reach(&jobs.reach)));
        return Ok(Exit::Succeeded);
    }
    let page: JobPage = client.jobs(jobs.target.as_ref(), jobs.state, jobs.limit).await?;
    output.document(&page, || match jobs.state {
        Some(State::Held) => held::table_of(&page.jobs),
        Some(_) | None => table_of_jobs(&page.jobs),
    });
    Ok(Exit::Succeeded)
}
