//! Our engines, through the contract that ingress and worker use.

use std::{path::Path, sync::Arc, time::Instant};

use anyhow::{Context, Result};
use futures::future::try_join_all;
use lapin::uri::AMQPUri;
use proto::{Job, PoolName};
use queue::{AmqpSettings, Deliveries, Queue, Settlement, amqp::Amqp, embedded::Embedded};

use crate::{CALLERS, figures::median, jobs};

/// An engine that takes nothing on its own.
pub(crate) struct Engine {
    queue: Arc<dyn Queue>,
}

/// The engine on RabbitMQ, with names of its own.
pub(crate) async fn amqp(uri: &str) -> Result<Engine> {
    let uri: AMQPUri = uri.parse().map_err(|error| anyhow::anyhow!("read the broker's URI: {error}"))?;
    let host = format!("{}:{}", uri.authority.host, uri.authority.port);
    let password = config::Secret::new(uri.authority.userinfo.password);
    let settings = AmqpSettings {
        vhost: uri.vhost,
        prefix: format!("bench-{}", uuid::Uuid::now_v7().simple()),
        ..AmqpSettings::new(vec![host], uri.authority.userinfo.username, password)
    };
    Engine::serving(Arc::new(Amqp::open(&settings).await?)).await
}

/// The embedded engine, in a folder.
pub(crate) async fn embedded(folder: &Path) -> Result<Engine> {
    Engine::serving(Arc::new(Embedded::open(&folder.join("queue"))?)).await
}

impl Engine {
    async fn serving(queue: Arc<dyn Queue>) -> Result<Engine> {
        let engine = Engine { queue };
        // From now on the pool exists.
        drop(engine.taking().await?);
        Ok(engine)
    }

    async fn taking(&self) -> Result<Box<dyn Deliveries>> {
        let pool = PoolName::default();
        self.queue.take(&pool, u16::try_from(CALLERS)?).await.context("take jobs")
    }

    /// Jobs published a second by many callers; they stay.
    pub(crate) async fn publish(&self, count: usize) -> Result<f64> {
        let mut all = jobs(count)?;
        let began = Instant::now();
        let callers = (0..CALLERS).map(|_| {
            let (queue, jobs) = (Arc::clone(&self.queue), all.split_off(all.len() - count / CALLERS));
            tokio::spawn(async move {
                for job in &jobs {
                    queue.publish(job).await?;
                }
                Ok::<(), queue::QueueError>(())
            })
        });
        for published in try_join_all(callers).await? {
            published?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Jobs taken and settled a second, of those that wait.
    pub(crate) async fn take(&self, count: usize) -> Result<f64> {
        let mut deliveries = self.taking().await?;
        let began = Instant::now();
        for _ in 0..count {
            deliveries.next().await?.settle(Settlement::Ack).await?;
        }
        Ok(count as f64 / began.elapsed().as_secs_f64())
    }

    /// Seconds from the call of publish until the job is in a worker's hands.
    pub(crate) async fn median_delay(&self, count: usize) -> Result<f64> {
        let mut deliveries = self.taking().await?;
        let mut delays = Vec::with_capacity(count);
        for job in jobs(count)? {
            let began = Instant::now();
            let taken = async { (deliveries.next().await, began.elapsed().as_secs_f64()) };
            let (published, (delivery, delay)) = tokio::join!(self.queue.publish(&job), taken);
            delays.push(delay);
            published?;
            let delivery = delivery?;
            anyhow::ensure!(Job::decode(delivery.body())?.id == job.id, "another job came");
            delivery.settle(Settlement::Ack).await?;
        }
        Ok(median(delays))
    }
}
