from django.contrib import admin

from .models import Board, LooseTopic, Topic, TutorialTopic

for model in (Board, TutorialTopic, LooseTopic, Topic):
    admin.site.register(model)
