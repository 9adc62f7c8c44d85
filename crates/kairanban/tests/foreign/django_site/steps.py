"""Uses the site as its people do: through the forms of its admin. Takes a step by line on stdin, a JSON list of its name and
what it is about, and answers each with a line of JSON."""

import json
import os
import sys
from datetime import timezone as utc
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

os.environ["DJANGO_SETTINGS_MODULE"] = "settings"

import django  # noqa: E402

django.setup()

from django.apps import apps  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

# Its own tables stand beside kairanban's.
call_command("migrate", verbosity=0)
browser = Client(enforce_csrf_checks=True)
browser.force_login(get_user_model().objects.create_superuser("ann", password="x"))


class Form(HTMLParser):
    """What a browser would send of a page's main form."""

    def __init__(self, page):
        super().__init__()
        self.fields, self.area, self.select, self.forms = {}, None, None, 0
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        known = dict(attributes)
        name, kind = known.get("name"), known.get("type", "text")
        if tag == "input" and name and kind not in ("submit", "file", "button"):
            if kind not in ("checkbox", "radio") or "checked" in known:
                self.fields[name] = known.get("value") or ("on" if kind == "checkbox" else "")
        elif tag == "textarea":
            self.area, self.fields[name] = name, ""
        elif tag == "select":
            self.select = name
        elif tag == "option" and self.select and "selected" in known:
            self.fields[self.select] = known.get("value", "")

    def handle_endtag(self, tag):
        if tag == "textarea":
            self.area = None
        elif tag == "select":
            self.select = None

    def handle_data(self, data):
        if self.area:
            # The line break that HTML puts first is none of the text.
            self.fields[self.area] += data.removeprefix("\r\n") if not self.fields[self.area] else data


def send(address, **changes):
    page = browser.get(address)
    assert page.status_code == 200, page
    fields = Form(page.content.decode()).fields | changes
    answer = browser.post(address, {name: value for name, value in fields.items() if name != "action"})
    # A form that was refused comes back with 200.
    assert answer.status_code == 302, answer.content.decode()


def admin(model, page, *arguments):
    return reverse(f"admin:board_{model}_{page}", args=arguments)


def instant(time):
    if time is None:
        return None
    if time.tzinfo is None:
        time = time.replace(tzinfo=ZoneInfo(settings.TIME_ZONE))
    return time.astimezone(utc.utc).isoformat()


def read(model, id):
    found = apps.get_model("board", model).objects.get(pk=id)
    return {
        "id": found.pk,
        "comment": found.comment,
        "created_at": instant(found.created_at),
        "updated_at": instant(found.updated_at),
    }


def add(model, fields):
    send(admin(model, "add"), **fields)
    newest = apps.get_model("board", model).objects.order_by("-pk").first()
    return read(model, newest.pk)


def save(model, id, fields):
    send(admin(model, "change", id), **fields)
    return read(model, id)


def delete(model, id):
    send(admin(model, "delete", id))


def bulk_delete(model, ids):
    address = admin(model, "changelist")
    page = Form(browser.get(address).content.decode()).fields
    chosen = {"action": "delete_selected", "_selected_action": ids, "csrfmiddlewaretoken": page["csrfmiddlewaretoken"]}
    asked = browser.post(address, chosen)
    assert asked.status_code == 200 and "Are you sure" in asked.content.decode(), asked
    answer = browser.post(address, chosen | {"post": "yes"})
    assert answer.status_code == 302, answer.content.decode()


def create(model, fields):
    return read(model, apps.get_model("board", model).objects.create(**fields).pk)


def bulk_create(ids):
    topic, main = apps.get_model("board", "topic"), apps.get_model("board", "board").objects.get(name="main")
    topic.objects.bulk_create(topic(pk=id, board=main, comment=f"imported {id}") for id in ids)


def dump(path):
    call_command("dumpdata", "board.board", "board.topic", output=path, verbosity=0)


def load(path):
    call_command("loaddata", path, verbosity=0)


STEPS = {step.__name__: step for step in (read, add, save, delete, bulk_delete, create, bulk_create, dump, load)}

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    name, *about = json.loads(line)
    print(json.dumps(STEPS[name](*about)), flush=True)
