"""Objectives: each is one computation, a forward that reads like a diagram."""

from mmssl.objectives.base import Objective, Output
from mmssl.objectives.predictive import NextSentence, Predictive, Stream
from mmssl.objectives.ranking import Ranking

__all__ = ["NextSentence", "Objective", "Output", "Predictive", "Ranking", "Stream"]
