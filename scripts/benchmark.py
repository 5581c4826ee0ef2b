"""Measure pretraining against the stock ways on the machine at hand; prints JSON.

`python scripts/benchmark.py text` trains the variants of benchmark_text.py, interleaved, each in a process of its own.
Tokens are counted where they are real, not padding. `python scripts/benchmark.py image` trains those of
benchmark_image.py, `masked_image` those of benchmark_masked_image.py, `video` those of benchmark_video.py, `audio`
those of benchmark_audio.py, `audio_visual` those of benchmark_audio_visual.py.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
from importlib.metadata import version
from pathlib import Path

import benchmark_audio
import benchmark_audio_visual
import benchmark_image
import benchmark_masked_image
import benchmark_video
import torch
from benchmark_step import accelerator_or_cpu, apart, interleaved, matrix_product, peak_bytes
from benchmark_text import INNER, LAYERS, LENGTH, MASK_RATIO, STOCK, VOCABULARY, WIDTH, Budget, prepare, stock

FLOPS_PER_TOKEN = (
    "6 (layers (4 width^2 + 2 width inner) + mask_ratio (width^2 + width vocabulary)) + 12 layers length width"
)


def flops_per_token() -> float:
    """Useful operations of a training step for one token: the head counts where a token is hidden."""
    head = MASK_RATIO * (WIDTH**2 + WIDTH * VOCABULARY)
    return 6 * (LAYERS * (4 * WIDTH**2 + 2 * WIDTH * INNER) + head) + 12 * LAYERS * LENGTH * WIDTH


def hardware() -> str:
    """The accelerator, the processor, how many of its cores this process may use, and torch's threads."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")] + [platform.machine()]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    card = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{card}{names[0]}, {cores} cores, {torch.get_num_threads()} threads of torch"


def run_variant(variant: str, workspace: Path, budget: Budget) -> dict:
    """Run one variant in this process; its peak memory is that of the process."""
    if variant in STOCK:
        measured = stock(variant, workspace, budget)
    else:
        from benchmark_ours import ours

        measured = ours(workspace, budget)
    return measured._asdict() | {"peak_bytes": peak_bytes()}


def images(source: str, encoders: list[str], seconds: float, repeats: int) -> dict:
    """Medians over interleaved repeats of each variant with each encoder, and the ratios of mmssl to each peer."""
    ceiling = matrix_product(torch.float32)
    report: dict = {"ceiling_gflops": ceiling, "encoders": {}}
    for encoder in encoders:
        runs: dict[str, list[dict]] = {variant: [] for variant in benchmark_image.VARIANTS}
        for variant in [*benchmark_image.VARIANTS] * repeats:
            with tempfile.TemporaryDirectory() as folder:
                if source:
                    (Path(folder) / "train").symlink_to(Path(source).absolute())
                else:
                    benchmark_image.write_pictures(Path(folder))
                command = ["image", "--variant", variant, "--encoders", encoder]
                command += ["--workspace", folder, "--seconds", str(seconds)]
                runs[variant].append(apart(*command))
        flops = benchmark_image.flops_per_picture(encoder)
        found = {}
        for variant, parts in runs.items():
            rate = statistics.median(part["pictures"] / part["seconds"] for part in parts)
            found[variant] = {
                "images_per_second": rate,
                "views_per_second": statistics.median(part["views"] / part["view_seconds"] for part in parts),
                "decode_seconds": statistics.median(part["decode_seconds"] for part in parts),
                "peak_bytes": statistics.median(part["peak_bytes"] for part in parts),
                "share_of_ceiling": rate * flops / 1e9 / ceiling,
            }
        mine = found["mmssl"]
        ratios = {
            f"{key}, mmssl/{variant}": mine[key] / other[key]
            for variant, other in found.items()
            for key in ("images_per_second", "views_per_second")
            if variant != "mmssl"
        }
        report["encoders"][encoder] = {"variants": found, "ratios": ratios}
    return report


def masked_images(models: list[str], variants: list[str], seconds: float, repeats: int, batch: int) -> dict:
    """Medians over interleaved repeats of each variant of each model, beside the machine's matrix products."""
    report: dict = {"models": {}}
    for model in models:
        ceiling = {"fp32": matrix_product(torch.float32), "bf16": matrix_product(torch.bfloat16)}
        asked = ("--seconds", str(seconds), "--batch", str(batch))
        runs = interleaved("masked_image", model, variants, repeats, *asked)
        sizes = benchmark_masked_image.MODELS[model]
        sizes = sizes._replace(batch=batch or sizes.batch)
        flops = benchmark_masked_image.flops_per_picture(sizes)
        found = benchmark_masked_image.summary(runs, flops, ceiling)
        report["models"][model] = {"sizes": sizes._asdict(), "ceiling_gflops": ceiling, **found}
    return report


def videos(models: list[str], variants: list[str], count: int, seconds: float, repeats: int) -> dict:
    """The same of clips, in memory and from `count` files that are written first."""
    report: dict = {"models": {}, "device": str(accelerator_or_cpu())}
    with tempfile.TemporaryDirectory() as folder:
        if any("files" in variant for variant in variants):
            benchmark_video.write_videos(Path(folder), count)
        for model in models:
            asked = ("--seconds", str(seconds), "--workspace", folder)
            runs = interleaved("video", model, variants, repeats, *asked)
            report["models"][model] = {
                "sizes": benchmark_video.MODELS[model]._asdict(),
                **benchmark_video.summary(runs),
            }
    return report


def start_variant(variant: str, workspace: Path, budget: Budget) -> dict[str, float]:
    """Run one variant in a process of its own, which answers with its last line on stdout."""
    limits = [part for name, value in budget._asdict().items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return apart("text", "--variant", variant, "--workspace", str(workspace), *limits)


def speed(workspace: Path, variants: str, seconds: float, repeats: int) -> dict:
    """Medians over interleaved repeats (a b c d, a b c d, ...), and the ratios of (d) to each of the others."""
    ceiling = {"float32": matrix_product(torch.float32), "bfloat16": matrix_product(torch.bfloat16)}
    results: dict[str, list[dict]] = {variant: [] for variant in variants}
    for _ in range(repeats):
        for variant in variants:
            results[variant].append(start_variant(variant, workspace, Budget(seconds)))
    report = {}
    for variant, runs in results.items():
        rates = [run["real_tokens"] / run["seconds"] for run in runs]
        rate = statistics.median(rates)
        precision = "float32" if variant in "ab" else "bfloat16"
        report[variant] = {
            "real_tokens_per_second": rate,
            "each_repeat": rates,
            "real_ratio": sum(run["real_tokens"] for run in runs) / sum(run["slots"] for run in runs),
            "peak_bytes": statistics.median(run["peak_bytes"] for run in runs),
            "share_of_ceiling": rate * flops_per_token() / 1e9 / ceiling[precision],
        }
    rate_of = {variant: part["real_tokens_per_second"] for variant, part in report.items()}
    ratios = {f"d/{variant}": rate_of["d"] / rate_of[variant] for variant in STOCK if {"d", variant} <= set(rate_of)}
    return {"variants": report, "ratios": ratios, "ceiling_gflops": ceiling, "flops_per_token": FLOPS_PER_TOKEN}


def time_to_loss(workspace: Path, seconds: float) -> dict[str, float]:
    """The validation loss of (b) after `seconds`, schedule included, and the time (d) needs to reach it (nan:
    never).
    """
    reference = start_variant("b", workspace, Budget(seconds, evaluate_seconds=seconds))
    loss = reference["validation_loss"]
    # (d) plans for a quarter of the time, its learning rate falling to 0 within it
    quarter = Budget(seconds / 4, target=loss, evaluate_seconds=seconds / 60)
    reached = start_variant("d", workspace, quarter)
    needed = reached["validation_seconds"]
    return {
        "validation_loss": loss, "b_seconds": seconds, "d_seconds": needed, "d/b": needed / seconds,
        "d_last_validation_loss": reached["validation_loss"],
    }  # fmt: skip


def arguments() -> argparse.Namespace:
    """The command line; `--variant` and what follows it serve the processes that this one starts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    tasks = parser.add_subparsers(dest="task", required=True)
    image = tasks.add_parser("image", help="SimCLR on a folder of pictures, beside lightly")
    image.add_argument("--seconds", type=float, default=15, help="training of each variant in each repeat")
    image.add_argument("--repeat", type=int, default=3)
    image.add_argument("--encoders", nargs="*", choices=[*benchmark_image.ENCODERS], default=["tiny", "resnet18"])
    image.add_argument("--source", default="", help="folder of pictures; default: drawn from the built-in world")
    image.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    image.add_argument("--variant", choices=benchmark_image.VARIANTS, help="run this one alone, here")
    image.add_argument("--workspace", type=Path, help="folder with train/, for --variant")
    masked = tasks.add_parser("masked_image", help="MAE, beside ViTMAEForPreTraining in a plain loop")
    masked.add_argument("--seconds", type=float, default=15, help="training of each variant in each repeat")
    masked.add_argument("--repeat", type=int, default=3)
    masked.add_argument("--models", nargs="*", choices=[*benchmark_masked_image.MODELS],
                        default=[*benchmark_masked_image.MODELS])  # fmt: skip
    masked.add_argument("--variants", nargs="*", choices=benchmark_masked_image.VARIANTS,
                        default=[*benchmark_masked_image.VARIANTS], help="which to run, in this order")  # fmt: skip
    masked.add_argument("--batch", type=int, default=0, help="pictures of a step; 0: 64 small or 16 large ones")
    masked.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    masked.add_argument("--variant", choices=benchmark_masked_image.VARIANTS, help="run this one alone, here")
    video = tasks.add_parser("video", help="VideoMAE, beside VideoMAEForPreTraining in a plain loop")
    video.add_argument("--seconds", type=float, default=15, help="training of each variant in each repeat")
    video.add_argument("--repeat", type=int, default=3)
    video.add_argument("--models", nargs="*", choices=[*benchmark_video.MODELS], default=["tiny_64"])
    video.add_argument("--variants", nargs="*", choices=benchmark_video.VARIANTS, default=[*benchmark_video.VARIANTS])
    video.add_argument(
        "--files", type=int, default=64, help="mp4 files of 4 s that are written for those that read some"
    )
    video.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    video.add_argument("--variant", choices=benchmark_video.VARIANTS, help="run this one alone, here")
    video.add_argument("--workspace", type=Path, help="folder of mp4 files, for --variant")
    benchmark_audio.add_arguments(tasks)
    benchmark_audio_visual.add_arguments(tasks)
    text = tasks.add_parser("text", help="BERT, masked language modelling")
    text.add_argument("--seconds", type=float, default=20, help="training of each variant in each repeat")
    text.add_argument("--repeat", type=int, default=3)
    text.add_argument("--variants", default="abcd", help="which to run, in this order")
    text.add_argument("--source", default="", help="text file, or folder of .txt files; default: synthetic lines")
    text.add_argument("--time-to-loss", action="store_true", help="the second figure, in place of the speeds")
    text.add_argument("--reference-seconds", type=float, default=300, help="training of (b) for --time-to-loss")
    text.add_argument("--out", type=Path, help="file for the JSON, besides stdout")
    text.add_argument("--variant", choices=[*STOCK, "d"], help="run this one alone, here")
    text.add_argument("--workspace", type=Path, help="folder with lines.txt and tokenizer.json, for --variant")
    text.add_argument("--target", type=float, default=0.0)
    text.add_argument("--evaluate-seconds", type=float, default=0.0)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark, or one variant of it."""
    options = arguments()
    if options.task == "image":
        if options.variant:
            found = benchmark_image.measure(options.variant, options.encoders[0], options.workspace, options.seconds)
            print(json.dumps(found._asdict() | {"peak_bytes": peak_bytes()}))
            return
        finish(images(options.source, options.encoders, options.seconds, options.repeat), options.out)
        return
    if options.task == "masked_image":
        if options.variant:
            found = benchmark_masked_image.measure(options.variant, options.models[0], options.seconds, options.batch)
            print(json.dumps(found._asdict() | {"peak_bytes": peak_bytes()}))
            return
        finish(
            masked_images(options.models, options.variants, options.seconds, options.repeat, options.batch), options.out
        )
        return
    if options.task in ("audio", "audio_visual"):
        said = {"audio": benchmark_audio, "audio_visual": benchmark_audio_visual}[options.task].answer(options)
        print(json.dumps(said)) if options.variant else finish(said, options.out)
        return
    if options.task == "video":
        if options.variant:
            one = benchmark_video.measure(options.variant, options.models[0], options.workspace, options.seconds)
            print(json.dumps(one._asdict() | {"peak_bytes": peak_bytes()}))
            return
        found = videos(options.models, options.variants, options.files, options.seconds, options.repeat)
        finish(found, options.out)
        return
    if options.variant:
        budget = Budget(options.seconds, options.target, options.evaluate_seconds)
        print(json.dumps(run_variant(options.variant, options.workspace, budget)))
        return
    with tempfile.TemporaryDirectory() as folder:
        workspace = Path(folder)
        prepare(workspace, options.source)
        if options.time_to_loss:
            report = time_to_loss(workspace, options.reference_seconds)
        else:
            report = speed(workspace, options.variants, options.seconds, options.repeat)
    finish(report, options.out)


def finish(report: dict, out: Path | None) -> None:
    """Print the figures with hardware and versions, and keep them where asked."""
    versions = {name: version(name) for name in ("torch", "transformers", "tokenizers", "lightly")}
    machine = {"hardware": hardware(), "versions": versions | {"python": platform.python_version()}}
    words = json.dumps(report | machine, indent=2)
    print(words)
    if out:
        out.write_text(words + "\n")


if __name__ == "__main__":
    main()
