"""URLs of the pages, the pictures and the health check."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import path
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe

from catalog.web.feedback import photo_consent, photo_delete, recommendation_feedback
from catalog.web.health import healthz
from catalog.web.password_reset import PasswordForgotten, PasswordReset
from catalog.web.photos import item_photo, uploaded_photo
from catalog.web.queries import query_page
from catalog.web.upload import front_page


@require_safe
@cache_control(public=True, max_age=24 * 3600)
def favicon(request: HttpRequest) -> HttpResponse:
    """Browsers request /favicon.ico for documents that name no icon, such as a picture opened alone."""
    return redirect(static("catalog/icon.svg"))


urlpatterns = [
    path("", front_page, name="upload"),
    path("queries/<uuid:pk>/", query_page, name="query"),
    path("queries/<uuid:pk>/consent/", photo_consent, name="photo-consent"),
    path("recommendations/<int:pk>/feedback/", recommendation_feedback, name="feedback"),
    path("photos/items/<int:pk>/", item_photo, name="item-photo"),
    path("photos/uploads/<uuid:pk>/", uploaded_photo, name="uploaded-photo"),
    path("photos/uploads/<uuid:pk>/delete/", photo_delete, name="photo-delete"),
    # The admin's login page links to the URL of this name.
    path("account/password/", PasswordForgotten.as_view(), name="admin_password_reset"),
    path("account/password/<str:code>/", PasswordReset.as_view(), name="password-reset"),
    path("favicon.ico", favicon, name="icon"),
    path("healthz", healthz, name="healthz"),
]
