//! LISTEN and NOTIFY, on one connection of their own.
//!
//! Other programs' commits notify by the trigger. Ours stay silent inside the transaction, where
//! NOTIFY would make commits wait for each other, and this connection says it after them. LISTEN
//! sessions die silently, so this one is asked for a sign of life.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::poll_fn};
use tokio::{sync::Notify, time::timeout};
use tokio_postgres::{AsyncMessage, Client, Connection, tls::MakeTlsConnect};
use tokio_util::sync::CancellationToken;

use super::tls::{self, Dsn};
use crate::follower::Wake;

const HEARTBEAT: Duration = Duration::from_secs(10);
const HEARTBEAT_LIMIT: Duration = Duration::from_secs(5);
const RETRY: Duration = Duration::from_secs(2);

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Keeps a session until told to stop.
pub(super) async fn run(url: &str, wake: &Wake, asked: &Notify, stop: &CancellationToken) {
    let mut known_bad = false;
    while !stop.is_cancelled() {
        let session = async {
            let mut session = Session::open(url, wake.clone()).await?;
            tracing::info!(channel = session.channel, "listening for notifications");
            session.serve(asked).await
        };
        let ended = tokio::select! {
            () = stop.cancelled() => return,
            ended = session => ended,
        };
        if let Err(error) = ended {
            if !known_bad {
                tracing::warn!(error, "no notifications for now; polling goes on");
            }
            known_bad = true;
        } else {
            known_bad = false;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(RETRY) => {}
        }
    }
}

struct Session {
    client: Client,
    channel: String,
    /// Marks our own messages, which tell us nothing.
    node: String,
    /// Drives the connection; the session ends with it.
    driver: tokio::task::JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Session {
    async fn open(url: &str, wake: Wake) -> Result<Self, String> {
        let node = format!("{:016x}", getrandom::u64().map_err(|error| error.to_string())?);
        let dsn = Dsn::parse(url)?;
        let (client, driver) = match tls::connector(&dsn)? {
            Some(connector) => connect(&dsn, connector, wake.clone(), node.clone()).await,
            None => connect(&dsn, tokio_postgres::NoTls, wake.clone(), node.clone()).await,
        }
        .map_err(|error| described(error.as_ref()))?;
        let mut session = Self { client, channel: String::new(), node, driver };
        session.listen().await.map_err(|error| described(&error))?;
        // What was committed before LISTEN told nobody.
        wake.wake();
        Ok(session)
    }

    async fn listen(&mut self) -> Result<(), tokio_postgres::Error> {
        let row = self
            .client
            .query_one("SELECT 'kairanban_' || current_schema(), quote_ident('kairanban_' || current_schema())", &[])
            .await?;
        self.channel = row.get(0);
        let quoted: String = row.get(1);
        self.client.batch_execute(&format!("LISTEN {quoted}")).await
    }

    /// Ends only by an error, described.
    async fn serve(&mut self, asked: &Notify) -> Result<(), String> {
        loop {
            tokio::select! {
                _ = &mut self.driver => return Err("the connection ended".to_owned()),
                () = asked.notified() => self.query("SELECT pg_notify($1, $2)", &[&self.channel, &self.node]).await?,
                () = tokio::time::sleep(HEARTBEAT) => self.query("SELECT", &[]).await?,
            }
        }
    }

    async fn query(&self, text: &str, values: &[&(dyn tokio_postgres::types::ToSql + Sync)]) -> Result<(), String> {
        match timeout(HEARTBEAT_LIMIT, self.client.execute(text, values)).await {
            Ok(done) => done.map(drop).map_err(|error| described(&error)),
            Err(_) => Err("the session does not answer".to_owned()),
        }
    }
}

/// An error with its causes: tokio-postgres says only what it was doing.
fn described(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn connect<T>(dsn: &Dsn, tls: T, wake: Wake, node: String) -> Result<(Client, tokio::task::JoinHandle<()>), Failure>
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
            AsyncMessage::Notification(heard) if heard.payload() != node => wake.wake(),
            _ => {}
        }
    }
}
