//! What `kairanban tail --help` explains beside the options.

/// Explains what `kairanban tail` prints.
pub const HELP: &str = "\
Each line of stdout is a topic: a mark, its id, the time, author and text, with tabs between the
fields. Further lines of a text begin with a tab. On a terminal, spaces stand for the tabs, and long
lines break between words. The marks:
  =  was on the list at the beginning
  +  new
  ~  edited
  -  deleted; or gone from the list while the connection was lost
  .  archived: the board was full, and newer topics pushed it out

Messages about the server and the connection are on stderr: it is away, it is back again. Lost
connections are opened again for as long as it takes. Every list is compared with the server's by
its digest, and nothing is shown twice or left out, whatever happened to the connection or the
server. With --state that holds across restarts of this command, too.

With --json, each line is an object with a field `event`: listed, new, edited, touched (something
else of the row changed), deleted, archived, left (one of both), with `board`, `id`, and `topic`
unless it is gone; and once live, after the list of the beginning. `cursor` stands on the event that
completes a state: --since takes it.

With --exec, CMD is run by `sh` for each topic, one at a time, in order, and nothing else is printed.
It finds the text on standard input (with --json, the object) and these variables:
  TOPIC_EVENT TOPIC_BOARD TOPIC_ID TOPIC_URL TOPIC_COMMENT TOPIC_AUTHOR TOPIC_CREATED_AT
  TOPIC_UPDATED_AT TOPIC_EDITED_AT TOPIC_REVISION TOPIC_CURSOR
Quote them in CMD, as in \"$TOPIC_COMMENT\". A command that fails is reported on stderr, and the next
topic follows. It is run for new topics; --events names others.

Examples:
  kairanban tail main
  kairanban tail main -n all --no-follow
  kairanban tail main --json | jq -r 'select(.event == \"new\").topic.comment'
  kairanban tail main --exec 'notify-send \"$TOPIC_AUTHOR\" \"$TOPIC_COMMENT\"'
  kairanban tail main --state ~/.main --exec 'mail -s \"On the board\" me@example.org'

Exit status:
  0    stdout was closed, as by `head`; or the list was shown (--no-follow)
  1    the board is gone or private, the server refuses, or a state differs (--verify)
  2    the command line is wrong
  69   the server cannot be reached, or cannot do it now (--no-follow)
  78   the configuration is wrong
  130  ended by Ctrl-C (143 by SIGTERM); a command that runs then is left to end by itself";
