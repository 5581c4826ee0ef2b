"""Methods that keep apart what lies in different clusters. `balanced=false` lets clusters have any share of samples."""

from math import inf
from typing import Any

from mmssl.augment import View
from mmssl.errors import ConfigError
from mmssl.losses.swapped import SwappedPrediction
from mmssl.methods.pixels import Count, Positive
from mmssl.methods.views import PAIR, branches_of, crops, picture_cut, projected
from mmssl.models.classifiers import LinearClassifier, PrototypeClassifier, TurnedClassifier
from mmssl.models.groups import Groups, HierarchicalGroups, RememberedGroups
from mmssl.models.projector import perceptron
from mmssl.objectives import (
    Branch,
    Clustering,
    EncoderFeatures,
    Itself,
    JointEmbedding,
    Objective,
    PretrainedFeatures,
    ProjectedFeatures,
)
from mmssl.pretrained import encoder_of_run
from mmssl.sections import CountOrZero, Ratio, Text


def features_branch(encoder: Any, *widths: int) -> Branch:
    """Pictures or sounds through a projector of these widths."""
    (branch,) = projected(encoder, *widths).values()
    return branch


def stopped(student: Any) -> Itself:
    """Codes are made without gradient."""
    return Itself(stop_gradient=True)


def deepcluster(
    encoder: Any, modalities: Any, *, num_clusters: Count = 10000, whitened_width: Count = 256,
    regroup_epochs: Positive = 1.0, balanced: bool = True,
) -> Objective:  # fmt: skip
    """DeepCluster: k-means of all features, then learn to tell the clusters, in turn (Caron et al. 2018,
    arXiv:1807.05520).
    """
    groups = Groups(features=encoder.width, width=whitened_width, num_clusters=num_clusters, balanced=balanced)
    return Clustering(
        encoder=encoder, branch=features_branch(encoder), groups=groups, description=EncoderFeatures(),
        classifier=LinearClassifier(encoder.width, num_clusters), views=PAIR, asks=(0,), regroup_epochs=regroup_epochs,
    )  # fmt: skip


def deepcluster_v2(
    encoder: Any, modalities: Any, *, num_clusters: Count = 3000, num_groupings: Count = 3, temperature: Positive = 0.1,
    projector_width: Count = 2048, embedding_width: Count = 128, num_small: CountOrZero = 6, small_size: Count = 96,
    regroup_epochs: Positive = 1.0, balanced: bool = True,
) -> Objective:  # fmt: skip
    """DeepCluster-v2: centres of projections remembered from the epoch before are the classifier, several groupings at
    once, multi-crop (Caron et al. 2020, arXiv:2006.09882, appendix D).
    """
    groups = RememberedGroups(
        features=embedding_width, num_clusters=num_clusters, num_groupings=num_groupings, balanced=balanced
    )
    views = crops(encoder, (0.14, 1.0), num_small, small_size, (0.05, 0.14))
    return Clustering(
        encoder=encoder, branch=features_branch(encoder, projector_width, embedding_width), groups=groups,
        description=ProjectedFeatures(), classifier=PrototypeClassifier(temperature), views=views,
        asks=tuple(range(len(views))), regroup_epochs=regroup_epochs,
    )  # fmt: skip


def deepercluster(
    encoder: Any, modalities: Any, *, num_top: Count = 4, num_within: Count = 5000, whitened_width: Count = 256,
    regroup_epochs: Positive = 3.0, balanced: bool = True,
) -> Objective:  # fmt: skip
    """DeeperCluster: tell by how many quarters a picture is turned together with its cluster, from coarse to fine
    (Caron et al. 2019, arXiv:1905.01278; sub-clusters of the upright pictures serve all turns).
    """
    height, width = picture_cut(encoder, "deepercluster", "turns pictures by quarters").size
    if height != width:
        raise ConfigError(f"image.size [{height}, {width}]: pictures are turned by quarters; expected a square")
    groups = HierarchicalGroups(
        features=encoder.width, width=whitened_width, num_top=num_top, num_within=num_within, balanced=balanced
    )
    return Clustering(
        encoder=encoder, branch=features_branch(encoder), groups=groups, description=EncoderFeatures(),
        classifier=TurnedClassifier(encoder.width, num_top, num_within), views=(View(is_rotated=True), View()),
        asks=(0,), regroup_epochs=regroup_epochs,
    )  # fmt: skip


def clusterfit(
    encoder: Any, modalities: Any, *, pretrained: Text, num_clusters: Count = 16000, whitened_width: Count = 256,
    balanced: bool = True,
) -> Objective:  # fmt: skip
    """ClusterFit: a new encoder learns to tell the clusters of another run's features (Yan et al. 2020,
    arXiv:1912.03330); `pretrained` is that run's folder. Its targets never change, so it cannot collapse.
    """
    other = encoder_of_run(pretrained, modalities)
    description = PretrainedFeatures(other, features_branch(other))
    groups = Groups(features=other.width, width=whitened_width, num_clusters=num_clusters, balanced=balanced)
    return Clustering(
        encoder=encoder, branch=features_branch(encoder), groups=groups, description=description,
        classifier=LinearClassifier(encoder.width, num_clusters), views=PAIR, asks=(0,), regroup_epochs=inf,
    )  # fmt: skip


def swav(
    encoder: Any, modalities: Any, *, num_prototypes: Count = 3000, temperature: Positive = 0.1,
    code_temperature: Positive = 0.05, projector_width: Count = 2048, embedding_width: Count = 128,
    queue_length: CountOrZero = 3840, queue_start: Ratio = 0.15, frozen_ratio: Ratio = 0.01,
    num_small: CountOrZero = 6, small_size: Count = 96, equipartition: bool = True,
) -> Objective:  # fmt: skip
    """SwAV: predict from one view the code of another, codes being shares of prototypes that are used equally (Caron et
    al. 2020, arXiv:2006.09882). `equipartition=false` takes away what keeps it from collapse.
    """
    criterion = SwappedPrediction(
        embedding_width, num_prototypes, temperature=temperature, epsilon=code_temperature, queue_length=queue_length,
        queue_start=queue_start, frozen_ratio=frozen_ratio, equipartition=equipartition,
    )  # fmt: skip
    return JointEmbedding(
        encoder=encoder, branches=projected(encoder, projector_width, embedding_width), criterion=criterion,
        energy=criterion.energy, views=crops(encoder, (0.14, 1.0), num_small, small_size, (0.05, 0.14)),
        answers=(0, 1), teacher=stopped,
    )  # fmt: skip


def seer(
    encoder: Any, modalities: Any, *, num_prototypes: Count = 16000, temperature: Positive = 0.1,
    code_temperature: Positive = 0.05, projector_width: Count = 10096, embedding_width: Count = 256,
    frozen_ratio: Ratio = 0.001, num_small: CountOrZero = 4, small_size: Count = 96, equipartition: bool = True,
) -> Objective:  # fmt: skip
    """SEER: SwAV on a RegNet and pictures nobody chose, with 4 small crops, 16,000 prototypes and a wider projector
    (Goyal et al. 2021, arXiv:2103.01988, section 3); encoder.name=regnet_y, train.optimizer=lars.
    """
    criterion = SwappedPrediction(
        embedding_width, num_prototypes, temperature=temperature, epsilon=code_temperature, queue_length=0,
        queue_start=1.0, frozen_ratio=frozen_ratio, equipartition=equipartition,
    )  # fmt: skip
    projector = perceptron(encoder.width, projector_width, projector_width, embedding_width)
    return JointEmbedding(
        encoder=encoder, branches=branches_of(encoder, projector), criterion=criterion, energy=criterion.energy,
        views=crops(encoder, (0.14, 1.0), num_small, small_size, (0.05, 0.14)), answers=(0, 1), teacher=stopped,
    )  # fmt: skip
