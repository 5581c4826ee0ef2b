"""Checkpoints that survive a kill at any moment: written whole or not at all, verified byte by byte when read.

A checkpoint is a folder `checkpoints/step-000001000` of safetensors and JSON, so nothing in it can run code.
MANIFEST.json, written last, holds the SHA-256 of every file; one rename names the folder once all is on the disk.
"""

import json
import os
import secrets
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor

from mmssl.errors import CheckpointError
from mmssl.folder import sync_directory, write_synced
from mmssl.manifest import FORMAT_VERSION, UNSEALED, File, Manifest, damage, read_file, read_manifest, seal, signature

CHUNK_BYTES = 1 << 24
MARGIN_BYTES = 1 << 20  # for names, headers and the manifest
FAULT_POINTS = (
    "before_temp",
    "after_temp",
    "during_write",
    "after_model",
    "after_optimizer",
    "after_state",
    "before_manifest",
    "after_manifest",
    "before_rename",
    "after_rename",
    "before_latest",
    "during_latest",
    "after_latest",
    "during_keep",
    "after_keep",
)
fault_calls: Counter[str] = Counter()


class Restored(NamedTuple):
    """A verified checkpoint; `warnings` has a line for each newer one that is damaged."""

    step: int
    tensors: dict[str, dict[str, Tensor]]
    state: dict
    path: Path
    warnings: list[str]


def fault(point: str) -> None:
    """Kills this process where MMSSL_FAULT is "<point>:<n>" and this is its n-th call (from 1); for the tests."""
    name, _, number = os.environ.get("MMSSL_FAULT", "").partition(":")
    if name != point:
        return
    fault_calls[point] += 1
    if fault_calls[point] == int(number):
        os.kill(os.getpid(), signal.SIGKILL)


def save(folder: Path, step: int, tensors: dict[str, dict[str, Tensor]], state: dict, *, keep: int) -> Path:
    """Writes a checkpoint of the step into the run folder, whose lock the caller holds, and removes old ones.

    Each entry of `tensors` becomes NAME.safetensors, `state` (JSON) becomes state.json. The `keep` newest stay, never
    fewer than two. An intact checkpoint of the same step stays as it is. Raises CheckpointError where the disk is full
    or fails; what was saved before is then as it was.
    """
    final = folder / "checkpoints" / f"step-{step:09d}"
    text = json.dumps(state, indent=1).encode()
    needed = sum(tensor.nbytes for group in tensors.values() for tensor in group.values()) + len(text) + MARGIN_BYTES
    try:
        if not final.parent.exists():
            final.parent.mkdir()  # the run folder is there, or its volume is gone
            sync_directory(folder)  # else `latest` might outlive what it names
        sweep(final.parent)
        if damage(final):
            require_free(final, needed)
            write_and_rename(final, step, tensors, text)
        write_latest(folder, final.name)
        remove_old(final, max(keep, 2))
        fault("after_keep")
    except OSError as error:
        raise CheckpointError(
            f"checkpoint {final}: cannot be written ({error.strerror}); it needs {needed:,} bytes, "
            f"{free_bytes(folder):,} are free; earlier checkpoints are untouched"
        ) from error
    return final


def restore(folder: Path, device: torch.device | str = "cpu") -> Restored | None:
    """The newest checkpoint of the run folder that is intact, or None if it never had one.

    Past a damaged or missing one it falls back to the one before, with a line on stderr. Raises CheckpointError if none
    is intact, or none is left.
    """
    try:
        paths = newest_first(folder / "checkpoints")
    except OSError as error:
        raise CheckpointError(f"checkpoints in {folder}: {error.strerror}; expected a readable folder") from error
    warnings = []
    if (name := named_latest(folder)) and name not in [path.name for path in paths]:
        if not paths:
            raise CheckpointError(
                f"checkpoints in {folder}: latest names {name}, and there is no checkpoint; expected one: "
                "bring back a copy, delete latest to begin anew, or start in another run folder"
            )
        warnings.append(f"checkpoints in {folder}: latest names {name}, which is gone")
        print(f"warning: {warnings[-1]}", file=sys.stderr, flush=True)
    for path in paths:
        try:
            return read(path, device)._replace(warnings=warnings)
        except CheckpointError as error:
            warnings.append(f"{error}; falling back to an older checkpoint")
            print(f"warning: {warnings[-1]}", file=sys.stderr, flush=True)
    if paths:
        raise CheckpointError(
            f"checkpoints in {folder}: none of {len(paths)} can be used; expected an intact one: "
            "bring back a copy, or start in another run folder"
        )
    return None


def named_latest(folder: Path) -> str:
    """The checkpoint that `latest` names; "" where it names none."""
    try:
        name = (folder / "latest").read_text(errors="replace").strip()
    except OSError:
        return ""
    return name if name.startswith("step-") else ""


def write_and_rename(final: Path, step: int, tensors: dict[str, dict[str, Tensor]], text: bytes) -> None:
    """Writes the checkpoint under another name beside its own, then renames it; leaves nothing behind if it fails."""
    fault("before_temp")
    temp = final.with_name(f".tmp-{final.name}-{secrets.token_hex(4)}")
    try:
        temp.mkdir()
        fault("after_temp")
        write_files(temp, step, tensors, text)
        if os.path.lexists(final):  # damaged, or it would have been kept
            remove(final)
        fault("before_rename")
        os.rename(temp, final)
        sync_directory(final.parent)
        fault("after_rename")
    except BaseException:
        shutil.rmtree(temp, ignore_errors=True)
        raise


def write_files(temp: Path, step: int, tensors: dict[str, dict[str, Tensor]], text: bytes) -> None:
    """Writes and syncs every file, the manifest last."""
    files = {}
    for name, group in tensors.items():
        packed = {key: tensor.detach().contiguous() for key, tensor in group.items()}
        files[f"{name}.safetensors"] = write(temp / f"{name}.safetensors", safetensors.torch.save(packed))
        fault(f"after_{name}")
    files["state.json"] = write(temp / "state.json", text)
    fault("after_state")
    signatures = {name: signature(group) for name, group in tensors.items()}
    manifest = Manifest(format_version=FORMAT_VERSION, step=step, files=files, tensors=signatures, sha256=UNSEALED)
    fault("before_manifest")
    write(temp / "MANIFEST.json", seal(manifest))
    sync_directory(temp)
    fault("after_manifest")


def write(path: Path, data: bytes) -> File:
    """Writes and syncs one file, hashing what is written."""
    digest = sha256()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(data), CHUNK_BYTES):
            chunk = data[start : start + CHUNK_BYTES]
            digest.update(chunk)
            yield chunk
            fault("during_write")

    write_synced(path, chunks())
    return File(size=len(data), sha256=digest.hexdigest())


def write_latest(folder: Path, name: str) -> None:
    """Points `latest` at the checkpoint: a hint for people and scripts, which `restore` does not trust."""
    fault("before_latest")
    temp = folder / ".latest.tmp"
    temp.unlink(missing_ok=True)
    try:
        write_synced(temp, [f"{name}\n".encode()])
        fault("during_latest")
        os.replace(temp, folder / "latest")
    finally:
        temp.unlink(missing_ok=True)
    sync_directory(folder)
    fault("after_latest")


def remove_old(saved: Path, keep: int) -> None:
    """Removes what is older than the `keep` newest, of which `saved` is the first; later steps are left alone.

    The second counts only if every byte of it is intact, so that two good checkpoints always remain.
    """
    paths = newest_first(saved.parent)
    older, num_kept = paths[paths.index(saved) + 1 :], 1
    if len(older) < keep:
        return
    for path in older:
        if num_kept >= keep:
            remove(path)
        elif num_kept > 1 or not damage(path):
            num_kept += 1


def remove(path: Path) -> None:
    """Removes a checkpoint under another name, so that never half of it bears its own."""
    trash = path.with_name(f".trash-{path.name}-{secrets.token_hex(4)}")
    os.rename(path, trash)
    fault("during_keep")
    delete(trash)


def sweep(checkpoints: Path) -> None:
    """Deletes what a killed process left half written or half deleted."""
    for path in [*checkpoints.glob(".tmp-*"), *checkpoints.glob(".trash-*")]:
        delete(path)


def delete(path: Path) -> None:
    """Deletes a file or directory; a failure harms no checkpoint, so it is only told on stderr."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    except OSError as error:
        print(f"warning: {path}: cannot be deleted ({error.strerror})", file=sys.stderr, flush=True)


def require_free(final: Path, needed: int) -> None:
    """Raises CheckpointError unless the disk has room for `needed` bytes more."""
    if free_bytes(final.parent) < needed:
        raise CheckpointError(
            f"checkpoint {final}: it needs {needed:,} bytes, {free_bytes(final.parent):,} are free; nothing was written"
        )


def free_bytes(folder: Path) -> int:
    """The free bytes of the disk that holds the folder, or would hold it."""
    return shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.exists())).free


def newest_first(checkpoints: Path) -> list[Path]:
    """All that is named `step-*`, damaged or not, by falling step."""
    if not checkpoints.exists():
        return []
    names = [name for name in os.listdir(checkpoints) if name.startswith("step-")]
    numbers = {name: int(digits) if (digits := name.removeprefix("step-")).isdecimal() else -1 for name in names}
    return [checkpoints / name for name in sorted(names, key=numbers.__getitem__, reverse=True)]


def read(path: Path, device: torch.device | str) -> Restored:
    """Reads a checkpoint, each file verified before it is parsed; raises CheckpointError that names the file."""
    manifest = read_manifest(path)
    tensors = {}
    for name, signatures in manifest.tensors.items():
        data = read_file(path, manifest, f"{name}.safetensors")
        try:
            group = safetensors.torch.load(data)
        except (SafetensorError, LookupError, ValueError, RuntimeError, AssertionError) as error:
            raise CheckpointError(f"{path / name}.safetensors: not a safetensors file ({error})") from error
        if signature(group) != signatures:
            raise CheckpointError(f"{path / name}.safetensors: holds other tensors than its manifest says")
        tensors[name] = {key: tensor.to(device) for key, tensor in group.items()}
    data = read_file(path, manifest, "state.json")
    try:
        state = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path / 'state.json'}: not JSON ({error})") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path / 'state.json'}: holds a {type(state).__name__}, expected a mapping")
    return Restored(manifest.step, tensors, state, path, [])
