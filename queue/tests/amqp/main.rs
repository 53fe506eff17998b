//! The engine on RabbitMQ, on a real broker.

mod events;
mod jobs;
mod locks;
mod proxy;
mod publishing;
mod sessions;
mod support;
