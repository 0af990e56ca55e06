"""URL configuration of the project. The apps are named as strings."""

from django.contrib import admin
from django.urls import include, path

urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/v1/", include("catalog.api.urls")),
    path("", include("catalog.web.urls")),
]

handler400 = "catalog.http.error_pages.bad_request"
handler403 = "catalog.http.error_pages.forbidden"
handler404 = "catalog.http.error_pages.not_found"
handler500 = "catalog.http.error_pages.server_error"
