"""Uses the client that openapi-python-client made: lists, posts, is refused, administers.

    generated.py URL TOKEN
"""

import sys

from kairanban_client import AuthenticatedClient, Client
from kairanban_client.api.boards import delete_board_info, get_board_info, get_boards, patch_board_info, post_board_info
from kairanban_client.api.server import get_stats
from kairanban_client.api.tokens import get_tokens, post_token
from kairanban_client.api.topics import delete_topic, get_changes, get_topic, get_topics, patch_topic, post_topic, restore_topic
from kairanban_client.models import Board, BoardChange, BoardDraft, ChangeKind, Draft, Edit, LiveList, PostPolicy, Problem, Scope, TokenDraft, Topic

COMMENT = "by openapi-python-client: \u2028 \"quotes\" 回覧板\nand lines"


def reads_and_posts(client):
    boards = get_boards.sync(client=client, limit=10)
    assert [board.name for board in boards.boards] == ["main"], boards
    posted = post_topic.sync("main", client=client, body=Draft(comment=COMMENT, author="ann"), idempotency_key="once")
    again = post_topic.sync("main", client=client, body=Draft(comment=COMMENT, author="ann"), idempotency_key="once")
    assert isinstance(posted, Topic) and posted == again and posted.edited_at is None, posted
    answer = get_topics.sync_detailed("main", client=client)
    listed = answer.parsed
    assert isinstance(listed, LiveList) and listed.topics[-1] == posted, listed
    same = get_topics.sync_detailed("main", client=client, if_none_match=answer.headers["etag"])
    assert same.status_code == 304 and same.parsed is None, same
    found = get_topics.sync("main", client=client, q="QUOTES", limit=1)
    assert [topic.id for topic in found.topics] == [posted.id] and found.searched.complete, found
    changes = get_changes.sync("main", client=client)
    assert changes.changes[-1].topic_id == posted.id and changes.changes[-1].kind == ChangeKind.SET, changes
    return posted


def is_refused(client):
    empty = post_topic.sync_detailed("main", client=client, body=Draft(comment=" "))
    assert empty.status_code == 422 and isinstance(empty.parsed, Problem), empty
    assert [fault.field for fault in empty.parsed.errors] == ["comment"], empty.parsed
    missing = get_topics.sync("nowhere", client=client)
    assert isinstance(missing, Problem) and missing.code == "not_found", missing
    forbidden = get_stats.sync(client=client)
    assert isinstance(forbidden, Problem) and forbidden.status == 401, forbidden


def administers(client, topic):
    edited = patch_topic.sync("main", topic.id, client=client, body=Edit(comment="edited"))
    assert isinstance(edited, Topic) and edited.comment == "edited" and edited.edited_at is not None, edited
    assert delete_topic.sync_detailed("main", topic.id, client=client).status_code == 204
    restored = restore_topic.sync("main", topic.id, client=client)
    assert restored.comment == get_topic.sync("main", topic.id, client=client).comment == "edited"
    made = post_board_info.sync(client=client, body=BoardDraft(name="lost"))
    assert isinstance(made, Board) and made.post == PostPolicy.OPEN, made
    patch_board_info.sync("lost", client=client, body=BoardChange(title="Lost and found", post=PostPolicy.CLOSED))
    assert get_board_info.sync("lost", client=client).title == "Lost and found"
    assert delete_board_info.sync_detailed("lost", client=client).status_code == 204
    token = post_token.sync(client=client, body=TokenDraft(name="bot", scope=Scope.POST))
    assert token.token and token.id in [known.id for known in get_tokens.sync(client=client).tokens]
    assert get_stats.sync(client=client).version


def main():
    url, token = sys.argv[1:]
    client = Client(base_url=url)
    topic = reads_and_posts(client)
    is_refused(client)
    administers(AuthenticatedClient(base_url=url, token=token), topic)


main()
