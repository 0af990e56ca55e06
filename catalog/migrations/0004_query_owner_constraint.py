from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [("catalog", "0003_query_owners")]

    operations = [
        migrations.AddConstraint(
            model_name='similarityquery',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('owner__isnull', False), ('visitor', '')), models.Q(('owner__isnull', True), models.Q(('visitor', ''), _negated=True)), _connector='OR'), name='a_query_has_one_kind_of_owner'),
        ),
    ]
