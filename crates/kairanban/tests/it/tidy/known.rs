//! What breaks a rule today, and by how much. An entry may be made smaller, and is removed when the rule is kept; none is added.
//!
//! Lengths and figures are those at the formatter's default width.

type Known = &'static [(&'static str, usize)];

/// Functions over 70 lines, with their lengths.
pub const LONG_FUNCTIONS: Known = &[
    (
        "crates/kairanban-bench/src/contender/peers.rs pocketbase",
        93,
    ),
    ("crates/kairanban-bench/src/measure/growth.rs boards", 71),
    ("crates/kairanban-bench/src/report.rs tables", 91),
    (
        "crates/kairanban-client/tests/following.rs several_boards_share_one_cursor",
        72,
    ),
    (
        "crates/kairanban-store/tests/it/access.rs a_ticket_opens_its_board_for_a_while",
        75,
    ),
    (
        "crates/kairanban-store/tests/it/access.rs policies_say_who_may_read_and_post",
        83,
    ),
    (
        "crates/kairanban-store/tests/it/clocks.rs only_what_is_too_old_is_forgotten",
        126,
    ),
    ("crates/kairanban-store/tests/it/grants.rs everything", 144),
    (
        "crates/kairanban-store/tests/it/public_schema.rs an_older_database_is_mended_and_keeps_what_others_hung_on_it",
        129,
    ),
    ("crates/kairanban-store/tests/it/roles.rs accesses", 101),
    (
        "crates/kairanban-store/tests/it/upgrade.rs rows_of_every_bad_kind_are_mended_and_counted",
        96,
    ),
    ("crates/kairanban/src/net/listener.rs serve", 75),
    ("crates/kairanban/src/server.rs open_bulletin", 88),
    (
        "crates/kairanban/tests/it/access.rs a_private_board_is_not_there_without_a_token",
        79,
    ),
    (
        "crates/kairanban/tests/it/access.rs a_ticket_lets_one_stream_in",
        71,
    ),
    (
        "crates/kairanban/tests/it/access.rs tokens_are_made_and_ended_over_rest",
        101,
    ),
    (
        "crates/kairanban/tests/it/admin.rs an_administrator_edits_and_deletes_and_loses_a_race",
        92,
    ),
    (
        "crates/kairanban/tests/it/admin.rs boards_are_made_and_closed",
        125,
    ),
    (
        "crates/kairanban/tests/it/api.rs what_is_refused_leaves_nothing",
        98,
    ),
    ("crates/kairanban/tests/it/bad_values.rs of_tokens", 71),
    ("crates/kairanban/tests/it/clocks.rs everything_works", 80),
    (
        "crates/kairanban/tests/it/dialects.rs every_dialect_tells_of_the_same_change",
        90,
    ),
    (
        "crates/kairanban/tests/it/dialects.rs lines_of_json_are_the_patch_stream",
        73,
    ),
    (
        "crates/kairanban/tests/it/django.rs an_admin_moves_no_time",
        79,
    ),
    ("crates/kairanban/tests/it/hidden.rs questions", 79),
    ("crates/kairanban/tests/it/oracle/readers.rs follow", 71),
    ("crates/kairanban/tests/it/protocol.rs play", 73),
    (
        "crates/kairanban/tests/it/refusals.rs a_moderating_trigger_refuses_one_post_and_no_other",
        82,
    ),
    (
        "crates/kairanban/tests/it/refusals.rs what_an_administrator_does_is_refused_alone",
        123,
    ),
    (
        "crates/kairanban/tests/it/secrets.rs a_slip_in_the_file_is_named_by_line_and_key_alone",
        110,
    ),
    (
        "crates/kairanban/tests/it/secrets.rs a_variable_that_is_unknown_is_refused_with_the_nearest",
        77,
    ),
    ("crates/kairanban/tests/it/slow_clients.rs points", 72),
    (
        "crates/kairanban/tests/it/sockets.rs a_socket_streams_and_posts",
        93,
    ),
    (
        "crates/kairanban/tests/it/start.rs a_role_without_ddl_serves_a_whole_session",
        87,
    ),
    (
        "crates/kairanban/tests/it/terminal.rs post_and_tail_follow_a_board_through_a_restart",
        72,
    ),
];

/// Files over 400 lines, with their lengths.
pub const LONG_FILES: Known = &[
    ("crates/kairanban-bench/src/contender/peers.rs", 477),
    ("crates/kairanban-bench/src/crowd.rs", 469),
    ("crates/kairanban-client/tests/following.rs", 401),
    ("crates/kairanban-core/src/hub.rs", 593),
    ("crates/kairanban-core/src/live.rs", 844),
    ("crates/kairanban-core/src/snapshot.rs", 450),
    ("crates/kairanban-core/tests/model.rs", 653),
    ("crates/kairanban-store/src/change_log.rs", 521),
    ("crates/kairanban-store/src/classified.rs", 414),
    ("crates/kairanban-store/src/connection.rs", 423),
    ("crates/kairanban-store/src/store.rs", 436),
    ("crates/kairanban-store/tests/it/access.rs", 446),
    ("crates/kairanban-store/tests/it/contract.rs", 669),
    ("crates/kairanban-store/tests/it/public_schema.rs", 544),
    ("crates/kairanban-store/tests/it/roles.rs", 480),
    ("crates/kairanban/src/bulletin/reading.rs", 422),
    ("crates/kairanban/src/config.rs", 632),
    ("crates/kairanban/src/follower.rs", 488),
    ("crates/kairanban/src/http/rest/topics.rs", 491),
    ("crates/kairanban/src/http/stream.rs", 440),
    ("crates/kairanban/src/render.rs", 432),
    ("crates/kairanban/tests/it/access.rs", 576),
    ("crates/kairanban/tests/it/api.rs", 403),
    ("crates/kairanban/tests/it/bad_values.rs", 563),
    ("crates/kairanban/tests/it/clocks.rs", 524),
    ("crates/kairanban/tests/it/node.rs", 577),
    ("crates/kairanban/tests/it/nodes.rs", 456),
    ("crates/kairanban/tests/it/oracle.rs", 410),
    ("crates/kairanban/tests/it/oracle/readers.rs", 420),
    ("crates/kairanban/tests/it/refusals.rs", 747),
    ("crates/kairanban/tests/it/restored.rs", 712),
    ("crates/kairanban/tests/it/secrets.rs", 550),
    ("crates/kairanban/tests/it/slow_clients.rs", 407),
    ("crates/kairanban/tests/it/start.rs", 562),
    ("crates/kairanban/tests/it/streams.rs", 409),
];

/// Modules that import each other, with the number of edges among them.
pub const CYCLES: Known = &[
    (
        "kairanban: auth, backplane, bulletin, follower, reconcile",
        10,
    ),
    ("kairanban: cli, server, start", 5),
    ("kairanban: connection, net", 2),
    ("kairanban::http: pages, rest", 2),
    (
        "kairanban::http::rest: boards, changes, openapi, server, tokens, topics",
        10,
    ),
    ("kairanban_bench: apart, drive, measure", 4),
    ("kairanban_bench: contender, crowd, process, publisher", 5),
    ("kairanban_core: board, policy", 2),
    ("kairanban_core: patch, snapshot", 2),
    (
        "kairanban_store: change_log, classified, connection, history, idempotency, identity, lenient, repository, rights, rows",
        32,
    ),
    ("kairanban_store: files, migrate, start", 3),
    ("kairanban_store: group_commit, writer", 2),
    ("kairanban_store: pool, store", 2),
];

/// Names of several types, with how many.
pub const REPEATED_TYPES: Known = &[
    ("Answer", 2),
    ("Arguments", 2),
    ("Bell", 2),
    ("BoardChange", 2),
    ("Bounds", 2),
    ("Bye", 2),
    ("Change", 2),
    ("Check", 2),
    ("Client", 2),
    ("Command", 2),
    ("Copy", 2),
    ("Draft", 2),
    ("Events", 2),
    ("FanOut", 2),
    ("Form", 2),
    ("Found", 3),
    ("Line", 4),
    ("List", 2),
    ("NewColumns", 2),
    ("NewRow", 2),
    ("News", 2),
    ("Number", 2),
    ("Op", 2),
    ("Outcome", 3),
    ("Parts", 6),
    ("Patch", 2),
    ("Place", 4),
    ("Problem", 2),
    ("Reader", 2),
    ("Ready", 2),
    ("Reason", 2),
    ("Refusal", 2),
    ("Request", 2),
    ("Rounds", 2),
    ("Secret", 2),
    ("Sender", 2),
    ("Server", 2),
    ("Session", 3),
    ("Snapshot", 2),
    ("Stale", 2),
    ("State", 2),
    ("Surroundings", 2),
    ("Tail", 2),
    ("Topic", 2),
    ("Touched", 2),
    ("Verdict", 2),
];

/// Figures that are over their limits.
pub const FIGURES: Known = &[
    ("lines of a function in tests, 95th percentile", 61),
    ("lines of code over 100 columns", 451),
    ("closures bound by `let`", 337),
    ("doc comments of 3 words or fewer", 296),
];
