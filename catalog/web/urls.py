"""The pages and the pictures."""

from django.urls import path

from catalog.web.accounts import PasswordForgotten, PasswordReset
from catalog.web.feedback import photo_consent, photo_delete, recommendation_feedback
from catalog.web.health import healthz
from catalog.web.icon import icon
from catalog.web.photos import item_photo, uploaded_photo
from catalog.web.queries import query_page
from catalog.web.upload import front_page

urlpatterns = [
    path("", front_page, name="upload"),
    path("queries/<uuid:pk>/", query_page, name="query"),
    path("queries/<uuid:pk>/consent/", photo_consent, name="photo-consent"),
    path("recommendations/<int:pk>/feedback/", recommendation_feedback, name="feedback"),
    path("photos/items/<int:pk>/", item_photo, name="item-photo"),
    path("photos/uploads/<uuid:pk>/", uploaded_photo, name="uploaded-photo"),
    path("photos/uploads/<uuid:pk>/delete/", photo_delete, name="photo-delete"),
    # The admin's login page links to whatever has this name.
    path("account/password/", PasswordForgotten.as_view(), name="admin_password_reset"),
    path("account/password/<str:code>/", PasswordReset.as_view(), name="password-reset"),
    path("favicon.ico", icon, name="icon"),
    path("healthz", healthz, name="healthz"),
]
