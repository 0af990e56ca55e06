from django.db import migrations
from django.db.models import OuterRef, Subquery


def take_over_from_photos(apps, schema_editor):
    """A query used to belong to whom its photo belonged to; now it says so itself."""
    photos = apps.get_model("catalog", "UploadedPhoto").objects.filter(pk=OuterRef("photo_id"))
    apps.get_model("catalog", "SimilarityQuery").objects.filter(owner=None, visitor="").update(
        owner_id=Subquery(photos.values("owner_id")), visitor=Subquery(photos.values("visitor"))
    )


class Migration(migrations.Migration):
    """Apart from the columns and from their constraint: PostgreSQL alters no table with changed rows in one breath."""

    dependencies = [("catalog", "0002_mobile_api")]

    operations = [migrations.RunPython(take_over_from_photos, migrations.RunPython.noop)]
