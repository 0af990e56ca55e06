"""Fields that take what clients really send."""

import base64
import binascii
import json
import math
import re
from typing import Any

from django.core.files.uploadedfile import UploadedFile
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import empty

DATA_URL = re.compile(r"data:[^,]{0,200},")


@extend_schema_field({"type": "string", "contentEncoding": "base64"})
class PhotoField(serializers.Field[bytes, Any, Any, Any]):
    """The bytes of a picture: a file of a multipart form, base64 in JSON, or a body that is nothing but the picture.

    What they show is checked elsewhere.
    """

    default_error_messages = {  # noqa: RUF012 - REST framework's own way
        "invalid": gettext_lazy("Send one photo, as a file or as a base64 string."),
        "not_base64": gettext_lazy("The photo is not valid base64."),
    }

    def get_value(self, dictionary: Any) -> Any:
        """Several files under one name come as a list, which is refused: which of them was meant?"""
        if isinstance(dictionary, MultiValueDict) and len(several := dictionary.getlist(self.field_name)) > 1:
            return several
        return dictionary.get(self.field_name, empty)

    def to_internal_value(self, data: Any) -> bytes:
        if isinstance(data, UploadedFile):
            return bytes(data.read())
        if isinstance(data, bytes):  # from RawPhotoParser; no other body can hold them
            return data
        if not isinstance(data, str):
            self.fail("invalid")
        # Line breaks as Android writes them, the prefix as browsers do.
        text = "".join(data[(found.end() if (found := DATA_URL.match(data)) else 0) :].split())
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            self.fail("not_base64")


class TextField(serializers.CharField):
    """REST framework takes 0 for "0"; a client that sends it is confused about what it asks."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class FiniteFloatField(serializers.FloatField):
    """REST framework lets NaN pass, which is neither below nor above any limit."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if not math.isfinite(value) or isinstance(data, bool):
            self.fail("invalid")
        return value


class WholeNumberField(serializers.IntegerField):
    """REST framework takes 1.0 for 1; a client that sends it is confused about what it asks."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float):
            self.fail("invalid")
        return super().to_internal_value(data)


class SwitchField(serializers.BooleanField):
    """True or false as JSON has them, not the words and numbers that forms send for them."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class JSONInFormSerializer(serializers.Serializer[Any]):
    """A nested object that a multipart form brings as JSON text, since forms are flat."""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.get(self.field_name, empty)

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                raise serializers.ValidationError("This is not valid JSON.", code="not_json") from None
            if data is None:  # a form cannot leave a null out of its texts
                return None
        return super().run_validation(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses names it does not know: ignoring a misspelt wish would answer another question than the one asked."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(str(name)[:50] for name in data if name not in self.fields)
            if unknown:
                message = _("Unknown. Known are: {names}.").format(names=", ".join(self.fields))
                raise serializers.ValidationError(
                    {name: serializers.ErrorDetail(message, code="unknown_field") for name in unknown[:10]}
                )
        return super().to_internal_value(data)
