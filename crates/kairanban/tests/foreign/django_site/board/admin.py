from django.contrib import admin

from .models import Board, Topic, TutorialTopic, WholeTopic

for model in (Board, Topic, TutorialTopic, WholeTopic):
    admin.site.register(model)
