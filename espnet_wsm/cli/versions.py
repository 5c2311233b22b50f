"""The versions that matter in a bug report."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import espnet_wsm
from espnet_wsm.scoring.sclite import find_sclite, read_sclite_version
from espnet_wsm.stages.record_run import describe_git

ROOT = Path(espnet_wsm.__file__).parents[1]
PACKAGES = (
    "torch",
    "torchaudio",
    "espnet",
    "espnet-s3prl",
    "transformers",
    "peft",
    "numpy",
    "soundfile",
    "kaldiio",
    "sentencepiece",
    "jiwer",
)


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _describe_project() -> str:
    # An installed copy may lie inside another project's checkout, whose commit says nothing.
    commit = f", commit {describe_git(ROOT)}" if (ROOT / ".git").exists() else ""
    return espnet_wsm.__version__ + commit


def _describe_cuda() -> str:
    try:
        import torch
    except Exception as error:  # a broken installation is what the report may be about
        return f"torch cannot be imported: {error}"
    if not torch.cuda.is_available():
        return f"no device (torch is built for CUDA {torch.version.cuda or 'none'})"
    names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return f"{torch.version.cuda}, {', '.join(names)}"


def _describe_sclite() -> str:
    command = find_sclite()
    if command is None:
        return "not installed (scoring in Python only)"
    return f"{read_sclite_version(command) or 'version unknown'}, {' '.join(command)}"


def format_versions() -> str:
    """A table, a line each; imports torch, which alone knows of CUDA and its devices."""
    rows = {
        "espnet_wsm": _describe_project(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{package: _find_version(package) for package in PACKAGES},
        "cuda": _describe_cuda(),
        "sclite": _describe_sclite(),
    }
    return "\n".join(f"  {name:<14} {value}" for name, value in rows.items())
