//! One module for each command.

mod broker;
mod check;
mod ci;
mod deploy;
mod explain;
mod hook;
mod ingress;
mod init;
mod job;
mod jobs;
mod login;
mod operate;
pub(crate) mod schema;
mod stack;
mod stack_texts;
mod target;
mod targets;
mod token;
mod up;
mod user;
mod watch;
mod worker;

use tokio::runtime::{Builder, Runtime};

use crate::{
    arguments::{Arguments, Command, Ingress, Reach, Worker},
    client::Client,
    exit::Exit,
    failure::Failure,
    output::Output,
    server::Server,
};

/// Carries one command out.
pub(crate) fn carry_out(arguments: Arguments, output: Output) -> Result<Exit, Failure> {
    match arguments.command {
        Command::Up(up) => runtime(Builder::new_multi_thread())?.block_on(up::run(up, output)),
        Command::Ingress(process) => ingress(process),
        Command::Worker(process) => worker(process),
        Command::Check(check) => ask(check::run(check, output)),
        Command::Init(init) => ask(init::run(init, output)),
        Command::Hook(hook) => ask(hook::run(hook, output)),
        Command::Explain(explain) => ask(explain::run(explain, output)),
        Command::Deploy(deploy) if deploy.from_ci_env => {
            runtime(Builder::new_multi_thread())?.block_on(ci::run(deploy, output))
        }
        Command::Deploy(deploy) => ask(deploy::run(deploy, output)),
        Command::Watch(watch) => ask(watch::run(watch, output)),
        Command::Jobs(jobs) => ask(jobs::run(jobs, output)),
        Command::Job(job) => ask(job::run(job, output)),
        Command::Targets(targets) => ask(targets::run(targets, output)),
        Command::Plan(plan) => ask(operate::plan(plan, output)),
        Command::Stack(stack) => ask(stack::run(stack, output)),
        Command::Prune(prune) => ask(operate::prune(prune, output)),
        Command::Target(target) => ask(target::run(target, output)),
        Command::LogIn(log_in) => ask(login::run(log_in, output)),
        Command::LogOut(log_out) => ask(login::end(log_out, output)),
        Command::Token(token) => token::run(&token, output),
        Command::User(user) => user::run(&user, output),
        Command::Broker(broker) => ask(broker::run(broker, output)),
        Command::Schema(schema) => schema::run(&schema),
    }
}

/// Runs an ingress.
pub(crate) fn ingress(arguments: Ingress) -> Result<Exit, Failure> {
    runtime(Builder::new_multi_thread())?.block_on(ingress::run(arguments))
}

/// Runs a worker.
pub(crate) fn worker(arguments: Worker) -> Result<Exit, Failure> {
    runtime(Builder::new_multi_thread())?.block_on(worker::run(arguments))
}

/// Runs a command that only asks: one thread is enough.
fn ask(command: impl Future<Output = Result<Exit, Failure>>) -> Result<Exit, Failure> {
    runtime(Builder::new_current_thread())?.block_on(command)
}

fn runtime(mut builder: Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| {
        Failure::setup(
            format!("cannot start: {error}"),
            "the machine may be out of memory or threads (see `ulimit -u`)",
        )
    })
}

fn client(reach: &Reach) -> Result<Client, Failure> {
    Client::new(Server::find(reach)?)
}
