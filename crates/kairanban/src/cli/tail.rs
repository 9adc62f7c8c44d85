//! `kairanban tail`: follows a board. Stdout has data only; what concerns the server or the
//! connection is on stderr.

mod command;
mod events;
mod help;
mod printed;
mod state;

use std::{io, path::PathBuf, str::FromStr, time::Instant};

use chrono::{SecondsFormat, Utc};
use clap::Args;
use kairanban_client::{BoardCopy, ClientError, Follow, FollowEvent, ListedTopic};
use kairanban_core::{BoardName, Cursor, StartAt};

pub(super) use self::help::HELP;
use self::{
    command::TopicCommand,
    events::{EventKind, ShownTopics, TopicEvent},
    printed::Style,
    state::StateFile,
};
use super::{
    console::{self, ColourChoice},
    remote::{Remote, RemoteArgs},
};
use crate::{exit::ExitError, shutdown::Signals};

/// Topics to begin with.
const LINES: usize = 10;

/// How many topics to begin with.
#[derive(Clone, Copy, Debug)]
struct LineCount(usize);

impl FromStr for LineCount {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self(usize::MAX)),
            _ => text
                .parse()
                .map(Self)
                .map_err(|_| "write a whole number, or `all`"),
        }
    }
}

#[derive(Args, Clone, Debug)]
pub(super) struct Tail {
    /// Name of the board
    board: BoardName,
    /// Begin with the newest topics of the list, this many, or `all` [default: 10; with --exec: 0;
    /// with --since: all of that]
    #[arg(short = 'n', long, value_name = "NUMBER", allow_hyphen_values = true)]
    lines: Option<LineCount>,
    /// Begin with the topics of the list that were posted or edited after this: a time ago, as in
    /// 10m (s, m, h or d), a cursor, `now` or `earliest`
    #[arg(long, value_name = "WHEN")]
    since: Option<StartAt>,
    /// Keep in this file what was shown, and continue there at the next start
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Show only these events, with commas between them [default: all but touched; with --json:
    /// all; with --exec: new]
    #[arg(long, value_delimiter = ',', value_name = "EVENT")]
    events: Vec<EventKind>,
    /// Print a JSON object for each event, a line each
    #[arg(long)]
    json: bool,
    /// Run a command for each topic, which it finds in variables and on standard input
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// End after the list, instead of waiting for more
    #[arg(long)]
    no_follow: bool,
    /// End with an error at the first state that is not the server's, instead of reading the list
    /// again
    #[arg(long)]
    verify: bool,
    /// Print times in UTC, as in 2026-11-28T09:41:00Z, instead of the local zone
    #[arg(long)]
    utc: bool,
    /// When to print colours
    #[arg(long, value_enum, default_value_t = ColourChoice::Auto, value_name = "WHEN")]
    color: ColourChoice,
    #[command(flatten)]
    remote: RemoteArgs,
}

impl Tail {
    /// Shows the list, then what happens, until a signal comes or stdout is closed. `here` is where
    /// this configuration would serve.
    pub(super) async fn run(self, here: &str) -> Result<(), ExitError> {
        let mut signals = Signals::new()?;
        let session = TailSession::new(self, here)?;
        // On a thread of its own: where stdout takes nothing, a signal ends it all the same.
        let showing = tokio::spawn(session.run());
        tokio::select! {
            ended = showing => match ended {
                Ok(ended) => ended,
                Err(fault) => Err(ExitError::Failed(fault.to_string())),
            },
            signal = signals.next() => Err(ExitError::Signal(signal?)),
            () = console::closed() => Ok(()),
        }
    }

    /// Returns whether a kind of events is shown.
    fn shows(&self, kind: EventKind) -> bool {
        match kind {
            // It was asked for by -n or --since.
            EventKind::Listed => true,
            _ if !self.events.is_empty() => self.events.contains(&kind),
            EventKind::New => true,
            _ if self.exec.is_some() => false,
            EventKind::Touched => self.json,
            _ => true,
        }
    }

    /// Selects the topics to begin with.
    fn topics_to_begin_with<'a>(&self, copy: &'a BoardCopy) -> Vec<&'a ListedTopic> {
        let lines = match (self.lines, &self.since, &self.exec) {
            (Some(LineCount(lines)), ..) => lines,
            (None, Some(_), _) => usize::MAX,
            (None, None, Some(_)) => 0,
            (None, None, None) => LINES,
        };
        let wanted = copy
            .topics()
            .filter(|topic| self.is_after_since(topic, copy));
        let mut wanted: Vec<_> = wanted.collect();
        wanted.drain(..wanted.len().saturating_sub(lines));
        wanted
    }

    fn is_after_since(&self, topic: &ListedTopic, copy: &BoardCopy) -> bool {
        match &self.since {
            Some(StartAt::Now) => false,
            Some(StartAt::Ago(time)) => {
                let written = topic.edited_at.unwrap_or(topic.created_at);
                let ago = chrono::TimeDelta::from_std(*time).ok();
                ago.and_then(|ago| Utc::now().checked_sub_signed(ago))
                    .is_none_or(|then| written >= then)
            }
            Some(since) => since.cursor().is_none_or(|since| {
                let now = copy
                    .cursor()
                    .and_then(|cursor| cursor.parse::<Cursor>().ok());
                // Of another history, it says nothing about this one.
                now.is_none_or(|now| now.epoch != since.epoch)
                    || topic.revision > since.revision.get()
            }),
            None => true,
        }
    }
}

/// Why showing a board came to its end.
enum TailEnd {
    /// Broken pipe: stdout was closed, for example by `head`.
    ReaderGone,
    Failed(ExitError),
}

impl From<ExitError> for TailEnd {
    fn from(error: ExitError) -> Self {
        Self::Failed(error)
    }
}

impl From<serde_json::Error> for TailEnd {
    fn from(error: serde_json::Error) -> Self {
        Self::Failed(ExitError::from(error))
    }
}

/// A board being followed, and what of it was shown.
struct TailSession {
    tail: Tail,
    remote: Remote,
    follow: Follow,
    style: Style,
    command: Option<TopicCommand>,
    state: Option<StateFile>,
    /// `None` before the first list, unless the file of the last start has it.
    shown: Option<ShownTopics>,
    is_live: bool,
    lost_at: Option<Instant>,
}

impl TailSession {
    fn new(tail: Tail, here: &str) -> Result<Self, ExitError> {
        let remote = tail.remote.connect(here)?;
        let opened = tail
            .state
            .as_ref()
            .map(|path| StateFile::open(path, &tail.board));
        let (state, shown) = opened
            .transpose()?
            .map_or((None, None), |(file, shown)| (Some(file), shown));
        let command = tail.exec.as_ref().map(|script| TopicCommand {
            script: script.clone(),
            address: remote.address.clone(),
            board: tail.board.to_string(),
        });
        Ok(Self {
            follow: remote.client.follow(tail.board.clone()),
            style: Style {
                colour: tail.color.is_on(),
                width: None,
                utc: tail.utc,
            },
            tail,
            remote,
            command,
            state,
            shown,
            is_live: false,
            lost_at: None,
        })
    }

    async fn run(mut self) -> Result<(), ExitError> {
        match self.show_all().await {
            Ok(()) | Err(TailEnd::ReaderGone) => Ok(()),
            Err(TailEnd::Failed(error)) => Err(error),
        }
    }

    async fn show_all(&mut self) -> Result<(), TailEnd> {
        loop {
            match self.follow.next().await {
                Ok(FollowEvent::List) => self.show_list().await?,
                Ok(FollowEvent::Changed(steps)) => {
                    let shown = self.shown.get_or_insert_default();
                    let events = shown.compare_steps(&steps, self.follow.copy());
                    self.show(events).await?;
                }
                Ok(event) => self.report(&event)?,
                Err(error @ ClientError::Differs { .. }) if !self.tail.verify => {
                    self.remote.note(&format!("{error}; reading it again"));
                }
                Err(error) => return Err(self.remote.explain(&error).into()),
            }
            if self.is_live && self.tail.no_follow {
                return Ok(());
            }
        }
    }

    /// Reports what is no data.
    fn report(&mut self, event: &FollowEvent) -> Result<(), ExitError> {
        match event {
            FollowEvent::Lost(why) if self.tail.no_follow => {
                return Err(self.remote.explain(&ClientError::Unavailable(why.clone())));
            }
            FollowEvent::Lost(why) => {
                self.lost_at = Some(Instant::now());
                self.remote.note(&format!("{why}; trying again"));
            }
            FollowEvent::Back => {
                let away = self.lost_at.take().map_or(0, |at| at.elapsed().as_secs());
                let back = if self.is_live {
                    "back again"
                } else {
                    "connected"
                };
                self.remote.note(&format!("{back} after {away} s"));
            }
            FollowEvent::Stale(since) => self.remote.note(&format!(
                "its database is away since {}; the list may be out of date",
                since.to_rfc3339_opts(SecondsFormat::Secs, true)
            )),
            FollowEvent::Fresh => self.remote.note("its database is back again"),
            FollowEvent::Ended(_) | FollowEvent::List | FollowEvent::Changed(_) => {}
        }
        Ok(())
    }

    /// Shows what a whole list says: at the beginning, what was asked for; later, what changed.
    async fn show_list(&mut self) -> Result<(), TailEnd> {
        let copy = self.follow.copy();
        if let Some(shown) = &self.shown {
            let events = shown.compare_list(copy);
            self.show(events).await?;
        } else {
            let mut shown = ShownTopics::default();
            shown.record_list(copy);
            let first = self.tail.topics_to_begin_with(copy).into_iter();
            let first = first.map(|topic| TopicEvent::of(EventKind::Listed, topic.clone()));
            let first = first.collect();
            self.shown = Some(shown);
            self.show(first).await?;
        }
        if !std::mem::replace(&mut self.is_live, true) && self.tail.json && self.command.is_none() {
            print(&printed::json_live(self.follow.copy(), &self.tail.board)?)?;
        }
        Ok(())
    }

    /// Shows events, and remembers each once it was shown.
    async fn show(&mut self, events: Vec<TopicEvent>) -> Result<(), TailEnd> {
        self.style.width = console::width();
        for event in events {
            if self.tail.shows(event.kind) {
                self.show_one(&event).await?;
            }
            self.shown.get_or_insert_default().record(&event);
            if self.command.is_some() {
                self.remember()?;
            }
        }
        self.remember()?;
        Ok(())
    }

    async fn show_one(&mut self, event: &TopicEvent) -> Result<(), TailEnd> {
        let Some(command) = &self.command else {
            return print(&if self.tail.json {
                printed::json(event, &self.tail.board)?
            } else {
                self.style.event(event)
            });
        };
        let input = match &event.topic {
            _ if self.tail.json => printed::json(event, &self.tail.board)?,
            Some(topic) => format!("{}\n", topic.comment),
            None => String::new(),
        };
        let ended = command.run(event, input).await;
        let ended = ended.map_err(|error| {
            ExitError::Failed(format!("--exec: the command cannot be started: {error}"))
        })?;
        if !ended.success() {
            let id = event.id;
            self.remote
                .note(&format!("the command for topic {id} ended with {ended}"));
        }
        Ok(())
    }

    /// Keeps what was shown for the next start.
    fn remember(&self) -> Result<(), ExitError> {
        match (&self.state, &self.shown) {
            (Some(state), Some(shown)) => state.write(shown),
            _ => Ok(()),
        }
    }
}

fn print(text: &str) -> Result<(), TailEnd> {
    // What reads it may wait: signals are heard on the other threads meanwhile.
    tokio::task::block_in_place(|| super::print(text)).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => TailEnd::ReaderGone,
        _ => TailEnd::Failed(error.into()),
    })
}
