"""Credit: which share of an outcome each channel is given, and what follows."""

from dataclasses import dataclass

import numpy as np

from liftos_causal.domain.curves import Estimate
from liftos_causal.domain.mix_model import MixModel
from liftos_causal.domain.panel import Outcome, Panel


@dataclass(frozen=True, slots=True)
class ChannelCredit:
    """What one channel is given.

    Attributes:
        channel: Its name.
        share: Of all that channels are given, 0 to 1.
        amounts: Of each outcome, in its units.
        spend: What was spent, in currency.
    """

    channel: str
    share: Estimate
    amounts: dict[Outcome, float]
    spend: float


@dataclass(frozen=True, slots=True)
class Credit:
    """What all channels are given, largest share first.

    Attributes:
        channels: One for each that spent anything.
        unattributed_share: Of the outcome, 0 to 1, that no channel explains.
    """

    channels: tuple[ChannelCredit, ...]
    unattributed_share: float


def credit(model: MixModel, panel: Panel, days: slice) -> Credit:
    """Give credit for some days of a panel.

    The model explains one outcome; of the others each channel is given as large a part of all
    that there is as of that one. Where the channels of a model explain more than there is, which
    they may when the baseline is below zero, all that there is is divided among them.
    """
    assert model.draws is not None
    explained = model.parameters.outcome
    # Of days whose outcome is not known there is nothing to divide.
    chosen = np.zeros(len(panel), dtype=bool)
    chosen[days] = panel.known(explained)[days]
    effects = model.effects(panel)[chosen].sum(axis=0)
    totals = {outcome: float(np.nansum(values[days])) for outcome, values in panel.outcomes.items()}
    given, whole = float(effects.sum()), totals[explained]
    drawn = model.draws.sums(model.spend(panel), chosen, model.parameters.window_days)
    sums = drawn.sum(axis=1, keepdims=True)
    shares = np.divide(drawn, sums, out=np.zeros_like(drawn), where=sums > 0)
    channels = []
    for number, curve in enumerate(model.curves):
        value = float(effects[number]) / given if given > 0 else 0.0
        part = float(effects[number]) / max(given, whole) if whole > 0 else 0.0
        channels.append(
            ChannelCredit(
                channel=curve.channel,
                share=model.interval(shares[:, number], value),
                amounts={outcome: part * total for outcome, total in totals.items()},
                spend=float(panel.spend[days, panel.channels.index(curve.channel)].sum()),
            )
        )
    channels.sort(key=lambda each: (-each.share.value, each.channel))
    return Credit(tuple(channels), max(1.0 - given / whole, 0.0) if whole > 0 else 1.0)
