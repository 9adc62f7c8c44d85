//! Notifies by Redis, with PUBLISH and SUBSCRIBE.

use std::sync::Arc;

use futures_util::StreamExt as _;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::{sync::Notify, time::timeout};

use super::{HEARTBEAT_LIMIT, Transport, heartbeat, node_name};
use crate::{follower::Wake, metrics::WakeSource, shared_snapshots::Redis};

pub(super) struct RedisTransport {
    pub(super) redis: Redis,
    pub(super) channel: String,
    pub(super) wake: Wake,
    pub(super) announce: Arc<Notify>,
}

impl Transport for RedisTransport {
    const NAME: &'static str = "Redis";
    type Connection = RedisConnection;

    async fn open(&self) -> Result<RedisConnection, String> {
        let connection = RedisConnection::open(&self.redis, &self.channel).await?;
        tracing::info!(channel = self.channel, "subscribed in Redis");
        // Commits before the subscription sent no message here.
        self.wake.wake(WakeSource::Redis);
        Ok(connection)
    }

    async fn serve(&self, mut connection: RedisConnection) -> String {
        let mut beat = heartbeat();
        loop {
            let done = tokio::select! {
                message = connection.messages.next() => match message {
                    None => return "the connection ended".to_owned(),
                    Some(message) => {
                        if message.get_payload_bytes() != connection.node.as_bytes() {
                            self.wake.hint(WakeSource::Redis);
                        }
                        Ok(())
                    }
                },
                () = self.announce.notified() => {
                    self.redis.publish(&self.channel, &connection.node).await
                }
                _ = beat.tick() => connection.is_alive().await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }
}

pub(super) struct RedisConnection {
    node: String,
    messages: PubSubStream,
    /// Sends the PINGs that check the connection.
    control: PubSubSink,
}

impl RedisConnection {
    async fn open(redis: &Redis, channel: &str) -> Result<Self, String> {
        let opened = async {
            let (mut control, messages) = redis.client().get_async_pubsub().await?.split();
            control.subscribe(channel).await?;
            Ok::<_, redis::RedisError>((control, messages))
        };
        let opened = timeout(HEARTBEAT_LIMIT, opened)
            .await
            .map_err(|_| "Redis does not answer".to_owned())?;
        let (control, messages) = opened.map_err(|error| error.to_string())?;
        Ok(Self {
            node: node_name()?,
            messages,
            control,
        })
    }

    async fn is_alive(&mut self) -> Result<(), String> {
        match timeout(HEARTBEAT_LIMIT, self.control.ping::<redis::Value>()).await {
            Ok(answer) => answer.map(drop).map_err(|error| error.to_string()),
            Err(_) => Err("the subscription does not answer".to_owned()),
        }
    }
}
