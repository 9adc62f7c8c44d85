DROP TABLE topics, boards, changes, transactions, identity;
DROP SEQUENCE revision_seq;
DROP FUNCTION topics_before, transaction_begun, topics_inserted, topics_deleted, topics_updated, topics_truncated,
    boards_changed, transaction_stamped;
