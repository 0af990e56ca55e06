"""Query the public API with one photo, as a client would, and show the answer as a table and as a picture."""

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from PIL import Image, ImageDraw, ImageFont, ImageOps

from ml.formats.atomic_files import atomic_path

_TILE = (210, 280)  # px of one picture
_GAP = 16
_CAPTION = 48
_COLUMNS = 4
_INK, _PALE, _PAPER = "#1d2330", "#6b7280", "#ffffff"
_STEPS = ("receive", "clean", "queue", "embed", "search", "write", "total")


class ShowcaseError(Exception):
    """The site did not respond as expected. The message is one line for the terminal."""

    code = "showcase_failed"


@dataclass(frozen=True)
class Client:
    """A client of the API at `address`, with its token."""

    address: str
    token: str

    def ask(self, photo: bytes, *, k: int = 8, patience: float = 60.0) -> dict[str, Any]:
        """Send a photo and return the finished query. Raises `ShowcaseError` if it is refused, fails or times out."""
        answer = self._request("POST", "/api/v1/queries/", files={"photo": ("photo.jpg", photo)}, data={"k": k})
        deadline = time.monotonic() + patience
        while answer["state"] not in ("done", "failed"):
            if time.monotonic() > deadline:
                raise ShowcaseError(f"The photo is still {answer['state']} after {patience:.0f} s.")
            time.sleep(0.2)
            answer = self._request("GET", f"/api/v1/queries/{answer['id']}/")
        if answer["state"] == "failed":
            raise ShowcaseError(f"The query failed: {answer['error']['detail']}")
        return answer

    def picture(self, url: str) -> Image.Image:
        """Download a picture of the answer as RGB. Raises `requests.HTTPError` for an error response."""
        response = requests.get(url, headers=self._headers, timeout=20)
        response.raise_for_status()
        return Image.open(io.BytesIO(response.content)).convert("RGB")

    @property
    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Token {self.token}"}

    def _request(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        headers = {**self._headers, "Prefer": "wait=10"}
        try:
            response = requests.request(method, self.address + path, headers=headers, timeout=30, **body)
        except requests.RequestException as error:
            raise ShowcaseError(f"The site at {self.address} does not respond ({type(error).__name__}).") from None
        if not response.ok:
            raise ShowcaseError(f"{path} responded with {response.status_code}: {_detail(response)}")
        result: dict[str, Any] = response.json()
        return result


def _detail(response: requests.Response) -> str:
    """The `detail` of a JSON problem, or the beginning of any other body."""
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.text[:200]


def answer_table(answer: dict[str, Any]) -> str:
    """Format the ranked answer and the time of each step as lines for a terminal."""
    lines = [f"{'rank':>4}  {'score':>6}  {'item':<12} name"]
    for recommendation in answer["recommendations"]:
        item = recommendation["item"]
        lines.append(
            f"{recommendation['rank']:>4}  {recommendation['score']:>6.3f}  {item['external_id']:<12.12} {item['name']}"
        )
    timings = answer["timings"]
    steps = ", ".join(f"{step} {timings[step]:.0f}" for step in _STEPS if step in timings)
    return "\n".join([*lines, f"milliseconds: {steps}; encoder: {answer['encoder']}"])


def answer_picture(client: Client, answer: dict[str, Any]) -> Image.Image:
    """Draw the query photo at the left and its matches in rank order beside it."""
    matches = answer["recommendations"]
    rows = max(1, -(-len(matches) // _COLUMNS))
    step = (_TILE[0] + _GAP, _TILE[1] + _CAPTION + _GAP)
    sheet = Image.new("RGB", (_GAP * 3 + step[0] * (_COLUMNS + 1), _GAP * 2 + step[1] * rows), _PAPER)
    _place(sheet, client.picture(answer["photo"]["url"]), (_GAP, _GAP), "your photo", "")
    for position, match in enumerate(matches):
        row, column = divmod(position, _COLUMNS)
        corner = (_GAP * 3 + step[0] * (column + 1), _GAP + step[1] * row)
        title = f"{match['rank']}.  {match['score']:.3f}"
        _place(sheet, client.picture(match["photo"]["url"]), corner, title, match["item"]["name"])
    return sheet


def _place(sheet: Image.Image, picture: Image.Image, corner: tuple[int, int], title: str, text: str) -> None:
    x, y = corner
    sheet.paste(ImageOps.pad(picture, _TILE, color=_PAPER), corner)
    pen = ImageDraw.Draw(sheet)
    pen.text((x, y + _TILE[1] + 6), title, fill=_INK, font=ImageFont.load_default(17))
    small = ImageFont.load_default(13)
    while text and pen.textlength(text, font=small) > _TILE[0]:
        text = text[:-2].rstrip(" …") + "…"
    pen.text((x, y + _TILE[1] + 28), text, fill=_PALE, font=small)


def save_picture(picture: Image.Image, target: Path) -> None:
    """Write the picture as PNG, atomically."""
    with atomic_path(target) as part:
        picture.save(part, "PNG")
