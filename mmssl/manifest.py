"""The manifest of a checkpoint: what every file in it must be, and the verification that it is."""

import json
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from torch import Tensor

from mmssl.errors import CheckpointError

FORMAT_VERSION = 1
UNSEALED = "0" * 64
MAX_MANIFEST_BYTES = 2**24
MAX_STATE_BYTES = 2**24


class File(BaseModel):
    """What a file of a checkpoint must be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    size: int  # bytes
    sha256: str


class Signature(BaseModel):
    """What a tensor of a checkpoint must be."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    shape: list[int]
    dtype: str


Name = Annotated[str, StringConstraints(pattern="^[a-z][a-z0-9_]*$")]


class Manifest(BaseModel):
    """The content of a checkpoint; `sha256` is that of the manifest's own bytes with 64 zeros in its place."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)
    format_version: int
    step: int
    files: dict[str, File]
    tensors: dict[Name, dict[str, Signature]]
    sha256: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


def seal(manifest: Manifest) -> bytes:
    """The manifest's bytes with their own SHA-256 filled in."""
    unsealed = json.dumps(manifest.model_copy(update={"sha256": UNSEALED}).model_dump(), indent=1).encode()
    return unsealed.replace(UNSEALED.encode(), sha256(unsealed).hexdigest().encode())


def damage(path: Path) -> str:
    """What is wrong with a checkpoint, in words; empty if every byte is what was written."""
    try:
        manifest = read_manifest(path)
        for name in manifest.files:
            read_file(path, manifest, name)
    except CheckpointError as error:
        return str(error)
    return ""


def read_manifest(path: Path) -> Manifest:
    """Reads and verifies the manifest, whose file names can only be those of its own folder."""
    file = path / "MANIFEST.json"
    data = read_bytes(file, MAX_MANIFEST_BYTES)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        raise CheckpointError(f"{file}: not a manifest ({error.errors()[0]['msg']})") from error
    expected = {f"{name}.safetensors" for name in manifest.tensors} | {"state.json"}
    if sha256(data.replace(manifest.sha256.encode(), UNSEALED.encode())).hexdigest() != manifest.sha256:
        raise CheckpointError(f"{file}: its content does not have the SHA-256 that it names")
    if manifest.format_version != FORMAT_VERSION:
        raise CheckpointError(f"{file}: has format version {manifest.format_version}, expected {FORMAT_VERSION}")
    if path.name != f"step-{manifest.step:09d}":
        raise CheckpointError(f"{file}: is of step {manifest.step}, expected the step of its folder")
    if set(manifest.files) != expected:
        raise CheckpointError(f"{file}: lists {sorted(manifest.files)}, expected {sorted(expected)}")
    return manifest


def read_file(path: Path, manifest: Manifest, name: str) -> bytes:
    """The bytes of one file of a checkpoint, verified."""
    expected = manifest.files[name]
    data = read_bytes(path / name, MAX_STATE_BYTES if name == "state.json" else expected.size)
    verify(path / name, data, expected)
    return data


def verify(path: Path, data: bytes, expected: File) -> None:
    """Raises CheckpointError unless the data has the size and the SHA-256 that the manifest gives."""
    if len(data) != expected.size:
        raise CheckpointError(f"{path}: has {len(data):,} bytes, expected {expected.size:,}")
    if (found := sha256(data).hexdigest()) != expected.sha256:
        raise CheckpointError(f"{path}: has SHA-256 {found[:12]}..., expected {expected.sha256[:12]}...")


def read_bytes(path: Path, most: int) -> bytes:
    """The content of a regular file of at most so many bytes; raises CheckpointError."""
    try:
        if not path.is_file():
            raise CheckpointError(f"{path}: missing; expected a file")
        if (size := path.stat().st_size) > most:
            raise CheckpointError(f"{path}: has {size:,} bytes, expected {most:,} at most")
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error


def signature(group: dict[str, Tensor]) -> dict[str, Signature]:
    """The shape and dtype of each tensor."""
    return {
        key: Signature(shape=list(tensor.shape), dtype=str(tensor.dtype).removeprefix("torch."))
        for key, tensor in group.items()
    }
