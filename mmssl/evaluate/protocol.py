"""What the figures of a model of videos were measured of, so that another laboratory can measure the same."""

from typing import Any

from mmssl.config import Config
from mmssl.evaluate.completion import predictive
from mmssl.evaluate.frames import CEILING
from mmssl.evaluate.futures import CLIPS
from mmssl.evaluate.judges import hash_of_file, hash_of_weights
from mmssl.evaluate.worlds import open_world
from mmssl.modalities.media_data import Reader
from mmssl.objectives import Objective

OF_FRAMES = {
    "pixels": "8 bits, in [0, 1]",
    "psnr": f"dB of the hidden frames of a clip together, at most {CEILING:g}",
    "ssim": "Gaussian window of 11 pixels, deviation 1.5, mean over frames",
    "best_of": "each measure's own best sample of a clip",
    "frechet": "mean tokens of whole clips, one sample of each clip, against the true clips",
}


def video_protocol(objective: Objective, config: Config, heldout: Reader, paired: int) -> dict[str, dict[str, Any]]:
    """The key `video.protocol`; nothing where no video is read. `paired`: clips whose energies are compared, at most;
    `clips` are those of whose frames or futures is told. Whoever hides patches in place of frames has no `seen_frames`
    but masks, which `method` says.
    """
    part, method = predictive(objective), config.method.arguments()
    if part is None or "video" not in part.answered:
        return {}
    evaluate = config.evaluate
    most = min(evaluate.documents, heldout.size)
    found = {
        "source": config.data.source, "heldout": config.data.heldout, "seconds": config.data.seconds,
        "frames": config.video.frames, "size": config.video.size, "seed": config.seed,
        "clips": min(CLIPS, most), "clips_of_energies": min(paired, most), "mean": "over clips",
        "method": {"name": config.method.name, **method}, "encoder": hash_of_weights(objective.encoder),
        "samples": evaluate.futures if part.has_latent else 1,
        "sampler": "the prior given what is seen" if part.has_latent else "none: one answer",
    }  # fmt: skip
    if (world := open_world(config)) is not None:
        draws = min(world.num_answers, evaluate.futures) if part.has_latent else 1
        found |= {"clips_of_coverage": min(evaluate.open_samples, most), "draws_of_coverage": draws}
    if method.get("seen_frames"):
        files = {"lpips": evaluate.lpips_weights, "fvd": evaluate.fvd_weights}
        found |= {"seen_frames": method["seen_frames"], "predicts": method.get("predicts", "future"), **OF_FRAMES}
        found["files"] = {name: hash_of_file(path) for name, path in files.items() if path}
    return {"video.protocol": found}
