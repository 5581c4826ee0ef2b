"""Objectives: each is one computation, a forward that reads like a diagram."""

from mmssl.objectives.autoencoding import Autoencoding, Variational
from mmssl.objectives.base import Objective, Output
from mmssl.objectives.branches import Branch, JigsawBranch, SegmentedBranch
from mmssl.objectives.clustering import Clustering, EncoderFeatures, PretrainedFeatures, ProjectedFeatures
from mmssl.objectives.contrastive_masked import ContrastiveMasked
from mmssl.objectives.cross_clustering import Asked, CrossClustering
from mmssl.objectives.hidden_frames import ClusteredFrames, ContrastiveStream, HiddenFrames, QuantisedFrames
from mmssl.objectives.joint_embedding import EmbeddingTeacher, Itself, JointEmbedding, heard_around
from mmssl.objectives.latent_stream import LatentStream
from mmssl.objectives.moments import SameClip, SameSegments, even_ends
from mmssl.objectives.next_sentence import NextSentence
from mmssl.objectives.predictive import Predictive, Stream
from mmssl.objectives.ranking import Ranking
from mmssl.objectives.sampled_codes import SampledCodes
from mmssl.objectives.together import Together

__all__ = [
    "Asked", "Autoencoding", "Branch", "ClusteredFrames", "Clustering", "ContrastiveMasked", "ContrastiveStream",
    "CrossClustering", "EmbeddingTeacher", "EncoderFeatures", "HiddenFrames", "Itself", "JigsawBranch",
    "JointEmbedding", "LatentStream", "NextSentence", "Objective", "Output", "Predictive", "PretrainedFeatures",
    "ProjectedFeatures", "QuantisedFrames", "Ranking", "SameClip", "SameSegments", "SampledCodes", "SegmentedBranch",
    "Stream", "Together", "Variational", "even_ends", "heard_around",
]  # fmt: skip
