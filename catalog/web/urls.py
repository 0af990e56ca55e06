"""The pages and the pictures."""

from django.urls import path

from catalog.web.accounts import PasswordForgotten, PasswordReset
from catalog.web.health import healthz
from catalog.web.icon import icon
from catalog.web.photos import item_photo, uploaded_photo
from catalog.web.queries import query_page
from catalog.web.upload import front_page

urlpatterns = [
    path("", front_page, name="upload"),
    path("queries/<uuid:pk>/", query_page, name="query"),
    path("photos/items/<int:pk>/", item_photo, name="item-photo"),
    path("photos/uploads/<uuid:pk>/", uploaded_photo, name="uploaded-photo"),
    path("account/password/", PasswordForgotten.as_view(), name="password-forgotten"),
    path("account/password/<str:code>/", PasswordReset.as_view(), name="password-reset"),
    path("favicon.ico", icon, name="icon"),
    path("healthz", healthz, name="healthz"),
]
