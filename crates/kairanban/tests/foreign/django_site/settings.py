"""A small Django site whose boards are kairanban's: one database for both. `BOARD_DATABASE_URL` says where it is,
`BOARD_TIME_ZONE` where its people live, `BOARD_USE_TZ` whether it thinks in UTC."""

import os
from urllib.parse import urlsplit

url = urlsplit(os.environ["BOARD_DATABASE_URL"])
if url.scheme == "sqlite":
    DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": url.netloc + url.path, "OPTIONS": {"timeout": 10}}}
else:
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": url.path.lstrip("/"),
            "USER": url.username,
            "PASSWORD": url.password or "",
            "HOST": url.hostname,
            "PORT": url.port,
        }
    }

TIME_ZONE = os.environ["BOARD_TIME_ZONE"]
USE_TZ = os.environ["BOARD_USE_TZ"] == "yes"
SECRET_KEY = "for the tests alone"
ALLOWED_HOSTS = ["testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "urls"
# One table, several ways to describe it.
SILENCED_SYSTEM_CHECKS = ["models.W035", "models.E028"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "board",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
