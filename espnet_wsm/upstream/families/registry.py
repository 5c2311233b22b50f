"""Two tables: which families of upstreams are supported, and what is refused and why."""

from fnmatch import fnmatchcase
from pathlib import Path

from espnet_wsm.errors import UserError
from espnet_wsm.upstream.families.contract import FamilyContract
from espnet_wsm.upstream.families.distiller import DistillerFamily
from espnet_wsm.upstream.families.fairseq import FairseqFamily
from espnet_wsm.upstream.families.hf import GENERIC, HfFamily, read_model_type
from espnet_wsm.upstream.families.hf_bert import HfBertFamily
from espnet_wsm.upstream.families.hf_wavlm import HfWavlmFamily
from espnet_wsm.upstream.families.torchaudio import TorchaudioFamily
from espnet_wsm.upstream.families.wavlm import WavlmFamily
from espnet_wsm.upstream.families.whisper import WhisperFamily

BASE, LARGE = "post-norm, group norm", "pre-norm, layer norm"

FAMILIES: tuple[FamilyContract, ...] = (
    FairseqFamily(
        "wav2vec2",
        ("wav2vec2", "wav2vec2_*", "xlsr_53", "xls_r_*"),
        "wav2vec2_local",
        (BASE, LARGE),
        full_size=("wav2vec2-base", "XLS-R 300M"),
        mark=lambda content: "dictionaries_symbols" not in content and "_ema" not in content["model_weight"],
    ),
    FairseqFamily(
        "hubert",
        ("hubert", "hubert_*", "contentvec", "contentvec_*", "mhubert_*", "ms_hubert"),
        "hubert_local",
        (BASE, LARGE),
        mark=lambda content: "dictionaries_symbols" in content,
        masks_always=True,
    ),
    FairseqFamily(
        "data2vec",
        ("data2vec", "data2vec_*"),
        "data2vec_local",
        ("post-norm, layer norm",),
        mark=lambda content: "_ema" in content["model_weight"],
    ),
    DistillerFamily(
        "distiller",
        ("distilhubert", "distilhubert_*", "distiller_*"),
        "distiller_local",
        (BASE,),
        masks_always=True,
    ),
    WavlmFamily(
        "wavlm",
        ("wavlm", "wavlm_*"),
        "wavlm_local",
        (BASE, LARGE),
        full_size=("WavLM-large",),
        mark=lambda content: bool(content["cfg"].get("relative_position_embedding")),
        masks_always=True,
    ),
    WavlmFamily(
        "unispeech_sat",
        ("unispeech_sat", "unispeech_sat_*"),
        "unispeech_sat_local",
        (BASE, LARGE),
        mark=lambda content: not content["cfg"].get("relative_position_embedding"),
        masks_always=True,
        relative_positions=False,
    ),
    TorchaudioFamily(
        "espnet_hubert", ("espnet_hubert_*", "cvhubert", "wavlablm_*"), "espnet_hubert_custom", (BASE, LARGE)
    ),
    HfFamily("hf_hubert", ("hf_hubert_custom",), "hf_hubert_custom", (BASE, LARGE), ("hubert",)),
    HfFamily(
        "hf_wav2vec2",
        ("hf_wav2vec2_custom",),
        "hf_wav2vec2_custom",
        (BASE, LARGE, "with MMS adapters, pre-norm, layer norm"),
        ("wav2vec2",),
    ),
    HfWavlmFamily("hf_wavlm", (GENERIC,), GENERIC, (BASE, LARGE), ("wavlm",)),
    HfFamily(
        "hf_generic",
        (GENERIC,),
        GENERIC,
        (
            "data2vec-audio, post-norm, layer norm",
            "unispeech, pre-norm, layer norm",
            "unispeech-sat, post-norm, group norm",
        ),
        ("data2vec-audio", "unispeech", "unispeech-sat"),
    ),
    HfBertFamily("hf_wav2vec2_bert", (GENERIC,), GENERIC, ("layer norm",), ("wav2vec2-bert",)),
    WhisperFamily(
        "whisper",
        ("whisper_base", "whisper_tiny_en", "whisper_local"),
        "whisper_local",
        ("pre-norm, on log-mel",),
        ("whisper",),
    ),
)

# S3PRL names and transformers' model types that are refused, with the reason; the first match counts.
REFUSED: dict[str, str] = {
    "wav2vec2?conformer*": "the convolution in each of its conformer layers looks into the padding, and its "
    "batch norm would train on the padding too",
    "multires_hubert*": "its layers run at several frame rates, so there are no last k layers to cut off",
    "lighthubert*": "it is a supernet whose layers change their sizes",
    "sew*": "it squeezes time inside the encoder",
    "seamless*": "it is a translation model",
    "mae_ast*": "its layers see patches of a spectrogram, not frames",
    "ssast*": "its layers see patches of a spectrogram, not frames",
    "ast": "its layers see patches of a spectrogram, not frames",
    "passt*": "its layers see patches of a spectrogram, not frames",
    "audio_albert*": "it reads log-mel through S3PRL's own older transformer, whose layers have another form",
    "mockingjay*": "it reads log-mel through S3PRL's own older transformer, whose layers have another form",
    "tera*": "it reads log-mel through S3PRL's own older transformer, whose layers have another form",
    "mos_*": "it predicts a score of quality",
    "discretebert": "it attends to discrete codes, not to frames of a waveform",
    "vq_wav2vec_kmeans_roberta": "it attends to discrete codes, not to frames of a waveform",
    "*": "it is none of the transformers over frames of a waveform that are known here",
}


def list_supported() -> str:
    """The S3PRL names that are supported, for messages."""
    names = dict.fromkeys(name for family in FAMILIES for name in family.upstreams if name != GENERIC)
    types = ", ".join(t for family in FAMILIES for t in getattr(family, "model_types", ()))
    return f"{', '.join(names)}; directories of transformers models: {types}"


def find_reason(name: str) -> str:
    """Why a name that no family supports is refused."""
    return next(reason for pattern, reason in REFUSED.items() if fnmatchcase(name, pattern))


def explain_refusal(name: str) -> str:
    """The end of every message that refuses an upstream."""
    return f"not supported: {find_reason(name)}. Supported: {list_supported()}"


def is_refused(name: str) -> bool:
    """Whether the name is refused for a specific reason, not just because it is unknown."""
    return any(fnmatchcase(name, pattern) for pattern in REFUSED if pattern != "*")


def is_name(upstream: str) -> bool:
    """Whether this is S3PRL's name for a supported upstream, not a path."""
    names = (pattern for family in FAMILIES for pattern in family.upstreams)
    return "/" not in upstream and any(fnmatchcase(upstream, pattern) for pattern in names)


def find_family(upstream: str) -> FamilyContract:
    """The contract for an S3PRL upstream name.

    Raises:
        UserError: no family supports the name; says why and lists the supported names.
    """
    for family in () if is_refused(upstream) else FAMILIES:
        if any(fnmatchcase(upstream, pattern) for pattern in family.upstreams):
            return family
    raise UserError(f"upstream {upstream} is {explain_refusal(upstream)}")


def find_model_family(directory: Path) -> FamilyContract:
    """The contract for a directory of transformers, by its ``config.json``.

    Raises:
        UserError: no family supports its model type; says why and lists the supported types.
    """
    model_type = read_model_type(directory)
    for family in FAMILIES:
        if model_type in getattr(family, "model_types", ()):
            return family
    raise UserError(f"{directory} holds a {model_type} model, which is {explain_refusal(model_type)}")
