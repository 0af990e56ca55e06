"""Accounts, tokens, and what a person keeps."""

import unicodedata
from typing import Any

from django.contrib.auth.validators import UnicodeUsernameValidator
from drf_spectacular.utils import extend_schema_field
from knox.models import AuthToken
from rest_framework import serializers

from catalog.api.fields import StrictSerializer, TextField
from catalog.api.serializers.items import ItemSerializer
from catalog.models import Device, Favourite, Scope, User
from catalog.services.accounts.devices import device_for, device_id

DEVICE_NAME = "What the device is called, such as `Anna's phone`; shown in the list of devices."


class UsernameField(serializers.CharField):
    """A name in one spelling, before its length is looked at: some characters become several."""

    def to_internal_value(self, data: Any) -> str:
        return unicodedata.normalize("NFKC", super().to_internal_value(data))


class PasswordField(serializers.CharField):
    def __init__(self, **kwargs: Any) -> None:
        hidden = {"input_type": "password"}
        super().__init__(**{"max_length": 1000, "trim_whitespace": False, "style": hidden, **kwargs})


class SignInSerializer(serializers.Serializer[Any]):
    username = serializers.CharField(max_length=150)
    password = PasswordField()
    device = TextField(max_length=100, required=False, allow_blank=True, help_text=DEVICE_NAME)
    scope = serializers.ChoiceField(Scope.choices, required=False, help_text="What the token is for; `user` if absent.")


class SignUpSerializer(StrictSerializer):
    username = UsernameField(max_length=150, validators=[UnicodeUsernameValidator()])
    email = serializers.EmailField(max_length=254)
    password = PasswordField(help_text="Eight characters at least, and none of those that everybody tries first.")
    device = TextField(max_length=100, required=False, allow_blank=True, help_text=DEVICE_NAME)


class TokenSerializer(serializers.Serializer[Any]):
    token = serializers.CharField(help_text="Shown once; send it as `Authorization: Token <token>`.")
    expires_at = serializers.DateTimeField()
    scope = serializers.ChoiceField(Scope.choices)


class PasswordChangeSerializer(StrictSerializer):
    old_password = PasswordField()
    password = PasswordField(help_text="The new one.")


class PasswordResetSerializer(StrictSerializer):
    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(StrictSerializer):
    uid = serializers.CharField(max_length=50, help_text="The code of the mail up to its first hyphen.")
    token = serializers.CharField(max_length=200, help_text="The rest of it.")
    password = PasswordField(help_text="The new one.")


class MeSerializer(serializers.ModelSerializer[User]):
    email = serializers.CharField(read_only=True, help_text="May be empty.")

    class Meta:
        model = User
        fields = ("id", "username", "email", "first_name", "last_name", "is_staff", "may_train", "date_joined")
        read_only_fields = fields


class MeChangeSerializer(StrictSerializer):
    """What may be changed; what is not named stays."""

    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    first_name = TextField(max_length=150, required=False, allow_blank=True)
    last_name = TextField(max_length=150, required=False, allow_blank=True)
    may_train = serializers.BooleanField(
        required=False,
        help_text="Whether encoders may learn from the photos that I send from now on; false takes all of them back.",
    )
    password = PasswordField(required=False, help_text="Yours, which another email address takes.")


class MeDeleteSerializer(StrictSerializer):
    password = PasswordField(help_text="Yours, since this cannot be undone.")


class ReceiptSerializer(serializers.Serializer[Any]):
    """How much was deleted."""

    photos = serializers.IntegerField()
    queries = serializers.IntegerField()
    recommendations = serializers.IntegerField()
    feedback = serializers.IntegerField(help_text="Thumbs, and items that were opened.")
    triplets = serializers.IntegerField(help_text="What encoders would have learned from.")
    favourites = serializers.IntegerField()
    devices = serializers.IntegerField()
    sessions = serializers.IntegerField(help_text="Browsers that were signed in.")
    sign_in_attempts = serializers.IntegerField(help_text="Records of wrong passwords.")


class DeviceSerializer(serializers.Serializer[AuthToken]):
    """A token that is good, and where it is."""

    id = serializers.SerializerMethodField(help_text="Says nothing about the token itself.")
    name = serializers.SerializerMethodField(help_text="May be empty.")
    scope = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(source="created")
    expires_at = serializers.DateTimeField(source="expiry", allow_null=True)
    last_seen_at = serializers.SerializerMethodField(help_text="To a few minutes; null if never since signing in.")
    current = serializers.SerializerMethodField(help_text="Whether it is the one that asks.")

    def get_id(self, token: AuthToken) -> str:
        return device_id(token=token)

    def get_name(self, token: AuthToken) -> str:
        return device_for(token=token).name

    @extend_schema_field(serializers.ChoiceField(Scope.choices))
    def get_scope(self, token: AuthToken) -> str:
        return device_for(token=token).scope

    @extend_schema_field(serializers.DateTimeField(allow_null=True))
    def get_last_seen_at(self, token: AuthToken) -> Any:
        return (
            serializers.DateTimeField().to_representation(seen)
            if (seen := device_for(token=token).last_seen_at)
            else None
        )

    def get_current(self, token: AuthToken) -> bool:
        return bool(token == self.context["request"].auth)


class DeviceChangeSerializer(StrictSerializer):
    name = TextField(max_length=Device._meta.get_field("name").max_length, required=False, allow_blank=True)


class FavouriteSerializer(serializers.ModelSerializer[Favourite]):
    item = ItemSerializer(read_only=True)

    class Meta:
        model = Favourite
        fields = ("item", "created_at")
        read_only_fields = fields
