"""Content negotiation: the formats of body and answer, from the request headers."""

from __future__ import annotations

from typing import Literal

from service.media_types import COVERAGE, JSON, NETCDF, PNG
from service.problems import NotAcceptable, UnsupportedMedia

ALIASES = {
    JSON: JSON,
    NETCDF: NETCDF,
    "application/netcdf": NETCDF,
    "application/vnd.unidata.netcdf": NETCDF,
    "application/x-hdf5": NETCDF,
}
ANSWERS = ALIASES | {COVERAGE: COVERAGE, "application/vnd.cov+json": COVERAGE, PNG: PNG, "image/*": PNG}
AVAILABLE = [NETCDF, JSON, COVERAGE, PNG]
UploadKind = Literal["json", "netcdf"]
KINDS: dict[str, UploadKind] = {JSON: "json", NETCDF: "netcdf"}


def upload_kind(content_type: str | None, content_encoding: str | None) -> UploadKind:
    """Return the kind of the body.

    Raises:
        UnsupportedMedia: The type is missing or not supported, or the body is compressed.
    """
    if content_encoding and content_encoding.strip().lower() != "identity":
        raise UnsupportedMedia(
            f"Content-Encoding {content_encoding[:60]!r} is not accepted. Send the body without it "
            "(NetCDF 4 compresses internally)."
        )
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type not in ALIASES:
        raise UnsupportedMedia(
            f"Content-Type is {media_type[:60] or 'missing'!r}; expected {NETCDF} or {JSON}. GRIB and "
            "Zarr are not accepted over HTTP; convert them to NetCDF.",
            headers={"Accept": f"{NETCDF}, {JSON}"},
        )
    return KINDS[ALIASES[media_type]]


def answer_type(accept: str | None, default: str) -> str:
    """Return the supported format that the client prefers.

    Args:
        accept: The Accept header; None accepts every format.
        default: Format for clients that accept every format.

    Raises:
        NotAcceptable: The client accepts none of the supported formats.
    """
    ranges = []
    for part in (accept or "*/*").split(","):
        media_range, *parameters = (piece.strip().lower() for piece in part.split(";"))
        ranges.append((media_range, _weight(parameters)))
    best, best_key = "", (0.0, 0)
    for offered in dict.fromkeys([default, *AVAILABLE]):
        matches = [
            (_specificity(media_range, offered), weight, -position)
            for position, (media_range, weight) in enumerate(ranges)
            if _specificity(media_range, offered)
        ]
        if matches:
            _, weight, earlier = max(matches)  # the most specific range decides (RFC 9110, 12.5.1)
            if weight > 0 and (not best or (weight, earlier) > best_key):
                best, best_key = offered, (weight, earlier)
    if not best:
        raise NotAcceptable(
            f"Accept is {(accept or '')[:100]!r}; we give {', '.join(AVAILABLE)}.", available=AVAILABLE
        )
    return best


def _specificity(media_range: str, offered: str) -> int:
    """How closely a range names a type: 3 itself or an alias, 2 its first half, 1 any; 0 not at all."""
    if ANSWERS.get(media_range) == offered and not media_range.endswith("/*"):
        return 3
    if media_range == f"{offered.partition('/')[0]}/*":
        return 2
    return int(media_range == "*/*")


def _weight(parameters: list[str]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
