"""The encoder infers z, and a decoder that is given z alone makes the whole of it."""

from math import log, prod

import torch
from einops import rearrange
from jaxtyping import Float, Int
from torch import Tensor, nn

from mmssl.batch import Batch
from mmssl.corruption import Corruption
from mmssl.energy import squared_error
from mmssl.modalities.grids import Cut
from mmssl.models.codes import Code, Coded, GaussianCode, whole
from mmssl.models.likelihood import NormalOutput, SquaredOutput
from mmssl.models.vector_code import VectorCode
from mmssl.objectives.base import Noise, Objective, Output
from mmssl.objectives.predictive import pair_energy, place_of, pooled
from mmssl.random import Draw
from mmssl.tokens import Place, Tokens, at, without


class Autoencoding(Objective):
    """F(x, y) = error of decoder(z) where y is, the mean over its places, plus z's cost; z is that of x and y together.

    In training y is the whole sample. Where something is hidden, by `corrupt`, z is inferred from x and y where both
    are known (by the encoder), and from x alone where y is asked for.
    """

    hides = True
    has_latent = True

    def __init__(
        self, *, cut: Cut, encoder: nn.Module, code: Code, decoder: nn.Module, output: SquaredOutput,
        corrupt: Corruption,
    ) -> None:  # fmt: skip
        super().__init__()
        self.cut, self.corrupt = cut, corrupt
        self.encoder, self.code, self.decoder, self.output = encoder, code, decoder, output
        self.answered = (cut.name,)

    def forward(self, batch: Batch) -> Output:
        tokens = self.tokens(batch)
        # the encoder says what z is, the decoder what it stands for
        sx = self.embedded(tokens)
        coded = self.code(sx, tokens, batch.draw)
        error = self.error(coded.z, tokens)
        cost = self.cost(coded)
        self.output.note(error)
        parts = {"": error, ".z": cost, **{f".{name}": term for name, term in coded.terms.items()}}
        terms = {self.cut.name + suffix: part.mean() for suffix, part in parts.items()}
        return Output(terms, (error + cost).detach(), pooled({self.cut.name: sx}).detach())

    def tokens(self, batch: Batch) -> Tokens:
        """All patches; what a sample lacks is padding."""
        return without(self.cut.tokenize(batch.views[self.cut.name]), batch.present(self.cut.name))

    def embedded(self, tokens: Tokens) -> Tokens:
        """The encoder's embeddings of some patches."""
        return self.encoder({self.cut.name: tokens})[self.cut.name]

    def coded(self, tokens: Tokens) -> Coded:
        """z of whole samples: the most likely one."""
        return self.code(self.embedded(tokens), tokens, None)

    def decode(self, z: Tokens, place: Place) -> Float[Tensor, "B M D"]:
        """The patches that lie at some places of the whole sample: all are asked for, as in training."""
        everywhere = self.everywhere(place)
        return at(Tokens(self.decoder({self.cut.name: z}, everywhere), everywhere), place)

    def error(self, z: Tokens, answer: Tokens) -> Float[Tensor, " B"]:
        """Mean squared error of the numbers of some patches."""
        return pair_energy(squared_error, self.decode(z, answer.place), answer.value, answer.place.valid)

    def cost(self, coded: Coded) -> Float[Tensor, " B"]:
        """What z costs, in the units of the error of a whole sample."""
        return self.output.price(prod(self.cut.grid) * self.cut.width) * coded.cost

    def corrupted(self, batch: Batch) -> tuple[dict[str, Tokens], dict[str, Tokens], dict[str, Place]]:
        tokens = self.tokens(batch)
        seen, hidden = self.corrupt(tokens, batch.draw)
        assert hidden is not None
        return {self.cut.name: tokens}, {self.cut.name: seen}, {self.cut.name: hidden}

    def energies_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "A B"]:
        name, place = self.cut.name, hidden[self.cut.name]
        rows = []
        for row in range(len(place.position)):
            both = pasted(seen[name], row, answers[name])
            coded = self.coded(both)
            mine = place_of(place, row, len(both.value))
            answer = answers[name].value[:, place.position[row]]
            error = pair_energy(
                squared_error, self.decode(coded.z, mine), answer, place.valid[row].expand(answer.shape[:2])
            )
            rows.append(error + self.cost(coded))
        return torch.stack(rows)

    def predict(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], noise: Noise | None = None
    ) -> dict[str, Tensor]:
        part = seen[self.cut.name]
        place = self.everywhere(part.place)
        numbers, width = part.value.shape[1] * self.cut.width, self.code.noise_width(place)
        # a draw of the prior, and of what the seen numbers might have been
        drawn = None if noise is None else noise(width + numbers)
        given = part.value.float()
        if drawn is not None:
            given = given + self.output.deviation() * rearrange(drawn[:, width:], "b (n d) -> b n d", d=self.cut.width)
        asked = Tokens(given, part.place)
        z = self.code.inferred(
            self.embedded(part), asked, place, None if drawn is None else drawn[:, :width],
            lambda z: self.error(z, asked) / self.output.price(numbers),
        )  # fmt: skip
        return {self.cut.name: self.decode(z, hidden[self.cut.name])}

    def everywhere(self, place: Place) -> Place:
        """All places of samples of which some are given."""
        position = torch.arange(prod(place.grid), device=place.position.device)
        shape = (len(place.position), len(position))
        return Place(position.expand(shape), place.document[:, :1].expand(shape), place.grid)

    def patches_of(self, prediction: Tensor, answer: Float[Tensor, "B M D"], place: Place) -> Float[Tensor, "B M D"]:
        return prediction.float()

    def bits(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, " B"] | None:
        """What z tells of the whole sample: what is seen is told by z, too."""
        nats = self.coded(answers[self.cut.name]).nats
        return None if nats is None else nats / log(2)

    def after_step(self, progress: float) -> None:
        self.code.settle()
        self.output.settle()


def pasted(seen: Tokens, row: int, answers: Tokens) -> Tokens:
    """Each answer with what is seen of one sample in its place; one for all where everything is seen."""
    value, position = seen.value[row], seen.place.position[row]
    if len(position) == answers.value.shape[1]:
        return Tokens(value[None], place_of(seen.place, row, 1))
    both = answers.value.clone()
    both[:, position] = value.to(both.dtype)
    return Tokens(both, answers.place)


class Variational(Autoencoding):
    """With a normal output and a normal code: its loss is a bound of the likelihood."""

    output: NormalOutput
    code: GaussianCode

    def bound(self, batch: Batch) -> Float[Tensor, " B"]:
        """log p(sample) >= E_q log p(sample | z) - KL(q || p), in nats, of each whole sample; E_q is that of the z
        that belongs to the batch's draw (Kingma & Welling 2013, arXiv:1312.6114, eq. 3).
        """
        tokens = self.tokens(batch)
        coded = self.code(self.embedded(tokens), tokens, batch.draw)
        assert coded.nats is not None
        numbers = tokens.value.shape[1] * self.cut.width
        return -self.output.nats(self.error(coded.z, tokens), numbers) - coded.nats

    def latents_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Float[Tensor, "B Z"]:
        return self.latents(answers[self.cut.name]).flatten(1)

    def drawn_latents(self, tokens: dict[str, Tokens], draw: Draw) -> Float[Tensor, "B Z"]:
        mine = tokens[self.cut.name]
        return self.code(self.embedded(mine), mine, draw).z.value.flatten(1)

    @property
    def latent_width(self) -> int:
        """Of each token of z."""
        return self.code.width

    def latents(self, tokens: Tokens) -> Float[Tensor, "B N Z"]:
        """The posterior's means, in the prior's deviations."""
        return self.coded(tokens).z.value

    def decoded(self, latents: Float[Tensor, "B N Z"], place: Place) -> Float[Tensor, "B N D"]:
        """The patches at all places of samples that are given by their z."""
        return self.decode(Tokens(latents, place if self.code.spatial else whole(place)), place).float()


class VectorAutoencoding(Autoencoding):
    """With vectors of a codebook as z: what turns patches into codes, and codes into patches (a `Tokenizer`)."""

    code: VectorCode

    def latents_of(
        self, seen: dict[str, Tokens], hidden: dict[str, Place], answers: dict[str, Tokens]
    ) -> Int[Tensor, "B N"]:
        return self.codes(answers[self.cut.name])

    @property
    def num_codes(self) -> int:
        """Entries of the codebook."""
        return self.code.num_codes

    def codes(self, tokens: Tokens) -> Int[Tensor, "B N"]:
        """The code of each patch; all patches of a sample are given."""
        return self.code.ids(self.embedded(tokens))

    def codes_of(self, batch: Batch) -> Int[Tensor, "B N 1"]:
        """The code of each patch of whole samples, -1 where a sample is not there (`mmssl.evaluate.codes`)."""
        tokens = self.tokens(batch)
        return torch.where(tokens.place.valid, self.codes(tokens), -1)[..., None]

    def patches(self, codes: Int[Tensor, "B N"], place: Place) -> Float[Tensor, "B N D"]:
        """What the codes at these places, and no others, say of these places."""
        return self.decoder({self.cut.name: Tokens(self.code.vectors(codes), place)}, place).float()
