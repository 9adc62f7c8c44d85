"""kairanban's published tables, as Django sites describe them: unmanaged. `Board` and `Topic` stand in docs/API.md."""

from django.db import models
from django.utils import timezone


class Board(models.Model):
    name = models.TextField(unique=True)
    title = models.TextField(blank=True, default="")

    class Meta:
        managed = False
        db_table = "boards"

    def __str__(self):
        return self.name


class Topic(models.Model):
    board = models.ForeignKey(Board, models.CASCADE, null=True, blank=True)
    comment = models.TextField()
    author = models.TextField(null=True, blank=True)
    created_at = models.DateTimeField(null=True, editable=False)
    updated_at = models.DateTimeField(null=True, editable=False)
    edited_at = models.DateTimeField(null=True, editable=False)
    archived = models.BooleanField(null=True, blank=True, editable=False)

    class Meta:
        managed = False
        db_table = "topics"


class TutorialTopic(models.Model):
    """As the tutorial has it: Django sets both times, each by a look at a clock of its own."""

    comment = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        managed = False
        db_table = "topics"


class WholeTopic(models.Model):
    """Every column, as it is in the table, with a time to be edited by hand."""

    board = models.ForeignKey(Board, models.CASCADE)
    comment = models.TextField()
    author = models.TextField(default="", blank=True)
    created_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    archived = models.BooleanField(default=False)
    revision = models.BigIntegerField(default=0, editable=False)

    class Meta:
        managed = False
        db_table = "topics"
