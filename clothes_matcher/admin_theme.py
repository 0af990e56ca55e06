"""Theme of the admin (Unfold): title, colours, and the navigation in the sidebar. Modules are named as strings."""

from typing import Any

from django.templatetags.static import static
from django.urls import reverse_lazy


def _page(title: str, model: str, icon: str) -> dict[str, Any]:
    """A sidebar entry for the list of a model, visible with the permission to view or change it."""
    app, _, name = model.partition("_")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{model}_changelist"),
        "permission": lambda request: any(request.user.has_perm(f"{app}.{verb}_{name}") for verb in ("view", "change")),
    }


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Clothes matcher",
    "SITE_HEADER": "Clothes matcher",
    "SITE_SYMBOL": "checkroom",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda request: static("catalog/icon.svg")}],
    # The brick red of the web pages, from light to dark.
    "COLORS": {
        "primary": {
            shade: f"oklch({lightness}% {chroma} 32)"
            for shade, lightness, chroma in (
                ("50", 97, 0.014),
                ("100", 94, 0.03),
                ("200", 89, 0.06),
                ("300", 82, 0.1),
                ("400", 73, 0.15),
                ("500", 63, 0.17),
                ("600", 53, 0.165),
                ("700", 46, 0.15),
                ("800", 39, 0.12),
                ("900", 33, 0.09),
                ("950", 24, 0.06),
            )
        }
    },
    "SIDEBAR": {
        "navigation": [
            {
                "title": "Catalogue",
                "items": [
                    _page("Items", "catalog_catalogitem", "checkroom"),
                    _page("Item photos", "catalog_itemphoto", "photo_library"),
                    _page("Imports", "catalog_importjob", "upload"),
                ],
            },
            {
                "title": "Queries",
                "items": [
                    _page("Queries", "catalog_similarityquery", "image_search"),
                    _page("Recommendations", "catalog_recommendation", "format_list_numbered"),
                    _page("Uploaded photos", "catalog_uploadedphoto", "add_a_photo"),
                ],
            },
            {
                "title": "Training",
                "items": [
                    _page("Training runs", "catalog_trainingrun", "model_training"),
                    {
                        "title": "Triplets to review",
                        "icon": "thumbs_up_down",
                        "link": reverse_lazy("admin:catalog_triplet_review"),
                        "permission": "catalog.admin.triplets.may_review",
                        "badge": "catalog.admin.triplets.review_count",
                    },
                ],
            },
            {
                "title": "Encoders",
                "items": [
                    _page("Encoders", "catalog_encoder", "network_intelligence"),
                    _page("Promotions", "catalog_promotion", "history"),
                    _page("Evaluations", "catalog_evaluation", "balance"),
                    _page("Evaluation sets", "catalog_evaluationset", "checklist"),
                    _page("Embeddings", "catalog_embedding", "scatter_plot"),
                ],
            },
            {
                "title": "People",
                "items": [
                    _page("Users", "catalog_user", "person"),
                    _page("Groups", "auth_group", "group"),
                    _page("Signed-in devices", "knox_authtoken", "key"),
                    _page("Failed sign-ins", "axes_accessattempt", "lock"),
                ],
            },
        ],
    },
}
