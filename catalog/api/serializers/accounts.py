"""Serializers of accounts, passwords, tokens, devices and favourites."""

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

DEVICE_NAME = "Name of the device, such as `Anna's phone`, for the list of devices."


class UsernameField(serializers.CharField):
    """Normalise a username to NFKC before its length is validated: one character may become several."""

    def to_internal_value(self, data: Any) -> str:
        return unicodedata.normalize("NFKC", super().to_internal_value(data))


class PasswordField(serializers.CharField):
    """A password: at most 1000 characters, whitespace is significant."""

    def __init__(self, **kwargs: Any) -> None:
        hidden = {"input_type": "password"}
        super().__init__(**{"max_length": 1000, "trim_whitespace": False, "style": hidden, **kwargs})


class SignInSerializer(serializers.Serializer[Any]):
    """Credentials, and the device to sign in."""

    username = serializers.CharField(max_length=150)
    password = PasswordField()
    device = TextField(max_length=100, required=False, allow_blank=True, help_text=DEVICE_NAME)
    scope = serializers.ChoiceField(Scope.choices, required=False, help_text="Scope of the token; `user` by default.")


class SignUpSerializer(StrictSerializer):
    """A new account, and the device to sign in."""

    username = UsernameField(max_length=150, validators=[UnicodeUsernameValidator()])
    email = serializers.EmailField(max_length=254)
    password = PasswordField(help_text="At least eight characters, not a common password.")
    device = TextField(max_length=100, required=False, allow_blank=True, help_text=DEVICE_NAME)


class TokenSerializer(serializers.Serializer[Any]):
    """A new token of a device."""

    token = serializers.CharField(help_text="Returned only once; send it as `Authorization: Token <token>`.")
    expires_at = serializers.DateTimeField()
    scope = serializers.ChoiceField(Scope.choices)


class PasswordChangeSerializer(StrictSerializer):
    """The current and the new password."""

    old_password = PasswordField()
    password = PasswordField(help_text="The new password.")


class PasswordResetSerializer(StrictSerializer):
    """The email address of the account."""

    email = serializers.EmailField(max_length=254)


class PasswordResetConfirmSerializer(StrictSerializer):
    """The code of the mail, and the new password."""

    uid = serializers.CharField(max_length=50, help_text="The code of the mail, up to its first hyphen.")
    token = serializers.CharField(max_length=200, help_text="The code of the mail, after its first hyphen.")
    password = PasswordField(help_text="The new password.")


class MeSerializer(serializers.ModelSerializer[User]):
    """My account."""

    email = serializers.CharField(read_only=True, help_text="May be empty.")

    class Meta:
        model = User
        fields = ("id", "username", "email", "first_name", "last_name", "is_staff", "may_train", "date_joined")
        read_only_fields = fields


class MeChangeSerializer(StrictSerializer):
    """Changes to the account; omitted fields keep their value."""

    email = serializers.EmailField(max_length=254, required=False, allow_blank=True)
    first_name = TextField(max_length=150, required=False, allow_blank=True)
    last_name = TextField(max_length=150, required=False, allow_blank=True)
    may_train = serializers.BooleanField(
        required=False,
        help_text="Training consent for photos sent from now on; false withdraws the consent for all photos.",
    )
    password = PasswordField(required=False, help_text="Current password; required to change the email address.")


class MeDeleteSerializer(StrictSerializer):
    """Confirmation of the account's deletion."""

    password = PasswordField(help_text="Current password.")


class ReceiptSerializer(serializers.Serializer[Any]):
    """Number of deleted rows."""

    photos = serializers.IntegerField()
    queries = serializers.IntegerField()
    recommendations = serializers.IntegerField()
    feedback = serializers.IntegerField(help_text="Verdicts and opened items.")
    triplets = serializers.IntegerField(help_text="Training triplets made from the photos.")
    favourites = serializers.IntegerField()
    devices = serializers.IntegerField()
    sessions = serializers.IntegerField(help_text="Browser sessions.")
    sign_in_attempts = serializers.IntegerField(help_text="Records of failed sign-ins.")


class DeviceSerializer(serializers.Serializer[AuthToken]):
    """A signed-in device."""

    id = serializers.SerializerMethodField(help_text="Derived from the token; does not reveal it.")
    name = serializers.SerializerMethodField(help_text="May be empty.")
    scope = serializers.SerializerMethodField()
    created_at = serializers.DateTimeField(source="created")
    expires_at = serializers.DateTimeField(source="expiry", allow_null=True)
    last_seen_at = serializers.SerializerMethodField(
        help_text="Accurate to a few minutes; null if not used since sign-in."
    )
    current = serializers.SerializerMethodField(help_text="Whether this request comes from the device.")

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
            serializers.DateTimeField().to_representation(last_seen_at)
            if (last_seen_at := device_for(token=token).last_seen_at)
            else None
        )

    def get_current(self, token: AuthToken) -> bool:
        return bool(token == self.context["request"].auth)


class DeviceChangeSerializer(StrictSerializer):
    """Changes to a device; omitted fields keep their value."""

    name = TextField(max_length=Device._meta.get_field("name").max_length, required=False, allow_blank=True)


class FavouriteSerializer(serializers.ModelSerializer[Favourite]):
    """A favourite item, and when it was added."""

    item = ItemSerializer(read_only=True)

    class Meta:
        model = Favourite
        fields = ("item", "created_at")
        read_only_fields = fields
