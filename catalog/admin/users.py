"""Admin of users, groups, signed-in devices and failed sign-ins."""

from typing import TYPE_CHECKING, Any

from axes.models import AccessAttempt
from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.db.models import QuerySet
from django.http import HttpRequest
from knox.models import AuthToken
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from catalog.admin.base import DeletedByService, ModelAdmin, ReadOnlyAdmin
from catalog.models import User
from catalog.services.accounts.devices import device_for
from catalog.services.accounts.users import user_delete

# Their own apps registered both with Django's plain admin classes.
admin.site.unregister(Group)
admin.site.unregister(AuthToken)

if TYPE_CHECKING:
    _Users = DjangoUserAdmin[User]
else:

    class _Users(DjangoUserAdmin, DeletedByService):
        pass


@admin.register(User)
class UserAdmin(_Users):
    """Accounts. Deleting one deletes its photos, queries and devices too."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ("username", "email", "is_staff", "is_active", "last_login", "date_joined")

    def remove(self, row: User) -> None:
        user_delete(user=row)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, ModelAdmin[Group]):
    """Permission groups."""


@admin.register(AuthToken)
class AuthTokenAdmin(ReadOnlyAdmin[Any]):
    """Signed-in devices. Only a hash of each token is stored. Deleting a row signs the device out."""

    list_display = ("token_key", "user", "device_name", "scope", "created", "expiry", "last_seen")
    list_select_related = ("user", "device")
    list_filter = ("device__scope",)
    search_fields = ("user__username", "token_key", "device__name")
    fields = ("user", "token_key", "device_name", "scope", "created", "expiry", "last_seen")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("user", "device")

    @admin.display(description="Device")
    def device_name(self, token: AuthToken) -> str:
        return device_for(token=token).name

    @admin.display(description="Scope")
    def scope(self, token: AuthToken) -> str:
        return device_for(token=token).scope

    @admin.display(description="Last seen")
    def last_seen(self, token: AuthToken) -> Any:
        return device_for(token=token).last_seen_at

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("knox.delete_authtoken")


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin[Any]):
    """Failed sign-ins of the last minutes. Deleting a row ends the lockout of its user name and IP address."""

    list_display = ("username", "ip_address", "failures_since_start", "attempt_time")
    search_fields = ("username", "ip_address")
    fields = ("username", "ip_address", "failures_since_start", "attempt_time", "path_info", "user_agent")

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return request.user.has_perm("axes.delete_accessattempt")
