//! Asking a broker, before anything is started, whether it is all that Longshore needs. Nothing is made there that lasts.

use std::collections::BTreeSet;

use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use proto::PoolName;

use super::{
    connect::connect_for,
    fault::{is_unknown, refused_or_away, unavailable, within},
    names::Names,
    topology::{dead_stream, exchange, history_stream, jobs_queue, quorum, quorum_for},
};
use crate::{AmqpSettings, QueueError, line::LineName};

const EXAMINE: &str = "ask the broker";

/// What a broker said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// What is there, line by line.
    pub found: Vec<String>,
    /// What is missing or will not work, line by line.
    pub missing: Vec<String>,
}

/// Asks each host whether it lets us in, and one of them whether we may do there what we need to, and whether what stands
/// there is what every process would make. `pools`: those whose workers or jobs there are to be.
pub async fn examine(settings: &AmqpSettings, pools: &BTreeSet<PoolName>) -> Examined {
    let mut told = Examined::default();
    let mut reached = None;
    for host in &settings.hosts {
        let alone = AmqpSettings { hosts: vec![host.clone()], ..settings.clone() };
        match connect_for(&alone, "checking").await {
            Ok(connection) => {
                let AmqpSettings { user, vhost, .. } = settings;
                told.found.push(format!("{host} lets `{user}` into the virtual host `{vhost}`"));
                reached.get_or_insert(connection);
            }
            Err(error) => told.missing.push(format!("{host}: {}", words(&error))),
        }
    }
    if let Some(connection) = reached {
        ask(&connection, settings, pools, &mut told).await;
        // Whether it is heard or not, this process ends soon.
        let _ = within(EXAMINE, async {
            connection.close(200, "asked".into()).await.map_err(|error| unavailable(EXAMINE, error))
        })
        .await;
    }
    told
}

async fn ask(
    connection: &Connection,
    settings: &AmqpSettings,
    pools: &BTreeSet<PoolName>,
    told: &mut Examined,
) {
    let names = Names::new(&settings.prefix);
    // Who may do nothing there would be told so of every name.
    if let Err(error) = may_use(connection, &names).await {
        told.missing.push(words(&error));
        return;
    }
    let (mut absent, mut stands, mut differs) = (BTreeSet::new(), false, false);
    for thing in things(&names, settings, pools) {
        let looked = thing.look(connection, &names, settings).await;
        stands |= !matches!(looked, Ok(Stands::Not));
        match looked {
            Ok(Stands::Not) => _ = absent.insert(format!("`{}`", thing.name)),
            Ok(Stands::AsItShould) => {}
            Ok(Stands::Pool { workers, waiting }) => {
                told.found.push(format!("`{}`: workers {workers}, jobs that wait {waiting}", thing.name));
            }
            Err(error) => {
                differs = true;
                told.missing.push(words(&error));
            }
        }
    }
    told.found.extend(match (stands, absent.is_empty()) {
        (false, _) => Some(format!(
            "nothing stands there yet under `{}.…`: the first processes make it",
            settings.prefix
        )),
        (true, false) => {
            let absent: Vec<String> = absent.into_iter().collect();
            Some(format!("not there yet, and made by the first process that needs it: {}", absent.join(", ")))
        }
        (true, true) => None,
    });
    if stands && !differs {
        told.found.push("what stands there is as it should be".to_owned());
    }
}

/// Declares a queue of our own that goes with the connection, sends itself a message and takes it.
async fn may_use(connection: &Connection, names: &Names) -> Result<(), QueueError> {
    let name = names.listener();
    let refused = |error| refused_or_away(&name, EXAMINE, error);
    within(EXAMINE, async {
        let channel = channel(connection).await?;
        let own =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        channel.queue_declare(name.as_str().into(), own, FieldTable::default()).await.map_err(refused)?;
        let listening = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let consuming =
            channel.basic_consume(name.as_str().into(), "".into(), listening, FieldTable::default());
        let _consumer = consuming.await.map_err(refused)?;
        let written = |error| refused_or_away("amq.default", EXAMINE, error);
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(written)?;
        let options = BasicPublishOptions::default();
        let sent =
            channel.basic_publish("".into(), name.as_str().into(), options, b"", BasicProperties::default());
        sent.await.map_err(written)?.await.map_err(written)?;
        channel.close(200, "asked".into()).await.map_err(|error| unavailable(EXAMINE, error))
    })
    .await
}

/// Something that every process declares.
struct Thing {
    name: String,
    kind: Kind,
}

enum Kind {
    Exchange(ExchangeKind),
    Jobs(FieldTable),
    Pool(FieldTable),
    Letters,
    History,
}

/// How it stands.
enum Stands {
    Not,
    AsItShould,
    Pool { workers: u32, waiting: u32 },
}

fn things(names: &Names, settings: &AmqpSettings, pools: &BTreeSet<PoolName>) -> Vec<Thing> {
    let topic = |name: String| Thing { name, kind: Kind::Exchange(ExchangeKind::Topic) };
    let mut things = vec![
        topic(names.jobs()),
        topic(names.dead()),
        Thing { name: names.dead(), kind: Kind::Letters },
        topic(names.events()),
        Thing { name: names.history(), kind: Kind::History },
        topic(names.intake()),
        Thing { name: names.intake(), kind: Kind::Jobs(quorum(&names.dead())) },
    ];
    for pool in pools {
        let line = LineName::from(pool);
        for rung in &settings.rungs {
            let name = names.rung(&line, *rung);
            things.push(Thing { name: name.clone(), kind: Kind::Exchange(ExchangeKind::Fanout) });
            things.push(Thing { name, kind: Kind::Jobs(quorum_for(&names.jobs(), *rung)) });
        }
        things.push(Thing { name: names.pool(pool), kind: Kind::Pool(quorum(&names.dead())) });
    }
    things
}

impl Thing {
    /// Looks whether it is there; only what is there is declared, which changes nothing or is refused.
    async fn look(
        &self,
        connection: &Connection,
        names: &Names,
        settings: &AmqpSettings,
    ) -> Result<Stands, QueueError> {
        within(EXAMINE, async {
            // Of its own, since the broker closes the channel on which it says no.
            let channel = channel(connection).await?;
            let stands = match self.seen(&channel).await {
                Ok(stands) => stands,
                Err(error) if is_unknown(&error) => return Ok(Stands::Not),
                Err(error) => return Err(refused_or_away(&self.name, EXAMINE, error)),
            };
            match &self.kind {
                Kind::Exchange(kind) => exchange(&channel, &self.name, kind.clone()).await?,
                Kind::Jobs(arguments) | Kind::Pool(arguments) => {
                    jobs_queue(&channel, &self.name, arguments.clone()).await?;
                }
                Kind::Letters => dead_stream(&channel, names, &settings.keep.letters).await?,
                Kind::History => history_stream(&channel, names, &settings.keep.history).await?,
            }
            channel.close(200, "looked".into()).await.map_err(|error| unavailable(EXAMINE, error))?;
            Ok(stands)
        })
        .await
    }

    async fn seen(&self, channel: &Channel) -> lapin::Result<Stands> {
        let name = self.name.as_str().into();
        if let Kind::Exchange(kind) = &self.kind {
            let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
            channel.exchange_declare(name, kind.clone(), options, FieldTable::default()).await?;
            return Ok(Stands::AsItShould);
        }
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare(name, options, FieldTable::default()).await?;
        Ok(match self.kind {
            Kind::Pool(_) => Stands::Pool { workers: queue.consumer_count(), waiting: queue.message_count() },
            Kind::Exchange(_) | Kind::Jobs(_) | Kind::Letters | Kind::History => Stands::AsItShould,
        })
    }
}

async fn channel(connection: &Connection) -> Result<Channel, QueueError> {
    connection.create_channel().await.map_err(|error| unavailable(EXAMINE, error))
}

/// An error and its causes; what is refused for want of rights with what gives them.
fn words(error: &QueueError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    if matches!(error, QueueError::Topology { answer, .. } if answer.starts_with("ACCESS_REFUSED")) {
        text.push_str(". `longshore broker setup --print` prints the rights that its users need");
    }
    text
}
