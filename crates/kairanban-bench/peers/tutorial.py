"""The bulletin board of the Django tutorial: each stream looks once a second into a local-memory cache that lives for
60 s, and the signals of save and delete refresh it."""

import asyncio
import json
from pathlib import Path

import django
from asgiref.sync import sync_to_async
from django.conf import settings

settings.configure(
    DEBUG=False,
    ALLOWED_HOSTS=["*"],
    SECRET_KEY="benchmark",
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=[],
    MIDDLEWARE=[],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": Path(__file__).with_name("board.db")}},
    CACHES={"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "TIMEOUT": 60}},
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
)
django.setup()

from django.core.asgi import get_asgi_application  # noqa: E402
from django.core.cache import cache  # noqa: E402
from django.db import connection, models  # noqa: E402
from django.db.models.signals import post_delete, post_save  # noqa: E402
from django.dispatch import receiver  # noqa: E402
from django.http import HttpResponse, StreamingHttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


class Topic(models.Model):
    comment = models.TextField()

    class Meta:
        app_label = "board"


def read():
    topics = Topic.objects.order_by("-id")[:50]
    contents = json.dumps({"contents": [{"id": topic.id, "comment": topic.comment} for topic in reversed(topics)]})
    cache.set("topics", contents)
    return contents


@receiver([post_save, post_delete], sender=Topic)
def refresh(**_):
    read()


def board(request):
    if request.method == "POST":
        Topic.objects.create(comment=request.POST["comment"])
        return HttpResponse(status=204)
    return HttpResponse("the board")


async def topic_stream(_request):
    async def events():
        sent = None
        while True:
            contents = cache.get("topics") or await sync_to_async(read)()
            if contents != sent:
                sent = contents
                yield f"data: {contents}\n\n"
            await asyncio.sleep(1)

    return StreamingHttpResponse(events(), content_type="text/event-stream")


urlpatterns = [path("", board), path("topic_stream/", topic_stream)]

with connection.schema_editor() as schema:
    schema.create_model(Topic)
application = get_asgi_application()
