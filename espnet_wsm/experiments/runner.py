"""Run a grid: prepare the data once, then run the recipes' stages for every training, several at a time."""

import hashlib
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from tqdm import tqdm

from espnet_wsm.arms import ARMS
from espnet_wsm.data.kaldi.lists import count
from espnet_wsm.errors import UserError
from espnet_wsm.experiments.corpora import Corpus, find_corpus
from espnet_wsm.experiments.grid import IMMATERIAL, Grid
from espnet_wsm.experiments.launching import Launcher
from espnet_wsm.experiments.options import options_of, write_key
from espnet_wsm.experiments.records import (
    DEV,
    TEST,
    Record,
    keep_asked,
    keep_reference,
    read_asked,
    read_epochs,
    read_mapping,
    read_record,
    read_transfer,
    record_path,
    score_texts,
    write_record,
)
from espnet_wsm.experiments.runs import Run
from espnet_wsm.experiments.sweep import choose_rates, extend_sweep, rate_arm, with_chosen_rates
from espnet_wsm.files import digest_file, read_yaml, write_text

# Options that name a file which changes the texts, and their defaults.
TEXT_FILES = {"text_config": "conf/text.yaml", "nlsyms_txt": ""}
CHOSEN = "chosen_lr.json"
DIGITS = 12  # of the digest of an upstream
LINES_OF_FAILURE = 3  # lines of a launcher's output that are shown for a failed run
EARLIER_FRAMES = 3000  # in a step of a transfer, of records whose fingerprint does not say it
EXPERIMENTS = "grid"  # folder of the runs in a recipe's exp/


class FailedRunsError(UserError):
    """Some runs of a grid failed, but others can be reported."""


class Runner:
    """Runs everything that a grid asks for and that is not there yet.

    Args:
        root: folder of the checkout.
        grid: the grid to run.
        results: folder of the records.
        cmd: launcher with Kaldi's command line, for whole runs.
        jobs: number of runs at a time.
    """

    def __init__(self, root: Path, grid: Grid, results: Path, cmd: str, jobs: int) -> None:
        self.root, self.grid, self.results, self.jobs = root, grid, results, jobs
        try:
            program, *options = shlex.split(cmd)
        except ValueError as error:
            raise UserError(f"--cmd {cmd!r} is no command line: {error}") from error
        # Runs start in the recipes' folders, where a relative path would not be valid.
        self.cmd = [os.path.abspath(program) if os.path.isfile(program) else program, *options]
        names = dict.fromkeys(run.corpus for run in (*grid.sweep, *grid.runs))
        self.corpora = {name: find_corpus(root, name) for name in names}
        recipe = next(iter(self.corpora.values())).recipe
        self.ngpu = grid.recipe_options.get("ngpu", "0")
        self.settings, self.flat_start, self.dtype = self._read_settings(recipe / grid.train_config)
        self.upstream = self._digest_upstream(recipe / grid.upstream, grid.upstream_digest)
        self._prepared: set[tuple[str, int, tuple[int, ...], str]] = set()  # corpus, k, layers, mixer
        self._launcher = Launcher()

    def _read_settings(self, train_config: Path) -> tuple[str, int, str]:
        """What a training configuration says, the steps of a flat start, and the precision here."""
        if not train_config.is_file():
            raise UserError(f"the grid's train_config {train_config} does not exist")
        settings = read_yaml(train_config)
        dtype = self.grid.suffix_dtype or (settings.get("encoder_conf") or {}).get("suffix_dtype", "float32")
        if self.ngpu == "0" and dtype == "auto":
            import torch

            from espnet_wsm.upstream import choose_dtype  # seconds

            dtype = choose_dtype(dtype, torch.device("cpu"))
        said = (settings.get("model_conf") or {}).pop("flat_start", 0)
        steps = said if self.grid.flat_start is None else self.grid.flat_start
        return json.dumps(settings, sort_keys=True), steps, dtype

    @staticmethod
    def _digest_upstream(folder: Path, wanted: str | None) -> str:
        """Name and digest of an upstream: of its record, which its files are checked against, or theirs."""
        record = folder / "upstream.json"
        if record.is_file():
            digest = digest_file(record)[:DIGITS]
        else:
            from espnet_wsm.upstream import find_checkpoint  # torch: seconds

            digest = find_checkpoint(os.path.abspath(folder)).digest[:DIGITS]
        if wanted is not None and digest != wanted:
            raise UserError(
                f"{folder} is another upstream than the grid is for: its digest is {digest}, not {wanted}. "
                "Put that one back, or name the new one: upstream_digest in the grid"
            )
        return f"{folder.name} {digest}"

    def run(self) -> list[Record]:
        """Block by block: prepare its corpora, choose the learning rates of its arms, run it.

        Raises:
            UserError: a stage of the preparation failed, or all runs.
            FailedRunsError: some runs failed; all others have ended and can be reported.
        """
        swept: dict[Run, Record] = {}
        done: list[Record] = []
        failed: dict[Run, Exception] = {}
        unchosen: set[str] = set()  # arms of which a rate failed, which have none to be run with
        rates = dict(self.grid.rates)
        swept_arms = {run.arm for run in self.grid.sweep}
        fitted = {rate_arm(run.arm) for run in self.grid.runs if run.lr is None}
        if without := fitted - swept_arms - rates.keys():
            print(
                f"no learning rate was chosen for {', '.join(sorted(without))}: that of the configuration is "
                "taken",
                file=sys.stderr,
            )
        for number, block in enumerate(self.grid.blocks, 1):
            arms = {rate_arm(run.arm) for run in block}
            sweep = [run for run in self.grid.sweep if run.arm in arms and run not in {*swept, *failed}]
            self.prepare([*sweep, *block])
            self._keep_asked(swept)
            while sweep:
                swept |= self.run_all(sweep, "sweep", failed)
                unchosen |= {run.arm for run in failed if run.sweep}
                errors = [(r, swept[r].sets[DEV].rate("cer")) for r in swept if r.arm not in unchosen]
                rates |= (chosen := choose_rates(errors))
                self._keep_chosen(chosen)
                self._keep_asked(swept)
                sweep = extend_sweep(errors) if self.grid.extend_sweep else []
            block = with_chosen_rates((run for run in block if rate_arm(run.arm) not in unchosen), rates)
            title = f"block {number} of {len(self.grid.blocks)}"
            # Self-training goes on from the run with a round less, if that is there.
            for rounds in sorted({ARMS[run.arm].pseudo_rounds for run in block}):
                part = [run for run in block if ARMS[run.arm].pseudo_rounds == rounds]
                done += self.run_all(part, title, failed).values()
        if failed:
            total = len({*self.grid.sweep, *swept}) + len(self.grid.runs)
            listing = "".join(f"\n  {run.title}: {error}" for run, error in failed.items())
            raise (FailedRunsError if done else UserError)(
                f"{count(len(failed), 'run')} of {total} failed; the others are kept. Run this again to "
                f"repeat these, and to run arms whose learning rate could not be chosen:{listing}"
            )
        return [*swept.values(), *done]

    def _keep_chosen(self, chosen: dict[str, float]) -> None:
        """Store the chosen rates, and keep those of arms that are swept later."""
        path = self.results / CHOSEN
        known = read_mapping(path) or {}
        arms = {run.arm for run in self.grid.sweep}
        rates = {arm: rate for arm, rate in known.items() if arm in arms} | chosen
        write_text(path, json.dumps(rates, indent=1).split("\n"))

    def _keep_asked(self, swept: Iterable[Run]) -> None:
        """Store what the grid asks for, with what its sweep was extended by, now or in an earlier call."""
        known = (read_asked(self.results) or {"sweep": []})["sweep"]
        earlier = [title for title in known if (self.results / "runs" / f"{title}.json").is_file()]
        keep_asked(self.results, self.grid, [*(run.title for run in swept), *earlier])

    def prepare(self, wanted: Iterable[Run]) -> None:
        """Stages 1 and 2 of the corpora of some runs, with the features of every cut that these need."""
        # Stage 2 looks where the heads look for the mixer that needs it alone.
        cuts: dict[tuple[str, int, tuple[int, ...]], str] = {}
        for run in wanted:
            mixer = ARMS[run.arm].options["mixer"]
            cut = run.corpus, run.num_replaced, tuple(ARMS[run.arm].options.get("layers", ()))
            cuts.setdefault(cut, "wsm")
            if mixer == "wsm_heads":
                cuts[cut] = mixer
        for name, k, layers, mixer in sorted({(*cut, mixer) for cut, mixer in cuts.items()} - self._prepared):
            corpus = self.corpora[name]
            data = corpus.folder("data")
            if not (data / "train").is_dir() or (data / ".unfinished").exists():
                self._call(corpus, ["--stage", "1", "--stop_stage", "1"])
            options = ["--stage", "2", "--stop_stage", "2", "--num_replaced", str(k), "--mixer", mixer]
            if layers:
                asr_args = self.grid.recipe_options.get("asr_args", "")
                options += ["--asr_args", f"{asr_args} {write_key('layers', layers)}"]
            self._call(corpus, options)
            # The texts as spelt by stage 2, which training uses and against which stage 5 scores.
            for set_name, folder in ((DEV, f"raw/org/{DEV}"), (TEST, f"raw/{TEST}")):
                keep_reference(self.results, name, set_name, corpus.folder("dump") / folder / "text")
            self._prepared |= {(name, k, layers, mixer), (name, k, layers, "wsm")}

    def _call(self, corpus: Corpus, options: Sequence[str]) -> None:
        command = ["./run.sh", *corpus.options, *self._common_options(), *options]
        with subprocess.Popen(command, cwd=corpus.recipe) as process:
            try:
                status = process.wait()
            except BaseException:
                process.terminate()  # the end of the block waits until its stages end
                raise
        if status:
            raise UserError(f"{corpus.name}: {shlex.join(command)} failed (see above)")

    def _common_options(self, without: Sequence[str] = ()) -> list[str]:
        options = {"upstream": self.grid.upstream, "train_config": self.grid.train_config}
        options |= {"valid_set": DEV, "test_sets": f"{DEV} {TEST}"} | self.grid.recipe_options
        return [word for name in options if name not in without for word in (f"--{name}", options[name])]

    def fingerprint(self, run: Run) -> str:
        """Digest of everything a run depends on: itself, configuration, upstream, data and options."""
        corpus = self.corpora[run.corpus]
        # Without every second word, of sizes and times, which differ from machine to machine.
        made_from = (corpus.folder("dump") / ".made_from").read_text(encoding="utf-8").split(" ")[::2]
        if not ARMS[run.arm].transfers and not ARMS[run.arm].pseudo_of:
            made_from = made_from[:1]  # the others are those of --unlabelled
        made_from = "".join(f"{digest.strip()}\n" for digest in made_from)
        options = repr(self._common_options(without=IMMATERIAL))
        parts = [repr(run), self.settings, self.dtype, self.upstream, made_from, options]
        if ARMS[run.arm].transfers:
            frames = self.grid.transfer_frames
            parts += [f"transfer {self.grid.transfer}" + f" of {frames}" * (frames != EARLIER_FRAMES)]
        parts += [f"flat start {self.flat_start}"] if self.flat_start else []
        parts += [extra for extra in (ARMS[run.arm].training, ARMS[run.arm].transfer_args) if extra]
        for option, usual in TEXT_FILES.items():
            file = corpus.recipe / self.grid.recipe_options.get(option, usual)
            parts += [file.read_text(encoding="utf-8")] if file.is_file() else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]

    def run_all(self, runs: Iterable[Run], name: str, failed: dict[Run, Exception]) -> dict[Run, Record]:
        """The records of all runs, including those that were there already.

        Args:
            runs: what to run.
            name: what it is, for the progress bar.
            failed: takes the runs that failed, with the reasons.
        """
        runs = list(runs)
        done = {run: record for run in runs if (record := self._find_done(run)) is not None}
        todo = [run for run in runs if run not in done]
        if not todo:
            return {run: done[run] for run in runs}
        with (
            tqdm(total=len(runs), initial=len(done), desc=name, unit="run") as progress,
            ThreadPoolExecutor(self.jobs) as pool,
        ):
            try:
                pending = {pool.submit(self.run_one, run): run for run in todo}
                for future in as_completed(pending):
                    run = pending[future]
                    try:
                        done[run] = future.result()
                        words = f"{run.title} CER {done[run].sets[DEV].rate('cer'):.1f} on dev"
                    except UserError as error:
                        failed[run] = error
                        words = f"{run.title} FAILED"
                    progress.set_postfix_str(words, refresh=False)
                    progress.update()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                self._launcher.stop()
                raise
        return {run: done[run] for run in runs if run in done}

    def _find_done(self, run: Run) -> Record | None:
        path = record_path(self.results, run)
        if not path.is_file():
            return None
        record = read_record(path)
        return record if record.fingerprint == self.fingerprint(run) else None

    def run_one(self, run: Run) -> Record:
        """Train, decode and record one run.

        Raises:
            UserError: a stage failed; names the log.
        """
        corpus = self.corpora[run.corpus]
        # A run with other settings has another folder, so that it is not resumed as if it were this one.
        first = replace(run, arm=ARMS[run.arm].pseudo_of or run.arm)
        tag = f"{EXPERIMENTS}/{first.name}-{self.fingerprint(first)[:8]}"
        exp = corpus.folder("exp") / f"asr_{tag}"
        log = corpus.folder("exp") / EXPERIMENTS / "log" / f"{run.name}.log"
        command = ["bash", "run.sh", *corpus.options, *self._common_options(without=("asr_args",))]
        asr_args = self.grid.recipe_options.get("asr_args", "")
        if self.grid.suffix_dtype is not None:
            asr_args += f" --encoder_conf suffix_dtype={self.dtype}"
        if self.grid.flat_start is not None:
            asr_args += f" --model_conf flat_start={self.flat_start}"
        command += [*options_of(run, asr_args, self.grid.transfer, self.grid.transfer_frames), "--tag", tag]
        if (rounds := ARMS[run.arm].pseudo_rounds) and "unlabelled" not in self.grid.recipe_options:
            command += ["--unlabelled", "rest"]
        command += ["--stage", "3", "--stop_stage", "4", "--nj", "1", "--num_threads", "1"]
        if run.sweep:
            command[command.index("--test_sets") + 1] = DEV
        launcher = [*self.cmd, "--num_threads", "1", "--gpu", self.ngpu, str(log.resolve())]
        log.parent.mkdir(parents=True, exist_ok=True)
        # Until this run ends, a record with other settings or data would be reported in its place.
        record_path(self.results, run).unlink(missing_ok=True)
        status, output = self._launcher.run([*launcher, *command], corpus.recipe)
        if status:
            said = "".join(f"\n    {line.strip()}" for line in output.splitlines()[-LINES_OF_FAILURE:])
            raise UserError(f"see {os.path.relpath(log, self.root)}{said}")
        last = exp.with_name(f"{exp.name}_pseudo{rounds}") if rounds else exp
        return self._keep(run, corpus, exp, last)

    def _keep(self, run: Run, corpus: Corpus, first: Path, exp: Path) -> Record:
        rows = {}
        for name in (DEV,) if run.sweep else (DEV, TEST):
            reference = self.results / "references" / corpus.name / name
            rows[name] = score_texts(reference, exp / "decode_greedy" / name / "text")
        parameters = json.loads((exp / "parameters.json").read_text(encoding="utf-8"))
        made = json.loads((exp / "run.json").read_text(encoding="utf-8"))
        seconds, curves = read_epochs(exp / "checkpoint.pth")
        labelled = exp / "pseudo"
        if labelled.is_dir():
            seconds = round(seconds + read_epochs(labelled / "checkpoint.pth")[0], 1)
        record = Record(
            run=run,
            fingerprint=self.fingerprint(run),
            upstream=self.upstream,
            trainable=parameters["trainable"],
            total=parameters["total"],
            seconds=seconds,
            git=made["git"],
            date=made["date"],
            device=f"{'cpu' if self.ngpu == '0' else count(int(self.ngpu), 'GPU')} ({self.dtype})",
            curves=curves,
            transfer=read_transfer(first),
        )
        write_record(self.results, record, rows)
        # The averaged model was decoded and is kept. checkpoint.pth is deleted before the epochs: if the
        # record is removed, the run is repeated, and resuming from a checkpoint without its epochs would
        # fail.
        others = {path for folder in (exp, labelled) for path in folder.glob("*.pth")}
        others -= {path for folder in (exp, labelled) for path in folder.glob("valid.*.ave*.pth")}
        for path in sorted(others, key=lambda path: path.name != "checkpoint.pth"):
            path.unlink()
        return read_record(record_path(self.results, run))
