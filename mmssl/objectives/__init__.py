"""Objectives: each is one computation, a forward that reads like a diagram."""

from mmssl.objectives.base import Objective, Output
from mmssl.objectives.joint_embedding import Branch, EmbeddingTeacher, JointEmbedding
from mmssl.objectives.predictive import LatentStream, NextSentence, Predictive, Stream
from mmssl.objectives.ranking import Ranking
from mmssl.objectives.together import Together

__all__ = [
    "Branch", "EmbeddingTeacher", "JointEmbedding", "LatentStream", "NextSentence", "Objective", "Output", "Predictive",
    "Ranking", "Stream", "Together",
]  # fmt: skip
