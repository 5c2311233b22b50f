"""Which modules of ``espnet_wsm/bin`` are for people, grouped as ``--help`` shows them; which for scripts."""

GROUPS = {
    "Data": ("validate_data_dir", "fix_data_dir", "report_data_dir"),
    "Upstreams": (
        "list_upstreams",
        "fetch_upstream",
        "inspect_upstream",
        "probe_upstream",
        "make_random_upstream",
    ),
    "Training and decoding": ("asr_train", "asr_inference", "asr_inference_greedy", "asr_inference_lm"),
    "Scoring": ("score", "compare_systems", "make_report"),
    "Use": ("transcribe",),
}

# Called by recipes, launchers and run_all.sh. espnet-wsm runs them too, but does not list them.
CALLED_BY_SCRIPTS = (
    "cache_features",
    "decode_sets",
    "export_upstream",
    "format_audio",
    "hubert_train",
    "limit_duration",
    "make_results",
    "make_targets",
    "make_tokens",
    "merge_audio",
    "prepare_corpus",
    "prepare_lm",
    "record_run",
    "run_experiments",
    "sbatch_options",
    "select_utterances",
    "subset_dump",
    "watch_jobs",
    "watch_training",
)

# Where options of a command are declared, besides its own module; completion reads these files too.
_TEXT = "espnet_wsm.data.text"
_GREEDY = "espnet_wsm.bin.asr_inference_greedy"
_CONFIG = "espnet2.utils.config_argparse"
OPTIONS_DECLARED_IN = {
    "validate_data_dir": (_TEXT,),
    "fix_data_dir": (_TEXT,),
    "report_data_dir": (_TEXT,),
    "asr_train": ("espnet2.tasks.asr", "espnet2.tasks.abs_task", _CONFIG),
    "asr_inference": ("espnet2.bin.asr_inference", _CONFIG),
    "asr_inference_greedy": (_CONFIG,),
    "asr_inference_lm": (_GREEDY, _CONFIG),
}
