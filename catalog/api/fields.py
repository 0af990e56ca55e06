"""Serializer fields for photos, and stricter variants of REST framework's fields."""

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
    """The bytes of a picture: a file of a multipart form, base64 in JSON, or the raw body.

    Whether they are a picture is checked by the services.
    """

    default_error_messages = {  # noqa: RUF012 - REST framework's own way
        "invalid": gettext_lazy("Send one photo, as a file or as a base64 string."),
        "not_base64": gettext_lazy("The photo is not valid base64."),
    }

    def get_value(self, dictionary: Any) -> Any:
        """Several files of one name are returned as a list, which `to_internal_value` refuses as ambiguous."""
        if isinstance(dictionary, MultiValueDict) and len(files := dictionary.getlist(self.field_name)) > 1:
            return files
        return dictionary.get(self.field_name, empty)

    def to_internal_value(self, data: Any) -> bytes:
        if isinstance(data, UploadedFile):
            return bytes(data.read())
        if isinstance(data, bytes):  # from RawPhotoParser; no other body can hold them
            return data
        if not isinstance(data, str):
            self.fail("invalid")
        # Android inserts line breaks, browsers a data: prefix.
        text = "".join(data[(prefix.end() if (prefix := DATA_URL.match(data)) else 0) :].split())
        try:
            return base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            self.fail("not_base64")


class TextField(serializers.CharField):
    """Accepts strings only; REST framework would also accept the number 0 as "0"."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class FiniteFloatField(serializers.FloatField):
    """Refuses NaN, which passes minimum and maximum, infinity and booleans."""

    def to_internal_value(self, data: Any) -> float:
        value = super().to_internal_value(data)
        if not math.isfinite(value) or isinstance(data, bool):
            self.fail("invalid")
        return value


class WholeNumberField(serializers.IntegerField):
    """Refuses floats; REST framework would accept 1.0 as 1."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float):
            self.fail("invalid")
        return super().to_internal_value(data)


class SwitchField(serializers.BooleanField):
    """Accepts JSON's true and false only, not the words and numbers that REST framework also accepts."""

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class JSONInFormSerializer(serializers.Serializer[Any]):
    """A nested object that a multipart form sends as JSON text, since forms are flat."""

    def get_value(self, dictionary: Any) -> Any:
        return dictionary.get(self.field_name, empty)

    def run_validation(self, data: Any = empty) -> Any:
        if isinstance(data, str):
            try:
                data = json.loads(data)
            except (ValueError, RecursionError):
                raise serializers.ValidationError("This is not valid JSON.", code="not_json") from None
            if data is None:  # in a form, null can only be the text
                return None
        return super().run_validation(data)


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields: a misspelt filter would otherwise be ignored silently."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict):
            unknown = sorted(str(name)[:50] for name in data if name not in self.fields)
            if unknown:
                message = _("Unknown field. Known fields: {names}.").format(names=", ".join(self.fields))
                raise serializers.ValidationError(
                    {name: serializers.ErrorDetail(message, code="unknown_field") for name in unknown[:10]}
                )
        return super().to_internal_value(data)
