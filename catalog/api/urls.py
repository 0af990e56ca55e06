"""The API, version 1."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from catalog.api.views import auth, items, queries
from catalog.api.views.unknown import unknown

app_name = "api"
public = {"authentication_classes": (), "permission_classes": (AllowAny,), "http_method_names": ["get", "head"]}
urlpatterns = [
    path("auth/sign-in/", auth.SignIn.as_view(), name="sign-in"),
    path("auth/sign-out/", auth.SignOut.as_view(), name="sign-out"),
    path("me/", auth.Me.as_view(), name="me"),
    path("queries/", queries.QueryList.as_view(), name="queries"),
    path("queries/<uuid:pk>/", queries.QueryDetail.as_view(), name="query"),
    path("items/", items.ItemList.as_view(), name="items"),
    path("items/<int:pk>/", items.ItemDetail.as_view(), name="item"),
    path("schema/", SpectacularAPIView.as_view(**public), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api:schema", **public), name="docs"),
    re_path(r"", unknown),
]
