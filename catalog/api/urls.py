"""URLs of the API, version 1."""

from django.urls import path, re_path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView
from rest_framework.permissions import AllowAny

from catalog.api.views import (
    account,
    auth,
    batches,
    devices,
    events,
    favourites,
    feedback,
    items,
    photos,
    queries,
    training,
    webhooks,
)
from catalog.api.views.unknown import unknown

app_name = "api"
public = {"authentication_classes": (), "permission_classes": (AllowAny,), "http_method_names": ["get", "head"]}
urlpatterns = [
    path("auth/sign-up/", auth.SignUp.as_view(), name="sign-up"),
    path("auth/sign-in/", auth.SignIn.as_view(), name="sign-in"),
    path("auth/sign-out/", auth.SignOut.as_view(), name="sign-out"),
    path("auth/sign-out-everywhere/", auth.SignOutEverywhere.as_view(), name="sign-out-everywhere"),
    path("auth/password/", auth.Password.as_view(), name="password"),
    path("auth/password-reset/", auth.PasswordReset.as_view(), name="password-reset"),
    path("auth/password-reset/confirm/", auth.PasswordResetConfirm.as_view(), name="password-reset-confirm"),
    path("me/", account.Me.as_view(), name="me"),
    path("me/export/", account.Export.as_view(), name="me-export"),
    path("me/webhook-secret/", webhooks.WebhookSecretView.as_view(), name="me-webhook-secret"),
    path("devices/", devices.DeviceList.as_view(), name="devices"),
    path("devices/<slug:id>/", devices.DeviceDetail.as_view(), name="device"),
    path("favourites/", favourites.FavouriteList.as_view(), name="favourites"),
    path("favourites/<int:item_id>/", favourites.FavouriteDetail.as_view(), name="favourite"),
    path("queries/", queries.QueryList.as_view(), name="queries"),
    path("queries/batch/", batches.QueryBatch.as_view(), name="query-batch"),
    path("queries/<uuid:pk>/", queries.QueryDetail.as_view(), name="query"),
    path("queries/<uuid:pk>/events/", events.QueryEvents.as_view(), name="query-events"),
    path("recommendations/<int:pk>/feedback/", feedback.RecommendationFeedback.as_view(), name="feedback"),
    path("photos/", photos.PhotoList.as_view(), name="photos"),
    path("photos/<uuid:pk>/", photos.PhotoDetail.as_view(), name="photo"),
    path("items/", items.ItemList.as_view(), name="items"),
    path("items/<int:pk>/", items.ItemDetail.as_view(), name="item"),
    path("training-runs/", training.TrainingRunList.as_view(), name="training-runs"),
    path("training-runs/<int:pk>/", training.TrainingRunDetail.as_view(), name="training-run"),
    path("training-runs/<int:pk>/cancel/", training.TrainingRunCancel.as_view(), name="training-run-cancel"),
    path("training-runs/<int:pk>/resume/", training.TrainingRunResume.as_view(), name="training-run-resume"),
    path("schema/", SpectacularAPIView.as_view(**public), name="schema"),
    path("docs/", SpectacularSwaggerView.as_view(url_name="api:schema", **public), name="docs"),
    re_path(r"", unknown),
]
