"""One contract per family of upstreams, and the table that finds it."""

from fnmatch import fnmatchcase

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.families.hf import HfFamily
from espnet_wsm.upstream.families.native import NativeFamily

FAMILIES: tuple[FamilyContract, ...] = (
    HfFamily("hf_hubert", ("hf_hubert_custom",), model_type="hubert"),
    HfFamily("hf_wav2vec2", ("hf_wav2vec2_custom",), model_type="wav2vec2"),
    NativeFamily("hubert", ("hubert", "hubert_*")),
    NativeFamily("wav2vec2", ("wav2vec2", "wav2vec2_*", "xlsr_53", "xls_r_*")),
)


def find_family(upstream: str) -> FamilyContract:
    """The contract for an S3PRL upstream name.

    Raises:
        UserError: no family supports the name; lists those that are supported.
    """
    for family in FAMILIES:
        if any(fnmatchcase(upstream, pattern) for pattern in family.upstreams):
            return family
    known = ", ".join(pattern for family in FAMILIES for pattern in family.upstreams)
    raise UserError(f"upstream {upstream!r} is not supported; S3PRL names that are: {known}")


__all__ = ["FAMILIES", "FamilyContract", "find_family"]
