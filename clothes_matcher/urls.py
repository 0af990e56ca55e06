"""Where everything answers. The parts are named as strings."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("catalog.api.urls")),
    path("", include("catalog.web.urls")),
]

handler400 = "catalog.web.errors.bad_request"
handler403 = "catalog.web.errors.forbidden"
handler404 = "catalog.web.errors.not_found"
handler500 = "catalog.web.errors.crashed"
