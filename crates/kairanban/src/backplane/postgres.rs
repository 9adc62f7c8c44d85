//! Notifies by Postgres, with LISTEN and NOTIFY on a connection of its own.
//!
//! Other programs' commits notify by the trigger. Ours stay silent inside the transaction, where
//! NOTIFY would make commits wait for each other; this connection notifies after them. LISTEN
//! connections die silently, so this one is checked.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream::poll_fn};
use kairanban_store::{DatabaseAddress, Timeouts, channel_sql, is_pooled, without_secrets};
use tokio::{sync::Notify, task::JoinHandle, time::timeout};
use tokio_postgres::{
    AsyncMessage, Client, Connection,
    tls::MakeTlsConnect,
    types::{ToSql, Type},
};

use super::{
    HEARTBEAT_LIMIT, Transport, described, heartbeat, node_name,
    tls::{self, Dsn},
};
use crate::{blocking::blocking, config::SecretText, follower::Wake, metrics::WakeSource};

type Failure = Box<dyn std::error::Error + Send + Sync>;

pub(super) struct ListenTransport {
    pub(super) url: SecretText,
    pub(super) timeouts: Timeouts,
    pub(super) wake: Wake,
    pub(super) announce: Arc<Notify>,
}

impl Transport for ListenTransport {
    const NAME: &'static str = "LISTEN";
    type Connection = ListenConnection;

    async fn open(&self) -> Result<ListenConnection, String> {
        let connection = ListenConnection::open(self.url.expose(), self.wake.clone()).await?;
        if self.is_pooled().await? {
            // A LISTEN would stay on a connection that other programs are lent (ADR 15). This one
            // may still notify.
            tracing::warn!("{POOLER}");
        } else {
            connection
                .listen()
                .await
                .map_err(|error| described(&error))?;
            tracing::info!(channel = connection.channel, "listening for notifications");
        }
        // Commits before the subscription sent no message here.
        self.wake.wake(WakeSource::Listen);
        Ok(connection)
    }

    async fn serve(&self, mut connection: ListenConnection) -> String {
        let mut beat = heartbeat();
        loop {
            let done = tokio::select! {
                _ = &mut connection.driver => return "the connection ended".to_owned(),
                () = self.announce.notified() => connection.notify().await,
                _ = beat.tick() => connection.is_alive().await,
            };
            if let Err(error) = done {
                return error;
            }
        }
    }
}

impl ListenTransport {
    async fn is_pooled(&self) -> Result<bool, String> {
        let (address, timeouts) = (
            DatabaseAddress::Postgres(self.url.expose().to_owned()),
            self.timeouts,
        );
        let asked = blocking(move || is_pooled(&address, timeouts));
        match timeout(HEARTBEAT_LIMIT, asked).await {
            Ok(pooled) => pooled.map_err(|error| error.to_string()),
            Err(_) => Err("the connection does not answer".to_owned()),
        }
    }
}

const POOLER: &str = "a transaction pooler (PgBouncer with pool_mode=transaction, or one like it) \
    stands before Postgres, and loses notifications: point database.listen_url past it. Until then \
    commits of other programs and nodes show after database.poll_ms";

pub(super) struct ListenConnection {
    client: Client,
    channel: String,
    /// Marks our own messages, which are ignored.
    node: String,
    /// Drives the connection, which ends with it.
    driver: JoinHandle<()>,
}

impl Drop for ListenConnection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl ListenConnection {
    async fn open(url: &str, wake: Wake) -> Result<Self, String> {
        let node = node_name()?;
        let (client, driver) = connect(url, wake, node.clone()).await?;
        // Owned from here on, so that dropping it ends the connection.
        let mut connection = Self {
            client,
            channel: String::new(),
            node,
            driver,
        };
        let sql = channel_sql();
        let named = connection.client.query_typed_one(&sql, &[]);
        connection.channel = in_time(named).await?.get(0);
        Ok(connection)
    }

    async fn listen(&self) -> Result<(), tokio_postgres::Error> {
        self.client
            .batch_execute(&format!("LISTEN \"{}\"", self.channel.replace('"', "\"\"")))
            .await
    }

    async fn notify(&self) -> Result<(), String> {
        // With a full queue it would fail. The others poll.
        const NOTIFY: &str = "SELECT pg_notify($1, $2) WHERE pg_notification_queue_usage() <= 0.5";
        // In one step, unlike a prepared statement: a pooler may change the backend between two.
        let values: [(&(dyn ToSql + Sync), Type); 2] =
            [(&self.channel, Type::TEXT), (&self.node, Type::TEXT)];
        in_time(self.client.query_typed(NOTIFY, &values))
            .await
            .map(drop)
    }

    async fn is_alive(&self) -> Result<(), String> {
        in_time(self.client.simple_query("SELECT")).await.map(drop)
    }
}

async fn in_time<T>(
    query: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, String> {
    match timeout(HEARTBEAT_LIMIT, query).await {
        Ok(done) => done.map_err(|error| described(&error)),
        Err(_) => Err("the connection does not answer".to_owned()),
    }
}

async fn connect(url: &str, wake: Wake, node: String) -> Result<(Client, JoinHandle<()>), String> {
    let dsn = Dsn::parse(url)?;
    let connected = match tls::connector(&dsn)? {
        Some(connector) => connect_by(&dsn, connector, wake, node).await,
        None => connect_by(&dsn, tokio_postgres::NoTls, wake, node).await,
    };
    connected.map_err(|error| without_secrets(url, &described(error.as_ref())))
}

async fn connect_by<T>(
    dsn: &Dsn,
    tls: T,
    wake: Wake,
    node: String,
) -> Result<(Client, JoinHandle<()>), Failure>
where
    T: MakeTlsConnect<tokio_postgres::Socket> + 'static,
    T::Stream: Send,
{
    let (client, connection) = dsn.config.connect(tls).await?;
    Ok((client, tokio::spawn(drive(connection, wake, node))))
}

async fn drive<S, T>(mut connection: Connection<S, T>, wake: Wake, node: String)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let mut messages = poll_fn(move |context| connection.poll_message(context));
    while let Some(Ok(message)) = messages.next().await {
        match message {
            AsyncMessage::Notification(sent) if sent.payload() != node => {
                wake.hint(WakeSource::Listen)
            }
            _ => {}
        }
    }
}
