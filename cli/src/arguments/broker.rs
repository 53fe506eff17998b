//! What can be typed about the broker.

use clap::{Args, Subcommand};

use super::Files;

/// What can be done with the broker.
#[derive(Debug, Subcommand)]
pub(crate) enum Broker {
    /// Declare what Longshore needs on its broker, or print how to make its users there
    #[command(after_help = "\
Examples:
  longshore broker setup --config longshore.yaml --print
      the commands that make the virtual host, Longshore's own user, and one for each entry of
      `access: {amqp: …}`, who may publish to the intake and do nothing else; run them where the broker runs
  longshore broker setup --config longshore.yaml --print --publisher registry-bot --diun diun > users.sh
  sh users.sh
      also for one who only tells of images, and for Diun; passwords are asked for
  longshore broker setup --config longshore.yaml
      declares exchanges and queues with the login of the configuration, so that publishers find them
      before anything else has run; doing it again changes nothing")]
    Setup(Setup),
}

/// What `broker setup` takes.
#[derive(Debug, Args)]
pub(crate) struct Setup {
    #[command(flatten)]
    pub(crate) files: Files,

    /// Print the `rabbitmqctl` commands for users and permissions, and connect to nothing
    #[arg(long)]
    pub(crate) print: bool,

    /// A further user who may publish to the intake; may be given several times
    #[arg(long, value_name = "USER", requires = "print")]
    pub(crate) publisher: Vec<String>,

    /// A user who may listen to events through queues of its own; may be given several times
    #[arg(long, value_name = "USER", requires = "print")]
    pub(crate) subscriber: Vec<String>,

    /// A user for Diun's own AMQP notifier, which insists on declaring a queue: one of the user's own name
    #[arg(long, value_name = "USER", requires = "print")]
    pub(crate) diun: Option<String>,
}
