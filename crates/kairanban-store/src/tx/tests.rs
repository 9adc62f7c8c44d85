use std::time::Duration;

use diesel::sql_query;

use super::*;
use crate::{DatabaseAddress, OnWait, StoreConfig, Timeouts, history, migrate, sql::Number};

const WAIT_LIMITS: WaitLimits = WaitLimits {
    statement: Duration::from_secs(1),
    lock: Duration::from_secs(1),
};

const INSERT: &str = "INSERT INTO topics (board_id, comment) VALUES (1, 'a')";

fn pool(folder: &tempfile::TempDir) -> Pool {
    let second = Duration::from_secs(1);
    let timeouts = Timeouts {
        connect: second,
        statement: second,
        key: second,
    };
    let address = DatabaseAddress::Sqlite(folder.path().join("board.db"));
    migrate(&address, timeouts, &"main".parse().expect("a name"), false).expect("migrated");
    Pool::open(&StoreConfig {
        address,
        timeouts,
        first_connect: second,
        pool_max: 2,
        pool_abandoned_max: 2,
        pool_wait: second,
        topics_max: 9,
        replay_max: 9,
        resume_max: 9,
        changes_max: 9,
        on_wait: OnWait::default(),
    })
    .expect("a pool")
}

fn insert(connection: &mut AnyConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute(INSERT)?)
}

fn count_topics(pool: &Pool) -> i64 {
    let count = pool.with(|connection| {
        let row: Number =
            sql_query("SELECT count(*) AS number FROM topics").get_result(connection)?;
        Ok(row.number.unwrap_or_default())
    });
    count.expect("a number")
}

#[test]
fn a_commit_has_the_revision_that_was_stamped() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(&folder);
    let mut tx = WriteTx::on_pool(&pool).expect("begun");
    tx.run(insert).expect("written");
    tx.stamp().expect("stamped");
    let stamp = tx.stamped().expect("read").expect("a change");
    tx.commit().expect("committed");
    let last = pool.with(history::newest).expect("read").expect("a row");
    assert_eq!((stamp.revision, stamp.last), (last.revision, Some(last)));
    assert!(stamp.revision > Revision::ZERO && count_topics(&pool) == 1);
}

#[test]
fn a_step_that_fails_rolls_back_and_ends_the_transaction() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(&folder);
    let mut dedicated = pool.dedicated();
    let mut tx = WriteTx::on_dedicated(&mut dedicated, WAIT_LIMITS).expect("begun");
    tx.run(insert).expect("written");
    tx.run(|_| Err::<(), _>(StoreError::KeyReused))
        .expect_err("a failure");
    tx.run(insert).expect_err("it is over");
    tx.commit().expect_err("it is over");
    assert_eq!(count_topics(&pool), 0);
    let mut tx = WriteTx::on_dedicated(&mut dedicated, WAIT_LIMITS).expect("begun");
    tx.run(insert).expect("written");
    tx.commit().expect("committed");
    assert_eq!(count_topics(&pool), 1);
}

#[test]
fn a_transaction_that_is_dropped_is_not_committed() {
    let folder = tempfile::tempdir().expect("a folder");
    let pool = pool(&folder);
    let mut tx = WriteTx::on_pool(&pool).expect("begun");
    tx.run(insert).expect("written");
    drop(tx);
    assert_eq!(count_topics(&pool), 0);
    let mut tx = WriteTx::on_pool(&pool).expect("another connection, and the lock is free");
    tx.run(insert).expect("written");
    tx.commit().expect("committed");
    assert_eq!(count_topics(&pool), 1);
}

/// `query_only` stands for a file that could not be written when it was opened: the connection
/// stays so.
fn make_read_only(connection: &mut AnyConnection) -> Result<(), StoreError> {
    Ok(connection.batch_execute("PRAGMA query_only = ON")?)
}

#[test]
fn connections_from_when_the_file_was_read_only_are_replaced() {
    let folder = tempfile::tempdir().expect("a folder");
    let in_a_transaction = |pool: &Pool| {
        pool.retry_if_outdated(|| {
            let mut tx = WriteTx::on_pool(pool)?;
            tx.run(insert)?;
            tx.commit()
        })
    };
    let by_itself = |pool: &Pool| pool.with_write_lock(insert);
    for (n, attempt) in (1..).zip([in_a_transaction, by_itself]) {
        let pool = pool(&folder);
        pool.with(|one| {
            pool.with(make_read_only)?;
            make_read_only(one)
        })
        .expect("both");
        attempt(&pool).expect("written on another");
        assert_eq!(count_topics(&pool), n);
    }
}
