"""Methods that tell from picture or sound in which cluster of all samples a clip lies. `balanced=false` lets clusters
have any share of samples.
"""

from typing import Any

from mmssl.methods.cross_modal import BOTH, branch_of_each
from mmssl.methods.pixels import Count, Positive
from mmssl.models.groups import Groups
from mmssl.objectives import Asked, CrossClustering, Objective


def xdc(
    encoder: Any, modalities: Any, *, num_clusters: Count = 256, whitened_width: Count = 256,
    regroup_epochs: Positive = 1.0, balanced: bool = True,
) -> Objective:  # fmt: skip
    """XDC: the clusters of a clip's sound are told from its picture, and those of its picture from its sound; features
    of all clips are clustered and clusters learnt in turn (Alwassel et al. 2020, arXiv:1911.12667, section 3; features
    are whitened and clusters balanced as in DeepCluster, and all are regrouped every `regroup_epochs`).
    """
    return cross_clustering(
        encoder, {name: (name,) for name in BOTH}, (Asked("video", "audio"), Asked("audio", "video")), num_clusters,
        whitened_width, regroup_epochs, balanced,
    )  # fmt: skip


def av_cluster(
    encoder: Any, modalities: Any, *, num_clusters: Count = 256, whitened_width: Count = 256,
    regroup_epochs: Positive = 1.0, balanced: bool = True,
) -> Objective:  # fmt: skip
    """Clips are clustered by picture and sound side by side, and each of the two tells the cluster by itself (Alwassel
    et al. 2020, arXiv:1911.12667, section 3: CDC; the joint clusters of Asano et al. 2020, arXiv:2006.13662, by k-means
    in place of optimal transport).
    """
    asked = tuple(Asked(name, "clip") for name in BOTH)
    return cross_clustering(
        encoder, {"clip": BOTH}, asked, num_clusters, whitened_width, regroup_epochs, balanced
    )  # fmt: skip


def cross_clustering(
    encoder: Any, described: dict[str, tuple[str, ...]], asked: tuple[Asked, ...], num_clusters: int, width: int,
    regroup_epochs: float, balanced: bool,
) -> CrossClustering:  # fmt: skip
    """Groupings, each described by some modalities, and which modality is asked for which."""
    groups = {
        grouping: Groups(
            features=len(names) * encoder.width, width=width, num_clusters=num_clusters, balanced=balanced
        )
        for grouping, names in described.items()
    }  # fmt: skip
    return CrossClustering(
        encoder=encoder, branches=branch_of_each(encoder, BOTH), described=described, groups=groups,
        asked=asked, regroup_epochs=regroup_epochs,
    )  # fmt: skip
