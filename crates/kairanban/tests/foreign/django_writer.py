"""A Django site that writes to the board's tables through its ORM, as an admin would.

Takes a database URL, then a step by line on stdin, and answers each with "done". Its models are
unmanaged: the tables are kairanban's, a published schema.
"""

import sys
from urllib.parse import urlsplit

import django
from django.conf import settings

url = urlsplit(sys.argv[1])
if url.scheme == "sqlite":
    database = {"ENGINE": "django.db.backends.sqlite3", "NAME": url.netloc + url.path, "OPTIONS": {"timeout": 10}}
else:
    database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": url.path.lstrip("/"),
        "USER": url.username,
        "HOST": url.hostname,
        "PORT": url.port,
    }
settings.configure(DATABASES={"default": database}, USE_TZ=True, TIME_ZONE="Asia/Tokyo", DEFAULT_AUTO_FIELD="django.db.models.BigAutoField")
django.setup()

from django.db import models, transaction  # noqa: E402
from django.utils import timezone  # noqa: E402


class Board(models.Model):
    name = models.TextField(unique=True)
    title = models.TextField(default="")
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        app_label = "board"
        managed = False
        db_table = "boards"


class Topic(models.Model):
    board = models.ForeignKey(Board, on_delete=models.CASCADE)
    comment = models.TextField()
    author = models.TextField(default="")
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    archived = models.BooleanField(default=False)
    revision = models.BigIntegerField(default=0)

    class Meta:
        app_label = "board"
        managed = False
        db_table = "topics"


def create():
    Topic.objects.create(board=Board.objects.get(name="main"), comment="by the ORM")


def save():
    # Writes every column, the old revision too.
    topic = Topic.objects.get(comment="by the ORM")
    topic.comment = "saved"
    topic.save()


def bulk():
    main = Board.objects.get(name="main")
    Topic.objects.bulk_create(Topic(board=main, comment=f"bulk {n}") for n in range(3))


def update():
    Topic.objects.filter(comment__startswith="bulk").update(comment="updated")


def roll_back():
    try:
        with transaction.atomic():
            Topic.objects.create(board=Board.objects.get(name="main"), comment="never")
            raise RuntimeError("so it is rolled back")
    except RuntimeError:
        pass


def delete():
    Topic.objects.filter(comment="updated").delete()


STEPS = {step.__name__: step for step in (create, save, bulk, update, roll_back, delete)}

for line in sys.stdin:
    STEPS[line.strip()]()
    print("done", flush=True)
