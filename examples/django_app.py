"""A Django application in one file: ``hubbub-serve django_app:application``.

Each request is a greenlet, so a long poll costs no thread. ``/wait`` answers when somebody else says something.
"""

import threading
from collections import deque

from django.conf import settings
from django.core.wsgi import get_wsgi_application
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.http import require_GET, require_POST

settings.configure(
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.middleware.common.CommonMiddleware"],
    SECRET_KEY="an example keeps no secrets",
)

said: deque[str] = deque(maxlen=100)
news = threading.Condition()


@require_POST
def say(request: HttpRequest) -> HttpResponse:
    """Tell those who wait."""
    with news:
        said.append(request.body.decode(errors="replace")[:1000])
        news.notify_all()
    return HttpResponse(status=204)


@require_GET
def wait(request: HttpRequest) -> HttpResponse:
    """What is said next, or 204 after 30 seconds."""
    with news:
        if news.wait(30):
            return JsonResponse({"said": said[-1]})
    return HttpResponse(status=204)


urlpatterns = [path("say", say), path("wait", wait)]
application = get_wsgi_application()
