//! Triggers as owners of a database make them, generated: when they fire, for which rows, what they
//! do, and whether before or after ours. Whatever they do, an answer is what is committed, and
//! readers are shown it.

use kairanban_core::Topic;
use kairanban_store::{StoreError, WriteResult, Writer};

use crate::{
    contract::futures,
    place::{DatabaseKind, Foreign, Place, edit_topic, main, post, run, written_topic},
};

/// When a trigger fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Timing {
    Before,
    After,
    /// At the commit, as a constraint that is deferred.
    Deferred,
}

use Timing::{After, Before, Deferred};

/// What a trigger does, when it can, and whether it refuses its row then.
#[derive(Clone, Copy, Debug)]
struct Action {
    does: &'static str,
    timings: &'static [Timing],
    refuses: fn(Timing, &str) -> bool,
}

const fn action(
    does: &'static str,
    timings: &'static [Timing],
    refuses: fn(Timing, &str) -> bool,
) -> Action {
    Action {
        does,
        timings,
        refuses,
    }
}

const ON_POSTGRES: &[Action] = &[
    action(
        "NEW.updated_at := clock_timestamp(); RETURN NEW;",
        &[Before],
        |_, _| false,
    ),
    action(
        "IF NEW.comment NOT LIKE '%!' THEN NEW.comment := NEW.comment || '!'; END IF; RETURN NEW;",
        &[Before],
        |_, _| false,
    ),
    // A new row has no OLD.
    action(
        "RETURN OLD;",
        &[Before, After, Deferred],
        |timing, event| timing == Before && event == "INSERT",
    ),
    action("RETURN NULL;", &[Before, After, Deferred], |timing, _| {
        timing == Before
    }),
    action(
        "RAISE EXCEPTION 'not this';",
        &[Before, After, Deferred],
        |_, _| true,
    ),
    action(
        "UPDATE topics SET updated_at = '2001-01-01' WHERE id = NEW.id \
         AND updated_at > '2001-01-01'; RETURN NULL;",
        &[After, Deferred],
        |_, _| false,
    ),
    action(
        "UPDATE topics SET comment = comment || '!' WHERE id = NEW.id AND comment NOT LIKE '%!'; \
         RETURN NULL;",
        &[After, Deferred],
        |_, _| false,
    ),
    action(
        "DELETE FROM topics WHERE id = NEW.id; RETURN NULL;",
        &[After, Deferred],
        |_, _| true,
    ),
    action(
        "IF NEW.comment NOT LIKE 'beside%' THEN INSERT INTO topics (comment, board_id) \
         VALUES ('beside ' || NEW.comment, NEW.board_id); END IF; RETURN NULL;",
        &[After, Deferred],
        |_, _| false,
    ),
];

const ON_SQLITE: &[Action] = &[
    action("SELECT 1;", &[Before, After], |_, _| false),
    action(
        "SELECT RAISE(ABORT, 'not this');",
        &[Before, After],
        |_, _| true,
    ),
    action("SELECT RAISE(IGNORE);", &[Before], |_, _| true),
    action(
        "UPDATE topics SET updated_at = strftime('%Y-%m-%d %H:%M:%f', 'now') WHERE id = NEW.id;",
        &[After],
        |_, _| false,
    ),
    action(
        "UPDATE topics SET comment = comment || '!' WHERE id = NEW.id AND comment NOT LIKE '%!';",
        &[After],
        |_, _| false,
    ),
    action("DELETE FROM topics WHERE id = NEW.id;", &[After], |_, _| {
        true
    }),
    action(
        "INSERT INTO topics (comment, board_id) SELECT 'beside ' || NEW.comment, NEW.board_id \
         WHERE NEW.comment NOT LIKE 'beside%';",
        &[After],
        |_, _| false,
    ),
];

/// Sorted before ours, between them, and behind most.
const NAMES: [&str; 3] = ["a_trigger", "topics_c", "zzzz_trigger"];

/// A trigger as it is made, and where.
#[derive(Clone, Copy, Debug)]
struct OwnerTrigger {
    kind: DatabaseKind,
    name: &'static str,
    timing: Timing,
    event: &'static str,
    action: Action,
    /// How the comments begin for which it fires, if not for all.
    only: Option<&'static str>,
}

impl OwnerTrigger {
    fn all(kind: DatabaseKind) -> Vec<Self> {
        let (actions, names) = match kind {
            DatabaseKind::Postgres => (ON_POSTGRES, &NAMES[..]),
            // There no order is promised.
            DatabaseKind::Sqlite => (ON_SQLITE, &NAMES[..1]),
        };
        let mut all = Vec::new();
        for action in actions {
            for timing in action.timings {
                for event in ["INSERT", "UPDATE"] {
                    for name in names {
                        all.extend([None, Some("bad")].map(|only| Self {
                            kind,
                            name,
                            timing: *timing,
                            event,
                            action: *action,
                            only,
                        }));
                    }
                }
            }
        }
        // SQLite fires no trigger within itself: topics that are inserted while another one is
        // stamped wait for the reconcile.
        all.retain(|trigger| {
            kind == DatabaseKind::Postgres
                || trigger.event == "INSERT"
                || !trigger.action.does.starts_with("INSERT")
        });
        all
    }

    fn sql(&self) -> String {
        let Self {
            name,
            event,
            action: Action { does, .. },
            ..
        } = self;
        let (constraint, timing, deferred) = match self.timing {
            Before => ("", "BEFORE", ""),
            After => ("", "AFTER", ""),
            Deferred => ("CONSTRAINT", "AFTER", "DEFERRABLE INITIALLY DEFERRED"),
        };
        let only = self.only.map_or(String::new(), |only| {
            format!("WHEN (NEW.comment LIKE '{only}%')")
        });
        match self.kind {
            DatabaseKind::Postgres => format!(
                "CREATE OR REPLACE FUNCTION owners() RETURNS trigger LANGUAGE plpgsql AS $$ \
                 BEGIN {does} END $$;
                 CREATE {constraint} TRIGGER {name} {timing} {event} ON topics {deferred} \
                 FOR EACH ROW {only} EXECUTE FUNCTION owners()"
            ),
            DatabaseKind::Sqlite => {
                format!("CREATE TRIGGER {name} {timing} {event} ON topics {only} BEGIN {does} END")
            }
        }
    }

    fn drop(&self) -> String {
        match self.kind {
            DatabaseKind::Postgres => format!("DROP TRIGGER {} ON topics", self.name),
            DatabaseKind::Sqlite => format!("DROP TRIGGER {}", self.name),
        }
    }

    fn refuses(&self, comment: &str) -> bool {
        (self.action.refuses)(self.timing, self.event)
            && self.only.is_none_or(|only| comment.starts_with(only))
    }
}

/// A board whose owner has made a trigger.
struct Triggered<'p> {
    place: &'p Place,
    foreign: Foreign,
    writer: Writer,
}

impl Triggered<'_> {
    /// An answer is the row as it is committed.
    #[track_caller]
    fn assert_committed(&self, topic: &Topic, trigger: &OwnerTrigger) {
        let row = self.place.store.topic(&main(), topic.id);
        assert_eq!(row.as_ref().ok(), Some(topic), "{row:?}, {trigger:?}");
    }

    /// No topic without a revision, and none that the log has nothing of.
    #[track_caller]
    fn assert_logged(&mut self, trigger: &OwnerTrigger) {
        let unlogged = self.foreign.ask(
            "SELECT count(*) FROM topics t WHERE NOT EXISTS (SELECT 1 FROM changes c \
             WHERE c.topic_id = t.id AND c.board_id = t.board_id AND c.kind = 'set' \
             AND c.revision = t.revision) \
             OR EXISTS (SELECT 1 FROM changes WHERE coalesce(revision, 0) = 0)",
        );
        assert_eq!(unlogged, "0", "{trigger:?}");
    }

    fn assert_posts(&mut self, trigger: &OwnerTrigger, number: usize) {
        let posts = ["good", "bad", "good too", "bad too", "fine"]
            .map(|comment| format!("{comment} {number}"));
        let answers = run(futures(
            posts.iter().map(|comment| self.writer.write(post(comment))),
        ));
        for (comment, answer) in posts.iter().zip(answers) {
            match answer {
                Ok(WriteResult::Topic(topic)) if !trigger.refuses(comment) => {
                    self.assert_committed(&topic, trigger);
                }
                Err(StoreError::Refused(_)) if trigger.refuses(comment) => {
                    let there =
                        format!("SELECT count(*) FROM topics WHERE comment LIKE '{comment}%'");
                    assert_eq!(self.foreign.ask(&there), "0", "{comment}: {trigger:?}");
                }
                other => panic!("{comment}: {other:?}, {trigger:?}"),
            }
        }
        self.assert_logged(trigger);
    }

    /// Another program's rows, and an edit: written and logged, or refused.
    fn assert_others(&mut self, trigger: &OwnerTrigger, topic: &Topic) {
        for comment in ["bad of another", "good of another"] {
            let insert = format!("INSERT INTO topics (board_id, comment) VALUES (1, '{comment}')");
            let is_refused = self.foreign.try_run(&insert).is_err();
            assert!(
                !is_refused || trigger.refuses(comment),
                "{comment}: {trigger:?}"
            );
            self.assert_logged(trigger);
        }
        let edit = edit_topic(topic.id, &format!("bad {}", trigger.name), None);
        match run(self.writer.write(edit)) {
            Ok(WriteResult::Topic(topic)) => self.assert_committed(&topic, trigger),
            Err(StoreError::Refused(_) | StoreError::NoSuchTopic(_)) => {}
            other => panic!("{other:?}, {trigger:?}"),
        }
        self.assert_logged(trigger);
    }
}

crate::on_both!(whatever_an_owners_trigger_does_an_answer_is_what_is_committed);

fn whatever_an_owners_trigger_does_an_answer_is_what_is_committed(place: &Place) {
    let (writer, _) = place.writer();
    let mut board = Triggered {
        foreign: place.foreign(),
        place,
        writer,
    };
    for (number, trigger) in OwnerTrigger::all(place.kind).iter().enumerate() {
        board.foreign.run("DELETE FROM topics");
        let topic = written_topic(run(board.writer.write(post("before"))));
        board.foreign.run(&trigger.sql());
        board.assert_posts(trigger, number);
        board.assert_others(trigger, &topic);
        board.foreign.run(&trigger.drop());
        assert_eq!(board.writer.health().fault(), None, "{trigger:?}");
    }
}
