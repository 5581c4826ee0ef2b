"""Claims about rows in several memory-mapped files."""

import numpy as np
import pytest

from mmssl.modalities import shards
from mmssl.modalities.shards import Shards


@pytest.mark.parametrize("limit, files", [(10**9, 1), (90, 4), (59, 10), (1, 10)])  # a row has 30 bytes
def test_rows_come_back_from_files_of_bounded_size(tmp_path, monkeypatch, limit, files):
    monkeypatch.setattr(shards, "SHARD_BYTES", limit)
    values = np.random.default_rng(0).integers(0, 2**15, (10, 3, 5)).astype(np.int16)
    written = Shards(tmp_path, "video", "int16", values.shape, is_new=True)
    for index, value in enumerate(values):
        written[index] = value
    written.flush()
    sizes = [path.stat().st_size for path in sorted(tmp_path.iterdir())]
    assert (len(sizes), sum(sizes)) == (files, values.nbytes)
    some = np.array([9, 0, 3, 3, 8])
    np.testing.assert_array_equal(Shards(tmp_path, "video", "int16", values.shape)[some], values[some])
    with pytest.raises(FileExistsError):
        Shards(tmp_path, "video", "int16", values.shape, is_new=True)
